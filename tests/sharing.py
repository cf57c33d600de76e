"""A stream's rows with several workers, through power cuts: what tests of operators compare."""

from __future__ import annotations

import random
from collections.abc import Callable
from typing import Any

import streamlib as sl
from streamlib.connectors import parquet
from streamlib.testing.simulator import live


def shared_rows(
    stream_of: Callable[[int], sl.Stream], seed: int, workers: tuple[int, ...] = (1, 2, 3)
) -> list[dict[str, Any]]:
    """The rows that are published by a job whose every start has another number of workers.

    `stream_of` gets the number of rows of a chunk of its source, which is another at every start.
    """

    def flow(attempt: int) -> sl.Flow:
        chunk = random.Random(f"{seed} {attempt}").randint(1, 40)
        return sl.Flow("shared", stream_of(chunk).write(parquet.sink("/out/rows"), name="shared"))

    schema = flow(0).bind().writes()["shared"][0].input_types[0].schema
    outcome = live(flow, {"/out/rows": schema}, seed, crashes=seed % 3, parallelism=workers)
    return outcome.tables["/out/rows"].to_pylist()


def same_rows(found: list[dict[str, Any]], expected: list[dict[str, Any]]) -> bool:
    """Whether these are the same rows, in any order."""
    return sorted(map(repr, found)) == sorted(map(repr, expected))
