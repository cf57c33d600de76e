"""Progress for people: one living line in a terminal, plain lines now and then elsewhere."""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from typing import Protocol, TextIO, get_args

from streamlib.core.errors import DefinitionError, did_you_mean, shown
from streamlib.core.settings import ProgressStyle
from streamlib.core.time import MAX_TIME, MIN_TIME, SECOND, show_duration, show_instant
from streamlib.plan.launch import JobResult, Stats, Status
from streamlib.runners.stats import Progress, Silent

LIVE_EVERY = 0.1  # seconds: ten frames a second look alive
PLAIN_EVERY = 2.0  # seconds: a log stays readable


class TextProgress:
    """Writes to a stream, at most so often."""

    def __init__(self, stream: TextIO, live: bool) -> None:
        self._stream = stream
        self._live = live
        self._gone = False
        self._shown_at = 0.0
        self._shown_rows = 0
        self._rate = 0.0

    def open(self) -> None:
        """There is nothing to show yet."""

    def update(self, stats: Stats) -> None:
        """Show the line if it is time."""
        elapsed = stats.seconds - self._shown_at
        if elapsed < (LIVE_EVERY if self._live else PLAIN_EVERY):
            return
        self._rate = (stats.rows_read - self._shown_rows) / elapsed
        self._shown_at, self._shown_rows = stats.seconds, stats.rows_read
        self._show(progress_line(stats, self._rate), end="" if self._live else "\n")

    def close(self, stats: Stats) -> None:
        """Show the last state, with the average rate."""
        rate = stats.rows_read / stats.seconds if stats.seconds > 0 else 0.0
        self._show(progress_line(stats, rate), end="\n")

    def ended(self, status: Status, line: str) -> None:
        """Show how it ended."""
        self._show(line, end="\n")

    def _show(self, line: str, end: str) -> None:
        if self._gone:
            return
        if self._live:
            # One that wraps can't be redrawn; the last one stays as it is.
            width = None if end else shutil.get_terminal_size().columns - 1
            line = "\r\x1b[K" + line[:width]
        try:
            self._stream.write(line + end)
            self._stream.flush()
        except (OSError, ValueError):  # its reader went away, or it was closed: no reason to stop a job
            self._gone = True


def progress_line(stats: Stats, rate: float) -> str:
    """Rows, rate, event time, how far the watermark lags behind it, late rows, last checkpoint.

    >>> progress_line(Stats("streaming", 1200, 1200, None, 1.0, 7_200_000_000, 0, 3, 2, 2), 1200)
    '1,200 rows  1,200/s  1970-01-01 02:00  lag 2h  3 late  checkpoint 2'
    """
    parts = [_rows(stats), f"{rate:,.0f}/s"]
    if stats.mode == "batch" and stats.total_rows and 0 < stats.rows < stats.total_rows and rate > 0:
        parts.append(f"about {(stats.total_rows - stats.rows) / rate:,.0f} s left")
    if stats.newest > MIN_TIME:
        parts.append(show_instant(stats.newest)[:16].replace("T", " "))
        parts.append(_NO_LAG.get(stats.watermark) or f"lag {lag(stats)}")
    if stats.mode == "streaming":
        parts.append(f"{stats.late_rows:,} late")
    parts += [f"{sum(stats.skipped.values()):,} skipped"] if stats.skipped else []
    parts += [_letters(sum(stats.dead_letters.values()))] if stats.dead_letters else []
    if stats.last_checkpoint:
        parts.append(f"checkpoint {stats.last_checkpoint}")
    return "  ".join(parts)


def _rows(stats: Stats) -> str:
    if stats.mode == "batch" and stats.total_rows:
        return f"{stats.rows:,} of {stats.total_rows:,} rows ({100 * stats.rows // stats.total_rows} %)"
    return f"{stats.rows:,} rows"


_NO_LAG = {MAX_TIME: "all closed", MIN_TIME: "no watermark yet"}


def lag(stats: Stats) -> str | None:
    """How far the watermark is behind the newest event time, None where it has none.

    Without seconds from an hour on: in a terminal every column counts.
    """
    if stats.watermark in _NO_LAG:
        return None
    behind = max(0, stats.newest - stats.watermark)
    return show_duration(behind - behind % (60 * SECOND if behind > 3600 * SECOND else SECOND))


def progress_to(stream: TextIO | None, style: ProgressStyle = "auto") -> Progress:
    """The progress for a stream: `live`, `plain`, `none`, or `auto` (live in a terminal).

    Nothing is shown where there is no stream: `sys.stderr` is None in a process that began without.
    """
    styles = get_args(ProgressStyle)
    if style not in styles:
        raise DefinitionError(
            "there is no such progress",
            expected=f"one of {', '.join(styles)}",
            found=shown(style),
            remedy=did_you_mean(str(style), styles) or "leave it out",
        )
    if style == "none" or stream is None:
        return Silent()
    return TextProgress(stream, live=stream.isatty() if style == "auto" else style == "live")


class Counts(Protocol):
    """Whatever counts failures by operator."""

    @property
    def skipped(self) -> Mapping[str, int]: ...
    @property
    def dead_letters(self) -> Mapping[str, int]: ...


def failures_text(counts: Counts, end: str = "") -> str:
    """What failed without stopping the job, by operator; nothing where nothing did."""
    parts = [f"{_records(n)} skipped in {name!r}" for name, n in counts.skipped.items()]
    parts += [f"{_letters(n)} from {name!r}" for name, n in counts.dead_letters.items()]
    return ", ".join(parts) + end if parts else ""


def _records(n: int) -> str:
    return f"{n:,} record{'' if n == 1 else 's'}"


def _letters(n: int) -> str:
    return f"{n:,} dead letter{'' if n == 1 else 's'}"


def summary(result: JobResult, flow: str, state: str) -> str:
    """How a run ended, in one line for people."""
    if result.outcome == "already finished":
        return (
            f"{flow} had finished at checkpoint {result.last_checkpoint}: nothing was left to do. "
            f"To run it anew give another state folder than {state}"
        )
    where = "" if result.restored_from is None else f" (after checkpoint {result.restored_from})"
    return (
        f"{flow} {result.outcome}: {result.rows_read:,} rows{where} in {result.seconds:.1f} s, "
        f"{result.late_rows:,} late, {failures_text(result, ', ')}"
        f"checkpoint {result.last_checkpoint}, state in {state}"
    )
