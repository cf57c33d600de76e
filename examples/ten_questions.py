"""Ten questions of an analyst about New York's flights and weather: streamlib beside Polars and DuckDB.

    make questions                                 installs what it needs, asks, compares, prints
    python examples/ten_questions.py fleets        one of them

The answers stand in `questions/with_streamlib.py`, `with_polars.py` and `with_duckdb.py`. Those of streamlib
are streams: what is collected here runs as well over what is still to come.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable

import pyarrow as pa
from questions import compare, tables, with_duckdb, with_polars, with_streamlib

import streamlib as sl

QUESTIONS = {
    "delays_of_carriers": "Which carriers leave late: mean and median delay, share over 15 minutes?",
    "busiest_hours": "When was the busiest hour of each airport?",
    "worst_three_hours": "Which three hours had the longest mean delay at each airport?",
    "delays_by_weekday": "Do flights arrive later in the evening, and on which days?",
    "cancelled_days": "On which days was more than a fifth of the flights cancelled?",
    "speed_by_distance": "How fast do aircraft fly, by length of the flight?",
    "fleets": "How many aircraft does a carrier fly, and to how many places?",
    "days_of_aircraft": "Which aircraft flew five times on one day?",
    "weather_of_months": "How cold and warm is it by month, in degrees Celsius?",
    "sudden_changes": "When did the temperature jump by 12 degrees or more within an hour?",
}
Answer = Callable[[str, tables.Tables], pa.Table]
ENGINES: dict[str, Answer] = {
    "streamlib": with_streamlib.answer,
    "Polars": with_polars.answer,
    "DuckDB": with_duckdb.answer,
}
SHOWN = 5  # rows of each answer


def main(asked: list[str]) -> int:
    """Ask; 0 if all engines agree."""
    unknown = [name for name in asked if name not in QUESTIONS]
    if unknown:
        print(f"no question {unknown[0]!r}; there are {', '.join(QUESTIONS)}", file=sys.stderr)
        return 2
    try:
        data = tables.load()
    except sl.StreamlibError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    differing = [name for name in asked or QUESTIONS if not ask(name, data)]
    if differing:
        print(f"the answers differ: {', '.join(differing)}", file=sys.stderr)
    return 1 if differing else 0


def ask(name: str, data: tables.Tables) -> bool:
    """Print a question, its answer and what each engine took; whether they agree."""
    answers, seconds = {}, {}
    for engine, answer in ENGINES.items():
        began = time.perf_counter()
        answers[engine] = compare.in_order(answer(name, data))
        seconds[engine] = time.perf_counter() - began
    print(f"\n{QUESTIONS[name]}  ({name})")
    compare.show(answers["streamlib"], SHOWN)
    print("  ".join(f"{engine} {took * 1e3:,.0f} ms" for engine, took in seconds.items()))
    wrong = [engine for engine in ENGINES if not compare.same(answers["streamlib"], answers[engine])]
    for engine in wrong:
        print(f"{engine} answers:")
        compare.show(answers[engine], SHOWN)
    return not wrong


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
