"""The step engine: pushes batches and watermarks through a bound flow.

It does no I/O, owns no thread and no clock. The same calls in the same order give the same outputs,
so a simulator can replay it. A runner only decides when to call it.
"""

from __future__ import annotations

import enum
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial

from streamlib.core.batch import Batch
from streamlib.core.contracts import (
    Answer,
    Answered,
    Asks,
    Effect,
    Operator,
    OperatorSpec,
    OperatorState,
    Output,
)
from streamlib.core.errors import StreamlibError
from streamlib.core.later_batch import LaterBatch
from streamlib.core.policies import Retry
from streamlib.core.time import MAX_TIME, MIN_TIME, earlier, later, show_instant
from streamlib.operators.stateless import Passing
from streamlib.plan.bind import BoundFlow, BoundNode
from streamlib.plan.explain import show_type
from streamlib.plan.node import Read, Write
from streamlib.runtime.outputs import check_machine, check_state, checked_outputs, is_custom
from streamlib.runtime.rescue import AtOnce, Failures, Guard, Patience
from streamlib.runtime.versions import check_versions


@dataclass
class Stage:
    """A node at work: its operator, who gets its outputs, and the watermarks of its inputs."""

    number: int
    bound: BoundNode
    operator: Operator | None
    targets: list[list[tuple[Stage, int]]]
    inputs: list[int] = field(default_factory=list)
    watermark: int = MIN_TIME
    custom: bool = False
    guard: Guard | None = None
    """Its error policy, where that is not to fail."""
    targets_of_time: list[tuple[Stage, int]] = field(default_factory=list)
    """Every (stage, port) below that does something with a watermark, whichever outputs lead there."""
    passes_time: bool = False
    """Whether a watermark goes through, and its operator has nothing to do with it."""

    def __post_init__(self) -> None:
        self.id = self.bound.id
        if self.operator is not None:
            self.process = self._processing(self.operator)
            """The outputs of rows of an input, under the stage's error policy."""

    def _processing(self, operator: Operator) -> Callable[[Batch, int], Iterable[Output]]:
        """As direct as it can be: a small batch costs no more than its calls."""
        call = self._checked_call(operator) if self.custom else operator.on_batch
        if self.guard is None:
            return call
        guard = self.guard
        return lambda batch, port: guard.process(operator, batch, port, call)

    def _checked_call(self, operator: Operator) -> Callable[[Batch, int], Iterable[Output]]:
        return lambda batch, port: self.checked(operator.on_batch(batch, port), "on_batch")

    def checked(self, returned: Iterable[Output], method: str) -> Iterable[Output]:
        """What `method` of the operator returned; checked where the operator is not one of ours."""
        return checked_outputs(returned, self.bound.output_types, method) if self.custom else returned

    def made_one_by_one(self, returned: Iterable[Output]) -> Iterator[Output]:
        """The outputs as they are made, so that rows that unfold to many never live all together."""
        made = iter(returned)
        while True:
            try:
                output = next(made, None)
            except Exception as error:
                blame(error, self.bound)
                raise
            if output is None:
                return
            yield output


@dataclass(frozen=True)
class Call:
    """An effect of a stage, by its number, and how it is tried again."""

    stage: int
    effect: Effect
    retry: Retry | None


@dataclass(frozen=True)
class Clock:
    """An input whose watermark tells the time, and by how much it stays behind a source's."""

    stage: Stage
    port: int
    delay: int

    @property
    def time(self) -> int:
        """The watermark in the source's time."""
        return later(self.stage.inputs[self.port], self.delay)


@dataclass(frozen=True)
class Judge:
    """An operator that judges lateness, and by how much its watermark stays behind a source's.

    `clocks` tell at which watermark it will judge a row that comes now: its own inputs, or those of what
    waits for answers above it, since rows and watermarks keep their order there.
    """

    stage: Stage
    operator: Operator
    delay: int
    clocks: tuple[Clock, ...]


