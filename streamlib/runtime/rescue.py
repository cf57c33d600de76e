"""Error policies at work: what an operator could not take is tried again, or left out, row by row.

The good path is the operator's own call. Only where it raised is the batch cut, until the rows that fail
are alone; an operator that `Isolates` finds them itself.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from operator import itemgetter
from typing import Any, Protocol, TypeVar

import numpy as np

from streamlib.core.batch import Batch, concat_batches
from streamlib.core.contracts import Isolates, Json, Operator, Output
from streamlib.core.errors import InvariantError, StateError, WorkerError
from streamlib.core.isolation import isolated
from streamlib.core.letters import letters_of
from streamlib.core.policies import DeadLetter, ErrorPolicy, Retry, outcome

T = TypeVar("T")

NEVER_RESCUED = (InvariantError, StateError, WorkerError, MemoryError)
"""Errors that no record is to blame for."""


Call = Callable[[Batch, int], Iterable[Output]]
"""The operator's own call: a batch and its input."""


class Attempts(Protocol):
    """The repetitions of one batch, which share the time that they may take."""

    def again(self, error: Exception, call: Callable[[], T]) -> T:
        """The result of `call`, which raised `error` at first; raises the last error."""
        ...


class Patience(Protocol):
    """Who waits between repetitions: a runner, by its clock."""

    def begin(self, policy: Retry) -> Attempts:
        """A batch begins."""
        ...


class AtOnce:
    """Repeats without waiting: where no runner has handed a clock in."""

    def begin(self, policy: Retry) -> Attempts:
        """A batch begins."""
        return _AtOnce(policy)


class _AtOnce:
    def __init__(self, policy: Retry) -> None:
        self._policy = policy

    def again(self, error: Exception, call: Callable[[], T]) -> T:
        for _ in range(self._policy.times):
            try:
                return call()
            except self._policy.on as found:
                error = found
        raise error


class BatchRescue:
    """One batch under a policy (`Rescue`)."""

    def __init__(self, policy: ErrorPolicy, patience: Patience) -> None:
        self._policy: ErrorPolicy = policy
        self._outcome = outcome(policy)
        self._attempts = patience.begin(policy) if isinstance(policy, Retry) else None
        self.failed: list[tuple[int, Exception]] = []

    def retried(self, error: Exception, call: Callable[[], T]) -> T:
        """See `Rescue`."""
        if isinstance(self._policy, Retry) and self._attempts and isinstance(error, self._policy.on):
            return self._attempts.again(error, call)
        raise error

    def lost(self, row: int, error: Exception) -> None:
        """See `Rescue`."""
        if self._outcome == "fail" or isinstance(error, NEVER_RESCUED):
            raise error
        self.failed.append((row, error))


@dataclass
class Failures:
    """Rows that failed and did not stop the job, by operator.

    Attributes:
        skipped: those that were left out.
        dead_letters: those that went to a sink of dead letters.
    """

    skipped: dict[str, int] = field(default_factory=dict)
    dead_letters: dict[str, int] = field(default_factory=dict)

    def add(self, operator: str, counts: tuple[int, int]) -> None:
        """Count more of an operator."""
        for found, count in zip((self.skipped, self.dead_letters), counts, strict=True):
            if count:
                found[operator] = found.get(operator, 0) + count

    def merge(self, other: Failures) -> None:
        """Count what others counted."""
        for operator in {**other.skipped, **other.dead_letters}:
            self.add(operator, (other.skipped.get(operator, 0), other.dead_letters.get(operator, 0)))

    def snapshot(self) -> Json:
        """The counts as JSON."""
        return {"skipped": dict(self.skipped), "dead_letters": dict(self.dead_letters)}

    @classmethod
    def of(cls, state: Json) -> Failures:
        """What `snapshot` saw."""
        return cls(dict(state.get("skipped", {})), dict(state.get("dead_letters", {})))


