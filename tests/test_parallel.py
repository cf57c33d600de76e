"""Several workers give what one gives: rows, late rows, missed windows, order where order counts."""

from __future__ import annotations

import multiprocessing
import os
import signal
import socket
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from types import ModuleType
from typing import ClassVar

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

import streamlib as sl
from streamlib import windows
from streamlib.connectors import memory, parquet
from streamlib.core.batch import Batch
from streamlib.core.contracts import Operator, OperatorSpec, OperatorState
from streamlib.core.errors import DefinitionError, NotPicklableError, WorkerError
from streamlib.core.segment import Segment
from streamlib.core.time import MAX_TIME
from streamlib.runners.carried_states import SegmentsHere, SegmentsThere
from streamlib.runners.channel import Channel
from streamlib.runners.crews import crew_kind
from streamlib.runners.processes import ProcessCrew, packed
from streamlib.runtime.crew import InlineCrew
from streamlib.runtime.parallel import ParallelEngine
from streamlib.runtime.worker import Task
from streamlib.state.key_groups import KEY_GROUPS, key_groups, owners
from streamlib.testing.simulator import live
from tests.flows import Case, late_rows, missed_rows, pane_rows, table_rows
from tests.graphs import Graph

WORKERS = (1, 2, 3, 4)


@pytest.mark.parametrize("seed", range(100))
def test_any_number_of_workers_gives_what_the_naive_reference_gives(seed):
    case = Case(seed)
    outcome = live(case.flow, case.schemas, seed, crashes=seed % 3, parallelism=WORKERS)
    expected = case.expected()
    assert table_rows(outcome.tables["/out/panes"]) == pane_rows(expected), outcome.crashes
    assert table_rows(outcome.tables["/out/late"]) == late_rows(expected), outcome.crashes
    assert table_rows(outcome.tables["/out/missed"]) == missed_rows(expected), outcome.crashes
    assert outcome.result is not None
    assert outcome.result.late_rows == len(expected.late)


def same_for_any_workers(seed: int) -> int:
    """Run a random graph with one worker, undisturbed, and with others, through crashes; its late rows."""
    graph = Graph(seed)
    alone = live(graph.flow, graph.schemas, seed, crashes=0)
    shared = live(graph.flow, graph.schemas, seed, crashes=seed % 3, parallelism=WORKERS[1 - seed % 2 :])
    for folder in graph.schemas:
        found, expected = table_rows(shared.tables[folder]), table_rows(alone.tables[folder])
        assert found == expected, f"seed {seed}, {folder}: {shared.crashes}"
    assert shared.result is not None
    assert alone.result is not None
    assert shared.result.late_rows == alone.result.late_rows
    return shared.result.late_rows


def test_any_graph_gives_the_same_for_any_number_of_workers_that_changes_with_every_restart():
    assert sum(same_for_any_workers(seed) > 0 for seed in range(60)) > 20


@pytest.mark.real
@pytest.mark.parametrize("start", range(1000, 2000, 100))
def test_many_more_graphs_on_several_workers(start):
    for seed in range(start, start + 100):
        same_for_any_workers(seed)


# --------------------------------------------------------------------------- where rows go


@pytest.mark.parametrize("workers", [1, 2, 3, 7, 127, 128])
def test_every_worker_owns_one_range_of_key_groups_as_large_as_any_other(workers):
    found = owners(workers)
    assert len(found) == KEY_GROUPS
    assert (np.diff(found) >= 0).all()
    sizes = np.bincount(found, minlength=workers)
    assert len(sizes) == workers
    assert sizes.max() - sizes.min() <= 1


class Noted(Operator):
    """Passes rows on, each with the number of its worker's instance and of the row there."""

    def __init__(self, instances: list[Noted]) -> None:
        self.number = len(instances)
        instances.append(self)
        self.rows: list[int] = []

    def on_batch(self, batch, port):
        self.rows += batch.to_arrow()["value"].to_pylist()
        return ((0, batch),)


