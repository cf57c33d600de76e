"""The contracts everything hangs on: operator, source, sink, disk, clock.

Each comes as a pair where it has a lifetime: a frozen description that the user makes and that
can be compared, drawn and pickled, and a private machine that the engine builds from it.
"""

from __future__ import annotations

import enum
from abc import ABC, abstractmethod
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar, Literal, Protocol, TypeVar, runtime_checkable

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from streamlib.core.batch import Batch
from streamlib.core.canonical import Value
from streamlib.core.changes import Changelog
from streamlib.core.errors import (
    ChangelogError,
    DefinitionError,
    EventTimeError,
    StreamlibError,
    TypeMismatchError,
    UnknownColumnError,
)
from streamlib.core.rates import Rate
from streamlib.core.segment import Segment, rows_of
from streamlib.core.time import MAX_TIME, earlier

T = TypeVar("T")

Json = Any
"""A value that JSON can hold: what positions, pending commits and small state are made of."""

KEY_GROUPS = 128
"""How many parts a job's keyed state has: the most workers it can be spread over."""


@dataclass(frozen=True)
class StreamType:
    """What is known of a stream before it runs.

    Attributes:
        schema: the user's columns.
        event_time: whether rows carry an event time.
        keys: the columns that key the stream; empty where it is not keyed.
        changes: what names a row, where the stream is a changelog; None where it is append-only.
        lateness: how far behind the watermark its rows may come, in microseconds: what an operator
            below has to allow so as to see all of them. 0 where only a source's own rows are late.

    Operators make the type of their output by `dataclasses.replace` of their input's, so that what
    they don't speak of is carried on.
    """

    schema: pa.Schema
    event_time: bool = False
    keys: tuple[str, ...] = ()
    changes: Changelog | None = None
    lateness: int = 0

    def field(self, name: str, *types: pa.DataType) -> pa.Field:
        """The column `name`, for operators that need it.

        Raises `UnknownColumnError` if it is not there, `TypeMismatchError` if it is of none of `types`
        (where any are given).
        """
        index = self.schema.get_field_index(name)
        if index < 0:
            raise UnknownColumnError.of(name, self.schema.names)
        field = self.schema.field(index)
        if types and field.type not in types:
            raise TypeMismatchError(
                f"the column {name!r} has another type",
                expected=" or ".join(map(str, types)),
                found=str(field.type),
                remedy="name another column, or cast it before",
            )
        return field

    def need(self, *, event_time: bool = False, append_only: bool = False, keys: bool = False) -> None:
        """Raise `EventTimeError`, `ChangelogError` or `DefinitionError` for a stream that lacks something."""
        if keys and not self.keys:
            raise DefinitionError(
                "this operator keeps its state by key",
                expected="a stream with keys",
                found="a stream without keys",
                remedy='name them before it: `.key_by("customer")`',
            )
        if event_time and not self.event_time:
            raise EventTimeError(
                "this operator needs event time",
                expected="a stream with an event time",
                found="a stream without one",
                remedy="give `event_time=` and `watermark=` to `sl.read`",
            )
        if append_only and self.changes is not None:
            raise ChangelogError(
                "this operator takes rows that stay",
                expected="an append-only stream",
                found=f"a {self.changes.describe()}",
                remedy="put it before the aggregate, let the window above it show each result once "
                "(`.window(...).final_only().aggregate(...)`), "
                "or take the changes as rows: `.to_changelog()`",
            )


# --------------------------------------------------------------------------- operators

Output = tuple[int, Batch]
"""An output port (an index into the description's `outputs`) and the rows for it."""


@dataclass
class OperatorState:
    """A snapshot: Arrow tables, small JSON values and counters, each by name.

    Attributes:
        tables: each as segments that together hold its rows; a restore gets all of them, in order,
            maybe cut differently. A table with keyed rows has a column `__key_group` (int16), so that
            a restore with another parallelism can take the groups it owns. A segment that an
            earlier snapshot of this machine held (the same object) costs a checkpoint nothing; a
            table that is small or changes as a whole is one `Segment.of(table)`.
        values: equal on all workers that share the operator, such as its watermark.
        counters: what each worker counted; a restore gets the sum over the workers.
    """

    tables: dict[str, Sequence[Segment]] = field(default_factory=dict)
    values: dict[str, Json] = field(default_factory=dict)
    counters: dict[str, int] = field(default_factory=dict)

    def table(self, name: str) -> pa.Table | None:
        """All rows of a table; None if it has no segments."""
        return rows_of(self.tables.get(name, ()))


