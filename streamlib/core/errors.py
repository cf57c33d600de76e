"""Every error streamlib raises, each in four parts: where, what was expected, what was found, what to do.

One root, `StreamlibError`; each error also inherits the builtin that a caller would expect to catch.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable

from streamlib.core.redaction import redacted

VALUE_LIMIT = 120  # characters of a user's value that an error shows: one terminal line


class StreamlibError(Exception):
    """The root of all errors raised by streamlib.

    >>> print(StreamlibError("no rows", expected="at least one", found="none", remedy="give some"))
    no rows
      expected: at least one
      found:    none
      to do:    give some
    """

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
        return "\n".join([head, *self._details()])

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
    """A flow, operator, window or option was described in a way that cannot mean anything."""


class UnknownColumnError(StreamlibError, KeyError):
    """A column was named that the stream does not have."""

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
    """A column or value has a type that the operation does not take."""


class EventTimeError(StreamlibError, ValueError):
    """An event time is missing, null, too far ahead, or cannot be converted."""


class ArithmeticOverflowError(StreamlibError, OverflowError):
    """An exact integer result does not fit its type."""


class UserFunctionError(StreamlibError, TypeError):
    """A user's function returned something that its operator cannot take."""


class NotPicklableError(StreamlibError, TypeError):
    """A flow holds a function that can't be pickled because it can't be imported by name."""


class SourceError(StreamlibError, OSError):
    """A source could not be found, opened or read."""


class SinkError(StreamlibError, OSError):
    """A sink could not be opened, written or committed."""


class MissingExtraError(StreamlibError, ImportError):
    """An optional dependency is needed and not installed."""

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
    """A job's state can't be used as it is."""


class CheckpointDamagedError(StateError):
    """A file of a checkpoint is missing, torn or altered. Nothing was restored."""


class StateIncompatibleError(StateError):
    """State of a checkpoint does not fit the flow that wants to restore it. Nothing was restored."""


class JobHeldError(StateError):
    """Another live process holds the job. Nothing was changed."""


class TakenOverError(StateError):
    """Another process has taken the job over; this one must stop and must not be restarted."""


class WorkerError(StreamlibError, RuntimeError):
    """A worker process ended, or raised something that can't be sent to the process that runs the job."""


class InvariantError(StreamlibError, AssertionError):
    """streamlib broke one of its own rules: a bug, please report it with the text of the error."""


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
