"""The whole protocol under power cuts: what is published equals a run that was never disturbed."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from streamlib.checkpoint import files, history, store
from streamlib.checkpoint.manifest import Manifest
from streamlib.operators import crowded_slices, fired_windows, sealed, slices, window_operator
from streamlib.state import deltas
from streamlib.testing.simulator import Outcome, crash_table, live
from tests.flows import Case, UpdatingCase, applied_rows, late_rows, missed_rows, pane_rows, table_rows

SEEDS = 300
UPDATING_SEEDS = 80  # with seven sinks each takes as long as three
# The steps without which there is no exactly-once; a crash has to have hit each of them.
STEPS = (
    "run: read",
    "sink write: write (output)",
    "sink prepare: write (output)",
    "sink prepare: sync (output)",
    "sink prepare: sync_dir (output)",
    "store write: write (data)",
    "store write: sync (data)",
    "store write: sync_dir (data)",
    "store write: write (manifests)",
    "store write: sync (manifests)",
    "store write: link (manifests)",
    "store write: sync_dir (manifests)",
    "sink commit: rename (output)",
    "sink commit: sync_dir (output)",
    "store acknowledge: remove (manifests)",
    "store acknowledge: remove (data)",
    "start: link (manifests)",
    "start: read (manifests)",
    "start: read (data)",
    "start: rename (output)",
)


def survive(seed: int, interval: str = "50ms") -> Outcome:
    case = Case(seed)
    outcome = live(
        case.flow,
        case.schemas,
        seed,
        crashes=1 + seed % 3,
        parallelism=(1, 2, 3, 4),
        interval=interval,  # so often that retention has old manifests to remove
    )
    expected = case.expected()
    tables = outcome.tables
    assert table_rows(tables["/out/panes"]) == pane_rows(expected), f"seed {seed}: {outcome.crashes}"
    assert table_rows(tables["/out/late"]) == late_rows(expected), f"seed {seed}: {outcome.crashes}"
    assert table_rows(tables["/out/missed"]) == missed_rows(expected), f"seed {seed}: {outcome.crashes}"
    assert outcome.result is not None
    assert outcome.result.late_rows == len(expected.late)
    return outcome


def survive_with_updates(seed: int, interval: str = "250ms") -> Outcome:
    case = UpdatingCase(seed)
    outcome = live(
        case.flow, case.schemas, seed, crashes=1 + seed % 3, interval=interval, parallelism=(1, 2, 3, 4)
    )
    tables, what = outcome.tables, f"seed {seed}: {outcome.crashes}"
    expected = case.expected()
    assert table_rows(tables["/out/panes"]) == pane_rows(expected), what
    assert table_rows(tables["/out/final"]) == pane_rows(expected), what
    assert applied_rows(tables["/out/changes"]) == pane_rows(expected), what
    assert table_rows(tables["/out/late"]) == late_rows(expected), what
    assert table_rows(tables["/out/missed"]) == missed_rows(expected), what
    assert table_rows(tables["/out/totals"]) == case.expected_totals(), what
    assert table_rows(tables["/out/sizes"]) == case.expected_sizes(), what
    return outcome


@contextmanager
def eager_compaction() -> Iterator[Counter[str]]:
    """State is put together after few rows and snapshots. Whenever a job is taken, and old files are removed,
    all files that any manifest names have to be there. Counts what happened."""
    seen: Counter[str] = Counter()
    few = [(slices, "MAX_PARTIALS", 2), (window_operator, "SMALL_ROWS", 1), (fired_windows, "MANY_TOLD", 3)]
    few += [(sealed, "MANY_RUNS", 3), (sealed, "FEW_GROUPS", 2)]
    few += [(deltas, "FEW_SLOTS", 1), (deltas, "ROUND", 2), (deltas, "MANY_SEGMENTS", 5)]
    with pytest.MonkeyPatch.context() as patch:
        for module, name, value in few:
            patch.setattr(module, name, value)
        for owner, name in (
            (store.StateStore, "open"),
            (store.StateStore, "retain"),
            (crowded_slices.CrowdedSlices, "open"),
            (crowded_slices.CrowdedSlices, "restore"),
            (deltas.Deltas, "_go_on"),
        ):
            patch.setattr(owner, name, _counted(owner, name, seen))
        yield seen


def _counted(owner, name, seen):
    call = getattr(owner, name)

    def counted(self, *arguments, **options):
        found = call(self, *arguments, **options)
        seen[f"{owner.__name__}.{name}"] += 1
        if isinstance(self, store.StateStore):
            seen["shared files"] += _check_named_files(self)
        return found

    return counted


def _check_named_files(held: store.StateStore) -> int:
    """Raise unless the files of all manifests are there; how many are named by more than one."""
    disk, layout = held._disk, held._layout
    entries = [history.read_entry(disk, layout, number) for number in history.list_numbers(disk, layout)]
    manifests = [entry for entry in entries if isinstance(entry, Manifest)]
    for manifest in manifests:
        files.check_sizes(disk, layout, manifest)
    named = Counter(file.file for manifest in manifests for file in files.state_files(manifest))
    return sum(count > 1 for count in named.values())


def test_power_cuts_while_state_is_put_together_lose_and_double_nothing():
    """Also restarts from the middle of a compaction, and with segments that several checkpoints share."""
    with eager_compaction() as seen:
        outcomes = [survive(seed, "20ms") for seed in range(40)]
        outcomes += [survive_with_updates(seed, "30ms") for seed in range(2)]
    hit = {name for outcome in outcomes for name in outcome.crashes}
    assert {name.split(":")[0] for name in hit} >= {"start", "run", "store write", "store acknowledge"}
    assert min(seen.values()) > 10, seen


def test_power_cuts_leave_tables_and_changes_as_a_run_that_was_never_disturbed():
    outcomes = [survive_with_updates(seed) for seed in range(UPDATING_SEEDS)]
    hit = {name for outcome in outcomes for name in outcome.crashes}
    assert "sink commit: rename (output)" in hit


def test_power_cuts_at_every_step_lose_and_double_nothing(record_property):
    outcomes = [survive(seed) for seed in range(SEEDS)]
    record_property("report", crash_table(outcomes))
    hit = {name for outcome in outcomes for name in outcome.crashes}
    assert not [step for step in STEPS if step not in hit]
    crashes = sum(len(o.crashes) for o in outcomes)
    assert sum(o.crashed_after_commit for o in outcomes) * 2 >= crashes


@pytest.mark.real
@pytest.mark.parametrize("start", range(1000, 4000, 500))
def test_many_more_power_cuts(start):
    for seed in range(start, start + 500):
        survive(seed)
        if seed % 5 == 0:
            survive_with_updates(seed)


def test_a_seed_replays_exactly():
    first, second = survive(7), survive(7)
    assert first.crashes == second.crashes
    assert first.result == second.result


def test_rows_skipped_after_a_restore_stay_skipped_in_the_next_checkpoint():
    """A restored partition that was checkpointed again before all skipped rows came read them twice."""
    survive(34)
