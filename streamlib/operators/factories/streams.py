"""Factories of operators on streams as a whole: keys, changes, several inputs."""

from __future__ import annotations

from typing import Literal

from streamlib.core.errors import DefinitionError, TypeMismatchError, shown
from streamlib.core.where import caller
from streamlib.operators.changelogs import ToChangelog
from streamlib.operators.factories.common import Transform, column_names, then
from streamlib.operators.ordering import InEventTimeOrder
from streamlib.operators.stateless import KeyBy, Union, Unkey
from streamlib.plan.stream import Handle, checked_name


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


def unkey() -> Transform:
    """The stream without its keys, so that what follows works over all rows; columns stay as they are.

    >>> import streamlib as sl
    >>> from streamlib.connectors import memory
    >>> rows = [{"item": "pen", "price": 3}, {"item": "cup", "price": 9}, {"item": "pen", "price": 5}]
    >>> sales = sl.read(memory.source(rows), name="sales").key_by("item")
    >>> per_item = sales.aggregate(sold=sl.sum("price"))
    >>> per_item.unkey().aggregate(items=sl.count(), most=sl.max("sold")).collect().to_pylist()
    [{'items': 2, 'most': 9}]
    """
    return then(Unkey())


def in_event_time_order(*by: str, name: str | None = None) -> Transform:
    """The rows in the order of their event times: each waits until the watermark has passed it.

    Operators whose result depends on the order of arrival (`stateful_map`, `fold`, `reduce`, `distinct`,
    `throttle`) give the same behind it, however rows arrive within the bound of disorder. All rows pass
    one worker. State holds the rows that wait: those of the bound of disorder, and in a batch those
    after the least event time that is still to come.

    Rows behind the watermark when they arrive can't be put in order: they go to `.output("late")`, and are
    counted as late rows.

    Args:
        by: columns that order the rows of one instant. Without, and where these are equal as well, the
            order of arrival stays, which within a partition is its own order.
        name: names the state in checkpoints.

    Raises:
        UnknownColumnError, TypeMismatchError: when the flow is bound, for `by`, or for a changelog.
        EventTimeError: when the flow is bound, for a stream without event time.

    >>> import streamlib as sl
    >>> from streamlib.connectors import memory
    >>> rows = [{"at": 3, "n": 1}, {"at": 1, "n": 2}, {"at": 2, "n": 3}]
    >>> stream = sl.read(memory.source(rows), name="rows", event_time="at", watermark=sl.bounded_disorder(2))
    >>> stream.in_event_time_order().collect()["n"].to_pylist()
    [2, 3, 1]
    """
    columns = column_names("in_event_time_order", by) if by else ()
    return then(InEventTimeOrder(columns), name=None if name is None else checked_name(name, "operator"))


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
