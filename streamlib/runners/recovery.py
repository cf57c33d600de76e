"""Recovery: a new attempt opens the sinks and finishes the commits that an earlier one owes."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from concurrent.futures import Future
from typing import Any

from streamlib.checkpoint.manifest import Manifest
from streamlib.checkpoint.store import StateStore
from streamlib.core.contracts import Cleans, Disk, Json, SinkContext, SinkWriter
from streamlib.core.errors import StateError, StateIncompatibleError, StreamlibError, TakenOverError
from streamlib.core.span import Span
from streamlib.plan.bind import BoundFlow
from streamlib.runners.blame import blaming
from streamlib.runtime.pipeline import Mode


def kind_of_run(mode: Mode, span: Span | None) -> dict[str, Json]:
    """What a checkpoint says of its run, that a run which goes on from it has to share."""
    return {"mode": mode} if span is None else {"mode": mode, "span": span.describe()}


def check_kind(manifest: Manifest, kind: Mapping[str, Json], state: str) -> None:
    """Raise `StateIncompatibleError` for a batch after a stream, a stream after a batch, or another span.

    What is late, and so the result, would depend on where one ended and the other began; of another
    span rows would be missing that the first run had passed by.
    """
    found = {name: manifest.watermarks[name] for name in ("mode", "span") if name in manifest.watermarks}
    if found != kind:
        raise StateIncompatibleError(
            f"the state in {state} is that of a {_shown(found)}",
            expected=f"the state of a {_shown(kind)}, or an empty folder",
            found=f"a {_shown(found)} at checkpoint {manifest.number}",
            remedy="give this run another state folder, and sinks of its own",
        )


def _shown(kind: Mapping[str, Json]) -> str:
    return f"{kind['mode']} run" + (f" {kind['span']}" if "span" in kind else "")


def opened(
    bound: BoundFlow, job: str, attempt: str, disk: Disk, restored: int
) -> Iterator[tuple[str, SinkWriter]]:
    """Open the sinks one by one; names and writers. Raises, naming the sink, where one can't be."""
    for name, (node, write) in bound.writes().items():
        stream = node.input_types[0]
        context = SinkContext(job, name, attempt, stream.schema, disk, stream.changes, restored)
        with blaming(node.node):
            writer = write.sink.open(context)
        yield name, writer


def check_not_behind(bound: BoundFlow, writers: Mapping[str, SinkWriter], number: int, state: str) -> None:
    """Raise `StateError` if readers see output of a later checkpoint than `number`, the newest there is."""
    for name, (node, _) in bound.writes().items():
        with blaming(node.node):
            shown = writers[name].last_committed()
        if shown > number:
            raise StateError(
                f"sink {name!r} has published more than the state knows of",
                expected=f"output up to checkpoint {number}, the newest in {state}",
                found=f"output of checkpoint {shown}",
                remedy="put the missing manifests back; going on from here would publish rows twice",
            )


def finish_commits(bound: BoundFlow, store: StateStore, writers: Mapping[str, SinkWriter]) -> None:
    """Repeat the commits that an earlier attempt may not have finished, then remove what it left behind."""
    pending = store.pending
    for name in pending:
        if name not in writers:
            raise StateIncompatibleError(
                f"rows for sink {name!r} wait to be published, and the flow has no such sink",
                expected=f"a sink {name!r}",
                found=f"sinks {', '.join(writers)}",
                remedy="run once with the sink under its old name",
            )
    for name, (node, _) in bound.writes().items():
        writer = writers[name]
        with blaming(node.node):
            for commit in pending.get(name, ()):
                writer.commit(commit.number, commit.value)
                store.acknowledge(name, commit.number)
            if isinstance(writer, Cleans):
                writer.clean(set())


def taken_over(store: StateStore, written: Future[Any] | None) -> TakenOverError | None:
    """The error that lies behind another where a successor has the job: it tidies up what this run staged.

    So a sink may fail before the fence is met. `written` is the last write of a manifest; it has ended.
    """
    if written is not None:
        failure = written.exception() if written.done() else TimeoutError()
        if failure is not None:  # what is there now may be this run's own manifest
            return failure if isinstance(failure, TakenOverError) else None
    try:
        store.check_fence()
    except TakenOverError as fenced:
        return fenced
    except (StreamlibError, OSError):
        pass  # the state can't be read: the other error says more
    return None
