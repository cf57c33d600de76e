"""The batch engines: each computes the query over bids in memory or in Parquet, as one Arrow table."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Mapping

import pyarrow as pa

os.environ["POLARS_MAX_THREADS"] = "2"  # Polars reads it once, when it is imported

try:
    import duckdb
    import polars as pl
except ModuleNotFoundError as missing:
    sys.exit(
        f"the race needs {missing.name}: pip install 'streamlib[duckdb,polars]'\n"
        "(in a checkout: pip install --group bench, or just `make bench`)"
    )

from queries import Query

Engine = Callable[[], pa.Table]


def engines_in_memory(query: Query, bids: pa.Table) -> Mapping[str, Engine]:
    """The engines over an Arrow table, which both scan without copying its numbers."""
    connection = _connect()
    connection.register("bids", bids)
    frame = pl.from_arrow(bids).lazy()
    return {"DuckDB": _duckdb(connection, query, "bids"), "Polars": _polars(query, lambda: frame)}


def engines_from_parquet(query: Query, path: str) -> Mapping[str, Engine]:
    """The engines over a Parquet file."""
    quoted = path.replace("'", "''")
    return {
        "DuckDB": _duckdb(_connect(), query, f"read_parquet('{quoted}')"),
        "Polars": _polars(query, lambda: pl.scan_parquet(path)),
    }


def _connect() -> duckdb.DuckDBPyConnection:
    connection = duckdb.connect()
    connection.execute("SET threads = 2")
    connection.execute("SET preserve_insertion_order = false")
    return connection


def _duckdb(connection: duckdb.DuckDBPyConnection, query: Query, source: str) -> Engine:
    return lambda: connection.sql(query.sql.format(source=source)).to_arrow_table()


def _polars(query: Query, bids: Callable[[], pl.LazyFrame]) -> Engine:
    # here the faster of its two engines
    return lambda: query.polars(bids()).collect(engine="streaming").to_arrow()
