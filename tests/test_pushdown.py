"""Filters keep sources from reading what no filter lets through, and nothing else changes."""

from __future__ import annotations

import tempfile
from datetime import UTC, date, datetime, timedelta

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import streamlib as sl
from streamlib import windows
from streamlib.connectors import memory, parquet
from streamlib.core.batch import Batch, as_arrow
from streamlib.core.contracts import Chunk, StreamType
from streamlib.core.errors import EventTimeError
from streamlib.core.expressions import bind
from streamlib.core.expressions.ranges import decidable
from streamlib.plan.node import Read
from streamlib.plan.pushdown import pushed_down
from streamlib.runners.driver import BatchSize, Driver
from streamlib.runners.feeds import InlineFeed
from streamlib.runners.world import LocalWorld
from streamlib.runtime.intake import EventTimes, Intake

GROUP = 10
col = sl.col


def written(path, table, rows=GROUP, **options):
    pq.write_table(table, path, row_group_size=rows, **options)
    return path


def groups_read(source, flow_of, mode="batch") -> list[int]:
    """The row groups of the only file that are read."""
    flow = sl.Flow("flow", flow_of(source).write(memory.sink(), name="out"))
    ((_, read),) = pushed_down(flow.bind()).reads().values()
    (partition,) = read.source.partitions()
    reader = read.source.open(partition, None, None)
    found = [group for run, left_out in reader._rows.groups.runs(0) if left_out is None for group in run]
    reader.close()
    return found


# --------------------------------------------------------------------------- what statistics tell

INSTANTS = [datetime(2024, 1, 1, tzinfo=UTC) + timedelta(hours=i) for i in range(40)]
COLUMNS = pa.table(
    {
        "int": pa.array(range(40)),
        "uint": pa.array([2**63 + i for i in range(40)], pa.uint64()),
        "byte": pa.array([i * 6 for i in range(40)], pa.uint8()),
        "float": pa.array([float("nan") if i % 7 == 0 else i / 2 for i in range(40)]),
        "text": [f"{chr(97 + i // 10)}{i}" for i in range(40)],
        "long": ["x" * 5000 + str(i) for i in range(40)],
        "flag": [i >= 30 for i in range(40)],
        "some": [None if i < 10 else i for i in range(40)],
        "nulls": pa.array([None] * 40, pa.int64()),
        "at": pa.array(INSTANTS, pa.timestamp("us", "UTC")),
        "ns": pa.array(INSTANTS, pa.timestamp("ns", "Europe/Berlin")),
        "sec": pa.array(INSTANTS, pa.timestamp("s", "UTC")),
        "day": pa.array([date(2024, 1, 1) + timedelta(days=i) for i in range(40)]),
        "money": pa.array(range(40), pa.decimal128(10, 2)),
    }
)