class Operator(ABC):
    """A deterministic state machine over batches. The engine calls it from one thread.

    It owns no thread, socket, file or clock. The same calls in the same order give the same
    outputs, on every machine and after every `restore(snapshot())`.
    """

    @abstractmethod
    def on_batch(self, batch: Batch, port: int) -> Iterable[Output]:
        """Take rows from input `port`. Event times may be behind the last watermark (late rows).

        The rows must not be changed; views of them may be kept.
        """

    def on_watermark(self, watermark: int) -> Iterable[Output]:
        """No row with an event time below `watermark` will come on time any more.

        Called with rising values only, after every row that preceded the watermark. What is
        returned goes downstream before the watermark does.
        """
        return ()

    keeps_stamps: ClassVar[bool] = False
    """Whether each output row has the `Batch.judged_by` of the input row it comes from.

    True for what looks at rows alone and makes its batches by `replaced`, `take`, `filter` or `slice`.
    """

    judges_stamped: bool = False
    """Whether a row is judged by the later of this operator's watermark and its `Batch.judged_by`.

    Where all that judges below a source does, batches with late rows are not cut: see
    `runtime/admission.py`. What the first output tells must then never be late itself, unless its type
    says by how much (`StreamType.lateness`).
    """

    delay: int = 0
    """By how much the output's watermark stays behind the input's, in microseconds."""

    def output_watermark(self, watermark: int) -> int:
        """The promise this operator makes for its own output when its input is at `watermark`."""
        return earlier(watermark, self.delay)

    def deadline_after(self, watermark: int) -> int:
        """The least time above `watermark` at which a decision about a late row can change.

        `MAX_TIME` for operators that don't judge lateness. It must not depend on the rows seen.
        """
        return MAX_TIME

    def snapshot(self) -> OperatorState:
        """All state, as values that later calls do not change. Called between batches only.

        Rows wait for it: leave what is expensive (merging, encoding) to the `Segment`s, which
        are built on another thread, and hand out again the segments that did not change.
        """
        return OperatorState()

    def restore(self, state: OperatorState) -> None:  # noqa: B027 - nothing is what there is without state
        """Become what `snapshot` saw. Called once, before the first batch.

        The segments it gets are not those it handed out: the first snapshot afterwards is full.
        """

    @property
    def late_rows(self) -> int:
        """Rows that were late for all their windows, since the job began."""
        return 0


@runtime_checkable
class Combines(Protocol):
    """Optional ability of a keyed operator: rows are aggregated where they are, not where their key is.

    With several workers, each calls `combine` for the rows that it has. Partials gather until a watermark
    or a checkpoint needs them, or they are many; then it calls `split` for them, and `merge` for the parts
    whose keys it owns. `on_batch` is never called; it has to be the same as `combine` followed by `merge`.
    Operators without the ability get the rows of their keys.
    """

    def combine(self, batch: Batch, port: int) -> tuple[Any, Iterable[Output]]:
        """A partial of the rows (None: nothing of them is left), and what goes downstream at once.

        Rows are judged here, by the watermark of this worker, which is that of all workers. The
        state of keys must stay as it is: the worker may own none of them.
        """
        ...

    def split(self, partials: Sequence[Any], owners: npt.NDArray[np.intp]) -> Mapping[int, Any]:
        """What each owner gets of partials that gathered, at least one, in order.

        `owners` holds the owner of each of the 128 key groups. A part can be pickled.
        """
        ...

    def merge(self, parts: Sequence[Any]) -> Iterable[Output]:
        """Take what was combined for keys that this worker owns, at least one part, in order."""
        ...


class Rescue(Protocol):
    """What an operator that isolates is handed: the user's error policy, for one batch."""

    def retried(self, error: Exception, call: Callable[[], T]) -> T:
        """The result of `call`, which raised `error`, if the policy tries it again; else raises."""
        ...

    def lost(self, row: int, error: Exception) -> None:
        """Row `row` of the batch is left out: counted, or a dead letter. Raises if the policy is to fail."""
        ...


