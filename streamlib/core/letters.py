"""Dead letters: records that failed, as rows that can be read, and that hold the record without loss."""

from __future__ import annotations

import json
import traceback
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa

from streamlib.core.batch import Batch
from streamlib.core.contracts import Broken
from streamlib.core.errors import StreamlibError
from streamlib.core.redaction import redacted

LETTERS = pa.schema(
    [
        pa.field("operator", pa.string(), nullable=False),  # its id in the flow
        pa.field("input", pa.int8(), nullable=False),  # which of its inputs
        pa.field("source", pa.string()),  # where the record was read, as far as that is known
        pa.field("partition", pa.string()),
        pa.field("position", pa.int64()),  # the number of the record in its partition, from 0
        pa.field("event_time", pa.timestamp("us", tz="UTC")),
        pa.field("error", pa.string(), nullable=False),
        pa.field("code", pa.string()),  # of an error of ours, for `streamlib explain`
        pa.field("traceback", pa.string(), nullable=False),
        pa.field("record", pa.string(), nullable=False),  # JSON, for people
        pa.field("data", pa.binary()),  # the record without loss, for machines
        pa.field("format", pa.string(), nullable=False),  # what `data` is: ARROW or RAW
    ]
)
"""The columns of dead letters."""

ARROW = "arrow"
"""An Arrow stream with the one row."""
RAW = "raw"
"""The bytes that a source could not read."""

TRACEBACK_LIMIT = 8_000  # characters: some 80 frames; deeper ones are a recursion that repeats itself
_OURS = str(Path(__file__).parents[1])

Failed = Sequence[tuple[int, Exception]]
"""Rows of a batch, each with the error that it caused."""


def letters_of(operator: str, port: int, batch: Batch, failed: Failed) -> Batch:
    """The letters of the rows of `batch` that failed at an input of an operator."""
    rows = [_letter(operator, port, batch.slice(row, row + 1), error) for row, error in failed]
    return Batch.from_arrow(pa.RecordBatch.from_pylist(rows, LETTERS))


def letters_from(
    source: str, partition: str, records: Sequence[tuple[int, Exception, Broken | Batch]]
) -> Batch:
    """The letters of records that could not enter: each with its number in its partition."""
    rows = []
    for position, error, record in records:
        letter = _broken(source, record) if isinstance(record, Broken) else _letter(source, 0, record, error)
        rows.append({**letter, "source": source, "partition": partition, "position": position})
    return Batch.from_arrow(pa.RecordBatch.from_pylist(rows, LETTERS))


def _letter(operator: str, port: int, row: Batch, error: Exception) -> dict[str, Any]:
    record, origin = row.to_arrow(), row.origin
    read = {} if origin is None else {"source": origin.source, "partition": origin.partition}
    return {
        **_failure(operator, port, error),
        **read,
        "position": None if origin is None else int(origin.rows[0]),
        "event_time": None if row.event_time is None else int(row.event_time[0]),
        "record": as_json(record),
        "data": as_data(record),
        "format": ARROW,
    }


def _broken(source: str, broken: Broken) -> dict[str, Any]:
    failure = _failure(source, 0, broken.error)
    return {
        **failure,
        "traceback": f"at {broken.where}\n{failure['traceback']}",
        "record": _text(broken.data),
        "data": broken.data,
        "format": RAW,
    }


def _failure(operator: str, port: int, error: Exception) -> dict[str, Any]:
    return {
        "operator": operator,
        "input": port,
        "error": redacted(error.reason if isinstance(error, StreamlibError) else _described(error)),
        "code": getattr(error, "code", None) if isinstance(error, StreamlibError) else None,
        "traceback": _traceback(error),
    }


def _text(data: bytes) -> str:
    """Bytes for people: as text where they are text."""
    try:
        return data.decode()
    except UnicodeDecodeError:
        return repr(data)[2:-1]


def _described(error: Exception) -> str:
    text = str(error)
    return f"{type(error).__name__}: {text}" if text else type(error).__name__


def _traceback(error: Exception) -> str:
    """Where the user's code raised it; our own frames depend on how rows came in batches, and help nobody."""
    frames = [f for f in traceback.extract_tb(error.__traceback__) if not f.filename.startswith(_OURS)]
    lines = "".join(traceback.format_list(frames)) + _described(error)
    return redacted(lines)[-TRACEBACK_LIMIT:]


def as_json(record: pa.RecordBatch) -> str:
    """One row as JSON: what JSON lacks (moments, decimals) as text, bytes as the text that they are."""
    try:
        (values,) = record.to_pylist()
    except (OverflowError, ValueError):  # a moment that Python can't hold
        values = {name: str(record.column(i)[0]) for i, name in enumerate(record.schema.names)}
    return json.dumps(values, default=_as_text, ensure_ascii=False)


def _as_text(value: object) -> str:
    return value.decode(errors="backslashreplace") if isinstance(value, bytes) else str(value)


def as_data(record: pa.RecordBatch) -> bytes:
    """One row as an Arrow stream."""
    record = record.take(pa.array([0]))  # a slice would take its neighbours' bytes along
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, record.schema) as writer:
        writer.write_batch(record)
    return bytes(sink.getvalue())


def from_data(data: bytes) -> pa.Table:
    """The row that `as_data` wrote, checked, since it comes from a file."""
    table = pa.ipc.open_stream(data).read_all()
    table.validate(full=True)
    return table