@pytest.mark.parametrize(
    ("condition", "groups"),
    [
        (col("int") >= 25, [2, 3]),
        (col("int") > 25, [2, 3]),
        (col("int") == 12, [1]),
        (col("int") != 12, [0, 1, 2, 3]),
        (~(col("int") < 30), [3]),
        ((col("int") > 100) | (col("text") < "b"), [0]),
        ((col("int") > 5) & (col("int") < 8), [0]),
        (col("int").is_between(10, 19), [1]),
        (col("int").is_between(9, 20, closed="none"), [1]),
        (col("int").is_in([3, 33, 77]), [0, 3]),
        (col("int").is_in([]), []),
        (col("int") > 18.5, [1, 2, 3]),
        (col("uint") > 2**63 + 29, [3]),
        (col("byte") > 190, [3]),
        (col("float") > 15, [3]),
        (~(col("float") > 15), [0, 1, 2, 3]),  # NaN is in every group, and not above
        (col("float") != 3.0, [0, 1, 2, 3]),
        (col("text") == "b12", [1]),
        (col("long") == "y", [0, 1, 2, 3]),  # too long for statistics
        (col("flag"), [3]),
        (~col("flag"), [0, 1, 2]),
        (col("some").is_null(), [0]),
        (col("some").is_not_null(), [1, 2, 3]),
        (col("some") < 15, [1]),
        (~(col("some") < 15), [1, 2, 3]),
        (col("nulls") > 0, []),
        (col("at") >= INSTANTS[30], [3]),
        (col("ns") >= INSTANTS[30], [3]),
        (col("sec") >= INSTANTS[30], [3]),
        (col("day") < date(2024, 1, 5), [0]),
        (col("money") > 35, [0, 1, 2, 3]),  # decimals are not looked at
        (col("int") % 2 == 0, [0, 1, 2, 3]),
        ((col("int") > 25) & (10 // col("int") > 0), [0, 1, 2, 3]),  # may fail at any row
        (col("int") > col("some"), [0, 1, 2, 3]),
    ],
    ids=str,
)
def test_row_groups_are_read_that_may_hold_a_row(tmp_path, condition, groups):
    source = parquet.source(written(tmp_path / "a.parquet", COLUMNS))
    assert groups_read(source, lambda s: sl.read(s, name="rows").filter(condition)) == groups


def test_nan_is_in_no_statistics_and_may_be_anywhere(tmp_path):
    table = pa.table({"x": [3.0, float("nan"), 3.0, None]})
    rows = sl.read(parquet.source(written(tmp_path / "a.parquet", table, rows=2)), name="rows")
    for condition in (col("x") != 3.0, ~(col("x") == 3.0)):
        assert rows.filter(condition).collect().num_rows == 1


def test_without_statistics_everything_is_read(tmp_path):
    path = written(tmp_path / "a.parquet", COLUMNS, write_statistics=False)
    assert groups_read(parquet.source(path), lambda s: sl.read(s, name="rows").filter(col("int") > 100)) == [
        0,
        1,
        2,
        3,
    ]


@pytest.mark.parametrize(
    ("flow", "groups"),
    [
        (lambda s: s.filter(col("int") > 5).filter(col("int") < 15), [0, 1]),
        (lambda s: s.drop("some").key_by("text").filter(col("int") > 25), [2, 3]),
        (lambda s: s.filter(col("int") > 25).with_columns(x=col("int") * 2).filter(col("x") < 0), [2, 3]),
        (lambda s: s.with_columns(int=col("int") * 2).filter(col("int") > 25), [0, 1, 2, 3]),
        (lambda s: s.filter(col("int") < 5).union(s.filter(col("int") > 35)), [0, 3]),
        (lambda s: s.filter(col("int") < 5).union(s), [0, 1, 2, 3]),
        (lambda s: s.select("text", "int").unkey().filter(col("int") > 25), [2, 3]),
        (lambda s: s.select("text", int=col("some")).filter(col("int") > 25), [0, 1, 2, 3]),
        (lambda s: s.split(col("int") < 5)[1], [0, 1, 2, 3]),
        (lambda s: s.map(lambda row: row, schema=COLUMNS.schema).filter(col("int") > 25), [0, 1, 2, 3]),
    ],
)
def test_only_filters_directly_behind_the_source_skip(tmp_path, flow, groups):
    source = parquet.source(written(tmp_path / "a.parquet", COLUMNS))
    assert groups_read(source, lambda s: flow(sl.read(s, name="rows"))) == groups


VALUES = {
    "int": (pa.int8(), st.integers(-5, 5)),
    "float": (pa.float32(), st.sampled_from([-1.5, -0.0, 0.0, 2.0, float("nan"), float("inf")])),
    "text": (pa.string(), st.sampled_from(["", "a", "ab", "b", "é"])),
    "flag": (pa.bool_(), st.booleans()),
}


@st.composite
def conditions(draw, depth=3):
    if depth and draw(st.booleans()):
        left = draw(conditions(depth - 1))
        match draw(st.sampled_from("&|~")):
            case "~":
                return ~left
            case "&":
                return left & draw(conditions(depth - 1))
            case _:
                return left | draw(conditions(depth - 1))
    name = draw(st.sampled_from(sorted(VALUES)))
    value, other = draw(VALUES[name][1]), draw(VALUES[name][1])
    column = col(name)
    kinds = [
        lambda: column == value,
        lambda: column != value,
        lambda: column < value,
        lambda: value <= column,
        lambda: column.is_in([value, other]),
        lambda: column.is_between(value, other),
        column.is_null,
        column.is_not_null,
    ]
    return draw(st.sampled_from(kinds))()


@given(condition=conditions(), data=st.data())
def test_a_row_group_with_a_row_that_passes_is_never_left_out(tmp_path_factory, condition, data):
    count = data.draw(st.integers(0, 12))
    table = pa.table(
        {
            name: pa.array(
                data.draw(st.lists(st.none() | values, min_size=count, max_size=count)),
                dtype,
                from_pandas=False,
            )
            for name, (dtype, values) in VALUES.items()
        }
    )
    path = written(tmp_path_factory.mktemp("g") / "a.parquet", table, rows=3)
    stream = StreamType(table.schema)
    assert decidable(condition, stream)
    rows = table.combine_chunks().to_batches()
    passed = (
        as_arrow(bind(condition, stream).evaluate(Batch.from_arrow(rows[0])), pa.bool_()).to_pylist()
        if rows
        else []
    )
    read = groups_read(parquet.source(path), lambda s: sl.read(s, name="rows").filter(condition))
    assert {i // 3 for i, passes in enumerate(passed) if passes} <= set(read)


# --------------------------------------------------------------------------- flows

SECOND = 1_000_000


@st.composite
def tables(draw):
    """Event times with disorder beyond the bound, in files of clustered values."""
    rows = draw(st.integers(1, 60))
    seed = np.random.default_rng(draw(st.integers(0, 2**16)))
    at = np.arange(rows) * SECOND + seed.integers(-8, 8, rows) * SECOND
    kinds = np.sort(seed.integers(0, 6, rows)) if draw(st.booleans()) else seed.integers(0, 6, rows)
    return pa.table(
        {"at": at, "kind": kinds, "key": seed.integers(0, 3, rows), "price": seed.integers(0, 50, rows)}
    )


def stream_of(source) -> sl.Stream:
    return sl.read(source, name="rows", event_time="at", watermark=sl.bounded_disorder("2s"), max_ahead=None)


WINDOWS = {
    "tumbling": windows.tumbling("5s"),
    "sliding": windows.sliding("6s", every="2s"),
}
CONDITIONS = {
    "kind": lambda s: s.filter(col("kind") == 2),
    "kinds": lambda s: s.filter(col("kind").is_in([0, 5])).filter(col("price") > 10),
    "none": lambda s: s.filter(col("kind") > 9),
    "late": lambda s: s.filter(col("at") >= 20 * SECOND),
    "keyed": lambda s: s.key_by("key").filter((col("kind") < 2) | (col("kind") > 4)),
}


@settings(max_examples=settings.default.max_examples // 5)
@given(
    tables=st.lists(tables(), min_size=1, max_size=3),
    rows=st.integers(1, 9),
    condition=st.sampled_from(sorted(CONDITIONS)),
    window=st.sampled_from(sorted(WINDOWS)),
    mode=st.sampled_from(["streaming", "batch"]),
)
def test_flows_give_what_they_give_over_the_tables_in_memory(
    tmp_path_factory, tables, rows, condition, window, mode
):
    folder = tmp_path_factory.mktemp("files")
    for i, table in enumerate(tables):
        written(folder / f"{i}.parquet", table, rows=rows)
    results = []
    for source in (
        parquet.source(folder),
        memory.source({f"{i}.parquet": table for i, table in enumerate(tables)}),
    ):
        shown, late = memory.sink(), memory.sink()
        found = CONDITIONS[condition](stream_of(source)).window(WINDOWS[window])
        found = found.aggregate(n=sl.count(), total=sl.sum("price"))
        flow = sl.Flow(
            "flow", found.write(shown, name="shown"), found.output("late").write(late, name="late")
        )
        run = flow.run if mode == "streaming" else flow.backfill
        result = run(state=tempfile.mkdtemp(), progress="none")
        rows_of = [sorted(map(repr, sink.table().to_pylist())) for sink in (shown, late)]
        results.append((result.rows, result.rows_read, result.late_rows, *rows_of))
    assert results[0] == results[1]


def test_rows_left_out_move_the_watermark_as_if_they_had_been_read(tmp_path):
    at = [1 * SECOND] * 10 + [100 * SECOND] * 10 + [2 * SECOND] * 10
    table = pa.table({"at": at, "kind": [0] * 10 + [1] * 10 + [0] * 10})
    source = parquet.source(written(tmp_path / "a.parquet", table))
    found = stream_of(source).filter(col("kind") == 0).window(windows.tumbling("5s")).aggregate(n=sl.count())
    shown = memory.sink()
    result = sl.Flow("flow", found.write(shown, name="out")).run(state=str(tmp_path / "s"), progress="none")
    assert (shown.table()["n"].to_pylist(), result.late_rows, result.rows) == ([10], 10, 30)


def test_a_group_in_which_a_row_has_no_event_time_is_read_and_fails(tmp_path):
    table = pa.table({"at": [1, 2, 3, None], "kind": [0, 0, 1, 1]})
    source = parquet.source(written(tmp_path / "a.parquet", table, rows=2))
    with pytest.raises(EventTimeError):
        stream_of(source).filter(col("kind") == 0).collect()


def test_rows_left_out_that_lie_in_the_future_fail_a_stream_as_if_they_had_been_read(tmp_path):
    far = datetime(9999, 1, 1, tzinfo=UTC)
    table = pa.table({"at": pa.array([INSTANTS[0], far], pa.timestamp("us", "UTC")), "kind": [0, 1]})
    source = parquet.source(written(tmp_path / "a.parquet", table, rows=1))
    rows = sl.read(source, name="rows", event_time="at", watermark=sl.monotone())
    flow = sl.Flow("flow", rows.filter(col("kind") == 0).write(memory.sink(), name="out"))
    with pytest.raises(EventTimeError, match="a row that a filter drops lies in the future"):
        flow.run(state=str(tmp_path / "state"), progress="none")


# --------------------------------------------------------------------------- positions


def opened(path, condition, position=None):
    source = parquet.source(path)
    source.schema()
    return source.skipping(condition, "at").open("a.parquet", position, None)


def chunks(reader) -> list[Chunk]:
    found = []
    while isinstance(answer := reader.read(), Chunk):
        found.append(answer)
    reader.close()
    return found


def test_positions_count_the_rows_that_are_left_out(tmp_path):
    table = pa.table({"at": range(35), "kind": [i // 10 for i in range(35)]})
    path = written(tmp_path / "a.parquet", table)
    whole = [(c.next_position, c.rows.num_rows, c.left_out) for c in chunks(opened(path, col("kind") == 2))]
    assert [(at, rows, None if out is None else (out.rows, out.newest)) for at, rows, out in whole] == [
        (20, 0, (20, 19)),
        (30, 10, None),
        (35, 0, (5, 34)),
    ]
    for position in range(36):
        rest = chunks(opened(path, col("kind") == 2, position))
        assert sum(c.rows.num_rows + (c.left_out.rows if c.left_out else 0) for c in rest) == 35 - position
        ids = [i for c in rest if c.left_out is None for i in c.rows.column("at").to_pylist()]
        assert ids == list(range(max(position, 20), 30))


@given(admitted=st.lists(st.integers(1, 12), max_size=6), before=st.integers(0, 4), after=st.integers(0, 4))
def test_a_restored_position_holds_when_the_filter_changed(tmp_path_factory, admitted, before, after):
    table = pa.table({"at": range(40), "kind": [i // 10 for i in range(40)]})
    path = written(tmp_path_factory.mktemp("p") / "a.parquet", table)
    source = parquet.source(path)
    times = EventTimes(Read(source, sl.col("at")), source.schema())

    def admit(intake: Intake, condition, limits) -> list[int]:
        found = []
        for chunk in chunks(opened(path, condition, intake.start)):
            intake.offer(chunk)
        intake.end()
        for limit in limits:
            if intake.passes_over:
                intake.pass_over()
            elif intake.has_rows:
                batch = intake.front(limit)
                intake.enter(batch.num_rows)
                found += as_arrow(batch.column("at")).to_pylist()
        return found

    first = Intake(times)
    admit(first, col("kind") != before, admitted)
    second = Intake(times)
    second.restore(first.snapshot())
    found = admit(second, col("kind") != after, [7] * 60)
    assert found == [i for i in range(first.rows, 40) if i // 10 != after]
    assert second.rows == 40


class InPlace(LocalWorld):
    """Reads one chunk of each partition a turn, so that every run takes the same turns."""

    def feed(self, source, reader):
        return InlineFeed(reader)


def with_restarts(flow: sl.Flow, mode: str, turns: list[int]) -> list[str]:
    """The rows of a run that is restored from what was captured after so many turns, again and again."""
    captured, found = None, []
    for turn in [*turns, 10_000]:
        driver = Driver(pushed_down(flow.bind()), mode, InPlace(), BatchSize(3, smallest=1))
        if captured is not None:
            driver.pipeline.restore(captured, 0.0)
        driver.open()
        for _ in range(turn):
            if driver.pipeline.finished:
                break
            driver.read()
            driver.step()
            for name, batch in driver.pipeline.take_written():
                found += [f"{name} {row}" for row in batch.to_arrow().to_pylist()]
        captured = driver.pipeline.capture()
        driver.close()
    return [*sorted(found), str(driver.pipeline.rows), str(driver.pipeline.engine.late_rows)]


@settings(max_examples=settings.default.max_examples // 5)
@given(
    tables=st.lists(tables(), min_size=1, max_size=3),
    rows=st.integers(1, 9),
    condition=st.sampled_from(sorted(CONDITIONS)),
    turns=st.lists(st.integers(0, 12), max_size=4),
    mode=st.sampled_from(["streaming", "batch"]),
)
def test_restarts_anywhere_change_nothing(tmp_path_factory, tables, rows, condition, turns, mode):
    folder = tmp_path_factory.mktemp("files")
    for i, table in enumerate(tables):
        written(folder / f"{i}.parquet", table, rows=rows)
    whole = {f"{i}.parquet": table for i, table in enumerate(tables)}

    def flow(source) -> sl.Flow:
        found = CONDITIONS[condition](stream_of(source)).window(windows.tumbling("5s"))
        found = found.aggregate(n=sl.count(), total=sl.sum("price"))
        ends = (
            found.write(memory.sink(), name="shown"),
            found.output("late").write(memory.sink(), name="late"),
        )
        return sl.Flow("flow", *ends)

    expected = with_restarts(flow(memory.source(whole)), mode, [])
    assert with_restarts(flow(parquet.source(folder)), mode, turns) == expected
