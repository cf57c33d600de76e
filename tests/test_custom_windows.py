"""Windows by an assigner: the operator, lateness, state and errors are those of the built-in windows."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import streamlib as sl
from streamlib import windows
from streamlib.connectors import memory
from streamlib.core.errors import TypeMismatchError, UserFunctionError
from streamlib.testing import assert_parity, assert_survives
from streamlib.testing.reference import Row
from tests.flows import SECOND, table_rows
from tests.test_parity import PARTITIONS, streamed, tables


@dataclass(frozen=True, eq=False)
class Regular(windows.WindowAssigner):
    """What `sliding` gives, without its numbers and slices."""

    size: int
    every: int
    offset: int = 0

    def assign(self, times):
        return windows.sliding(self.size, every=self.every, offset=self.offset).assign(times)


@dataclass(frozen=True, eq=False)
class Knowing(Regular):
    """One that tells when windows end."""

    def end_after(self, time):
        return windows.sliding(self.size, every=self.every, offset=self.offset).end_after(time)


def aggregated(partitions, window, chunk: int, delay: int = 0) -> sl.Stream:
    return (
        sl.read(
            memory.source(tables(partitions), chunk_rows=chunk),
            name="rows",
            event_time="at",
            watermark=sl.bounded_disorder(delay),
            max_ahead=None,
        )
        .key_by("key")
        .window(window)
        .aggregate(n=sl.count(), total=sl.sum("value"), mean=sl.mean("value"))
    )


@pytest.mark.parametrize("kind", [Regular, Knowing])
@given(
    rows=PARTITIONS,
    chunks=st.tuples(st.integers(1, 50), st.integers(1, 50)),
    size=st.integers(1, 20),
    every=st.integers(1, 25),
    offset=st.integers(0, 30),
    delay=st.integers(0, 10),
)
def test_an_assigner_that_is_regular_gives_what_the_built_in_window_gives(
    tmp_path_factory, kind, rows, chunks, size, every, offset, delay
):
    partitions = {f"p{i}": found for i, found in enumerate(rows)}
    every = min(every, 3 * size)
    spec = (size * SECOND, every * SECOND, offset % every * SECOND)
    own = aggregated(partitions, kind(*spec), chunks[0], delay * SECOND)
    built_in = aggregated(
        partitions, windows.sliding(spec[0], every=spec[1], offset=spec[2]), chunks[1], delay * SECOND
    )
    found = streamed(own, tmp_path_factory.mktemp("own"), chunks[0])
    expected = streamed(built_in, tmp_path_factory.mktemp("built-in"), chunks[1])
    for name in ("out", "late", "missed"):
        assert table_rows(found[name]) == table_rows(expected[name])
    assert table_rows(own.collect()) == table_rows(built_in.collect())


@dataclass(frozen=True, eq=False)
class Answers(windows.WindowAssigner):
    """An assigner that answers what it is told to, as a function of the times."""

    answer: object

    def assign(self, times):
        return self.answer(times)  # type: ignore[operator]


def all_rows(times):
    return np.arange(len(times))


WRONG = {
    "nothing": (lambda t: None, "a tuple of three vectors"),
    "two vectors": (lambda t: (t, t + 1), "a tuple of three vectors"),
    "lists": (lambda t: ([0], [1], [2]), "rows as a numpy vector"),
    "lengths": (lambda t: (all_rows(t), t[:1], t + 1), "4 rows, 1 starts, 4 ends"),
    "float bounds": (lambda t: (all_rows(t), t / 1, t + 1), "starts of type float64"),
    "rows out of range": (lambda t: (all_rows(t) + 1, t, t + 1), "rows from 1 to 4"),
    "rows below zero": (lambda t: (all_rows(t) - 1, t, t + 1), "rows from -1 to 2"),
    "empty windows": (lambda t: (all_rows(t), t, t), "start <= time < end"),
    "a window twice": (
        lambda t: (np.repeat(all_rows(t), 2), np.repeat(t, 2), np.repeat(t + 1, 2)),
        "[1970-01-01T00:00:00Z, 1970-01-01T00:00:00.000001Z) again for 1970-01-01T00:00:00Z",
    ),
    "windows elsewhere": (lambda t: (all_rows(t), t + 1, t + 2), "for the time 1970-01-01T00:00:00Z"),
}


@pytest.mark.parametrize("name", WRONG)
def test_windows_that_cannot_be_are_refused_when_the_flow_is_bound(name):
    answer, text = WRONG[name]
    stream = aggregated({"p": []}, Answers(answer), 1)
    with pytest.raises(UserFunctionError, match="assign returned windows that can't be used") as caught:
        stream.collect()
    assert text in str(caught.value)
    assert "in operator 'aggregate' (" in str(caught.value)
    assert "test_custom_windows.py:" in str(caught.value)


@pytest.mark.parametrize("check", [assert_parity, assert_survives])
def test_a_window_that_some_times_are_in_twice_is_found(check):
    """Its rows counted twice, in batches and streams alike."""

    def twice_at_odd_minutes(times):
        minute = 60 * SECOND
        starts = times // minute * minute
        rows = np.concatenate([all_rows(times), np.flatnonzero(times // minute % 2 * (times > 1.9e15))])
        return rows, starts[rows], starts[rows] + minute

    rows = [{"at": 2_000_000_000 * SECOND + i * SECOND, "v": i} for i in range(200)]
    read = sl.read(memory.source(rows), name="rows", event_time="at", watermark=sl.monotone())
    counts = read.window(Answers(twice_at_odd_minutes)).aggregate(n=sl.count())
    with pytest.raises(UserFunctionError, match="each window of a time once: its rows would count twice"):
        check(sl.Flow("f", counts.write(memory.sink(), name="out")), seeds=range(2))


def test_a_class_that_is_no_assigner_is_refused_where_it_is_written():
    with pytest.raises(TypeMismatchError, match="this is not a window"):
        aggregated({"p": []}, object(), 1)


@dataclass(frozen=True, eq=False)
class Ends(Regular):
    """One that tells ends as it is told to."""

    told: object = None

    def end_after(self, time):
        return self.told(time)  # type: ignore[operator]


@pytest.mark.parametrize(
    ("told", "text"),
    [
        (lambda t: t, "returned no later instant"),
        (lambda t: None, "returned no later instant"),
        (lambda t: t + 60 * SECOND, "gave a window of which end_after did not know"),
    ],
)
def test_ends_that_are_not_those_of_the_windows_are_refused(told, text, tmp_path):
    rows = {"p": [Row(i * SECOND, "a", 1) for i in range(60)]}
    stream = aggregated(rows, Ends(10 * SECOND, 10 * SECOND, told=told), 5)
    with pytest.raises(UserFunctionError, match=text):
        streamed(stream, tmp_path, 5)


@dataclass(frozen=True, eq=False)
class Nested(windows.WindowAssigner):
    """Minutes, and hours that begin with them: several windows with one end, and none at night."""

    def assign(self, times):
        minute, hour = 60 * SECOND, 3600 * SECOND
        awake = np.flatnonzero(times % (24 * hour) >= 8 * hour)
        minutes, hours = times[awake] // minute * minute, times[awake] // hour * hour
        starts, ends = np.concatenate([minutes, hours]), np.concatenate([minutes + minute, hours + hour])
        return np.concatenate([awake, awake]), starts, ends


@pytest.mark.parametrize("keys", [(), ("key",)])
def test_windows_with_gaps_and_common_ends_survive(keys):
    rows = [{"at": i * 977 * SECOND, "key": i % 2, "v": i} for i in range(300)]
    read = sl.read(memory.source(rows), name="rows", event_time="at", watermark=sl.bounded_disorder("20min"))
    keyed = read.key_by(*keys) if keys else read
    result = keyed.window(Nested()).aggregate(n=sl.count(), total=sl.sum("v"))
    found = assert_parity(sl.Flow("f", result.write(memory.sink(), name="out")), seeds=range(3))["out"]
    assert_survives(sl.Flow("f", result.write(memory.sink(), name="out")), seeds=range(3))
    awake = [r for r in rows if r["at"] // (3600 * SECOND) % 24 >= 8]
    assert sum(found["n"].to_pylist()) == 2 * len(awake)
    updating = keyed.window(Nested(), allowed_lateness="1h").aggregate(total=sl.sum("v"))
    assert_survives(sl.Flow("f", updating.write(memory.table_sink(), name="out")), seeds=range(3))