class KeptNoted(Noted):
    """With state."""

    def snapshot(self):
        return OperatorState()

    def restore(self, state):
        """Nothing was kept."""


class TimedNoted(Noted):
    """Looks at the watermark."""

    def on_watermark(self, watermark):
        return ()


@dataclass(frozen=True, eq=False)
class Note(OperatorSpec):
    """Stateless unless a subclass says otherwise."""

    kind: ClassVar[str] = "note"
    instances: list[Noted]
    operator: type[Noted] = Noted

    def bind(self, inputs):
        return tuple(inputs)

    def build(self, inputs):
        return self.operator(self.instances)


@dataclass(frozen=True, eq=False)
class SingleNote(Note):
    stateful: ClassVar[bool] = True


@dataclass(frozen=True, eq=False)
class KeyedNote(SingleNote):
    keyed: ClassVar[bool] = True


def crew_of(note: Note, workers: int, rows: int = 90, batch: int = 30) -> tuple[list[list[int]], list[int]]:
    """Rows 0, 1, 2.. keyed by their last digit: what each worker's operator got, and the sink, in order."""
    table = pa.table({"value": range(rows), "key": [v % 10 for v in range(rows)]})
    source = sl.read(memory.source(table), name="rows").key_by("key").then(note)
    bound = sl.Flow("noted", source.write(memory.sink(), name="out")).bind()
    note.instances.clear()
    engine = ParallelEngine(bound, InlineCrew(bound, workers))
    crew = note.instances[:workers]  # the engine has one of its own, which sees no rows
    for batch_rows in table.to_batches(max_chunksize=batch):
        engine.push("rows", Batch.from_arrow(batch_rows))
    engine.advance("rows", MAX_TIME)
    written = [v for _, out in engine.take_written() for v in out.to_arrow()["value"].to_pylist()]
    return [noted.rows for noted in crew], written


@pytest.mark.parametrize("workers", [2, 3, 4])
def test_stateless_operators_share_each_batch_and_keep_the_order_of_rows(workers):
    seen, written = crew_of(Note([]), workers)
    assert written == list(range(90))
    assert all(len(rows) == pytest.approx(90 / workers, abs=3) for rows in seen)


@pytest.mark.parametrize("workers", [2, 3, 4])
def test_an_operator_whose_state_has_no_keys_gets_all_rows_in_order_on_one_worker(workers):
    seen, written = crew_of(SingleNote([], KeptNoted), workers)
    assert seen[0] == written == list(range(90))
    assert not any(seen[1:])


@pytest.mark.parametrize("workers", [2, 3, 4])
def test_an_operator_that_looks_at_the_watermark_works_on_one_worker(workers):
    seen, _ = crew_of(Note([], TimedNoted), workers)
    assert seen == [list(range(90)), *[[]] * (workers - 1)]


@pytest.mark.parametrize("workers", [2, 3, 4])
def test_rows_of_a_key_reach_its_owner_in_order(workers):
    seen, written = crew_of(KeyedNote([], KeptNoted), workers)
    owner = owners(workers).take(key_groups([np.arange(10)], 10))
    for worker, rows in enumerate(seen):
        assert {int(owner[v % 10]) for v in rows} <= {worker}
    for digit in range(10):
        assert [v for v in written if v % 10 == digit] == list(range(digit, 90, 10))


def test_batches_too_small_to_share_go_to_the_workers_in_turn():
    note = Note([])
    table = pa.table({"value": range(6)})
    bound = sl.Flow(
        "noted", sl.read(memory.source(table), name="rows").then(note).write(memory.sink(), name="out")
    ).bind()
    note.instances.clear()
    crew = InlineCrew(bound, 2)
    crew.piece = 4
    engine = ParallelEngine(bound, crew)
    for rows in table.to_batches(max_chunksize=2):
        engine.push("rows", Batch.from_arrow(rows))
    engine.settle()
    assert [noted.rows for noted in note.instances if noted.rows] == [[0, 1, 4, 5], [2, 3]]


