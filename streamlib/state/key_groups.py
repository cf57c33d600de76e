"""Key groups: the unit in which keyed state is owned, moved and restored.

A key's group is the top seven bits of its hash (`core/hashing.py`), so hash tables are free to use the
low ones. It is stored in checkpoints, and fixed for ever.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from streamlib.core import contracts
from streamlib.core.batch import Column
from streamlib.core.hashing import key_hash
from streamlib.core.mixing import Hashes

KEY_GROUPS = contracts.KEY_GROUPS
"""How many parts a job's keyed state has: the most workers it can be spread over."""
KEY_GROUP_COLUMN = "__key_group"
"""The column (int16) of a state table that says to which group a row belongs."""

_GROUP_SHIFT = np.uint64(64 - 7)  # 2**7 == KEY_GROUPS


def key_groups(columns: Sequence[Column], num_rows: int) -> npt.NDArray[np.int16]:
    """The key group of each of `num_rows` rows, in 0..127. Keys are the columns in their order."""
    return groups_of_hashes(key_hash(columns, num_rows))


def groups_of_hashes(hashes: Hashes) -> npt.NDArray[np.int16]:
    """The key group of each key, by its hash."""
    return (hashes >> _GROUP_SHIFT).astype(np.int16)


def owners(workers: int) -> npt.NDArray[np.intp]:
    """The worker that owns each of the 128 key groups: contiguous ranges, as equal as they can be.

    >>> [int((owners(3) == worker).sum()) for worker in range(3)]
    [42, 43, 43]
    """
    groups = np.arange(KEY_GROUPS)
    return np.searchsorted(KEY_GROUPS * np.arange(1, workers) // workers, groups, "right")
