"""Which streams a sink takes: the check that a changelog does not end where rows are only appended."""

from __future__ import annotations

from streamlib.core.contracts import Sink, StreamType, TakesChanges
from streamlib.core.errors import ChangelogError

_REMEDIES = (
    "show each window once: `.window(...).final_only().aggregate(...)`, "
    "write the changes as rows with `.to_changelog()`, "
    "or use a sink that takes changes (memory.table_sink, parquet.snapshot_sink, console.sink)"
)


def check_changes(sink: Sink, stream: StreamType) -> None:
    """Raise `ChangelogError` where the sink can't take the stream."""
    takes = sink.takes if isinstance(sink, TakesChanges) else None
    if stream.changes is None:
        if takes == "upsert":
            raise ChangelogError(
                "this sink keeps a table that changes, and the stream only appends rows",
                expected="a changelog: an aggregate without a window, or a window with allowed lateness",
                found="an append-only stream",
                remedy="use memory.sink or parquet.sink, which append",
            )
    elif takes is None:
        raise ChangelogError(
            "this sink only appends rows, and the stream updates and deletes some",
            expected="an append-only stream",
            found=f"a {stream.changes.describe()}",
            remedy=_REMEDIES,
        )
    elif takes == "upsert" and stream.changes.identity is None:
        raise ChangelogError(
            "this sink finds a row by its identity, and the stream has none",
            expected="a changelog with identity, as it comes out of an aggregate",
            found="a changelog whose identity was lost: by a union, or a column dropped or replaced",
            remedy="keep the columns that name a row, or write the changes as rows with `.to_changelog()`",
        )
