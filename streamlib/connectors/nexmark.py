"""Nexmark: persons, auctions and bids of an online auction, made by a seed, to try and to measure with."""

from __future__ import annotations

import operator
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import pyarrow as pa

from streamlib.connectors.calls import as_call
from streamlib.connectors.nexmark_rows import (
    SCHEMAS,
    SPACING,
    START,
    Kind,
    Numbers,
    events_of,
    rows_before,
    rows_of,
)
from streamlib.connectors.numbered import NumberedReader, checked_number, part_of, share
from streamlib.connectors.positions import row_number
from streamlib.core.contracts import Clock, Json, Replay
from streamlib.core.errors import UnknownColumnError
from streamlib.core.time import MAX_TIME

__all__ = ["NexmarkSource", "auctions", "bids", "events", "persons"]

_ALL: tuple[tuple[str, Kind], ...] = (("person", "persons"), ("auction", "auctions"), ("bid", "bids"))
_EVENTS = pa.schema(
    [
        ("event_type", pa.int8()),
        *((name, pa.struct(list(SCHEMAS[kind]))) for name, kind in _ALL),
        ("date_time", pa.timestamp("us", "UTC")),
    ]
)


@dataclass(frozen=True, repr=False)
class NexmarkSource:
    """Rows of one kind, or all events. Made by `persons`, `auctions`, `bids` and `events`."""

    kind: Kind | None
    count: int | None
    """How many events there are, of all kinds."""
    rate: float | None
    parts: int
    seed: int
    columns: tuple[str, ...]

    @property
    def bounded(self) -> bool:
        return self.count is not None

    @property
    def replay(self) -> Replay:
        return "replayable"

    def schema(self) -> pa.Schema:
        every = _EVENTS if self.kind is None else SCHEMAS[self.kind]
        return pa.schema([every.field(name) for name in self.columns])

    def partitions(self) -> Sequence[str]:
        return [str(part) for part in range(self.parts)]

    def project(self, columns: Sequence[str]) -> NexmarkSource:
        """Makes these columns and no others."""
        return replace(self, columns=tuple(columns))

    def row_count(self) -> int:
        return self.rows_before(self.count or 0)

    def rows_before(self, event: int) -> int:
        """How many rows come before an event."""
        return event if self.kind is None else rows_before(self.kind, event)

    def open(self, partition: str, position: Json | None, event_time: str | None) -> NumberedReader:
        """See `Source.open`. A position is the number of rows that the partition has given."""
        if event_time is not None and event_time not in self.columns:
            raise UnknownColumnError.of(event_time, self.columns)
        part = part_of(partition, self.parts)
        row = row_number(position, partition)
        end = None if self.count is None else share(self.row_count(), part, self.parts)
        return NumberedReader(_Part(self, part, row, end, event_time == "date_time"), row, end, partition)

    def __repr__(self) -> str:
        options = {
            "events": self.count,
            "rate": self.rate,
            "partitions": None if self.parts == 1 else self.parts,
            "seed": self.seed or None,
        }
        return as_call(f"nexmark.{self.kind or 'events'}", **options)


class _Part:
    """One partition: every so many-th row, beginning with row `part`."""

    def __init__(self, source: NexmarkSource, part: int, row: int, end: int | None, floors: bool) -> None:
        self._source = source
        self._part = part
        self._end = end
        self._floors = floors
        self._first = self._event(row)
        self._began: float | None = None

    def _events(self, start: int, stop: int) -> Numbers:
        rows = np.arange(start, stop, dtype=np.int64) * self._source.parts + self._part
        return rows if self._source.kind is None else events_of(self._source.kind, rows)

    def _event(self, row: int) -> int:
        return int(self._events(row, row + 1)[0])

    def make(self, start: int, stop: int) -> pa.RecordBatch:
        source, numbers = self._source, self._events(start, stop)
        if source.kind is None:
            return _mixed(numbers, source.seed, source.columns)
        return rows_of(source.kind, numbers, source.seed, source.columns)

    def due(self, clock: Clock) -> int | None:
        """Rows whose events come by now, from those at which this reader began."""
        if self._source.rate is None:
            return None
        now = clock.monotonic()
        if self._began is None:
            self._began = now
        event = self._first + int((now - self._began) * self._source.rate)
        return share(self._source.rows_before(event + 1), self._part, self._source.parts)

    def position(self, row: int) -> Json:
        return row

    def floor(self, row: int) -> int | None:
        if not self._floors:
            return None
        return MAX_TIME if row == self._end else START + self._event(row) * SPACING