# --------------------------------------------------------------------------- when rows reach their owners


class Counting(InlineCrew):
    """Notes the tasks that workers get."""

    def __init__(self, flow, size):
        super().__init__(flow, size)
        self.tasks = []

    def send(self, worker, task):
        self.tasks.append(task)
        return super().send(worker, task)

    @property
    def waves(self):
        return sum(bool(task.watermarks) for task in self.tasks) // self.size


def windowed(every="1s"):
    """Rows of a key and a time in microseconds, counted in windows by two workers."""
    table = pa.table({"at": pa.array([], pa.int64()), "key": pa.array([], pa.int64())})
    source = sl.read(memory.source(table), name="rows", event_time="at", watermark=sl.bounded_disorder(0))
    panes = source.key_by("key").window(windows.tumbling(every)).aggregate(n=sl.count())
    bound = sl.Flow("windowed", panes.write(memory.sink(), name="out")).bind()
    crew = Counting(bound, 2)
    return ParallelEngine(bound, crew), crew


def enter(engine, at):
    rows = pa.record_batch({"at": pa.array(at, pa.int64()), "key": pa.array([0] * len(at), pa.int64())})
    engine.push("rows", Batch.from_arrow(rows, np.array(at)))
    engine.advance("rows", max(at))


def test_watermarks_that_end_no_window_make_no_wave():
    engine, crew = windowed()
    enter(engine, [0])  # the first one tells the operators where time stands
    before = crew.waves
    for second in range(3):
        for i in range(10):
            enter(engine, [second * 1_000_000 + i * 10])
    assert crew.waves == before + 2
    engine.settle()
    counts = [row["n"] for _, batch in engine.take_written() for row in batch.to_arrow().to_pylist()]
    assert counts == [11, 10]


def test_rows_gather_no_longer_than_their_number_allows(monkeypatch):
    monkeypatch.setattr("streamlib.runtime.parallel.GATHERED_ROWS", 100)
    engine, crew = windowed("1h")
    enter(engine, [0])
    before = crew.waves
    for i in range(1, 11):
        enter(engine, [i] * 50)
    assert crew.waves == before + 5


def test_rows_gather_no_longer_than_a_moment_while_others_come():
    engine, crew = windowed("1h")
    enter(engine, [0])
    engine.tick(5.0)
    before = crew.waves
    for i in range(1, 10):
        enter(engine, [i])
        engine.tick(5.0 + i / 100)
    assert crew.waves == before
    enter(engine, [10])
    engine.tick(5.2)
    assert crew.waves == before + 1
    assert engine.source_watermark("rows") == 10


def test_rows_do_not_wait_for_others_where_none_come():
    engine, crew = windowed("1h")
    enter(engine, [0])
    before = crew.waves
    enter(engine, [1])
    engine.tick(5.0)  # they may be the first of many
    assert crew.waves == before
    engine.tick(5.0)
    assert crew.waves == before + 1
    enter(engine, [2])
    engine.tick(5.001)
    engine.tick(5.002)  # so soon again it would take the time from others
    assert crew.waves == before + 1
    engine.tick(5.02)
    assert crew.waves == before + 2


# --------------------------------------------------------------------------- what a user chooses


@pytest.mark.parametrize("count", [0, -1, 129, True, 2.0, "2"])
def test_a_parallelism_that_there_cannot_be_is_refused(count):
    with pytest.raises(DefinitionError, match="from 1 to 128"):
        Case(0).flow(0).run(parallelism=count)


def test_unknown_workers_are_refused_with_the_closest_name():
    with pytest.raises(DefinitionError, match="did you mean 'threads'"):
        Case(0).flow(0).run(parallelism=2, workers="thread")


def doubled(record):
    return {"value": record["value"] * 2}


def mapped(function):
    table = pa.table({"value": range(10)})
    stream = sl.read(memory.source(table), name="rows").map(function, schema={"value": pa.int64()})
    return sl.Flow("mapped", stream.write(memory.sink(), name="out"))


