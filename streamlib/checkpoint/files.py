"""State files of a checkpoint: write them, check them, load them."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from streamlib.checkpoint.layout import Layout, folder_number, state_file_name
from streamlib.checkpoint.manifest import Manifest, OperatorEntry, StateFile, damaged
from streamlib.core.contracts import Disk, Json, OperatorState, States
from streamlib.state.codec import decode_table, encode_table
from streamlib.state.key_groups import KEY_GROUP_COLUMN

_NO_TABLES: Mapping[str, StateFile] = {}


class StateWriter:
    """Writes the state of one checkpoint, below a folder that no other checkpoint uses."""

    def __init__(self, disk: Disk, layout: Layout, attempt: str, number: int, last: Manifest | None) -> None:
        self._disk = disk
        self._layout = layout
        self._attempt = attempt
        self._number = number
        self._last = last
        self._written = 0

    def write(self, states: States, versions: Mapping[str, Json]) -> dict[str, OperatorEntry]:
        """Make all tables durable. One that did not change since the last checkpoint is only named."""
        entries = {name: self._operator(name, state, versions[name]) for name, state in states.items()}
        if self._written:
            self._disk.sync_dir(self._folder)
        return entries

    @property
    def _folder(self) -> str:
        return self._layout.data_folder(self._attempt, self._number)

    def _operator(self, name: str, state: OperatorState, version: Json) -> OperatorEntry:
        tables = {table: self._table(name, table, rows) for table, rows in state.tables.items()}
        return OperatorEntry(version=version, values=state.values, tables=tables)

    def _table(self, operator: str, name: str, table: pa.Table) -> StateFile:
        data = encode_table(table)
        digest = hashlib.sha256(memoryview(data)).hexdigest()
        known = self._last_tables(operator).get(name)
        if known is not None and known.sha256 == digest and self._is_there(known):
            return known
        return StateFile(
            file=self._write(state_file_name(self._written, operator, name), data),
            length=data.size,
            sha256=digest,
            rows=table.num_rows,
            schema=str(table.schema.remove_metadata()),
            key_groups=_key_group_range(table),
        )

    def _last_tables(self, operator: str) -> Mapping[str, StateFile]:
        entry = self._last.operators.get(operator) if self._last else None
        return entry.tables if entry else _NO_TABLES

    def _is_there(self, file: StateFile) -> bool:
        return self._disk.size(self._layout.state_file(file.file)) == file.length

    def _write(self, name: str, data: pa.Buffer) -> str:
        if not self._written:
            self._disk.make_dirs(self._folder)
        self._written += 1
        file = self._disk.create(f"{self._folder}/{name}")
        try:
            file.write(data)
            file.sync()
        finally:
            file.close()
        return f"data/{self._attempt}/{folder_number(self._number)}/{name}"


def _key_group_range(table: pa.Table) -> tuple[int, int] | None:
    if KEY_GROUP_COLUMN not in table.column_names or not table.num_rows:
        return None
    ends: Any = pc.min_max(table.column(KEY_GROUP_COLUMN)).as_py()
    return ends["min"], ends["max"]


def state_files(manifest: Manifest) -> Iterator[StateFile]:
    """All state files that the manifest names."""
    for operator in manifest.operators.values():
        yield from operator.tables.values()


def check_sizes(disk: Disk, layout: Layout, manifest: Manifest) -> None:
    """Raise `CheckpointDamagedError` if a file is missing or has another length. Reads nothing."""
    for file in state_files(manifest):
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
            tables={table: _decode(contents, file) for table, file in operator.tables.items()},
            values=dict(operator.values),
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


def _decode(contents: Mapping[str, bytes], file: StateFile) -> pa.Table:
    return decode_table(contents[file.file], file.rows, file.file)
