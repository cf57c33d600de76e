"""Object stores: S3 and what speaks like it, given to sinks and sources of files as `store=`.

A description is frozen and does no I/O; obstore, which speaks with the server, comes with the extra `s3`.
Errors of obstore become `StoreError`s, which say what was found and what to do.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from functools import lru_cache
from os import PathLike, fspath
from typing import Any

from streamlib.connectors.calls import as_call
from streamlib.core.errors import DefinitionError, MissingExtraError, shown
from streamlib.core.secrets import Secret, reveal
from streamlib.core.time import Duration, duration

TIMEOUT = "30s"  # of a request: 8 MB at 300 kB/s
RETRY_FOR = "1min"  # a store that restarts is back by then; a wrong endpoint is told soon enough
LONGEST_RETRY = "5min"
_RETRIES = 3_000  # of 5 minutes, with waits of at least 100 ms: the time is what ends them
_BUCKET = re.compile(r"[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]")
_SCHEME = re.compile(r"[a-zA-Z][a-zA-Z0-9+.-]+://")


@dataclass(frozen=True, repr=False)
class S3:
    """A bucket. Made by `s3`; equal where all options are. Durations in microseconds."""

    bucket: str
    endpoint: str | None = None
    region: str | None = None
    access_key: str | Secret | None = None
    secret_key: Secret | None = None
    session_token: Secret | None = None
    timeout: int = duration(TIMEOUT)
    retry_for: int = duration(RETRY_FOR)

    @property
    def url(self) -> str:
        """What paths in it begin with."""
        return f"s3://{self.bucket}"

    def connect(self) -> Any:
        """An `obstore.store.S3Store`. Sends nothing yet; raises `MissingExtraError` without obstore."""
        keys = (self.access_key, self.secret_key, self.session_token)
        return _connected(self, *(None if key is None else reveal(key) for key in keys))

    def __repr__(self) -> str:
        options = {name: getattr(self, name) for name in self.__dataclass_fields__ if name != "bucket"}
        usual = S3(self.bucket)
        for name in ("timeout", "retry_for"):
            given = options[name]
            options[name] = None if given == getattr(usual, name) else timedelta(microseconds=given)
        return as_call("stores.s3", self.bucket, **options)


def s3(
    bucket: str,
    *,
    endpoint: str | None = None,
    region: str | None = None,
    access_key: str | Secret | None = None,
    secret_key: Secret | None = None,
    session_token: Secret | None = None,
    timeout: Duration = TIMEOUT,
    retry_for: Duration = RETRY_FOR,
) -> S3:
    """A bucket of S3, or of a server that speaks like it, for `store=` of sinks and sources of files.

    What is not given is looked up where AWS tools look: `AWS_ACCESS_KEY_ID`, `AWS_SECRET_ACCESS_KEY`,
    `AWS_SESSION_TOKEN`, `AWS_REGION`, `AWS_ENDPOINT_URL`, then the role of the machine. The same holds
    for paths like `"s3://bucket/prefix"`, which need no `store=`.

    Args:
        bucket: its name; it has to exist.
        endpoint: the URL of the server, for others than AWS.
        region: of the bucket; `us-east-1` if nobody says.
        access_key: the id of the key, or a secret that holds it.
        secret_key: a secret: `sl.secret("env:S3_SECRET_KEY")`.
        session_token: a secret, for keys that last for a while.
        timeout: how long one request may take. What only reads is tried again then; a write that got no
            answer is not, since nobody knows what became of it.
        retry_for: how long a request that failed for want of the server is tried again, with growing
            waits of at most 5 s; 5 minutes at most. Then the job fails, and goes on where it was when it
            is started again.

    Raises:
        DefinitionError: a name that no bucket has, an endpoint that is no URL, half a pair of keys, a
            secret that is none.

    >>> s3("lake", endpoint="http://127.0.0.1:8333")
    stores.s3('lake', endpoint='http://127.0.0.1:8333')
    """
    _check(bucket, endpoint, access_key, secret_key, session_token)
    times = duration(timeout), duration(retry_for)
    if times[1] > duration(LONGEST_RETRY):
        raise DefinitionError(
            "retry_for= is too long",
            expected=f"at most {LONGEST_RETRY}: a request is signed once, and signatures expire",
            found=shown(retry_for),
            remedy="give less; a job that failed goes on where it was when it is started again",
        )
    return S3(bucket, endpoint, region, access_key, secret_key, session_token, *times)


def located(path: str | PathLike[str], store: S3 | None) -> tuple[str, S3 | None]:
    """Where a path is: in a store (without its bucket), or on the local disk.

    >>> located("s3://lake/hot/", None)
    ('hot', stores.s3('lake'))
    """
    text = fspath(path)
    if store is not None and not isinstance(store, S3):
        raise DefinitionError(
            "store= is not a store",
            expected="a store of streamlib.connectors.stores",
            found=shown(store),
            remedy='give for example store=stores.s3("bucket")',
        )
    if _SCHEME.match(text):
        if store is not None or not text.startswith("s3://"):
            raise DefinitionError(
                "a path that names its store in another way",
                expected='"s3://bucket/prefix" without store=, a path within store=, or a local path',
                found=shown(text),
                remedy='leave store= out, or write for example path="prefix", store=stores.s3("bucket")',
            )
        bucket, _, text = text.removeprefix("s3://").partition("/")
        store = s3(bucket)
    return (text, None) if store is None else (_key(text), store)


def _key(path: str) -> str:
    parts = path.strip("/").split("/")
    if path.strip("/") and not set(parts).isdisjoint({"", ".", ".."}):
        raise DefinitionError(
            "not a path in a store",
            expected='names with single "/" between them',
            found=shown(path),
            remedy='write it in full, without "..", "." and "//"',
        )
    return "/".join(parts)


class StoreError(OSError):
    """What a store answered, for errors of sinks and sources: `expected`, `found`, `remedy`."""

    def __init__(self, expected: str, found: str, remedy: str) -> None:
        super().__init__(found)
        self.expected = expected
        self.found = found
        self.remedy = remedy


@contextmanager
def answering(store: S3) -> Iterator[None]:
    """Turn what obstore raises into a `StoreError`; an object that is missing stays FileNotFoundError."""
    try:
        yield
    except (library().exceptions.BaseError, OSError) as error:
        if isinstance(error, StoreError):
            raise
        if isinstance(error, FileNotFoundError) and "NoSuchBucket" not in str(error):
            raise
        raise _explained(store, str(error)) from error


def _explained(store: S3, text: str) -> StoreError:
    code, message = _answer(text)
    place = f"{store.url} at {store.endpoint}" if store.endpoint else store.url
    if code == "NoSuchBucket":
        return StoreError(
            f"a bucket {store.bucket!r}",
            f"no such bucket ({place})",
            "create it, or correct its name or the endpoint",
        )
    if "169.254.169.254" in text:  # where the role of a machine is asked for, when there are no keys
        return StoreError(
            "keys for the store",
            "none given, none in the environment, and no role of this machine",
            "give access_key= and secret_key=, or set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY",
        )
    if code in ("InvalidAccessKeyId", "SignatureDoesNotMatch", "InvalidToken", "ExpiredToken"):
        return StoreError(
            f"keys that {place} knows",
            f"{code}: {message}",
            "correct the keys, then start again",
        )
    if code == "AccessDenied" or "403 Forbidden" in text or "401 Unauthorized" in text:
        return StoreError(
            "a key that may list, read, write, copy and delete there (a source: list and read)",
            f"access to {place} denied",
            "give the key these rights, or take another one",
        )
    if code:
        return StoreError(f"{place} to do it", f"{code}: {message}", "look at the reason above")
    return StoreError(
        f"an answer of {place}",
        text.splitlines()[0].partition(" in ")[0] if not _is_silence(text) else f"none ({_waited(text)})",
        "when the store can be reached, start the job again: it goes on where it was",
    )


def _answer(text: str) -> tuple[str, str]:
    """The code and message of S3 in an error of obstore; empty where there is none."""
    if match := re.search(r"<Code>(.*?)</Code>(?:.*?<Message>(.*?)</Message>)?", text, re.DOTALL):
        return match[1], match[2] or ""
    if match := re.search(r"key \S+: (.*) \(code: (\w+)\)", text):  # of a deletion
        return match[2], match[1]
    return "", ""


def _is_silence(text: str) -> bool:
    return "error sending request" in text or "timed out" in text or "HTTP error" in text


def _waited(text: str) -> str:
    match = re.search(r"after (\d+) retries", text)
    return f"tried {int(match[1]) + 1} times" if match else "tried once"


def library() -> Any:
    """The module obstore. Raises `MissingExtraError` without it."""
    try:
        import obstore  # noqa: PLC0415 - an extra
        import obstore.exceptions  # noqa: PLC0415
        import obstore.store  # noqa: PLC0415
    except ImportError as error:
        raise MissingExtraError.of("obstore", "s3") from error
    return obstore


@lru_cache(maxsize=8)  # connections are kept while files are listed and opened one by one
def _connected(store: S3, access_key: str | None, secret_key: str | None, token: str | None) -> Any:
    given = {
        "endpoint": store.endpoint,
        "region": store.region,
        "access_key_id": access_key,
        "secret_access_key": secret_key,
        "session_token": token,
    }
    endpoint = (
        store.endpoint or os.environ.get("AWS_ENDPOINT_URL_S3") or os.environ.get("AWS_ENDPOINT_URL", "")
    )
    return library().store.S3Store(
        store.bucket,
        client_options={
            "allow_http": endpoint.startswith("http://"),
            "timeout": timedelta(microseconds=store.timeout),
            "connect_timeout": timedelta(microseconds=min(store.timeout, duration("5s"))),
        },
        retry_config={
            "max_retries": _RETRIES,
            "retry_timeout": timedelta(microseconds=store.retry_for),
            "backoff": {
                "init_backoff": timedelta(milliseconds=100),
                "max_backoff": timedelta(seconds=5),
                "base": 2,
            },
        },
        **{name: value for name, value in given.items() if value is not None},
    )


def _check(bucket: str, endpoint: str | None, access_key: object, *secrets: object) -> None:
    if not isinstance(bucket, str) or not _BUCKET.fullmatch(bucket):
        raise DefinitionError(
            "no bucket has this name",
            expected="3 to 63 lower-case letters, digits, dots and dashes",
            found=shown(bucket),
            remedy='give the name alone, for example stores.s3("lake"); a prefix belongs to the path',
        )
    if endpoint is not None and not endpoint.startswith(("http://", "https://")):
        raise DefinitionError(
            "endpoint= is not a URL",
            expected='for example "http://127.0.0.1:8333"',
            found=shown(endpoint),
            remedy="put http:// or https:// in front",
        )
    if any(not isinstance(secret, Secret | None) for secret in secrets):
        raise DefinitionError(
            "secret_key= and session_token= are given as secrets",
            expected='for example secret_key=sl.secret("env:S3_SECRET_KEY")',
            found="another object",  # which could be the secret itself
            remedy="keep the value out of the code",
        )
    if (access_key is None) != (secrets[0] is None):
        raise DefinitionError(
            "one of two keys is missing",
            expected="access_key= and secret_key=, or none of them",
            found="secret_key= alone" if access_key is None else "access_key= alone",
            remedy="give both, or leave both to the environment",
        )
