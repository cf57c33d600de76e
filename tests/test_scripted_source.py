"""The public test tools: sources that follow a script, and a clock moved by hand."""

from __future__ import annotations

import pickle

import pyarrow as pa
import pytest

from streamlib.core.contracts import Chunk, Clock, Pause, Source
from streamlib.core.errors import DefinitionError, SourceError, TypeMismatchError, UnknownColumnError
from streamlib.testing import ManualClock, fail, pause, rows, scripted

SCHEMA = {"id": pa.int64(), "at": pa.int64()}


def row(i: int) -> dict:
    return {"id": i, "at": i * 10}


def answers(source: Source, count: int, position=None) -> list:
    """What the reader of "p" answers: ids, pauses and errors."""
    reader = source.open("p", position, None)
    found = []
    for _ in range(count):
        try:
            answer = reader.read()
        except ValueError as error:
            found.append(error)
        else:
            found.append(answer.rows["id"].to_pylist() if isinstance(answer, Chunk) else answer)
    return found


def test_steps_are_played_in_order():
    source = scripted({"p": [pause(), rows([row(1), row(2)]), pause(), pause(), rows([row(3)])]}, SCHEMA)
    assert answers(source, 7) == [
        *(Pause.NOT_YET, [1, 2], Pause.NOT_YET, Pause.NOT_YET, [3]),
        *(Pause.END, Pause.END),
    ]


def test_an_unbounded_script_waits_for_ever_and_knows_no_floor():
    source = scripted({"p": [rows([row(1)])]}, SCHEMA, unbounded=True)
    assert not source.bounded
    assert answers(source, 3) == [[1], Pause.NOT_YET, Pause.NOT_YET]
    assert source.open("p", None, "at").read().floor is None


def test_what_the_source_claims_to_be_can_be_set():
    for replay in ("replayable", "acknowledging", "lossy"):
        assert scripted({"p": []}, SCHEMA, replay=replay).replay == replay


def test_a_failure_is_raised_once_by_every_reader():
    error = ValueError("boom")
    source = scripted({"p": [rows([row(1)]), fail(error), rows([row(2)])]}, SCHEMA)
    for _ in range(2):
        assert answers(source, 4) == [[1], error, [2], Pause.END]
    assert answers(source, 2, [1, 0]) == [error, [2]]


def test_a_failure_can_be_over_after_some_attempts():
    error = ValueError("boom")
    source = scripted({"p": [rows([row(1)]), fail(error, attempts=1), rows([row(2)])]}, SCHEMA)
    assert answers(source, 2) == [[1], error]
    assert answers(source, 2, [1, 0]) == [[2], Pause.END]


def test_batches_may_be_given_instead_of_records():
    batch = pa.record_batch({"at": [10], "id": [1]})
    assert answers(scripted({"p": [rows(batch)]}, SCHEMA), 2) == [[1], Pause.END]


def test_reading_goes_on_in_the_middle_of_a_step():
    source = scripted({"p": [pause(), rows([row(1), row(2), row(3)])]}, SCHEMA)
    assert answers(source, 2, [1, 1]) == [[2, 3], Pause.END]
    for position in ([1, 3], [0, 1], [3, 0], [-1, 0], 1, [1, "0"]):
        with pytest.raises(SourceError, match="within the 2 steps"):
            source.open("p", position, None)


def test_scripts_with_failures_are_equal_by_text_and_survive_pickling():
    def made(text: str) -> Source:
        return scripted({"p": [fail(ValueError(text))]}, SCHEMA)

    assert made("a") == made("a") == pickle.loads(pickle.dumps(made("a")))
    assert made("a") != made("b")


@pytest.mark.parametrize(
    ("script", "error", "says"),
    [
        ({}, DefinitionError, "needs a partition"),
        ({"p": [rows([])]}, DefinitionError, "step 0 of partition 'p'"),
        ({"p": [pause(), [row(1)]]}, DefinitionError, "step 1 of partition 'p'"),
        ({"p": [rows([{"idd": 1}])]}, UnknownColumnError, "did you mean 'id'"),
        ({"p": [rows([{"id": "x"}])]}, TypeMismatchError, "'x'"),
    ],
)
def test_a_script_that_can_not_be_played_is_refused(script, error, says):
    with pytest.raises(error, match=says):
        scripted(script, SCHEMA)


# --------------------------------------------------------------------------- the clock


def test_the_clock_stands_still_until_it_is_moved():
    clock = ManualClock(now=5, monotonic=7.0)
    assert isinstance(clock, ManualClock)
    taken: Clock = clock
    assert (taken.now(), taken.now(), taken.monotonic()) == (5, 5, 7.0)


def test_waiting_is_over_at_once_and_moves_both_times():
    clock = ManualClock()
    clock.wait(1.5)
    clock.wait(-1)
    assert (clock.now(), clock.monotonic()) == (1_500_000, 1001.5)


def test_the_clock_can_be_set_forward_and_adjusted_back():
    clock = ManualClock()
    clock.set(10_000_000)
    assert clock.monotonic() == 1010.0
    with pytest.raises(DefinitionError, match="does not go back"):
        clock.set(9_999_999)
    clock.adjust(3)
    assert (clock.now(), clock.monotonic()) == (3, 1010.0)
    assert repr(clock) == "ManualClock(1970-01-01T00:00:00.000003Z)"
