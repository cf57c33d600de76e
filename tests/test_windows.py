"""Windows: which rows they hold, when they fire, what is late; against naive models and published cases."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

import streamlib as sl
from streamlib import windows
from streamlib.connectors import memory
from streamlib.core.batch import Batch
from streamlib.core.contracts import Operator, OperatorState, StreamType
from streamlib.core.errors import DefinitionError, EventTimeError, TypeMismatchError, UnknownColumnError
from streamlib.core.time import MAX_TIME, MIN_TIME, clamp
from streamlib.operators.slices import MAX_PARTIALS
from streamlib.operators.window_aggregate import WindowAggregate
from streamlib.windows import SlidingWindow

HOUR = 3_600_000_000
DAY = 24 * HOUR


def read(data: Any, *, schema: Any = None, chunk: int = 65_536, delay: int = 0, **options: Any) -> sl.Stream:
    settings = {"event_time": "at", "max_ahead": None, "watermark": sl.bounded_disorder(delay)} | options
    return sl.read(memory.source(data, schema, chunk_rows=chunk), name="rows", **settings)


def plain(table: pa.Table) -> list[tuple[Any, ...]]:
    """The rows, sorted; instants as microseconds."""
    columns = [c.cast(pa.int64()) if pa.types.is_timestamp(c.type) else c for c in table.columns]
    return sorted(zip(*(c.to_pylist() for c in columns), strict=True), key=repr)


# --------------------------------------------------------------------------- the assigner and a naive model


@st.composite
def assigners(draw: st.DrawFn) -> SlidingWindow:
    unit = draw(st.sampled_from([1, 2, 7, 1000, HOUR]))
    size, slide = draw(st.integers(1, 30)) * unit, draw(st.integers(1, 40)) * unit
    if draw(st.booleans()):
        slide = size
    return windows.sliding(size, every=slide, offset=draw(st.integers(0, slide - 1)))


NEAR_ZERO = st.integers(-10 * DAY, 10 * DAY) | st.integers(-100, 100)
NEAR_THE_ENDS = st.integers(MIN_TIME, MIN_TIME + 100) | st.integers(MAX_TIME - 100, MAX_TIME)
TIMES = NEAR_ZERO | NEAR_THE_ENDS


def windows_with(window: SlidingWindow, time: int) -> list[int]:
    """The numbers of all windows that hold an instant, in plain and unbounded Python."""
    last = (time - window.offset) // window.slide
    found = []
    while window.offset + last * window.slide + window.size > time:
        found.append(last)
        last -= 1
    return found[::-1]


def numbered(window: SlidingWindow, times: list[int]) -> list[int]:
    """The times whose slice has a number in int64: all but the first few in slices of one microsecond."""
    return [t for t in times if (t - window.offset) // window.slice_size >= MIN_TIME]


def exact(window: SlidingWindow, number: int) -> tuple[int, int]:
    start = window.offset + number * window.slide
    return start, start + window.size


@given(window=assigners(), times=st.lists(TIMES, min_size=1, max_size=20))
def test_a_slice_number_is_a_floored_division(window, times):
    found = window.slices(np.array(times, np.int64)).tolist()
    assert found == [clamp((t - window.offset) // window.slice_size) for t in times]
    for time in times:
        number = (time - window.offset) // window.slice_size
        assert window.slice_start(number) <= time < window.slice_start(number + 1)


@given(window=assigners(), time=TIMES)
def test_the_windows_of_a_slice_are_those_that_hold_its_instants(window, time):
    number = (time - window.offset) // window.slice_size
    assert list(window.windows_of(number)) == windows_with(window, time)
    for found in window.windows_of(number):
        assert number in window.slices_of(found)
    assert len(window.windows_of(number)) <= window.windows_per_row()


@given(window=assigners(), number=st.integers(-1000, 1000))
def test_the_slices_of_a_window_cover_it(window, number):
    slices = window.slices_of(number)
    start, end = exact(window, number)
    assert window.slice_start(slices.start) == start
    assert window.slice_start(slices.stop) == end


@given(window=assigners(), time=TIMES)
def test_end_after_is_the_least_window_end_above(window, time):
    number = (time - window.offset - window.size) // window.slide
    ends = [exact(window, number + i)[1] for i in range(-2, 3)]
    assert window.end_after(time) == clamp(min(end for end in ends if end > time))


@given(window=assigners(), watermark=TIMES)
def test_the_last_window_that_is_over_ends_by_the_watermark_and_the_next_does_not(window, watermark):
    last = window.last_over(watermark)
    if watermark == MAX_TIME:
        assert last == MAX_TIME  # everything is over
    else:
        assert exact(window, last)[1] <= watermark < exact(window, last + 1)[1]
        assert window.first_open_slice(last) == window.slices_of(last + 1).start


@given(window=assigners(), numbers=st.lists(st.integers(-(10**6), 10**6) | TIMES, max_size=20))
def test_bounds_of_windows_saturate_and_never_wrap(window, numbers):
    found = np.array(numbers, np.int64)
    assert window.starts(found).tolist() == [clamp(exact(window, n)[0]) for n in numbers]
    assert window.ends(found).tolist() == [clamp(exact(window, n)[1]) for n in numbers]
    assert [window.start(n) for n in numbers] == window.starts(found).tolist()
    assert [window.end(n) for n in numbers] == window.ends(found).tolist()


@given(size=st.integers(1, MAX_TIME), offset=st.integers(0, MAX_TIME), numbers=st.lists(TIMES, max_size=5))
def test_bounds_of_windows_of_any_size_saturate(size, offset, numbers):
    window = windows.tumbling(size, offset=offset % size)
    found = np.array(numbers, np.int64)
    assert window.starts(found).tolist() == [clamp(exact(window, n)[0]) for n in numbers]
    assert window.ends(found).tolist() == [clamp(exact(window, n)[1]) for n in numbers]


@given(window=assigners(), times=st.lists(TIMES, min_size=1, max_size=20))
def test_the_last_window_of_a_time_is_the_last_that_starts_by_then(window, times):
    times = numbered(window, times)
    found = np.array(times, np.int64)
    last = window.last_windows(found)
    assert last.tolist() == [clamp((t - window.offset) // window.slide) for t in times]
    inside = window.holds(last, window.slices(found))
    assert inside.tolist() == [bool(windows_with(window, t)) for t in times]


@given(
    window=assigners(),
    times=st.lists(TIMES, min_size=1, max_size=10),
    first=st.integers(-50, 50) | st.just(MIN_TIME),
    last=st.integers(-50, 50) | st.just(MAX_TIME),
)
@example(windows.sliding(3, every=1), [MIN_TIME, MIN_TIME + 1, MAX_TIME], MIN_TIME, MAX_TIME)
@example(windows.sliding(5, every=2), [MIN_TIME, MIN_TIME + 1, MAX_TIME], MIN_TIME, MAX_TIME)
def test_all_pairs_of_slices_and_windows_are_found_at_once(window, times, first, last):
    slices = [(t - window.offset) // window.slice_size for t in times]
    slices = [s for s in slices if MIN_TIME <= s <= MAX_TIME]
    index, numbers = window.windows_holding(np.array(slices, np.int64), first, last)
    expected = [
        (i, n)
        for i, s in enumerate(slices)
        for n in window.windows_of(s)
        if max(first, MIN_TIME) <= n <= min(last, MAX_TIME)
    ]
    assert sorted(zip(index.tolist(), numbers.tolist(), strict=True)) == sorted(expected)


@pytest.mark.parametrize(
    ("build", "text"),
    [
        (lambda: windows.tumbling(0), "at least one microsecond"),
        (lambda: windows.sliding("10s", every=0), "at least one microsecond"),
        (lambda: windows.tumbling("10s", offset="10s"), "0 <= offset < 10s"),
        (lambda: windows.sliding("10s", every="2s", offset="3s"), "0 <= offset < 2s"),
        (lambda: windows.tumbling(-1), "not a duration"),
        (lambda: windows.tumbling("1 fortnight"), "not a duration"),
        (lambda: windows.sliding("1h", every="7us"), "multiple of `every`"),
        (lambda: windows.sliding("1d", every="1us"), "multiple of `every`"),
    ],
)
def test_windows_that_cannot_be_are_refused_where_they_are_written(build, text):
    with pytest.raises(DefinitionError, match=text):
        build()


def test_durations_of_windows_may_be_text_numbers_or_timedeltas():
    assert windows.tumbling("1h") == windows.tumbling(HOUR) == windows.tumbling(timedelta(hours=1))
    assert windows.sliding("1h", every="15min", offset="5min").describe() == (
        "sliding 1h every 15min, offset 5min"
    )


# --------------------------------------------------------------------------- results against a naive model


@given(
    window=assigners(),
    times=st.lists(TIMES, max_size=30),
    keys=st.lists(st.integers(0, 2), min_size=30, max_size=30),
    chunk=st.integers(1, 40),
    text=st.booleans(),
)
@example(windows.sliding(3, every=1), [MIN_TIME, 0, MAX_TIME - 1, MAX_TIME], [0] * 30, 1, True)
@example(windows.sliding(3, every=1), [MIN_TIME, 0, MAX_TIME - 1, MAX_TIME], [0] * 30, 4, False)
@example(windows.sliding(2, every=3, offset=2), [MIN_TIME + 2, MIN_TIME + 3, MAX_TIME], [0] * 30, 4, False)
def test_every_window_counts_the_rows_in_it_to_the_ends_of_time(window, times, keys, chunk, text):
    times = numbered(window, times)
    expected: dict[tuple[Any, int, int], int] = defaultdict(int)
    named = [f"k{k}" if text else k for k in keys][: len(times)]
    for time, key in zip(times, named, strict=True):
        for n in windows_with(window, time):
            if n >= MIN_TIME:  # a window has a number in int64
                start, end = exact(window, n)
                expected[key, start, end] += 1
    table = pa.table(
        {"at": pa.array(times, pa.int64()), "key": pa.array(named, pa.string() if text else None)}
    )
    if not times:
        table = table.cast(pa.schema({"at": pa.int64(), "key": pa.string()}))
    result = read(table, chunk=chunk).key_by("key").window(window).aggregate(n=sl.count()).collect()
    saturated = [(k, clamp(start), clamp(end), n) for (k, start, end), n in expected.items()]
    assert plain(result) == sorted(saturated, key=repr)


@given(
    times=st.lists(st.integers(-200, 200), max_size=60),
    every=st.integers(1, 9),
    steps=st.integers(1, 5),
    chunk=st.integers(1, 30),
)
def test_shared_slices_give_what_independent_windows_give(times, every, steps, chunk):
    """Sliding windows of `steps * every` are `steps` sets of tumbling ones, shifted."""
    values = [t % 13 for t in times]
    table = pa.table({"at": pa.array(times, pa.int64()), "v": pa.array(values, pa.int64())})
    size = steps * every
    wanted = {"n": sl.count(), "total": sl.sum("v"), "low": sl.min("v"), "mean": sl.mean("v")}
    shared = read(table, chunk=chunk).window(windows.sliding(size, every=every)).aggregate(**wanted)
    apart: list[tuple[Any, ...]] = []
    for step in range(steps):
        window = windows.tumbling(size, offset=step * every)
        apart += plain(read(table, chunk=chunk).window(window).aggregate(**wanted).collect())
    assert plain(shared.collect()) == sorted(apart, key=repr)


def test_windows_of_one_microsecond_far_apart_cost_nothing_in_between():
    times = [-(10**17), 0, 10**17]
    found = read([{"at": t} for t in times]).window(windows.tumbling(1)).aggregate(n=sl.count()).collect()
    assert plain(found) == [(t, t + 1, 1) for t in sorted(times, key=repr)]


@pytest.mark.parametrize("keyed", [True, False])
def test_a_long_window_that_slides_often_is_fired_once_a_step(keyed):
    """Firing must not look at every window of every slice: 3600 slices have 3600 windows each."""
    seconds = np.arange(4000)
    table = pa.table({"at": seconds * 1_000_000, "key": seconds % 3})
    stream = read(table, chunk=500)
    stream = stream.key_by("key") if keyed else stream
    found = stream.window(windows.sliding("10min", every="1s")).aggregate(n=sl.count()).collect()
    full = [n for n in found["n"].to_pylist() if n == (200 if keyed else 600)]
    assert len(full) >= (4000 - 600) * (3 if keyed else 1) - 6


def test_rows_in_a_gap_between_windows_belong_to_none_and_are_not_late(tmp_path):
    times = [0, 2, 3, 9, 10, 12, 14, 5]  # windows [0, 3), [10, 13)
    sinks = {name: memory.sink() for name in ("out", "late", "missed")}
    stream = read([{"at": t} for t in times]).window(windows.sliding(3, every=10)).aggregate(n=sl.count())
    flow = sl.Flow("gap", *(stream.output(name).write(sink, name=name) for name, sink in sinks.items()))
    result = flow.run(state=str(tmp_path), progress="none")
    assert plain(sinks["out"].table()) == [(0, 3, 2), (10, 13, 2)]
    assert result.late_rows == sinks["late"].table().num_rows == sinks["missed"].table().num_rows == 0


def test_a_window_without_keys_is_one_group_whatever_the_rows():
    found = read([{"at": t, "v": t} for t in range(25)]).window(windows.tumbling(10)).aggregate(n=sl.count())
    table = found.collect()
    assert table.schema.names == ["window_start", "window_end", "n"]
    assert plain(table) == [(0, 10, 10), (10, 20, 10), (20, 30, 5)]


def test_an_empty_stream_has_no_windows():
    found = read([], schema={"at": pa.int64(), "k": pa.string()}).key_by("k").window(windows.tumbling(10))
    table = found.aggregate(n=sl.count(), low=sl.min("at")).collect()
    assert table.num_rows == 0
    assert [str(t) for t in table.schema.types] == [
        "string", "timestamp[us, tz=UTC]", "timestamp[us, tz=UTC]", "int64", "int64",
    ]  # fmt: skip


# --------------------------------------------------------------------------- late and missed


LATE_TIMES = [1, 12, 25, 11, 19, 22, 3, 26, 31]  # the watermark stands at 25 from the fourth row on


def test_a_row_is_late_where_all_its_windows_are_over_and_missed_where_one_is(tmp_path):
    stream = read([{"at": t, "k": "a"} for t in LATE_TIMES]).key_by("k")
    result = stream.window(windows.sliding(10, every=5)).aggregate(n=sl.count())
    sinks = {name: memory.sink() for name in ("out", "late", "missed")}
    flow = sl.Flow("late", *(result.output(name).write(sink, name=name) for name, sink in sinks.items()))
    run = flow.run(state=str(tmp_path), progress="none")
    assert plain(sinks["late"].table()) == [(11, "a"), (19, "a"), (3, "a")]
    assert run.late_rows == 3
    missed = [(11, 5), (11, 10), (19, 10), (19, 15), (22, 15), (3, -5), (3, 0)]
    assert plain(sinks["missed"].table()) == sorted(((t, "a", s, s + 10) for t, s in missed), key=repr)
    assert ("a", 20, 30, 3) in plain(sinks["out"].table())  # 22 still counts where it is in time


def test_late_and_missed_rows_of_tumbling_windows_are_the_same(tmp_path):
    result = read([{"at": t} for t in LATE_TIMES]).window(windows.tumbling(10)).aggregate(n=sl.count())
    sinks = {name: memory.sink() for name in ("late", "missed")}
    flow = sl.Flow("late", *(result.output(name).write(sink, name=name) for name, sink in sinks.items()))
    flow.run(state=str(tmp_path), progress="none")
    late, missed = sinks["late"].table(), sinks["missed"].table()
    assert missed.schema.names == ["at", "window_start", "window_end"]
    assert missed.select(["at"]).equals(late)


def test_late_rows_keep_their_event_time_and_their_keys(tmp_path):
    """They can go into a longer window that is still open."""
    stream = read([{"at": t, "k": "a"} for t in LATE_TIMES]).key_by("k")
    late = stream.window(windows.sliding(10, every=5)).aggregate(n=sl.count()).late()
    again, sink = late.window(windows.tumbling(100)).aggregate(n=sl.count()), memory.sink()
    sl.Flow("f", again.write(sink, name="out")).run(state=str(tmp_path), progress="none")
    assert plain(sink.table()) == [("a", 0, 100, 3)]


# --------------------------------------------------------------------------- chains


@given(
    times=st.lists(st.integers(-3 * DAY, 3 * DAY), max_size=40),
    values=st.lists(st.integers(-99, 99), min_size=40, max_size=40),
    chunk=st.integers(1, 40),
    offset=st.sampled_from([0, HOUR, 5 * HOUR]),
)
def test_hourly_windows_into_daily_ones_are_the_daily_ones(times, values, chunk, offset):
    data = pa.table({
        "at": pa.array(times, pa.int64()),
        "k": pa.array([v % 3 for v in values[: len(times)]], pa.int64()),
        "v": pa.array(values[: len(times)], pa.int64()),
    })  # fmt: skip
    keyed = read(data, chunk=chunk).key_by("k")
    hourly = keyed.window(windows.tumbling("1h")).aggregate(n=sl.count(), v=sl.sum("v"), top=sl.max("v"))
    day = windows.tumbling("1d", offset=offset)
    chained = hourly.window(day).aggregate(n=sl.sum("n"), v=sl.sum("v"), top=sl.max("top"))
    direct = keyed.window(day).aggregate(n=sl.count(), v=sl.sum("v"), top=sl.max("v"))
    assert plain(chained.collect()) == plain(direct.collect())


@pytest.mark.parametrize("chunk", [1, 7, 1000])
def test_nothing_is_late_in_the_second_window_of_a_chain(tmp_path, chunk):
    times = [t * HOUR // 3 - (t % 4) * HOUR // 3 for t in range(200)]
    keyed = read([{"at": t, "k": "a"} for t in times], chunk=chunk, delay=HOUR)
    sliding = keyed.window(windows.sliding("2h", every="1h")).aggregate(n=sl.count())
    daily = sliding.window(windows.tumbling("1d")).aggregate(n=sl.sum("n"), hours=sl.count())
    sinks = {name: memory.sink() for name in ("out", "late", "missed")}
    flow = sl.Flow("chain", *(daily.output(n).write(sink, name=n) for n, sink in sinks.items()))
    result = flow.run(state=str(tmp_path), progress="none")
    assert result.late_rows == 0
    assert sinks["missed"].table().num_rows == 0
    assert sum(sinks["out"].table()["n"].to_pylist()) == 2 * len(times)
    assert plain(sinks["out"].table()) == plain(daily.collect())


def test_the_event_time_of_a_result_is_the_last_instant_of_its_window():
    first = read([{"at": 5}, {"at": 12}]).window(windows.tumbling(10)).aggregate(n=sl.count())
    found = first.select(at=sl.event_time(), n="n").collect()
    assert plain(found) == [(19, 1), (9, 1)]


def test_results_read_back_from_a_table_can_be_windowed_again():
    """A source forgets that bounds are never null; that must not make them other columns."""
    hourly = read([{"at": t * HOUR // 2} for t in range(96)]).window(windows.tumbling("1h"))
    table = hourly.aggregate(n=sl.count()).collect()
    again = sl.read(
        memory.source(table), name="hours", event_time="window_start", watermark=sl.monotone(), max_ahead=None
    )
    daily = again.window(windows.tumbling("1d")).aggregate(n=sl.sum("n"))
    assert plain(daily.collect()) == [(0, DAY, 48), (DAY, 2 * DAY, 48)]
    assert daily.missed().collect().schema.names == ["n", "window_start", "window_end"]


# --------------------------------------------------------------------------- days on which clocks are set


def wall_clock(day: str, zone_hours: list[int]) -> list[datetime]:
    """What a clock in New York shows every half hour of a day, whose UTC offsets by hour are given."""
    start = datetime.fromisoformat(f"{day}T00:00") - timedelta(hours=zone_hours[0])
    return [start + timedelta(minutes=30 * i, hours=zone_hours[i // 2]) for i in range(2 * len(zone_hours))]


@pytest.mark.parametrize(
    ("day", "offsets", "missing", "double"),
    [
        ("2013-03-10", [-5, -5, *[-4] * 21], [], []),  # 23 hours: 02:00 does not exist
        ("2013-11-03", [-4, -4, *[-5] * 23], [2], [1]),  # 25 hours: 01:00 comes twice
    ],
)
def test_the_hours_of_a_local_day_on_which_clocks_are_set(day, offsets, missing, double):
    local = wall_clock(day, offsets)
    table = pa.table({"at": pa.array(local, pa.timestamp("us"))})
    hourly = read(table, tz="America/New_York").window(windows.tumbling("1h")).aggregate(n=sl.count())
    found = {row["window_start"]: row["n"] for row in hourly.collect().to_pylist()}
    midnight = datetime.fromisoformat(f"{day}T00:00").replace(tzinfo=UTC) - timedelta(hours=offsets[0])
    # an hour that comes twice counts as its first occurrence, so the second stands empty
    expected = {
        midnight + timedelta(hours=h): 4 if h in double else 2
        for h in range(len(offsets))
        if h not in missing
    }
    assert found == expected


def test_days_of_utc_stay_regular_while_clocks_are_set():
    start = datetime(2013, 3, 8, tzinfo=UTC)
    table = pa.table({"at": [start + timedelta(hours=h) for h in range(5 * 24)]})
    daily = read(table).window(windows.tumbling("1d")).aggregate(n=sl.count()).collect()
    assert daily["n"].to_pylist() == [24] * 5
    assert daily["window_start"].to_pylist() == [start + timedelta(days=d) for d in range(5)]


def test_local_times_that_do_not_exist_count_as_the_moment_the_clocks_were_set():
    local = [datetime(2013, 3, 10, 2, m) for m in (0, 1, 30, 59)] + [datetime(2013, 3, 10, 3, 0)]
    table = pa.table({"at": pa.array(local, pa.timestamp("us"))})
    found = read(table, tz="America/New_York").select(at=sl.event_time()).collect()
    assert set(found["at"].to_pylist()) == {datetime(2013, 3, 10, 7, tzinfo=UTC)}


# --------------------------------------------------------------------------- refused before the first row


def refused(error: type[Exception], build: Any) -> str:
    with pytest.raises(error) as raised:
        build().collect()
    return str(raised.value)


ROWS = [{"at": 1, "k": "a", "v": 1}]


@pytest.mark.parametrize("name", ["window_start", "window_end", "k"])
def test_a_result_may_not_be_called_like_a_key_or_a_bound(name):
    keyed = read(ROWS).key_by("k")
    text = refused(
        DefinitionError, lambda: keyed.window(windows.tumbling(10)).aggregate(**{name: sl.count()})
    )
    assert text.startswith("in operator 'aggregate' (test_windows.py:")
    assert f"two result columns would be called {name!r}" in text
    assert "to do:" in text


def test_a_key_may_not_be_called_like_a_bound():
    stream = read(ROWS).with_columns(window_end="k").key_by("window_end")
    assert "'window_end'" in refused(
        DefinitionError, lambda: stream.window(windows.tumbling(10)).aggregate(n=sl.count())
    )


def test_a_window_needs_event_time():
    stream = sl.read(memory.source(ROWS), name="rows")
    text = refused(EventTimeError, lambda: stream.window(windows.tumbling(10)).aggregate(n=sl.count()))
    assert text.startswith("in operator 'aggregate' (test_windows.py:")
    assert "`event_time=`" in text


def test_a_window_needs_a_window():
    with pytest.raises(TypeMismatchError, match=r"in operator 'window' \(test_windows.py:.*not a window"):
        read(ROWS).window("1h")


def test_only_streams_are_aggregated_and_only_by_aggregates():
    with pytest.raises(TypeMismatchError, match="only a stream can be aggregated"):
        sl.operators.aggregate(n=sl.count())(ROWS)
    with pytest.raises(DefinitionError, match="named aggregates"):
        read(ROWS).window(windows.tumbling(10)).aggregate()
    with pytest.raises(DefinitionError, match="named aggregates"):
        read(ROWS).window(windows.tumbling(10)).aggregate(n="v")


def test_a_key_that_was_dropped_before_the_window_is_missed():
    stream = read(ROWS).key_by("k").select("v")
    text = refused(UnknownColumnError, lambda: stream.window(windows.tumbling(10)).aggregate(n=sl.count()))
    assert text.startswith("in operator 'aggregate' (test_windows.py:")
    assert "no column 'k'" in text


# --------------------------------------------------------------------------- published cases


@dataclass(frozen=True)
class R:
    """A row arrives."""

    ts: int
    key: str | None = "k"
    value: int = 1


@dataclass(frozen=True)
class W:
    """The watermark advances; exclusive, as here: Flink's watermark w is W(w + 1)."""

    ts: int


