"""Runners: they decide when the engine is called, and own threads, clocks and I/O."""
