"""What happens to a record, or to a call to the outside, that fails: `on_error=` of operators and ends.

`"fail"` stops the job, `"skip"` leaves the record out and counts it, `dead_letter(sink)` keeps it where it
can be read and tried again, `retry(...)` asks again before one of these.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, TypeAlias, get_args

from streamlib.core.canonical import Value
from streamlib.core.errors import DefinitionError, StreamlibError, TypeMismatchError, did_you_mean, shown
from streamlib.core.time import SECOND, Duration, duration, show_duration
from streamlib.core.where import caller

if TYPE_CHECKING:
    from streamlib.core.contracts import Sink

Growth = Literal["exponential", "linear", "fixed"]

DEAD_LETTERS = "dead_letters"
"""What a sink of dead letters is called unless said otherwise."""

TRANSIENT: tuple[type[Exception], ...] = (OSError, TimeoutError)
"""What is asked again by default: files, networks (`ConnectionError`), and waiting too long."""


@dataclass(frozen=True, eq=False)
class DeadLetter(Value):
    """Records that fail go to a sink of the flow. Made by `dead_letter`."""

    sink: Sink
    name: str = DEAD_LETTERS

    def __repr__(self) -> str:
        return f"dead_letter({self.sink!r}, name={self.name!r})"


@dataclass(frozen=True, eq=False)
class Retry(Value):
    """A call that fails is made again. Made by `retry`; times are microseconds."""

    times: int
    on: tuple[type[Exception], ...]
    wait: int
    growth: Growth
    longest: int
    jitter: bool
    within: int
    then: Literal["fail", "skip"] | DeadLetter

    def wait_before(self, attempt: int, chance: float) -> float:
        """Seconds to wait before attempt number `attempt` (2 is the first repetition).

        `chance` is random, from 0 to 1: with jitter the wait lies between half and all of its length.
        """
        steps = attempt - 2
        # beyond 2 ** 62 a wait was the longest one long ago
        factor = {"exponential": 2 ** min(steps, 62), "linear": steps + 1, "fixed": 1}[self.growth]
        seconds = min(self.wait * factor, self.longest) / SECOND
        return seconds * (0.5 + 0.5 * chance) if self.jitter else seconds

    def __repr__(self) -> str:
        on = ", ".join(kind.__name__ for kind in self.on)
        growth = "" if self.growth == "fixed" else f" {self.growth}"
        then = "" if self.then == "fail" else f", then {self.then!r}"
        return f"retry({self.times} times on {on} after {show_duration(self.wait)}{growth}{then})"


ErrorPolicy: TypeAlias = Literal["fail", "skip"] | Retry | DeadLetter
"""What `on_error=` takes."""


def dead_letter(sink: Sink, name: str = DEAD_LETTERS) -> DeadLetter:
    """Records that fail go to `sink`, each with what is known of its failure; the others go on.

    Dead letters are output like any other: they appear with the checkpoint that holds the records around
    them, once. All operators with the same sink and name share it. Read them with
    `sl.read_dead_letters` or `streamlib dlq ls`.

    Args:
        sink: a sink that takes rows which are appended, for example `parquet.sink("out/dead")`.
        name: the sink's name in the flow. Give another one to each of several sinks of dead letters.

    >>> import pyarrow as pa
    >>> import streamlib as sl
    >>> from streamlib.connectors import memory
    >>> texts = sl.read(memory.source([{"n": "1"}, {"n": "two"}, {"n": "3"}]), name="texts")
    >>> dead = sl.dead_letter(memory.sink())
    >>> texts.select(n=sl.col("n").cast(pa.int64()), on_error=dead).collect().to_pylist()
    [{'n': 1}, {'n': 3}]
    """
    if not hasattr(sink, "open") or not hasattr(sink, "delivery"):
        raise TypeMismatchError(
            "dead letters need a sink",
            expected="a sink from streamlib.connectors",
            found=shown(sink),
            remedy='for example sl.dead_letter(parquet.sink("out/dead"))',
        ).at(None, caller())
    return DeadLetter(sink, name)


def retry(
    times: int = 3,
    *,
    on: type[Exception] | tuple[type[Exception], ...] = TRANSIENT,
    wait: Duration = "100ms",
    growth: Growth = "exponential",
    longest: Duration = "10s",
    jitter: bool = True,
    within: Duration = "1min",
    then: Literal["fail", "skip"] | DeadLetter = "fail",
) -> Retry:
    """A call that fails is made again, up to `times` times, before the record counts as failed.

    Order is kept: what comes behind waits. Of a function over single records the record is tried again, of
    any other operator the batch. An error that is not in `on` is not tried again.

    Args:
        times: repetitions at most, 1 to 100.
        on: the exceptions that may pass by themselves; default: `OSError` (with all network errors).
        wait: before the first repetition.
        growth: `exponential` doubles the wait each time, `linear` adds `wait`, `fixed` keeps it.
        longest: no wait is longer.
        jitter: each wait is cut by a random part, at most half of it, so that many that failed together
            don't come back together.
        within: the most time that a batch takes for all its repetitions. After it failures are final.
        then: what happens to a record that failed for good.

    Raises:
        DefinitionError: a number or duration out of range.

    >>> retry(5, on=ConnectionError, wait="1s", growth="linear")
    retry(5 times on ConnectionError after 1s linear)
    """
    kinds = on if isinstance(on, tuple) else (on,)
    if not kinds or not all(isinstance(kind, type) and issubclass(kind, Exception) for kind in kinds):
        raise _bad("`on` names what may pass by itself", "exception classes", shown(on), "on=(OSError,)")
    if isinstance(times, bool) or not isinstance(times, int) or not 1 <= times <= 100:
        raise _bad(
            "`times` is a number of repetitions", "a whole number from 1 to 100", shown(times), "times=3"
        )
    if growth not in get_args(Growth):
        known = get_args(Growth)
        hint = did_you_mean(str(growth), known)
        raise _bad("waits don't grow like that", f"one of {', '.join(known)}", shown(growth), hint)
    if isinstance(then, Retry) or (then not in ("fail", "skip") and not isinstance(then, DeadLetter)):
        raise _bad("`then` is what happens in the end", '"fail", "skip" or sl.dead_letter(sink)', shown(then))
    waits = duration(wait), duration(longest), duration(within)
    if min(waits) < 0:
        raise _bad("time does not go back", "durations from 0 on", show_duration(min(waits)))
    return Retry(times, kinds, waits[0], growth, waits[1], jitter, waits[2], then)


def checked_policy(policy: object) -> ErrorPolicy:
    """`policy` if it is one. Raises `DefinitionError` with the closest word."""
    if isinstance(policy, Retry | DeadLetter) or policy in ("fail", "skip"):
        return policy
    words = ("fail", "skip", "retry", "dead_letter")
    raise DefinitionError(
        "`on_error` does not say what to do",
        expected='"fail", "skip", sl.retry(...) or sl.dead_letter(sink)',
        found=shown(policy),
        remedy=did_you_mean(policy, words)
        if isinstance(policy, str)
        else "call sl.retry() or sl.dead_letter(sink)",
    )


def outcome(policy: ErrorPolicy) -> Literal["fail", "skip"] | DeadLetter:
    """What happens in the end."""
    return policy.then if isinstance(policy, Retry) else policy


def dead_letter_of(policy: ErrorPolicy) -> DeadLetter | None:
    """Where failed records go, if anywhere."""
    final = outcome(policy)
    return final if isinstance(final, DeadLetter) else None


def _bad(message: str, expected: str, found: str, remedy: str | None = None) -> StreamlibError:
    return DefinitionError(message, expected=expected, found=found, remedy=remedy).at("retry", caller())
