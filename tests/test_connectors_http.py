"""`http.source`, against a server on this machine that answers as a test wants."""

from __future__ import annotations

import gzip
import json
import pickle
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pyarrow as pa
import pytest

import streamlib as sl
from streamlib.connectors import http, memory
from streamlib.core.contracts import Chunk, Pause, Source, SourceReader, TakesClock
from streamlib.core.errors import DefinitionError, SourceError, UnknownColumnError
from streamlib.testing.clock import ManualClock

EVENTS = sl.formats.json({"id": pa.int64(), "name": pa.string()})


@dataclass
class Reply:
    body: bytes = b""
    status: int = 200
    headers: dict[str, str] = field(default_factory=dict)


def document(*ids: int, **headers: str) -> Reply:
    return Reply(json.dumps([{"id": i, "name": f"n{i}"} for i in ids]).encode(), headers=headers)


class Server:
    """Answers by `answer(path, headers)`, and keeps what it was asked."""

    def __init__(self) -> None:
        self.asked: list[tuple[str, dict[str, str]]] = []
        self.answer: Callable[[str, dict[str, str]], Reply] = lambda path, headers: document(1)
        server = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                headers = {name.lower(): value for name, value in self.headers.items()}
                server.asked.append((self.path, headers))
                reply = server.answer(self.path, headers)
                self.send_response(reply.status)
                for name, value in reply.headers.items():
                    self.send_header(name.replace("_", "-"), value)
                self.send_header("Content-Length", str(len(reply.body)))
                self.end_headers()
                self.wfile.write(reply.body)

            def log_message(self, format: str, *args: Any) -> None: ...

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self._server.server_port}/events"
        self._thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.01})
        self._thread.start()

    def replies(self, *replies: Reply) -> None:
        """One after the other; the last one again and again."""
        left = list(replies)
        self.answer = lambda path, headers: left.pop(0) if len(left) > 1 else left[0]

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()


@pytest.fixture
def server() -> Iterator[Server]:
    made = Server()
    yield made
    made.close()


class Asking:
    """A reader whose questions are waited for, on a clock moved by hand."""

    def __init__(self, source: http.HttpSource, position: Any = None) -> None:
        self.clock = ManualClock()
        self.reader = source.open("0", position, None)
        assert isinstance(self.reader, SourceReader)
        assert isinstance(self.reader, TakesClock)
        self.reader.take_clock(self.clock)

    def read(self) -> Chunk | Pause:
        found = self.reader.read()
        asking = self.reader._asking
        if asking is None:
            return found
        asking._thread.join(10)
        return self.reader.read()

    def ids(self, after: str = "1min") -> list[int] | None:
        """The ids of the next answer, None where there is none."""
        self.clock.advance(after)
        found = self.read()
        return found.rows["id"].to_pylist() if isinstance(found, Chunk) else None


def test_every_answer_brings_its_records(server: Server) -> None:
    server.replies(
        document(1, 2), Reply(b'{"id": 3}\n{"id": 4, "more": true}\n'), Reply(b'{\n"id": 5}'), Reply(b"")
    )
    source = http.source(server.url, EVENTS, every="10s")
    assert isinstance(source, Source)
    asking = Asking(source)
    assert [asking.ids("10s") for _ in range(4)] == [[1, 2], [3, 4], [5], None]


def test_nothing_is_asked_before_its_time(server: Server) -> None:
    asking = Asking(http.source(server.url, EVENTS, every="10s"))
    assert asking.ids("0s") == [1]
    assert asking.ids("9s") is None
    assert len(server.asked) == 1
    assert asking.ids("1s") == [1]


def test_an_answer_that_is_as_before_brings_no_rows_also_after_a_restart(server: Server) -> None:
    def answer(path: str, headers: dict[str, str]) -> Reply:
        if headers.get("if-none-match") == '"v1"' and headers["if-modified-since"] == "today":
            return Reply(status=304)
        return document(1, 2, ETag='"v1"', Last_Modified="today")

    server.answer = answer
    source = http.source(server.url, EVENTS)
    asking = Asking(source)
    first = asking.read()
    assert isinstance(first, Chunk)
    assert asking.ids() is None
    assert Asking(source, json.loads(json.dumps(first.next_position))).ids() is None
    assert len(server.asked) == 3


