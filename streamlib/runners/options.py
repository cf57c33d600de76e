"""How a job is run."""

from __future__ import annotations

import os
from dataclasses import dataclass

from streamlib.core.time import Duration
from streamlib.runtime.pipeline import Mode


@dataclass(frozen=True)
class JobOptions:
    """How a job is run.

    Attributes:
        state: folder of the job's state. Default: `.streamlib/<flow>` (`.streamlib/<flow>.backfill`
            for a batch run) below the working directory.
        checkpoint_interval: time between checkpoints. Output appears at checkpoints.
        takeover: take the job from a process that still runs.
        finish: when stopped, close all windows and end the job for good.
        drain_timeout: how long a stop may take.
    """

    state: str | None = None
    checkpoint_interval: Duration = "10s"
    takeover: bool = False
    finish: bool = False
    drain_timeout: Duration = "60s"


def default_state(flow: str, mode: Mode) -> str:
    """Where the state of a flow's job lives unless said otherwise."""
    suffix = ".backfill" if mode == "batch" else ""
    return os.path.join(".streamlib", flow + suffix)
