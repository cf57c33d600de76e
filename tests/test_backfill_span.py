"""`flow.backfill(start=, end=)` and `streamlib backfill --start --end`: a span of event time."""

from __future__ import annotations

import subprocess
import sys
from datetime import UTC, date, datetime, timedelta, timezone

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import streamlib as sl
from streamlib import windows
from streamlib.connectors import memory, parquet
from streamlib.core.errors import DefinitionError, EventTimeError, StateIncompatibleError
from streamlib.core.span import Span, instant

BEGIN = datetime(2024, 1, 1, tzinfo=UTC)
HOURS = [BEGIN + timedelta(hours=i) for i in range(240)]
ROWS = pa.table({"at": pa.array(HOURS, pa.timestamp("us", "UTC")), "n": range(240)})


def flow_over(source, sink=None) -> sl.Flow:
    rows = sl.read(source, name="rows", event_time="at", watermark=sl.monotone())
    days = rows.window(windows.tumbling("1d")).aggregate(n=sl.count(), first=sl.min("n"))
    return sl.Flow("days", days.write(memory.sink() if sink is None else sink, name="out"))


def backfilled(source, tmp_path, **given) -> list[tuple[int, int]]:
    sink = memory.sink()
    flow_over(source, sink).backfill(state=str(tmp_path / "state"), progress="none", **given)
    return sorted((row["first"], row["n"]) for row in sink.table().to_pylist())


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ({"start": "2024-01-09"}, [(192, 24), (216, 24)]),
        ({"end": "2024-01-02"}, [(0, 24)]),
        ({"start": date(2024, 1, 3), "end": datetime(2024, 1, 4, tzinfo=UTC)}, [(48, 24)]),
        ({"start": "2024-01-03T01:00+01:00", "end": "2024-01-04 00:00"}, [(48, 24)]),
        (
            {"start": datetime(2024, 1, 3, 1, tzinfo=timezone(timedelta(hours=1))), "end": "20240104"},
            [(48, 24)],
        ),
        ({"start": 1704240000000000, "end": 1704326400000000}, [(48, 24)]),
        ({"start": "2024-01-03T06:00", "end": "2024-01-04T06:00"}, [(54, 18), (72, 6)]),
        ({"start": "2031-01-01"}, []),
    ],
    ids=str,
)
def test_only_rows_of_the_span_are_looked_at(tmp_path, given, expected):
    assert backfilled(memory.source(ROWS), tmp_path, **given) == expected


def test_row_groups_outside_of_the_span_are_not_read(tmp_path, monkeypatch):
    pq.write_table(ROWS, tmp_path / "a.parquet", row_group_size=24)
    asked: list[int] = []
    whole = pq.ParquetFile.iter_batches

    def watched(self, *args, row_groups, **kwargs):
        asked.extend(row_groups)
        return whole(self, *args, row_groups=row_groups, **kwargs)

    monkeypatch.setattr(pq.ParquetFile, "iter_batches", watched)
    found = backfilled(parquet.source(tmp_path / "a.parquet"), tmp_path, start="2024-01-03", end="2024-01-05")
    assert (found, asked) == ([(48, 24), (72, 24)], [2, 3])


@settings(max_examples=settings.default.max_examples // 4)
@given(start=st.integers(-5, 245), hours=st.integers(1, 250))
def test_a_span_gives_what_its_rows_give(tmp_path_factory, start, hours):
    folder = tmp_path_factory.mktemp("rows")
    pq.write_table(ROWS, folder / "a.parquet", row_group_size=17)
    limits = BEGIN + timedelta(hours=start), BEGIN + timedelta(hours=start + hours)
    expected = backfilled(
        memory.source(ROWS.slice(max(start, 0), hours + min(start, 0))), folder / "expected"
    )
    source = parquet.source(folder / "a.parquet")
    assert backfilled(source, folder, start=limits[0], end=limits[1]) == expected


@pytest.mark.parametrize("value", ["2024-13-01", "yesterday", "", True, 1.5, 10**30, None])
def test_what_is_no_instant_is_refused(tmp_path, value):
    if value is not None:
        with pytest.raises(DefinitionError, match="not an instant"):
            flow_over(memory.source(ROWS)).backfill(start=value, state=str(tmp_path))


def test_an_instant_needs_a_time_zone(tmp_path):
    with pytest.raises(EventTimeError, match="an instant needs a time zone"):
        flow_over(memory.source(ROWS)).backfill(end=datetime(2024, 1, 1), state=str(tmp_path))


@pytest.mark.parametrize(("start", "end"), [("2024-02-01", "2024-01-01"), ("2024-01-01", "2024-01-01")])
def test_a_span_without_time_is_refused(tmp_path, start, end):
    with pytest.raises(DefinitionError, match="there is no time between start and end"):
        flow_over(memory.source(ROWS)).backfill(start=start, end=end, state=str(tmp_path))


def test_a_source_without_event_time_is_refused_before_anything_happens(tmp_path):
    rows = sl.read(memory.source(ROWS), name="rows")
    flow = sl.Flow("flow", rows.write(memory.sink(), name="out"))
    with pytest.raises(EventTimeError, match="source 'rows' has no event time"):
        flow.backfill(start="2024-01-01", state=str(tmp_path / "state"))
    assert not (tmp_path / "state").exists()


def test_each_span_is_a_job_of_its_own(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for day in range(1, 4):
        sink = memory.sink()
        flow_over(memory.source(ROWS), sink).backfill(
            start=f"2024-01-0{day}", end=f"2024-01-0{day + 1}", progress="none"
        )
        assert sink.table()["first"].to_pylist() == [24 * (day - 1)]
    assert (tmp_path / ".streamlib/days.backfill.2024-01-01..2024-01-02/manifests").is_dir()


def test_a_state_folder_of_another_span_is_refused(tmp_path):
    backfilled(memory.source(ROWS), tmp_path, start="2024-01-03")
    with pytest.raises(StateIncompatibleError, match="a batch run from 2024-01-03T00:00:00Z to the end"):
        backfilled(memory.source(ROWS), tmp_path, start="2024-01-04")
    with pytest.raises(StateIncompatibleError):
        backfilled(memory.source(ROWS), tmp_path)


def test_spans_are_names_of_folders():
    found = Span.of("2024-01-31T10:00:30.5", None)
    assert (str(found), instant(" 2024-01-31 ")) == (
        "2024-01-31T100030.5..",
        datetime(2024, 1, 31, tzinfo=UTC),
    )


def test_the_command_takes_a_span(tmp_path):
    pq.write_table(ROWS, tmp_path / "rows.parquet")
    (tmp_path / "days.py").write_text(
        "import streamlib as sl\n"
        "from streamlib.connectors import console, parquet\n"
        "source = parquet.source('rows.parquet')\n"
        "rows = sl.read(source, name='rows', event_time='at', watermark=sl.monotone())\n"
        "flow = sl.Flow('days', rows.select('n').write(parquet.sink('out'), name='out'))\n"
    )

    def command(*arguments: str) -> subprocess.CompletedProcess[str]:
        line = [sys.executable, "-m", "streamlib", "backfill", "days.py", *arguments]
        return subprocess.run(line, cwd=tmp_path, capture_output=True, text=True, check=False)

    done = command("--start", "2024-01-03", "--end", "2024-01-04")
    assert done.returncode == 0, done.stderr
    assert pq.read_table(tmp_path / "out")["n"].to_pylist() == list(range(48, 72))
    wrong = command("--start", "2024-31-01")
    assert (wrong.returncode, "not an instant" in wrong.stderr) == (3, True), wrong.stderr
