"""The laws of an aggregate, tried on rows of the flow: rows and states combine in any order and grouping."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa

from streamlib.core.batch import Column, as_arrow, concat_batches
from streamlib.core.errors import CheckError, shown
from streamlib.testing.compare import TOLERANCE, close, show_row
from streamlib.testing.recorded import Recorded
from streamlib.testing.trials import Rows, States, Trial

MOST_TRIES = 150  # to make an example smaller: each is a few calls of the user's functions
STATE_TOLERANCE = 1e-12  # of the largest in a column: sums of 500 floats in another order differ by less
SINGLE_TOLERANCE = 1e-4  # the same of 4-byte floats: 500 times their rounding, twice
SHOWN = 4  # rows of an example
TRIALS = 3  # with other groups, parts and orders


class Outcome(NamedTuple):
    """States that have to be equal, for the groups that some rows belong to, and the largest states."""

    expected: States
    found: States
    compared: Rows
    largest: States


@dataclass(frozen=True)
class Law:
    """What must be equal, what to say where it is not, and what the user can do about it."""

    run: Callable[[Trial, Rows], Outcome]
    broken: str
    expected: str
    found: str
    remedy: str
    any_order: bool = False
    retracts: bool = False


def _equal(trial: Trial, rows: Rows, expected: States, found: States) -> Outcome:
    return Outcome(expected, found, trial.groups(rows), expected)


def _into_fresh(trial: Trial, rows: Rows) -> Outcome:
    added = trial.added(rows)
    return _equal(trial, rows, added, trial.merged([added]))


def _with_nothing(trial: Trial, rows: Rows) -> Outcome:
    added, nothing = trial.added(rows), trial.added(rows[:0])
    return _equal(trial, rows, added, trial.merged([nothing, added, nothing]))


def _added_in_any_order(trial: Trial, rows: Rows) -> Outcome:
    return _equal(trial, rows, trial.added(rows), trial.added(trial.shuffled(rows)))


def _in_parts(trial: Trial, rows: Rows) -> Outcome:
    return _equal(trial, rows, trial.added(rows), trial.in_parts(rows))


def _in_a_tree(trial: Trial, rows: Rows) -> Outcome:
    return _equal(trial, rows, trial.added(rows), trial.in_a_tree(rows))


def _taken_back(trial: Trial, rows: Rows) -> Outcome:
    gone = trial.places.take(rows) % 2 == 0
    kept, added = rows[~gone], trial.added(rows)
    found = trial.merged([added, trial.added(trial.shuffled(rows[gone]), "retracting")])
    return Outcome(trial.added(kept), found, trial.groups(kept), added)


LAWS = (
    Law(
        _into_fresh,
        "`merge` changes a state that goes into what `create` gives",
        "the state that `add` made",
        "merged into a state without rows",
        "`create` has to give what changes nothing (0 for sums, -inf for maxima), `merge` to use all of it",
    ),
    Law(
        _with_nothing,
        "a state without rows changes what it is merged with",
        "the state that `add` made",
        "merged with what `create` gives, before and behind it",
        "`create` has to give what changes nothing, `merge` to put states together, not one over the others",
    ),
    Law(
        _added_in_any_order,
        "`add` depends on the order of rows",
        "the same result in any order",
        "in another order",
        "a group occurs many times in `codes`: use `np.add.at(column, codes, ...)`: `column[codes] += ...` "
        "takes one row of each group; break ties by values; or say so by `order_sensitive`",
        any_order=True,
    ),
    Law(
        _in_parts,
        "`add` and `merge` do not agree",
        "the same result, however rows are cut into parts",
        "added in parts that are merged",
        "a group occurs many times in `codes`: use `np.add.at(column, codes, ...)`: `column[codes] += ...` "
        "takes one row or state of each group, `column[codes] = ...` the last; use all of `other`",
    ),
    Law(
        _in_a_tree,
        "`merge` depends on the order of states",
        "the same result in any order and grouping",
        "added in parts that are merged in another order",
        "break ties by values, never by which state came first; or say so by `order_sensitive`",
        any_order=True,
    ),
    Law(
        _taken_back,
        "`retract` does not undo `add`",
        "the result without the rows that were taken back",
        "with rows added and taken back by `retract`",
        "change in `retract` all that `add` changed, the other way; its state may be below that of no rows",
        retracts=True,
    ),
)  # fmt: skip


def check_laws(recorded: Sequence[Recorded]) -> None:
    """Try all laws on the rows that the aggregates were given.

    Raises `CheckError` with a small example: names the aggregate, the law and the rows.
    """
    for one in recorded:
        if one.bound is None or not one.batches:
            continue
        batch, keys = concat_batches(one.batches), one.keys
        trials = [Trial.of(one.bound, batch, keys, np.random.default_rng(seed)) for seed in range(TRIALS)]
        for law in _laws_of(one):
            for trial in trials:
                _check(law, trial, one)


def _laws_of(one: Recorded) -> list[Law]:
    ordered, retracts = one.aggregate.order_sensitive is not None, hasattr(one.aggregate, "retract")
    return [law for law in LAWS if not (law.any_order and ordered) and (retracts or not law.retracts)]


def _check(law: Law, trial: Trial, one: Recorded) -> None:
    rows = np.arange(trial.batch.num_rows)
    try:
        broken = _broken(law, trial, rows)
    except Exception as error:
        error.add_note(f"while rows of the flow were {law.found}, to check the aggregate {one.aggregate!r}")
        raise
    if broken is None:
        return
    rows, (_, expected, found) = _smallest(law, trial, rows, broken)
    raise one.node.blame(
        CheckError(
            f"{trial.bound.name}={one.aggregate!r}: {law.broken}",
            expected=f"{law.expected}: {shown(expected)}",
            found=f"{shown(found)}, {law.found}; {_example(trial, rows, one)}",
            remedy=law.remedy,
        )
    )


Broken = tuple[int, Any, Any]


def _broken(law: Law, trial: Trial, rows: Rows) -> Broken | None:
    """The first group whose results differ, and these; None if there is none."""
    outcome = law.run(trial, rows)
    expected, found, largest = (
        _results(trial, s) for s in (outcome.expected, outcome.found, outcome.largest)
    )
    single = pa.types.is_float32(trial.bound.dtype)
    by = (SINGLE_TOLERANCE if single else TOLERANCE) * max(
        (abs(v) for v in (*expected, *found, *largest) if isinstance(v, float) and v - v == 0), default=0
    )
    for group in outcome.compared.tolist():
        if not close(expected[group], found[group], by) and not _states_close(outcome, group):
            return group, expected[group], found[group]
    return None


def _results(trial: Trial, states: States) -> list[Any]:
    found: list[Any] = as_arrow(trial.bound.finish(states), trial.bound.dtype).to_pylist()
    return found


def _states_close(outcome: Outcome, group: int) -> bool:
    """Whether states differ by rounding only: a result may be their small difference."""
    columns = zip(outcome.expected, outcome.found, outcome.largest, strict=True)
    return all(_column_close(*column, group) for column in columns)


def _column_close(expected: Column, found: Column, largest: Column, group: int) -> bool:
    one, other = expected[group], found[group]
    if isinstance(expected, np.ndarray) and expected.dtype.kind == "f":
        finite = np.abs(np.asarray(largest)[np.isfinite(largest)])
        tolerance = SINGLE_TOLERANCE if expected.dtype == np.float32 else STATE_TOLERANCE
        return close(float(one), float(other), tolerance * float(finite.max(initial=0)))
    return bool(one == other)


def _smallest(law: Law, trial: Trial, rows: Rows, broken: Broken) -> tuple[Rows, Broken]:
    """Fewer rows that break the law as well, and how: rows are left out in ever smaller pieces."""
    own = rows[trial.codes.take(rows) == broken[0]]
    best, left = (rows, broken), MOST_TRIES
    candidates = [own]
    size = len(own)
    while size and left:
        for fewer in candidates:
            left -= 1
            still = _broken(law, trial, fewer) if len(fewer) and left else None
            if still is not None:
                best = (fewer, still)
                break
        else:
            size //= 2
        size = min(size, len(best[0]) // 2) if len(best[0]) > 1 else 0
        kept = best[0]
        candidates = (
            [np.delete(kept, slice(at, at + size)) for at in range(0, len(kept), size)] if size else []
        )
    return best


def _example(trial: Trial, rows: Rows, one: Recorded) -> str:
    columns = trial.batch.take(rows[:SHOWN]).to_arrow()
    reads = one.aggregate.reads()
    names = [name for name in columns.schema.names if reads is None or name in reads]
    listed = ", ".join(show_row(row) for row in columns.select(names).to_pylist())
    count = "1 row" if len(rows) == 1 else f"{len(rows)} rows"
    return f"{count} of one group: {listed}{', …' if len(rows) > SHOWN else ''}"
