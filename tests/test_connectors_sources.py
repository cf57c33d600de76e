"""What every source promises, asked of every source."""

from __future__ import annotations

import csv as plain_csv
import json
import pickle
import random
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

import fastavro
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from streamlib.connectors import avro, csv, ipc, jsonl, memory, parquet, text_blocks
from streamlib.core.contracts import Chunk, Counted, Json, Pause, Source, SourceReader
from streamlib.core.errors import SourceError, UnknownColumnError
from streamlib.core.time import MAX_TIME
from streamlib.testing import pause, rows, scripted

SCHEMA = pa.schema({"id": pa.int64(), "at": pa.timestamp("us", "UTC"), "text": pa.string()})
START = datetime(2024, 1, 1, tzinfo=UTC)
TEXTS = ["plain", "a,b", 'say "hi"', "two\nlines", "", None, "ünï"]


def records(first: int, count: int, seed: int) -> list[dict]:
    """Rows whose times go up with noise; some have no time."""
    chance = random.Random(seed)
    made = []
    for i in range(first, first + count):
        at = START + timedelta(seconds=i * 10 + chance.randrange(300))
        made.append({"id": i, "at": at if chance.random() > 0.1 else None, "text": TEXTS[i % len(TEXTS)]})
    return made


ROWS = {"a": records(0, 150, 1), "sub/b": records(150, 40, 2), "sub/c": []}


def table(partition: str) -> pa.Table:
    return pa.Table.from_pylist(ROWS[partition], SCHEMA)


@dataclass
class Case:
    source: Source
    again: Source
    """Described a second time: must be equal."""
    other: Source
    """Described in another way: must not be."""
    rows: dict[str, list[dict]]
    floors: bool
    position: Callable[[str, int], Json] = lambda partition, row: row
    """The position of a row."""


def memory_case(folder: Path) -> Case:
    tables = {name: table(name) for name in ROWS}
    return Case(
        memory.source(tables, chunk_rows=16),
        memory.source(ROWS, SCHEMA, chunk_rows=16),
        memory.source({**tables, "a": tables["sub/b"]}, chunk_rows=16),
        ROWS,
        floors=True,
    )


def dealt_case(folder: Path) -> Case:
    made = [memory.source(table("a"), chunk_rows=16, partitions=n) for n in (3, 3, 2)]
    return Case(*made, {str(i): ROWS["a"][i::3] for i in range(3)}, floors=True)


@dataclass(frozen=True)
class Again:
    """Goes through the same rows at every call, some of them as frames."""

    frames: bool

    def __call__(self) -> Iterator[object]:
        if self.frames:
            yield table("a").slice(0, 40)
            yield from ROWS["a"][40:130]
            yield table("a").slice(130)
        else:
            yield from ROWS["a"]


def iterated_case(folder: Path) -> Case:
    made = [memory.iterate(Again(True), SCHEMA, bounded=True, chunk_rows=16) for _ in range(2)]
    other = memory.iterate(Again(False), SCHEMA, bounded=True, chunk_rows=16)
    return Case(*made, other, {"0": ROWS["a"]}, floors=False)


def parquet_case(folder: Path) -> Case:
    for name in ROWS:
        path = folder / f"{name}.parquet"
        path.parent.mkdir(exist_ok=True)
        pq.write_table(table(name), path, row_group_size=24)
    found = {f"{name}.parquet": expected for name, expected in ROWS.items()}
    made = [parquet.source(path) for path in (folder, str(folder), folder / "a.parquet")]
    return Case(*made, found, floors=True)


def csv_case(folder: Path) -> Case:
    for name, expected in ROWS.items():
        path = folder / f"{name}.csv"
        path.parent.mkdir(exist_ok=True)
        with path.open("w", newline="", encoding="utf-8") as file:
            writer = plain_csv.writer(file)
            writer.writerow(["ignored", "text", "id", "at"])
            for row in expected:
                at = row["at"].isoformat() if row["at"] else None
                file.write("x,")
                text = row["text"]
                file.write("" if text is None else '"' + text.replace('"', '""') + '"')
                file.write(f",{row['id']},{at or ''}\n")
    found = {f"{name}.csv": expected for name, expected in ROWS.items()}
    made = [
        csv.source(folder, schema) for schema in (SCHEMA, dict(zip(SCHEMA.names, SCHEMA.types, strict=True)))
    ]
    return Case(*made, csv.source(folder, SCHEMA, delimiter=";"), found, floors=False)


