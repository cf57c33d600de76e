"""Functions per record with a state per key: stateful_map, fold, reduce."""

from __future__ import annotations

import random
from dataclasses import dataclass, field
from typing import Any, TypedDict

import msgspec
import pyarrow as pa
import pytest
from toolz import pipe

import streamlib as sl
from streamlib import operators as op
from streamlib import windows
from streamlib.connectors import memory
from streamlib.core.errors import DefinitionError, TypeMismatchError, UserFunctionError
from streamlib.core.time import MIN_TIME
from streamlib.state.keyed_objects import KeyedObjects
from streamlib.state.object_codec import ObjectCodec
from streamlib.testing import assert_parity, assert_survives
from tests.sharing import same_rows, shared_rows

SECOND = 1_000_000


class Numbered(TypedDict):
    key: str | None
    value: int
    nth: int


@dataclass
class Seen:
    count: int = 0
    values: list[int] = field(default_factory=list)


@dataclass
class Other:
    count: int


class Best(msgspec.Struct):
    value: int
    key: str | None


def random_rows(seed: int, count: int = 150, disorder: int = 3) -> pa.Table:
    chance = random.Random(seed)
    rows, now = [], 0
    for i in range(count):
        now += chance.choice([0, 1, 1, 2, 9]) * SECOND
        behind = chance.randint(0, disorder) * SECOND
        rows.append({"at": now - behind, "key": chance.choice(["a", "b", "c", None]), "value": i})
    return pa.Table.from_pylist(
        rows, pa.schema([("at", pa.int64()), ("key", pa.string()), ("value", pa.int64())])
    )


def of(table: pa.Table, chunk: int = 64) -> sl.Stream:
    source = memory.source(table, chunk_rows=chunk)
    return sl.read(source, name="rows", event_time="at", watermark=sl.bounded_disorder("3s"), max_ahead=None)


def numbered(seen: Seen, row: dict) -> tuple[Seen, Numbered]:
    seen.count += 1  # in place: another key must not see it
    seen.values.append(row["value"])
    return seen, Numbered(key=row["key"], value=row["value"], nth=seen.count)


def total(so_far: int, row: dict) -> int:
    return so_far + row["value"]


def best(so_far: Best, row: Best) -> Best:
    return row if row.value % 7 > so_far.value % 7 else so_far


def reference(table: pa.Table, ttl: int | None = None) -> list[dict[str, Any]]:
    """How many rows of its key, that are not forgotten, every row stands behind; by arrival."""
    counts: dict[Any, tuple[int, int]] = {}
    found = []
    for row in table.to_pylist():
        count, last = counts.get(row["key"], (0, MIN_TIME))
        if ttl is not None and row["at"] >= last + ttl:
            count, last = 0, MIN_TIME
        counts[row["key"]] = count + 1, max(last, row["at"])
        found.append({"key": row["key"], "value": row["value"], "nth": count + 1})
    return found


@pytest.mark.parametrize("chunk", [1, 7, 1000])
@pytest.mark.parametrize("ttl", [None, 5 * SECOND])
def test_every_record_meets_the_state_that_its_key_left(chunk, ttl):
    table = random_rows(1)
    stream = pipe(of(table, chunk), op.key_by("key"), op.stateful_map(numbered, initial=Seen(), ttl=ttl))
    assert stream.collect().to_pylist() == reference(table, ttl)


@pytest.mark.parametrize("seed", range(4))
def test_streams_and_batches_agree_also_after_crashes_and_with_a_ttl(seed):
    table = random_rows(seed)
    keyed = of(table).key_by("key")
    flow = sl.Flow(
        "f",
        keyed.stateful_map(numbered, initial=Seen()).write(memory.sink(), name="kept"),
        keyed.stateful_map(numbered, initial=Seen(), ttl="4s").write(memory.sink(), name="expiring"),
        keyed.fold(0, total).write(memory.sink(), name="folded"),
        keyed.reduce(best).write(memory.sink(), name="reduced"),
    )
    found = assert_parity(flow, seeds=range(2))
    assert_survives(flow, seeds=range(2))
    assert same_rows(found["expiring"].to_pylist(), reference(table, 4 * SECOND))


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("ttl", [None, "4s"])
def test_any_number_of_workers_gives_the_same_also_for_late_rows(seed, ttl):
    table = random_rows(seed, disorder=12)

    def stream(chunk: int) -> sl.Stream:
        return of(table, chunk).key_by("key").stateful_map(numbered, initial=Seen(), ttl=ttl)

    alone = shared_rows(stream, 0, workers=(1,))
    assert same_rows(shared_rows(stream, seed), alone)


def test_a_fold_emits_every_state_with_the_key_and_the_event_time():
    table = pa.table({"at": [1, 2, 11 * SECOND], "key": ["a", "b", "a"], "value": [1, 2, 3]})
    folded = of(table).key_by("key").fold(0, total, into="sum")
    assert folded.collect().to_pylist() == [
        {"key": "a", "sum": 1},
        {"key": "b", "sum": 2},
        {"key": "a", "sum": 4},
    ]
    last = folded.window(windows.tumbling("10s")).aggregate(top=sl.max("sum"))
    assert sorted(last.collect()["top"].to_pylist()) == [1, 2, 4]