def test_only_records_beyond_the_last_ones_are_new(server: Server) -> None:
    server.replies(document(3, 1, 2), document(2, 3, 5, 4), document(5))
    asking = Asking(http.source(server.url, EVENTS, since="id"))
    assert [asking.ids() for _ in range(3)] == [[1, 2, 3], [4, 5], None]


def test_the_server_is_asked_for_what_follows_the_last_record(server: Server) -> None:
    stored = list(range(1, 6))

    def answer(path: str, headers: dict[str, str]) -> Reply:
        since = int(path.rpartition("=")[2])
        return document(*[i for i in stored if i > since][:3], ETag='"same"')

    server.answer = answer
    source = http.source(server.url + "?after={since}", EVENTS, since="id", start=0)
    assert source.replay == "replayable"
    asking = Asking(source)
    first = asking.read()
    assert isinstance(first, Chunk)
    assert first.rows["id"].to_pylist() == [1, 2, 3]
    assert asking.ids() == [4, 5]
    assert asking.ids() is None
    stored += [6, 7]
    assert asking.ids() == [6, 7]
    assert Asking(source, first.next_position).ids() == [4, 5, 6]
    assert [path for path, _ in server.asked] == [f"/events?after={i}" for i in (0, 3, 5, 5, 3)]


def test_since_may_be_a_timestamp_or_a_text(server: Server) -> None:
    form = sl.formats.json({"id": pa.int64(), "at": pa.timestamp("us", "UTC"), "key": pa.string()})
    body = [{"id": 1, "at": "2024-01-01T00:00:00.5Z", "key": "a b"}, {"id": 2, "at": None, "key": "a"}]
    server.replies(Reply(json.dumps(body).encode()))
    start = datetime(2024, 1, 1, tzinfo=UTC)
    asking = Asking(http.source(server.url + "?t={since}", form, since="at", start=start))
    assert [asking.ids(), asking.ids()] == [[1], None]
    asking = Asking(http.source(server.url + "?k={since}", form, since="key", start=""))
    assert [asking.ids(), asking.ids()] == [[2, 1], None]
    assert [path.partition("?")[2] for path, _ in server.asked] == [
        "t=2024-01-01T00%3A00%3A00Z",
        "t=2024-01-01T00%3A00%3A00.500000Z",
        "k=",
        "k=a%20b",
    ]


def test_questions_that_fail_are_asked_again_after_longer_and_longer_waits(server: Server) -> None:
    server.replies(Reply(status=503), Reply(status=429), document(1), Reply(status=500), document(2))
    asking = Asking(http.source(server.url, EVENTS, every="1min", attempts=3))
    assert [asking.ids(t) for t in ("0s", "0s", "1s", "1s", "1s")] == [None, None, None, None, [1]]
    assert len(server.asked) == 3
    assert [asking.ids(t) for t in ("1min", "1s")] == [None, [2]]


def test_too_many_failures_in_a_row_stop_the_job(server: Server) -> None:
    server.replies(Reply(status=500))
    asking = Asking(http.source(server.url + "?token=secret", EVENTS, attempts=2))
    assert asking.ids() is None
    with pytest.raises(SourceError, match="can't be asked") as error:
        asking.ids()
    assert "status 500" in str(error.value)
    assert "secret" not in str(error.value)


def test_a_server_that_is_not_there_or_does_not_answer_is_told(server: Server) -> None:
    with pytest.raises(SourceError, match="ConnectError"):
        Asking(http.source("http://127.0.0.1:9/none", EVENTS, attempts=1)).read()
    silent = threading.Event()

    def answer(path: str, headers: dict[str, str]) -> Reply:
        silent.wait(10)
        return document(1)

    server.answer = answer
    with pytest.raises(SourceError, match="ReadTimeout"):
        Asking(http.source(server.url, EVENTS, attempts=1, timeout="50ms")).read()
    silent.set()