def jsonl_case(folder: Path) -> Case:
    for name, expected in ROWS.items():
        path = folder / f"{name}.jsonl"
        path.parent.mkdir(exist_ok=True)
        lines = [{**row, "at": row["at"] and row["at"].isoformat(), "more": 1} for row in expected]
        path.write_text("".join(json.dumps(line) + "\n" for line in lines))
    found = {f"{name}.jsonl": expected for name, expected in ROWS.items()}
    columns = dict(zip(SCHEMA.names, SCHEMA.types, strict=True))
    made = [jsonl.source(folder, schema) for schema in (SCHEMA, columns)]
    return Case(*made, jsonl.source(folder, {"id": pa.int64()}), found, floors=False)


def ipc_case(folder: Path) -> Case:
    for name in ROWS:
        path = folder / f"{name}.arrow"
        path.parent.mkdir(exist_ok=True)
        with pa.ipc.new_file(str(path), SCHEMA) as writer:
            writer.write_table(table(name), max_chunksize=24)
    found = {f"{name}.arrow": expected for name, expected in ROWS.items()}
    made = [ipc.source(path) for path in (folder, str(folder), folder / "a.arrow")]
    return Case(*made, found, floors=False)


def avro_case(folder: Path) -> Case:
    moment = {"type": "long", "logicalType": "timestamp-micros"}
    types = {"id": ["null", "long"], "text": ["null", "string"], "at": ["null", moment]}
    fields = [{"name": name, "type": types[name]} for name in SCHEMA.names]
    schema = {"type": "record", "name": "Row", "fields": fields}
    for name, expected in ROWS.items():
        path = folder / f"{name}.avro"
        path.parent.mkdir(exist_ok=True)
        with path.open("wb") as file:
            fastavro.writer(file, schema, expected, sync_interval=300)
    found = {f"{name}.avro": expected for name, expected in ROWS.items()}
    made = [avro.source(path) for path in (folder, str(folder), folder / "a.avro")]
    return Case(*made, found, floors=False)


def scripted_case(folder: Path) -> Case:
    def made(last: int) -> Source:
        script = {
            "a": [rows(ROWS["a"][:50]), pause(), rows(ROWS["a"][50:51]), rows(ROWS["a"][51:last]), pause()],
            "sub/b": [pause(), rows(ROWS["sub/b"])],
            "sub/c": [],
        }
        return scripted(script, SCHEMA)

    def position(partition: str, row: int) -> Json:
        first_rows = {"a": {0: 0, 50: 2, 51: 3, 150: 4}, "sub/b": {0: 1, 40: 2}, "sub/c": {0: 0}}[partition]
        first = max(first for first in first_rows if first <= row)
        return [first_rows[first], row - first]

    return Case(made(150), made(150), made(149), ROWS, True, position)


CASES = [
    memory_case,
    dealt_case,
    iterated_case,
    parquet_case,
    csv_case,
    jsonl_case,
    ipc_case,
    avro_case,
    scripted_case,
]


@pytest.fixture(params=CASES, ids=lambda make: make.__name__.removesuffix("_case"))
def case(request, tmp_path, monkeypatch) -> Case:
    monkeypatch.setattr(parquet, "BATCH_ROWS", 16)
    monkeypatch.setattr(text_blocks, "BLOCK_BYTES", 500)
    monkeypatch.setattr(avro, "BATCH_ROWS", 16)
    make: Callable[[Path], Case] = request.param
    return make(tmp_path)


def chunks(reader: SourceReader) -> list[Chunk]:
    """Everything up to END, which stays the answer."""
    found = []
    while (answer := reader.read()) is not Pause.END:
        if isinstance(answer, Chunk):
            found.append(answer)
    assert reader.read() is Pause.END
    reader.close()
    return found


