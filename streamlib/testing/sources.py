"""A source whose partitions follow a script: rows, pauses and failures, in the order a test wants them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TypeAlias

import numpy as np
import pyarrow as pa

from streamlib.connectors.positions import event_times, suffix_minima
from streamlib.connectors.records import Record, as_table
from streamlib.connectors.schemas import conform, plain
from streamlib.core.batch import schema_of
from streamlib.core.contracts import Broken, Chunk, Json, Pause, Replay
from streamlib.core.errors import DefinitionError, SourceError, shown
from streamlib.core.time import MAX_TIME


@dataclass(frozen=True)
class RowsStep:
    """One chunk of rows."""

    data: pa.RecordBatch | Sequence[Record]

    def __hash__(self) -> int:  # batches can't be hashed; equal ones have as many rows
        return hash(len(self.data))


@dataclass(frozen=True)
class PauseStep:
    """One answer that there is nothing yet."""


@dataclass(frozen=True)
class FailStep:
    """A failure, once per reader that comes to it, in the first `attempts` readers (None: in all)."""

    error: BaseException = field(compare=False)  # exceptions have no equality; their text has
    attempts: int | None
    text: str
    _seen: list[None] = field(default_factory=list, repr=False, compare=False)

    def happen(self) -> None:
        """Raise, unless enough attempts have seen it."""
        if self.attempts is None or len(self._seen) < self.attempts:
            self._seen.append(None)
            raise self.error


@dataclass(frozen=True)
class BrokenStep:
    """One record that can't be read."""

    data: bytes
    reason: str


_NOTHING = pa.record_batch({})

Step: TypeAlias = RowsStep | PauseStep | FailStep | BrokenStep


def rows(data: pa.RecordBatch | Sequence[Record]) -> RowsStep:
    """A step: these rows, at least one, come as one chunk."""
    return RowsStep(data)


def pause() -> PauseStep:
    """A step: one read finds nothing (`NOT_YET`)."""
    return PauseStep()


def fail(error: BaseException, attempts: int | None = None) -> FailStep:
    """A step: one read raises `error`; the next read of the same reader goes on behind it.

    Args:
        error: what to raise, as it is.
        attempts: how many readers run into it; later ones pass. None: every reader, so that a flow
            which restarts before this step fails again. The count is kept in the description.
    """
    return FailStep(error, attempts, repr(error))


def broken(data: bytes, reason: str = "a broken record") -> BrokenStep:
    """A step: one record that can't be read, for `sl.read(..., on_error=)`.

    Args:
        data: its bytes.
        reason: the message of its error.
    """
    return BrokenStep(data, reason)


@dataclass(frozen=True)
class ScriptedSource:
    """Partitions that follow a script. Made by `scripted`; equal where scripts and settings are."""

    script: tuple[tuple[str, tuple[Step, ...]], ...]
    columns: pa.Schema
    replay: Replay
    bounded: bool

    def schema(self) -> pa.Schema:
        return self.columns

    def partitions(self) -> Sequence[str]:
        return [name for name, _ in self.script]

    def open(self, partition: str, position: Json | None, event_time: str | None) -> ScriptedReader:
        steps = dict(self.script).get(partition)
        if steps is None:
            raise SourceError(
                f"no partition {partition!r} in the script",
                expected=f"one of {', '.join(self.partitions())}",
                found=repr(partition),
                remedy="script the partition, if only with []",
            )
        # Nobody knows what an unbounded source still brings, so it gives no floors.
        floors = _floors(steps, event_time) if event_time is not None and self.bounded else None
        return ScriptedReader(partition, steps, _start(position, steps, partition), floors, self.bounded)


class ScriptedReader:
    """Walks through the steps of one partition."""

    def __init__(
        self,
        partition: str,
        steps: Sequence[Step],
        start: tuple[int, int],
        floors: Sequence[int] | None,
        bounded: bool,
    ) -> None:
        self._partition = partition
        self._steps = steps
        self._step, self._row = start
        self._floors = floors
        self._bounded = bounded

    def read(self) -> Chunk | Pause:
        while self._step < len(self._steps):
            step, row = self._steps[self._step], self._row
            self._step, self._row = self._step + 1, 0
            if isinstance(step, PauseStep):
                return Pause.NOT_YET
            if isinstance(step, FailStep):
                step.happen()
                continue
            floor = self._floors[self._step] if self._floors is not None else None
            if isinstance(step, BrokenStep):
                return Chunk(_NOTHING, [self._step, 0], floor, broken=[self._broken(step)])
            return Chunk(step.data.slice(row), [self._step, 0], floor)  # type: ignore[union-attr]
        return Pause.END if self._bounded else Pause.NOT_YET

    def _broken(self, step: BrokenStep) -> Broken:
        number = sum(map(_records, self._steps[: self._step - 1]))
        where = f"record {number} of {self._partition}"
        error = SourceError(
            f"{where}: {step.reason}",
            expected="a record that can be read",
            found=shown(step.data),
            remedy="repair it, or say what happens to such records: `sl.read(..., on_error=)`",
        )
        return Broken(number, where, step.data, error)

    def close(self) -> None: ...


