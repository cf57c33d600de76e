"""The queries of the race: each as a flow, as SQL and as a Polars query, and the ratios it is to reach."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import polars as pl
from bids import DISORDER

import streamlib as sl
from streamlib import windows
from streamlib.core.contracts import Sink, Source

Bids = sl.Stream


@dataclass(frozen=True)
class Query:
    """What all compute: `columns` of integers (keys may be text), of which `number` is the window's.

    Attributes:
        every: microseconds between windows; `number` is the start of a window divided by it.
        goals: by source, how many times as fast as the faster engine streamlib is to be.
    """

    name: str
    stream: Callable[[Bids], sl.Stream]
    sql: str
    polars: Callable[[pl.LazyFrame], pl.LazyFrame]
    columns: tuple[str, ...]
    every: int
    goals: Mapping[str, float]

    def flow(self, source: Source, sink: Sink) -> sl.Flow:
        """The streaming job."""
        bids = sl.read(source, name="bids", event_time="date_time", watermark=sl.bounded_disorder(DISORDER))
        return sl.Flow("race", self.stream(bids).write(sink, name="result"))


def _tumbling(key: str, name: str, goals: Mapping[str, float]) -> Query:
    """Count, sum and max of the price by `key`, over 10 seconds."""

    def stream(bids: Bids) -> sl.Stream:
        windowed = bids.key_by(key).window(windows.tumbling("10s"))
        return windowed.aggregate(bids=sl.count(), total=sl.sum("price"), top=sl.max("price"))

    def polars(bids: pl.LazyFrame) -> pl.LazyFrame:
        number = (pl.col("date_time").dt.timestamp("us") // 10_000_000).alias("number")
        price = pl.col("price")
        return bids.group_by(number, key).agg(
            pl.len().alias("bids"), price.sum().alias("total"), price.max().alias("top")
        )

    sql = f"""
        SELECT epoch_us(date_time) // 10000000 AS number, {key},
               count(*) AS bids, sum(price)::BIGINT AS total, max(price) AS top
        FROM {{source}} GROUP BY ALL"""
    return Query(name, stream, sql, polars, ("number", key, "bids", "total", "top"), 10_000_000, goals)


# Of auctions with equally many bids the lowest: one number that orders both; ids are below 10^10.
_RANK = "bids * 10000000000 - auction"

_SLIDING_SQL = f"""
    WITH slices AS (SELECT epoch_us(date_time) // 2000000 AS slice, auction, count(*) AS bids
                    FROM {{source}} GROUP BY ALL),
    shares AS (SELECT slice - nth AS number, auction, sum(bids)::BIGINT AS bids
               FROM slices, range(5) windows(nth) GROUP BY ALL)
    SELECT number, arg_max(auction, {_RANK}) AS auction, max(bids) AS bids FROM shares GROUP BY number"""


def _sliding_stream(bids: Bids) -> sl.Stream:
    windowed = bids.key_by("auction").window(windows.sliding("10s", every="2s"))
    return windowed.aggregate(bids=sl.count()).top(1, by="bids")


def _sliding_polars(bids: pl.LazyFrame) -> pl.LazyFrame:
    number = (pl.col("date_time").dt.timestamp("us") // 2_000_000).alias("number")
    slices = bids.group_by(number, "auction").agg(pl.len().cast(pl.Int64).alias("bids"))
    shifted = [slices.with_columns(pl.col("number") - nth) for nth in range(5)]
    shares = pl.concat(shifted).group_by("number", "auction").agg(pl.col("bids").sum())
    rank = pl.col("bids") * 10_000_000_000 - pl.col("auction")
    best = pl.col("auction").get(rank.arg_max())
    return shares.group_by("number").agg(best, pl.col("bids").max())


QUERIES = (
    _tumbling("auction", "tumbling", {"memory": 2.0, "parquet": 1.3}),
    Query(
        "sliding",
        _sliding_stream,
        _SLIDING_SQL,
        _sliding_polars,
        ("number", "auction", "bids"),
        2_000_000,
        {"memory": 4.0, "parquet": 2.0},
    ),
    _tumbling("channel", "strings", {"parquet": 1.2}),
    _tumbling("client", "random", {"memory": 1.2}),
)
