"""Where the demo keeps its files: one folder, which it only ever empties of what it made itself."""

from __future__ import annotations

import shutil
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

import streamlib as sl

DEFAULT_FOLDER = ".demo"
_MARK = "made-by-the-flights-demo"


class Places:
    """The folders and files below the one that the user named."""

    sinks = ("hourly", "hourly_late", "sliding", "sliding_missed")

    def __init__(self, root: str | Path) -> None:
        self.root = Path(root)
        self.departures = self.root / "departures"
        self.cancelled = self.root / "cancelled.parquet"
        self.stream = self.root / "stream"
        self.batch = self.root / "batch"
        self.crash = self.root / "crash"
        self.state = self.root / "state"

    def prepare(self) -> None:
        """Make the folder, or empty it of an earlier demo; refuse one with other things in it."""
        mark = self.root / _MARK
        try:
            self.root.mkdir(parents=True, exist_ok=True)
            if not mark.exists() and any(self.root.iterdir()):
                raise sl.StreamlibError(
                    f"{str(self.root)!r} holds files that are not the demo's",
                    expected="a new or empty folder, or one that an earlier demo made",
                    found=f"{min(path.name for path in self.root.iterdir())!r} and no file {_MARK!r}",
                    remedy="name another folder: --out FOLDER",
                )
            mark.touch()
            for folder in (self.departures, self.stream, self.batch, self.crash, self.state):
                if folder.exists():
                    shutil.rmtree(folder)
            self.departures.mkdir()
        except OSError as error:
            raise sl.StreamlibError(
                f"the demo can't write to {str(self.root)!r}",
                expected="a folder that this user can create and write",
                found=f"{error.strerror} ({error.filename})",
                remedy="name another folder: --out FOLDER",
            ) from error

    def table(self, run: str, sink: str) -> pa.Table:
        """All rows that a run published to a sink; a sink without rows has no files, and no columns."""
        return pq.read_table(self.root / run / sink)
