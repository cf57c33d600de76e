"""The engine: pure, without I/O. Batches and watermarks in, batches for the sinks out."""
