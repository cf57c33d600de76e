"""Aggregates of one's own: every path that built-in ones take, and mistakes named where they are made."""

from __future__ import annotations

import random
import re
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pytest

import streamlib as sl
from streamlib import col, windows
from streamlib.connectors import memory
from streamlib.core.errors import CheckError, DefinitionError, StateIncompatibleError, UserFunctionError
from streamlib.operators import AggregateFunction, Argument
from streamlib.testing import assert_parity, assert_survives


@dataclass(frozen=True, eq=False)
class WeightedMean(AggregateFunction):
    """Two numbers of state."""

    value: Argument
    weight: Argument

    def state_types(self, value, weight):
        return {"total": pa.float64(), "weight": pa.float64()}

    def result_type(self, value, weight):
        return pa.float64()

    def create(self, groups):
        return {"total": np.zeros(groups), "weight": np.zeros(groups)}

    def add(self, state, codes, value, weight):
        np.add.at(state["total"], codes, value * weight)
        np.add.at(state["weight"], codes, weight)

    def retract(self, state, codes, value, weight):
        np.subtract.at(state["total"], codes, value * weight)
        np.subtract.at(state["weight"], codes, weight)

    def merge(self, state, codes, other):
        np.add.at(state["total"], codes, other["total"])
        np.add.at(state["weight"], codes, other["weight"])

    def finish(self, state):
        nothing = state["weight"] == 0
        return pa.array(state["total"] / np.where(nothing, 1, state["weight"]), mask=nothing)


@dataclass(frozen=True, eq=False)
class AllWords(AggregateFunction):
    """State that is a column of lists, a flag and an instant; a list as the result."""

    word: Argument
    at: Argument

    def state_types(self, word, at):
        return {"words": pa.list_(word), "any": pa.bool_(), "last": pa.int64()}

    def result_type(self, word, at):
        return pa.list_(word)

    def create(self, groups):
        empty = pa.array([[]] * groups, pa.list_(pa.string()))
        return {"words": empty, "any": np.zeros(groups, bool), "last": np.full(groups, -(2**63))}

    def add(self, state, codes, word, at):
        self._with(state, codes, pa.array([[w] for w in word.to_pylist()], pa.list_(pa.string())))
        np.maximum.at(state["last"], codes, at)

    def merge(self, state, codes, other):
        self._with(state, codes, other["words"])
        np.maximum.at(state["last"], codes, other["last"])

    def _with(self, state, codes, lists):
        words = state["words"].to_pylist()
        for code, more in zip(codes.tolist(), lists.to_pylist(), strict=True):
            words[code] = sorted({*words[code], *more})
        state["words"] = pa.array(words, pa.list_(pa.string()))
        state["any"] = pc.list_value_length(state["words"]).to_numpy() > 0

    def finish(self, state):
        assert (state["any"] == (pc.list_value_length(state["words"]).to_numpy() > 0)).all()
        return state["words"]


def rows(count: int = 300, seed: int = 1) -> list[dict[str, Any]]:
    chance = random.Random(seed)
    return [
        {
            "at": (i * 2 + chance.randint(0, 5)) * 1_000_000,
            "n": chance.choice([None, 0, 1, 2, 900]),
            "k": chance.choice(["a", "b", None]),
            "value": chance.choice([None, chance.uniform(-5, 5)]),
            "weight": chance.choice([None, chance.randint(0, 4)]),
        }
        for i in range(count)
    ]


def read(data: list[dict[str, Any]], delay: str = "5s") -> sl.Stream:
    source = memory.source(data, chunk_rows=37)
    return sl.read(source, name="rows", event_time="at", watermark=sl.bounded_disorder(delay))


def weighted(found: list[dict[str, Any]]) -> float | None:
    pairs = [(r["value"], r["weight"]) for r in found if r["value"] is not None and r["weight"] is not None]
    weight = sum(w for _, w in pairs)
    return sum(v * w for v, w in pairs) / weight if weight else None


