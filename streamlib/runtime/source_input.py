"""A source at work: its partitions on their way in, and their watermarks."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property

from streamlib.core.errors import StreamlibError
from streamlib.core.policies import outcome
from streamlib.core.time import MIN_TIME
from streamlib.core.watermarks import SourceWatermarks, WatermarkStrategy
from streamlib.plan.bind import BoundNode
from streamlib.plan.node import Read
from streamlib.runtime.admission import FloorWatermarks
from streamlib.runtime.intake import EventTimes, Intake


@dataclass
class SourceInput:
    """A source at work: its partitions, and their watermarks."""

    bound: BoundNode
    read: Read
    intakes: dict[str, Intake]
    watermarks: SourceWatermarks | FloorWatermarks
    aligned: bool
    stamps: bool = False
    """Whether late rows are judged by stamps, so that batches need not be cut before them."""
    codes: bool = False
    """Whether all operators that see the rows take texts as codes."""
    newest: int = MIN_TIME
    by_time: bool = False
    """Whether partitions are opened when their time has come, as in batch runs, and not at once."""
    tells_origin: bool = False
    """Whether batches tell where their rows were read."""
    rescues: bool = False
    """Whether the job goes on where a record can't enter."""
    opened: dict[str, None] = field(default_factory=dict)
    """With `by_time` the partitions that are being read, and have not ended."""

    @classmethod
    def of(
        cls, bound: BoundNode, read: Read, partitions: Sequence[str], now: float, batch: bool
    ) -> SourceInput:
        """A source before anything of it was read, in a `batch` or in a stream."""
        times = EventTimes(read, bound.output_types[0].schema)
        rescues = outcome(bound.node.on_error) != "fail"
        intakes = {partition: Intake(times, rescues) for partition in partitions}
        marks: SourceWatermarks | FloorWatermarks
        if batch:
            marks = FloorWatermarks(list(partitions))
        else:
            # a source without event time has no rows to observe: its watermark moves at its end only
            marks = SourceWatermarks(read.watermark or WatermarkStrategy(0), partitions, now)
        return cls(bound, read, intakes, marks, aligned=False, by_time=batch, rescues=rescues)

    def __post_init__(self) -> None:
        self.name = self.bound.id
        """The source's name in the flow."""

    def blame(self, partition: str, error: StreamlibError) -> StreamlibError:
        """The error, which came up at the rows of a partition that enter next."""
        rows = self.intakes[partition].rows
        error.add_note(f"reading partition {partition!r}, after {rows:,} rows that entered")
        return self.bound.node.blame(error)

    @property
    def idle_after(self) -> int | None:
        """The silence after which a partition is idle; None: time alone moves nothing."""
        marks = self.watermarks
        return marks.strategy.idle_after if isinstance(marks, SourceWatermarks) else None

    def behind(self, partition: str) -> int:
        """How far a partition is: what decides who enters next."""
        if isinstance(self.watermarks, FloorWatermarks):
            return self.watermarks.floors[partition]
        return self.watermarks.partitions[partition].watermark

    @cached_property
    def places(self) -> dict[str, int]:
        """The numbers of the partitions, in their order."""
        return {partition: i for i, partition in enumerate(self.intakes)}

    @cached_property
    def unopened(self) -> list[str]:
        """With `by_time` the partitions of which nothing was read in this run; the next to open is last."""
        left = [(self.behind(p), i, p) for i, p in enumerate(self.intakes) if not self.intakes[p].ended]
        return [p for _, _, p in sorted(left, reverse=True)]

    def open(self, partition: str) -> None:
        """The partition is being read from now on."""
        if self.by_time and partition not in self.opened:
            self.unopened.remove(partition)
            self.opened[partition] = None

    @property
    def ended(self) -> bool:
        """Whether every partition ended and all its rows entered."""
        if self.by_time:
            return not self.unopened and not self.opened
        for intake in self.intakes.values():  # noqa: SIM110 - asked after every batch: half the price of `all`
            if not intake.ended:
                return False
        return True

    def holds(self, partition: str) -> bool:
        """Whether the others wait for this partition: it has not ended and is not idle."""
        intake = self.intakes[partition]
        if intake.has_rows:
            return True
        if intake.ended:
            return False
        marks = self.watermarks
        return isinstance(marks, FloorWatermarks) or marks.partitions[partition].counts
