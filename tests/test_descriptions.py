"""Descriptions of one's own: what of them can be known to be wrong is said where it is written."""

from __future__ import annotations

import os
import subprocess
import sys
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any, ClassVar

import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pytest

import streamlib as sl
from streamlib import windows
from streamlib.connectors import memory
from streamlib.core.canonical import canonical, fingerprint
from streamlib.core.errors import DefinitionError, TypeMismatchError
from streamlib.operators import AggregateFunction, Argument, Operator, OperatorSpec, concat_batches

START = datetime(2026, 1, 1, tzinfo=UTC)
ROWS = [{"at": START + timedelta(seconds=i), "item": "abc"[i % 3], "price": i} for i in range(90)]
BOUND = sl.bounded_disorder("1s")


def read(rows: Any, **options: Any) -> Any:
    return sl.read(memory.source(rows, **options), name="rows", event_time="at", watermark=BOUND)


class Bare(windows.WindowAssigner):
    """Not decorated, so it can change, and no two can be told apart."""

    def __init__(self, size: int) -> None:
        self.size = size

    def assign(self, times):
        starts = times // self.size * self.size
        return np.arange(len(times)), starts, starts + self.size


class Counting(AggregateFunction):
    """The methods of an aggregate."""

    def state_types(self, value):
        return {"n": pa.int64()}

    def result_type(self, value):
        return pa.int64()

    def create(self, groups):
        return {"n": np.zeros(groups, np.int64)}

    def add(self, state, codes, value):
        np.add.at(state["n"], codes, 1)

    def merge(self, state, codes, other):
        np.add.at(state["n"], codes, other["n"])

    def finish(self, state):
        return state["n"]


@dataclass(eq=False)
class Changing(Counting):
    """Decorated, and not frozen."""

    value: Argument


def test_windows_and_aggregates_that_can_change_are_refused_like_operators() -> None:
    with pytest.raises(DefinitionError, match=r"operator 'window' \(test_desc.*Bare can be changed"):
        read(ROWS).window(Bare(10))
    with pytest.raises(DefinitionError, match=r"in operator 'aggregate' .*Changing can be changed"):
        read(ROWS).window(windows.tumbling("5s")).aggregate(n=Changing("price"))