def as_rows(found: list[Chunk]) -> list[dict]:
    return [row for chunk in found for row in chunk.rows.to_pylist()]


def test_is_a_replayable_bounded_source(case):
    assert isinstance(case.source, Source)
    assert case.source.bounded
    assert case.source.replay == "replayable"


def test_reads_every_row_in_order_in_nonempty_chunks_of_the_schema(case):
    assert case.source.schema().equals(SCHEMA, check_metadata=True)
    assert list(case.source.partitions()) == sorted(case.rows)
    for partition, expected in case.rows.items():
        found = chunks(case.source.open(partition, None, None))
        assert as_rows(found) == expected
        assert all(chunk.rows.num_rows and chunk.rows.schema.equals(SCHEMA) for chunk in found)
        assert len(found) > 1 or len(expected) <= 50


def test_resumes_from_every_position_with_exactly_the_rest(case):
    for partition, expected in case.rows.items():
        found = chunks(case.source.open(partition, None, None))
        for i, chunk in enumerate(found):
            position = json.loads(json.dumps(chunk.next_position))
            seen = len(as_rows(found[: i + 1]))
            assert as_rows(chunks(case.source.open(partition, position, None))) == expected[seen:]


def test_resumes_from_every_row(case):
    for partition, expected in case.rows.items():
        for row in range(len(expected) + 1):
            position = case.position(partition, row)
            assert as_rows(chunks(case.source.open(partition, position, None))) == expected[row:]


def test_floors_never_exceed_a_later_time_and_never_fall(case):
    for partition, expected in case.rows.items():
        found = chunks(case.source.open(partition, None, "at"))
        before = None
        for i, chunk in enumerate(found):
            later = [row["at"] for row in expected[len(as_rows(found[: i + 1])) :] if row["at"]]
            least = int(min(later).timestamp() * 1e6) if later else MAX_TIME
            assert case.floors == (chunk.floor is not None)
            if chunk.floor is not None:
                assert chunk.floor <= least
                assert before is None or chunk.floor >= before
                before = chunk.floor
        assert not case.floors or not found or found[-1].floor == MAX_TIME


def test_the_floor_of_a_position_is_the_same_after_a_resume(case):
    for partition in case.rows:
        found = chunks(case.source.open(partition, None, "at"))
        floors = {json.dumps(chunk.next_position): chunk.floor for chunk in found}
        for chunk in found:
            for later in chunks(case.source.open(partition, chunk.next_position, "at")):
                assert floors.setdefault(json.dumps(later.next_position), later.floor) == later.floor


def test_partitions_are_the_same_every_time_and_in_a_pickle(case):
    copy = pickle.loads(pickle.dumps(case.source))
    assert case.source.partitions() == case.source.partitions() == copy.partitions()


def test_descriptions_are_equal_where_they_mean_the_same_and_survive_pickling(case):
    assert case.source == case.again
    assert hash(case.source) == hash(case.again)
    assert case.source != case.other
    copy = pickle.loads(pickle.dumps(case.source))
    assert copy == case.source
    partition = min(case.rows)
    assert as_rows(chunks(copy.open(partition, None, None))) == case.rows[partition]


@pytest.mark.parametrize("position", [-1, "3", {"offset": 3}, 10**6, [10**6, 0], [0, 10**6], True])
def test_refuses_a_position_that_it_never_gave(case, position):
    partition = min(case.rows)
    with pytest.raises(SourceError, match=f"partition '{partition}'"):
        chunks(case.source.open(partition, position, None))


def test_refuses_a_partition_that_it_does_not_have(case):
    with pytest.raises(SourceError, match="partition 'zz'"):
        case.source.open("zz", None, None)


def test_names_the_columns_where_the_event_time_is_none_of_them(case):
    with pytest.raises(UnknownColumnError, match="did you mean 'at'"):
        case.source.open(min(case.rows), None, "att")


def test_sources_that_know_say_how_many_rows_there_are(case):
    if isinstance(case.source, Counted):
        assert case.source.row_count() == sum(map(len, case.rows.values()))