class _Rows(enum.Enum):
    """What a stage sees of a source's late rows."""

    STAMPED = enum.auto()
    NEVER_LATE = enum.auto()
    OTHER = enum.auto()

    def below(self, stage: Stage, output: int) -> _Rows:
        """What comes out of a stage that sees such rows."""
        operator = stage.operator
        if operator is None:
            return self  # the source itself
        if self is _Rows.STAMPED and operator.judges_stamped:
            never_late = output == 0 and not stage.bound.output_types[0].lateness
            return _Rows.NEVER_LATE if never_late else _Rows.OTHER
        if self is _Rows.STAMPED and operator.keeps_stamps and not stage.custom and stage.passes_time:
            return _Rows.STAMPED
        return _Rows.NEVER_LATE if self is _Rows.NEVER_LATE else _Rows.OTHER


_MADE = (list, tuple)


def _delay(stage: Stage) -> int:
    return 0 if stage.operator is None else stage.operator.delay


class Engine:
    """A bound flow at work. Not reusable after an error: restore a new one from a checkpoint."""

    def __init__(self, flow: BoundFlow, patience: Patience | None = None) -> None:
        self.flow = flow
        waiting = patience or AtOnce()
        self._stages = [_stage(number, bound, waiting) for number, bound in enumerate(flow.nodes)]
        self._guarded = [stage for stage in self._stages if stage.guard is not None]
        self.failures = Failures()
        """Rows that failed and did not stop the job, since it began."""
        for stage in self._stages:
            for port, (above, output) in enumerate(stage.bound.inputs):
                self._stages[above].targets[output].append((stage, port))
                self._stages[above].targets_of_time.append((stage, port))
        for stage in reversed(self._stages):  # the nearest to the sinks first
            stage.targets = [_reached(targets, _rows_pass) for targets in stage.targets]
            stage.targets_of_time = _reached(stage.targets_of_time, _time_passes)
        self._sources = {s.id: s for s in self._stages if isinstance(s.bound.node.spec, Read)}
        self._asking: list[tuple[Stage, Asks]] = []
        self._behind_answers: set[int] = set()
        for stage in self._stages:
            if isinstance(stage.operator, Asks):
                self._asking.append((stage, stage.operator))
                self._behind_answers.add(stage.number)
            elif any(above in self._behind_answers for above, _ in stage.bound.inputs):
                self._behind_answers.add(stage.number)
        origins = [*self._sources.values(), *(stage for stage, _ in self._asking)]
        self._judges = {stage.number: self._judging(stage) for stage in origins}
        self._written: list[tuple[str, Batch]] = []

    # ------------------------------------------------------------------ rows and time

    def push(self, source: str, batch: Batch) -> None:
        """Rows of a source, admitted: no row of them is behind a decision taken meanwhile."""
        self._emit(self._sources[source], ((0, batch),))

    def advance(self, source: str, watermark: int) -> None:
        """The source's watermark is now `watermark`; lower than before means no change."""
        self._forward(self._sources[source], watermark)

    def tick(self, now: float) -> None:
        """The monotonic clock stands at `now` seconds: what waits for company only should not wait long."""

    def settle(self) -> None:
        """All that was pushed reaches the operators, and what comes of it the sinks."""

    def take_written(self) -> list[tuple[str, Batch]]:
        """What reached the sinks since the last call: sink name and rows, in order."""
        written, self._written = self._written, []
        return written

    def _emit(self, stage: Stage, outputs: Iterable[Output]) -> None:
        if not isinstance(outputs, _MADE):
            outputs = stage.made_one_by_one(outputs)
        for output, batch in outputs:
            if isinstance(batch, LaterBatch):
                batch.on_error = partial(blame, bound=stage.bound)
            for target, port in stage.targets[output]:
                # a sink makes the rows in its own time; an operator looks at them now
                if (target.operator is None and isinstance(batch, LaterBatch)) or batch.num_rows:
                    self._deliver(target, port, batch)

    def _deliver(self, stage: Stage, port: int, batch: Batch) -> None:
        if stage.operator is None:
            self._written.append((stage.id, batch))
            return
        try:
            outputs = stage.process(batch, port)
        except Exception as error:
            blame(error, stage.bound)
            raise
        self._emit(stage, outputs)

    def _forward(self, stage: Stage, watermark: int) -> None:
        """Pass a watermark on from `stage` to everything below it, results first."""
        if watermark <= stage.watermark:
            return
        stage.watermark = watermark
        for target, port in stage.targets_of_time:
            if len(target.inputs) == 1:
                target.inputs[0] = watermark
                self._advance(target, watermark)
                continue
            before = min(target.inputs)
            target.inputs[port] = watermark
            if min(target.inputs) > before:
                self._advance(target, min(target.inputs))

    def _advance(self, stage: Stage, watermark: int) -> None:
        if stage.operator is None:
            stage.watermark = max(stage.watermark, watermark)
            return
        if stage.passes_time:
            self._forward(stage, watermark)
            return
        try:
            outputs = stage.checked(stage.operator.on_watermark(watermark), "on_watermark")
            promised = stage.operator.output_watermark(watermark)
        except Exception as error:
            blame(error, stage.bound)
            raise
        if outputs:
            self._emit(stage, outputs)
        self._forward(stage, promised)

    def lose(self, source: str, records: int, letters: Batch | None) -> None:
        """Records of a source that can't enter: they are counted, and `letters` of them go to their sink."""
        self.failures.add(source, (records, 0) if letters is None else (0, records))
        if letters is not None:
            stage = self._sources[source]
            self._emit(stage, ((len(stage.bound.node.spec.outputs), letters),))

    def count_failures(self) -> Failures:
        """Add what the operators counted since the last call; all of it since the job began."""
        for stage in self._guarded:
            if stage.guard is not None:
                self.failures.add(stage.id, stage.guard.take())
        return self.failures

    # ------------------------------------------------------------------ calls to the outside

    @property
    def asks(self) -> bool:
        """Whether some operator wants calls made to the outside."""
        return bool(self._asking)

    @property
    def full(self) -> bool:
        """Whether no rows should enter before answers come."""
        return any(operator.full for _, operator in self._asking)

    @property
    def waits(self) -> bool:
        """Whether some rows wait for answers."""
        return any(operator.pending for _, operator in self._asking)

    def calls(self) -> list[Call]:
        """The calls to begin now, each once."""
        found: list[Call] = []
        for stage, operator in self._asking:
            policy = stage.bound.node.on_error
            retry = policy if isinstance(policy, Retry) else None
            with blaming(stage.bound):
                found += [Call(stage.number, effect, retry) for effect in operator.effects()]
        return found

    def answer(self, answers: Iterable[tuple[int, Answer]]) -> None:
        """Hand answers to the stages that asked, by their numbers; what comes of them goes on."""
        by_stage: dict[int, list[Answer]] = {}
        for number, answer in answers:
            if answer.error is not None and not isinstance(answer.error, Exception):
                raise answer.error  # such as SystemExit: nobody's policy
            by_stage.setdefault(number, []).append(answer)
        for number, found in by_stage.items():
            stage = self._stages[number]
            assert isinstance(stage.operator, Asks)
            with blaming(stage.bound):
                parts = [(self._rescued(stage, part), part) for part in stage.operator.on_answers(found)]
            for outputs, part in parts:
                self._go_on(stage, outputs, part.watermark)

    def _rescued(self, stage: Stage, part: Answered) -> list[Output]:
        """What a part sends on, with the letters of rows that failed; raises where that is the policy."""
        outputs = list(stage.checked(part.outputs, "on_answers"))
        if part.failed is None:
            return outputs
        if stage.guard is None:
            raise part.errors[0]
        return [*outputs, *stage.guard.lost(part.failed, part.errors)]

    def _go_on(self, stage: Stage, outputs: Iterable[Output], watermark: int) -> None:
        """Rows that were answered, and the watermark behind them, leave a stage."""
        self._emit(stage, outputs)
        self._forward(stage, watermark)

    # ------------------------------------------------------------------ questions of admission

    def source_watermark(self, source: str) -> int:
        """The watermark that a source has passed on."""
        return self._sources[source].watermark

    def deadline_after(self, source: str, watermark: int) -> int:
        """The least time above `watermark` at which some operator below decides about late rows."""
        return self._deadline_below(self._sources[source], watermark)

    def _deadline_below(self, stage: Stage, watermark: int) -> int:
        return min(
            (
                later(judge.operator.deadline_after(earlier(watermark, judge.delay)), judge.delay)
                for judge in self._judges[stage.number]
            ),
            default=MAX_TIME,
        )

    def judged_at(self, source: str) -> int:
        """The least watermark by which operators below `source` judge lateness; `MAX_TIME` if none do.

        In the source's time: what operators in between hold back is added.
        """
        judges = self._judges[self._sources[source].number]
        return min((clock.time for judge in judges for clock in judge.clocks), default=MAX_TIME)

    def judges_stamped(self, source: str, aligned: bool) -> bool:
        """Whether every operator that may see late rows of `source` judges them by stamps.

        Such an operator comes right below the source, or with operators between that keep stamps: rows of
        another source may join them only if both are `aligned`. Or it sees the results of another one,
        which are never late.
        """
        found: dict[int, _Rows] = {self._sources[source].number: _Rows.STAMPED}
        for stage in self._stages:
            ways = {found[i].below(self._stages[i], output) for i, output in stage.bound.inputs if i in found}
            if not ways:
                continue
            alone = aligned or stage.bound.sources == {source}
            found[stage.number] = ways.pop() if len(ways) == 1 and alone else _Rows.OTHER
        judging = {judge.stage.number: judge.operator for judge in self._judges[self._sources[source].number]}
        return all(
            found[number] is _Rows.NEVER_LATE or (found[number] is _Rows.STAMPED and operator.judges_stamped)
            for number, operator in judging.items()
        )

    @property
    def delays(self) -> bool:
        """Whether some operator holds its watermark back."""
        return any(stage.operator is not None and stage.operator.delay for stage in self._stages)

    def _judging(self, source: Stage) -> list[Judge]:
        found, delays = [], {source.number: 0}
        for stage in self._stages:
            above = [self._stages[i] for i, _ in stage.bound.inputs]
            ways = [delays[s.number] + _delay(s) for s in above if s.number in delays]
            if not ways:
                continue
            delays[stage.number] = max(ways)
            operator = stage.operator
            if operator is not None and type(operator).deadline_after is not Operator.deadline_after:
                found.append(Judge(stage, operator, max(ways), tuple(self._clocks(stage, delays))))
        return found

    def _clocks(self, stage: Stage, delays: Mapping[int, int]) -> Iterator[Clock]:
        for port, (number, _) in enumerate(stage.bound.inputs):
            above = self._stages[number]
            if number not in self._behind_answers:
                yield Clock(stage, port, delays.get(stage.number, 0))
            elif isinstance(above.operator, Asks):
                yield from (Clock(above, i, delays.get(number, 0)) for i in range(len(above.inputs)))
            else:
                yield from self._clocks(above, delays)

    # ------------------------------------------------------------------ state

    @property
    def late_rows(self) -> int:
        """Rows that were late for all their windows, summed over the operators."""
        return sum(stage.operator.late_rows for stage in self._stages if stage.operator is not None)

    def versions(self) -> dict[str, object]:
        """By id of every stateful operator, what must be equal for a snapshot to fit."""
        return {
            stage.id: [spec.state_version(), show_type(stage.bound.output_types[0])]
            for stage, spec, _ in self._stateful()
        }

    def snapshot(self) -> dict[str, OperatorState]:
        """By id, the state of every stateful operator, between two calls."""
        return {stage.id: snapshot_of(stage, operator) for stage, _, operator in self._stateful()}

    def check_versions(self, found: Mapping[str, object]) -> None:
        """Refuse a checkpoint whose operators are not those of this flow, before anything is restored."""
        check_versions({stage.id: stage.bound for stage in self._stages}, self.versions(), found)

    def restore(self, states: Mapping[str, OperatorState], watermarks: Mapping[str, int]) -> None:
        """Become what was captured: operator states by id, source watermarks by source."""
        for stage, _, operator in self._stateful():
            restore_into(stage, operator, states[stage.id])
        for source, watermark in watermarks.items():
            self.advance(source, watermark)  # fires nothing: the operators were restored at it

    def _stateful(self) -> list[tuple[Stage, OperatorSpec, Operator]]:
        return [
            (stage, stage.bound.node.spec, stage.operator)
            for stage in self._stages
            if isinstance(stage.bound.node.spec, OperatorSpec)
            and stage.operator is not None
            and stage.bound.node.spec.stateful
        ]

    def story(self) -> str:
        """The watermark of every stage that has one, for the text of a broken invariant."""
        stages = [stage for stage in self._stages if _time_passes(stage) is None]
        return ", ".join(f"{stage.id} at {show_instant(stage.watermark)}" for stage in stages)


