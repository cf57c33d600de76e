"""The store of a job's checkpoints on a disk: take the job, restore, write, acknowledge, release.

The way of an attempt: `open`; if that found a manifest, `load` its states (positions, watermarks and
versions stand in the manifest itself); commit what is `pending`, which an earlier attempt owes, and
`acknowledge` it. Then for each checkpoint: `prepare(next_number)` on the sinks, `write`, commit what
is now `pending`, `acknowledge` it, acknowledge the sources, `retain`. At the end, also after an
error, `release`.
"""

from __future__ import annotations

from dataclasses import dataclass

from streamlib.checkpoint import holder
from streamlib.checkpoint.capture import Capture, check_capture
from streamlib.checkpoint.fence import probe_links, publish
from streamlib.checkpoint.files import StateWriter, load_states
from streamlib.checkpoint.history import newest_manifest, read_entry
from streamlib.checkpoint.layout import Layout, check_attempt
from streamlib.checkpoint.manifest import Entry, Manifest, OperatorEntry, PendingCommit, Stub
from streamlib.checkpoint.retention import check_keep, retain
from streamlib.checkpoint.takeover import Claim, take
from streamlib.core.contracts import Clock, Disk, DiskLock, OperatorState
from streamlib.core.errors import InvariantError, StateError, TakenOverError

__all__ = ["KEEP", "Capture", "Restored", "StateStore"]

KEEP = 3
"""Real manifests that retention leaves: the newest, and two to look back at by hand."""


@dataclass(frozen=True)
class Restored:
    """What `StateStore.open` found.

    Attributes:
        job: the job's id, the same across restarts.
        manifest: the checkpoint to go on from; None at a first start.
    """

    job: str
    manifest: Manifest | None


