"""A worker's own process: it answers until the coordinator is gone."""

from __future__ import annotations

import itertools
import multiprocessing
import os
import pickle
import signal
import socket
import sys
import threading
import traceback
from contextlib import suppress
from dataclasses import dataclass, replace
from multiprocessing.connection import wait
from pathlib import Path
from typing import Any

import pyarrow as pa

from streamlib.core.errors import WorkerError, shown
from streamlib.core.modules import load_files
from streamlib.core.segment import Segment
from streamlib.runners.allocation import keep_freed_memory
from streamlib.runners.carried_states import Carried, SegmentsHere, carried
from streamlib.runners.channel import Channel
from streamlib.runners.clock import RealClock
from streamlib.runners.patience import ClockPatience
from streamlib.runners.switching import SWITCH_INTERVAL
from streamlib.runtime.worker import Parcel, Reply, Task, Worker

_OURS = str(Path(__file__).parents[1])

END_TIMEOUT = 1.0  # seconds the thread beside the calls gets to end: it meets the end of its connection


def serve(calls: socket.socket, states: socket.socket, number: int, count: int) -> None:
    """Be worker `number` of `count`: the first of the calls brings the flow and its files.

    What comes over `states` are numbers of segments, whose rows are made in a thread beside the calls.
    """
    for name in (signal.SIGINT, signal.SIGTERM):
        signal.signal(name, signal.SIG_IGN)  # a terminal or supervisor tells all; the coordinator drains
    threading.Thread(target=_end_with_parent, daemon=True).start()
    keep_freed_memory()
    pa.set_cpu_count(1)  # there is a process for every core
    sys.setswitchinterval(SWITCH_INTERVAL)
    station = _Station(number, count)
    beside = threading.Thread(target=_answer_for_ever, args=(station, Channel(states)), daemon=True)
    beside.start()
    _answer_for_ever(station, Channel(calls))
    beside.join(END_TIMEOUT)  # a daemon that is stopped inside of Arrow aborts the process


def _answer_for_ever(station: _Station, channel: Channel) -> None:
    with suppress(EOFError, OSError):  # the coordinator hung up
        while True:
            channel.send(station.answer(*channel.receive()))


def _end_with_parent() -> None:
    """A worker that is busy would notice at its next reply only; nobody waits for that one any more."""
    parent = multiprocessing.parent_process()
    if parent is not None:
        wait([parent.sentinel])
        os._exit(1)


@dataclass(frozen=True)
class Kept:
    """Stands for the content of a parcel that stayed where it was made."""

    number: int


class _Station:
    """The worker, and what the coordinator may ask of it."""

    def __init__(self, number: int, count: int) -> None:
        self._number, self._count = number, count
        self._segments = SegmentsHere()
        self._kept: dict[int, Any] = {}
        self._numbers = itertools.count()

    def answer(self, method: str, argument: Any) -> tuple[Any, BaseException | None]:
        """The result of a call, or the error that it raised."""
        try:
            return getattr(self, f"_{method}")(argument), None
        except BaseException as error:
            return None, _portable(error, f"worker {self._number} of {self._count}")

    def _begin(self, start: tuple[dict[str, str], bytes]) -> None:
        files, flow = start
        load_files(files)  # the flow's functions are found by the names of their modules
        patience = ClockPatience(RealClock())
        self._worker = Worker(pickle.loads(flow), self._number, self._count, patience)

    def _run(self, task: Task) -> Reply:
        task.parcels = [self._unpacked(parcel) for parcel in task.parcels]
        reply = self._worker.run(task)
        reply.parcels = [self._packed(parcel) for parcel in reply.parcels]
        return reply

    def _packed(self, parcel: Parcel) -> Parcel:
        """A parcel to this worker itself stays here; a number travels in its place."""
        if parcel.owner != self._number:
            return parcel
        number = next(self._numbers)
        self._kept[number] = parcel.content
        return replace(parcel, content=Kept(number))

    def _unpacked(self, parcel: Parcel) -> Parcel:
        kept = parcel.content
        return replace(parcel, content=self._kept.pop(kept.number)) if isinstance(kept, Kept) else parcel

    def _snapshot(self, _: None) -> Carried:
        return self._segments.numbered(self._worker.snapshot())

    def _rows(self, segment: int) -> pa.Table:
        return self._segments.rows(segment)

    def _restore(self, states: Carried) -> None:
        self._worker.restore_part(carried(states, Segment.of))


def _portable(error: BaseException, worker: str) -> BaseException:
    """The error as it can be sent: with its notes, and where the user's code raised it."""
    frames = [f for f in traceback.extract_tb(error.__traceback__) if not f.filename.startswith(_OURS)]
    if frames:
        lines = "".join(traceback.format_list(frames)).rstrip()
        error.add_note(f"raised in {worker}:\n{lines}")
    try:
        pickle.loads(pickle.dumps(error))
    except Exception:
        found = WorkerError(
            f"{worker} raised an error that can't be sent",
            found=f"{type(error).__name__}: {shown(str(error))}",
        )
        for note in getattr(error, "__notes__", ()):
            found.add_note(note)
        return found
    return error
