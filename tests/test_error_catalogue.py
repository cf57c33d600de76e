"""Every kind of mistake, made on purpose in a flow file: what is read on the command line, and in Python."""

from __future__ import annotations

import sys
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from click.testing import CliRunner

import streamlib as sl
from streamlib.cli.main import main
from streamlib.connectors import memory
from streamlib.core.errors import StreamlibError
from streamlib.operators import Operator, OperatorSpec, OperatorState

FLOWS = """
import pyarrow as pa
import streamlib as sl
from streamlib import col, windows
from streamlib.connectors import console, memory, parquet

ROWS = [{"at": i * 1_000_000, "item": "ab"[i % 2], "price": i, "tags": ["x"]} for i in range(20)]
SALES = sl.read(memory.source(ROWS), name="sales", event_time="at", watermark=sl.bounded_disorder("1s"))
TIMELESS = sl.read(memory.source(ROWS), name="timeless")
FIVE = windows.tumbling("5s")

def numbers():
    i = 0
    while True:
        yield {"x": i, "key": str(i)}
        i += 1

ENDLESS = sl.read(
    memory.iterate(numbers, schema={"x": pa.int64(), "key": pa.string()}, bounded=False), name="numbers"
)

def job(stream, sink=None):
    return sl.Flow("job", stream.write(sink or console.sink(), name="out"))

def inverse(row):
    return {"x": 1 // row["price"]}

def unknown_column(): return job(SALES.filter(col("prize") > 1))
def mismatch(): return job(SALES.filter(col("item") > 1))
def no_event_time(): return job(TIMELESS.window(FIVE).aggregate(n=sl.count()))
def changelog(): return job(SALES.key_by("item").aggregate(n=sl.count()), parquet.sink("out"))
def growing(): return job(ENDLESS.key_by("key").aggregate(n=sl.count()))
def hopeless(): return job(ENDLESS.aggregate(n=sl.median("x")))
def unhashable(): return job(SALES.key_by("tags").aggregate(n=sl.count()))
def not_async(): return job(SALES.map_async(inverse, schema={"x": pa.int64()}))
def poison(): return job(SALES.map(inverse, schema={"x": pa.int64()}))
def gone(): return job(sl.read(parquet.source("nowhere/*.parquet"), name="files"))
def other_columns(): return job(sl.read(parquet.source("in/*.parquet"), name="files"))
def refused(): return job(SALES.select("item"), parquet.sink("taken"))
def counted(): return job(SALES.key_by("item").window(FIVE).aggregate(n=sl.count()))
def averaged(): return job(SALES.key_by("item").window(FIVE).aggregate(n=sl.mean("price")))
"""


@dataclass(frozen=True)
class Mistake:
    """What `streamlib check` (or `run`) says: its code, and words that must be in it."""

    code: str
    words: tuple[str, ...]
    command: str = "check"


MISTAKES = {
    "unknown_column": Mistake("SL102", ("'filter' (flows.py:", "one of at, item, price", "mean 'price'?")),
    "mismatch": Mistake("SL103", ("col('item') is string", "1 is a literal int64", ".cast(pa.int64())")),
    "no_event_time": Mistake("SL104", ("a window needs event time", "`event_time=`", "sl.read")),
    "changelog": Mistake("SL107", ("'out' (flows.py:", "a changelog of (item)", ".final_only()")),
    "hopeless": Mistake("SL109", ("'aggregate' (flows.py:", "the values of col('x')", "windows")),
    "unhashable": Mistake("SL108", ("the column 'tags' can't be a key", "list<item: string>")),
    "not_async": Mistake("SL101", ("'map_async' (flows.py:", "`async def`", "use `.map`")),
    "gone": Mistake("SL203", ("'files' (flows.py:", "nowhere/*.parquet", "check the path")),
    "other_columns": Mistake("SL204", ("in/b.parquet", "column 'x' of type int64", "of type string")),
    "refused": Mistake("SL205", ("'out' (flows.py:", "a file where a folder is needed"), "run"),
}


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("flows.py").write_text(FLOWS)
    Path("taken").write_text("a file")
    Path("in").mkdir()
    pq.write_table(pa.table({"x": [1]}), "in/a.parquet")
    pq.write_table(pa.table({"x": ["1"]}), "in/b.parquet")


def told(command: str, flow: str, *more: str) -> tuple[int, str]:
    """The exit code, and all that a person reads."""
    result = CliRunner().invoke(main, [command, f"flows.py:{flow}", *more])
    return result.exit_code, result.stdout + result.stderr


def run(flow: str) -> tuple[int, str]:
    return told("run", flow, "--progress", "none", "--state", "state")


