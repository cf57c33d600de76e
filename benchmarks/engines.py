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

Engine = Callable[[], pa.Table]

_TUMBLING_SQL = """
    SELECT epoch_us(date_time) // 10000000 AS number, auction,
           count(*) AS bids, sum(price)::BIGINT AS total, max(price) AS top
    FROM {source} GROUP BY ALL
"""


def engines_in_memory(bids: pa.Table) -> Mapping[str, Engine]:
    """The engines over an Arrow table, which both scan without copying its numbers."""
    connection = _connect()
    connection.register("bids", bids)
    frame = pl.from_arrow(bids).lazy()
    return {"DuckDB": lambda: _duckdb(connection, "bids"), "Polars": lambda: _polars(frame)}


def engines_from_parquet(path: str) -> Mapping[str, Engine]:
    """The engines over a Parquet file."""
    connection = _connect()
    quoted = path.replace("'", "''")
    return {
        "DuckDB": lambda: _duckdb(connection, f"read_parquet('{quoted}')"),
        "Polars": lambda: _polars(pl.scan_parquet(path)),
    }


def _connect() -> duckdb.DuckDBPyConnection:
    connection = duckdb.connect()
    connection.execute("SET threads = 2")
    connection.execute("SET preserve_insertion_order = false")
    return connection


def _duckdb(connection: duckdb.DuckDBPyConnection, source: str) -> pa.Table:
    return connection.sql(_TUMBLING_SQL.format(source=source)).to_arrow_table()


def _polars(bids: pl.LazyFrame) -> pa.Table:
    number = (pl.col("date_time").dt.timestamp("us") // 10_000_000).alias("number")
    price = pl.col("price")
    query = bids.group_by(number, "auction").agg(
        pl.len().alias("bids"), price.sum().alias("total"), price.max().alias("top")
    )
    return query.collect(engine="streaming").to_arrow()  # here the faster of its two engines
