"""What happened to a row of a changelog: inserted, updated (before, after), deleted.

A changelog describes a table that changes. An update is two rows, the old one and the new one, and
the new one follows the old one directly: operators that look at one row at a time rely on it.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pyarrow as pa

Changes = npt.NDArray[np.int8]
"""The kind of change of each row: `INSERT`, `BEFORE`, `AFTER`, `DELETE`."""

INSERT, BEFORE, AFTER, DELETE = range(4)
SYMBOLS = ("+I", "-U", "+U", "-D")
"""How each kind is written, by its number."""

CHANGE_COLUMN = "__change__"
"""The last column (int8) of the rows that a sink gets of a changelog: the numbers above."""


@dataclass(frozen=True)
class Changelog:
    """Of a stream whose rows are changes: what names a row of the table that they describe.

    Attributes:
        identity: the columns whose values no two rows of the table share at any time; empty where
            the table has at most one row. None where such columns are not known (dropped, replaced,
            or a union): then a row can be taken back by its values, but not be found by a key.
    """

    identity: tuple[str, ...] | None

    def describe(self) -> str:
        """As `explain` shows it.

        >>> Changelog(("key", "window_end")).describe()
        'changelog of (key, window_end)'
        """
        if self.identity is None:
            return "changelog without identity"
        return f"changelog of ({', '.join(self.identity)})"


def adds(changes: Changes) -> npt.NDArray[np.bool_]:
    """Which rows enter the table (insert, update after); the others leave it."""
    return (changes & 1) == 0


def split_changes(rows: pa.RecordBatch) -> tuple[pa.RecordBatch, Changes]:
    """What a sink gets of a changelog: the rows without the last column `__change__`, and that column."""
    last = rows.num_columns - 1
    return rows.select(list(range(last))), rows.column(last).to_numpy()


def symbols(changes: Changes) -> pa.Array:
    """The kinds as text: +I, -U, +U, -D.

    >>> symbols(np.array([0, 3], np.int8)).to_pylist()
    ['+I', '-D']
    """
    return pa.array(SYMBOLS).take(pa.array(changes))


def kept(changes: Changes, rows: npt.NDArray[np.intp]) -> Changes:
    """The changes of the rows at the rising indices `rows`, when all others are dropped.

    Of an update whose new row is dropped a deletion is left, of one whose old row is, an insertion.

    >>> kept(np.array([0, 1, 2, 1, 2], np.int8), np.array([0, 1, 4])).tolist()
    [0, 3, 0]
    """
    found = changes.take(rows)
    if not len(found):
        return found
    pair = (found[:-1] == BEFORE) & (found[1:] == AFTER) & (rows[1:] == rows[:-1] + 1)
    old, new = found == BEFORE, found == AFTER
    old[:-1] &= ~pair
    new[1:] &= ~pair
    found[old] = DELETE
    found[new] = INSERT
    return found