RESTORE = "snapshot, throw the operator away, restore"
END = W(MAX_TIME)


@dataclass(frozen=True)
class Case:
    """Input in arrival order; `panes` are (key, start, end, sum) by the index of what brings them out."""

    id: str
    source: str
    window: SlidingWindow
    input: list[Any]
    panes: dict[int, list[tuple[Any, ...]]]
    late: list[tuple[Any, ...]] = ()  # type: ignore[assignment]
    missed: int | None = None


ROWS_OF_FLINK_002 = [
    R(3999, "2"), R(3000, "2"), R(20, "1"), R(0, "1"), R(999, "1"), R(1998, "2"), R(1999, "2"), R(1000, "2"),
]  # fmt: skip


def stream_time(rows: list[R], delay: int) -> list[Any]:
    """Rows with a watermark after each: the largest time so far less `delay` (Kafka's grace)."""
    found: list[Any] = []
    newest = MIN_TIME
    for row in rows:
        newest = max(newest, row.ts)
        found += [row, W(newest - delay)]
    return found


MINUTE = 60_000
RW_ROWS = [
    R(ts * MINUTE, uid, v)
    for ts, uid, v in [
        *((0, "1", 4), (5, "3", 3), (14, "2", 2), (22, "1", 1)),
        *((33, "3", 5), (42, "2", 7), (51, "1", 6), (62, "3", 8)),
    ]
]  # minutes after 2022-01-01T10:00Z, a multiple of the windows

