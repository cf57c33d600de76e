"""The table that a changelog describes, as one Parquet file that every checkpoint replaces.

    out.staging/<attempt>/<job>-<sink>-<n>.parquet    while it is written and prepared
    out/current.parquet                               once its checkpoint is committed

The file says in its metadata of which job and checkpoint it is. A staged file is moved once: whoever
comes later, a recovering attempt or a predecessor that was frozen, finds it gone and a file of the same
checkpoint or a later one in its place. The file is also what a restarted job goes on from.
"""

from __future__ import annotations

from dataclasses import dataclass
from os import PathLike, fspath
from typing import Any

import msgspec
import pyarrow as pa

from streamlib.connectors.calls import as_call
from streamlib.connectors.file_writer import HELD_BYTES
from streamlib.connectors.open_file import OpenFile
from streamlib.connectors.parquet_sink import ParquetEncoding
from streamlib.connectors.staging import Staging, explained, local_staging
from streamlib.core.changes import split_changes
from streamlib.core.contracts import Delivery, Json, SinkContext, Takes
from streamlib.core.errors import SinkError
from streamlib.state.current_rows import IdentifiedRows

FILE = "current.parquet"
_KEY = b"streamlib"  # of the file's metadata


@dataclass(frozen=True, repr=False)
class ParquetSnapshotSink:
    """A folder with one Parquet file. Made by `snapshot_sink`; equal where the path is."""

    path: str

    @property
    def delivery(self) -> Delivery:
        return "staged"

    @property
    def takes(self) -> Takes:
        return "upsert"

    def open(self, context: SinkContext) -> SnapshotWriter:
        """Check that the file can be written and replaced; nothing is shown to readers yet."""
        ParquetEncoding().check(context.schema)
        staging = local_staging(self.path, context, ".parquet")
        staging.open(frozenset([FILE]))
        return SnapshotWriter(staging, context)

    def __repr__(self) -> str:
        return as_call("parquet.snapshot_sink", self.path)


def snapshot_sink(path: str | PathLike[str]) -> ParquetSnapshotSink:
    """An exactly-once sink for changelogs: a local folder with one file, `current.parquet`.

    The file holds the rows of the table that the changelog describes. Every checkpoint that changes the
    table replaces the file at once, so readers see the table as it was at some checkpoint. The whole
    table is written each time and held in memory while the job runs. The file is part of the job: a
    restarted job goes on from it. Staged files are in the sibling folder `<path>.staging`, which must
    be on the same filesystem.

    Args:
        path: the folder; created, with its parents, when the job starts. `~` is the home folder.

    When the job starts, raises `SinkError` where the folder can't be written or holds another job's
    files, or where a job goes on and its file is gone.

    >>> snapshot_sink("out/totals")
    parquet.snapshot_sink('out/totals')
    """
    return ParquetSnapshotSink(fspath(path))


class SnapshotWriter:
    """Writes for one attempt (`SinkWriter`), and cleans up after earlier ones (`Cleans`)."""

    def __init__(self, staging: Staging, context: SinkContext) -> None:
        assert context.changes is not None
        assert context.changes.identity is not None
        self._staging = staging
        self._context = context
        self._path = f"{staging.output}/{FILE}"
        self._published = self._number_of_file()
        self._rows = IdentifiedRows(context.schema, context.changes.identity)
        self._loaded = False
        self._changed = False
        self._created = 0

    def write(self, rows: pa.RecordBatch) -> None:
        self._load()
        self._rows.apply(*split_changes(rows))
        self._changed = True

    def prepare(self, number: int) -> Json:
        self._load()
        if not self._changed:
            return None
        self._created += 1
        header = {"job": self._context.job, "sink": self._context.sink, "checkpoint": number}
        schema = self._context.schema.with_metadata({_KEY: msgspec.json.encode(header)})
        with explained(f"the snapshot for {self._staging.output!r} can't be made durable"):
            staged = self._staging.create(self._created)
            file = OpenFile(*staged, ParquetEncoding(), schema, HELD_BYTES)
            for batch in self._rows.table().replace_schema_metadata(schema.metadata).to_batches():
                file.add(batch)
            finished = file.finish()
            self._staging.sync()
        self._changed = False
        return {**finished, "final": FILE}

    def commit(self, number: int, pending: Json) -> None:
        if pending is None or number <= self._published:
            return
        with explained(f"checkpoint {number} can't be published in {self._staging.output!r}"):
            if not self._staging.move(pending):
                self._check_replaced(number, pending)
            self._staging.settle([pending])
        self._published = number

    def _check_replaced(self, number: int, pending: Json) -> None:
        """The staged file is gone: it was moved, and maybe a later one since."""
        found = self._number_of_file()
        if found < number:
            raise SinkError(
                f"the table that was promised to readers of {self._staging.output!r} is missing",
                expected=f"{FILE} of checkpoint {number} there, or {pending['staged']} staged",
                found=f"{FILE} of checkpoint {found}" if found else "neither",
                remedy="bring the file back, or start a new job over the source",
            )

    def _load(self) -> None:
        """Begin with the table that readers see. Called after recovery has finished all commits."""
        if self._loaded:
            return
        self._loaded = True
        if self._published:
            self._rows.load(self._read().select(self._context.schema.names).cast(self._context.schema))
        elif self._context.restored:
            raise SinkError(
                f"the table in {self._staging.output!r} is missing, and the job goes on from a checkpoint",
                expected=f"{FILE} as the job left it",
                found="no such file (the sink may be new to the job)",
                remedy="bring the file back, or start a new job over the source",
            )
        else:
            self._changed = True  # also a table without rows is shown, so that a restart finds it

    def _read(self) -> pa.Table:
        import pyarrow.parquet as pq  # noqa: PLC0415 - 50 ms that flows without Parquet don't pay

        return pq.read_table(pa.BufferReader(self._context.disk.read(self._path)))

    def _number_of_file(self) -> int:
        """The checkpoint of the file that readers see, 0 if there is none. Raises for another job's."""
        if self._context.disk.size(self._path) is None:
            return 0
        import pyarrow.parquet as pq  # noqa: PLC0415

        try:
            file = pa.BufferReader(self._context.disk.read(self._path))
            metadata: dict[bytes, Any] = pq.read_schema(file).metadata or {}
            header = msgspec.json.decode(metadata.get(_KEY, b"null"))
        except (pa.ArrowException, msgspec.DecodeError) as error:
            raise self._foreign(str(error)) from error
        if not isinstance(header, dict) or header.get("job") != self._context.job:
            owner = header.get("job") if isinstance(header, dict) else "no job"
            raise self._foreign(f"a file of {owner}")
        if header["sink"] != self._context.sink:
            raise self._foreign(f"a file of the sink {header['sink']!r}")
        return int(header["checkpoint"])

    def _foreign(self, found: str) -> SinkError:
        return SinkError(
            f"{self._path!r} does not belong to this job",
            expected=f"no such file, or the one of job {self._context.job}, sink {self._context.sink!r}",
            found=found,
            remedy="give another folder, or remove the file if it is not needed",
        )

    def last_committed(self) -> int:
        return self._published

    def close(self) -> None:
        """Prepared files wait for their commit."""
        with explained(f"unfinished files of {self._staging.output!r} can't be removed"):
            self._staging.discard([])

    def clean(self, keep: set[str]) -> None:
        """See `Cleans`."""
        with explained(f"old files beside {self._staging.output!r} can't be removed"):
            self._staging.clean(keep)
