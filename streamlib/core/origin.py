"""Where the rows of a batch were read, for dead letters."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt


@dataclass(frozen=True, slots=True)
class Origin:
    """A partition of a source, and the number in it of every row."""

    source: str
    partition: str
    rows: npt.NDArray[np.int64]

    def __getitem__(self, rows: Any) -> Origin:
        """That of some rows, as numpy indexes."""
        return Origin(self.source, self.partition, self.rows[rows])


def together(origins: Sequence[Origin | None]) -> Origin | None:
    """The origin of rows that are put one behind the other; None unless they are of one partition."""
    found = [origin for origin in origins if origin is not None]
    if len(found) < len(origins) or len({(o.source, o.partition) for o in found}) != 1:
        return None
    return Origin(found[0].source, found[0].partition, np.concatenate([o.rows for o in found]))
