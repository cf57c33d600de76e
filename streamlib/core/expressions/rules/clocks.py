"""Ticks: how many there are to a day, local times and back, and moments rounded down."""

from __future__ import annotations

from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from streamlib.core.expressions.types import Family, family
from streamlib.core.expressions.values import Value, Vector, raw_vector, to_arrow

PER_SECOND = {"s": 1, "ms": 1_000, "us": 1_000_000, "ns": 1_000_000_000}
_UTC = frozenset({"UTC", "Etc/UTC", "Z", "+00:00"})


def ticks_a_second(dtype: pa.DataType) -> int:
    """How many ticks of a temporal type with a unit there are to a second."""
    return PER_SECOND[dtype.unit]


def ticks_a_day(dtype: pa.DataType) -> int:
    """How many ticks there are to a day; a date's tick is the day itself."""
    return 1 if family(dtype) is Family.DATE else 86_400 * ticks_a_second(dtype)


def has_zone(dtype: pa.DataType) -> bool:
    """Whether local time differs from what is stored."""
    return family(dtype) is Family.TIMESTAMP and dtype.tz is not None and dtype.tz not in _UTC


def stored_ticks(value: Value, dtype: pa.DataType) -> Vector:
    """What is stored, as int64, also under the nulls."""
    if family(dtype) is Family.DATE and not isinstance(value, np.ndarray):
        value = to_arrow(value, dtype).cast(pa.date32())
    return raw_vector(value).astype(np.int64, copy=False)


def local_ticks(value: Value, dtype: pa.DataType) -> Vector:
    """Ticks of the local time since 1970, as int64; under nulls anything."""
    if has_zone(dtype):
        return raw_vector(pc.local_timestamp(to_arrow(value, dtype)))
    return stored_ticks(value, dtype)


def moments_at(local: Vector, missing: Vector, dtype: pa.DataType, like: Vector) -> Vector:
    """The moments of `dtype`, a zone's, with these local times: each with the offset that `like` has there.

    A local time that the clock skips is the moment at which it goes on.
    """
    if not has_zone(dtype):
        return local
    before = local_ticks(pa.array(like).view(dtype), dtype)
    candidate = like - (before - local)
    agrees = local_ticks(pa.array(candidate).view(dtype), dtype) == local
    if agrees[~missing].all():
        return candidate
    return np.where(agrees, candidate, assumed(local, dtype, "earliest", "latest"))


def assumed(local: Vector, dtype: pa.DataType, ambiguous: str, non_existent: str) -> Vector:
    """The moments of local times, by the rules of Arrow's `assume_timezone`."""
    naive = pa.array(local).view(pa.timestamp(dtype.unit))
    zoned: Any = pc.assume_timezone(naive, dtype.tz, ambiguous=ambiguous, nonexistent=non_existent)
    return raw_vector(zoned)
