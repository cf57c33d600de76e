"""Mistakes that people make, and what they read then: a code, and four parts."""

from __future__ import annotations

import re
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from click.testing import CliRunner

import streamlib as sl
from streamlib import col, windows
from streamlib.cli.explaining import page
from streamlib.cli.main import main
from streamlib.connectors import console, memory, parquet
from streamlib.core.errors import MissingExtraError, StreamlibError, catalogue

START = datetime(2026, 1, 1, tzinfo=UTC)
ROWS = [
    {"at": START + timedelta(seconds=i), "item": "ab"[i % 2], "price": i, "tags": ["x"]} for i in range(20)
]
BOUND = sl.bounded_disorder("1s")
SALES = sl.read(memory.source(ROWS), name="sales", event_time="at", watermark=BOUND)
TIMELESS = sl.read(memory.source(ROWS), name="timeless")
RUNNING = SALES.key_by("item").aggregate(n=sl.count())


def run(stream: Any, state: Path | None = None, sink: Any = None) -> None:
    flow = sl.Flow("job", stream.write(sink or memory.sink(), name="out"))
    flow.run(state=str(state or "state"), progress="none")


def write(path: str, **columns: Any) -> None:
    pq.write_table(pa.table(columns), path)


def files_of_other_columns() -> None:
    write("a.parquet", x=[1])
    write("b.parquet", x=["1"])
    sl.read(parquet.source("*.parquet"), name="files").collect()


def gone() -> None:
    sl.read(parquet.source("nowhere/*.parquet"), name="files").collect()


def another_flow_on_the_state() -> None:
    hourly = SALES.key_by("item").window(windows.tumbling("5s"))
    run(hourly.aggregate(n=sl.count()))
    run(hourly.aggregate(n=sl.mean("price")))


def damaged() -> None:
    run(SALES.key_by("item").window(windows.tumbling("5s")).aggregate(n=sl.count()))
    for manifest in Path("state").rglob("*.json"):
        manifest.write_text(manifest.read_text()[:40])
    run(SALES)


def no_such_folder() -> None:
    Path("taken").write_text("a file")
    run(SALES, sink=parquet.sink("taken"))


def endless() -> None:
    def numbers():
        while True:
            yield {"x": 1}

    sl.read(memory.iterate(numbers, schema={"x": pa.int64()}, bounded=False), name="numbers").collect()


def returns_text(row: dict[str, Any]) -> dict[str, Any]:
    return {"n": "many"}


MISTAKES: dict[str, tuple[str, Callable[[], Any]]] = {
    "a negative duration": ("SL101", lambda: windows.tumbling("-5s")),
    "an unknown column": ("SL102", lambda: SALES.filter(col("prize") > 1).collect()),
    "text compared with a number": ("SL103", lambda: SALES.filter(col("item") > 1).collect()),
    "a window without event time": (
        "SL104",
        lambda: TIMELESS.window(windows.tumbling("5s")).aggregate(n=sl.count()).collect(),
    ),
    "a changelog into a sink that appends": ("SL107", lambda: run(RUNNING, sink=parquet.sink("out"))),
    "a list as key": ("SL108", lambda: SALES.key_by("tags").aggregate(n=sl.count()).collect()),
    "all rows of a source without an end": ("SL109", endless),
    "a secret that is not there": ("SL111", lambda: sl.secret("env:NOT_SET_ANYWHERE").reveal()),
    "integers that overflow": (
        "SL201",
        lambda: SALES.select(x=(col("price") + 1) * (2**62)).collect(),
    ),
    "a function that returns other types": (
        "SL202",
        lambda: SALES.map(returns_text, schema={"n": pa.int64()}).collect(),
    ),
    "a path that names nothing": ("SL203", gone),
    "files of one source with other columns": ("SL204", files_of_other_columns),
    "a file where the folder should be": ("SL205", no_such_folder),
    "a damaged checkpoint": ("SL302", damaged),
    "a state of another aggregate": ("SL303", another_flow_on_the_state),
}


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


@pytest.mark.parametrize("mistake", MISTAKES)
def test_a_mistake_is_told_with_its_code_and_what_to_do(mistake: str) -> None:
    code, make = MISTAKES[mistake]
    with pytest.raises(StreamlibError) as raised:
        make()
    text = str(raised.value)
    assert raised.value.code == code, text
    assert text.endswith(f"  more:     streamlib explain {code}"), text
    for part in ("expected:", "found:", "to do:"):
        assert f"\n  {part}" in text, text


def test_two_jobs_on_one_folder_are_told_how_to_go_on() -> None:
    def numbers():
        while True:
            yield {"x": 1}

    endless = sl.read(memory.iterate(numbers, schema={"x": pa.int64()}, bounded=False), name="numbers")
    first = sl.Flow("job", endless.write(memory.sink(), name="out")).start(state="state", progress="none")
    try:
        with pytest.raises(StreamlibError) as raised:
            run(SALES)
    finally:
        first.drain()
    assert raised.value.code == "SL304"
    assert "takeover" in str(raised.value)


def test_a_missing_extra_says_what_to_install() -> None:
    error = MissingExtraError.of("matplotlib", "plot")
    assert error.code == "SL106"
    assert 'pip install "streamlib[plot]"' in str(error)


def test_a_record_that_a_function_fails_on_is_named_and_its_exception_stays() -> None:
    with pytest.raises(ZeroDivisionError) as raised:
        SALES.map(lambda row: {"x": 1 // row["price"]}, schema={"x": pa.int64()}).collect()
    notes = "\n".join(raised.value.__notes__)
    assert "map" in notes
    assert "'price': 0" in notes


def test_every_code_belongs_to_one_error_and_is_explained() -> None:
    errors = catalogue().values()
    assert len({error.__name__ for error in errors}) == len(errors)
    for code, error in catalogue().items():
        assert re.fullmatch("SL[1239][0-9]{2}", code)
        told = CliRunner().invoke(main, ["explain", code.lower()])
        assert told.exit_code == 0
        assert told.stdout.startswith(f"{code} {error.__name__}\n\n")
        assert len(told.stdout.splitlines()) >= 5, "a sentence alone explains nothing"


def test_an_unknown_code_gets_the_closest() -> None:
    told = CliRunner().invoke(main, ["explain", "SL1O2"])
    assert told.exit_code == 2
    assert "'SL102'" in told.stderr


def test_the_page_of_errors_is_the_catalogue() -> None:
    assert (Path(__file__).parents[1] / "docs/errors.md").read_text() == page()


def test_console_takes_what_a_sink_that_appends_refuses(capsys) -> None:
    run(RUNNING, sink=console.sink())
    assert "+I" in capsys.readouterr().out