CASES = [
    Case(
        "flink-op-001",
        "apache/flink WindowOperatorTest.testSlidingEventTimeWindowsReduce",
        windows.sliding(3000, every=1000),
        [*ROWS_OF_FLINK_002, W(1000), W(2000), W(3000), RESTORE, W(4000), W(5000), W(6000), W(7000), W(8000)],
        {
            8: [("1", -2000, 1000, 3)],
            9: [("1", -1000, 2000, 3), ("2", -1000, 2000, 3)],
            10: [("1", 0, 3000, 3), ("2", 0, 3000, 3)],
            12: [("2", 1000, 4000, 5)],
            13: [("2", 2000, 5000, 2)],
            14: [("2", 3000, 6000, 2)],
        },
    ),
    Case(
        "flink-op-002",
        "apache/flink WindowOperatorTest.testTumblingEventTimeWindowsReduce",
        windows.tumbling(3000),
        [*ROWS_OF_FLINK_002, W(1000), W(2000), RESTORE, W(3000), W(4000), W(5000), W(6000), W(7000), W(8000)],
        {11: [("1", 0, 3000, 3), ("2", 0, 3000, 3)], 14: [("2", 3000, 6000, 2)]},
    ),
    Case(
        "flink-op-016",
        "apache/flink WindowOperatorTest.testSideOutputDueToLatenessSliding",
        windows.sliding(3000, every=1000),
        [
            R(1000, "2"),
            W(2000),
            R(2000, "2"),
            W(3001),
            R(3001, "1"),
            R(2400, "2"),
            R(2400, "2"),
            R(3001, "1"),
            R(3900, "2"),
            W(6001),
            R(3001, "1"),
            W(25001),
        ],
        {
            1: [("2", -1000, 2000, 1)],
            3: [("2", 0, 3000, 2)],
            9: [
                ("2", 1000, 4000, 5),
                ("1", 1000, 4000, 2),
                ("2", 2000, 5000, 4),
                ("1", 2000, 5000, 2),
                ("2", 3000, 6000, 1),
                ("1", 3000, 6000, 2),
            ],
        },
        [(3001, "1", 1)],
        missed=2 + 3,  # the rows at 2400 miss [0, 3000) and are not late
    ),
    Case(
        "flink-assign-007",
        "apache/flink SlidingEventTimeWindowsTest.testTimeUnits",
        windows.sliding(5000, every=1000, offset=500),
        [R(100), R(5499, "l"), END],
        {
            2: [
                *(("k", start, start + 5000, 1) for start in (-4500, -3500, -2500, -1500, -500)),
                *(("l", start, start + 5000, 1) for start in (500, 1500, 2500, 3500, 4500)),
            ]
        },
    ),
    Case(
        "beam-win-006",
        "apache/beam SlidingWindowsTest.testSlightlyOverlapping",
        windows.sliding(7, every=5),
        [*(R(t, value=t) for t in (1, 2, 5, 9, 10, 11)), END],
        {6: [("k", -5, 2, 1), ("k", 0, 7, 8), ("k", 5, 12, 35), ("k", 10, 17, 21)]},
    ),
    Case(
        "beam-win-008",
        "apache/beam SlidingWindowsTest.testOffset",
        windows.sliding(10, every=5, offset=2),
        [*(R(t, value=t) for t in (1, 2, 5, 9, 10, 11)), END],
        {6: [("k", -8, 2, 1), ("k", -3, 7, 8), ("k", 2, 12, 37), ("k", 7, 17, 30)]},
    ),
    Case(
        "beam-win-013",
        "apache/beam WindowingTest.testNonPartitioningWindowing",
        windows.sliding(10, every=5),
        [R(1, "a"), R(7, "a"), R(8, "b"), END],
        {3: [("a", -5, 5, 1), ("a", 0, 10, 2), ("a", 5, 15, 1), ("b", 0, 10, 1), ("b", 5, 15, 1)]},
    ),
    Case(
        "kafka-final-tumbling-final",
        "apache/kafka SuppressScenarioTest.shouldSupportFinalResultsForTimeWindows",
        windows.tumbling(2),
        stream_time([R(0), R(1), R(2), R(1), R(0), R(5), R(0)], delay=1),
        {11: [("k", 0, 2, 4), ("k", 2, 4, 1)]},
        [(0, "k", 1)],
    ),
    Case(
        "kafka-hop-emit1-final, without the window [-5, 5), which Kafka does not have",
        "apache/kafka KStreamWindowAggregateTest.shouldNotEmitFinalIfNotProgressEnough",
        windows.sliding(10, every=5),
        stream_time([R(0, "A"), R(5, "B"), R(15, "C"), R(15, "D"), R(19, "E")], delay=5),
        {5: [("A", -5, 5, 1), ("A", 0, 10, 1), ("B", 0, 10, 1)]},
    ),
    Case(
        "kafka-hop-expired-final, without the window [-5, 5), which Kafka does not have",
        "apache/kafka KStreamWindowAggregateTest.shouldLogAndMeterWhenSkippingExpiredWindow",
        windows.sliding(10, every=5),
        stream_time([R(100), *(R(t) for t in range(7)), R(105), R(106)], delay=90),
        {17: [("k", 5, 15, 2)]},
        [(t, "k", 1) for t in range(5)],
        missed=7 + 5,
    ),
    Case(
        "kafka-tumble-expired",
        "apache/kafka KStreamWindowAggregateTest.shouldLogAndMeterWhenSkippingExpiredWindowByGrace",
        windows.tumbling(10),
        [*stream_time([R(200), *(R(t) for t in (100, 101, 102, 103, 104, 105, 6))], delay=90), END],
        {16: [("k", 200, 210, 1)]},
        [(t, "k", 1) for t in (100, 101, 102, 103, 104, 105, 6)],
        missed=7,
    ),
    Case(
        "rw-window-006",
        "risingwavelabs/risingwave e2e_test/streaming/time_window.slt mv_hop_agg_2",
        windows.sliding(30 * MINUTE, every=15 * MINUTE),
        [*RW_ROWS, END],
        {
            8: [
                (uid, start * MINUTE, (start + 30) * MINUTE, v)
                for uid, start, v in [
                    ("1", -15, 4),
                    ("2", -15, 2),
                    ("3", -15, 3),
                    ("1", 0, 5),
                    ("2", 0, 2),
                    ("3", 0, 3),
                    ("1", 15, 1),
                    ("2", 15, 7),
                    ("3", 15, 5),
                    ("1", 30, 6),
                    ("2", 30, 7),
                    ("3", 30, 5),
                    ("1", 45, 6),
                    ("3", 45, 8),
                    ("3", 60, 8),
                ]
            ]
        },
    ),
    Case(
        "bytewax-assign-09, -14, -18",
        "bytewax/bytewax test_sliding_windower.py test_intersect_overlap_offset_indivisible_by_length_*",
        windows.sliding(10_000, every=7000),
        [R(14_000), R(-4000, "l"), END],
        {2: [("k", 7000, 17_000, 1), ("k", 14_000, 24_000, 1), ("l", -7000, 3000, 1)]},
    ),
    Case(
        "bytewax-assign-20, -21, -26",
        "bytewax/bytewax test_sliding_windower.py test_intersect_tumble_*",
        windows.tumbling(10_000),
        [R(15_000), R(-5000), R(10_000), END],
        {3: [("k", -10_000, 0, 1), ("k", 10_000, 20_000, 2)]},
    ),
    Case(
        "bytewax-fold-01",
        "bytewax/bytewax test_fold_window.py test_fold_window_tumbling",
        windows.tumbling(10_000),
        [*stream_time([R(0, "login"), R(4000, "post"), R(8000, "post"), R(16_000, "post")], 0), END],
        {7: [("login", 0, 10_000, 1), ("post", 0, 10_000, 2)], 8: [("post", 10_000, 20_000, 1)]},
    ),
    Case(
        "bytewax-count-01",
        "bytewax/bytewax test_count_window.py test_count_window",
        windows.tumbling(10_000),
        [R(0, "a"), R(4000, "a"), R(8000, "b"), R(12_000, "a"), R(13_000, "a"), END],
        {5: [("a", 0, 10_000, 2), ("a", 10_000, 20_000, 2), ("b", 0, 10_000, 1)]},
    ),
]

