"""`sl.redrive`: records that failed run again through the flow that failed them, each letter once.

<state>/1/letters.json      which letters the first call took; made before it runs, never changed
<state>/1/…                 the state of its job, a batch over them
<state>/1/done              the job has finished
<state>/2/letters.json      what came since
"""

from __future__ import annotations

import json
import os
from collections import Counter
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field, replace
from os import PathLike

import pyarrow as pa

from streamlib.core.contracts import Disk, Sink, StreamType
from streamlib.core.disk import LocalDisk
from streamlib.core.errors import DefinitionError, did_you_mean
from streamlib.core.letters import ARROW, from_data
from streamlib.core.settings import ProgressStyle, Settings
from streamlib.plan.bind import BoundFlow
from streamlib.plan.flow import Flow
from streamlib.plan.launch import JobResult
from streamlib.plan.node import Read
from streamlib.runners.launcher import run_job
from streamlib.runners.letter_places import LetterPlace, Letters, place_of
from streamlib.runners.letters_source import Addressed, LettersSource, check_fits
from streamlib.runners.redriven_flow import redriven_flow
from streamlib.runners.settings import effective

TAKEN, DONE = "letters.json", "done"


@dataclass(frozen=True)
class Redriven:
    """What a redrive came to.

    Attributes:
        letters: how many were redriven by this call.
        failed: by operator, how many records failed again and are dead letters again.
        skipped: by operator, how many failed again and were left out.
        unreadable: letters that hold bytes which a source could not read. They stay as they are: repair
            what was read, and read it again.
    """

    letters: int
    failed: Mapping[str, int] = field(default_factory=dict)
    skipped: Mapping[str, int] = field(default_factory=dict)
    unreadable: int = 0

    def __str__(self) -> str:
        """The same in one line, for people."""
        parts = [f"{self.letters:,} {'letter' if self.letters == 1 else 'letters'} redriven"]
        parts += [f"{sum(self.failed.values()):,} failed again"] if self.failed else []
        parts += [f"{sum(self.skipped.values()):,} skipped"] if self.skipped else []
        parts += [f"{self.unreadable:,} unreadable"] if self.unreadable else []
        return ", ".join(parts)


def redrive(
    letters: Letters,
    flow: Flow,
    *,
    operator: str | None = None,
    sinks: Mapping[str, Sink] | None = None,
    state: str | PathLike[str] | None = None,
    progress: ProgressStyle | None = None,
) -> Redriven:
    """Run records that failed through `flow` again, from the operator that failed them on.

    Call it when what failed them is mended: the function, the expression, what it called. Each letter is
    taken once, over all calls with the same `state`; a call that was interrupted is ended by the next one.
    Records that fail again do what the flow's policies say, so they become letters again, which a later
    call takes. Letters themselves are never removed.

    A redrive is a batch and a job of its own. Its results are added to the flow's sinks, and may be while the
    flow runs. Operators with state (windows, aggregates, `distinct`) know the redriven records alone, so what
    they make of them is refused unless it goes to sinks of its own: `sinks={"hourly": ...}`. Records that a
    source could not read are not redriven: repair the files, and read them again.

    Args:
        letters: the folder of a `parquet.sink`, or the sink that was given to `sl.dead_letter`.
        flow: the flow as it is now. Operators are found by their ids (see `streamlib plan`), and their
            inputs need the columns that they had.
        operator: take only the letters of this one.
        sinks: connectors in the place of the flow's, by the sinks' names.
        state: folder that remembers which letters were taken. Default: `.streamlib/<flow>.redrive`.
        progress: as for `Flow.run`.

    Raises:
        DefinitionError: the flow has no such operator, or results of state would be mixed.
        TypeMismatchError: a record does not have the columns of its operator's input.
        StreamlibError: whatever stops a batch run; the next call goes on from there.

    >>> import tempfile
    >>> import pyarrow as pa
    >>> import streamlib as sl
    >>> from streamlib.connectors import memory
    >>> dead, out = memory.sink(), memory.sink()
    >>> def numbers(text):
    ...     texts = sl.read(memory.source([{"n": "1"}, {"n": "two"}, {"n": "3"}]), name="texts")
    ...     rows = texts.select(n=text.cast(pa.int64()), on_error=sl.dead_letter(dead))
    ...     return sl.Flow("numbers", rows.write(out, name="out"))
    >>> result = numbers(sl.col("n")).run(state=tempfile.mkdtemp(), progress="none")
    >>> mended = numbers(sl.col("n").str.replace("two", "2"))
    >>> redriven = sl.redrive(dead, mended, state=tempfile.mkdtemp(), progress="none")
    >>> print(redriven, out.table()["n"].to_pylist())
    1 letter redriven [1, 3, 2]
    """
    place = place_of(letters)
    rebound = flow.rebind(sinks=sinks)
    calls = _Calls(_state_of(flow, state))
    bound = rebound.bind()
    run = _Runner(place, rebound, bound, dict(sinks or {}), progress)
    unfinished = calls.unfinished()
    found = _Found.of(place, calls.taken(), operator)
    _check_operators(found, bound, operator)
    results = []
    if unfinished is not None:
        results.append(run.call(calls, unfinished))
    if found.count:
        run.check(found)
        results.append(run.call(calls, calls.begin(found.parts)))
    return _summed(results, found.unreadable)


