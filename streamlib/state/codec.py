"""State tables as Arrow IPC files: the bytes that checkpoints keep.

Bodies are written uncompressed, and compressed ones are refused unread: so what is decoded is
never larger than the file, whatever the file claims, and can be memory-mapped later.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator

import pyarrow as pa

from streamlib.core.errors import CheckpointDamagedError

_MAGIC_BYTES = 8  # b"ARROW1" and two bytes of padding, before the first message
_ARROW_DAMAGE = (pa.ArrowException, ValueError, TypeError, OSError, MemoryError)
_DAMAGE = (*_ARROW_DAMAGE, LookupError, ArithmeticError, struct.error)
"""What pyarrow and the reader of message heads were seen to raise on damaged bytes."""


def encode_table(table: pa.Table) -> pa.Buffer:
    """The table as an Arrow IPC file."""
    options = pa.ipc.IpcWriteOptions(compression=None, unify_dictionaries=True)
    sink = pa.BufferOutputStream()
    with pa.ipc.new_file(sink, table.schema, options=options) as writer:
        writer.write_table(table)
    return sink.getvalue()


def decode_table(data: bytes | pa.Buffer, rows: int, what: str) -> pa.Table:
    """The table that `encode_table` wrote, validated in full; it may share memory with `data`.

    Raises `CheckpointDamagedError`, naming `what` (a file), for anything else: other bytes, a
    compressed body, invalid values (offsets, UTF-8, dictionary indices), or not `rows` rows.
    """
    buffer = pa.py_buffer(data)
    try:
        batches = _check_messages(buffer)
        reader = pa.ipc.open_file(buffer)
        if reader.num_record_batches != batches:
            raise ValueError(f"{batches} record batches, but the footer lists {reader.num_record_batches}")
        table = reader.read_all()
        table.validate(full=True)
        if table.num_rows != rows:
            raise ValueError(f"a table of {table.num_rows} rows")
    except _DAMAGE as error:
        raise CheckpointDamagedError(
            f"the state file {what} can't be decoded; nothing was restored",
            expected=f"an Arrow IPC file of {rows} rows, not compressed",
            found=f"{type(error).__name__}: {error}",
            remedy="put the file back from a backup, or start again with an empty state folder",
        ) from error
    return table


def _check_messages(buffer: pa.Buffer) -> int:
    """The number of record batches; raises ValueError if one of them or a dictionary is compressed."""
    if buffer.size < 2 * _MAGIC_BYTES:
        raise ValueError(f"only {buffer.size} bytes")
    batches = 0
    for message in _messages(buffer.slice(_MAGIC_BYTES)):
        if message.type == "record batch":
            batches += 1
        if _is_compressed(memoryview(message.metadata)):
            raise ValueError("a compressed body")
    return batches


def _messages(stream: pa.Buffer) -> Iterator[pa.Message]:
    """What stands between the magic bytes and the footer, which is an Arrow IPC stream."""
    reader = pa.ipc.MessageReader.open_stream(pa.BufferReader(stream))
    while True:
        try:
            yield reader.read_next_message()
        except StopIteration:
            return


# The head of a message is a flatbuffer (format/Message.fbs of Arrow). pyarrow does not show
# whether a body is compressed, so these few lines look for that one field.
_HEADER_TYPE, _HEADER = 1, 2  # fields of Message
_DICTIONARY_BATCH, _RECORD_BATCH = 2, 3  # values of Message.header_type
_DATA = 1  # field of DictionaryBatch
_COMPRESSION = 3  # field of RecordBatch


def _is_compressed(head: memoryview) -> bool:
    message = _follow(head, 0)
    kind_at, header_at = _field(head, message, _HEADER_TYPE), _field(head, message, _HEADER)
    if kind_at is None or header_at is None:
        raise ValueError("a message without a header")
    batch = _follow(head, header_at)
    kind = head[kind_at]
    if kind == _DICTIONARY_BATCH:
        data_at = _field(head, batch, _DATA)
        if data_at is None:
            raise ValueError("a dictionary without data")
        batch = _follow(head, data_at)
    elif kind != _RECORD_BATCH:
        return False
    return _field(head, batch, _COMPRESSION) is not None


def _follow(head: memoryview, at: int) -> int:
    return at + int(struct.unpack_from("<I", head, at)[0])


def _field(head: memoryview, table: int, index: int) -> int | None:
    """Where the field of a flatbuffer table stands; None if the table leaves it out."""
    vtable = table - struct.unpack_from("<i", head, table)[0]
    size = struct.unpack_from("<H", head, vtable)[0]
    entry = 4 + 2 * index
    offset = struct.unpack_from("<H", head, vtable + entry)[0] if entry < size else 0
    return table + offset if offset else None
