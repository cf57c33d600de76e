"""Every error streamlib raises, each in four parts: where, what was expected, what was found, what to do.

One root, `StreamlibError`; each error also inherits the builtin that a caller would expect to catch.
Docstrings are what `streamlib explain CODE` prints and docs/errors.md holds: what the error means, why it
is one, and what helps. SL1 is found when a flow is written or bound, SL2 while it runs, SL3 is about state.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Iterator
from typing import ClassVar

from streamlib.core.redaction import redacted

VALUE_LIMIT = 120  # characters of a user's value that an error shows: one terminal line


class StreamlibError(Exception):
    """The root of all errors raised by streamlib.

    >>> print(StreamlibError("no rows", expected="at least one", found="none", remedy="give some"))
    no rows
      expected: at least one
      found:    none
      to do:    give some
      more:     streamlib explain SL000
    """

    code: ClassVar[str] = "SL000"
    """Never changed, and never given to another class; a class without its own has its parent's."""

    def __init__(
        self,
        message: str,
        *,
        expected: str | None = None,
        found: str | None = None,
        remedy: str | None = None,
        operator: str | None = None,
        where: str | None = None,
    ) -> None:
        message = redacted(message)
        super().__init__(message)
        self.message = message
        self.expected = _hidden(expected)
        self.found = _hidden(found)
        self.remedy = _hidden(remedy)
        self.operator = operator
        self.where = where

    def at(self, operator: str | None, where: str | None) -> StreamlibError:
        """Name the operator and the user's source line, unless a deeper layer already did."""
        self.operator = self.operator or operator
        self.where = self.where or where
        return self

    def __str__(self) -> str:
        head = self.message
        if self.operator is not None:
            place = f" ({self.where})" if self.where else ""
            head = f"in operator {self.operator!r}{place}: {head}"
        elif self.where is not None:
            head = f"at {self.where}: {head}"
        return "\n".join([head, *self._details(), f"  {'more:':<9} streamlib explain {self.code}"])

    @property
    def reason(self) -> str:
        """The error without its place, for where the place is plain to see."""
        return "\n".join([self.message, *self._details()])

    def _details(self) -> list[str]:
        parts = (("expected", self.expected), ("found", self.found), ("to do", self.remedy))
        return [f"  {label + ':':<9} {text}" for label, text in parts if text is not None]

    def __reduce__(self) -> tuple[object, ...]:
        return (_rebuild, (type(self), self.__dict__.copy()))


def _hidden(text: str | None) -> str | None:
    return None if text is None else redacted(text)


def _rebuild(cls: type[StreamlibError], state: dict[str, object]) -> StreamlibError:
    error = cls.__new__(cls)
    Exception.__init__(error, state["message"])
    error.__dict__.update(state)
    return error


class DefinitionError(StreamlibError, ValueError):
    """A flow, operator, window or option was described in a way that cannot mean anything.

    Found where it is written, before anything runs: a negative duration, an unknown option, two operators
    of one name. The error names the value and what would be right.
    """

    code = "SL101"


class UnknownColumnError(StreamlibError, KeyError):
    """A column was named that the stream does not have.

    Columns are looked up when a flow is bound, operator by operator: `select` and `drop` take columns away,
    `aggregate` leaves the keys, `window_start`, `window_end` and the results. The error lists what there is
    and the closest name; `streamlib plan` shows the columns after every operator.
    """

    code = "SL102"

    @classmethod
    def of(cls, name: str, columns: Iterable[str]) -> UnknownColumnError:
        """Build the error for `name`, with the closest of `columns` as the remedy."""
        known = list(columns)
        return cls(
            f"no column {name!r}",
            expected=f"one of {', '.join(known) or 'no columns at all'}",
            found=repr(name),
            remedy=did_you_mean(name, known) or "name one of the columns above",
        )


class TypeMismatchError(StreamlibError, TypeError):
    """A column or value has a type that the operation does not take.

    Nothing is converted behind your back: text is not parsed, a fraction is not cut. Convert with
    `col("x").cast(pa.int64())`, or `.cast(..., strict=False)`, which makes null of what does not fit.
    """

    code = "SL103"