@pytest.mark.parametrize("keys", [(), ("n",), ("k",), ("k", "n")])
@pytest.mark.parametrize("every", [20, 10])
def test_a_custom_aggregate_equals_plain_python_in_batches_streams_and_after_power_cuts(keys, every):
    data = rows()
    keyed = read(data).key_by(*keys) if keys else read(data)
    window = windows.sliding("20s", every=f"{every}s")
    result = keyed.window(window).aggregate(mean=WeightedMean("value", "weight"), rows=sl.count())
    flow = sl.Flow("custom", result.write(memory.sink(), name="out"))
    found = assert_parity(flow, seeds=range(3))["out"]
    assert_survives(flow, seeds=range(3))
    for row in found.to_pylist():
        start = int(row["window_start"].timestamp()) * 1_000_000
        inside = [
            r for r in data if start <= r["at"] < start + 20_000_000 and all(r[k] == row[k] for k in keys)
        ]
        expected = weighted(inside)
        assert row["rows"] == len(inside)
        assert row["mean"] == (expected if expected is None else pytest.approx(expected))


def test_lists_flags_and_instants_are_state_too():
    result = (
        read(rows())
        .key_by("n")
        .window(windows.sliding("20s", every="5s"))
        .aggregate(words=AllWords("k", "at"))
    )
    flow = sl.Flow("words", result.write(memory.sink(), name="out"))
    found = assert_parity(flow, seeds=range(3))["out"]
    assert_survives(flow, seeds=range(3))
    assert {tuple(w) for w in found["words"].to_pylist()} >= {("a",), ("a", "b"), ()}


def test_a_custom_aggregate_takes_rows_back_over_a_changelog():
    data = [r for r in rows() if r["value"] is not None]
    sums = read(data).key_by("n").aggregate(value=sl.sum("value"), weight=sl.count())
    result = (
        sums.key_by().aggregate(mean=WeightedMean("value", "weight"))
        if False
        else sums.aggregate(mean=WeightedMean("value", "weight"))
    )
    found = result.collect().to_pylist()
    by_key = {r["n"]: r["mean"] for r in found}
    for key, mean in by_key.items():
        assert mean == pytest.approx(sum(r["value"] for r in data if r["n"] == key))


def test_arguments_may_be_expressions_and_equal_aggregates_are_equal():
    assert WeightedMean("value", "weight") == WeightedMean(col("value"), weight=col("weight"))
    assert WeightedMean("value", "weight") != WeightedMean("weight", "value")
    assert repr(WeightedMean("value", weight="weight")) == "WeightedMean(value='value', weight='weight')"
    data = rows()
    one = read(data).window(windows.tumbling("1h"))
    doubled = one.aggregate(mean=WeightedMean(col("value") * 2, "weight")).collect()["mean"][0].as_py()
    assert doubled == pytest.approx(2 * weighted(data))


@dataclass(frozen=True, eq=False)
class Scaled(WeightedMean):
    """One with a parameter."""

    by: float = 1.0

    def finish(self, state):
        return pc.multiply(super().finish(state), self.by)


def test_another_parameter_is_another_aggregate_and_does_not_fit_the_state(tmp_path):
    def run(by: float) -> None:
        result = read(rows()).window(windows.tumbling("10s")).aggregate(mean=Scaled("value", "weight", by=by))
        sl.Flow("f", result.write(memory.sink(), name="out")).run(state=str(tmp_path), progress="none")

    run(2.0)
    with pytest.raises(StateIncompatibleError, match="another shape"):
        run(3.0)


# --------------------------------------------------------------------------- mistakes


@dataclass(frozen=True, eq=False)
class Bad(WeightedMean):
    """One whose methods can be replaced; each gets its aggregate and what it was called with."""

    methods: dict[str, Any] = field(default_factory=dict)

    def __getattribute__(self, name):
        methods = object.__getattribute__(self, "__dict__").get("methods", {})
        return methods[name] if name in methods else object.__getattribute__(self, name)


def broken(state, codes, *values):
    raise ZeroDivisionError("mine")


def shared(groups):
    return dict.fromkeys(("total", "weight"), np.zeros(groups))


def words(state):
    return pa.array(["x"] * len(state["total"]))


def shorter(state, codes, *values):
    state["total"] = state["total"][1:]