CASE_SCHEMA = pa.schema({"ts": pa.int64(), "key": pa.string(), "value": pa.int64()})


def machine(window: SlidingWindow) -> Operator:
    spec = WindowAggregate(window, (("sum", sl.sum("value")),))
    stream = [StreamType(CASE_SCHEMA, event_time=True, keys=("key",))]
    spec.bind(stream)
    return spec.build(stream)


def play(case: Case) -> dict[int, dict[int, list[tuple[Any, ...]]]]:
    """By index of the input, what came out of each port."""
    operator = machine(case.window)
    found: dict[int, dict[int, list[tuple[Any, ...]]]] = {}
    for i, event in enumerate(case.input):
        if event == RESTORE:
            state = operator.snapshot()
            operator = machine(case.window)
            operator.restore(OperatorState(dict(state.tables), dict(state.values), dict(state.counters)))
            continue
        if isinstance(event, W):
            outputs = list(operator.on_watermark(event.ts))
        else:
            rows = pa.record_batch([[event.ts], [event.key], [event.value]], schema=CASE_SCHEMA)
            outputs = list(operator.on_batch(Batch.from_arrow(rows, np.array([event.ts])), 0))
        ports: dict[int, list[tuple[Any, ...]]] = defaultdict(list)
        for port, batch in outputs:
            ports[port] += plain(pa.Table.from_batches([batch.to_arrow()]))
        if ports:
            found[i] = ports
    return found


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.id.partition(",")[0])
def test_a_published_case(case):
    found = play(case)
    panes = {i: sorted(ports[0], key=repr) for i, ports in found.items() if ports.get(0)}
    assert panes == {i: sorted(rows, key=repr) for i, rows in case.panes.items()}
    late = [row for ports in found.values() for row in ports.get(1, [])]
    assert late == list(case.late)
    if case.missed is not None:
        assert sum(len(ports.get(2, [])) for ports in found.values()) == case.missed


