"""Progress in a notebook: one small table that updates itself in the cell that started the job."""

from __future__ import annotations

import html
import importlib
import sys
from typing import Any

from streamlib.core.time import MAX_TIME, MIN_TIME, show_instant
from streamlib.plan.launch import Stats, Status
from streamlib.runners.progress import lag

EVERY = 0.25  # seconds: four updates a second look alive, and a notebook's page keeps up with them

COLORS = {"running": "#0072B2", "finished": "#009E73", "drained": "#E69F00", "failed": "#D55E00"}
"""Of the dot before the status, which also says it in words; safe for colour-blind readers."""

Figures = list[tuple[str, str]]


def in_notebook() -> bool:
    """Whether this process is the kernel of a notebook. IPython is not imported to find out."""
    ipython = sys.modules.get("IPython")
    shell = ipython.get_ipython() if ipython is not None else None
    return shell is not None and hasattr(shell, "kernel")


class NotebookProgress:
    """A display of its own, updated from the job's thread."""

    def __init__(self, name: str, state: str) -> None:
        self._name = name
        self._note = f"state in {state}"
        self._display: Any = None
        self._shown_at = 0.0
        self._shown_rows = 0
        self._figures: Figures = []

    def open(self) -> None:
        """Show the table, still without figures."""
        ipython: Any = importlib.import_module("IPython.display")
        self._display = ipython.display(self._bundle("running"), raw=True, display_id=True)

    def update(self, stats: Stats) -> None:
        """Show the figures if it is time."""
        elapsed = stats.seconds - self._shown_at
        if elapsed >= EVERY:
            rate = (stats.rows_read - self._shown_rows) / elapsed
            self._shown_at, self._shown_rows = stats.seconds, stats.rows_read
            self._figures = figures(stats, rate)
            self._show("running")

    def close(self, stats: Stats) -> None:
        """Show the last figures, with the average rate."""
        self._figures = figures(stats, stats.rows_read / stats.seconds if stats.seconds > 0 else 0.0)
        self._show("ended")

    def ended(self, status: Status, line: str) -> None:
        """Show how it ended."""
        self._note = line
        self._show(status)

    def _show(self, status: str) -> None:
        if self._display is None:
            return
        try:
            self._display.update(self._bundle(status), raw=True)
        except Exception:  # its page went away: no reason to stop a job
            self._display = None

    def _bundle(self, status: str) -> dict[str, str]:
        text = "  ".join(f"{label} {value}" for label, value in self._figures)
        return {
            "text/html": status_html(self._name, status, self._figures, self._note),
            "text/plain": f"{self._name} {status}  {text}".rstrip(),
        }


def figures(stats: Stats, rate: float) -> Figures:
    """What there is to show of a job, by name."""
    found = [("rows", f"{stats.rows:,}"), ("rows/s", f"{rate:,.0f}")]
    if stats.newest > MIN_TIME:
        mark = "all closed" if stats.watermark == MAX_TIME else _moment(stats.watermark)
        found += [("event time", _moment(stats.newest)), ("watermark", mark)]
        found += [("lag", lag(stats) or "–")]
    if stats.mode == "streaming":
        found.append(("late rows", f"{stats.late_rows:,}"))
    return [*found, ("checkpoint", str(stats.last_checkpoint or "–")), ("time", f"{stats.seconds:.1f} s")]


def _moment(micros: int) -> str:
    return "–" if micros == MIN_TIME else show_instant(micros)[:19].replace("T", " ")


def status_html(name: str, status: str, shown: Figures, note: str) -> str:
    """A job as a few lines of HTML; it takes font and colours from the page around it."""
    color = COLORS.get(status, "#888888")
    dot = f'<span style="color:{color}">●</span>'
    head = f"<div>{dot} <b>{html.escape(name)}</b> {html.escape(status)}</div>"
    small = "opacity:.65;font-size:85%"
    cell = "display:inline-block;margin:.2em 1.6em .2em 0"
    cells = "".join(
        f'<div style="{cell}"><div style="{small}">{html.escape(label)}</div>'
        f'<div style="font-variant-numeric:tabular-nums">{html.escape(value)}</div></div>'
        for label, value in shown
    )
    return f'<div>{head}<div>{cells}</div><div style="{small}">{html.escape(note)}</div></div>'