@runtime_checkable
class Isolates(Protocol):
    """Optional ability of an operator: it finds the rows that fail, and goes on with the others.

    Without it a batch that failed is cut into halves, and the halves again, so that a function is called
    more than once for a row. An operator with state needs it (and `isolates` in its description) for
    any policy but `fail`; a row that is lost must leave no trace in the state.
    """

    def on_batch_isolating(self, batch: Batch, port: int, rescue: Rescue) -> Iterable[Output]:
        """As `on_batch`, which is then never called; tells `rescue` of every row that failed, in order."""
        ...


# --------------------------------------------------------------------------- calls to the outside


@dataclass(frozen=True)
class Effect:
    """A call to the outside that an operator wants made; the runner makes it.

    Attributes:
        number: by which the operator knows the answer.
        function: begins the call; it may be called again, by the user's error policy.
        argument: what it is called with.
        timeout: how long an attempt may take, in microseconds.
        rate: how often attempts of the operator may begin; None: as often as there are calls.
    """

    number: int
    function: Callable[[Any], Awaitable[Any]]
    argument: Any
    timeout: int
    rate: Rate | None = None


@dataclass(frozen=True)
class Answer:
    """What came of an effect: a result, or the error that its last attempt raised."""

    number: int
    result: Any = None
    error: BaseException | None = None


@dataclass(frozen=True)
class Answered:
    """What an operator sends on when answers came: rows, and the watermark that follows them.

    Attributes:
        outputs: the rows.
        watermark: what the output promises behind them; no less than before.
        failed: the input rows whose calls failed, for the user's error policy; None: none did.
        errors: of each such row what went wrong.
    """

    outputs: Sequence[Output]
    watermark: int
    failed: Batch | None = None
    errors: Sequence[Exception] = ()


@runtime_checkable
class Asks(Protocol):
    """Optional ability of an operator: it wants calls made to the outside, and goes on when they answer.

    Calls that are pending are state: a snapshot holds their rows, and after a restore they are wanted again.
    So each call is made at least once, and its result used once. Rows and watermarks go on in an order
    that depends on neither how long calls take nor how answers come together: `on_watermark` returns
    nothing, and `output_watermark` stays behind until all rows before it are answered. Several workers share
    one machine, which works beside them and gets all rows. Its description is `stateful` and `isolates`.
    """

    def effects(self) -> Sequence[Effect]:
        """The calls to begin now, each once. Asked after rows came, and after answers."""
        ...

    def on_answers(self, answers: Sequence[Answer]) -> Iterable[Answered]:
        """Take the answers to some calls, in any order; what goes on because of them, in order."""
        ...

    @property
    def pending(self) -> bool:
        """Whether a row waits for its answer: the end of the input then waits, too."""
        ...

    @property
    def full(self) -> bool:
        """Whether no rows should come until answers do: sources are not read on meanwhile."""
        ...


