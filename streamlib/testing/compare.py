"""Whether two tables hold the same rows, in any order, floats as close as sums can be."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

import pyarrow as pa

from streamlib.core.errors import shown

TOLERANCE = 1e-9  # of the largest value of a column: what the order of additions may change
SHOWN = 5  # rows of a difference
LIKELY = 1_000  # rows among which the one most like a missing row is looked for

Row = Mapping[str, Any]


def difference(expected: pa.Table, found: pa.Table) -> str | None:
    """What differs first, and the first rows that differ, as text; None if none do. For small tables.

    >>> print(difference(pa.table({"k": ["a", "b"], "n": [1, 2]}), pa.table({"k": ["b", "a"], "n": [2, 3]})))
    first: column 'n' is 3 instead of 1 in the row (k='a')
    expected only: (k='a', n=1)
    found only:    (k='a', n=3)
    """
    if expected.schema.names != found.schema.names:
        return f"expected columns {expected.schema.names}\nfound columns    {found.schema.names}"
    one, other = _sorted(expected), _sorted(found)
    scale = _scales([*one, *other])
    at_one = at_other = 0
    missing, surplus = [], []
    while at_one < len(one) and at_other < len(other):
        if _same(one[at_one], other[at_other], scale):
            at_one, at_other = at_one + 1, at_other + 1
        elif _order(one[at_one]) <= _order(other[at_other]):
            missing.append(one[at_one])
            at_one += 1
        else:
            surplus.append(other[at_other])
            at_other += 1
    missing += one[at_one:]
    surplus += other[at_other:]
    if not missing and not surplus:
        return None
    lines = [f"expected only: {show_row(row)}" for row in missing[:SHOWN]]
    lines += [f"found only:    {show_row(row)}" for row in surplus[:SHOWN]]
    more = len(missing) + len(surplus) - len(lines)
    first = _first(missing, surplus, scale)
    return "\n".join([f"first: {first}", *lines, *([f"and {more} rows more"] if more else [])])


def _first(missing: Sequence[Row], surplus: Sequence[Row], scale: Mapping[str, float]) -> str:
    """The first row, beside that which is most like it: in which columns they differ."""
    if not missing or not surplus:
        kind, rows = ("missing", missing) if missing else ("too many", surplus)
        return f"{len(rows)} row{'s' if len(rows) > 1 else ''} {kind}, as {show_row(rows[0])}"
    one = missing[0]
    differ = min(
        ((_differing(one, other, scale), i) for i, other in enumerate(surplus[:LIKELY])),
        key=lambda found: len(found[0]),
    )
    columns, other = differ[0], surplus[differ[1]]
    if len(columns) == len(one):
        return f"no row {show_row(one)}"
    said = ", ".join(f"column {n!r} is {show(other[n])} instead of {show(one[n])}" for n in columns)
    return f"{said} in the row {show_row({n: v for n, v in one.items() if n not in columns})}"


def _differing(one: Row, other: Row, scale: Mapping[str, float]) -> list[str]:
    return [name for name in one if not close(one[name], other[name], scale.get(name, 0.0) * TOLERANCE)]


def show_row(row: Row) -> str:
    """A row on one line.

    >>> show_row({"at": datetime(2026, 1, 1), "n": 1})
    '(at=2026-01-01T00:00:00, n=1)'
    """
    return f"({', '.join(f'{name}={show(value)}' for name, value in row.items())})"


def show(value: Any) -> str:
    """A value, short: an instant as ISO 8601 has it."""
    return value.isoformat() if isinstance(value, datetime) else shown(value)


def _sorted(table: pa.Table) -> list[dict[str, Any]]:
    return sorted(table.to_pylist(), key=_order)


def _order(row: Mapping[str, Any]) -> tuple[str, str]:
    """Exact values first: floats that differ in their last bits must not change the order."""
    exact = [repr(v) for v in row.values() if not isinstance(v, float)]
    return repr(exact), repr([f"{v:.6g}" for v in row.values() if isinstance(v, float)])


def _scales(rows: list[dict[str, Any]]) -> dict[str, float]:
    scales: dict[str, float] = {}
    for row in rows:
        for name, value in row.items():
            if isinstance(value, float) and math.isfinite(value):
                scales[name] = max(scales.get(name, 0.0), abs(value))
    return scales


def _same(one: Mapping[str, Any], other: Mapping[str, Any], scales: Mapping[str, float]) -> bool:
    return all(close(one[name], other[name], scales.get(name, 0.0) * TOLERANCE) for name in one)


def close(one: Any, other: Any, by: float) -> bool:
    """Whether two values are equal, floats in them within `by`; NaN is NaN."""
    if isinstance(one, float) and isinstance(other, float):
        return one == other or (math.isnan(one) and math.isnan(other)) or abs(one - other) <= by
    if isinstance(one, list) and isinstance(other, list):
        largest = max((abs(v) for v in (*one, *other) if isinstance(v, float)), default=0.0)
        inside = max(by, largest * TOLERANCE)
        return len(one) == len(other) and all(close(a, b, inside) for a, b in zip(one, other, strict=True))
    return bool(one == other)
