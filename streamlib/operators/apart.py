"""Of rows in the order of arrival, those that are kept where kept ones have to lie apart in time.

Row for row: keep it unless one that was kept before, with the same value, is less than an interval away.
Here whole columns at a time: what hangs together is put on one axis, and followed in jumps.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

Numbers = npt.NDArray[np.int64]
Mask = npt.NDArray[np.bool_]

MOST_SPAN = 2**62  # rows times interval: places on the axis stay within int64


def first_apart(values: Numbers, times: Numbers, interval: int) -> Mask:
    """Which rows are kept. There are at most `MOST_SPAN // interval` of them (or one).

    >>> first_apart(np.array([7, 7, 8, 7]), np.array([0, 4, 4, 10]), 10).tolist()
    [True, False, True, True]
    """
    kept = np.zeros(len(times), np.bool_)
    if not len(times):
        return kept
    order = np.lexsort((times, values))
    gaps = _gaps(values.take(order), times.take(order), interval)
    place, clump = np.cumsum(gaps), np.cumsum(gaps == interval)
    by_arrival = np.lexsort((order, clump))  # within clumps, which don't hang on each other
    rows, place, clump = order.take(by_arrival), place.take(by_arrival), clump.take(by_arrival)
    mirrored = _mirrored(place, clump)
    rising = _steady(place, clump, interval)
    falling = _steady(mirrored, clump, interval) & ~rising
    other = ~(rising | falling)
    kept[rows[rising][_chain(place[rising], interval)]] = True
    kept[rows[falling][_chain(mirrored[falling], interval)]] = True
    kept[rows[other][_rounds(place[other], interval)]] = True
    return kept


def _gaps(values: Numbers, times: Numbers, interval: int) -> Numbers:
    """How far each row lies behind the one before, in order of values and times; more is as an interval."""
    found = np.full(len(times), interval)
    apart = (times[1:].view(np.uint64) - times[:-1].view(np.uint64)).clip(max=interval).view(np.int64)
    found[1:] = np.where(values[1:] == values[:-1], apart, interval)
    return found


def _starts(clump: Numbers) -> Numbers:
    return np.flatnonzero(np.diff(clump, prepend=clump[:1] - 1))


def _mirrored(place: Numbers, clump: Numbers) -> Numbers:
    """Places from the other end of each clump."""
    starts = _starts(clump)
    both = np.minimum.reduceat(place, starts) + np.maximum.reduceat(place, starts)
    return np.repeat(both, np.diff(starts, append=len(place))) - place


def _steady(place: Numbers, clump: Numbers, interval: int) -> Mask:
    """Whether no row of the clump comes an interval or more behind one before it."""
    starts = _starts(clump)
    behind = np.maximum.reduceat(np.maximum.accumulate(place) - place, starts)
    return np.repeat(behind < interval, np.diff(starts, append=len(place)))


def _chain(place: Numbers, interval: int) -> Numbers:
    """Which of steady rows are kept: the first one, and then the first to come an interval further on.

    The jumps from each row to the next are joined to jumps over two, four, …, so a row that is kept is
    reached in a logarithm of steps.
    """
    count = len(place)
    if not count:
        return np.zeros(0, np.int64)
    nearest = np.searchsorted(np.maximum.accumulate(place), place + interval)
    jumps = [np.append(nearest, count)]
    while jumps[-1][0] < count:
        jumps.append(jumps[-1].take(jumps[-1]))
    reached = np.zeros(count + 1, np.bool_)
    reached[0] = True
    for jump in reversed(jumps):
        reached[jump[reached]] = True
    return np.flatnonzero(reached[:count])


def _rounds(place: Numbers, interval: int) -> Numbers:
    """Which rows are kept in any disorder: those that come before all near them, then again of the rest."""
    arrival = np.argsort(place, kind="stable")
    place = place.take(arrival)
    found = [np.zeros(0, np.int64)]
    while len(place):
        start = np.searchsorted(place, place - interval, "right")
        stop = np.searchsorted(place, place + interval, "left")
        chosen = _least(arrival, start, stop) == arrival
        found.append(arrival[chosen])
        before = np.concatenate([[0], np.cumsum(chosen)])
        free = before.take(stop) == before.take(start)
        place, arrival = place[free], arrival[free]
    return np.concatenate(found)


def _least(numbers: Numbers, start: Numbers, stop: Numbers) -> Numbers:
    """The least of `numbers[start:stop]` for each pair, none of which is empty."""
    level = np.log2(stop - start).astype(np.intp)  # exact enough: lengths are far below 2**48
    least = [numbers]  # of 1, 2, 4, … neighbours
    for size in 2 ** np.arange(int(level.max())):
        least.append(np.minimum(least[-1], np.append(least[-1][size:], np.full(size, len(numbers)))))
    table = np.concatenate(least)
    first = level * len(numbers) + start
    last = level * len(numbers) + stop - 2**level
    return np.minimum(table.take(first), table.take(last))