def _state_of(flow: Flow, state: str | PathLike[str] | None) -> str:
    asked = os.path.join(".streamlib", f"{flow.name}.redrive") if state is None else os.fspath(state)
    return os.path.abspath(os.path.expanduser(asked))


Parts = dict[Addressed, dict[str, int]]
"""By operator and input, the parts that hold letters of it, and how many each holds."""


@dataclass(frozen=True)
class _Found:
    """Letters that no call has taken yet."""

    parts: Parts
    unreadable: int
    operators: frozenset[str]

    @classmethod
    def of(cls, place: LetterPlace, taken: frozenset[tuple[Addressed, str]], operator: str | None) -> _Found:
        parts: Parts = {}
        unreadable, operators = 0, set()
        for part in place.parts():
            for address, form, count in _addresses(place, part):
                operators.add(address.operator)
                if operator not in (None, address.operator) or (address, part) in taken:
                    continue
                if form == ARROW:
                    parts.setdefault(address, {})[part] = count
                else:
                    unreadable += count
        return cls(parts, unreadable, frozenset(operators))

    @property
    def count(self) -> int:
        return sum(count for parts in self.parts.values() for count in parts.values())


def _addresses(place: LetterPlace, part: str) -> list[tuple[Addressed, str, int]]:
    counts: Counter[tuple[str, int, str]] = Counter()
    for batch in place.read(part):
        columns = (batch[name].to_pylist() for name in ("operator", "input", "format"))
        counts.update(zip(*columns, strict=True))
    return [(Addressed(name, port), form, n) for (name, port, form), n in counts.items()]


def _check_operators(found: _Found, flow: BoundFlow, operator: str | None) -> None:
    known = [bound.id for bound in flow.nodes]
    wanted = [operator] if operator is not None else sorted({a.operator for a in found.parts})
    for name in wanted:
        if name not in known:
            raise DefinitionError(
                f"the flow has no operator {name!r}, at which records failed",
                expected=f"one of {', '.join(known)}",
                found=repr(name),
                remedy=did_you_mean(name, known)
                or "`streamlib plan` shows the ids; give `operator=` to redrive the letters of others",
            )
    if operator is not None and operator not in found.operators:
        raise DefinitionError(
            f"no dead letters of {operator!r}",
            expected=f"one of {', '.join(sorted(found.operators)) or 'none: there are no letters'}",
            found=repr(operator),
            remedy=did_you_mean(operator, found.operators) or "`streamlib dlq ls` lists them",
        )


