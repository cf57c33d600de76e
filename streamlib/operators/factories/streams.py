"""Factories of operators on streams as a whole: keys, changes, several inputs."""

from __future__ import annotations

from typing import Literal

from streamlib.core.errors import DefinitionError, TypeMismatchError, shown
from streamlib.core.where import caller
from streamlib.operators.changelogs import ToChangelog
from streamlib.operators.factories.common import Transform, then
from streamlib.operators.stateless import KeyBy, Union
from streamlib.plan.stream import Handle


def key_by(*columns: str) -> Transform:
    """Key the stream by the values of columns. Nulls are a key of their own."""
    if not columns or not all(isinstance(c, str) for c in columns) or len(set(columns)) < len(columns):
        raise DefinitionError(
            "a stream is keyed by columns",
            expected="one or more different column names",
            found=shown(columns),
            remedy="compute an expression with `with_columns` first, then name it",
        ).at("key_by", caller())
    return then(KeyBy(columns))


def to_changelog(encoding: Literal["retract", "upsert"] = "retract", column: str = "op") -> Transform:
    """The changes of a changelog as rows that are only appended, for sinks and tools that know no changes.

    Args:
        encoding: `retract` keeps all changes: +I inserted, -U the row before an update and +U after
            it, -D deleted. `upsert` leaves -U out: a row replaces the one with the same identity.
        column: name of the string column, the last, with the kind of change.

    >>> import streamlib as sl
    >>> from streamlib.connectors import memory
    >>> sales = sl.read(memory.source([{"n": 2}, {"n": 3}], chunk_rows=1), name="sales")
    >>> len(sales.aggregate(sold=sl.sum("n")).to_changelog().collect()) > 0
    True
    """
    if encoding not in ("retract", "upsert") or not isinstance(column, str) or not column:
        raise DefinitionError(
            "not a way to write changes",
            expected='encoding="retract" or encoding="upsert", and the name of a column',
            found=f"encoding={encoding!r}, column={column!r}",
        ).at("to_changelog", caller())
    return then(ToChangelog(encoding == "upsert", column))


def union(*others: Handle) -> Transform:
    """The rows of the stream and of `others`, which have the same columns."""
    for other in others:
        if not isinstance(other, Handle):
            raise TypeMismatchError(
                "only streams can be united",
                expected="streams",
                found=shown(other),
                remedy="give the streams one by one: `a.union(b, c)`",
            ).at("union", caller())
    return then(Union(), *others)