FLINK_SQL_SCHEMA = pa.schema(
    {
        "ts": pa.int64(),
        "double": pa.float64(),
        "float": pa.float32(),
        "bigdec": pa.decimal128(10, 2),
        "name": pa.string(),
    }
)
FLINK_SQL_ROWS = [  # seconds after 2020-10-10T00:00Z, in milliseconds below
    (1, 1.0, 1.0, "1.11", "a"),
    (2, 2.0, 2.0, "2.22", "a"),
    (3, 2.0, 2.0, "2.22", "a"),
    (4, 5.0, 5.0, "5.55", "a"),
    (7, 3.0, 3.0, None, "b"),
    (6, 6.0, 6.0, "6.66", "b"),
    (8, None, 3.0, "3.33", "a"),
    (4, 5.0, None, "5.55", "a"),
    (16, 4.0, 4.0, "4.44", "b"),
    (32, 7.0, 7.0, "7.77", None),
    (34, 3.0, 3.0, "3.33", "b"),
]
START = 1_602_288_000_000
FLINK_SQL = {
    "flink-sql-001 testEventTimeTumbleWindow": (
        windows.tumbling(5000),
        [
            ("a", 0, 5, 4, "11.10", 5.0, 1.0),
            ("a", 5, 10, 1, "3.33", None, 3.0),
            ("b", 5, 10, 2, "6.66", 6.0, 3.0),
            ("b", 15, 20, 1, "4.44", 4.0, 4.0),
            ("b", 30, 35, 1, "3.33", 3.0, 3.0),
            (None, 30, 35, 1, "7.77", 7.0, 7.0),
        ],
    ),
    "flink-sql-002 testEventTimeTumbleWindowWithOffset": (
        windows.tumbling(86_400_000, offset=28_800_000),
        [
            ("a", -57_600, 28_800, 6, "19.98", 5.0, 1.0),
            ("b", -57_600, 28_800, 4, "14.43", 6.0, 3.0),
            (None, -57_600, 28_800, 1, "7.77", 7.0, 7.0),
        ],
    ),
    # the offset there is -8h, which is 16h here, where offsets are not negative
    "flink-sql-003 testEventTimeTumbleWindowWithNegativeOffset": (
        windows.tumbling(86_400_000, offset=57_600_000),
        [
            ("a", -28_800, 57_600, 6, "19.98", 5.0, 1.0),
            ("b", -28_800, 57_600, 4, "14.43", 6.0, 3.0),
            (None, -28_800, 57_600, 1, "7.77", 7.0, 7.0),
        ],
    ),
    "flink-sql-006 (sliding)": (
        windows.sliding(10_000, every=5000),
        [
            ("a", -5, 5, 4, "11.10", 5.0, 1.0),
            ("a", 0, 10, 6, "19.98", 5.0, 1.0),
            ("a", 5, 15, 1, "3.33", None, 3.0),
            ("b", 0, 10, 2, "6.66", 6.0, 3.0),
            ("b", 5, 15, 2, "6.66", 6.0, 3.0),
            ("b", 10, 20, 1, "4.44", 4.0, 4.0),
            ("b", 15, 25, 1, "4.44", 4.0, 4.0),
            ("b", 25, 35, 1, "3.33", 3.0, 3.0),
            ("b", 30, 40, 1, "3.33", 3.0, 3.0),
            (None, 25, 35, 1, "7.77", 7.0, 7.0),
            (None, 30, 40, 1, "7.77", 7.0, 7.0),
        ],
    ),
}


