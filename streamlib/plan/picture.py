"""A plan as a picture: SVG that needs nothing else, reads on white and on dark, and is the same every time.

Colours and sizes stand on the elements themselves: a style sheet or an id would reach out of the
picture when several stand in one page, as in a notebook.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from html import escape
from unicodedata import east_asian_width

from streamlib.plan.description import Input, Plan, Step
from streamlib.plan.explain import show_rows
from streamlib.plan.layout import Layout, Point, arrange

FONT = "Helvetica, Arial, 'DejaVu Sans', sans-serif"
BIG, SMALL = 13, 11  # pixels of text
WIDEST, NARROWEST, INNER = 250.0, 96.0, 12.0  # pixels of a box, and from its edge to its text
MARGIN, TITLE = 12.0, 30.0
LINE = {BIG: 18.0, SMALL: 15.0}
GREY = "#7b8794"  # 3.6:1 on white, 4.9:1 on near black: for all that is drawn on the page itself
_TITLE_LIMIT = 4000  # characters of a hover text


@dataclass(frozen=True)
class _Look:
    fill: str
    line: str


# Boxes bring their own light background, so their dark text reads on any page.
_LOOKS = {
    "source": _Look("#dbeafe", "#3b82f6"),
    "operator": _Look("#eef1f5", "#8b97a6"),
    "state": _Look("#ebe4fb", "#8b5cf6"),
    "sink": _Look("#d9f2e3", "#2f9e62"),
    "error": _Look("#fde2e1", "#dc2626"),
}
_INK, _FAINT, _WARN, _BAD = "#16202c", "#48566a", "#9a5b00", "#b91c1c"


@dataclass(frozen=True)
class _Text:
    text: str
    size: int = SMALL
    colour: str = _FAINT
    bold: bool = False

    @property
    def width(self) -> float:
        return text_width(self.text, self.size, self.bold)

    def cut(self) -> _Text:
        """The text, shortened to what fits into the widest box."""
        room = WIDEST - 2 * INNER
        text = self.text
        if self.width <= room:
            return self
        kept = len(text)
        while kept and text_width(_without_middle(text, kept), self.size, self.bold) > room:
            kept -= 1
        return _Text(_without_middle(text, kept), self.size, self.colour, self.bold)


def as_svg(plan: Plan) -> str:
    """The plan as an SVG document of its own; it can also stand inside HTML as it is."""
    boxes = [[text.cut() for text in _texts(step)] for step in plan.operators]
    sizes = [_size(texts) for texts in boxes]
    arrows = _arrows(plan)
    layout = arrange(sizes, [(a, b) for a, b, _ in arrows])
    head = _head(plan)
    width = max(layout.width, head.width) + 2 * MARGIN
    shift = (width - layout.width) / 2
    parts = [_label(head, MARGIN, MARGIN + 12, "start")]
    parts += _drawn_edges(plan, arrows, layout, sizes, shift)
    for step, texts, size, (x, y) in zip(plan.operators, boxes, sizes, layout.centres, strict=True):
        parts.append(_box(step, texts, size, (x + shift, y + MARGIN + TITLE)))
    return _document(plan, parts, width, layout.height + TITLE + 2 * MARGIN)


def text_width(text: str, size: int, bold: bool = False) -> float:
    """About how many pixels a text takes in a rather wide sans-serif font; never much less than it will."""
    return (
        sum(_EM.get(c, 1.0 if east_asian_width(c) in "WF" else 0.64) for c in text)
        * size
        * (1.08 if bold else 1)
    )


_EM = (
    dict.fromkeys("iljtf.,:;'|!()[] \"`", 0.34)
    | dict.fromkeys("ABCDEGHKNOQRUV", 0.72)
    | dict.fromkeys("mwMW@%—", 0.95)
)
"""Widths of characters that differ much from the mean, in units of the font size."""


def _without_middle(text: str, kept: int) -> str:
    """So many characters of the text; of a path its end, which tells more than its folders."""
    end = kept // 2 if "/" in text else 0
    return text[: kept - end].rstrip() + "…" + text[len(text) - end :]


# ------------------------------------------------------------------ what the boxes say


def _texts(step: Step) -> Iterable[_Text]:
    yield _Text(step.name or step.kind, BIG, _INK, bold=True)
    named = step.role == "operator" and step.name is not None and step.name != step.kind
    settings = " ".join(step.settings.split())
    if settings or named:
        yield _Text(f"{step.kind}: {settings}" if named else settings)
    if step.source is not None and step.source.event_time is not None:
        yield _Text(f"event time {step.source.event_time}")
        yield _Text(f"watermark {step.source.watermark}")
    marks = _marks(step)
    if marks:
        yield _Text(" · ".join(marks))
    if step.order_sensitive is not None:
        yield _Text(f"⚠ {step.order_sensitive}", colour=_WARN)
    if step.error is not None:
        yield _Text(step.error.splitlines()[0], colour=_BAD)


def _marks(step: Step) -> list[str]:
    if step.source is not None:
        return [step.source.replay, "bounded" if step.source.bounded else "unbounded"]
    if step.sink is not None:
        return sorted({step.sink.delivery, step.sink.guarantee}, reverse=True)
    if step.state is not None:
        return [f"state by {', '.join(step.state.keys)}" if step.state.keys else "state, not keyed"]
    return []


def _hover(step: Step) -> str:
    """All that is known of a step, for whoever points at it."""
    lines = [f"{step.id} [{step.kind}]  {step.where}", step.settings]
    if step.state is not None:
        lines.append(f"state in {step.state.key_groups} key groups")
    lines += [f"{output.name}: {show_rows(output.rows)}" for output in step.outputs if output.rows]
    if step.sink is not None:
        lines += [f"takes {', '.join(step.sink.takes)}: {show_rows(i.rows)}" for i in step.inputs if i.rows]
    lines += [] if step.error is None else [step.error]
    text = "\n".join(line for line in lines if line)
    return text if len(text) <= _TITLE_LIMIT else text[:_TITLE_LIMIT] + "…"


def _head(plan: Plan) -> _Text:
    parts = [plan.flow] if plan.guarantee is None else [plan.flow, plan.guarantee]
    return _Text(" · ".join(parts), BIG, GREY, bold=True)


# ------------------------------------------------------------------ drawing


def _size(texts: Sequence[_Text]) -> Point:
    wide = max(text.width for text in texts) + 2 * INNER
    return (max(NARROWEST, min(WIDEST, wide)), sum(LINE[text.size] for text in texts) + 14)


def _box(step: Step, texts: Sequence[_Text], size: Point, centre: Point) -> str:
    look = _LOOKS["error" if step.error else "state" if step.state else step.role]
    (width, height), (x, y) = size, centre
    dashes = ' stroke-dasharray="5 3"' if step.order_sensitive else ""
    parts = [
        f"<g><title>{_escaped(_hover(step))}</title>",
        f'<rect x="{_n(x - width / 2)}" y="{_n(y - height / 2)}" width="{_n(width)}" height="{_n(height)}" '
        f'rx="7" fill="{look.fill}" stroke="{look.line}" stroke-width="1.4"{dashes}/>',
    ]
    baseline = y - height / 2 + 6
    for text in texts:
        baseline += LINE[text.size]
        parts.append(_label(text, x, baseline - 3, "middle"))
    return "".join([*parts, "</g>"])


def _label(text: _Text, x: float, y: float, anchor: str) -> str:
    weight = ' font-weight="600"' if text.bold else ""
    return (
        f'<text x="{_n(x)}" y="{_n(y)}" font-size="{text.size}" fill="{text.colour}" '
        f'text-anchor="{anchor}"{weight}>{_escaped(text.text)}</text>'
    )


Arrow = tuple[int, int, Input]


def _arrows(plan: Plan) -> list[Arrow]:
    index = {step.id: i for i, step in enumerate(plan.operators)}
    return [(index[i.operator], b, i) for b, step in enumerate(plan.operators) for i in step.inputs]


def _drawn_edges(
    plan: Plan, arrows: Sequence[Arrow], layout: Layout, sizes: Sequence[Point], shift: float
) -> list[str]:
    """Lines, their heads and, after all lines, their labels."""
    routes = [[layout.centres[a], *layout.passes[n], layout.centres[b]] for n, (a, b, _) in enumerate(arrows)]
    starts = _ports([a for a, _, _ in arrows], [route[1][0] for route in routes], layout, sizes)
    ends = _ports([b for _, b, _ in arrows], [route[-2][0] for route in routes], layout, sizes)
    lines, labels = [], []
    for n, (a, b, source) in enumerate(arrows):
        first = (starts[n], layout.centres[a][1] + sizes[a][1] / 2)
        last = (ends[n], layout.centres[b][1] - sizes[b][1] / 2 - 2)
        points = [(x + shift, y + MARGIN + TITLE) for x, y in (first, *layout.passes[n], last)]
        lines.append(_line(points))
        if source.output != "out":
            labels.append(_pill(source.output, points[-2], points[-1]))
    return lines + labels


def _ports(
    boxes: Sequence[int], towards: Sequence[float], layout: Layout, sizes: Sequence[Point]
) -> dict[int, float]:
    """Where edges touch their boxes: side by side, in the order of where they go."""
    ports: dict[int, float] = {}
    for box in set(boxes):
        own = sorted((n for n, b in enumerate(boxes) if b == box), key=lambda n: (towards[n], n))
        step = min(24.0, 0.7 * sizes[box][0] / len(own))
        for place, n in enumerate(own):
            ports[n] = layout.centres[box][0] + (place - (len(own) - 1) / 2) * step
    return ports


def _line(points: Sequence[Point]) -> str:
    x, y = points[0]
    path = [f"M{_n(x)},{_n(y)}"]
    (end_x, end_y) = points[-1]
    for to_x, to_y in [*points[1:-1], (end_x, end_y - 6)]:
        middle = (y + to_y) / 2
        path.append(
            f"V{_n(to_y)}"
            if x == to_x
            else f"C{_n(x)},{_n(middle)} {_n(to_x)},{_n(middle)} {_n(to_x)},{_n(to_y)}"
        )
        x, y = to_x, to_y
    line = f'<path d="{"".join(path)}" fill="none" stroke="{GREY}" stroke-width="1.4"/>'
    return line + f'<path d="M{_n(end_x)},{_n(end_y)}l-4,-7h8z" fill="{GREY}"/>'


def _pill(name: str, start: Point, end: Point) -> str:
    """The output's name on a little plate in the last part of the line."""
    text = _Text(name, SMALL, _INK)
    x = (start[0] + end[0]) / 2
    y = (start[1] + end[1]) / 2 - 3
    width = text.width + 10
    return (
        f'<rect x="{_n(x - width / 2)}" y="{_n(y - 8)}" width="{_n(width)}" height="16" rx="8" '
        f'fill="#fef3c7" stroke="#d97706" stroke-width="0.8"/>' + _label(text, x, y + 4, "middle")
    )


def _document(plan: Plan, parts: Iterable[str], width: float, height: float) -> str:
    size = f'width="{_n(width)}" height="{_n(height)}" viewBox="0 0 {_n(width)} {_n(height)}"'
    head = (
        f'<svg xmlns="http://www.w3.org/2000/svg" {size} font-family="{FONT}" '
        f'role="img" aria-label="{_escaped("flow " + plan.flow)}">'
    )
    return "\n".join([head, *parts, "</svg>", ""])


def _escaped(text: str) -> str:
    """Text for XML, without the control characters that XML can't hold."""
    return escape("".join(c if c >= " " or c in "\n\t" else "�" for c in text))


def _n(value: float) -> str:
    return f"{value:.1f}".rstrip("0").rstrip(".")
