"""Ten questions about real flights and weather, answered alike by streamlib, Polars and DuckDB."""

from __future__ import annotations

import sys
from pathlib import Path

import pyarrow as pa
import pytest

EXAMPLES = Path(__file__).parents[1] / "examples"
sys.path.insert(0, str(EXAMPLES))

import ten_questions  # noqa: E402 - found through the line above, as a script finds its neighbours
from questions import compare, tables, with_duckdb, with_polars, with_streamlib  # noqa: E402


@pytest.fixture(scope="module")
def data() -> tables.Tables:
    return tables.load()


def test_each_question_is_asked_of_every_engine() -> None:
    asked = list(ten_questions.QUESTIONS)
    assert len(asked) == 10
    assert asked == list(with_streamlib.ANSWERS) == list(with_polars.ANSWERS) == list(with_duckdb.ANSWERS)


@pytest.mark.parametrize("question", ten_questions.QUESTIONS)
def test_the_answer_is_that_of_polars_and_duckdb(question: str, data: tables.Tables) -> None:
    ours, polars, sql = (
        compare.in_order(engine.answer(question, data))
        for engine in (with_streamlib, with_polars, with_duckdb)
    )
    assert ours.num_rows > 0
    assert compare.same(ours, polars)
    assert compare.same(ours, sql)


def test_a_wrong_answer_is_noticed() -> None:
    table = pa.table({"carrier": ["AA", "UA"], "mean": [1.0, 2.0]})
    assert compare.same(table, table)
    assert not compare.same(table, table.set_column(1, "mean", pa.array([1.0, 2.001])))
    assert not compare.same(table, table.set_column(0, "carrier", pa.array(["AA", "DL"])))
    assert not compare.same(table, table.slice(1))


def test_the_script_prints_questions_answers_and_times(capsys: pytest.CaptureFixture[str]) -> None:
    assert ten_questions.main(["weather_of_months"]) == 0
    printed = capsys.readouterr().out
    assert "How cold and warm is it by month" in printed
    assert "EWR     1      -11.7" in printed
    assert "DuckDB" in printed
    assert ten_questions.main(["weather"]) == 2
    assert "no question 'weather'" in capsys.readouterr().err