class OperatorSpec(Value, ABC):
    """The frozen description of an operator; subclasses are `dataclass(frozen=True, eq=False)`.

    Equal descriptions have equal fields, expressions included. A new operator is one small subclass
    with `bind` and `build`, and a factory that returns `Stream.then` of it.
    """

    kind: ClassVar[str]
    """The operator's name in plans, errors and state ids."""
    outputs: ClassVar[tuple[str, ...]] = ("out",)
    """Names of the output ports."""
    stateful: ClassVar[bool] = False
    """Whether `snapshot` holds anything; only stateful operators have an id in checkpoints."""
    keyed: ClassVar[bool] = False
    """Whether state belongs to keys, so that rows of different keys never meet in it.

    With several workers a keyed operator works on each, for the keys it owns, and state tables have
    the column `__key_group`. Any other stateful operator works on one worker, which gets all rows. An
    operator without state works wherever rows are; it looks at rows alone, not at the watermark.
    """

    per_record: ClassVar[bool] = False
    """Whether it calls Python for every row, expressions aside: several workers then are processes."""

    isolates: ClassVar[bool] = False
    """Whether an operator with state leaves out rows that fail, so that `on_error=` may be given.

    Either it `Isolates` them, or it has an `examiner`.
    """

    takes_codes: ClassVar[bool] = False
    """Whether text columns may come with dictionaries where the schema says plain values.

    A reader that has them spares the decoding where all operators below take them. Results of
    expressions, and `Batch.to_arrow`, hold plain values.
    """

    @abstractmethod
    def bind(self, inputs: Sequence[StreamType]) -> tuple[StreamType, ...]:
        """The types of the outputs. Raises a `StreamlibError` for whatever can be known to fail."""

    @abstractmethod
    def build(self, inputs: Sequence[StreamType]) -> Operator:
        """A fresh machine, without state. Called after `bind` succeeded with the same inputs."""

    def examiner(self, inputs: Sequence[StreamType]) -> Callable[[Batch], None] | None:
        """What raises for a batch with a row that fails, of an operator with state; None where none can.

        Under a policy rows come to the operator when they have passed it. What the operator raises then
        is no record's fault. It must not touch any state.
        """
        return None

    def serving(self, reader: OperatorSpec) -> OperatorSpec:
        """What to build in the place of this where `reader` alone reads the first output.

        It may leave rows out that the reader would drop. Types and state have to be the same.
        """
        return self

    def reads(
        self, wanted: Sequence[frozenset[str] | None], inputs: Sequence[StreamType]
    ) -> frozenset[str] | None:
        """Which columns its only input must have, so that sources read no others; None: all.

        `wanted` are the columns of each output that are read below: None for all, none where nobody
        reads it. Where the input has no more than these columns, and at least one, `bind` of what
        `narrowed` returns has to succeed, and the wanted columns have to be the same.
        """
        return None

    def narrowed(self, stream: StreamType) -> OperatorSpec:
        """What to build in the place of this where its input is `stream`: at least the columns it reads."""
        return self

    def describe(self) -> str:
        """The operator's settings on one line, for `explain`."""
        return ""

    @property
    def order_sensitive(self) -> str | None:
        """Why the result depends on the order in which rows arrive; None where it does not."""
        return None

    def keeps(self, inputs: Sequence[StreamType]) -> str | None:
        """What the state keeps of every row, maybe until a window ends; None where it keeps numbers."""
        return None

    def grows(self, inputs: Sequence[StreamType]) -> str | None:
        """How the state grows for ever over a source without an end, and what would bound it, behind "; ".

        None where windows or a time to live end all of it. A job without keys that grows with every row,
        of which it `keeps` something, is refused; of others `streamlib check` warns.
        """
        return None

    def state_version(self) -> Json:
        """What must be equal for a snapshot to fit: window and aggregates, not code."""
        return None


# --------------------------------------------------------------------------- sources


class Pause(enum.Enum):
    """What a reader answers when it has no rows."""

    NOT_YET = "not yet"
    """Nothing now; rows may come later."""
    END = "end"
    """Nothing any more."""


@dataclass(frozen=True)
class LeftOut:
    """Rows that a reader did not read, since the filters below would drop every one of them.

    Attributes:
        rows: how many, at least one.
        newest: the largest event time among them (microseconds); None for a source without.
    """

    rows: int
    newest: int | None


@dataclass(frozen=True)
class Broken:
    """A record that a reader could not read. What happens to it is the business of `sl.read(on_error=)`.

    Attributes:
        position: the number of the record in its partition, from 0; broken records count like rows.
        where: its place for people, for example `in/a.csv, line 12`.
        data: the bytes that could not be read.
        error: what stops the job unless it is told to go on.
    """

    position: int
    where: str
    data: bytes
    error: StreamlibError


@dataclass(frozen=True)
class Chunk:
    """Rows that a reader hands over, and where reading goes on after them.

    Attributes:
        rows: the rows, in the partition's order.
        next_position: JSON value; `Source.open` with it reads exactly what follows this chunk.
        floor: the least event time (microseconds) in what follows `rows` in this partition,
            `MAX_TIME` if nothing follows, None if unknown. Batch runs take their watermark from it.
        left_out: rows that were not read; `rows` has none then, and these count instead.
        broken: records that could not be read, in their order; they stand between the rows where their
            numbers say. A chunk may hold nothing else.
    """

    rows: pa.RecordBatch
    next_position: Json
    floor: int | None = None
    left_out: LeftOut | None = None
    broken: Sequence[Broken] = ()


@runtime_checkable
class SourceReader(Protocol):
    """Reads one partition. Called from one thread at a time, not always the same one."""

    def read(self) -> Chunk | Pause:
        """The next rows (at least one, or some left out or broken), or why there are none.

        A chunk of nothing says where reading goes on: for a reader that has chosen what comes next.

        Must not wait for long. A record that can't be read is handed over as `Broken`, and reading goes
        on behind it; an error is raised where the source itself can't be read.
        """
        ...

    def close(self) -> None:
        """Release what is held. Called once; `read` is not called afterwards."""
        ...