@pytest.mark.parametrize("name", FLINK_SQL)
@pytest.mark.parametrize("chunk", [1, 4, 100])
def test_a_case_of_flink_sql(name, chunk, tmp_path):
    """apache/flink WindowAggregateITCase.scala; its watermark max - 1000 ms is inclusive: 999 here."""
    window, expected = FLINK_SQL[name]
    rows = [
        {
            "ts": START + 1000 * s,
            "double": d,
            "float": f,
            "bigdec": None if b is None else Decimal(b),
            "name": n,
        }
        for s, d, f, b, n in FLINK_SQL_ROWS
    ]
    stream = read(rows, schema=FLINK_SQL_SCHEMA, chunk=chunk, event_time="ts", delay=999)
    result = (
        stream.key_by("name")
        .window(window)
        .aggregate(n=sl.count(), sum=sl.sum("bigdec"), max=sl.max("double"), min=sl.min("float"))
    )
    sink = memory.sink()
    sl.Flow("sql", result.write(sink, name="out")).run(state=str(tmp_path), progress="none")
    assert plain(sink.table()) == sorted(
        (
            (key, START + 1000 * start, START + 1000 * end, n, Decimal(total), top, low)
            for key, start, end, n, total, top, low in expected
        ),
        key=repr,
    )


# --------------------------------------------------------------------------- the operator itself

