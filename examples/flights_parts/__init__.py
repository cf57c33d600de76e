"""What `examples/flights.py` needs beside the flow: its data, a paced source, comparisons, tables."""
