"""The reader of `http.source`: one question at a time, in a thread, so that nobody waits for a server."""

from __future__ import annotations

import threading
import time
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote

import pyarrow as pa
import pyarrow.compute as pc

from streamlib.core.contracts import Broken, Chunk, Clock, Json, Pause
from streamlib.core.errors import FormatError, SourceError, shown
from streamlib.core.secrets import Secret, reveal
from streamlib.core.time import SECOND, show_instant
from streamlib.formats.contract import Format

PLACE = "{since}"
_PASSING = frozenset({408, 425, 429, *range(500, 600)})  # statuses after which it helps to ask again
_UNCHANGED = 304


def without_query(url: str) -> str:
    """The URL as people see it: what stands behind `?` may be a secret, and is long.

    >>> without_query("https://example.com/events?token=123")
    'https://example.com/events?...'
    """
    path, mark, _ = url.partition("?")
    return f"{path}{mark}..." if mark else url


@dataclass(frozen=True)
class Polling:
    """What to ask for, and how: the arguments of `http.source`, times in microseconds."""

    url: str
    format: Format
    every: int
    since: str | None
    start: str | int | None
    headers: tuple[tuple[str, str | Secret], ...]
    timeout: int
    attempts: int
    max_bytes: int


@dataclass(frozen=True)
class Answer:
    """A document, and how the server names it; `body` is None where it is as before."""

    body: bytes | None
    etag: str | None = None
    modified: str | None = None


class Passing(Exception):
    """The server could not be asked, which may be over in a moment."""


class HttpReader:
    """Asks, waits, and asks again (`SourceReader`, `TakesClock`)."""

    def __init__(self, source: Polling, position: Json | None) -> None:
        kept = position or {}
        self._source = source
        self._etag: str | None = kept.get("etag")
        self._modified: str | None = kept.get("modified")
        self._since: Any = kept.get("since", source.start)
        self._records: int = kept.get("records", 0)
        self._decode = source.format.decoder()
        self._monotonic = time.monotonic
        self._next = 0.0
        self._failures = 0
        self._asking: _Asking | None = None

    def take_clock(self, clock: Clock) -> None:
        self._monotonic = clock.monotonic

    def read(self) -> Chunk | Pause:
        if self._asking is None:
            if self._monotonic() < self._next:
                return Pause.NOT_YET
            self._asking = _Asking(self._source, self._url(), self._etag, self._modified)
        if not self._asking.done:
            return Pause.NOT_YET
        asking, self._asking = self._asking, None
        try:
            answer = asking.result()
        except Passing as error:
            self._failed(error)
            return Pause.NOT_YET
        self._failures = 0
        self._next = self._monotonic() + self._source.every / SECOND
        return Pause.NOT_YET if answer.body is None else self._taken(answer, answer.body)

    def _url(self) -> str:
        since = self._since
        if self._source.since is not None and isinstance(since, int):
            dtype = self._source.format.schema.field(self._source.since).type
            since = _instant(since, dtype) if pa.types.is_timestamp(dtype) else since
        return self._source.url.replace(PLACE, quote(str(since), safe=""))

    def _failed(self, error: Passing) -> None:
        self._failures += 1
        if self._failures >= self._source.attempts:
            raise SourceError(
                f"{without_query(self._source.url)} can't be asked",
                expected=f"an answer to one of {self._source.attempts} questions in a row",
                found=str(error),
                remedy="look at the server, or give it more time: timeout=, attempts=; with "
                "sl.read(on_error=sl.retry(...)) the job tries longer",
            ) from error.__cause__
        wait = min(2.0 ** (self._failures - 1), self._source.every / SECOND)
        self._next = self._monotonic() + wait

    def _taken(self, answer: Answer, body: bytes) -> Chunk | Pause:
        """The new records of a document, as one chunk; sorted, so that they are the same when asked again."""
        rows, broken = self._decoded(body)
        self._etag, self._modified = answer.etag, answer.modified
        if self._source.since is not None:
            rows = self._beyond(rows, self._source.since)
            if rows.num_rows and PLACE in self._source.url:
                self._etag = self._modified = None  # the next question is another one
        if not rows.num_rows and not broken:
            return Pause.NOT_YET
        first = self._records + rows.num_rows  # broken records stand behind the others
        self._records = first + len(broken)
        found = [
            Broken(first + i, f"{without_query(self._source.url)}, record {number}", message, error)
            for i, (number, message, error) in enumerate(broken)
        ]
        return Chunk(rows, self._position(), broken=found)

    def _decoded(self, body: bytes) -> tuple[pa.RecordBatch, list[tuple[int, bytes, Any]]]:
        try:
            messages = self._source.format.split(body) if body.strip() else []
        except FormatError as error:
            raise SourceError(
                f"{without_query(self._source.url)} answered with something else",
                expected=f"a document of {self._source.format.kind} records",
                found=f"{shown(body[:200])}: {error.found}",
                remedy="check the URL and the format",
            ) from error
        found = self._decode(pa.array(messages, pa.binary()))
        return found.rows, [(number, bytes(messages[number]), error) for number, error in found.failures]

    def _beyond(self, rows: pa.RecordBatch, name: str) -> pa.RecordBatch:
        """The rows whose column is larger than what was seen, in its order; a null is never new."""
        values = _comparable(rows.column(name))
        new = pc.is_valid(values) if self._since is None else pc.greater(values, self._seen(values.type))
        rows, values = rows.filter(new), values.filter(new)
        if rows.num_rows:
            order = pc.sort_indices(values)
            rows = rows.take(order)
            self._since = values.take(order)[-1].as_py()
        return rows

    def _seen(self, dtype: pa.DataType) -> pa.Scalar:
        return pa.scalar(self._since, dtype)

    def _position(self) -> Json:
        return {
            "etag": self._etag,
            "modified": self._modified,
            "since": self._since,
            "records": self._records,
        }

    def close(self) -> None:
        """A question that is under way ends by its timeout, and nobody looks at the answer."""
        self._asking = None


