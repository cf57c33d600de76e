"""Dead letters that run again: `sl.redrive` and `streamlib dlq redrive`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from click.testing import CliRunner

import streamlib as sl
from streamlib import col, windows
from streamlib.cli.main import main
from streamlib.connectors import memory, parquet
from streamlib.core.errors import DefinitionError, TypeMismatchError
from streamlib.testing import broken, rows, scripted

SCHEMA = {"at": pa.int64(), "text": pa.string()}
ROWS = [{"at": i * 1_000_000, "text": f"no. {i}" if i % 7 == 0 else str(i)} for i in range(60)]
BAD = list(range(0, 60, 7))


def strict(row: dict[str, Any]) -> dict[str, Any]:
    return {"n": int(row["text"])}


def mended(row: dict[str, Any]) -> dict[str, Any]:
    return {"n": int(row["text"].removeprefix("no. "))}


def half_mended(row: dict[str, Any]) -> dict[str, Any]:
    return mended(row) if len(row["text"]) == 6 else strict(row)


def flow_of(function: Any, dead: Any, out: Any, policy: Any = None) -> sl.Flow:
    source = memory.source(ROWS, schema=SCHEMA, chunk_rows=11)
    read = sl.read(source, name="readings", event_time="at", watermark=sl.monotone())
    numbers = read.map(function, schema={"n": pa.int64()}, on_error=policy or sl.dead_letter(dead))
    timed = numbers.with_columns(at=sl.event_time())
    return sl.Flow("readings", timed.write(out, name="out"))


class Place:
    """Folders of one job."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.dead = parquet.sink(folder / "dead")
        self.out = parquet.sink(folder / "out")

    def run(self, function: Any = strict) -> None:
        flow_of(function, self.dead, self.out).run(state=self.folder / "state", progress="none")

    def redrive(self, flow: sl.Flow, **options: Any) -> Any:
        return sl.redrive(self.dead, flow, state=self.folder / "redrive", progress="none", **options)

    def numbers(self) -> list[int]:
        return sorted(pq.read_table(self.folder / "out")["n"].to_pylist())


@pytest.fixture
def place(tmp_path: Path) -> Place:
    return Place(tmp_path)


def test_records_that_failed_run_again_into_the_flows_sinks_once(place: Place) -> None:
    place.run()
    flow = flow_of(mended, place.dead, place.out)
    assert str(place.redrive(flow)) == f"{len(BAD)} letters redriven"
    assert place.numbers() == list(range(60))
    again = place.redrive(flow)
    assert (again.letters, str(again)) == (0, "0 letters redriven")
    assert place.numbers() == list(range(60))


def test_records_keep_their_event_time(place: Place) -> None:
    place.run()
    place.redrive(flow_of(mended, place.dead, place.out))
    table = pq.read_table(place.folder / "out")
    assert all(at.value == n.as_py() * 1_000_000 for at, n in zip(table["at"], table["n"], strict=True))


def test_the_job_itself_goes_on_in_a_folder_that_a_redrive_added_to(place: Place) -> None:
    place.run()
    place.redrive(flow_of(mended, place.dead, place.out))
    result = flow_of(strict, place.dead, place.out).run(state=place.folder / "state", progress="none")
    assert result.outcome == "already finished"


def test_what_fails_again_is_a_letter_again_and_a_later_call_takes_it(place: Place) -> None:
    place.run()
    first = place.redrive(flow_of(half_mended, place.dead, place.out))
    assert first.letters == len(BAD)
    assert first.failed == {"readings.map": 2}  # "no. 0" and "no. 7" have five characters
    assert sl.read_dead_letters(place.dead).num_rows == len(BAD) + 2
    second = place.redrive(flow_of(mended, place.dead, place.out))
    assert (second.letters, second.failed) == (2, {})
    assert place.numbers() == list(range(60))


def test_a_call_that_was_stopped_is_ended_by_the_next(place: Place) -> None:
    place.run()
    with pytest.raises(ValueError, match=r"no\. 0"):
        place.redrive(flow_of(strict, place.dead, place.out, policy="fail"))
    assert place.redrive(flow_of(mended, place.dead, place.out)).letters == len(BAD)
    assert place.redrive(flow_of(mended, place.dead, place.out)).letters == 0
    assert place.numbers() == list(range(60))


def test_letters_that_come_between_two_calls_are_taken_by_the_second() -> None:
    import tempfile

    dead, out, state = memory.sink(), memory.sink(), tempfile.mkdtemp()
    for _ in range(2):
        flow_of(strict, dead, out).run(state=tempfile.mkdtemp(), progress="none")
        found = sl.redrive(dead, flow_of(mended, dead, out), state=state, progress="none")
        assert found.letters == len(BAD)
    assert sorted(out.table()["n"].to_pylist()) == sorted([*range(60), *range(60)])


def test_several_operators_of_one_flow_redrive_from_where_each_failed(place: Place) -> None:
    def flow(limit: int, text: Any) -> sl.Flow:
        def capped(row: dict[str, Any]) -> dict[str, Any]:
            if row["n"] > limit:
                raise ValueError("too large")
            return {"n": row["n"] * 2}

        dead = sl.dead_letter(place.dead)
        read = sl.read(memory.source(ROWS, schema=SCHEMA), name="readings")
        numbers = read.select(n=text.cast(pa.int64()), on_error=dead)
        doubled = numbers.map(capped, schema={"n": pa.int64()}, on_error=dead)
        return sl.Flow("readings", doubled.write(place.out, name="out"))

    flow(50, col("text")).run(state=place.folder / "state", progress="none")
    cleaned = flow(60, col("text").str.replace("no. ", ""))
    maps = place.redrive(cleaned, operator="readings.map")
    assert maps.letters == sum(n > 50 for n in range(60) if n % 7)
    rest = place.redrive(cleaned)
    assert rest.letters == len(BAD)
    assert place.numbers() == [2 * n for n in range(60)]