def other_type(state, codes, *values):
    state["total"] = np.array(["a"] * len(state["total"]))


def forgetful(state, codes, *values):
    del state["weight"]


def nulls(state, codes, *values):
    state["total"] = pa.nulls(len(state["total"]), pa.float64())


def writes_arguments(state, codes, value, weight):
    value += 1.0


Wrong = UserFunctionError
MISTAKES = {
    "state_types": ({"state_types": lambda *t: ["total"]}, Wrong, "a dict of names and pyarrow types"),
    "state type": ({"state_types": lambda *t: {"a": float}}, Wrong, "a plain pyarrow type"),
    "result_type": ({"result_type": lambda *t: float}, Wrong, "expected: a pyarrow type"),
    "arguments": ({"add": lambda state, codes, value: None}, DefinitionError, "state, codes and 2 arguments"),
    "create": ({"create": lambda n: {"total": np.zeros(n)}}, Wrong, "the state columns total, weight"),
    "create length": (
        {"create": lambda n: {"total": np.zeros(n + 1), "weight": np.zeros(n)}}, Wrong, "type double"
    ),
    "create twice": (
        {"create": shared}, Wrong, "one vector under several"
    ),
    "create scalars": ({"create": lambda n: {"total": 0.0, "weight": 0.0}}, Wrong, "found:    0.0"),
    "add raises": ({"add": broken}, ZeroDivisionError, "mine"),
    "add returns": ({"add": lambda *a: a[0]}, Wrong, "nothing: `state` is changed in place"),
    "add shortens": ({"add": shorter}, Wrong, "state column 'total' as a vector of"),
    "add changes types": ({"add": other_type}, Wrong, "of type double"),
    "add forgets": ({"add": forgetful}, Wrong, "the state columns total, weight"),
    "add nulls": ({"add": nulls}, Wrong, "count what is there in a column beside it"),
    "add writes": ({"add": writes_arguments}, ValueError, "read-only"),
    "finish": ({"finish": lambda state: state["total"][1:]}, Wrong, "the result as a vector of"),
    "finish type": ({"finish": words}, Wrong, "type string"),
    "finish writes": ({"finish": lambda s: s["total"].fill(1)}, ValueError, "read-only"),
}  # fmt: skip


@pytest.mark.parametrize("name", MISTAKES)
def test_a_mistake_in_a_method_names_the_aggregate_the_method_and_the_line(name):
    methods, error, text = MISTAKES[name]
    stream = read(rows()).key_by("k").window(windows.tumbling("20s"))
    with pytest.raises(error) as caught:
        stream.aggregate(mean=Bad("value", "weight", methods)).collect()
    told = "\n".join([str(caught.value), *getattr(caught.value, "__notes__", ())])
    assert text in told
    assert "Bad." in told
    assert "in operator 'aggregate' (test_custom_aggregates.py:" in told
    if error is ZeroDivisionError:
        assert "while Bad.add worked on" in told
        assert "for the result 'mean'" in told


def test_a_class_without_all_methods_cannot_be_made():
    @dataclass(frozen=True, eq=False)
    class Half(AggregateFunction):
        value: Argument

    with pytest.raises(TypeError, match="abstract method"):
        Half("value")


# --------------------------------------------------------------------------- laws


@dataclass(frozen=True, eq=False)
class Total(AggregateFunction):
    """A sum."""

    value: Argument

    def state_types(self, value):
        return {"total": pa.float64()}

    def result_type(self, value):
        return pa.float64()

    def create(self, groups):
        return {"total": np.zeros(groups)}

    def add(self, state, codes, value):
        np.add.at(state["total"], codes, value)

    def merge(self, state, codes, other):
        np.add.at(state["total"], codes, other["total"])

    def finish(self, state):
        return state["total"]


@dataclass(frozen=True, eq=False)
class AddLoses(Total):
    def add(self, state, codes, value):
        state["total"][codes] += value


@dataclass(frozen=True, eq=False)
class MergeDoesNothing(Total):
    def merge(self, state, codes, other):
        pass


@dataclass(frozen=True, eq=False)
class MergeOverwrites(Total):
    def merge(self, state, codes, other):
        state["total"][codes] = other["total"]