@pytest.mark.parametrize("flow", MISTAKES)
def test_a_mistake_is_told_in_four_parts_with_its_code_and_no_traceback(flow: str) -> None:
    mistake = MISTAKES[flow]
    code, text = run(flow) if mistake.command == "run" else told("check", flow)
    assert code != 0
    assert text.startswith("error: "), text
    assert "Traceback" not in text
    for part in ("\n  expected: ", "\n  found:    ", "\n  to do:    ", f"streamlib explain {mistake.code}"):
        assert part in text, text
    for word in mistake.words:
        assert word in text, text
    explained = CliRunner().invoke(main, ["explain", mistake.code])
    assert explained.exit_code == 0


def test_state_that_grows_for_ever_is_warned_of_with_what_would_bound_it() -> None:
    code, text = told("check", "growing")
    assert code == 0
    warning = next(line for line in text.splitlines() if line.startswith("warning: "))
    assert "in operator 'aggregate' (flows.py:" in warning
    assert "grows for ever, with every new key; aggregate in windows to bound it" in warning
    assert "unbounded state" in told("plan", "growing")[1]
    assert "warning" not in told("check", "counted")[1]


def test_a_job_that_could_never_last_is_refused_and_a_look_at_it_is_not() -> None:
    def numbers():
        yield from ({"x": i} for i in range(10**9))

    endless = sl.read(memory.iterate(numbers, schema={"x": pa.int64()}, bounded=False), name="numbers")
    median = endless.aggregate(n=sl.median("x"))
    with pytest.raises(StreamlibError) as raised:
        sl.Flow("job", median.write(memory.table_sink(), name="out")).run(state="state", progress="none")
    assert raised.value.code == "SL109"
    assert not Path("state").exists()
    assert median.preview(1).table.num_rows == 1


def test_a_poison_record_is_shown_with_the_users_own_traceback() -> None:
    code, text = run("poison")
    assert code == 1
    assert "ZeroDivisionError" in text
    assert 'return {"x": 1 // row["price"]}' in text
    assert "mapped row 0: {'at': 0, 'item': 'a', 'price': 0" in text
    assert "in operator 'map' (flows.py:" in text
    assert "streamlib/runtime" not in text  # nothing of ours


def test_a_checkpoint_of_another_flow_is_refused_with_what_differs_alone() -> None:
    assert run("counted")[0] == 0
    code, text = run("averaged")
    assert code == 3
    assert "in operator 'aggregate' (flows.py:" in text
    assert "expected: aggregates n kind 'mean', aggregates n argument ('column', 'price')" in text
    assert "found:    aggregates n kind 'count', aggregates n argument None" in text
    assert "SL303" in text
    assert "streamlib.operators" not in text


def test_a_second_run_on_a_state_folder_is_refused_while_the_first_one_lives() -> None:
    def numbers():
        yield from ({"x": i} for i in range(10**9))

    endless = sl.read(memory.iterate(numbers, schema={"x": pa.int64()}, bounded=False), name="numbers")
    first = sl.Flow("job", endless.write(memory.sink(), name="out")).start(state="state", progress="none")
    try:
        code, text = run("counted")
    finally:
        first.drain()
    assert code == 3
    assert "is running already; nothing was changed" in text
    assert "--takeover" in text
    assert "SL304" in text


def test_a_missing_extra_names_the_command_that_installs_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    monkeypatch.setitem(sys.modules, "matplotlib.pyplot", None)
    with pytest.raises(ImportError) as raised:
        sl.plot.windows(pa.table({"window_start": [0], "window_end": [1], "n": [1]}), "n")
    assert 'pip install "streamlib[plot]"' in str(raised.value)
    assert "SL106" in str(raised.value)


@dataclass(frozen=True, eq=False)
class Marked(OperatorSpec):
    """An operator of one's own with a state by key."""

    kind: ClassVar[str] = "marked"
    stateful: ClassVar[bool] = True
    keyed: ClassVar[bool] = True

    def bind(self, inputs):
        return (inputs[0],)

    def build(self, inputs):
        return _Marked()


class _Marked(Operator):
    def on_batch(self, batch, port):
        return [(0, batch)]

    def snapshot(self):
        return OperatorState()

    def restore(self, state):
        pass


def test_a_keyed_operator_of_ones_own_needs_keys() -> None:
    rows = sl.read(memory.source([{"x": 1}]), name="rows")
    with pytest.raises(StreamlibError) as raised:
        rows.then(Marked()).collect()
    assert raised.value.code == "SL101"
    assert "in operator 'marked' (test_error_catalogue.py:" in str(raised.value)
    assert ".key_by(" in str(raised.value)
    assert rows.key_by("x").then(Marked()).collect().num_rows == 1