class ChangelogError(TypeMismatchError):
    """A stream that changes rows it has sent goes where only rows that stay are taken.

    An aggregate without a window, and a window with allowed lateness, send updates: a sink that only appends
    would hold every version, and a function would count each. `.final_only()` sends each window once,
    `.to_changelog()` makes rows of the changes, and `memory.table_sink`, `parquet.snapshot_sink` and
    `console.sink` take changes as they are.
    """

    code = "SL107"


class KeyTypeError(TypeMismatchError):
    """A column has a type that can't be a key.

    A key decides where its state is kept, by a hash of its bytes that is the same on every machine and at
    every restart. Booleans, numbers, decimals, text, binary and times have one; lists, maps and structs have
    none: key by the fields of a struct, by the length or the text of a list.
    """

    code = "SL108"


class UnboundedError(DefinitionError):
    """Something that ends only with its input was asked of an input without an end.

    `collect()` over a source without an end would wait for ever and keep every row. Say when to stop:
    `collect(n=100)`, `collect(until="10s")`; or run it as a job with a sink. A job is refused where an
    aggregate over all rows keeps each of them (`median`, `collect`, `count_distinct`): aggregate in windows,
    or use one that keeps numbers (`mean`, `approx_count_distinct`, `collect(..., limit=)`).
    """

    code = "SL109"


class EventTimeError(StreamlibError, ValueError):
    """An event time is missing, null, too far ahead, or cannot be converted.

    Windows, `distinct` and `throttle` work by the time at which things happened. Name it where the stream is
    read: `sl.read(source, name="sales", event_time="at", watermark=sl.bounded_disorder("10s"))`. A timestamp
    without a time zone needs `tz=`. While a job runs, a null event time, or one further ahead of the clock
    than `max_ahead`, fails before the row takes part: one from the year 9999 would close every window.
    `sl.read(..., on_error=)` says whether that stops the job.
    """

    code = "SL104"


class ArithmeticOverflowError(StreamlibError, OverflowError):
    """An exact integer result does not fit its type.

    Integers don't wrap around and don't turn into floats: sums and products that need more than 64 bits stop
    the job, with the row. Compute in a wider type, for example `.cast(pa.decimal128(38, 0))`, or in floats.
    """

    code = "SL201"


class UserFunctionError(StreamlibError, TypeError):
    """A user's function returned something that its operator cannot take.

    What a function returns has to be what its hints or `schema=` say: the same columns, values of those
    types, and as many rows as it got where it works on whole columns. The function and the record are named.
    """

    code = "SL202"


class NotPicklableError(StreamlibError, TypeError):
    """A flow holds a function that can't be pickled because it can't be imported by name.

    Worker processes get the flow by pickle, and a lambda or a function inside another has no name to
    import. Move it to the top level of a module, or run on threads: `workers="threads"`.
    """

    code = "SL105"


class SourceError(StreamlibError, OSError):
    """A source could not be found, opened or read.

    A path that names nothing, a broken record, a file that is gone while the job runs. The job stops; what
    was checkpointed stands, and the next start goes on from there.
    """

    code = "SL203"


class SchemaChangedError(SourceError):
    """Data does not have the columns that the flow was bound to.

    Files of one source have the same columns, and keep them while a job runs: a column that disappears, or
    changes its type, would change what the flow means. Write the file again, or read it as a source of its
    own.
    """

    code = "SL204"


class SinkError(StreamlibError, OSError):
    """A sink could not be opened, written or committed.

    A folder that can't be written, holds another job's files, or lost what was prepared. No result is lost:
    rows since the last checkpoint are computed again at the next start.
    """

    code = "SL205"


class MissingExtraError(StreamlibError, ImportError):
    """An optional dependency is needed and not installed.

    streamlib installs little; what only some need comes with an extra, which the error names.
    """

    code = "SL106"

    @classmethod
    def of(cls, module: str, extra: str) -> MissingExtraError:
        """Build the error for `module`, which comes with `streamlib[extra]`."""
        return cls(
            f"{module} is not installed",
            expected=f"the optional dependency {module}",
            found="an installation without it",
            remedy=f'pip install "streamlib[{extra}]"',
        )


