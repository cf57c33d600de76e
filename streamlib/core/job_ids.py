"""Ids of jobs: the name of the flow, and what makes it one of its kind.

A job that adds to the output of another one, as a redrive does, has the other's id in its own. By that
sinks know that both may write to one place.
"""

from __future__ import annotations

ADDS = "+"  # between the id of a job and what tells those apart that add to its output


def new_id(flow: str, completes: str | None, chance: str) -> str:
    """The id of a new job.

    >>> new_id("hot", None, "1f00a7"), new_id("hot", "hot_1f00a7", "9bd2c4")
    ('hot_1f00a7', 'hot_1f00a7+9bd2c4')
    """
    return f"{flow}_{chance}" if completes is None else f"{family(completes)}{ADDS}{chance}"


def family(job: str) -> str:
    """The id of the job to whose output a job adds: its own where it adds to none.

    >>> family("hot_1f00a7+9bd2c4"), family("hot_1f00a7")
    ('hot_1f00a7', 'hot_1f00a7')
    """
    return job.partition(ADDS)[0]
