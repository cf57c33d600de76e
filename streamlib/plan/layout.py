"""Where the boxes of a graph go: layers from top to bottom, few crossings, straight chains.

The method of Sugiyama: longest path layering, order within layers by the mean of the neighbours, and
positions that are nearest to the neighbours' (least squares) without overlap. The same graph always
gets the same picture.
"""

from __future__ import annotations

import itertools
from bisect import bisect_right, insort
from collections.abc import Sequence
from dataclasses import dataclass

SWEEPS = 12  # more than this no longer changed any graph we tried
GAP_X, GAP_Y = 28.0, 48.0  # pixels between boxes; an arrow with a label fits between two layers
LANE = 12.0  # pixels that an edge takes where it passes a layer

Edge = tuple[int, int]
Point = tuple[float, float]


@dataclass(frozen=True)
class Layout:
    """Where everything goes.

    Attributes:
        centres: of the boxes.
        passes: for each edge the points where it enters and leaves the layers that it passes.
        width: of the whole.
        height: of the whole.
    """

    centres: tuple[Point, ...]
    passes: tuple[tuple[Point, ...], ...]
    width: float
    height: float


def arrange(sizes: Sequence[Point], edges: Sequence[Edge]) -> Layout:
    """Lay out boxes of these sizes. Edges go from a box to a later one: there are no cycles."""
    if not sizes:
        return Layout((), tuple(() for _ in edges), 0.0, 0.0)
    layer_of = _layers(len(sizes), edges)
    chains = [_chain(edge, layer_of) for edge in edges]
    widths = [*(width for width, _ in sizes), *(LANE for _ in layer_of[len(sizes) :])]
    links = _Links(layer_of, chains, len(sizes))
    layers = _ordered(layer_of, links)
    xs = _positions(layers, widths, links)
    left = min(x - w / 2 for x, w in zip(xs, widths, strict=True))
    right = max(x + w / 2 for x, w in zip(xs, widths, strict=True))
    heights = [max((sizes[i][1] for i in layer if i < len(sizes)), default=0.0) for layer in layers]
    tops = [sum(heights[:n]) + n * GAP_Y for n in range(len(heights) + 1)]

    def passed(i: int) -> tuple[Point, Point]:
        top = tops[layer_of[i]]
        return (xs[i] - left, top), (xs[i] - left, top + heights[layer_of[i]])

    return Layout(
        tuple((xs[i] - left, tops[n] + heights[n] / 2) for i, n in enumerate(layer_of[: len(sizes)])),
        tuple(tuple(point for i in chain[1:-1] for point in passed(i)) for chain in chains),
        right - left,
        tops[-1] - GAP_Y,
    )


def _chain(edge: Edge, layer_of: list[int]) -> list[int]:
    """The edge by way of a place in every layer that it passes; adds these places to `layer_of`."""
    a, b = edge
    between = range(layer_of[a] + 1, layer_of[b])
    chain = [a, *range(len(layer_of), len(layer_of) + len(between)), b]
    layer_of.extend(between)
    return chain


def _layers(count: int, edges: Sequence[Edge]) -> list[int]:
    """Each box one below its lowest input; a source right above its highest reader."""
    layer = [0] * count
    for a, b in sorted(edges, key=lambda edge: edge[1]):
        layer[b] = max(layer[b], layer[a] + 1)
    for i in set(range(count)) - {b for _, b in edges}:
        layer[i] = min((layer[b] - 1 for a, b in edges if a == i), default=0)
    return layer


class _Links:
    """Who is linked to whom, above and below, and how straight the link should be."""

    def __init__(self, layer_of: Sequence[int], chains: Sequence[Sequence[int]], boxes: int) -> None:
        self.above: list[list[int]] = [[] for _ in layer_of]
        self.below: list[list[int]] = [[] for _ in layer_of]
        self._boxes = boxes
        for a, b in sorted({link for chain in chains for link in itertools.pairwise(chain)}):
            self.below[a].append(b)
            self.above[b].append(a)

    def weight(self, a: int, b: int) -> int:
        """Of the link from `a` down to `b`: long edges first, then chains, then what branches."""
        if a >= self._boxes and b >= self._boxes:
            return 64
        return 32 if len(self.below[a]) == len(self.above[b]) == 1 else 1

    def wish(self, i: int, xs: Sequence[float], *, above: bool, below: bool) -> tuple[float, int]:
        """Where the links would have `i`, and how much they weigh; 1 where nothing pulls."""
        pulls = [(self.weight(j, i), xs[j]) for j in self.above[i]] if above else []
        pulls += [(self.weight(i, j), xs[j]) for j in self.below[i]] if below else []
        total = sum(weight for weight, _ in pulls)
        return (sum(weight * x for weight, x in pulls) / total, total) if total else (xs[i], 1)

    def straight(self, i: int, xs: Sequence[float]) -> tuple[float, int]:
        """Right below what `i` continues; else where it is."""
        for j in self.above[i]:
            weight = self.weight(j, i)
            if weight > 1:
                return xs[j], weight
        return xs[i], 1


