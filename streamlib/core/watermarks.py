"""Watermarks: the strategy a user chooses, and the machine that follows the partitions of one source.

A watermark `W` promises that every later row has an event time `>= W` (the exclusive form of Beam;
Flink's inclusive watermark is `W - 1`).
"""

from __future__ import annotations

import enum
from collections.abc import Collection, Iterable
from dataclasses import dataclass
from typing import Literal

import numpy as np
import numpy.typing as npt

from streamlib.core.batch import TIME_BLOCK, TimeBlocks
from streamlib.core.errors import DefinitionError
from streamlib.core.time import (
    MAX_TIME,
    MIN_TIME,
    Duration,
    Micros,
    duration,
    show_duration,
)

WhenQuiet = Literal["hold", "advance"]

LAST_TIME = MAX_TIME - 1
"""The highest watermark that rows cause: `MAX_TIME` says that none follows, and closes everything."""


@dataclass(frozen=True)
class WatermarkStrategy:
    """How the event times of a partition become its watermark; made by `bounded_disorder` or `monotone`."""

    delay: int
    idle_after: int | None = None
    when_quiet: WhenQuiet = "hold"

    def describe(self) -> str:
        """The strategy on one line."""
        text = f"bounded disorder {show_duration(self.delay)}" if self.delay else "monotone"
        if self.idle_after is not None:
            text += f", idle after {show_duration(self.idle_after)}, {self.when_quiet} when quiet"
        return text


def bounded_disorder(
    delay: Duration, *, idle_after: Duration | None = None, when_quiet: WhenQuiet = "hold"
) -> WatermarkStrategy:
    """Rows come at most `delay` behind the largest event time of their partition: `W = max - delay`.

    Args:
        delay: rows further behind may be late; a window stays open that much longer.
        idle_after: processing time without rows after which a partition no longer holds the
            watermark back. Default: never.
        when_quiet: with all partitions idle, `"hold"` the watermark, or `"advance"` it: first to
            the largest watermark of a partition, then with the clock.

    Raises:
        DefinitionError: not a duration, or an unknown `when_quiet`.

    >>> bounded_disorder("4s").describe()
    'bounded disorder 4s'
    """
    if when_quiet not in ("hold", "advance"):
        raise DefinitionError("unknown when_quiet", expected="'hold' or 'advance'", found=repr(when_quiet))
    idle = None if idle_after is None else duration(idle_after)
    return WatermarkStrategy(duration(delay), idle, when_quiet)


def monotone(*, idle_after: Duration | None = None, when_quiet: WhenQuiet = "hold") -> WatermarkStrategy:
    """Rows of a partition come in the order of their event times: `W = max`.

    >>> monotone().describe()
    'monotone'
    """
    return bounded_disorder(0, idle_after=idle_after, when_quiet=when_quiet)


class Activity(enum.Enum):
    """Whether a partition takes part in the combination."""

    ACTIVE = "active"
    IDLE = "idle"
    FINISHED = "finished"


@dataclass
class PartitionWatermark:
    """What is known of one partition.

    Attributes:
        watermark: its own promise; `MIN_TIME` before its first row.
        activity: whether it takes part in the combination.
        catching_up: it was idle and is still behind the combined watermark, so it is left out.
        seen_at: processing time of its last rows, seconds on the monotonic clock.
    """

    watermark: int = MIN_TIME
    activity: Activity = Activity.ACTIVE
    catching_up: bool = False
    seen_at: float = 0.0

    @property
    def counts(self) -> bool:
        """Whether it holds the combined watermark."""
        return self.activity is Activity.ACTIVE and not self.catching_up


