"""One state from those of several workers, and the parts of it for any other number of workers."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from streamlib.core.contracts import OperatorState, States
from streamlib.core.errors import InvariantError, shown
from streamlib.core.segment import Segment
from streamlib.state.key_groups import KEY_GROUP_COLUMN, owners


def merged_states(parts: Sequence[States]) -> dict[str, OperatorState]:
    """By operator, the state of all workers together: their segments, and their counters added up."""
    ids = dict.fromkeys(id for part in parts for id in part)
    return {id: _merged(id, [part[id] for part in parts if id in part]) for id in ids}


def _merged(operator: str, parts: Sequence[OperatorState]) -> OperatorState:
    values = parts[0].values
    if any(part.values != values for part in parts):
        raise InvariantError(
            f"the workers disagree about the state of operator {operator!r}",
            expected="snapshots whose `values` are equal on all workers: each has some of the keys",
            found=", ".join(shown(part.values) for part in parts),
            remedy="keep what is added up in `counters`, and what belongs to keys in a table with the column "
            "`__key_group`; an operator whose rows of different keys meet is not `keyed`",
        )
    names = dict.fromkeys(name for part in parts for name in part.tables)
    tables: dict[str, Sequence[Segment]] = {
        name: [segment for part in parts for segment in part.tables.get(name, ())] for name in names
    }
    counters = {name: sum(part.counters[name] for part in parts) for name in parts[0].counters}
    return OperatorState(tables, values, counters)


def split_states(states: States, workers: int) -> list[dict[str, OperatorState]]:
    """By worker, the state that it owns: the rows of its key groups; the first one has the counters."""
    owner = owners(workers)
    parts = {id: _parts(state, owner, workers) for id, state in states.items()}
    return [{id: found[worker] for id, found in parts.items()} for worker in range(workers)]


def _parts(state: OperatorState, owner: npt.NDArray[np.intp], workers: int) -> list[OperatorState]:
    tables = {name: _by_owner(state.table(name), owner, workers) for name in state.tables}
    nothing = dict.fromkeys(state.counters, 0)
    return [
        OperatorState(
            {name: parts[worker] for name, parts in tables.items()},
            state.values,
            nothing if worker else state.counters,
        )
        for worker in range(workers)
    ]


def _by_owner(table: pa.Table | None, owner: npt.NDArray[np.intp], workers: int) -> list[list[Segment]]:
    """The rows by worker; a table without key groups is that of an operator on the first worker."""
    if table is None:
        return [[]] * workers
    if KEY_GROUP_COLUMN not in table.schema.names:
        return [[Segment.of(table)], *[[]] * (workers - 1)]
    of_row = owner.take(table.column(KEY_GROUP_COLUMN).to_numpy())
    rows = [np.flatnonzero(of_row == worker) for worker in range(workers)]
    return [[Segment.of(table.take(owned))] if len(owned) else [] for owned in rows]
