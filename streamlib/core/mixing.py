"""The mixer under the hash; its rule stands in `hashing`."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

Hashes = npt.NDArray[np.uint64]

GOLDEN = np.uint64(0x9E3779B97F4A7C15)
_BLOCK = 16_384  # words: 128 KiB, so that the eight passes below run in the second-level cache
_ROUNDS = (
    (np.uint64(30), np.uint64(0xBF58476D1CE4E5B9)),
    (np.uint64(27), np.uint64(0x94D049BB133111EB)),
)
_LAST = np.uint64(31)


def mix(words: Hashes) -> Hashes:
    """The finaliser of splitmix64, in place, on a contiguous vector that the caller owns."""
    for start in range(0, len(words), _BLOCK):
        block = words[start : start + _BLOCK]
        for shift, factor in _ROUNDS:
            block ^= block >> shift
            block *= factor
        block ^= block >> _LAST
    return words