@dataclass(frozen=True, eq=False)
class MergeLoses(Total):
    def merge(self, state, codes, other):
        state["total"][codes] += other["total"]


@dataclass(frozen=True, eq=False)
class BeginsAtOne(Total):
    def create(self, groups):
        return {"total": np.ones(groups)}


@dataclass(frozen=True, eq=False)
class LastToArrive(Total):
    def create(self, groups):
        return {"total": np.full(groups, np.nan)}

    def add(self, state, codes, value):
        state["total"][codes] = value

    def merge(self, state, codes, other):
        some = ~np.isnan(other["total"])
        state["total"][codes[some]] = other["total"][some]


@dataclass(frozen=True, eq=False)
class DoesNotTakeBack(Total):
    def retract(self, state, codes, value):
        pass


BROKEN = {
    AddLoses: "`add` depends on the order of rows",
    MergeDoesNothing: "`merge` changes a state that goes into what `create` gives",
    MergeOverwrites: "a state without rows changes what it is merged with",
    MergeLoses: "a state without rows changes what it is merged with|`add` and `merge` do not agree",
    BeginsAtOne: "`merge` changes a state that goes into what `create` gives",
    LastToArrive: "`add` depends on the order of rows",
    DoesNotTakeBack: "`retract` does not undo `add`",
}

GROUPINGS = {
    "tumbling": lambda s: s.window(windows.tumbling("2min")),
    "sliding": lambda s: s.window(windows.sliding("4min", every="2min")),
    "running": lambda s: s,
}


def totals(grouping, aggregate, **more):
    rows = [
        {"at": i * 7_000_000, "item": "pen" if i % 3 else "ink", "price": i * 37 % 100 + 0.5}
        for i in range(100)
    ]
    stream = sl.read(memory.source(rows), name="t", event_time="at", watermark=sl.bounded_disorder("10s"))
    result = GROUPINGS[grouping](stream.key_by("item")).aggregate(x=aggregate, **more)
    sink = memory.table_sink() if grouping == "running" else memory.sink()
    return sl.Flow("f", result.write(sink, name="out"))


@pytest.mark.parametrize("check", [assert_parity, assert_survives])
@pytest.mark.parametrize("grouping", GROUPINGS)
@pytest.mark.parametrize("kind", BROKEN)
def test_an_aggregate_that_breaks_a_law_is_found_with_few_rows(kind, grouping, check):
    with pytest.raises(CheckError) as caught:
        check(totals(grouping, kind("price")), seeds=range(1))
    text = str(caught.value)
    assert text.startswith("in operator 'aggregate' (test_custom_aggregates.py:")
    assert f"x={kind.__name__}(value='price'): " in text
    assert re.search(BROKEN[kind], text)
    assert re.search(r"[123] rows? of one group: \(price=[0-9.]+\)", text)
    assert "to do:" in text


@pytest.mark.parametrize("grouping", GROUPINGS)
def test_an_aggregate_that_keeps_the_laws_passes(grouping):
    flow = totals(grouping, WeightedMean("price", weight="price"), n=sl.count())
    assert_parity(flow)
    assert_survives(flow, seeds=range(3))


@dataclass(frozen=True, eq=False)
class SaysThatOrderMatters(LastToArrive):
    order_sensitive = "the last to arrive counts"


def test_an_aggregate_that_says_that_order_matters_need_not_keep_the_laws_of_order():
    assert_parity(totals("tumbling", SaysThatOrderMatters("price")), seeds=range(1))


@dataclass(frozen=True, eq=False)
class SingleTotal(Total):
    """Sums of 4-byte floats, whose last digits hang on the order."""

    def state_types(self, value):
        return {"total": pa.float32()}

    def create(self, groups):
        return {"total": np.zeros(groups, np.float32)}

    def add(self, state, codes, value):
        np.add.at(state["total"], codes, (value / 7).astype(np.float32))

    def finish(self, state):
        return state["total"].astype(float).round(2)


def test_sums_of_small_floats_differ_in_their_last_digits_and_keep_the_laws():
    assert_parity(totals("tumbling", SingleTotal("price")), seeds=range(1))