class SourceWatermarks:
    """The watermarks of a source's partitions and their combination, which never goes back."""

    def __init__(self, strategy: WatermarkStrategy, partitions: Iterable[str], now: float) -> None:
        self.strategy = strategy
        self.partitions = {name: PartitionWatermark(seen_at=now) for name in partitions}
        self.output = MIN_TIME
        self._quiet_since: float | None = None

    def behind(
        self, partition: str, blocks: TimeBlocks, stands: int | None = None
    ) -> tuple[npt.NDArray[np.intp], Micros]:
        """The rows behind the watermark that judges them, in order, and that watermark.

        It is the running watermark, the partition's own just before a row. Where the operators stand at a
        combined watermark, `stands`, it is what the other partitions leave of that, and at least this.
        Few rows are behind, and blocks without any show by their least and largest times: that costs
        a seventh of following the watermark from row to row.
        """
        before = self.partitions[partition].watermark
        largest = np.maximum.accumulate(blocks.largest)
        reached = self._held_back(largest.copy(), before)
        if stands is not None:
            np.maximum(reached, stands, out=reached)
        found = np.flatnonzero(blocks.least < reached)
        if not len(found):
            return found, reached[:0]
        times = blocks.times.take(found, axis=0)
        running = np.empty_like(times)
        running[:, 0] = np.where(found > 0, largest.take(found - 1), MIN_TIME)
        running[:, 1:] = times[:, :-1]
        np.maximum.accumulate(running, axis=1, out=running)
        running = self._held_back(running, before)
        if stands is not None:
            np.minimum(running, self.others(partition), out=running)
            np.maximum(running, stands, out=running)
        block, place = np.nonzero(times < running)
        rows = found.take(block) * TIME_BLOCK + place
        count = int(np.searchsorted(rows, blocks.count))  # without the padding of the last block
        return rows[:count], running[block, place][:count]

    def _held_back(self, largest: Micros, before: int) -> Micros:
        """`caused_by` of each time, and at least `before`: in place."""
        delay = self.strategy.delay
        np.maximum(largest, MIN_TIME + delay, out=largest)
        largest -= delay
        np.minimum(largest, LAST_TIME, out=largest)
        return np.maximum(largest, before, out=largest)

    def caused_by(self, largest: int) -> int:
        """The watermark that rows with event times up to `largest` cause in their partition."""
        return max(MIN_TIME, min(LAST_TIME, largest - self.strategy.delay))

    def others(self, partition: str) -> int:
        """The least watermark of the partitions beside `partition` that count, `MAX_TIME` if none."""
        return min(
            (p.watermark for name, p in self.partitions.items() if name != partition and p.counts),
            default=MAX_TIME,
        )

    def observe(self, partition: str, largest: int, now: float) -> None:
        """Rows with event times up to `largest` came from `partition`."""
        state = self.partitions[partition]
        state.watermark = max(state.watermark, self.caused_by(largest))
        state.seen_at = now
        if state.activity is Activity.IDLE:
            state.activity = Activity.ACTIVE
            state.catching_up = True
        if state.catching_up and state.watermark >= self.output:
            state.catching_up = False
        self._quiet_since = None

    def finish(self, partition: str) -> None:
        """No row will ever come from `partition` again."""
        self.partitions[partition].activity = Activity.FINISHED

    def tick(self, now: float, waiting: Collection[str] = ()) -> None:
        """Processing time passed: silent partitions become idle, but none with rows `waiting` to enter."""
        if self.strategy.idle_after is None:
            return
        limit = self.strategy.idle_after / 1e6
        for name, state in self.partitions.items():
            if name in waiting:
                state.seen_at = now
            elif state.activity is Activity.ACTIVE and now - state.seen_at >= limit:
                state.activity = Activity.IDLE

    def combine(self, now: float) -> int:
        """The source's watermark: the minimum over what counts, never less than before."""
        combined = self._combined(now)
        self.output = max(self.output, combined)
        return self.output

    def _combined(self, now: float) -> int:
        states = self.partitions.values()
        counting = [p.watermark for p in states if p.counts]
        if counting:
            return min(counting)
        if all(p.activity is Activity.FINISHED for p in states):
            return MAX_TIME
        if any(p.activity is Activity.ACTIVE for p in states) or self.strategy.when_quiet == "hold":
            return self.output
        return self._quiet(now, max(p.watermark for p in states))

    def _quiet(self, now: float, largest: int) -> int:
        if largest == MIN_TIME:
            return self.output  # nothing was ever read: there is no time to go on from
        if self._quiet_since is None:
            self._quiet_since = now
            return largest
        return min(LAST_TIME, largest + round((now - self._quiet_since) * 1e6))

    def snapshot(self) -> dict[str, object]:
        """The state as JSON; processing times are left out, they mean nothing to another process."""
        return {
            "output": self.output,
            "partitions": {
                name: [p.watermark, p.activity.value, p.catching_up] for name, p in self.partitions.items()
            },
        }

    def restore(self, state: dict[str, object], now: float) -> None:
        """Become what `snapshot` saw; partitions it did not know start from nothing."""
        output, partitions = state["output"], state["partitions"]
        assert isinstance(output, int)
        assert isinstance(partitions, dict)
        self.output = output
        for name, (watermark, activity, catching_up) in partitions.items():
            if name in self.partitions:
                self.partitions[name] = PartitionWatermark(watermark, Activity(activity), catching_up, now)