class _Calls:
    """Which letters the calls took, on disk. A call's letters are durable before it runs."""

    def __init__(self, root: str) -> None:
        self.root = root
        self._disk: Disk = LocalDisk()
        self._numbers = sorted(int(name) for name in self._disk.list(root) if name.isdecimal())

    def parts(self, number: int) -> Parts:
        """What a call took."""
        try:
            found = json.loads(self._disk.read(self._path(number, TAKEN)))
        except FileNotFoundError:
            return {}  # it ended before it took any
        parts: Parts = {}
        for operator, port, part, count in found:
            parts.setdefault(Addressed(operator, port), {})[part] = count
        return parts

    def taken(self) -> frozenset[tuple[Addressed, str]]:
        """What all calls took."""
        taken = [self.parts(number) for number in self._numbers]
        return frozenset((address, part) for parts in taken for address in parts for part in parts[address])

    def unfinished(self) -> int | None:
        """The call that did not come to its end, if there is one: the last."""
        if not self._numbers or not self.parts(self._numbers[-1]):
            return None
        done = self._disk.size(self._path(self._numbers[-1], DONE)) is not None
        return None if done else self._numbers[-1]

    def begin(self, parts: Parts) -> int:
        """A new call takes letters; of two at once the second fails here."""
        number = (self._numbers or [0])[-1] + 1
        rows = [[a.operator, a.port, part, n] for a, found in parts.items() for part, n in found.items()]
        self._disk.make_dirs(self._path(number))
        self._write(number, TAKEN, json.dumps(rows).encode())
        self._numbers.append(number)
        return number

    def end(self, number: int) -> None:
        """The call has come to its end."""
        with suppress(FileExistsError):
            self._write(number, DONE, b"")

    def state(self, number: int) -> str:
        """The state of the call's job."""
        return self._path(number, "job")

    def _path(self, number: int, name: str = "") -> str:
        return os.path.join(self.root, str(number), name).rstrip("/")

    def _write(self, number: int, name: str, data: bytes) -> None:
        """A whole file or none, for good; raises `FileExistsError` where there is one."""
        path = self._path(number, name)
        draft = f"{path}.{os.getpid()}"
        self._disk.remove(draft)
        file = self._disk.create(draft)
        file.write(data)
        file.sync()
        file.close()
        try:
            self._disk.link(draft, path)
        finally:
            self._disk.remove(draft)
        self._disk.sync_dir(self._path(number))


@dataclass(frozen=True)
class _Runner:
    """Runs calls of one redrive."""

    place: LetterPlace
    flow: Flow
    bound: BoundFlow
    sinks: Mapping[str, Sink]
    progress: ProgressStyle | None

    def call(self, calls: _Calls, number: int) -> JobResult:
        """Run a call's job to its end."""
        settings = effective(self.flow, "batch", Settings(progress=self.progress), lambda _: "redrive()")
        options = replace(settings.options(), state=calls.state(number), completes=self.place.job)
        result = run_job(self.over(calls.parts(number)), "batch", options, settings["progress"])
        if result.outcome != "drained":
            calls.end(number)
        return result

    def over(self, parts: Parts) -> Flow:
        """The flow over the letters of some parts."""

        def source(address: Addressed, stream: StreamType, timed: bool) -> LettersSource:
            found = parts[address]
            count = sum(found.values())
            return LettersSource(self.place, tuple(found), address, stream.schema, timed, count)

        return redriven_flow(self.flow.name, self.bound, parts, source, self.sinks)

    def check(self, found: _Found) -> None:
        """Before letters are taken: whether the flow can be built, and every record fits it."""
        self.over(found.parts).bind()
        inputs = {
            Addressed(bound.id, port): stream.schema
            for bound in self.bound.nodes
            for port, stream in enumerate(
                bound.output_types[:1] if isinstance(bound.node.spec, Read) else bound.input_types
            )
        }
        for address, parts in found.parts.items():
            for part in parts:
                for batch in self.place.read(part):
                    for data in address.among(batch)["data"]:
                        check_fits(address, _schema(data.as_py()), inputs[address])


def _schema(data: bytes) -> pa.Schema:
    return from_data(data).schema


def _summed(results: list[JobResult], unreadable: int) -> Redriven:
    failed: Counter[str] = Counter()
    skipped: Counter[str] = Counter()
    for result in results:
        failed.update(result.dead_letters)
        skipped.update(result.skipped)
    return Redriven(sum(result.rows_read for result in results), failed, skipped, unreadable)