OUT, LATE, MISSED = range(3)
AGGREGATES = (("n", sl.count()), ("total", sl.sum("v")), ("high", sl.max("v")))
KEYED = StreamType(pa.schema({"at": pa.int64(), "k": pa.int64(), "v": pa.int64()}), True, ("k",))
APART = 2**59
"""A factor that puts integer keys too far apart for cells."""


def fired(operator: Operator, watermark: int) -> dict[tuple[int, int], tuple[Any, ...]]:
    found: dict[tuple[int, int], tuple[Any, ...]] = {}
    for port, batch in operator.on_watermark(watermark):
        assert port == OUT
        for key, start, _, *results in plain(pa.Table.from_batches([batch.to_arrow()])):
            assert (key, start) not in found
            found[key, start] = tuple(results)
    return found


def naive_panes(
    rows: list[tuple[int, int, int]], window: SlidingWindow
) -> dict[tuple[int, int], tuple[Any, ...]]:
    groups = defaultdict(list)
    for at, key, value in rows:
        for number in windows_with(window, at):
            groups[key, exact(window, number)[0]].append(value)
    return {pane: (len(v), sum(v), max(v)) for pane, v in groups.items()}


@given(
    size=st.integers(1, 30),
    every=st.integers(1, 30),
    batches=st.lists(
        st.tuples(
            st.sampled_from(["dense", "apart", "arrow"]),
            st.lists(
                st.tuples(st.integers(-60, 60), st.integers(0, 5), st.integers(-9, 9)),
                min_size=1,
                max_size=20,
            ),
        ),
        max_size=6,
    ),
    watermarks=st.lists(st.integers(-80, 80), max_size=4),
)
def test_cells_and_blocks_of_one_slice_are_merged(size, every, batches, watermarks):
    """Cells come of dense integer keys, blocks of keys far apart and of keys with nulls."""
    window = windows.sliding(size, every=every)
    operator = WindowAggregate(window, AGGREGATES).build([KEYED])
    rows = []
    for form, found in batches:
        at, keys, values = (np.array(c, np.int64) for c in zip(*found, strict=True))
        columns: list[Any] = [at, keys * APART if form == "apart" else keys, values]
        rows += list(zip(at.tolist(), columns[1].tolist(), values.tolist(), strict=True))
        if form == "arrow":
            columns[1] = pa.array([None, *keys.tolist()]).slice(1)
        list(operator.on_batch(Batch(KEYED.schema, columns, len(at), at), 0))
    panes = {}
    for watermark in [*sorted(watermarks), MAX_TIME]:
        panes |= fired(operator, watermark)
    assert panes == naive_panes(rows, window)
    assert operator.snapshot().table("slices") is None  # nothing is left behind


