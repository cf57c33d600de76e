"""Secrets: a reference in the flow, a value only where it is used."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import FunctionType, ModuleType
from typing import Any

import pyarrow as pa

from streamlib.core.errors import DefinitionError, StreamlibError
from streamlib.core.redaction import remember
from streamlib.core.where import caller

LARGEST = 65_536  # bytes of a secret's file: above any key or certificate, below a wrong path's surprise
_ITEMS = 1_000  # of a collection; larger ones are rows, not options
_DEPTH = 8  # of descriptions within descriptions that are searched for secrets


class SecretError(StreamlibError, LookupError):
    """A secret is not where its reference says. Raised before anything is opened.

    `sl.secret("env:NAME")` is a variable of the environment, `sl.secret("file:PATH")` the text of a file. The
    value itself stands in no plan, error, log or checkpoint.
    """

    code = "SL111"


@dataclass(frozen=True, repr=False)
class Secret:
    """Where a secret is kept. It never holds the value: not when shown, compared, hashed or pickled."""

    reference: str

    def reveal(self) -> str:
        """The value, read anew. For connectors, in `open`; it must not be kept in a description.

        Raises:
            SecretError: the variable or file is not there, can't be read, or is empty.
        """
        kind, _, place = self.reference.partition(":")
        value = _from_environment(place) if kind == "env" else _from_file(place)
        if not value:
            raise _missing(self.reference, "it is empty")
        remember(value)
        return value

    def __repr__(self) -> str:
        return f"secret({self.reference!r})"


def secret(reference: str) -> Secret:
    """A secret for a connector: its value is read only when a job starts, and is never shown.

    A flow holds the reference alone, and so do its plan, fingerprint, pickle and checkpoints. Errors
    that streamlib prints show `***` where they would show the value.

    Args:
        reference: `env:NAME`, an environment variable, or `file:PATH`, a file in UTF-8 whose last line
            end does not count (as Docker and Kubernetes mount them).

    Raises:
        DefinitionError: neither of these.

    >>> secret("env:KAFKA_PASSWORD")
    secret('env:KAFKA_PASSWORD')
    """
    kind, _, place = reference.partition(":") if isinstance(reference, str) else ("", "", "")
    if kind not in ("env", "file") or not place:
        raise DefinitionError(
            "not a reference to a secret",
            expected="'env:NAME' or 'file:PATH'",
            # only the type of what was found: the text could be the secret itself
            found=f"another {type(reference).__name__}",
            remedy='keep the value out of the code, and write for example sl.secret("env:KAFKA_PASSWORD")',
        ).at(None, caller())
    return Secret(reference)


def reveal(value: str | Secret) -> str:
    """The text of an option that may be a secret."""
    return value.reveal() if isinstance(value, Secret) else value


def secrets_in(description: object) -> Iterator[Secret]:
    """The secrets that a connector or operator was given, each once."""
    seen: set[int] = set()
    found: set[Secret] = set()
    stack: list[tuple[object, int]] = [(description, 0)]
    while stack:
        value, depth = stack.pop()
        if id(value) in seen or depth > _DEPTH:
            continue
        seen.add(id(value))
        if isinstance(value, Secret):
            if value not in found:
                found.add(value)
                yield value
            continue
        stack += [(part, depth + 1) for part in _parts(value)]


def _parts(value: Any) -> Iterator[object]:
    if isinstance(value, pa.Table | pa.RecordBatch | pa.Schema | type | FunctionType | ModuleType):
        return
    if isinstance(value, Mapping):
        yield from value.values() if len(value) <= _ITEMS else ()
    elif isinstance(value, tuple | list | set | frozenset):
        yield from value if len(value) <= _ITEMS else ()
    else:
        yield from getattr(value, "__dict__", {}).values()


def _from_environment(name: str) -> str:
    value = os.environ.get(name)
    if value is None:
        raise _missing(f"env:{name}", "there is no such environment variable")
    return value


def _from_file(path: str) -> str:
    place = Path(path).expanduser()
    try:
        with place.open("rb") as file:
            content = file.read(LARGEST + 1)
    except OSError as error:
        raise _missing(f"file:{path}", f"{type(error).__name__}: {error.strerror}") from None
    if len(content) > LARGEST:
        raise _missing(f"file:{path}", f"it has more than {LARGEST:,} bytes")
    try:
        text = content.decode("utf-8")
    except UnicodeDecodeError:  # which would quote the bytes
        raise _missing(f"file:{path}", "it is not UTF-8") from None
    return text.removesuffix("\n").removesuffix("\r")


def _missing(reference: str, found: str) -> SecretError:
    kind, _, place = reference.partition(":")
    what = f"the environment variable {place}" if kind == "env" else f"the file {place}"
    return SecretError(
        f"the secret {reference!r} can't be read",
        expected=f"{what}, with the secret in it",
        found=found,
        remedy="set it for this process"
        if kind == "env"
        else "check the path, and that this user may read it",
    )