def _stage(number: int, bound: BoundNode, patience: Patience) -> Stage:
    spec = bound.node.spec
    operator = _machine(bound, spec) if isinstance(spec, OperatorSpec) else None
    targets: list[list[tuple[Stage, int]]] = [[] for _ in bound.node.outputs]
    inputs = [] if isinstance(spec, Read) else [MIN_TIME] * len(bound.inputs)
    assert operator is not None or isinstance(spec, Read | Write)
    custom = operator is not None and is_custom(operator)
    guard = None
    if isinstance(spec, OperatorSpec) and bound.node.on_error != "fail":
        examine = spec.examiner(bound.input_types) if spec.stateful else None
        outputs, policy = len(spec.outputs), bound.node.on_error
        guard = Guard(bound.id, policy, outputs, patience, spec.stateful, examine)
    passes_time = _passes_time(operator)
    return Stage(
        number, bound, operator, targets, inputs, custom=custom, guard=guard, passes_time=passes_time
    )


def _passes_time(operator: Operator | None) -> bool:
    if operator is None:
        return False
    kind = type(operator)
    inherits = kind.on_watermark is Operator.on_watermark
    return inherits and kind.output_watermark is Operator.output_watermark and not operator.delay


def _reached(
    targets: Iterable[tuple[Stage, int]], passed: Callable[[Stage], list[tuple[Stage, int]] | None]
) -> list[tuple[Stage, int]]:
    """Who gets what is sent to `targets`: those behind a stage that it only passes."""
    found: list[tuple[Stage, int]] = []
    for stage, port in targets:
        behind = passed(stage)
        found += [(stage, port)] if behind is None else behind
    return found