def test_workers_are_processes_where_python_is_called_for_every_row_and_can_be_sent():
    assert crew_kind(mapped(doubled).bind()) == "processes"
    with pytest.warns(UserWarning, match=r"one at a time runs Python(.|\n)*top level of a module"):
        assert crew_kind(mapped(lambda record: record).bind()) == "threads"
    assert crew_kind(Case(0).flow(0).bind()) == "threads"


def test_a_function_of_a_notebook_stays_where_the_notebook_is(monkeypatch):
    notebook = ModuleType("__main__")
    exec("def cell(record):\n    return record", vars(notebook))
    monkeypatch.setitem(sys.modules, "__main__", notebook)
    flow = mapped(notebook.cell).bind()
    with pytest.raises(NotPicklableError, match=r"notebook or shell(.|\n)*cell of the session"):
        packed(flow)
    with pytest.warns(UserWarning, match="import it from there"):
        assert crew_kind(flow) == "threads"


# --------------------------------------------------------------------------- threads and processes

KINDS = ("threads", "processes")
ROWS = 20_000  # enough that every batch is worth sharing
FLOW = pa.schema([("at", pa.int64()), ("key", pa.string()), ("value", pa.int64())])


def hashed(record):
    return {**record, "value": record["value"] * 31 % 1009}


def unlucky(record):
    if record["value"] == ROWS - 1:
        raise ZeroDivisionError("unlucky")
    return record


def killing(record):
    if record["value"] == ROWS - 1:
        os.kill(os.getpid(), signal.SIGKILL)
    return record


class Awkward(Exception):
    def __init__(self, one, two):
        super().__init__(f"{one} and {two}")


def awkward(record):
    raise Awkward(1, 2)


