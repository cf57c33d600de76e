"""What every other layer stands on: time, batches, keys, expressions, errors and the contracts."""