@dataclass(frozen=True, eq=False)
class Except(windows.WindowAssigner):
    """Tumbling windows, some of which are left out."""

    size: int
    left_out: frozenset[str]
    weights: Any = field(default_factory=lambda: np.arange(3))
    step: Any = None

    def assign(self, times):
        starts = times // self.size * self.size
        return np.arange(len(times)), starts, starts + self.size

    def end_after(self, time):
        return self.step if self.step is not None else np.int64((time // self.size + 1) * self.size)


def test_sets_and_arrays_in_descriptions_compare_by_what_they_hold() -> None:
    one, other = Except(5, frozenset("abcdefgh")), Except(5, frozenset("hgfedcba"))
    assert one == other
    assert one != Except(5, frozenset("abc"))
    assert one != Except(5, frozenset("abcdefgh"), np.arange(4))


def test_a_set_has_the_same_fingerprint_in_every_process() -> None:
    program = (
        "from streamlib.core.canonical import canonical, fingerprint\n"
        "print(fingerprint(canonical(frozenset(['a', 'b', 'c', 'd']))))"
    )
    found = {
        subprocess.run(
            [sys.executable, "-c", program],
            env={**os.environ, "PYTHONHASHSEED": seed},
            capture_output=True,
            text=True,
            check=True,
        ).stdout.strip()
        for seed in ("1", "2")
    }
    assert found == {fingerprint(canonical(frozenset("abcd")))}


def test_end_after_may_be_numpys_and_is_asked_when_the_flow_is_bound() -> None:
    counted = read(ROWS).window(Except(5_000_000, frozenset())).aggregate(n=sl.count())
    assert sum(counted.collect()["n"].to_pylist()) == len(ROWS)
    stuck = read(ROWS).window(Except(5_000_000, frozenset(), step=0)).aggregate(n=sl.count())
    with pytest.raises(TypeError, match="end_after returned no later instant"):
        sl.Flow("stuck", stuck.write(memory.sink(), name="out")).bind()


@dataclass(frozen=True, eq=False)
class Failing(OperatorSpec):
    """Its `bind` takes one input, and gets another number of them."""

    kind: ClassVar[str] = "failing"

    def bind(self, inputs):
        _, _ = inputs
        return (inputs[0],)

    def build(self, inputs):
        return Holding()


def test_an_exception_of_bind_says_in_which_operator() -> None:
    with pytest.raises(ValueError, match="not enough values") as raised:
        read(ROWS).then(Failing()).collect()
    assert any("in operator 'failing' (test_descriptions.py:" in note for note in raised.value.__notes__)


@dataclass(frozen=True, eq=False)
class Held(OperatorSpec):
    """Holds rows until the end."""

    kind: ClassVar[str] = "held"
    stateful: ClassVar[bool] = False

    def bind(self, inputs):
        return tuple(inputs)

    def build(self, inputs):
        return Holding()


class Holding(Operator):
    def __init__(self) -> None:
        self.rows: list[Any] = []

    def on_batch(self, batch, port):
        self.rows.append(batch)
        return []

    def on_watermark(self, watermark):
        rows, self.rows = self.rows, []
        return [(0, concat_batches(rows))] if rows else []


@pytest.mark.parametrize("kind", ["polars categorical", "polars enum", "pandas category"])
def test_operators_of_ones_own_take_coded_texts_of_any_width(kind: str) -> None:
    frame = pl.DataFrame(ROWS)
    made = {
        "polars categorical": lambda: frame.with_columns(pl.col("item").cast(pl.Categorical)),
        "polars enum": lambda: frame.with_columns(pl.col("item").cast(pl.Enum(["a", "b", "c"]))),
        "pandas category": lambda: pd.DataFrame(ROWS).astype({"item": "category"}),
    }[kind]()
    found = read(made, chunk_rows=7).then(Held()).select("item", "price").collect()
    expected = [(row["item"], row["price"]) for row in ROWS]
    assert list(zip(found["item"].to_pylist(), found["price"].to_pylist(), strict=True)) == expected


def test_python_types_in_a_schema_get_the_arrow_type_to_write() -> None:
    with pytest.raises(TypeMismatchError, match=r"write \{'n': pa.int64\(\)\}"):
        read(ROWS).map(lambda row: {"n": 1}, schema={"n": int})


def test_frames_that_arrow_refuses_say_which_column_it_was() -> None:
    with pytest.raises(DefinitionError, match="column price"):
        memory.source(pd.DataFrame({"at": [START, START], "price": [1, "two"]}))
    doubled = pd.DataFrame([[1, 2]], columns=["price", "price"])
    with pytest.raises(DefinitionError, match="several columns are called 'price'"):
        memory.source(doubled)


@dataclass(frozen=True, eq=False)
class Showing(Counting):
    """Shows the value that has the number of rows."""

    value: Argument
    dtype: pa.DataType
    values: tuple[Any, ...]

    def result_type(self, value):
        return self.dtype

    def finish(self, state):
        return pa.array([self.values[n % len(self.values)] for n in state["n"].tolist()], self.dtype)


@pytest.mark.parametrize(
    ("dtype", "values"),
    [
        (pa.list_(pa.float64(), 2), ([1.0, float("nan")], [1.0, 2.0], None, [0.0, 2.0])),
        (
            pa.struct({"x": pa.int64(), "w": pa.list_(pa.string())}),
            ({"x": 1, "w": ["a"]}, None, {"x": 2, "w": None}),
        ),
        (pa.map_(pa.string(), pa.int64()), ([("a", 1)], None, [("a", 2), ("b", 1)])),
    ],
    ids=["lists of one size", "structs", "maps"],
)
def test_running_aggregates_may_show_nested_values(dtype: pa.DataType, values: tuple[Any, ...]) -> None:
    shown = read(ROWS, chunk_rows=4).aggregate(v=Showing("price", dtype=dtype, values=values))
    (row,) = shown.collect().to_pylist()
    assert repr(row["v"]) == repr(values[len(ROWS) % len(values)])
