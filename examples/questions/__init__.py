"""Ten questions of an analyst, asked of streamlib, Polars and DuckDB."""