def _rows_pass(stage: Stage) -> list[tuple[Stage, int]] | None:
    return stage.targets[0] if isinstance(stage.operator, Passing) and stage.guard is None else None


def _time_passes(stage: Stage) -> list[tuple[Stage, int]] | None:
    return stage.targets_of_time if stage.passes_time and len(stage.inputs) == 1 else None


def _machine(bound: BoundNode, spec: OperatorSpec) -> Operator:
    try:
        operator = spec.build(bound.input_types)
        check_machine(spec, operator)
    except Exception as error:
        blame(error, bound)
        raise
    return operator


def snapshot_of(stage: Stage, operator: Operator) -> OperatorState:
    try:
        state = operator.snapshot()
        if stage.custom:
            check_state(state)
    except Exception as error:
        blame(error, stage.bound)
        raise
    return state


def restore_into(stage: Stage, operator: Operator, state: OperatorState) -> None:
    try:
        operator.restore(state)
    except Exception as error:
        error.add_note("while it restored what its snapshot had saved")
        blame(error, stage.bound)
        raise


@contextmanager
def blaming(bound: BoundNode) -> Iterator[None]:
    """Errors inside name the operator."""
    try:
        yield
    except Exception as error:
        blame(error, bound)
        raise


def blame(error: Exception, bound: BoundNode) -> None:
    """Name the operator and the user's source line that built it in the error itself."""
    node = bound.node
    if isinstance(error, StreamlibError):
        node.blame(error)
    else:
        error.add_note(f"in operator {node.title!r} ({node.where})")