class StateError(StreamlibError, RuntimeError):
    """A job's state can't be used as it is.

    The state folder is of another kind, not writable, on a filesystem without hard links, or the job ended
    for good. The error says which; nothing was changed.
    """

    code = "SL301"


class CheckpointDamagedError(StateError):
    """A file of a checkpoint is missing, torn or altered. Nothing was restored.

    Lengths and checksums are compared before anything is read. A damaged checkpoint is refused instead of
    guessed around: restore the file from a copy of the folder, or start a new job in another folder.
    """

    code = "SL302"


class StateIncompatibleError(StateError):
    """State of a checkpoint does not fit the flow that wants to restore it. Nothing was restored.

    An operator with state was removed, or changed so that its state means something else: other keys, other
    windows, other aggregates. Run the flow that made the state, or give `--state` another folder.
    """

    code = "SL303"


class JobHeldError(StateError):
    """Another live process holds the job. Nothing was changed.

    A state folder belongs to one job, and a job to one process. Stop the other one, or take the job over
    with `--takeover`: the other then finds its checkpoint number taken and ends.
    """

    code = "SL304"


class TakenOverError(StateError):
    """Another process has taken the job over; this one must stop and must not be restarted.

    Its last checkpoint was refused, so nothing of it can become visible. The exit code is 5; tell a
    supervisor not to restart it.
    """

    code = "SL305"


class WorkerError(StreamlibError, RuntimeError):
    """A worker process ended, or raised something that can't be sent to the process that runs the job.

    Often the operating system killed it for its memory. The job stops; the next start goes on from the last
    checkpoint.
    """

    code = "SL206"


class FormatError(StreamlibError, ValueError):
    """A message can't be read as a record of its format, or a record can't be written as a message.

    It is torn, is of another format, lacks a field that is needed, or has a value of another type; the error
    names the field. Unknown fields are no error. `on_error="skip"` or `sl.dead_letter(sink)` lets the other
    records go on; a field that may be missing is hinted as `| None`, or has a default.
    """

    code = "SL210"


class CallTimeoutError(StreamlibError, TimeoutError):
    """A call of `map_async` did not answer in time; it was given up.

    `timeout=` holds for one attempt, from its beginning: waiting for `concurrency` and `rate_limit` does not
    count. A timeout is a failure like any other, so `on_error=sl.retry(...)` calls again. A function that
    never awaits, as `time.sleep` or `requests` don't, holds up all other calls: use an async client.
    """

    code = "SL209"


class CheckError(StreamlibError, AssertionError):
    """An aggregate or operator breaks a rule of its contract, found by `assert_parity` or `assert_survives`.

    Its results would depend on how rows are cut, ordered or shared between workers, or a restart would change
    them. An aggregate is shown with the fewest rows that break the rule; docs/extending.md lists the rules.
    """

    code = "SL208"


class InvariantError(StreamlibError, AssertionError):
    """streamlib broke one of its own rules: a bug, please report it with the text of the error.

    The job stopped before the broken rule could become a wrong result.
    """

    code = "SL901"


def did_you_mean(name: str, known: Iterable[str]) -> str | None:
    """The sentence that proposes the closest of `known` to `name`, or None if nothing is close.

    >>> did_you_mean("prize", ["price", "date_time"])
    "did you mean 'price'?"
    """
    close = difflib.get_close_matches(name, list(known), n=3, cutoff=0.5)
    return f"did you mean {' or '.join(map(repr, close))}?" if close else None


def shown(value: object) -> str:
    """`repr(value)`, cut to one terminal line; secrets are hidden first, a part of one is still a secret."""
    text = redacted(repr(value))
    return text if len(text) <= VALUE_LIMIT else text[: VALUE_LIMIT - 1] + "…"


def catalogue() -> dict[str, type[StreamlibError]]:
    """All errors that have a code of their own, by code."""
    return dict(sorted((error.code, error) for error in _below(StreamlibError) if "code" in vars(error)))


def _below(error: type[StreamlibError]) -> Iterator[type[StreamlibError]]:
    for each in error.__subclasses__():
        yield each
        yield from _below(each)