@runtime_checkable
class GivesCodes(Protocol):
    """Optional ability of a `SourceReader`: texts as a dictionary and codes, as they are stored."""

    def give_codes(self) -> None:
        """All operators that see the rows take codes. Called at most once, before the first read."""
        ...


@runtime_checkable
class TakesClock(Protocol):
    """Optional ability of a `SourceReader` whose rows come by processing time: it reads the runner's clock.

    A reader that was handed none, as in a batch run, where no time passes, has all its rows at once.
    """

    def take_clock(self, clock: Clock) -> None:
        """Called at most once, before the first read."""
        ...


Replay = Literal["replayable", "acknowledging", "lossy"]


@runtime_checkable
class Source(Protocol):
    """The frozen description of where rows come from.

    Attributes:
        bounded: whether every partition ends.
        replay: `replayable` reads the same rows from the same position again, `acknowledging`
            delivers again what was not acknowledged, `lossy` does neither.

    A source whose readers never wait (rows in memory) may have an attribute `immediate = True`: it
    is then read in the runner's own thread, where a background thread would only cost.
    """

    @property
    def bounded(self) -> bool: ...
    @property
    def replay(self) -> Replay: ...

    def schema(self) -> pa.Schema:
        """The columns. The only I/O allowed while a flow is bound."""
        ...

    def partitions(self) -> Sequence[str]:
        """Names of the partitions, each with an order and a watermark of its own."""
        ...

    def open(self, partition: str, position: Json | None, event_time: str | None) -> SourceReader:
        """Read `partition` from `position` (None: its beginning).

        `event_time` names the column that is the event time, where it is a plain column in UTC:
        a reader that knows statistics of it fills `Chunk.floor`.
        """
        ...


@runtime_checkable
class Polled(Protocol):
    """Optional ability of a source without an end, whose readers look for more when they are asked."""

    @property
    def every(self) -> int:
        """Microseconds, by the runner's clock, before a reader is asked again that said `NOT_YET`."""
        ...


@runtime_checkable
class Counted(Protocol):
    """Optional ability of a bounded source: how many rows there are, for progress."""

    def row_count(self) -> int:
        """Rows of all partitions together."""
        ...


@runtime_checkable
class KnowsTimes(Protocol):
    """Optional ability of a source: how far back a partition goes, without opening it to be read."""

    def least_time(self, partition: str, event_time: str) -> int | None:
        """The least event time (microseconds), as `Source.open` is told its column; None if unknown.

        A batch run opens partitions when their time has come, so that few of many are open at once.
        """
        ...


@runtime_checkable
class Projects(Protocol):
    """Optional ability of a source that spares work where columns are not read."""

    def project(self, columns: Sequence[str]) -> Source:
        """The same source with these columns alone, in this order; called after `schema`."""
        ...


@runtime_checkable
class Infers(Protocol):
    """Optional ability of a source that needs `schema=`: guess the columns, for `preview` alone."""

    def inferred(self) -> tuple[Source, str | None]:
        """The source with columns that its first rows show, and the `schema=` line to paste.

        Itself and None where the columns are declared.
        """
        ...


# --------------------------------------------------------------------------- sinks

Delivery = Literal["staged", "write_ahead", "idempotent", "at_least_once"]

Takes = Literal["retract", "upsert"]
"""Which changelogs a sink takes: any, taking rows back by their values, or those with an identity."""


@dataclass(frozen=True)
class SinkContext:
    """What a sink is told when it opens.

    Attributes:
        job: the job's id, the same across restarts.
        sink: the sink's name in the flow.
        attempt: id of this run of the job; no two share one.
        schema: columns of the rows that will come.
        disk: where files go.
        changes: where the rows are changes, what names a row; None where they are appended. Rows of
            a changelog have one more column, the last, `__change__` (int8, see `core/changes.py`).
        restored: number of the checkpoint from which the job goes on, 0 if it begins.
    """

    job: str
    sink: str
    attempt: str
    schema: pa.Schema
    disk: Disk
    changes: Changelog | None = None
    restored: int = 0


