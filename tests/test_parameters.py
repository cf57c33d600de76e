"""`--param`: texts become what the annotations of a flow's function say, and nothing is evaluated."""

from __future__ import annotations

import enum
from collections.abc import Sequence
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any, Literal, Optional

import pytest

import streamlib as sl
from streamlib.cli.parameters import call_factory


class Mode(enum.Enum):
    AIR = "by air"
    SEA = 2


def every_kind(
    region: str,
    days: int = 7,
    *,
    ratio: float = 0.5,
    on: bool = False,
    since: date | None = None,
    at: datetime | None = None,
    gap: timedelta = timedelta(1),
    price: Decimal = Decimal(0),
    place: Path = Path(),
    mode: Mode = Mode.AIR,
    level: Literal["low", "high", 3] = "low",
    limit: Optional[int] = None,  # noqa: UP045  # the old spelling is in use
    either: int | str = 0,
    modes: list[Mode] = [],  # noqa: B006
    parts: tuple[int, ...] = (),
    names: Sequence[str] = (),
    password: sl.Secret | None = None,
    untyped=3,
    bare=None,
    strange: dict[str, int] | None = None,
):
    return None


def called(*texts: str, factory: Any = every_kind) -> dict[str, Any]:
    return call_factory(factory, texts).arguments


def refused(*texts: str, factory: Any = every_kind) -> str:
    with pytest.raises(sl.StreamlibError) as raised:
        called(*texts, factory=factory)
    return str(raised.value)


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("region=a=b, c", "a=b, c"),
        ("region=", ""),
        ("days=-3", -3),
        ("ratio=1e3", 1000.0),
        ("on=true", True),
        ("on=No", False),
        ("since=2026-01-31", date(2026, 1, 31)),
        ("at=2026-01-31T12:00:00Z", datetime(2026, 1, 31, 12, tzinfo=UTC)),
        ("gap=1h30min", timedelta(hours=1, minutes=30)),
        ("price=9.99", Decimal("9.99")),
        ("place=in/x.parquet", Path("in/x.parquet")),
        ("mode=SEA", Mode.SEA),
        ("mode=by air", Mode.AIR),
        ("mode=2", Mode.SEA),
        ("level=high", "high"),
        ("level=3", 3),
        ("limit=5", 5),
        ("either=5", 5),
        ("either=five", "five"),
        ("names=x", ["x"]),
        ("password=env:PW", sl.secret("env:PW")),
        ("untyped=4", 4),
        ("bare=4", "4"),
    ],
)
def test_a_text_becomes_what_the_annotation_says(text, value):
    texts = [text] if text.startswith("region") else ["region=eu", text]
    found = called(*texts)[text.partition("=")[0]]
    assert found == value
    assert type(found) is type(value)


def test_lists_take_a_text_for_each_element_and_defaults_stay_where_nothing_is_given():
    found = called("region=eu", "modes=AIR", "parts=1", "modes=2", "parts=2")
    assert found["modes"] == [Mode.AIR, Mode.SEA]
    assert found["parts"] == (1, 2)
    assert (found["days"], found["level"], found["since"]) == (7, "low", None)


@pytest.mark.parametrize(
    ("text", "parts"),
    [
        ("dayz=3", ["there is no parameter 'dayz'", "did you mean 'days'?"]),
        ("region", ["not a parameter", "expected: NAME=VALUE"]),
        ("=3", ["not a parameter"]),
        ("days=three", ["'days' does not take this value", "expected: a whole number", "--param days=7"]),
        ("days=__import__('os').getpid()", ["expected: a whole number"]),
        ("on=maybe", ["expected: true or false"]),
        ("since=31.1.2026", ["a date, YYYY-MM-DD", "--param since=2026-01-31"]),
        ("at=noon", ["a time, YYYY-MM-DDTHH:MM:SSZ"]),
        ("gap=1 parsec", ["a duration such as 10s"]),
        ("price=a", ["a decimal number"]),
        ("mode=seaa", ["expected: one of AIR, SEA", "did you mean 'SEA'?"]),
        ("level=hi", ["expected: one of low, high, 3", "did you mean 'high'?"]),
        ("modes=none", ["expected: one of AIR, SEA"]),
        ("password=hunter22", ["a reference to a secret, env:NAME or file:PATH"]),
        ("strange=3", ["can't be given as a text", "found:    dict[str, int]"]),
    ],
)
def test_a_text_that_does_not_fit_is_refused_with_the_form_that_does(text, parts):
    said = refused("region=eu", text)
    assert all(part in said for part in parts), said


def test_what_is_missing_is_listed_with_the_types():
    def make(region: str, since: date, days: int = 7):
        return None

    said = refused("days=3", factory=make)
    assert "missing parameters region, since" in said
    assert "expected: region: str, since: date, days: int = 7" in said
    assert "to do:    --param region=TEXT --param since=2026-01-31" in said


def test_a_parameter_that_is_no_list_is_given_once():
    assert "'days' was given 2 times" in refused("region=eu", "days=1", "days=2")


def test_a_secret_given_by_mistake_is_shown_nowhere():
    said = refused("region=eu", "password=hunter22")
    assert "hunter22" not in said


def test_annotations_that_only_type_checkers_know_are_told():
    def make(region: "Unknown"):  # type: ignore[name-defined] # noqa: F821, UP037
        return None

    assert "name 'Unknown' is not defined" in refused("region=x", factory=make)
