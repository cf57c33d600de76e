"""Records of text files that can't be read: told apart from those around them, with file and line."""

from __future__ import annotations

import gzip
import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

import streamlib as sl
from streamlib.connectors import csv, jsonl, memory, text_blocks
from streamlib.core.contracts import Broken, Pause, Source
from streamlib.core.errors import SourceError

SCHEMA = {"id": pa.int64(), "text": pa.string()}


@dataclass(frozen=True)
class Format:
    """A format of text: how records are written, and some that are broken."""

    suffix: str
    source: Callable[..., Source]
    head: str
    good: Callable[[int], str]
    broken: Sequence[bytes]


CSV = Format(
    ".csv",
    csv.source,
    "id,text\n",
    lambda i: f'{i},"two\nlines"' if i % 7 == 0 else f"{i},plain",
    [b"x,a", b"1", b"1,a,b", b"1.5,a", b"1,\xff", b'"1"x,a', b'one,"a\n\nb"'],
)
JSONL = Format(
    ".jsonl",
    jsonl.source,
    "",
    lambda i: f'{{"id": {i}, "text": "a\\nb", "more": [{i}]}}' if i % 7 else f'  {{"id":{i}}}\r',
    [
        b"x",
        b'{"id": 1',
        b'{"id": "1"}',
        b'{"id": 1} {"id": 2}',
        b"null",
        b"[1]",
        b'{"id": 1, "text": "\xff"}',
        b'{"id": 1e400}',
    ],
)
FORMATS = [CSV, JSONL]


@pytest.fixture(params=FORMATS, ids=lambda form: form.suffix)
def form(request, monkeypatch) -> Format:
    monkeypatch.setattr(text_blocks, "BLOCK_BYTES", 300)
    return request.param


def written(form: Format, folder: Path, seed: int = 1, count: int = 200) -> tuple[Path, list[int | bytes]]:
    """A file in which some records are broken, and what is in it: ids and bytes."""
    chance = random.Random(seed)
    parts = [chance.choice(form.broken) if chance.random() < 0.1 else i for i in range(count)]
    lines = [form.good(part).encode() if isinstance(part, int) else part for part in parts]
    blank = [b"\n" if chance.random() < 0.05 else b"" for _ in parts]
    path = folder / f"a{form.suffix}"
    path.write_bytes(form.head.encode() + b"".join(a + b + b"\n" for a, b in zip(blank, lines, strict=True)))
    return path, parts


def read(source: Any, position: int | None = None) -> list[Any]:
    """Ids and broken records, in their order."""
    found: list[Any] = []
    reader = source.open(source.partitions()[0], position, None)
    number = position or 0
    chunks: list[Any] = list(iter(reader.read, Pause.END))
    for chunk in chunks:
        ids = iter(chunk.rows.to_pydict().get("id", ()))
        broken = {each.position: each for each in chunk.broken}
        found += [broken.get(n) or next(ids) for n in range(number, chunk.next_position)]
        number = chunk.next_position
        assert next(ids, None) is None
    reader.close()
    return found


def test_they_stand_between_the_good_ones_with_file_and_line(form, tmp_path):
    path, parts = written(form, tmp_path)
    found = read(form.source(path, SCHEMA))
    assert [each.data if isinstance(each, Broken) else each for each in found] == parts
    lines = path.read_bytes().split(b"\n")
    for number, each in enumerate(found):
        if isinstance(each, Broken):
            assert each.position == number
            file, line = each.where.rsplit(", line ", 1)
            assert file == str(path)
            assert lines[int(line) - 1] == each.data.split(b"\n")[0]
            assert f"'{path}', line {line}" in str(each.error)


def test_reading_goes_on_behind_each_of_them(form, tmp_path):
    path, parts = written(form, tmp_path, count=60)
    source = form.source(path, SCHEMA)
    whole = [each.data if isinstance(each, Broken) else each for each in read(source)]
    for position in range(len(parts) + 1):
        rest = read(source, position)
        assert [each.data if isinstance(each, Broken) else each for each in rest] == whole[position:]


def test_a_job_says_what_happens_to_them(form, tmp_path):
    path, parts = written(form, tmp_path)
    bad = [(i, part) for i, part in enumerate(parts) if isinstance(part, bytes)]
    letters, out = memory.sink(), memory.sink()

    def run(on_error, sink):
        rows = sl.read(form.source(path, SCHEMA), name="rows", on_error=on_error)
        return sl.Flow("flow", rows.write(sink, name="out")).run(
            state=str(tmp_path / str(on_error)[:4]), progress="none"
        )

    result = run("skip", out)
    assert out.table()["id"].to_pylist() == [part for part in parts if isinstance(part, int)]
    assert result.skipped == {"rows": len(bad)}
    run(sl.dead_letter(letters), memory.sink())
    told = letters.table().select(["partition", "position", "data"]).to_pylist()
    assert [(each["partition"], each["position"], each["data"]) for each in told] == [
        (path.name, position, data) for position, data in bad
    ]
    with pytest.raises(SourceError, match=f"{path.name}', line "):
        run("fail", memory.sink())


@pytest.mark.parametrize("kept", [0.5, 0.9, 0.99])
def test_of_compressed_data_that_breaks_off_all_whole_records_are_read(form, tmp_path, kept):
    path, parts = written(form, tmp_path, count=300)
    packed = gzip.compress(path.read_bytes())
    path = path.with_name(path.name + ".gz")
    path.write_bytes(packed[: int(len(packed) * kept)])
    *found, last = read(form.source(path, SCHEMA))
    assert isinstance(last, Broken)
    assert f"'{path}' can't be read beyond line" in str(last.error)
    assert [each.data if isinstance(each, Broken) else each for each in found] == parts[: len(found)]
    assert len(found) > 300 * kept / 2


def test_all_of_them_may_be_broken(form, tmp_path):
    path = tmp_path / f"a{form.suffix}"
    path.write_bytes(form.head.encode() + form.broken[0] + b"\n" + form.broken[0])
    assert [each.data for each in read(form.source(path, SCHEMA))] == [form.broken[0]] * 2