def _comparable(values: pa.Array) -> pa.Array:
    """Timestamps as microseconds, which a position can hold."""
    if pa.types.is_timestamp(values.type):
        return values.cast(pa.timestamp("us", values.type.tz), safe=False).view(pa.int64())
    return values


def _instant(micros: int, dtype: pa.DataType) -> str:
    text = show_instant(micros)
    return text if dtype.tz is not None else text.removesuffix("Z")


class _Asking:
    """One question, in a thread of its own, which does not keep the process alive."""

    def __init__(self, source: Polling, url: str, etag: str | None, modified: str | None) -> None:
        self._found: list[Answer] = []
        self._error: list[BaseException] = []
        named = (("If-None-Match", etag), ("If-Modified-Since", modified))
        headers = {name: reveal(value) for name, value in source.headers}
        headers |= {name: value for name, value in named if value is not None}
        self._thread = threading.Thread(
            target=self._run, args=(source, url, headers), name="http", daemon=True
        )
        self._thread.start()

    def _run(self, source: Polling, url: str, headers: dict[str, str]) -> None:
        try:
            self._found.append(_ask(source, url, headers))
        except BaseException as error:  # whatever it is, it is raised where the rows are read
            self._error.append(error)

    @property
    def done(self) -> bool:
        return not self._thread.is_alive()

    def result(self) -> Answer:
        if self._error:
            raise self._error[0]
        return self._found[0]


def _ask(source: Polling, url: str, headers: dict[str, str]) -> Answer:
    import httpx  # noqa: PLC0415 - an extra, and 100 ms

    try:
        with (
            httpx.Client(timeout=source.timeout / SECOND, headers=headers) as client,
            client.stream("GET", url) as answer,
        ):
            if answer.status_code == _UNCHANGED:
                return Answer(None)
            _check_status(url, answer.status_code, answer.headers)
            body = _bounded(url, answer.iter_bytes(), source.max_bytes)
            return Answer(body, answer.headers.get("ETag"), answer.headers.get("Last-Modified"))
    except httpx.InvalidURL as error:
        raise SourceError(
            f"{without_query(url)} is no URL", expected="http://...", found=str(error)
        ) from error
    except httpx.HTTPError as error:
        raise Passing(f"{type(error).__name__}: {error}") from error


def _check_status(url: str, status: int, headers: Any) -> None:
    if status in _PASSING:
        raise Passing(f"status {status}")
    if 200 <= status < 300:
        return
    place = f", to {headers['Location']}" if "Location" in headers else ""
    raise SourceError(
        f"{without_query(url)} gave no document",
        expected="status 200",
        found=f"status {status}{place}",
        remedy="give the URL that it redirects to" if place else "check the URL and the headers",
    )


def _bounded(url: str, parts: Any, most: int) -> bytes:
    found: list[bytes] = []
    size = 0
    for part in parts:
        size += len(part)
        if size > most:
            raise SourceError(
                f"{without_query(url)} answered with too much",
                expected=f"at most {most:,} bytes",
                found="more",
                remedy="ask for less, or allow more with max_bytes=",
            )
        found.append(part)
    return b"".join(found)
