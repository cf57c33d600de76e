"""The command line: `streamlib run | backfill TARGET`."""