@runtime_checkable
class SinkWriter(Protocol):
    """Writes for one attempt. Called from one thread at a time, not always the same one."""

    def write(self, rows: pa.RecordBatch) -> None:
        """Take rows. Readers of the output must not see them before `commit` (staged sinks)."""
        ...

    def prepare(self, number: int) -> Json:
        """Make durable what came since the last prepare, and say what `commit` needs to know.

        Rows written afterwards belong to the next checkpoint. None: there is nothing to commit.
        """
        ...

    def commit(self, number: int, pending: Json) -> None:
        """Show readers what `prepare(number)` answered, maybe in an earlier attempt.

        Called only after the manifest that holds `pending` is durable. Must be idempotent: it is
        repeated until it returns, also after a crash in the middle of it.
        """
        ...

    def last_committed(self) -> int:
        """The highest number this job has shown readers, 0 if none or unknown."""
        ...

    def close(self) -> None:
        """Release what is held and discard what was not prepared. Called once."""
        ...


@runtime_checkable
class Cleans(Protocol):
    """Optional ability of a `SinkWriter` that leaves files behind when an attempt crashes."""

    def clean(self, keep: set[str]) -> None:
        """Remove what earlier attempts staged and no manifest names.

        Call it after recovery has committed everything pending; `keep` are the `staged` names of
        pending commits that are still to come.
        """
        ...


@runtime_checkable
class Sink(Protocol):
    """The frozen description of where rows go."""

    @property
    def delivery(self) -> Delivery: ...

    def open(self, context: SinkContext) -> SinkWriter:
        """Check that the sink can be written, and return its writer."""
        ...


@runtime_checkable
class TakesChanges(Protocol):
    """Optional ability of a `Sink`: it takes changelogs. Without it a flow that sends one is refused.

    `retract`: any changelog. The rows are +I, -U, +U, -D; without identity a row is taken back by its
    values. `upsert`: changelogs with identity; then +I and +U put a row in the place of the one with
    the same identity, -D removes it, and -U needs no attention.
    """

    @property
    def takes(self) -> Takes: ...


# --------------------------------------------------------------------------- the world outside


class DiskFile(Protocol):
    """A new file that is being written."""

    def write(self, data: bytes | memoryview | pa.Buffer) -> int:
        """Append all of `data`."""
        ...

    def sync(self) -> None:
        """Return when what was written survives a power cut (fsync). The name does not yet."""
        ...

    def close(self) -> None:
        """Close without syncing. May be called twice."""
        ...


class DiskLock(Protocol):
    """An exclusive lock on a file, held until released or until the process dies."""

    def release(self) -> None: ...


class Disk(Protocol):
    """The file operations of checkpoints and staged sinks; paths are absolute strings.

    A name that was created, linked, renamed or removed survives a power cut only after
    `sync_dir` of its folder.
    """

    def create(self, path: str) -> DiskFile:
        """A new file. Raises FileExistsError."""
        ...

    def read(self, path: str) -> bytes:
        """The whole file. Raises FileNotFoundError."""
        ...

    def size(self, path: str) -> int | None:
        """Length in bytes, None if there is no such file."""
        ...

    def list(self, path: str) -> list[str]:
        """Sorted names in a folder; empty if there is no such folder."""
        ...

    def make_dirs(self, path: str) -> None:
        """Create the folder and its missing parents, durably."""
        ...

    def link(self, source: str, target: str) -> None:
        """A second, exclusive name for a file. Raises FileExistsError: this is the fence."""
        ...

    def rename(self, source: str, target: str) -> None:
        """Move a file, atomically replacing `target`."""
        ...

    def remove(self, path: str) -> None:
        """Delete a file or an empty folder; nothing happens if it is not there."""
        ...

    def sync_dir(self, path: str) -> None:
        """Make the names in the folder durable (fsync)."""
        ...

    def lock(self, path: str) -> DiskLock | None:
        """Lock the file (created if missing) without waiting; None if someone holds it."""
        ...


class Clock(Protocol):
    """Processing time, handed in so that tests and the simulator own it."""

    def now(self) -> int:
        """Wall clock in microseconds since the epoch, UTC."""
        ...

    def monotonic(self) -> float:
        """Seconds since an arbitrary moment; never goes back."""
        ...

    def wait(self, seconds: float) -> None:
        """Let that much time pass, or less if there is a reason to wake up."""
        ...


States = Mapping[str, OperatorState]
"""Operator states by operator id."""