class Guard:
    """The policy of one operator.

    Attributes:
        skipped: rows left out for good since they were last asked for.
        dead: rows that became dead letters.
    """

    def __init__(
        self,
        operator_id: str,
        policy: ErrorPolicy,
        letters: int,
        patience: Patience,
        stateful: bool = False,
        examine: Callable[[Batch], None] | None = None,
    ) -> None:
        self._id = operator_id
        self._stateful = stateful
        self._examine = examine
        self._policy: ErrorPolicy = policy
        self._letters = letters if isinstance(outcome(policy), DeadLetter) else None
        self._patience = patience
        self.skipped = 0
        self.dead = 0

    def take(self) -> tuple[int, int]:
        """What was skipped and what became dead letters since the last call."""
        counts, self.skipped, self.dead = (self.skipped, self.dead), 0, 0
        return counts

    def process(self, operator: Operator, batch: Batch, port: int, call: Call) -> list[Output]:
        """What comes of a batch: the outputs of the rows that did not fail, and the letters of the others."""
        rescue = BatchRescue(self._policy, self._patience)
        if isinstance(operator, Isolates):
            outputs = list(operator.on_batch_isolating(batch, port, rescue))
        elif self._stateful:
            batch, letters = self.examined(batch, port)
            return [*letters, *call(batch, port)] if batch.num_rows else list(letters)
        else:
            outputs = self._outputs(batch, port, call, rescue)
        return [*outputs, *self._letters_of(batch, port, rescue)] if rescue.failed else outputs

    def lost(self, batch: Batch, errors: Sequence[Exception]) -> list[Output]:
        """The letters of rows that failed after all, each with its error; raises where that is the policy."""
        rescue = BatchRescue(self._policy, self._patience)
        for row, error in enumerate(errors):
            rescue.lost(row, error)
        return list(self._letters_of(batch, 0, rescue))

    def examined(self, batch: Batch, port: int) -> tuple[Batch, Iterable[Output]]:
        """The rows that an operator with state can take, and the letters of the others."""
        if self._examine is None:
            return batch, ()
        rescue = BatchRescue(self._policy, self._patience)
        passed = self._outputs(batch, port, self._passing, rescue)
        if not rescue.failed:
            return batch, ()
        letters = self._letters_of(batch, port, rescue)
        return (passed[0][1] if passed else batch.slice(0, 0)), letters

    def _passing(self, batch: Batch, port: int) -> Iterable[Output]:
        assert self._examine is not None
        self._examine(batch)
        return ((0, batch),)

    def _outputs(self, batch: Batch, port: int, call: Call, rescue: BatchRescue) -> list[Output]:
        try:
            return list(call(batch, port))
        except Exception as found:
            error = found
        try:
            return rescue.retried(error, lambda: list(call(batch, port)))
        except Exception as found:
            error = found
        if outcome(self._policy) == "fail" or isinstance(error, NEVER_RESCUED):
            raise error
        return self._without_failing(batch, port, call, rescue, error)

    def _without_failing(
        self,
        batch: Batch,
        port: int,
        call: Call,
        rescue: BatchRescue,
        error: Exception,
    ) -> list[Output]:
        def attempt(start: int, stop: int) -> list[Output]:
            return list(call(batch.slice(start, stop), port))

        def lost(row: int, failure: Exception) -> list[Output] | None:
            if batch.num_rows > 1:  # alone it was tried again before
                try:
                    return rescue.retried(failure, lambda: attempt(row, row + 1))
                except Exception as final:
                    failure = final
            rescue.lost(row, failure)
            return None

        parts = list(isolated(batch.num_rows, attempt, error, lost))
        if batch.changes is None or not rescue.failed:
            return _together(parts)
        # half an update that is left becomes a deletion or an insertion
        good = np.ones(batch.num_rows, np.bool_)
        good[[row for row, _ in rescue.failed]] = False
        return list(call(batch.filter(good), port)) if good.any() else []

    def _letters_of(self, batch: Batch, port: int, rescue: BatchRescue) -> Iterable[Output]:
        if self._letters is None:
            self.skipped += len(rescue.failed)
            return ()
        self.dead += len(rescue.failed)
        return ((self._letters, letters_of(self._id, port, batch, sorted(rescue.failed, key=itemgetter(0)))),)


def _together(parts: list[list[Output]]) -> list[Output]:
    """The outputs of parts of a batch, by port, in order."""
    found: dict[int, list[Any]] = {}
    for output, batch in (o for part in parts for o in part):
        found.setdefault(output, []).append(batch)
    return [(output, concat_batches(batches)) for output, batches in found.items()]