def folding(folder, function=hashed, rows=ROWS):
    """A map, windows and windows of windows over rows with null and skewed keys; four sinks."""
    key = [None if i % 7 == 0 else "hot" if i % 2 else f"k{i % 100}" for i in range(rows)]
    at = [(i - 300 * (i % 50 == 49)) * 1000 for i in range(rows)]
    table = pa.table({"at": at, "key": key, "value": range(rows)}, schema=FLOW)
    stream = sl.read(
        memory.source(table, chunk_rows=rows // 4),
        name="rows",
        event_time="at",
        watermark=sl.bounded_disorder("100ms"),
        max_ahead=None,
    )
    mapped = stream.map(function, schema=FLOW)
    panes = mapped.key_by("key").window(windows.tumbling("200ms")).aggregate(n=sl.count(), s=sl.sum("value"))
    again = panes.window(windows.tumbling("1s")).aggregate(n=sl.sum("n"), s=sl.sum("s"))
    total = mapped.window(windows.sliding("3s", every="1s")).aggregate(n=sl.count(), s=sl.sum("value"))
    return sl.Flow(
        "folding",
        panes.write(parquet.sink(f"{folder}/panes"), name="panes"),
        panes.late().write(parquet.sink(f"{folder}/late"), name="late"),
        again.write(parquet.sink(f"{folder}/again"), name="again"),
        total.write(parquet.sink(f"{folder}/total"), name="total"),
    )


def outputs(folder):
    names = ("panes", "late", "again", "total")
    return {name: table_rows(pq.read_table(f"{folder}/{name}")) for name in names if (folder / name).exists()}


def ran(folder, **options):
    result = folding(folder).run(state=f"{folder}/state", progress="none", **options)
    return outputs(folder), result.late_rows, result.rows


@pytest.mark.parametrize("workers", KINDS)
@pytest.mark.parametrize("count", [2, 3])
def test_a_run_on_threads_or_processes_gives_what_one_worker_gives(tmp_path, workers, count):
    alone = ran(tmp_path / "alone")
    assert alone[1] > 100
    assert ran(tmp_path / "shared", parallelism=count, workers=workers) == alone


@pytest.mark.parametrize("workers", KINDS)
def test_a_backfill_on_several_workers_gives_what_one_worker_gives(tmp_path, workers):
    for folder, count in (("one", 1), ("two", 2)):
        folding(tmp_path / folder).backfill(
            state=f"{tmp_path}/{folder}/state", progress="none", parallelism=count, workers=workers
        )
    assert outputs(tmp_path / "two") == outputs(tmp_path / "one")
    assert not outputs(tmp_path / "two").get("late")


@pytest.mark.parametrize("workers", KINDS)
def test_an_exception_of_the_users_function_survives_with_operator_line_and_row(tmp_path, workers):
    with pytest.raises(ZeroDivisionError, match="unlucky") as caught:
        folding(tmp_path, unlucky).run(
            state=f"{tmp_path}/state", progress="none", parallelism=2, workers=workers
        )
    notes = "\n".join(caught.value.__notes__)
    assert "unlucky mapped row" in notes
    assert "in operator 'map'" in notes
    assert "test_parallel.py:" in notes
    if workers == "processes":
        assert 'raise ZeroDivisionError("unlucky")' in notes
    assert not [p for p in multiprocessing.active_children() if p.name.startswith("streamlib-worker")]


def test_an_exception_that_cannot_be_pickled_is_told_as_text(tmp_path):
    with pytest.raises(WorkerError, match=r"Awkward.*1 and 2"):
        folding(tmp_path, awkward).run(
            state=f"{tmp_path}/state", progress="none", parallelism=2, workers="processes"
        )


def test_a_worker_process_that_is_killed_ends_the_job_with_its_name_and_signal(tmp_path):
    with pytest.raises(WorkerError, match=r"worker process \d of 2 has ended(.|\n)*signal 9"):
        folding(tmp_path, killing).run(
            state=f"{tmp_path}/state", progress="none", parallelism=2, workers="processes"
        )


def test_a_function_that_no_other_process_can_import_is_refused_before_the_run(tmp_path):
    with pytest.raises(NotPicklableError, match=r"map.*importable name"):
        folding(tmp_path, lambda record: record).run(
            state=f"{tmp_path}/state", progress="none", parallelism=2, workers="processes"
        )
    assert not (tmp_path / "state").exists()


def test_a_message_carries_a_slice_without_what_it_was_cut_from():
    ours, theirs = (Channel(end) for end in socket.socketpair())
    column = pa.array([f"value {i}" for i in range(10_000)])
    rows = Batch(pa.schema({"c": pa.string()}), [column.slice(5_000, 3)], 3)
    ours.send([rows, np.arange(20_000)])
    found, numbers = theirs.receive()
    assert found.to_arrow()["c"].to_pylist() == ["value 5000", "value 5001", "value 5002"]
    assert found.columns[0].get_total_buffer_size() < 1_000
    assert (numbers == np.arange(20_000)).all()
    ours.close()
    with pytest.raises(EOFError):
        theirs.receive()
    theirs.close()


def test_a_segment_of_a_worker_is_made_once_and_stays_the_same_object():
    here = SegmentsHere()
    asked = []
    there = SegmentsThere(lambda number: asked.append(number) or here.rows(number))
    kept, gone, new = (Segment.of(pa.table({"n": [n]})) for n in range(3))
    first = there.received(here.numbered({"op": OperatorState({"t": [kept, gone]})}))
    assert first["op"].table("t")["n"].to_pylist() == [0, 1]
    second = there.received(here.numbered({"op": OperatorState({"t": [kept, new]}, {"w": 1}, {"late": 2})}))
    assert second["op"].tables["t"][0] is first["op"].tables["t"][0]
    assert second["op"].table("t")["n"].to_pylist() == [0, 2]
    assert (second["op"].values, second["op"].counters) == ({"w": 1}, {"late": 2})
    assert asked == [0, 1, 2]


def when_open(gate):
    while not gate.exists():
        time.sleep(0.01)
    return pa.table({"rows": [1]})


class Gated(Operator):
    """Its state takes as long to make as a file is not there."""

    def __init__(self, gate):
        self.gate = gate

    def on_batch(self, batch, port):
        return ((0, batch),)

    def snapshot(self):
        return OperatorState({"state": [Segment(partial(when_open, self.gate))]})

    def restore(self, state):
        """Nothing was kept."""


@dataclass(frozen=True, eq=False)
class Gate(OperatorSpec):
    kind: ClassVar[str] = "gate"
    stateful: ClassVar[bool] = True
    path: Path

    def bind(self, inputs):
        return tuple(inputs)

    def build(self, inputs):
        return Gated(self.path)


def test_a_worker_process_goes_on_with_rows_while_its_state_is_made(tmp_path):
    gate = tmp_path / "gate"
    stream = sl.read(memory.source(pa.table({"value": [1, 2]})), name="rows").then(Gate(gate))
    crew = ProcessCrew(sl.Flow("gated", stream.write(memory.sink(), name="out")).bind(), 1)
    rows = Batch.from_arrow(pa.record_batch({"value": [1, 2]}))
    with ThreadPoolExecutor(1) as checkpoint:
        try:
            crew.start()
            ((state,),) = (states.values() for states in crew.snapshot())
            made = checkpoint.submit(state.tables["state"][0].table)
            reply = crew.send(0, Task(rows=[(0, 0, rows)])).result(100)
            assert reply.parcels
            assert not made.done()
            gate.touch()
            assert made.result(100)["rows"].to_pylist() == [1]
        finally:
            gate.touch()
            crew.close()


SCRIPT = """
import sys
from pathlib import Path
from tests.test_parallel import folding

if __name__ == "__main__":
    folder, count, workers = sys.argv[1:]
    folding(Path(folder), rows=200_000).run(
        state=f"{folder}/state", progress="none", checkpoint_interval="50ms",
        parallelism=int(count), workers=workers,
    )
"""


def test_a_script_that_runs_the_flow_whenever_it_is_imported_is_told_to_guard_it(tmp_path):
    path = tmp_path / "script.py"
    path.write_text(SCRIPT.replace('if __name__ == "__main__":', "if True:"))
    root = Path(__file__).parents[1]
    ended = subprocess.run(
        [sys.executable, str(path), str(tmp_path), "2", "processes"],
        env={**os.environ, "PYTHONPATH": str(root)},
        capture_output=True,
        text=True,
        timeout=100,
        check=False,
    )
    assert ended.returncode == 1
    assert "a worker process imports this script, which runs the flow again" in ended.stderr
    assert 'put it below `if __name__ == "__main__":`' in ended.stderr
    assert "worker process 0 of 2 has ended" in ended.stderr


def script(folder, count, workers):
    path = folder / "script.py"
    path.write_text(SCRIPT)
    root = Path(__file__).parents[1]
    return subprocess.Popen(
        [sys.executable, str(path), str(folder), str(count), workers],
        env={**os.environ, "PYTHONPATH": str(root)},
        cwd=root,
    )


def children_of(pid):
    found = []
    for stat in Path("/proc").glob("[0-9]*/stat"):
        with suppress(OSError):
            if int(stat.read_text().rpartition(")")[2].split()[1]) == pid:
                found.append(stat.parent)
    return found


@pytest.mark.real
@pytest.mark.parametrize(("workers", "counts"), [("processes", (3, 2)), ("threads", (2, 3))])
def test_a_job_that_was_killed_goes_on_with_another_number_of_workers_and_leaves_none_behind(
    tmp_path, workers, counts
):
    folding(tmp_path / "alone", rows=200_000).run(state=f"{tmp_path}/alone/state", progress="none")
    first = script(tmp_path, counts[0], workers)
    while not list(tmp_path.glob("state/manifests/*")) or not (tmp_path / "panes").exists():
        assert first.poll() is None, "it should still run"
        first_children = children_of(first.pid)
    first.kill()
    first.wait()
    second = script(tmp_path, counts[1], workers)
    assert second.wait(100) == 0
    assert outputs(tmp_path) == outputs(tmp_path / "alone")
    assert not [child for child in first_children if child.exists()]
