"""What a manifest and a stub say, and how they are written and read.

The file is JSON: `{"format": 2, "sha256": ..., "body": {...}}`. The checksum covers the exact
bytes of the body. It detects damage, not attackers: who can write the file can compute it.
"""

from __future__ import annotations

import hashlib
from typing import Annotated

import msgspec
from msgspec import Meta

from streamlib.checkpoint.layout import ATTEMPT_PATTERN, STATE_FILE_PATTERN
from streamlib.core.contracts import Json
from streamlib.core.errors import CheckpointDamagedError, StateIncompatibleError

FORMAT = 2
"""Version of everything below; a reader refuses any other."""
MANIFEST_LIMIT = 256 * 2**20
"""Bytes; a manifest holds positions and names, a few KiB, and at most pending commits beside them."""

Number = Annotated[int, Meta(ge=1)]
Count = Annotated[int, Meta(ge=0)]
Attempt = Annotated[str, Meta(pattern=ATTEMPT_PATTERN)]


class StateFile(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One segment of a state table on disk.

    Attributes:
        file: path below the state folder, with `/`; maybe of an earlier checkpoint or attempt.
        length: bytes.
        sha256: of the whole file, in hex.
        rows: rows in the file.
        schema: the table's schema as text, for people.
        key_groups: least and greatest key group in it; None where the table is not keyed or empty.
    """

    file: Annotated[str, Meta(pattern=STATE_FILE_PATTERN)]
    length: Count
    sha256: Annotated[str, Meta(pattern=r"\A[0-9a-f]{64}\Z")]
    rows: Count
    schema: str
    key_groups: tuple[int, int] | None = None


class OperatorEntry(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """State of one operator: `OperatorSpec.state_version()`, and its `OperatorState`.

    A table's rows are those of its files, one after another.
    """

    version: Json
    values: dict[str, Json]
    counters: dict[str, int]
    tables: dict[str, list[StateFile]]


class PendingCommit(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """`SinkWriter.prepare(number)` answered `value`; its commit is not known to have been done."""

    number: Number
    value: Json


class Manifest(msgspec.Struct, frozen=True, forbid_unknown_fields=True, tag_field="kind", tag="checkpoint"):
    """A checkpoint.

    Attributes:
        job: the job's id.
        flow: the flow's name when it was written; jobs may rename their flow.
        number: rises by one with every manifest and stub of the job.
        attempt: the run of the job that wrote it.
        restored_from: number of the checkpoint that this attempt began with; None at a first start.
        created: microseconds since the epoch.
        positions: where each partition of each source goes on.
        watermarks: as the runner keeps them.
        operators: state by operator id.
        pending: by sink, commits to repeat after a restore, in order of their numbers.
        finished: whether the job is complete and can't go on from here.
    """

    job: str
    flow: str
    number: Number
    attempt: Attempt
    restored_from: Number | None
    created: int
    positions: dict[str, dict[str, Json]]
    watermarks: Json
    operators: dict[str, OperatorEntry]
    pending: dict[str, list[PendingCommit]]
    finished: bool


class Stub(msgspec.Struct, frozen=True, forbid_unknown_fields=True, tag_field="kind", tag="stub"):
    """The start of an attempt: occupies a number, so that its predecessor can't write any more."""

    job: str
    number: Number
    attempt: Attempt
    restored_from: Number | None
    created: int


Entry = Manifest | Stub
"""Whatever holds a number."""


class _Envelope(msgspec.Struct, frozen=True):
    format: int
    sha256: str = ""
    body: msgspec.Raw = msgspec.Raw(b"")


def encode_entry(entry: Entry) -> bytes:
    """The bytes of a manifest or stub file."""
    body = msgspec.json.encode(entry)
    digest = hashlib.sha256(body).hexdigest()
    return msgspec.json.encode(_Envelope(FORMAT, digest, msgspec.Raw(body)))


def decode_entry(data: bytes, number: int, path: str) -> Entry:
    """The entry that the file `path` of `number` holds.

    Raises `CheckpointDamagedError` for whatever `encode_entry` would not have written, and
    `StateIncompatibleError` for another format version.
    """
    try:
        envelope = msgspec.json.decode(data, type=_Envelope)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise damaged(path, "a whole manifest", str(error)) from error
    if envelope.format != FORMAT:
        raise StateIncompatibleError(
            f"{path} was written by another version of streamlib",
            expected=f"manifest format {FORMAT}",
            found=f"format {envelope.format}",
            remedy="run the version of streamlib that wrote it, or start with another state folder",
        )
    body = bytes(envelope.body)
    digest = hashlib.sha256(body).hexdigest()
    if digest != envelope.sha256:
        raise damaged(path, f"SHA-256 {envelope.sha256}", f"SHA-256 {digest}")
    return _decode_body(body, number, path)


def _decode_body(body: bytes, number: int, path: str) -> Entry:
    try:
        entry: Entry = msgspec.json.decode(body, type=Entry)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise damaged(path, "the fields of a manifest", str(error)) from error
    if entry.number != number:
        raise damaged(path, f"number {number}, as the file's name says", f"number {entry.number}")
    if entry.restored_from is not None and entry.restored_from >= number:
        raise damaged(path, f"restored_from below {number}", str(entry.restored_from))
    return entry


def damaged(path: str, expected: str, found: str) -> CheckpointDamagedError:
    """The error for a file of a checkpoint that is not what was written."""
    return CheckpointDamagedError(
        f"the checkpoint file {path} is damaged or missing; nothing was restored",
        expected=expected,
        found=found,
        remedy="put the file back from a backup, or start again with an empty state folder",
    )
