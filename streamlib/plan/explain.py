"""A plan in words: every operator with all that is known of it, or a tree that shows who feeds whom."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from streamlib.core.contracts import StreamType
from streamlib.plan.description import Input, Plan, Rows, Step, rows_of

LINE_LIMIT = 110  # characters of a line of the tree: it is an overview


def as_text(plan: Plan) -> str:
    """The plan as text: ids, settings, inputs, schemas, state, ends, then the guarantee."""
    lines = [f"flow {plan.flow}"]
    for step in plan.operators:
        lines += _step_lines(step)
    if plan.guarantee is not None:
        lines.append(f"guarantee: {_guarantee(plan)}")
    return "\n".join(lines)


def _step_lines(step: Step) -> Iterator[str]:
    head = f"  {step.id}" if step.id == step.kind else f"  {step.id} [{step.kind}]"
    yield f"{head} <- {', '.join(_from(i) for i in step.inputs)}" if step.inputs else head
    facts = [_settings(step), *_end(step), *_state(step)]
    facts += [f"{output.name}: {show_rows(output.rows)}" for output in step.outputs if output.rows]
    facts += [f"unbounded state: grows {step.state.grows}"] if step.state and step.state.grows else []
    facts += [] if step.order_sensitive is None else [f"order-sensitive: {step.order_sensitive}"]
    facts += [] if step.error is None else [f"error: {step.error}"]
    for fact in facts:
        if fact:
            yield "      " + fact.replace("\n", "\n      ")


def _settings(step: Step) -> str:
    parts = [step.settings]
    if step.source is not None:
        if step.source.event_time is not None:
            parts.append(f"event time {step.source.event_time}")
        if step.source.watermark is not None:
            parts.append(f"watermark {step.source.watermark}")
        if step.source.max_ahead is not None:
            parts.append(f"at most {step.source.max_ahead} ahead of the clock")
    return "; ".join(parts)


def _end(step: Step) -> Iterator[str]:
    if step.source is not None:
        bounds = "bounded" if step.source.bounded else "unbounded"
        yield f"{step.source.replay}, {bounds}: {step.source.guarantee}"
        if step.source.columns is not None:
            yield f"reads only {', '.join(step.source.columns)}"
        if step.source.rows is not None:
            yield f"leaves out what holds no row with {step.source.rows}"
    if step.sink is not None:
        yield f"takes {' and '.join(step.sink.takes)} rows; {step.sink.delivery}: {step.sink.guarantee}"


def _state(step: Step) -> Iterator[str]:
    if step.state is not None and step.state.keys:
        yield f"state by {', '.join(step.state.keys)} in {step.state.key_groups} key groups"
    elif step.state is not None:
        yield "state in one place (not by keys)"
    if step.state is not None and step.state.keeps is not None:
        yield f"keeps {step.state.keeps} of every row"


def _from(source: Input) -> str:
    return source.operator if source.output == "out" else f"{source.operator}.{source.output}"


def _guarantee(plan: Plan) -> str:
    return f"{plan.guarantee}" if plan.weakest is None else f"{plan.guarantee} (because of {plan.weakest})"


def show_type(stream_type: StreamType) -> str:
    """A stream's type on one line."""
    return show_rows(rows_of(stream_type))


def show_rows(rows: Rows) -> str:
    """What flows along an edge, on one line."""
    columns = ", ".join(f"{column.name} {column.type}" for column in rows.columns)
    marks = [f"keyed by {', '.join(rows.keys)}"] if rows.keys else []
    marks += [] if rows.event_time else ["no event time"]
    if rows.changelog is not None:
        identity = rows.changelog.identity
        marks.append(
            "changelog without identity" if identity is None else f"changelog of ({', '.join(identity)})"
        )
    marks += [] if rows.lateness is None else [f"up to {rows.lateness} late"]
    return columns + (f" ({'; '.join(marks)})" if marks else "")


# ------------------------------------------------------------------ the tree


def as_tree(plan: Plan) -> str:
    """The plan as a tree of one line an operator.

    An operator with one reader stands right above it, one with several has them as branches, and one
    with several inputs stands below the last of them; the others point to it.
    """
    head = f"stream {plan.flow}" if plan.guarantee is None else f"flow {plan.flow} ({plan.guarantee})"
    return "\n".join([head, *_Tree(plan).lines()])


_Branch = tuple[Step, str, str, str]
"""A step, the output that leads to it, and what its line and the lines below it begin with."""


class _Tree:
    """Walks a plan from its sources down, without recursion: chains may be long."""

    def __init__(self, plan: Plan) -> None:
        self._steps: Mapping[str, Step] = {step.id: step for step in plan.operators}
        self._open = {step.id: len(step.inputs) for step in plan.operators}
        self._readers: dict[str, list[tuple[Step, Input]]] = {step.id: [] for step in plan.operators}
        for step in plan.operators:
            for source in step.inputs:
                self._readers[source.operator].append((step, source))

    def lines(self) -> Iterator[str]:
        """The lines below the head."""
        roots = [(step, "out") for step in self._steps.values() if not step.inputs]
        stack = _branches(roots, "")[::-1]
        while stack:
            step, output, first, rest = stack.pop()
            self._open[step.id] -= 1
            pointer = self._open[step.id] > 0
            yield _cut(first + (f"{output}: " if output != "out" else "") + _line(step, pointer))
            if not pointer:
                stack += self._below(step, rest)[::-1]

    def _below(self, step: Step, indent: str) -> list[_Branch]:
        return _branches([(reader, i.output) for reader, i in self._readers[step.id]], indent)


def _branches(readers: Sequence[tuple[Step, str]], indent: str) -> list[_Branch]:
    """One reader goes on at the same depth; several become branches."""
    if len(readers) == 1:
        return [(*readers[0], indent, indent)]
    last = len(readers) - 1
    return [
        (reader, output, indent + ("└─ " if n == last else "├─ "), indent + ("   " if n == last else "│  "))
        for n, (reader, output) in enumerate(readers)
    ]


def _line(step: Step, pointer: bool) -> str:
    if pointer:
        return f"→ {step.id}"
    title = step.id if len(step.inputs) > 1 else step.name or step.kind
    if step.error is not None:  # behind long settings it would be cut away
        return f"{title}  ! {step.error.splitlines()[0]}"
    text = f"{title}  {' '.join(step.settings.split())}".rstrip()
    return text + "".join(f"  [{mark}]" for mark in _state(step))


def _cut(line: str) -> str:
    return line if len(line) <= LINE_LIMIT else line[: LINE_LIMIT - 1] + "…"