def scripted(
    script: Mapping[str, Sequence[Step]],
    schema: pa.Schema | Mapping[str, pa.DataType],
    *,
    replay: Replay = "replayable",
    unbounded: bool = False,
) -> ScriptedSource:
    """A source for tests: each partition brings what its script says, step by step.

    A position is `[step, row]`: where reading goes on. At the end of its script a partition ends,
    or, if `unbounded`, has nothing new for ever. Bounded scripts have exact floors.

    Args:
        script: partition names, and for each the steps: `rows`, `pause`, `fail`, `broken`.
        schema: names and types of the columns.
        replay: what the source claims to be; it replays whatever it claims.
        unbounded: whether partitions never end.

    Raises:
        DefinitionError: no partition, a step that is none, or a step without rows.
        UnknownColumnError, TypeMismatchError: rows that do not fit `schema`.

    After "streamlib.testing" of bytewax, whose sources take EOF, ABORT and PAUSE.

    >>> source = scripted({"a": [rows([{"id": 1}]), pause(), rows([{"id": 2}])]}, {"id": pa.int64()})
    >>> reader = source.open("a", None, None)
    >>> reader.read().next_position, reader.read(), reader.read().rows.to_pylist(), reader.read()
    ([1, 0], <Pause.NOT_YET: 'not yet'>, [{'id': 2}], <Pause.END: 'end'>)
    """
    columns = plain(schema_of(schema))
    if not script:
        raise DefinitionError(
            "a script needs a partition",
            expected="a mapping of partition names to lists of steps",
            found="an empty mapping",
            remedy='give for example {"0": [rows([...])]}',
        )
    partitions = tuple(
        (name, tuple(_checked(step, columns, name, i) for i, step in enumerate(steps)))
        for name, steps in script.items()
    )
    return ScriptedSource(partitions, columns, replay, not unbounded)


def _checked(step: Step, columns: pa.Schema, partition: str, index: int) -> Step:
    if isinstance(step, PauseStep | FailStep | BrokenStep):
        return step
    if not isinstance(step, RowsStep) or not len(step.data):
        raise DefinitionError(
            f"step {index} of partition {partition!r} can't be played",
            expected="rows(...) with at least one row, pause(), fail(...) or broken(...)",
            found=shown(step),
            remedy="leave the step out, or use pause() for a read that finds nothing",
        )
    batch = as_table(step.data, columns).to_batches()[0]
    return RowsStep(conform(batch, columns))


def _records(step: Step) -> int:
    return len(step.data) if isinstance(step, RowsStep) else int(isinstance(step, BrokenStep))


def _floors(steps: Sequence[Step], event_time: str) -> Sequence[int]:
    """The least event time from each step on, and `MAX_TIME` behind the last."""
    least = [_least(step, event_time) for step in steps]
    floors: list[int] = suffix_minima(np.array(least, np.int64)).tolist()
    return floors


def _least(step: Step, event_time: str) -> int:
    if not isinstance(step, RowsStep):
        return MAX_TIME
    return int(event_times(step.data, event_time).min())


def _start(position: Json | None, steps: Sequence[Step], partition: str) -> tuple[int, int]:
    if position is None:
        return 0, 0
    for step, row in _as_position(position):
        inside = 0 <= step < len(steps) and isinstance(steps[step], RowsStep)
        if (0 <= step <= len(steps) and row == 0) or (inside and 0 < row < len(steps[step].data)):  # type: ignore[union-attr]
            return step, row
    raise SourceError(
        f"partition {partition!r} can't be read from the position given",
        expected=f"[step, row] within the {len(steps)} steps of the script",
        found=shown(position),
        remedy="use a next_position of a chunk of the same script",
    )


def _as_position(position: Json) -> Iterator[tuple[int, int]]:
    if isinstance(position, list | tuple) and len(position) == 2 and all(type(n) is int for n in position):
        yield position[0], position[1]
