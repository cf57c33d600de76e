"""What the runner hands over for a checkpoint, and the check that a manifest can hold it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import msgspec

from streamlib.core.contracts import Json, States
from streamlib.core.errors import InvariantError, TypeMismatchError, shown


@dataclass(frozen=True)
class Capture:
    """What a checkpoint holds, taken at one step boundary.

    JSON values must come back from JSON as they went in: str keys, lists instead of tuples, no NaN.

    Attributes:
        positions: by source and partition, where the next attempt reads on.
        watermarks: of every partition and operator, in any JSON shape the runner likes.
        operators: `Operator.snapshot()` by operator id.
        versions: `OperatorSpec.state_version()` by operator id; the same ids.
        prepared: by sink, what `prepare(number)` answered; None: nothing to commit.
        finished: whether the job ends with this checkpoint and can't be resumed.
    """

    positions: Mapping[str, Mapping[str, Json]]
    watermarks: Json
    operators: States = field(default_factory=dict)
    versions: Mapping[str, Json] = field(default_factory=dict)
    prepared: Mapping[str, Json] = field(default_factory=dict)
    finished: bool = False


def check_capture(capture: Capture) -> None:
    """Raise `TypeMismatchError` for a part that would come back from a manifest as something else."""
    if set(capture.versions) != set(capture.operators):
        raise InvariantError(f"states of {sorted(capture.operators)}, versions of {sorted(capture.versions)}")
    check_plain("the watermarks", capture.watermarks)
    for source, partitions in capture.positions.items():
        for partition, position in partitions.items():
            check_plain(f"the position in partition {partition!r} of source {source!r}", position)
    for operator, state in capture.operators.items():
        check_plain(f"the values in the state of operator {operator!r}", state.values)
        _check_counters(operator, state.counters)
        check_plain(f"the state version of operator {operator!r}", capture.versions[operator])
    for sink, value in capture.prepared.items():
        check_plain(f"what sink {sink!r} prepared", value)


def _check_counters(operator: str, counters: Mapping[str, int]) -> None:
    for name, count in counters.items():
        if type(count) is not int or abs(count) >= 2**63:
            raise TypeMismatchError(
                f"the counter {name!r} in the state of operator {operator!r} can't be kept in a checkpoint",
                expected="an int of at most 64 bits",
                found=shown(count),
                remedy="convert it with int(); other small values belong in `values`",
            )


def check_plain(what: str, value: Json) -> None:
    """Raise `TypeMismatchError` if `value` would come back from a manifest as something else.

    Such are tuples (lists come back), keys that are no strings, NaN (null), bytes, dates, numpy scalars.
    """
    try:
        plain = msgspec.json.decode(msgspec.json.encode(value)) == value
    except (TypeError, ValueError, OverflowError, RecursionError) as error:
        raise _not_plain(what, f"{shown(value)} ({error})") from error
    if not plain:
        raise _not_plain(what, shown(value))


def _not_plain(what: str, found: str) -> TypeMismatchError:
    return TypeMismatchError(
        f"{what} can't be kept in a checkpoint",
        expected="None, bool, int, finite float, str, and lists and str-keyed dicts of these",
        found=found,
        remedy="convert it, for example tuples to lists and keys to str; large values belong in state tables",
    )
