"""Factories of operators that let some rows pass: sample, distinct, throttle."""

from __future__ import annotations

from streamlib.core.errors import DefinitionError, shown
from streamlib.core.time import Duration, duration
from streamlib.core.where import caller
from streamlib.operators.factories.common import Transform, column_names, then
from streamlib.operators.limiting import Distinct, Throttle
from streamlib.operators.sampling import Sample
from streamlib.plan.stream import checked_name


def sample(fraction: float, *, by: str | tuple[str, ...] = (), seed: int = 0) -> Transform:
    """About this fraction of the rows, chosen by a hash of what is in them.

    The same rows are chosen in every run, however rows come and however many workers there are. Rows
    that are equal, event time included, are chosen together or not at all. With `by`, all rows with the same
    values there stay together: `sample(0.1, by="user")` keeps a tenth of the users.

    Args:
        fraction: from 0 (none) to 1 (all).
        by: the columns that are hashed; without, all that can be a key, and the event time.
        seed: another one chooses other rows.

    Raises:
        DefinitionError: a fraction beyond 0 to 1; when the flow is bound, no column to choose by.

    >>> import streamlib as sl
    >>> from streamlib.connectors import memory
    >>> clicks = sl.read(memory.source([{"n": n} for n in range(1000)]), name="clicks")
    >>> clicks.sample(0.1).collect().num_rows
    112
    """
    number = isinstance(fraction, int | float) and not isinstance(fraction, bool)
    if not number or not 0 <= fraction <= 1:
        raise DefinitionError(
            "a sample is a fraction of the rows", expected="a number from 0 to 1", found=shown(fraction)
        ).at("sample", caller())
    if not isinstance(seed, int) or not -(2**63) <= seed < 2**63:
        raise DefinitionError("not a seed", expected="a whole number of 64 bits", found=shown(seed)).at(
            "sample", caller()
        )
    columns = (by,) if isinstance(by, str) else tuple(by)
    return then(Sample(float(fraction), column_names("sample", columns) if columns else (), seed))


def distinct(*columns: str, within: Duration, name: str | None = None) -> Transform:
    """Of rows with the same values in `columns` the first to arrive; another one when `within` has passed.

    A row goes if a row with the same values was kept whose event time is less than `within` before or after
    its own. On a keyed stream values count key by key, and workers share the keys.

    State is a number for each row that was kept less than about twice `within` behind the watermark: it is
    bounded by how far rows run ahead of the watermark. A source without an end has one that moves. In a
    backfill it moves with the statistics of Parquet files; over CSV at the end alone, and until
    then every row that was kept counts.

    Two more outputs hold the rest: `.output("repeated")` the rows that were dropped, and
    `.output("late")` those that can't be judged any more, at least `within` behind the watermark (and at
    most twice that); they are counted as late rows.

    Args:
        columns: one or more.
        within: of event time, above 0.
        name: names the state in checkpoints.

    Raises:
        UnknownColumnError, EventTimeError, TypeMismatchError: when the flow is bound: no such column, no
            event time, a column that can't be a key, or a changelog.

    >>> import streamlib as sl
    >>> from streamlib.connectors import memory
    >>> rows = [{"at": at, "id": id} for at, id in [(1, "a"), (2, "b"), (3, "a"), (90_000_000, "a")]]
    >>> orders = sl.read(memory.source(rows), name="orders", event_time="at", watermark=sl.monotone())
    >>> orders.distinct("id", within="1min").collect()["id"].to_pylist()
    ['a', 'b', 'a']
    """
    spec = Distinct(_interval("distinct", within), column_names("distinct", columns))
    return then(spec, name=None if name is None else checked_name(name, "operator"))


def throttle(most: int, *, per: Duration, name: str | None = None) -> Transform:
    """At most so many rows of each key in every interval of event time, the first to arrive.

    Intervals are those of a tumbling window: `per="1min"` counts anew every full minute. Without `key_by`
    all rows count together. Nothing waits and nothing is slowed down; the rows beyond are the output
    `.output("over")`. Rows whose interval the watermark has passed are in `.output("late")`, and counted as
    late rows. State is a count for each key and interval that the watermark has not passed, with the same
    bound as that of `distinct`.

    Args:
        most: from 1 on.
        per: of event time, above 0.
        name: names the state in checkpoints.

    Raises:
        EventTimeError, TypeMismatchError: when the flow is bound: no event time, or a changelog.

    >>> import streamlib as sl
    >>> from streamlib.connectors import memory
    >>> rows = [{"at": n * 10_000_000, "user": "ab"[n % 2]} for n in range(12)]
    >>> clicks = sl.read(memory.source(rows), name="clicks", event_time="at", watermark=sl.monotone())
    >>> clicks.key_by("user").throttle(1, per="1min").collect().num_rows
    4
    """
    if not isinstance(most, int) or isinstance(most, bool) or most < 1:
        raise DefinitionError(
            "`throttle` takes a number of rows", expected="a whole number from 1 on", found=shown(most)
        ).at("throttle", caller())
    spec = Throttle(_interval("throttle", per), most)
    return then(spec, name=None if name is None else checked_name(name, "operator"))


def _interval(operator: str, given: Duration) -> int:
    found = duration(given)
    if found <= 0:
        raise DefinitionError(
            f"`{operator}` looks at a stretch of time", expected="a duration above 0", found=shown(given)
        ).at(operator, caller())
    return found