@pytest.mark.parametrize("chunk", [1, 3, 100])
def test_keys_far_apart_in_small_batches_are_all_there_in_windows_that_overlap(tmp_path, chunk):
    """The cells of a slice that could not be merged became a block while the window fired, unseen by it."""
    keys = [i * 10**9 for i in range(50)]
    data = [{"at": i % 7, "key": key} for i, key in enumerate(keys)]
    result = read(data, chunk=chunk, delay=7).key_by("key").window(windows.sliding(20, every=10))
    sink = memory.sink()
    flow = sl.Flow("f", result.aggregate(n=sl.count()).write(sink, name="out"))
    flow.run(state=str(tmp_path), progress="none")
    assert plain(sink.table()) == sorted(((k, s, s + 20, 1) for k in keys for s in (-10, 0)), key=repr)


@pytest.mark.parametrize("spread", [1, 7, 10**12])
def test_many_small_batches_stay_few_blocks(spread):
    window = windows.tumbling(1000)
    operator = WindowAggregate(window, AGGREGATES).build([KEYED])
    rows = []
    for i in range(600):
        at, key = np.array([i % 50, i % 40]), np.array([i % 90, i]) * spread
        columns = [at, pa.array([None, *key.tolist()]).slice(1), at]
        list(operator.on_batch(Batch(KEYED.schema, columns, 2, at), 0))
        rows += list(zip(at.tolist(), key.tolist(), at.tolist(), strict=True))
        assert len(operator._slices._blocks) <= MAX_PARTIALS
        assert len(operator._slices._cells) <= MAX_PARTIALS
    assert fired(operator, MAX_TIME) == naive_panes(rows, window)


def test_a_large_batch_does_not_overtake_small_ones_that_wait_to_be_taken_in():
    stream = StreamType(pa.schema({"at": pa.int64()}), True)
    last = ("last", sl.last("at", order="arrival"))
    operator = WindowAggregate(windows.tumbling(1_000), (last,)).build([stream])
    list(operator.on_watermark(1))  # nothing has waited before
    for times in ([12], [11] * 10_000):
        column = np.array(times, np.int64)
        list(operator.on_batch(Batch(stream.schema, [column], len(column), column), 0))
    ((_, found),) = operator.on_watermark(1_000)
    assert found.to_arrow()["last"].to_pylist() == [11]


@pytest.mark.parametrize("factors", [[1], [APART], [1, APART]], ids=["cells", "blocks", "both"])
def test_hundreds_of_windows_fire_at_once(factors):
    window = windows.sliding(300, every=2)
    operator = WindowAggregate(window, AGGREGATES).build([KEYED])
    chance, rows = np.random.default_rng(3), []
    for i in range(60):
        at, value = chance.integers(0, 1000, 20), chance.integers(-9, 9, 20)
        key = chance.integers(0, 5, 20) * factors[i % len(factors)]
        list(operator.on_batch(Batch(KEYED.schema, [at, key, value], 20, at), 0))
        rows += list(zip(at.tolist(), key.tolist(), value.tolist(), strict=True))
    panes = fired(operator, 500) | fired(operator, 501) | fired(operator, MAX_TIME)
    assert panes == naive_panes(rows, window)
    assert len({start for _, start in panes}) > 600


@pytest.mark.timeout(60)  # two seconds; it was four minutes when firing cost windows times slices
@pytest.mark.parametrize("dtype", [pa.int64(), pa.string()])
def test_an_hour_every_second_costs_no_square_of_its_slices(dtype):
    """Each row is in 3,600 windows: thousands of them fire at once, then one by one; then a row is late."""
    stream = StreamType(pa.schema({"k": dtype}), True, ("k",))
    operator = WindowAggregate(windows.sliding("1h", every="1s"), (("n", sl.count()),)).build([stream])
    times = np.arange(7200) * 1_000_000

    def feed(start: int, stop: int) -> list[tuple[int, Batch]]:
        keys = pa.array(np.arange(start, stop) % 5).cast(dtype)
        return list(operator.on_batch(Batch(stream.schema, [keys], stop - start, times[start:stop]), 0))

    feed(0, 7100)
    results = [batch.to_arrow() for _, batch in operator.on_watermark(7_000_000_000)]
    # the window that ends at second i holds the rows before it, at most 3,600 of them
    assert sum(sum(rows["n"].to_pylist()) for rows in results) == sum(min(i, 3600) for i in range(1, 7001))
    for i in range(7100, 7200):
        feed(i, i + 1)
        list(operator.on_watermark(i * 1_000_000))
    assert [(port, batch.num_rows) for port, batch in feed(0, 1)] == [(LATE, 1), (MISSED, 3600)]


def test_a_late_row_does_not_take_one_at_the_end_of_time_with_it():
    """A window cut off at the end of time ends where its last row is; that row is in it all the same."""
    stream = StreamType(pa.schema({"at": pa.int64()}), True)
    operator = WindowAggregate(windows.tumbling(10), (("n", sl.count()),)).build([stream])
    list(operator.on_watermark(100))
    times = np.array([5, MAX_TIME])
    found = operator.on_batch(Batch(stream.schema, [times], 2, times), 0)
    assert [(port, batch.num_rows) for port, batch in found] == [(LATE, 1), (MISSED, 1)]
    assert [(port, batch.num_rows) for port, batch in operator.on_watermark(MAX_TIME)] == [(OUT, 1)]


def test_missed_rows_of_a_chain_have_the_bounds_of_the_window_that_they_missed():
    hourly = read([{"at": 0}]).window(windows.tumbling("1h")).aggregate(n=sl.count()).collect()
    stream = StreamType(hourly.schema, True)
    operator = WindowAggregate(windows.tumbling("1d"), (("n", sl.sum("n")),)).build([stream])
    list(operator.on_watermark(2 * DAY))
    found = dict(operator.on_batch(Batch.from_arrow(hourly.to_batches()[0], np.array([HOUR - 1])), 0))
    assert plain(pa.Table.from_batches([found[LATE].to_arrow()])) == [(0, HOUR, 1)]
    assert plain(pa.Table.from_batches([found[MISSED].to_arrow()])) == [(1, 0, DAY)]