def test_records_without_event_time_redrive_through_the_source_and_bytes_stay(place: Place) -> None:
    def flow(time: Any) -> sl.Flow:
        records = [rows([{"at": 1, "n": 1}, {"at": None, "n": 2}]), broken(b"?"), rows([{"at": 3, "n": 3}])]
        source = scripted({"p": records}, {"at": pa.int64(), "n": pa.int64()})
        dead = sl.dead_letter(place.dead)
        read = sl.read(source, name="p", event_time=time, watermark=sl.monotone(), on_error=dead)
        return sl.Flow("p", read.write(place.out, name="out"))

    flow("at").run(state=place.folder / "state", progress="none")
    found = place.redrive(flow(col("at").fill_null(0)))
    assert (found.letters, found.unreadable) == (1, 1)
    assert str(found) == "1 letter redriven, 1 unreadable"
    assert place.numbers() == [1, 2, 3]


def totals(function: Any, place: Place) -> sl.Flow:
    read = sl.read(
        memory.source(ROWS, schema=SCHEMA), name="readings", event_time="at", watermark=sl.monotone()
    )
    numbers = read.map(function, schema={"n": pa.int64()}, on_error=sl.dead_letter(place.dead))
    panes = numbers.window(windows.tumbling("20s"), name="totals").aggregate(n=sl.sum("n"))
    return sl.Flow("totals", numbers.write(place.out, name="out"), panes.write(memory.sink(), name="panes"))


def test_results_of_state_need_a_sink_of_their_own(place: Place) -> None:
    totals(strict, place).run(state=place.folder / "state", progress="none")
    flow = totals(mended, place)
    with pytest.raises(DefinitionError, match="'totals' makes of redriven records would be mixed"):
        place.redrive(flow)
    corrections = memory.sink()
    assert place.redrive(flow, sinks={"panes": corrections}).letters == len(BAD)
    assert corrections.table()["n"].to_pylist() == [sum(n for n in BAD if n // 20 == k) for k in range(3)]


def test_a_keyed_stream_and_a_union_get_their_records_back() -> None:
    import tempfile

    dead, out = memory.sink(), memory.sink()

    def flow(function: Any) -> sl.Flow:
        some = [sl.read(memory.source(ROWS[i::2], schema=SCHEMA), name=f"r{i}") for i in range(2)]
        keyed = some[0].union(some[1]).key_by("text")
        numbers = keyed.map(function, schema={"n": pa.int64()}, on_error=sl.dead_letter(dead))
        return sl.Flow("f", numbers.write(out, name="out"))

    flow(strict).run(state=tempfile.mkdtemp(), progress="none")
    assert sl.redrive(dead, flow(mended), state=tempfile.mkdtemp(), progress="none").letters == len(BAD)
    assert sorted(out.table()["n"].to_pylist()) == list(range(60))


# ------------------------------------------------------------------ what is refused


def test_a_record_of_other_columns_is_refused_before_anything_is_taken(place: Place) -> None:
    place.run()
    source = memory.source([{"at": 0, "text": 1}], schema={"at": pa.int64(), "text": pa.int64()})
    read = sl.read(source, name="readings", event_time="at", watermark=sl.monotone())
    changed = sl.Flow("r", read.map(mended, schema={"n": pa.int64()}).write(place.out, name="out"))
    with pytest.raises(TypeMismatchError, match=r"'readings\.map' do not fit") as raised:
        place.redrive(changed)
    assert "at int64, text int64" in str(raised.value.expected)
    assert place.redrive(flow_of(mended, place.dead, place.out)).letters == len(BAD)


def test_an_operator_that_is_not_there_is_named_with_the_closest(place: Place) -> None:
    place.run()
    flow = flow_of(mended, place.dead, place.out)
    with pytest.raises(DefinitionError, match=r"did you mean 'readings\.map'"):
        place.redrive(flow, operator="readings.mapp")
    with pytest.raises(DefinitionError, match="no dead letters of 'out'"):
        place.redrive(flow, operator="out")


FLOW = """
import pyarrow as pa
import streamlib as sl
from streamlib.connectors import memory, parquet

def number(row):
    return {{"n": int(row["text"]{mend})}}

def make():
    texts = sl.read(memory.source([{{"text": "1"}}, {{"text": "no. 2"}}]), name="texts")
    dead = sl.dead_letter(parquet.sink("dead"))
    numbers = texts.map(number, schema={{"n": pa.int64()}}, on_error=dead)
    return sl.Flow("texts", numbers.write(parquet.sink("out"), name="out"))
"""


def test_the_command_redrives_a_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("first.py").write_text(FLOW.format(mend=""))
    Path("second.py").write_text(FLOW.format(mend='.removeprefix("no. ")'))
    assert CliRunner().invoke(main, ["run", "first.py:make"]).exit_code == 0
    done = CliRunner().invoke(main, ["dlq", "redrive", "dead", "second.py:make"])
    assert done.exit_code == 0
    assert "texts: 1 letter redriven" in done.output
    assert sorted(pq.read_table("out")["n"].to_pylist()) == [1, 2]
    again = CliRunner().invoke(main, ["dlq", "redrive", "dead", "second.py:make"])
    assert "texts: 0 letters redriven" in again.output
    none = CliRunner().invoke(main, ["dlq", "redrive", "nowhere", "second.py:make"])
    assert none.exit_code != 0
    assert "no folder 'nowhere'" in none.output
