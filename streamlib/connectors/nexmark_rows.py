"""What Nexmark's events are, each a function of its number and a seed: whole columns at a time.

After the generator of Apache Beam's Nexmark suite: of 50 events 1 is a person, 3 are auctions, 46 are bids;
half of the bids go to the newest hot auction (every hundredth), 3 of 4 by the newest hot person; the others
are spread over what is live. Prices are log-uniform. Texts are shorter, and `extra`, which only fills up, is
left out. Every random number is a hash of the event's number, so that any row can be made again by itself.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from streamlib.core.mixing import GOLDEN, mix

Kind = Literal["persons", "auctions", "bids"]
Numbers = npt.NDArray[np.int64]

START = 1_436_918_400_000_000  # 2015-07-15: the base time of Nexmark, in microseconds
SPACING = 100  # microseconds between events: 10,000 a second of event time
CYCLE = 50  # events, of which the first is a person, the next 3 are auctions, and 46 are bids
FIRST: Mapping[Kind, int] = {"persons": 0, "auctions": 1, "bids": 4}
EACH: Mapping[Kind, int] = {"persons": 1, "auctions": 3, "bids": 46}

_FIRST_ID, _FIRST_CATEGORY, _CATEGORIES = 1_000, 10, 5
_HOT = 100  # every hundredth person and auction is hot
_LIVE_AUCTIONS, _LIVE_PERSONS = 100, 1_000
_LEAD = 10  # ids up to so many ahead are named before they are there
_MICROS_LIVE = _LIVE_AUCTIONS * CYCLE // EACH["auctions"] * SPACING

_MOMENT = pa.timestamp("us", "UTC")
_HOT_CHANNELS = ["Google", "Facebook", "Baidu", "Apple"]
_CHANNELS = pa.array([*_HOT_CHANNELS, *(f"channel-{i}" for i in range(10_000))])
_URL = "https://www.nexmark.com/{}/item.htm?query=1"
_NAMES = ["Peter", "Paul", "Luke", "John", "Saul", "Vicky", "Kate", "Julie", "Sarah", "Deiter", "Walter"]
_SURNAMES = ["Shultz", "Abrams", "Spencer", "White", "Bartels", "Walton", "Smith", "Jones", "Noris"]
_CITIES = ["Phoenix", "Palo Alto", "San Mateo", "Seattle", "Portland", "Bend", "Redmond", "Kent", "Cheyenne"]
_STATES = ["AZ", "CA", "CA", "WA", "OR", "OR", "WA", "WA", "WY"]
_ITEMS = [f"{kind} {thing}" for kind in ("old", "new", "rare") for thing in ("lamp", "clock", "stamp", "map")]
_DIGITS = pa.array([f"{i:04}" for i in range(10_000)])

SCHEMAS: Mapping[Kind, pa.Schema] = {
    "persons": pa.schema(
        {
            "id": pa.int64(),
            "name": pa.string(),
            "email_address": pa.string(),
            "credit_card": pa.string(),
            "city": pa.string(),
            "state": pa.string(),
            "date_time": _MOMENT,
        }
    ),
    "auctions": pa.schema(
        {
            "id": pa.int64(),
            "item_name": pa.string(),
            "description": pa.string(),
            "initial_bid": pa.int64(),
            "reserve": pa.int64(),
            "date_time": _MOMENT,
            "expires": _MOMENT,
            "seller": pa.int64(),
            "category": pa.int64(),
        }
    ),
    "bids": pa.schema(
        {
            "auction": pa.int64(),
            "bidder": pa.int64(),
            "price": pa.int64(),
            "channel": pa.string(),
            "url": pa.string(),
            "date_time": _MOMENT,
        }
    ),
}


def events_of(kind: Kind, rows: Numbers) -> Numbers:
    """The numbers of the events that rows of a kind are.

    >>> events_of("auctions", np.arange(4)).tolist()
    [1, 2, 3, 51]
    """
    cycles, within = np.divmod(rows, EACH[kind])
    return cycles * CYCLE + FIRST[kind] + within


def rows_before(kind: Kind, event: int) -> int:
    """How many rows of a kind come before an event."""
    cycles, within = divmod(event, CYCLE)
    return cycles * EACH[kind] + min(max(within - FIRST[kind], 0), EACH[kind])


def rows_of(kind: Kind, events: Numbers, seed: int, columns: Sequence[str]) -> pa.RecordBatch:
    """Some columns of the rows that events of one kind are."""
    made = _Events(events, seed)
    schema = pa.schema([SCHEMAS[kind].field(name) for name in columns])
    arrays = [_COLUMNS[kind][name](made) for name in columns]
    fitted = [
        pa.array(a).view(f.type) if isinstance(a, np.ndarray) else a
        for a, f in zip(arrays, schema, strict=True)
    ]
    return pa.RecordBatch.from_arrays(fitted, schema=schema)


class _Events:
    """Events by number, with what several columns need, and random numbers by name."""

    def __init__(self, events: Numbers, seed: int) -> None:
        self.events = events
        self._seed = seed
        cycles, within = np.divmod(events, CYCLE)
        self.person = cycles
        self.auction = cycles * 3 + np.minimum(within, 3) - 1

    def chance(self, stream: int) -> npt.NDArray[np.float64]:
        """A random number from 0 to 1 for each event; every use has a stream of its own."""
        salt = mix(np.array([self._seed % 2**64], np.uint64) + GOLDEN)[0] + np.uint64(stream)
        with np.errstate(over="ignore"):
            words = self.events.view(np.uint64) * GOLDEN + mix(np.array([salt], np.uint64))[0]
        return np.multiply(mix(words) >> np.uint64(11), 2.0**-53, dtype=np.float64)

    def below(self, stream: int, bound: int | Numbers) -> Numbers:
        """A random whole number below `bound` for each event."""
        return (self.chance(stream) * bound).astype(np.int64)

    def one_of(self, stream: int, values: Any) -> pa.Array:
        """One of some texts for each event."""
        texts = pa.array(values) if isinstance(values, list) else values
        return texts.take(pa.array(self.below(stream, len(texts))))

    def price(self, stream: int) -> Numbers:
        """From 100 to 100 million, evenly by magnitude."""
        return np.rint(10 ** (self.chance(stream) * 6) * 100).astype(np.int64)

    def time(self) -> Numbers:
        return START + self.events * SPACING

    def some_person(self, stream: int, hot: Numbers) -> Numbers:
        """A hot person in 3 of 4 cases, else one of the live ones."""
        live = np.minimum(self.person + 1, _LIVE_PERSONS)
        cold = self.person + 1 - live + self.below(stream, live + _LEAD)
        return _FIRST_ID + np.where(self.chance(stream + 1) < 3 / 4, hot, cold)

    def some_auction(self) -> Numbers:
        """The newest hot auction in half of the cases, else one of the live ones."""
        least = np.maximum(self.auction - _LIVE_AUCTIONS, 0)
        cold = least + self.below(3, self.auction - least + 1 + _LEAD)
        return _FIRST_ID + np.where(self.chance(4) < 1 / 2, self.auction // _HOT * _HOT, cold)

    def channel(self) -> Numbers:
        """The number of a channel: in half of the cases one of the four hot ones."""
        hot, cold = self.below(5, 4), 4 + self.below(6, 10_000)
        return np.where(self.chance(7) < 1 / 2, hot, cold)

    def card(self) -> pa.Array:
        return pc.binary_join_element_wise(*(self.one_of(14 + i, _DIGITS) for i in range(4)), " ")

    def email(self) -> pa.Array:
        who = self.one_of(12, [name.lower() for name in _NAMES])
        where = self.one_of(13, [f"{name.lower()}.com" for name in _SURNAMES])
        return pc.binary_join_element_wise(who, where, "@")

    def name(self) -> pa.Array:
        return pc.binary_join_element_wise(self.one_of(10, _NAMES), self.one_of(11, _SURNAMES), " ")

    def expires(self) -> Numbers:
        """Within twice the time in which as many auctions begin as are live."""
        return self.time() + 1_000 * (1 + self.below(24, max(1, 2 * _MICROS_LIVE // 1_000)))


_URLS = pa.array([_URL.format(name.lower()) for name in _CHANNELS.to_pylist()])

_COLUMNS: Mapping[Kind, Mapping[str, Callable[[_Events], pa.Array | Numbers]]] = {
    "persons": {
        "id": lambda made: _FIRST_ID + made.person,
        "name": _Events.name,
        "email_address": _Events.email,
        "credit_card": _Events.card,
        "city": lambda made: made.one_of(18, _CITIES),
        "state": lambda made: made.one_of(18, _STATES),
        "date_time": _Events.time,
    },
    "auctions": {
        "id": lambda made: _FIRST_ID + made.auction,
        "item_name": lambda made: made.one_of(19, _ITEMS),
        "description": lambda made: made.one_of(20, _ITEMS),
        "initial_bid": lambda made: made.price(21),
        "reserve": lambda made: made.price(21) + made.price(22),
        "date_time": _Events.time,
        "expires": _Events.expires,
        "seller": lambda made: made.some_person(25, made.person // _HOT * _HOT),
        "category": lambda made: _FIRST_CATEGORY + made.below(23, _CATEGORIES),
    },
    "bids": {
        "auction": _Events.some_auction,
        "bidder": lambda made: made.some_person(1, made.person // _HOT * _HOT + 1),
        "price": lambda made: made.price(8),
        "channel": lambda made: _CHANNELS.take(pa.array(made.channel())),
        "url": lambda made: _URLS.take(pa.array(made.channel())),
        "date_time": _Events.time,
    },
}
