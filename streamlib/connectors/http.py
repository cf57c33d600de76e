"""HTTP: a source that asks for a URL again and again."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from importlib.util import find_spec
from urllib.parse import urlsplit

import pyarrow as pa

from streamlib.connectors.http_poll import PLACE, HttpReader, Polling, without_query
from streamlib.core.contracts import Json, Replay
from streamlib.core.errors import DefinitionError, MissingExtraError, SourceError, UnknownColumnError, shown
from streamlib.core.secrets import Secret
from streamlib.core.span import Instant, instant, micros
from streamlib.core.time import Duration, duration, show_duration
from streamlib.core.where import caller
from streamlib.formats.contract import Format

__all__ = ["HttpSource", "source"]

MAX_BYTES = 16 << 20
PARTITION = "0"


@dataclass(frozen=True, repr=False)
class HttpSource(Polling):
    """What a server answers when it is asked again and again. Made by `source`."""

    @property
    def bounded(self) -> bool:
        return False

    @property
    def replay(self) -> Replay:
        return "replayable" if PLACE in self.url else "lossy"

    def schema(self) -> pa.Schema:
        return self.format.schema

    def partitions(self) -> Sequence[str]:
        return [PARTITION]

    def open(self, partition: str, position: Json | None, event_time: str | None) -> HttpReader:
        """See `Source.open`. A position is how the server named what it last sent, and the last `since`."""
        if partition != PARTITION:
            raise SourceError(
                f"no partition {partition!r} of a URL",
                expected=repr(PARTITION),
                found=repr(partition),
                remedy="start a new job: the source was another one",
            )
        if event_time is not None and event_time not in self.schema().names:
            raise UnknownColumnError.of(event_time, self.schema().names)
        return HttpReader(self, position)

    def __repr__(self) -> str:
        since = "" if self.since is None else f", since={self.since!r}"
        every = show_duration(self.every)
        return f"http.source({without_query(self.url)!r}, {self.format!r}, every={every!r}{since})"


def source(
    url: str,
    format: Format,
    *,
    every: Duration = "1min",
    since: str | None = None,
    start: Instant | None = None,
    headers: Mapping[str, str | Secret] | None = None,
    timeout: Duration = "10s",
    attempts: int = 5,
    max_bytes: int = MAX_BYTES,
) -> HttpSource:
    """Ask for a URL again and again, and take the records of every answer that is new.

    The body is one record, or several: the elements of a JSON array, JSON lines, lines of CSV, the rows of an
    Arrow stream. An answer that is as before, by its `ETag` or `Last-Modified`, brings no rows; any other
    brings all of its records again, unless `since=` says which are new. Records that can't be read are the
    business of `sl.read(on_error=)`. Needs `pip install "streamlib[http]"`.

    Without `{since}` in the URL the source is lossy: what a server showed between two answers is gone, and
    after a crash it may show other things. With it the server is asked for what follows the last record, so
    the source counts as replayable: as long as the server keeps its records, and adds new ones behind.

    Args:
        url: `http://` or `https://`. `{since}` in it stands for the largest value of the column `since` so
            far. Errors and plans leave out what stands behind `?`.
        format: how records are written, for example `sl.formats.json(Event)`.
        every: from one answer to the next question.
        since: a column of whole numbers, texts or timestamps (in the URL: as ISO 8601) that rises with new
            records. Only records beyond the largest value so far are taken, in the order of this column.
        start: the value of `since` before the first record, of timestamps a `datetime`; needed where the URL
            has `{since}`.
        headers: for example `{"Authorization": sl.secret("env:TOKEN")}`.
        timeout: for each step of a request: to connect, to send, and between two parts of the answer.
        attempts: how many questions in a row may fail (no connection, timeout, status 408, 429 or 5xx), each
            asked again after a wait that doubles from 1 s up to `every`, before the job stops. Any other
            status stops it at once; redirects are not followed.
        max_bytes: the most bytes of an answer, uncompressed.

    Raises:
        DefinitionError: an argument that is not as described.
        MissingExtraError: httpx is not installed.

    When it runs, raises `SourceError` for a server that can't be asked, and for an answer that is no document
    of the format.

    >>> import pyarrow as pa
    >>> import streamlib as sl
    >>> events = sl.formats.json({"id": pa.int64(), "name": pa.string()})
    >>> source("https://example.com/events?after={since}", events, every="10s", since="id", start=0)
    http.source('https://example.com/events?...', formats.json(['id', 'name']), every='10s', since='id')
    """
    _check_installed()
    made = HttpSource(
        url,
        format,
        duration(every),
        since,
        _first(start),
        tuple((headers or {}).items()),
        duration(timeout),
        attempts,
        max_bytes,
    )
    for message, expected, found in _mistakes(made):
        raise DefinitionError(message, expected=expected, found=found).at(None, caller())
    return made


def _mistakes(made: HttpSource) -> list[tuple[str, str, str]]:
    """What is wrong with a description: what, what is expected, and what was found."""
    found: list[tuple[str, str, str]] = []
    if not isinstance(made.url, str) or urlsplit(made.url).scheme not in ("http", "https"):
        found.append(("this is no URL to ask for", "http://... or https://...", shown(made.url)))
    elif not isinstance(made.format, Format):
        found.append(("the answers need a format", "for example sl.formats.json(Event)", shown(made.format)))
    elif made.since is not None and not _can_rise(made):
        found.append(
            (
                "`since` names a column that rises",
                "a column of integers, text or timestamps",
                shown(made.since),
            )
        )
    elif PLACE in made.url and (made.since is None or made.start is None):
        found.append(
            (f"the URL has {PLACE}, so its column and first value are needed", "since= and start=", made.url)
        )
    numbers = (("every", made.every), ("timeout", made.timeout), ("attempts", made.attempts))
    for name, value in (*numbers, ("max_bytes", made.max_bytes)):
        if not isinstance(value, int) or value < 1:
            found.append((f"{name} must be positive", "a number from 1 on, or a duration", shown(value)))
    return found


def _can_rise(made: HttpSource) -> bool:
    if made.since not in made.schema().names:
        raise UnknownColumnError.of(str(made.since), made.schema().names)
    dtype = made.schema().field(made.since).type
    return pa.types.is_integer(dtype) or pa.types.is_string(dtype) or pa.types.is_timestamp(dtype)


def _first(start: Instant | None) -> str | int | None:
    """Moments as a position holds them: microseconds."""
    return micros(instant(start)) if isinstance(start, date) else start


def _check_installed() -> None:
    if find_spec("httpx") is None:
        raise MissingExtraError.of("httpx", "http")
