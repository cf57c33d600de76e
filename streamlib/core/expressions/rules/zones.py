"""Rules of time zones: moments shown elsewhere, local times that become moments."""

from __future__ import annotations

from functools import partial
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from streamlib.core.errors import EventTimeError, StreamlibError, shown
from streamlib.core.expressions.ast import Expr
from streamlib.core.expressions.failures import first_failing_row, python_value
from streamlib.core.expressions.mismatch import unsupported
from streamlib.core.expressions.nodes import FromTicks, Ticks
from streamlib.core.expressions.rules.compute import OnArrow
from streamlib.core.expressions.rules.rule import TIMESTAMP, Given, Rule
from streamlib.core.expressions.values import Node


def _bind_convert(given: Given) -> Node:
    dtype = given.first.dtype
    if dtype.tz is None:
        raise unsupported(
            given.expr,
            "a moment with a time zone",
            (given.expr.operands[0], dtype),
            remedy='say which zone its local times are of: .dt.replace_time_zone("UTC")',
        )
    return FromTicks(Ticks(given.first), pa.timestamp(dtype.unit, given.options["time_zone"]))


def _bind_replace(given: Given) -> Node:
    dtype, zone = given.first.dtype, given.options["time_zone"]
    function = partial(
        replaced,
        zone=zone,
        ambiguous=given.options["ambiguous"],
        non_existent=given.options["non_existent"],
        expr=given.expr,
    )
    return OnArrow(function, [given.first], pa.timestamp(dtype.unit, zone))


def replaced(moments: pa.Array, zone: str | None, ambiguous: str, non_existent: str, expr: Expr) -> pa.Array:
    """The same local times in another zone, or in none."""
    local = moments if moments.type.tz is None else pc.local_timestamp(moments)
    if zone is None:
        return local
    options = {"ambiguous": ambiguous, "nonexistent": non_existent}
    firm = {name: "earliest" if value == "null" else value for name, value in options.items()}
    try:
        zoned = pc.assume_timezone(local, zone, **firm)
    except pa.ArrowInvalid as problem:
        raise _undecided(local, zone, firm, expr, problem) from None
    for name in (name for name, value in options.items() if value == "null"):
        other = pc.assume_timezone(local, zone, **{**firm, name: "latest"})
        zoned = pc.if_else(pc.equal(zoned, other), zoned, pa.scalar(None, zoned.type))
    return zoned


def _undecided(
    local: pa.Array, zone: str, options: dict[str, Any], expr: Expr, problem: Exception
) -> StreamlibError:
    row = first_failing_row(
        lambda start, stop: pc.assume_timezone(local.slice(start, stop - start), zone, **options), len(local)
    )
    twice = "ambiguous" in str(problem)
    return EventTimeError(
        f"{shown(expr)}: a local time that {zone} {'has twice' if twice else 'does not have'}",
        expected="local times that are one moment",
        found=f"{python_value(local[row])} in row {row} of the batch",
        remedy=f'decide with {"ambiguous" if twice else "non_existent"}="earliest", "latest" or "null"',
    )


RULES: dict[str, Rule] = {
    "convert_time_zone": Rule(
        (TIMESTAMP,),
        _bind_convert,
        "none: the type changes",
        differs="naive moments are refused, not taken as UTC",
    ),
    "replace_time_zone": Rule(
        (TIMESTAMP,),
        _bind_replace,
        "Arrow `assume_timezone`, `local_timestamp`",
        differs='`non_existent` knows "earliest" and "latest" too; `ambiguous` is one for all rows',
    ),
}
