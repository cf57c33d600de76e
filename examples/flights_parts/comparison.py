"""Streaming output plus late rows against the batch: recomputed with Arrow alone, window by window."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv

BOUNDS = ("window_start", "window_end")
TOLERANCE = 1e-9  # of a mean; counts and extremes must be equal
_HOUR = pa.scalar(3_600_000_000, pa.duration("us"))


@dataclass(frozen=True)
class Compared:
    """What came of it.

    Attributes:
        windows: windows of the batch.
        changed: the windows that lateness changed, most late rows first: before, after.
        gap: the largest difference between a mean of the batch and the recomputed one.
        differing: what is not equal, None if nothing is.
    """

    windows: int
    changed: pa.Table
    gap: float
    differing: str | None


def compare(streamed: pa.Table, late: pa.Table, batch: pa.Table, key: str) -> Compared:
    """Add the late rows to the streamed windows, and compare with the batch.

    Args:
        streamed: windows of the streaming run.
        late: the rows that it could not count any more, each for the window it missed.
        batch: windows of the batch run.
        key: the column that keys both.
    """
    parts = [_parts_of_windows(streamed, key)]
    if late.num_rows:
        parts.append(_parts_of_rows(late, key))
    merged = _merge(pa.concat_tables(parts), key)
    expected = batch.sort_by([(name, "ascending") for name in (*BOUNDS, key)])
    differing, gap = _difference(merged, expected, key)
    return Compared(batch.num_rows, _changed(merged, key), gap, differing)


def _parts_of_windows(windows: pa.Table, key: str) -> pa.Table:
    """Windows as sums. Delays are whole minutes: mean times count is a whole number again."""
    zeros = np.zeros(windows.num_rows, np.int64)
    counts = windows["departures"].to_numpy()
    return pa.table(
        {
            **{name: windows[name] for name in (key, *BOUNDS)},
            "departures": counts,
            "minutes": np.rint(windows["mean_delay"].to_numpy() * counts).astype(np.int64),
            "max_delay": windows["max_delay"],
            "delayed": np.rint(windows["over_15"].to_numpy() * counts).astype(np.int64),
            "late": zeros,
            "late_minutes": zeros,
        }
    )


def _parts_of_rows(rows: pa.Table, key: str) -> pa.Table:
    """Single rows as windows of one departure."""
    start = pc.floor_temporal(rows["scheduled"], unit="hour")
    bounds = [rows[b] for b in BOUNDS] if BOUNDS[0] in rows.column_names else [start, pc.add(start, _HOUR)]
    ones = np.ones(rows.num_rows, np.int64)
    return pa.table(
        {
            key: rows[key],
            **dict(zip(BOUNDS, bounds, strict=True)),
            "departures": ones,
            "minutes": rows["dep_delay"],
            "max_delay": rows["dep_delay"],
            "delayed": pc.greater(rows["dep_delay"], 15).cast(pa.int64()),
            "late": ones,
            "late_minutes": rows["dep_delay"],
        }
    )


def _merge(parts: pa.Table, key: str) -> pa.Table:
    """One row per window, in order."""
    sums = ("departures", "minutes", "delayed", "late", "late_minutes")
    merged = parts.group_by([key, *BOUNDS]).aggregate(
        [("max_delay", "max"), *((name, "sum") for name in sums)]
    )
    names = {f"{name}_sum": name for name in sums} | {"max_delay_max": "max_delay"}
    merged = merged.rename_columns([names.get(name, name) for name in merged.column_names])
    return merged.sort_by([(name, "ascending") for name in (*BOUNDS, key)])


def _difference(merged: pa.Table, batch: pa.Table, key: str) -> tuple[str | None, float]:
    if merged.num_rows != batch.num_rows:
        return f"{merged.num_rows:,} windows instead of {batch.num_rows:,}", np.inf
    for name in (key, *BOUNDS, "departures", "max_delay"):
        if not merged[name].combine_chunks().equals(batch[name].combine_chunks()):
            return f"column {name!r} differs", np.inf
    counts = merged["departures"].to_numpy()
    gaps = [
        np.abs(merged[total].to_numpy() / counts - batch[mean].to_numpy()).max(initial=0.0)
        for total, mean in (("minutes", "mean_delay"), ("delayed", "over_15"))
    ]
    gap = float(max(gaps))
    return (None if gap <= TOLERANCE else f"a mean differs by {gap}"), gap


def _changed(merged: pa.Table, key: str) -> pa.Table:
    """The windows with late rows: what streaming said, and what the batch says."""
    found = merged.filter(pc.field("late") > 0)
    counts, late = found["departures"].to_numpy(), found["late"].to_numpy()
    streamed, minutes = counts - late, found["minutes"].to_numpy()
    with np.errstate(invalid="ignore", divide="ignore"):
        before = (minutes - found["late_minutes"].to_numpy()) / streamed
    table = pa.table(
        {
            **{name: found[name] for name in (key, *BOUNDS)},
            "late_rows": late,
            "streamed_departures": streamed,
            "batch_departures": counts,
            "streamed_mean": pa.array(before, mask=streamed == 0),
            "batch_mean": minutes / counts,
        }
    )
    return table.sort_by([("late_rows", "descending"), *((name, "ascending") for name in (*BOUNDS, key))])


def write_changed(changed: pa.Table, path: Path) -> None:
    """All windows that lateness changed, as CSV."""
    pyarrow.csv.write_csv(changed, path)
