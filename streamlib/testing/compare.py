"""Whether two tables hold the same rows, in any order, floats as close as sums can be."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import pyarrow as pa

TOLERANCE = 1e-9  # of the largest value of a column: what the order of additions may change
SHOWN = 5  # rows of a difference


def difference(expected: pa.Table, found: pa.Table) -> str | None:
    """The first rows that differ, as text; None if there are none. Reads every row: for small tables.

    >>> print(difference(pa.table({"n": [1, 2]}), pa.table({"n": [2, 3]})))
    expected only: {'n': 1}
    found only:    {'n': 3}
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
    lines = [f"expected only: {row}" for row in missing[:SHOWN]]
    lines += [f"found only:    {row}" for row in surplus[:SHOWN]]
    more = len(missing) + len(surplus) - len(lines)
    return "\n".join([*lines, f"and {more} rows more"] if more else lines) or None


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
    return all(_close(one[name], other[name], scales.get(name, 0.0) * TOLERANCE) for name in one)


def _close(one: Any, other: Any, by: float) -> bool:
    if isinstance(one, float) and isinstance(other, float):
        return one == other or (math.isnan(one) and math.isnan(other)) or abs(one - other) <= by
    if isinstance(one, list) and isinstance(other, list):
        largest = max((abs(v) for v in (*one, *other) if isinstance(v, float)), default=0.0)
        inside = max(by, largest * TOLERANCE)
        return len(one) == len(other) and all(_close(a, b, inside) for a, b in zip(one, other, strict=True))
    return bool(one == other)
