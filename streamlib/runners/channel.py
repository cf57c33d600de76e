"""Messages between processes: pickles whose large buffers travel beside them, uncopied."""

from __future__ import annotations

import io
import pickle
import socket
import struct
from contextlib import suppress
from typing import Any

import pyarrow as pa

_COUNT = struct.Struct("<I")
_SIZE = struct.Struct("<Q")
_TOGETHER = 65_536  # bytes: smaller buffers are joined, as a call of the kernel costs more than copying them


class _Pickler(pickle.Pickler):
    """Cuts Arrow arrays to their own rows: as they are, a slice would take all it was cut from along."""

    def reducer_override(self, value: Any) -> Any:
        if isinstance(value, pa.Array) and value.get_total_buffer_size() > 2 * value.nbytes:
            sink = pa.BufferOutputStream()
            rows = pa.RecordBatch.from_arrays([value], names=[""])
            with pa.ipc.new_stream(sink, rows.schema) as writer:
                writer.write_batch(rows)
            return _cut, (sink.getvalue(),)
        return NotImplemented


def _cut(stream: pa.Buffer) -> pa.Array:
    return pa.ipc.open_stream(stream).read_next_batch().column(0)


class Channel:
    """One end of a connection. A message is sent and received as a whole, by one thread at a time."""

    def __init__(self, connection: socket.socket) -> None:
        self._socket = connection

    def send(self, message: Any) -> None:
        """Send a value that can be pickled. Raises OSError where nobody receives any more."""
        buffers: list[pickle.PickleBuffer] = []
        body = io.BytesIO()
        _Pickler(body, protocol=5, buffer_callback=buffers.append).dump(message)
        parts = [body.getbuffer(), *(buffer.raw() for buffer in buffers)]
        head = _COUNT.pack(len(parts)) + b"".join(_SIZE.pack(part.nbytes) for part in parts)
        small = bytearray(head)
        for part in parts:
            if part.nbytes < _TOGETHER:
                small += part
                continue
            self._socket.sendall(small)
            self._socket.sendall(part)
            small = bytearray()
        self._socket.sendall(small)

    def receive(self) -> Any:
        """The next message; waits for it. Raises EOFError where the other end is gone."""
        (count,) = _COUNT.unpack(self._read(_COUNT.size))
        sizes = [size for (size,) in _SIZE.iter_unpack(self._read(count * _SIZE.size))]
        body, *buffers = [self._read(size) for size in sizes]
        return pickle.loads(body, buffers=buffers)

    def _read(self, size: int) -> bytearray:
        data = bytearray(size)
        rest = memoryview(data)
        while rest:
            got = self._socket.recv_into(rest)
            if not got:
                raise EOFError("the other process is gone")
            rest = rest[got:]
        return data

    def close(self) -> None:
        """Hang up: the other end meets the end of the messages, as does a thread that waits at this one."""
        with suppress(OSError):  # the other end may have done so before
            self._socket.shutdown(socket.SHUT_RDWR)
        self._socket.close()
