"""What `stream.preview` does: streams a sample without a job, and shows the first rows of the result."""

from __future__ import annotations

import html
from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import partial

import pyarrow as pa

from streamlib.connectors.tables import cell_texts, format_table, is_number
from streamlib.core.contracts import Infers, Source, SourceReader
from streamlib.operators.unhinted import Unhinted
from streamlib.plan.bind import ordered, rewritten
from streamlib.plan.launch import Until
from streamlib.plan.node import Port, Read, Spec
from streamlib.plan.stream import Handle
from streamlib.runners.blame import blaming
from streamlib.runners.collecting import COLLECTED, Run, Stop, only, table
from streamlib.runners.driver import BatchSize
from streamlib.runners.feeds import Feed, InlineFeed
from streamlib.runners.progress import failures_text
from streamlib.runners.sampled import typed_by_sample
from streamlib.runners.world import LocalWorld

READ_AT_MOST = 1_000_000  # rows: a second or so of Arrow kernels, should no row come out of them
FIRST_STEP = 16  # rows: few, since a user's function may take a second for each; then more and more


@dataclass(frozen=True)
class TablePreview:
    """The first rows of a stream. Shows itself as a table: as text, and in a notebook as HTML.

    Attributes:
        table: the rows.
        notes: what to know about them.
    """

    table: pa.Table
    notes: tuple[str, ...]

    def __repr__(self) -> str:
        return "\n".join([format_table(self.table, types=True), *(f"({note})" for note in self.notes)])

    def _repr_html_(self) -> str:
        fields, columns = self.table.schema, [column.to_pylist() for column in cell_texts(self.table)]
        sides = ["right" if is_number(field.type) else "left" for field in fields]
        head = "".join(
            _cell("th", side, f"{html.escape(field.name)}<br>{_small(str(field.type))}")
            for side, field in zip(sides, fields, strict=True)
        )
        rows = "".join(
            "".join(
                ["<tr>", *(_cell("td", *pair) for pair in zip(sides, map(html.escape, row), strict=True))]
            )
            for row in zip(*columns, strict=True)
        )
        notes = "".join(f"<div>{_small(note)}</div>" for note in self.notes)
        return f"<div><table><thead><tr>{head}</tr></thead><tbody>{rows}</tbody></table>{notes}</div>"


def _cell(tag: str, side: str, content: str) -> str:
    return f'<{tag} style="text-align:{side}">{content}</{tag}>'


def _small(text: str) -> str:
    return f'<span style="opacity:.65;font-weight:normal">{html.escape(text)}</span>'


class SampleWorld(LocalWorld):
    """Reads in place, and only what is asked for: nothing is read ahead of a run that stops soon."""

    def feed(self, source: Source, reader: SourceReader) -> Feed:
        return InlineFeed(reader)


def preview(stream: Handle, n: int, until: Until) -> TablePreview:
    """The first `n` rows that come out of a stream, whose sources are read as far as needed."""
    world = SampleWorld()
    stream, lines = _inferred(stream, until)
    flow = only(stream)
    stop = Stop(n, until, world.clock, READ_AT_MOST)
    run = Run(flow, "streaming", world, stop, BatchSize(FIRST_STEP, smallest=1, waits=True))
    run.go(close_windows=True)
    rows = table(flow, COLLECTED, run.found[COLLECTED])
    return TablePreview(rows.slice(0, n), (*_notes(run, rows.num_rows, n), *lines))


def _inferred(stream: Handle, until: Until) -> tuple[Handle, list[str]]:
    """The stream with columns for sources and functions that lack them, and the lines to paste for them."""
    end, lines = stream.port.node, []
    specs: dict[int, Spec] = {}
    for node in ordered([end]):
        if isinstance(node.spec, Read) and isinstance(node.spec.source, Infers):
            with blaming(node):
                source, line = node.spec.source.inferred()
            if line is not None:
                specs[id(node)] = replace(node.spec, source=source)
                lines.append(f"source {node.name!r} needs {line}")
    (end,) = rewritten([end], specs)
    while (unhinted := next((n for n in ordered([end]) if isinstance(n.spec, Unhinted)), None)) is not None:
        sample = partial(_sampled, Handle(unhinted.inputs[0]), until)
        with blaming(unhinted):
            spec, line = typed_by_sample(unhinted, sample)
        lines.append(line)
        (end,) = rewritten([end], {id(unhinted): spec})
    return type(stream)(Port(end, stream.port.output)), lines


def _sampled(stream: Handle, until: Until, n: int) -> pa.Table:
    """The first rows of a stream."""
    world, flow = SampleWorld(), only(stream)
    stop = Stop(n, until, world.clock, READ_AT_MOST)
    run = Run(flow, "streaming", world, stop, BatchSize(FIRST_STEP, smallest=1, waits=True))
    run.go(close_windows=True)
    return table(flow, COLLECTED, run.found[COLLECTED]).slice(0, n)


def _notes(run: Run, found: int, n: int) -> Iterator[str]:
    """How much was read for how many rows, and what ended it."""
    rows = f"{min(found, n):,} {'row' if min(found, n) == 1 else 'rows'}"
    read = f"{run.read:,} {'row was' if run.read == 1 else 'rows were'} read"
    failed = failures_text(run.failures)
    if failed:
        yield failed
    if found >= n:
        yield f"{rows}, the first ones; {read}"
    elif run.early:
        why = "the most a preview reads" if run.read >= READ_AT_MOST else "then time was up (see `until=`)"
        yield f"{rows}; {read}, {why}"
        if run.closed:
            yield "windows that were still open are shown as they stood then"
    else:
        yield f"{rows}, all there are; {read}"