@pytest.mark.parametrize(
    ("reply", "text"),
    [
        (Reply(status=404), "status 404"),
        (Reply(status=302, headers={"Location": "http://else.where/"}), "status 302, to http://else.where/"),
        (Reply(b"<html>"), "a document of json records"),
        (Reply(b"[" + b"1," * 600 + b"1]"), "at most 1,000 bytes"),
        (Reply(gzip.compress(b" " * 100_000), headers={"Content-Encoding": "gzip"}), "at most 1,000 bytes"),
    ],
)
def test_an_answer_that_is_no_document_stops_the_job_at_once(server: Server, reply: Reply, text: str) -> None:
    server.replies(reply)
    with pytest.raises(SourceError) as error:
        Asking(http.source(server.url, EVENTS, max_bytes=1_000)).read()
    assert text in str(error.value)


def test_records_that_can_not_be_read_are_told_with_their_numbers(server: Server) -> None:
    server.replies(Reply(b'[{"id": 2}, {"id": "x"}, {"id": 1}, 7]'))
    found = Asking(http.source(server.url, EVENTS, since="id")).read()
    assert isinstance(found, Chunk)
    assert found.rows["id"].to_pylist() == [1, 2]
    assert [(b.position, b.where.rpartition(", ")[2], b.data) for b in found.broken] == [
        (2, "record 1", b'{"id": "x"}'),
        (3, "record 3", b"7"),
    ]


def test_secrets_go_to_the_server_and_nowhere_else(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HTTP_TOKEN", "hidden-value")
    source = http.source(server.url, EVENTS, headers={"Authorization": sl.secret("env:HTTP_TOKEN")})
    Asking(source).read()
    assert server.asked[0][1]["authorization"] == "hidden-value"
    assert b"hidden-value" not in pickle.dumps(source)
    assert "hidden-value" not in repr(source)


def test_other_formats_are_documents_too(server: Server) -> None:
    server.replies(Reply(b'1,"a\nb"\n2,c\n'))
    asking = Asking(http.source(server.url, sl.formats.csv({"id": pa.int64(), "name": pa.string()})))
    found = asking.read()
    assert isinstance(found, Chunk)
    assert found.rows["name"].to_pylist() == ["a\nb", "c"]


def test_a_flow_polls_until_it_has_enough(server: Server) -> None:
    numbers = iter(range(1, 100))
    server.answer = lambda path, headers: document(next(numbers))
    source = http.source(server.url, EVENTS, every="10ms", since="id")
    assert sl.read(source, name="events").collect(n=3)["id"].to_pylist() == [1, 2, 3]


def test_policies_of_read_hold_for_records_of_a_server(server: Server) -> None:
    server.replies(Reply(b'[{"id": 1}, {"id": "x"}, {"id": 3}]'))
    source = http.source(server.url, EVENTS, every="10ms")
    assert sl.read(source, name="events", on_error="skip").collect(n=2)["id"].to_pylist() == [1, 3]


def test_a_source_is_a_value_and_says_honestly_what_it_can(server: Server) -> None:
    source = http.source(server.url, EVENTS, since="id")
    assert pickle.loads(pickle.dumps(source)) == source == http.source(server.url, EVENTS, since="id")
    assert source.replay == "lossy"
    assert not source.bounded
    flow = sl.Flow("f", sl.read(source, name="events").write(memory.sink(), name="out"))
    assert "lossy" in str(flow.guarantee())


@pytest.mark.parametrize(
    "options",
    [
        {"url": "ftp://x"},
        {"url": 3},
        {"format": "json"},
        {"every": 0},
        {"attempts": 0},
        {"max_bytes": 0},
        {"url": "http://x/{since}"},
        {"url": "http://x/{since}", "since": "id"},
    ],
)
def test_wrong_arguments_are_refused(options: Any) -> None:
    with pytest.raises(DefinitionError):
        http.source(**{"url": "http://x", "format": EVENTS} | options)
    with pytest.raises(UnknownColumnError):
        http.source("http://x", EVENTS, since="idd")
