"""Nexmark-like bids, made with numpy from a seed: the rows that the benchmarks stream."""

from __future__ import annotations

from typing import Literal

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.parquet as pq

RATE = 1_000  # bids a second of event time: 5 M rows span 5,000 s
DISORDER = 4_000_000  # microseconds; every bid is less than this behind the newest before it
START = 1_436_918_400_000_000  # 2015-07-15, the base time of Nexmark
LIVE_AUCTIONS = 3_000  # bids go to the newest so many
ROW_GROUP_ROWS = 131_072

_MEAN_DELAY = 500_000  # microseconds
_BIDS_PER_AUCTION = 46 / 3  # Nexmark: of 50 events 1 is a person, 3 are auctions, 46 are bids
_BIDS_PER_PERSON = 46
_FIRST_ID = 1_000
_HOT_CHANNELS = ("Google", "Facebook", "Baidu", "Apple")
_CHANNELS = 10_000

_CLIENTS = 1_000_000
_LASTING_AUCTIONS = 10_000

Ids = npt.NDArray[np.int64]
Keys = Literal["nexmark", "uniform", "zipf"]


def make_bids(rows: int, seed: int = 1, keys: Keys = "nexmark", disorder: int = DISORDER) -> pa.Table:
    """`rows` bids in order of arrival: auction, bidder, price, channel, client, date_time.

    As in Nexmark, half of the bids go to the newest hot auction (every hundredth), the others evenly
    to the live ones, so ids slide upwards; prices are log-uniform from 100 to 100 M. Bids come late
    by an exponentially distributed delay that stays below `disorder` (microseconds, at most `DISORDER`):
    with `bounded_disorder(DISORDER)` none is late. A client is one of a million random int64.

    With other `keys` the auctions are 10,000 that are always live: `uniform`, or with few that get most
    bids (`zipf`, exponent 1.1).
    """
    random = np.random.default_rng(seed)
    number = np.arange(rows)
    newest_auction = (number / _BIDS_PER_AUCTION).astype(np.int64)
    delay = np.minimum(random.exponential(_MEAN_DELAY, rows), max(0, disorder - 1)).astype(np.int64)
    times = START + number * (1_000_000 // RATE) - delay
    price = (100 * 10 ** random.uniform(0, 6, rows)).round().astype(np.int64)
    return pa.table(
        {
            "auction": _auctions(random, newest_auction, keys),
            "bidder": _sliding_ids(random, number // _BIDS_PER_PERSON, 1_000, 3 / 4),
            "price": price,
            "channel": _channels(random, rows),
            "client": random.integers(-(2**63), 2**63, _CLIENTS).take(random.integers(0, _CLIENTS, rows)),
            "date_time": pa.array(times).view(pa.timestamp("us", tz="UTC")),
        }
    )


def _auctions(random: np.random.Generator, newest: Ids, keys: Keys) -> Ids:
    if keys == "nexmark":
        return _sliding_ids(random, newest, LIVE_AUCTIONS, 1 / 2)
    if keys == "uniform":
        return random.integers(_FIRST_ID, _FIRST_ID + _LASTING_AUCTIONS, len(newest))
    share = np.cumsum(np.arange(1, _LASTING_AUCTIONS + 1) ** -1.1)
    return _FIRST_ID + np.searchsorted(share, random.uniform(0, share[-1], len(newest)))


def _sliding_ids(random: np.random.Generator, newest: Ids, live: int, hot_share: float) -> Ids:
    """For each row one of the `live` ids up to `newest`, or with probability `hot_share` the last hot one."""
    cold = newest - (random.random(len(newest)) * np.minimum(live, newest + 1)).astype(np.int64)
    hot = newest // 100 * 100
    return _FIRST_ID + np.where(random.random(len(newest)) < hot_share, hot, cold)


def _channels(random: np.random.Generator, rows: int) -> pa.Array:
    names = pa.array([*_HOT_CHANNELS, *(f"channel-{i}" for i in range(_CHANNELS))])
    hot = random.integers(0, len(_HOT_CHANNELS), rows)
    cold = random.integers(len(_HOT_CHANNELS), len(names), rows)
    codes = np.where(random.random(rows) < 1 / 2, hot, cold).astype(np.int32)
    return names.take(pa.array(codes))


def write_bids(bids: pa.Table, path: str) -> None:
    """Write the bids as one Parquet file of many row groups."""
    pq.write_table(bids, path, row_group_size=ROW_GROUP_ROWS)