def test_a_fold_into_a_record_or_a_dict_shows_each_state_as_it_was():
    def seen(state: Seen, row: dict) -> Seen:
        state.count += 1
        state.values.append(row["value"])
        return state

    def counted(state: dict[str, int], row: dict) -> dict[str, int]:
        state["n"] += 1
        return state

    table = pa.table({"at": [1, 2], "key": ["a", "a"], "value": [5, 6]})
    assert of(table).fold(Seen(), seen).collect().to_pylist() == [
        {"count": 1, "values": [5]},
        {"count": 2, "values": [5, 6]},
    ]
    stream = of(table).key_by("key").fold({"n": 0}, counted, schema={"n": pa.int64()})
    assert stream.collect().to_pylist() == [{"key": "a", "n": 1}, {"key": "a", "n": 2}]


def test_reduce_gives_the_first_as_it_is_and_then_what_two_become():
    def higher(a: dict, b: dict) -> dict:
        return a if a["value"] > b["value"] else b

    table = pa.table({"at": [1, 2, 3, 4], "key": ["a", "b", "a", "a"], "value": [5, 1, 3, 9]})
    found = of(table).key_by("key").reduce(higher).collect()
    assert found.column_names == ["at", "key", "value"]
    assert found["value"].to_pylist() == [5, 1, 5, 9]


def test_states_that_grow_for_ever_and_the_order_are_said_in_the_plan():
    keyed = of(random_rows(0)).key_by("key")
    text = sl.Flow("f", keyed.fold(0, total).write(memory.sink(), name="o")).explain()
    assert "unbounded state: grows with every new key; give `ttl=` to bound it" in text
    running = keyed.aggregate(n=sl.count()).write(memory.table_sink(), name="o")
    assert "grows with every new key; aggregate in windows to bound it" in sl.Flow("f", running).explain()
    assert "order-sensitive" in text
    bounded = sl.Flow("f", keyed.fold(0, total, ttl="1h").write(memory.sink(), name="o")).explain()
    assert "unbounded" not in bounded
    assert "state kept for 1h" in bounded


def nothing(a, b):
    return a


def untyped(last: Any, row: dict) -> Any: ...


def no_pair(last: int, row: dict) -> Any:
    return last


def of_two(last: Seen | Other, row: dict) -> tuple[Seen | Other, Numbered]: ...


def differs(a: Best, b: dict) -> Best: ...


@pytest.mark.parametrize(
    ("build", "error", "text"),
    [
        (lambda s: s.stateful_map(nothing), DefinitionError, "not known what the state"),
        (
            lambda s: s.stateful_map(no_pair, schema={"n": pa.int64()}),
            DefinitionError,
            "no state for .* to begin with",
        ),
        (lambda s: s.stateful_map(no_pair, initial=0), DefinitionError, "which columns"),
        (lambda s: s.fold(None, untyped), DefinitionError, "not known what the state"),
        (lambda s: s.fold("x", total), UserFunctionError, "can't be stored as its declared type"),
        (lambda s: s.fold(0, total, ttl=0), DefinitionError, "a duration above 0"),
        (lambda s: s.fold(0, total, into=""), DefinitionError, "not a name for a column"),
        (lambda s: s.stateful_map(of_two, initial=Seen()), DefinitionError, "can't be state"),
        (lambda s: s.reduce(differs), DefinitionError, "does not give what it takes"),
        (lambda s: s.stateful_map(3), TypeMismatchError, "not a function"),
        (lambda s: s.aggregate(n=sl.count()).reduce(best).collect(), TypeMismatchError, "to_changelog"),
        (
            lambda s: s.stateful_map(no_pair, initial=0, schema={"n": pa.int64()}).collect(),
            UserFunctionError,
            "did not return a state and a result",
        ),
    ],
)
def test_mistakes_are_refused_with_what_to_do(build, error, text):
    with pytest.raises(error, match=text):
        build(of(random_rows(0)).key_by("key"))


def test_what_the_function_raises_comes_through_with_the_row():
    def fails(state: int, row: dict) -> int:
        raise KeyError("gone")

    with pytest.raises(KeyError, match="gone") as caught:
        of(random_rows(0)).key_by("key").fold(0, fails).collect()
    assert any("took row 0: {'at'" in note for note in caught.value.__notes__)


def test_a_state_that_is_not_of_its_type_stops_the_checkpoint_and_not_the_restore():
    codec = ObjectCodec(dict)
    with pytest.raises(UserFunctionError, match="it comes back as"):
        codec.encode({"a": (1, 2)})
    with pytest.raises(UserFunctionError, match="declare the type"):
        ObjectCodec(int).encode("one")


def test_a_snapshot_holds_what_changed_and_forgotten_keys_go_for_good():
    states = KeyedObjects([pa.int64()], ObjectCodec(int))
    keys = pa.array(range(10_000))
    for slot in states.slots_of([keys], 10_000):
        states.objects[slot], states.times[slot] = slot, slot
        states.changed([slot])
    first = states.segments()
    (slot,) = states.slots_of([pa.array([7])], 1)
    states.objects[slot] = -1
    states.changed([slot])
    second = states.segments()
    assert second[0] is first[0]
    assert second[1].table().num_rows == 1
    states.forget(9_000)
    third = states.segments()
    again = KeyedObjects([pa.int64()], ObjectCodec(int))
    again.restore(pa.concat_tables([segment.table() for segment in third]))
    assert len(again.objects) == 1000
    assert sorted(again.objects) == list(range(9_000, 10_000))
