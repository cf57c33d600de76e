"""State files of a checkpoint: write them, check them, load them."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping
from functools import partial
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from streamlib.checkpoint.layout import Layout, folder_number, state_file_name
from streamlib.checkpoint.manifest import Manifest, OperatorEntry, StateFile, damaged
from streamlib.core.contracts import Disk, Json, OperatorState, States
from streamlib.core.errors import CheckpointDamagedError, StateError
from streamlib.core.segment import Segment
from streamlib.state.codec import decode_table, encode_table
from streamlib.state.key_groups import KEY_GROUP_COLUMN


class StateWriter:
    """Writes the states of one attempt's checkpoints, each segment once."""

    def __init__(self, disk: Disk, layout: Layout, attempt: str) -> None:
        self._disk = disk
        self._layout = layout
        self._attempt = attempt
        self._known: dict[Segment, StateFile] = {}  # those of the last checkpoint

    def write(self, number: int, states: States, versions: Mapping[str, Json]) -> dict[str, OperatorEntry]:
        """Make all tables durable, below a folder that no other checkpoint uses.

        A segment of the last checkpoint is only named. After an exception it must not be called again.
        """
        folder = _Folder(self._disk, self._layout, self._attempt, number)
        named: dict[Segment, StateFile] = {}
        entries = {}
        for operator, state in states.items():
            try:
                for table, segments in state.tables.items():
                    for segment in segments:
                        named[segment] = self._named_or_written(folder, operator, table, segment)
            except Exception as error:
                error.add_note(f"writing the state of operator {operator!r}")
                raise
            tables = {table: [named[s] for s in segments] for table, segments in state.tables.items()}
            entries[operator] = OperatorEntry(versions[operator], state.values, state.counters, tables)
        folder.sync()
        self._known = named  # segments that operators gave up are held no longer
        return entries

    def _named_or_written(self, folder: _Folder, operator: str, table: str, segment: Segment) -> StateFile:
        known = self._known.get(segment)
        if known is not None:
            self._check(known)
            return known
        file = folder.write(operator, table, segment.table())
        segment.moved(partial(self._load, file))
        return file

    def _check(self, known: StateFile) -> None:
        """Only a glance: who damages files while the job runs meets the checksum at the next start."""
        try:
            _check_size(self._disk, self._layout, known)
        except CheckpointDamagedError as error:
            raise _lost(self._layout, known, error) from error

    def _load(self, file: StateFile) -> pa.Table:
        try:
            return _decode(_read_checked(self._disk, self._layout, file), file)
        except CheckpointDamagedError as error:
            raise _lost(self._layout, file, error) from error


def _lost(layout: Layout, file: StateFile, error: CheckpointDamagedError) -> StateError:
    return StateError(
        f"the state file {layout.state_file(file.file)} was removed or changed while the job ran",
        expected=error.expected,
        found=error.found,
        remedy="find out what touches the state folder; put the file back, and start the job again",
    )


class _Folder:
    """The folder of one checkpoint's files, made with the first of them."""

    def __init__(self, disk: Disk, layout: Layout, attempt: str, number: int) -> None:
        self._disk = disk
        self._path = layout.data_folder(attempt, number)
        self._relative = f"data/{attempt}/{folder_number(number)}"
        self._written = 0

    def write(self, operator: str, table: str, rows: pa.Table) -> StateFile:
        data = encode_table(rows)
        name = state_file_name(self._written, operator, table)
        self._write(name, data)
        return StateFile(
            file=f"{self._relative}/{name}",
            length=data.size,
            sha256=hashlib.sha256(memoryview(data)).hexdigest(),
            rows=rows.num_rows,
            schema=str(rows.schema.remove_metadata()),
            key_groups=_key_group_range(rows),
        )

    def _write(self, name: str, data: pa.Buffer) -> None:
        if not self._written:
            self._disk.make_dirs(self._path)
        self._written += 1
        file = self._disk.create(f"{self._path}/{name}")
        try:
            file.write(data)
            file.sync()
        finally:
            file.close()

    def sync(self) -> None:
        """Make the names durable."""
        if self._written:
            self._disk.sync_dir(self._path)


def _key_group_range(table: pa.Table) -> tuple[int, int] | None:
    if KEY_GROUP_COLUMN not in table.column_names or not table.num_rows:
        return None
    ends: Any = pc.min_max(table.column(KEY_GROUP_COLUMN)).as_py()
    return ends["min"], ends["max"]


def state_files(manifest: Manifest) -> Iterator[StateFile]:
    """All state files that the manifest names."""
    for operator in manifest.operators.values():
        for files in operator.tables.values():
            yield from files


def check_sizes(disk: Disk, layout: Layout, manifest: Manifest) -> None:
    """Raise `CheckpointDamagedError` if a file is missing or has another length. Reads nothing."""
    for file in state_files(manifest):
        _check_size(disk, layout, file)


def _check_size(disk: Disk, layout: Layout, file: StateFile) -> None:
    path = layout.state_file(file.file)
    size = disk.size(path)
    if size != file.length:
        raise damaged(path, f"{file.length} bytes", "no such file" if size is None else f"{size} bytes")


def load_states(disk: Disk, layout: Layout, manifest: Manifest) -> dict[str, OperatorState]:
    """All states of the manifest; nothing is decoded before every file was checked."""
    check_sizes(disk, layout, manifest)
    contents = {file.file: _read_checked(disk, layout, file) for file in state_files(manifest)}
    return {
        name: OperatorState(
            tables={
                table: [Segment.of(_decode(contents[file.file], file)) for file in files]
                for table, files in operator.tables.items()
            },
            values=dict(operator.values),
            counters=dict(operator.counters),
        )
        for name, operator in manifest.operators.items()
    }


def _read_checked(disk: Disk, layout: Layout, file: StateFile) -> bytes:
    path = layout.state_file(file.file)
    try:
        data = disk.read(path)
    except FileNotFoundError:
        raise damaged(path, f"{file.length} bytes", "no such file") from None
    digest = hashlib.sha256(data).hexdigest()
    if digest != file.sha256:
        raise damaged(path, f"SHA-256 {file.sha256}", f"SHA-256 {digest}")
    return data


def _decode(data: bytes, file: StateFile) -> pa.Table:
    return decode_table(data, file.rows, file.file)