def _mixed(numbers: Numbers, seed: int, columns: Sequence[str]) -> pa.RecordBatch:
    within = numbers % 50
    types = (within > 0).astype(np.int8) + (within > 3)
    made = {
        "event_type": pa.array(types),
        "date_time": pa.array(START + numbers * SPACING).view(_EVENTS[-1].type),
    }
    for number, (name, kind) in enumerate(_ALL):
        if name in columns:
            there = types == number
            rows = rows_of(kind, numbers[there], seed, SCHEMAS[kind].names).to_struct_array()
            made[name] = rows.take(pa.array(np.cumsum(there) - 1, mask=~there))
    return pa.RecordBatch.from_arrays(
        [made[name] for name in columns], schema=pa.schema([_EVENTS.field(name) for name in columns])
    )


def persons(
    events: int | None = None, *, rate: float | None = None, partitions: int = 1, seed: int = 0
) -> NexmarkSource:
    """Persons who sell and bid: id, name, email_address, credit_card, city, state, date_time. See `bids`."""
    return _source("persons", events, rate, partitions, seed)


def auctions(
    events: int | None = None, *, rate: float | None = None, partitions: int = 1, seed: int = 0
) -> NexmarkSource:
    """Auctions that begin. See `bids`.

    Columns: id, item_name, description, initial_bid, reserve, date_time, expires, seller, category.
    """
    return _source("auctions", events, rate, partitions, seed)


def bids(
    events: int | None = None, *, rate: float | None = None, partitions: int = 1, seed: int = 0
) -> NexmarkSource:
    """Bids of the Nexmark benchmark: auction, bidder, price, channel, url, date_time.

    Of 50 events 1 is a person, 3 are auctions and 46 are bids; `persons`, `auctions` and `bids` with the same
    arguments are parts of one world, in which a bid names auctions and persons that are there (or will be in
    a moment). Event time (`date_time`) begins on 2015-07-15 and advances by 100 microseconds an event; rows
    come in its order. Every row is a function of its number and the seed, so the source is replayable, goes
    on exactly where it was, and makes no column that nobody reads.

    Args:
        events: how many events there are, of all kinds together; default: no end.
        rate: events a second, of all kinds together, by the runner's clock; default: as fast as they are
            taken. A batch run takes no notice of it.
        partitions: rows are dealt out to that many partitions, one by one.
        seed: another one gives other rows.

    Raises:
        DefinitionError: a number out of range.

    >>> import streamlib as sl
    >>> stream = sl.read(bids(events=1_000), name="bids", event_time="date_time", watermark=sl.monotone())
    >>> table = stream.key_by("auction").window(sl.windows.tumbling("1s")).aggregate(n=sl.count()).collect()
    >>> sum(table["n"].to_pylist())
    920
    """
    return _source("bids", events, rate, partitions, seed)


def events(
    events: int | None = None, *, rate: float | None = None, partitions: int = 1, seed: int = 0
) -> NexmarkSource:
    """All events in order: event_type, person, auction, bid, date_time. See `bids`.

    `event_type` is 0 for a person, 1 for an auction, 2 for a bid; of the structs the other two are null.
    """
    return _source(None, events, rate, partitions, seed)


def _source(kind: Kind | None, count: int | None, rate: float | None, parts: int, seed: int) -> NexmarkSource:
    who = f"nexmark.{kind or 'events'}"
    checked_number(who, "partitions", parts)
    if count is not None:
        checked_number(who, "events", count)
    if rate is not None:
        checked_number(who, "rate", rate, whole=False)
    schema = _EVENTS if kind is None else SCHEMAS[kind]
    return NexmarkSource(kind, count, rate, parts, operator.index(seed), tuple(schema.names))