class StateStore:
    """One attempt's hold on a job. Called from one thread at a time; every step goes through `disk`."""

    def __init__(self, root: str, disk: Disk, clock: Clock, attempt: str, keep: int = KEEP) -> None:
        """`attempt` is an id that no run ever had; `keep` (at least 1) is for `retain`."""
        self._layout = Layout(root)
        self._disk = disk
        self._clock = clock
        self._attempt = check_attempt(attempt)
        self._keep = check_keep(keep)
        self._flow = ""
        self._files = StateWriter(disk, self._layout, attempt)
        self._lock: DiskLock | None = None
        self._entries: list[Entry] = []
        self._pending: dict[str, list[PendingCommit]] = {}
        self._usable = False

    def open(self, *, flow: str, new_job: str, takeover: bool = False) -> Restored:
        """Take the job, and say from which checkpoint it goes on. Called once, before all else.

        When it returns, no earlier attempt can write a checkpoint any more. `new_job` becomes the
        job's id if the folder is new; otherwise the job keeps the id it has.

        Raises:
            JobHeldError: a live process holds the job and `takeover` is false; nothing was changed.
            CheckpointDamagedError: a manifest, or a file of the newest one, is missing or altered.
            StateIncompatibleError: a manifest has another format version.
            StateError: the folder can't be used: its file system lacks exclusive hard links, or locks.
        """
        try:
            self._prepare_folder()
            claim = Claim(self._attempt, new_job, takeover)
            self._entries = take(self._disk, self._layout, self._clock, claim)
        except BaseException:
            self.release()
            raise
        self._flow = flow
        self._usable = True
        manifest = newest_manifest(self._entries)
        self._pending = manifest.pending if manifest else {}
        return Restored(self._entries[-1].job, manifest)

    def _prepare_folder(self) -> None:
        try:
            self._disk.make_dirs(self._layout.manifests)
            self._disk.make_dirs(self._layout.locks)
            self._lock = holder.hold(self._disk, self._layout, self._attempt)
            probe_links(self._disk, self._layout, self._attempt)
        except OSError as error:
            raise StateError(
                f"the state folder {self._layout.root} can't be used",
                expected="a folder in which files can be made and locked",
                found=str(error),
                remedy="check the path, its permissions and its file system",
            ) from error

    def load(self, manifest: Manifest) -> dict[str, OperatorState]:
        """The operators' states, by operator id.

        Length and SHA-256 of every file are checked before the first one is decoded: on
        `CheckpointDamagedError` nothing has been handed out.
        """
        return load_states(self._disk, self._layout, manifest)

    @property
    def next_number(self) -> int:
        """The number that `write` takes next: known before it, since sinks prepare with it."""
        return self._entries[-1].number + 1

    @property
    def pending(self) -> dict[str, list[PendingCommit]]:
        """By sink, commits that a durable manifest holds and that were not acknowledged yet.

        In order of their numbers. After `open` those an earlier attempt owes, after `write` also
        the new ones. A sink that the flow no longer has stays here: dropping it loses its rows.
        """
        return {sink: list(commits) for sink, commits in self._pending.items()}

    def write(self, number: int, capture: Capture) -> Manifest:
        """Make a checkpoint durable. When it returns, the sinks may commit.

        After any exception the store refuses to write: whether the checkpoint exists is for the
        next attempt to see.

        Raises:
            TakenOverError: another attempt took the job; stop, and don't start again.
            TypeMismatchError: something in `capture` is not plain JSON.
            StateError: the state folder can't be written, or a file of the checkpoint before is gone.
        """
        self._check_usable(number)
        self._usable = False
        check_capture(capture)
        self.check_fence()  # spares a fenced attempt the writing; the fence itself is the link below
        try:
            operators = self._files.write(number, capture.operators, capture.versions)
            manifest = self._manifest(number, capture, operators)
            published = publish(self._disk, self._layout, manifest)
        except OSError as error:
            raise StateError(
                f"checkpoint {number} can't be written",
                expected="a state folder with room that this user can write",
                found=str(error),
                remedy="repair that, and start the job again: it goes on from its last checkpoint",
            ) from error
        if not published:
            raise self._taken_over()
        self._entries.append(manifest)
        self._pending = manifest.pending
        self._usable = True
        return manifest

    def _check_usable(self, number: int) -> None:
        if not self._usable:
            raise StateError(
                "this run of the job can't write checkpoints",
                expected="an open store whose last write succeeded",
                found="a store that is not open, was released, or failed to write",
                remedy="start the job again: it goes on from its last checkpoint",
            )
        if number != self.next_number:
            raise InvariantError(f"checkpoint {number} was to be written, but {self.next_number} is next")

    def _manifest(self, number: int, capture: Capture, operators: dict[str, OperatorEntry]) -> Manifest:
        pending = self.pending
        for sink, value in capture.prepared.items():
            if value is not None:
                pending.setdefault(sink, []).append(PendingCommit(number, value))
        stub = self._own_stub
        return Manifest(
            job=stub.job,
            flow=self._flow,
            number=number,
            attempt=self._attempt,
            restored_from=stub.restored_from,
            created=self._clock.now(),
            positions={source: dict(parts) for source, parts in capture.positions.items()},
            watermarks=capture.watermarks,
            operators=operators,
            pending=pending,
            finished=capture.finished,
        )

    @property
    def _own_stub(self) -> Stub:
        return next(entry for entry in reversed(self._entries) if isinstance(entry, Stub))

    def acknowledge(self, sink: str, number: int) -> None:
        """All of the sink's commits up to `number` are done: later manifests don't carry them."""
        left = [commit for commit in self._pending.get(sink, ()) if commit.number > number]
        self._pending = {**self._pending, sink: left}
        if not left:
            del self._pending[sink]

    def check_fence(self) -> None:
        """Raise `TakenOverError` if another attempt has taken the job over. Costs one stat."""
        if self._disk.size(self._layout.manifest(self.next_number)) is not None:
            raise self._taken_over()

    def _taken_over(self) -> TakenOverError:
        other = read_entry(self._disk, self._layout, self.next_number)
        return TakenOverError(
            f"the job in {self._layout.root} was taken over by attempt {other.attempt}",
            expected=f"number {self.next_number} free for attempt {self._attempt}",
            found=holder.describe(self._disk, self._layout, other.attempt),
            remedy="let this run end, and don't restart it: the other one goes on",
        )

    def retain(self) -> None:
        """Remove old manifests, then state files that no manifest names. Safe to crash in.

        Call it when the commits of the last `write` are done; leaving it out costs only space.
        """
        self._entries = retain(self._disk, self._layout, self._entries, self._keep)

    def release(self) -> None:
        """Let the next attempt start without `takeover`. May be called twice."""
        self._usable = False
        lock, self._lock = self._lock, None
        if lock is not None:
            holder.let_go(self._disk, self._layout, self._attempt, lock)