def _ordered(layer_of: Sequence[int], near: _Links) -> list[list[int]]:
    """The layers, each in the order found to give the fewest crossings."""
    layers: list[list[int]] = [[] for _ in range(max(layer_of, default=-1) + 1)]
    for i, layer in enumerate(layer_of):
        layers[layer].append(i)
    best, fewest = layers, _crossings(layers, near)
    for sweep in range(SWEEPS):
        if not fewest:
            break
        layers = _swept([*layers], near, down=sweep % 2 == 0)
        crossings = _crossings(layers, near)
        if crossings < fewest:
            best, fewest = layers, crossings
    return best


def _swept(layers: list[list[int]], near: _Links, down: bool) -> list[list[int]]:
    neighbours = near.above if down else near.below
    numbers = range(1, len(layers)) if down else range(len(layers) - 2, -1, -1)
    for n in numbers:
        rank = {i: r for r, i in enumerate(layers[n - 1 if down else n + 1])}
        own = {i: r for r, i in enumerate(layers[n])}

        def mean(i: int, rank: dict[int, int] = rank, own: dict[int, int] = own) -> tuple[float, int]:
            ranks = [rank[j] for j in neighbours[i]]
            return (sum(ranks) / len(ranks) if ranks else own[i], own[i])

        layers[n] = sorted(layers[n], key=mean)
    return layers


def _crossings(layers: Sequence[Sequence[int]], near: _Links) -> int:
    total = 0
    for upper, lower in itertools.pairwise(layers):
        rank = {i: r for r, i in enumerate(lower)}
        seen: list[int] = []
        for i in upper:
            ends = sorted(rank[j] for j in near.below[i])
            total += sum(len(seen) - bisect_right(seen, end) for end in ends)
            for end in ends:
                insort(seen, end)
    return total


def _positions(layers: Sequence[Sequence[int]], widths: Sequence[float], links: _Links) -> list[float]:
    """The horizontal centres: layer after layer as near to the neighbours as fits, down and up again."""
    xs = [0.0] * len(widths)
    for layer in layers:
        _place(layer, [(0.0, 1)] * len(layer), widths, xs)
    for sweep in range(4 * SWEEPS + 1):
        down = sweep % 2 == 0
        both = sweep >= SWEEPS  # pull from both sides then, so that neither inputs nor outputs stand aside
        for layer in layers if down else reversed(layers):
            wishes = [links.wish(i, xs, above=down or both, below=both or not down) for i in layer]
            _place(layer, wishes, widths, xs)
    for layer in layers:
        _place(layer, [links.straight(i, xs) for i in layer], widths, xs)
    return xs


def _place(
    layer: Sequence[int], wishes: Sequence[tuple[float, int]], widths: Sequence[float], xs: list[float]
) -> None:
    """Set `xs` of a layer nearest to what is wished, in order and without overlap.

    Less the widths before each box this is isotonic regression: neighbours that would overlap
    become a block at the mean of their wishes.
    """
    offsets = [0.0]
    for a, b in itertools.pairwise(layer):
        offsets.append(offsets[-1] + widths[a] / 2 + GAP_X + widths[b] / 2)
    blocks: list[tuple[float, int, int]] = []  # weighted sum, weight and count of each block
    for (x, weight), offset in zip(wishes, offsets, strict=True):
        block = ((x - offset) * weight, weight, 1)
        while blocks and blocks[-1][0] / blocks[-1][1] > block[0] / block[1]:
            total, weights, count = blocks.pop()
            block = (block[0] + total, block[1] + weights, block[2] + count)
        blocks.append(block)
    means = [total / weights for total, weights, count in blocks for _ in range(count)]
    for i, mean, offset in zip(layer, means, offsets, strict=True):
        xs[i] = mean + offset
