"""Every function of expressions against Polars, on random columns with nulls, empty ones, and extremes."""

from __future__ import annotations

import math
import pickle
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import polars as pl
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import streamlib as sl
from streamlib.core.errors import ArithmeticOverflowError, TypeMismatchError
from streamlib.core.expressions.rules import RULES
from streamlib.core.expressions.spaces import SPACES
from tests.test_expressions import run

# An example runs in four layouts, and there are some 300 cases: a sixteenth of the profile's examples each.
QUICK = settings(max_examples=settings.default.max_examples // 16)

TEXTS = st.text("aAbß é1,- .+\n", max_size=6) | st.sampled_from(
    ["", " ab ", "ab12ab", "hello, hello", "東京"]
)
INTS = st.integers(-12, 12) | st.sampled_from([2**31, -(2**31), 2**62, -(2**62)])
FLOATS = st.floats(-1e6, 1e6) | st.sampled_from(
    [0.0, -0.0, 0.5, 1.5, 2.5, -2.5, math.inf, -math.inf, math.nan]
)
MOMENTS = st.datetimes(datetime(1600, 1, 1), datetime(2400, 1, 1)) | st.sampled_from(
    [
        datetime(1969, 12, 31, 23, 59, 59, 999999),
        datetime(2024, 2, 29),
        datetime(1900, 3, 1),
        datetime(2021, 1, 3),
    ]
)
ZONED = st.datetimes(datetime(1990, 1, 1), datetime(2030, 1, 1)).map(
    lambda t: t.replace(tzinfo=UTC)
) | st.sampled_from(
    [datetime(2024, 3, 31, h, 30, tzinfo=UTC) for h in (0, 1)]
    + [datetime(2024, 10, 27, h, 30, tzinfo=UTC) for h in (0, 1)]
)
SPANS = st.timedeltas(timedelta(days=-9999), timedelta(days=9999)) | st.just(timedelta(microseconds=-1))
LISTS = st.lists(st.none() | st.integers(-3, 3), max_size=4)
TEXT_LISTS = st.lists(st.none() | st.text("ab", max_size=2), max_size=3)
COLUMNS: dict[str, tuple[st.SearchStrategy[Any], pa.DataType]] = {
    "s": (TEXTS, pa.string()),
    "w": (st.sampled_from(["ab", "é", "", "12"]), pa.dictionary(pa.int32(), pa.string())),
    "i": (INTS, pa.int64()),
    "x": (FLOATS, pa.float64()),
    "t": (MOMENTS, pa.timestamp("us")),
    "z": (ZONED, pa.timestamp("us", "Europe/Berlin")),
    "d": (st.dates(date(1600, 1, 1), date(2400, 1, 1)), pa.date32()),
    "p": (SPANS, pa.duration("us")),
    "l": (LISTS, pa.list_(pa.int64())),
    "m": (TEXT_LISTS, pa.list_(pa.string())),
    "r": (
        st.fixed_dictionaries({"a": st.none() | st.integers(0, 9), "b": TEXTS}),
        pa.struct({"a": pa.int64(), "b": pa.string()}),
    ),
}


@dataclass(frozen=True)
class Case:
    """One expression in both spellings; `same` where they are spelt alike, over the columns named."""

    ours: Callable[..., sl.Expr]
    theirs: Callable[..., pl.Expr]
    columns: str


def alike(columns: str, *builds: Callable[[Any], Any]) -> list[Case]:
    return [Case(build, build, columns) for build in builds]


CASES = [
    # text
    *(
        case
        for column in "sw"
        for case in alike(
            column,
            lambda c: c.str.to_uppercase() == "AB",
            lambda c: c.str.len_chars(),
            lambda c: c.str.len_bytes(),
            lambda c: c.str.strip_chars(),
            lambda c: c.str.strip_chars(" a"),
            lambda c: c.str.strip_chars_start("a"),
            lambda c: c.str.strip_chars_end(" ,"),
            lambda c: c.str.strip_prefix("a"),
            lambda c: c.str.strip_suffix("b"),
            lambda c: c.str.strip_suffix("."),
            lambda c: c.str.starts_with("a"),
            lambda c: c.str.ends_with("b"),
            lambda c: c.str.contains("^a.*b$"),
            lambda c: c.str.contains(".", literal=True),
            lambda c: c.str.contains_any(["ab", ".", "é"]),
            lambda c: c.str.find("[0-9]"),
            lambda c: c.str.find("b", literal=True),
            lambda c: c.str.count_matches("a|b"),
            lambda c: c.str.count_matches("l", literal=True),
            lambda c: c.str.extract("(a)(b)", 2),
            lambda c: c.str.extract("a([^b]*)b", 0),
            lambda c: c.str.extract_all("[ab]+"),
            lambda c: c.str.replace("a(b)", "<$1>"),
            lambda c: c.str.replace("[a-b]", "$$", n=1),
            lambda c: c.str.replace(".", "\\1", literal=True),
            lambda c: c.str.replace_all("(a)|b", "${0}-"),
            lambda c: c.str.replace_all("l", "LL", literal=True),
            lambda c: c.str.split(","),
            lambda c: c.str.split("ab"),
            lambda c: c.str.slice(1, 2),
            lambda c: c.str.slice(-3, 2),
            lambda c: c.str.slice(-10, 7),
            lambda c: c.str.slice(2),
            lambda c: c.str.head(2),
            lambda c: c.str.head(-2),
            lambda c: c.str.tail(2),
            lambda c: c.str.tail(-2),
            lambda c: c.str.tail(0),
            lambda c: c.str.pad_start(4, "."),
            lambda c: c.str.pad_end(4, "é"),
            lambda c: c.str.strip_chars().str.replace("a", "b").str.head(3),
        )
    ),
    *alike(
        "s",
        lambda c: c.str.to_date("%Y-%m-%d", strict=False),
        lambda c: c.is_in(["ab", "é", ""]),
        lambda c: c.replace_strict({"": "none", " ab ": "ab"}, default="x"),
    ),
    # numbers
    *(
        case
        for column in "ix"
        for case in alike(
            column,
            lambda c: c.abs(),
            lambda c: c.sign(),
            lambda c: c.floor(),
            lambda c: c.ceil(),
            lambda c: c.round(),
            lambda c: c.round(mode="half_away_from_zero"),
            lambda c: c.sqrt(),
            lambda c: c.cbrt(),
            lambda c: (c / 1e5).exp(),
            lambda c: c.log(),
            lambda c: c.log(2),
            lambda c: c.log10(),
            lambda c: c.log1p(),
            lambda c: c.sin(),
            lambda c: c.cos(),
            lambda c: c.tan(),
            lambda c: c.arcsin(),
            lambda c: c.arccos(),
            lambda c: c.arctan(),
            lambda c: (c / 1e5).sinh(),
            lambda c: (c / 1e5).cosh(),
            lambda c: c.tanh(),
            lambda c: c.degrees(),
            lambda c: c.radians(),
            lambda c: c.is_nan(),
            lambda c: c.is_not_nan(),
            lambda c: c.is_finite(),
            lambda c: c.is_infinite(),
            lambda c: c.is_between(-2, 5),
            lambda c: c.is_between(-2, 5, "none"),
            lambda c: c.is_between(-2, 5, "left"),
            lambda c: c.clip(-2, 5),
            lambda c: c.fill_null(7),
        )
    ),
    *alike("i", lambda c: c.is_in([1, 2, -3])),
    *alike(
        "x",
        lambda c: c.is_in([1.0, 0.5, 0.0]),
        lambda c: c.fill_nan(1.5),
        lambda c: c**2.0,
        lambda c: c.round(1),
    ),
    *alike("ix", lambda a, b: a.eq_missing(b) & b.is_not_nan() | a.is_null()),
    *alike("ii", lambda a, b: a.eq_missing(b), lambda a, b: a.ne_missing(b), lambda a, b: a.clip(b, 5)),
    Case(lambda a, b: sl.coalesce(a, b, 0), lambda a, b: pl.coalesce(a, b, 0), "ii"),
    Case(sl.min_horizontal, pl.min_horizontal, "ii"),
    Case(sl.max_horizontal, pl.max_horizontal, "xx"),
    Case(
        lambda a, b: sl.concat_str(a, b, separator="-"), lambda a, b: pl.concat_str(a, b, separator="-"), "si"
    ),
    Case(
        lambda a, b: sl.concat_str(a, b, ignore_nulls=True),
        lambda a, b: pl.concat_str(a, b, ignore_nulls=True),
        "ss",
    ),
    Case(lambda a, b: sl.format("{} to {}.", a, b), lambda a, b: pl.format("{} to {}.", a, b), "si"),
    Case(lambda a, b: sl.struct(x=a, y=b), lambda a, b: pl.struct(x=a, y=b), "si"),
    # moments
    *(
        case
        for column in "tzd"
        for case in alike(
            column,
            lambda c: c.dt.year(),
            lambda c: c.dt.iso_year(),
            lambda c: c.dt.quarter(),
            lambda c: c.dt.month(),
            lambda c: c.dt.week(),
            lambda c: c.dt.day(),
            lambda c: c.dt.ordinal_day(),
            lambda c: c.dt.weekday(),
            lambda c: c.dt.is_leap_year(),
            lambda c: c.dt.date(),
            lambda c: c.dt.truncate("1d"),
            lambda c: c.dt.truncate("1w"),
            lambda c: c.dt.truncate("2w"),
            lambda c: c.dt.truncate("1mo"),
            lambda c: c.dt.truncate("1q"),
            lambda c: c.dt.truncate("1y"),
            lambda c: c.dt.truncate("5y"),
            lambda c: c.dt.epoch("d"),
            lambda c: c.dt.month_end().dt.day(),
            lambda c: c.dt.month_start().dt.day(),
            lambda c: c.dt.strftime("%Y-%m-%d %j %a %B %d/%m/%y"),
        )
    ),
    *(
        case
        for column in "tz"
        for case in alike(
            column,
            lambda c: c.dt.hour(),
            lambda c: c.dt.minute(),
            lambda c: c.dt.second(),
            lambda c: c.dt.millisecond(),
            lambda c: c.dt.microsecond(),
            lambda c: c.dt.nanosecond(),
            lambda c: c.dt.time(),
            lambda c: c.dt.epoch("us"),
            lambda c: c.dt.truncate("1h"),
            lambda c: c.dt.strftime("%H:%M:%S%.3f %6f %p %I"),
            lambda c: c.dt.strftime("%FT%T%.f"),
        )
    ),
    *alike(
        "t",
        lambda c: c.dt.truncate("1s"),
        lambda c: c.dt.offset_by("1mo"),
        lambda c: c.dt.offset_by("-13mo"),
        lambda c: c.dt.offset_by("2h"),
        lambda c: c.dt.offset_by("-3d"),
        lambda c: c.dt.strftime("%Y-%m-%d %H:%M:%S%.6f").str.to_datetime("%Y-%m-%d %H:%M:%S%.6f"),
        lambda c: c.dt.strftime("%d %b %Y, %I:%M %p").str.to_datetime("%d %b %Y, %I:%M %p"),
        lambda c: c.dt.strftime("%d/%m/%Y").str.to_date("%d/%m/%Y"),
        lambda c: c.dt.strftime("%H:%M:%S").str.to_time("%H:%M:%S"),
        lambda c: c.dt.replace_time_zone("UTC").dt.convert_time_zone("Asia/Tokyo").dt.hour(),
    ),
    Case(lambda c: c.dt.truncate("15min"), lambda c: c.dt.truncate("15m"), "t"),
    Case(lambda c: c.dt.truncate("1h30min"), lambda c: c.dt.truncate("90m"), "t"),
    *alike(
        "z",
        lambda c: c.dt.convert_time_zone("America/New_York").dt.hour(),
        lambda c: c.dt.replace_time_zone(None),
        lambda c: c.dt.cast_time_unit("ms"),
        lambda c: c.dt.replace_time_zone("UTC"),
        lambda c: c.dt.strftime("%z"),
    ),
    *alike(
        "p",
        lambda c: c.dt.total_days(),
        lambda c: c.dt.total_hours(),
        lambda c: c.dt.total_minutes(),
        lambda c: c.dt.total_seconds(),
        lambda c: c.dt.total_milliseconds(),
        lambda c: c.dt.total_microseconds(),
        lambda c: c.dt.total_nanoseconds(),
        lambda c: c.abs(),
    ),
    # lists and structs
    *alike(
        "l",
        lambda c: c.list.len(),
        lambda c: c.list.get(1, null_on_oob=True),
        lambda c: c.list.get(-2, null_on_oob=True),
        lambda c: c.list.first(),
        lambda c: c.list.last(),
        lambda c: c.list.contains(2),
        lambda c: c.list.contains(None),
        lambda c: c.list.slice(1, 2),
        lambda c: c.list.slice(-2, 1),
        lambda c: c.list.slice(-5, 3),
        lambda c: c.list.slice(1),
        lambda c: c.list.head(2),
        lambda c: c.list.tail(2),
        lambda c: c.list.reverse(),
        lambda c: c.list.sum(),
        lambda c: c.list.mean(),
        lambda c: c.list.min(),
        lambda c: c.list.max(),
    ),
    *alike("li", lambda c, i: c.list.get(i % 3, null_on_oob=True), lambda c, i: c.list.contains(i)),
    *alike("m", lambda c: c.list.join("-"), lambda c: c.list.first()),
    *alike("r", lambda c: c.struct.field("a"), lambda c: c.struct["b"].str.len_chars()),
]
NAMES = "abcd"


def shown(case: Case) -> str:
    return repr(case.ours(*map(sl.col, NAMES[: len(case.columns)]))) + f" of {case.columns}"


@pytest.mark.parametrize("case", CASES, ids=shown)
@QUICK
@given(data=st.data())
def test_a_function_gives_what_polars_gives(case: Case, data: st.DataObject) -> None:
    rows = data.draw(st.integers(0, 6))
    table = {}
    for name, kind in zip(NAMES, case.columns, strict=False):
        cells, dtype = COLUMNS[kind]
        maybe = data.draw(st.sampled_from([cells, st.none() | cells]))
        plain = dtype.value_type if pa.types.is_dictionary(dtype) else dtype
        column = pa.array(data.draw(st.lists(maybe, min_size=rows, max_size=rows)), plain)
        table[name] = column.dictionary_encode() if pa.types.is_dictionary(dtype) else column
    names = list(table)
    ours = run(case.ours(*map(sl.col, names)), table).to_pylist()
    frame = pl.DataFrame(
        {
            n: pl.from_arrow(a.cast(pa.string()) if pa.types.is_dictionary(a.type) else a)
            for n, a in table.items()
        }
    )
    theirs = frame.select(case.theirs(*map(pl.col, names)).alias("result"))["result"].to_list()
    assert len(ours) == len(theirs)
    for one, other in zip(ours, theirs, strict=True):
        assert equal(one, other), (ours, theirs)


def equal(one: Any, other: Any) -> bool:
    if isinstance(one, float) and isinstance(other, float):
        return (
            one == other
            or (math.isnan(one) and math.isnan(other))
            or math.isclose(one, other, rel_tol=1e-12, abs_tol=1e-12)
        )
    if isinstance(one, list) and isinstance(other, list):
        return len(one) == len(other) and all(map(equal, one, other))
    return type(one) is type(other) and one == other


def test_every_function_is_compared() -> None:
    compared = {
        name
        for case in CASES
        for name in RULES
        if f".{name}(" in shown(case) or shown(case).startswith(f"{name}(")
    }
    apart = {"str.to_titlecase", "str.to_lowercase", "str.reverse", "str.zfill", "str.extract_groups"}
    elsewhere = {"str.json_path_match", "str.json_decode", "pow", "hash"}
    assert set(RULES) - compared <= apart | elsewhere | {"struct.field"}


# ------------------------------------------------------------------ what Polars does otherwise, or not at all


def test_what_is_apart_from_polars_on_purpose() -> None:
    text = sl.col("a")
    assert sl.evaluate(text.str.to_titlecase(), a=["new YORK 3rd", None]) == ["New York 3Rd", None]
    assert sl.evaluate(text.str.to_lowercase(), a=["ÉA", ""]) == ["éa", ""]
    assert sl.evaluate(text.str.reverse(), a=["né", None]) == ["én", None]
    assert sl.evaluate(text.str.zfill(4), a=["é", "-1", "+1", "12345"]) == ["000é", "-001", "+001", "12345"]
    assert sl.evaluate(text.str.extract_groups("(?P<x>a)(b)"), a=["ab", "x"]) == [{"x": "a", "2": "b"}, None]
    assert sl.evaluate(text.is_in([math.nan, 1.0]), a=[math.nan, 1.0, None]) == [False, True, None]


def test_powers_of_integers_are_exact_or_an_error() -> None:
    assert sl.evaluate(sl.col("a") ** 3, a=[-2, 0, None]) == [-8, 0, None]
    assert sl.evaluate(2 ** sl.col("a"), a=[10, None]) == [1024, None]
    assert sl.evaluate(sl.col("a") ** 0.5, a=[4, None]) == [2.0, None]
    with pytest.raises(ArithmeticOverflowError, match="overflows int64"):
        sl.evaluate(sl.col("a") ** 40, a=[10])
    with pytest.raises(TypeMismatchError, match="compute in floats"):
        sl.evaluate(sl.col("a") ** -1, a=[10])


def test_the_least_integer_has_no_absolute_value() -> None:
    with pytest.raises(ArithmeticOverflowError, match="row 1 of the batch"):
        sl.evaluate(sl.col("a").abs(), a=[1, -(2**63)])


def test_parts_are_exact_at_the_ends_of_time_and_windows_that_leave_it_are_errors() -> None:
    ends = pa.array([-(2**63), 2**63 - 1, None], pa.timestamp("us"))
    assert sl.evaluate(sl.col("t").dt.year(), t=ends) == [-290308, 294247, None]
    assert sl.evaluate(sl.col("t").dt.hour(), t=ends) == [19, 4, None]
    with pytest.raises(ArithmeticOverflowError, match="row 0"):
        sl.evaluate(sl.col("t").dt.truncate("1d"), t=ends)


def test_local_times_that_the_clock_skips_or_repeats_are_decided_by_the_user() -> None:
    skipped, twice = datetime(2024, 3, 31, 2, 30), datetime(2024, 10, 27, 2, 30)
    berlin = sl.col("t").dt.replace_time_zone
    with pytest.raises(sl.StreamlibError, match="does not have"):
        sl.evaluate(berlin("Europe/Berlin"), t=[skipped])
    with pytest.raises(sl.StreamlibError, match="has twice"):
        sl.evaluate(berlin("Europe/Berlin"), t=[twice])
    both = berlin("Europe/Berlin", ambiguous="null", non_existent="null")
    assert sl.evaluate(both.is_null(), t=[skipped, twice, datetime(2024, 1, 1)]) == [True, True, False]
    late = berlin("Europe/Berlin", ambiguous="latest", non_existent="latest").dt.convert_time_zone("UTC")
    assert sl.evaluate(late.dt.strftime("%d %H:%M"), t=[skipped, twice]) == ["31 01:00", "27 01:30"]


def test_windows_keep_their_side_of_an_hour_that_comes_twice() -> None:
    twice = [datetime(2024, 10, 27, h, 45, tzinfo=UTC) for h in (0, 1)]
    moments = pa.array(twice, pa.timestamp("us", "Europe/Berlin"))
    hours = sl.evaluate(sl.col("t").dt.truncate("1h").dt.epoch("s"), t=moments)
    assert hours[1] - hours[0] == 3600
    # a day in Chile that begins at one o'clock: midnight is skipped
    chile = pa.array([datetime(2024, 9, 8, 12, tzinfo=UTC)], pa.timestamp("us", "America/Santiago"))
    assert sl.evaluate(sl.col("t").dt.truncate("1d").dt.strftime("%d %H:%M"), t=chile) == ["08 01:00"]


def test_moments_that_share_a_day_or_a_minute_are_written_as_each_alone() -> None:
    zone = "Europe/Berlin"  # two hours of which, on 27 October, look alike but for their offset
    moments = [datetime(2024, 10, 26 + i % 2, i % 5, i % 3, i * 7 % 60, tzinfo=UTC) for i in range(240)]
    ticks = pa.array([*moments, None], pa.timestamp("us", zone))
    format = "on %a %d, %H:%M:%S%z, 100 %% of %j %S"
    written = sl.evaluate(sl.col("t").dt.strftime(format), t=ticks)
    local = [m.astimezone(ZoneInfo(zone)).strftime(format) for m in moments]
    assert written == [*local, None]


def test_text_that_is_no_date_is_an_error_that_names_the_row_or_null() -> None:
    texts = ["2024-02-29", "2023-02-29", "2024-13-01", "x", "", None]
    parsed = sl.evaluate(sl.col("s").str.to_date(strict=False), s=texts)
    assert parsed == [date(2024, 2, 29), None, None, None, None, None]
    with pytest.raises(TypeMismatchError, match="'2023-02-29' in row 1"):
        sl.evaluate(sl.col("s").str.to_date(), s=texts)
    iso = ["2024-02-29T12:30:00.5", "2024-02-29 12:30", "2024-02-29"]
    half_past = datetime(2024, 2, 29, 12, 30)
    moments = sl.evaluate(sl.col("s").str.to_datetime(), s=iso)
    assert moments == [half_past + timedelta(seconds=0.5), half_past, datetime(2024, 2, 29)]
    offsets = sl.col("s").str.to_datetime("%Y-%m-%dT%H:%M:%S%z").dt.strftime("%F %T")
    assert sl.evaluate(offsets, s=["2024-01-01T00:30:00+01:00", "2024-01-01T00:30:00Z"]) == [
        "2023-12-31 23:30:00",
        "2024-01-01 00:30:00",
    ]


def test_words_that_no_row_has_can_not_fail() -> None:
    codes = pa.array([0, None, 0], pa.int32())
    coded = pa.DictionaryArray.from_arrays(codes, pa.array(["2024-01-01", "never"]))
    assert sl.evaluate(sl.col("s").str.to_date(), s=coded) == [date(2024, 1, 1), None, date(2024, 1, 1)]


def test_json_is_walked_and_decoded() -> None:
    texts = ['{"a": {"b": [1, "x", null, true]}}', "no json", '{"a": 5}', None]
    at = sl.col("s").str.json_path_match
    assert sl.evaluate(at("$.a.b[1]"), s=texts) == ["x", None, None, None]
    assert sl.evaluate(at("$.a.b[3]"), s=texts) == ["true", None, None, None]
    assert sl.evaluate(at("$.a"), s=texts)[:3] == ['{"b":[1,"x",null,true]}', None, "5"]
    dtype = pa.struct({"a": pa.int64()})
    assert sl.evaluate(sl.col("s").str.json_decode(dtype, strict=False), s=texts) == [
        None,
        None,
        {"a": 5},
        None,
    ]
    with pytest.raises(TypeMismatchError, match="row 0"):
        sl.evaluate(sl.col("s").str.json_decode(dtype), s=texts)


def test_casts_that_do_not_fit_are_null_when_they_may() -> None:
    loose = sl.col("s").cast(pa.int8(), strict=False)
    assert sl.evaluate(loose, s=["1", "x", "300", "", None, "-5"]) == [1, None, None, None, None, -5]
    assert repr(loose) == "col('s').cast(pa.int8(), strict=False)"


# ------------------------------------------------------------------ values, and mistakes


@pytest.mark.parametrize("case", CASES, ids=shown)
def test_functions_are_values(case: Case) -> None:
    expr = case.ours(*map(sl.col, NAMES[: len(case.columns)]))
    again = pickle.loads(pickle.dumps(expr))
    assert again.canonical() == expr.canonical()
    assert hash(again) == hash(expr)


def test_an_expression_shows_itself_as_it_is_written() -> None:
    s = sl.col("s")
    assert repr(s.str.contains("a", literal=True)) == "col('s').str.contains('a', literal=True)"
    assert repr(s.str.slice(1).str.replace("a", "b")) == "col('s').str.slice(1).str.replace('a', 'b')"
    assert repr(s.dt.truncate("90min")) == "col('s').dt.truncate('1h30min')"
    assert repr(s.is_between(1, sl.col("b") + 1)) == "col('s').is_between(1, col('b') + 1)"
    assert repr(s.is_in(["a", "b"])) == "col('s').is_in(['a', 'b'])"


def test_options_make_a_difference() -> None:
    forms = [
        sl.col("a").str.contains("b"),
        sl.col("a").str.contains("b", literal=True),
        sl.col("a").str.contains("c"),
    ]
    assert len({form.canonical() for form in forms}) == 3


MISTAKES: dict[str, tuple[Callable[[], Any], str]] = {
    "a wrong regex": (lambda: sl.col("s").str.contains("a(b"), "missing )"),
    "look-around": (lambda: sl.col("s").str.contains("(?=a)"), "no look-around"),
    "a group that there is not": (lambda: sl.col("s").str.extract("(a)", 2), "no group 2"),
    "a group of a replacement": (lambda: sl.col("s").str.replace("(a)", "$2"), "group '2'"),
    "a wrong format": (lambda: sl.col("s").str.to_date("%Y-%Q"), "%Q"),
    "a format without a day": (lambda: sl.col("s").str.to_date("%Y-%m"), "tells a day"),
    "%f": (lambda: sl.col("s").str.to_datetime("%Y-%m-%d %H:%M:%S.%f"), "%6f"),
    "twelve hours without half": (lambda: sl.col("s").str.to_time("%I:%M"), "add %p"),
    "an unknown zone": (lambda: sl.col("t").dt.convert_time_zone("Europe/Berln"), "'Europe/Berlin'"),
    "an unknown unit": (lambda: sl.col("t").dt.epoch("sec"), "time_unit is unknown"),  # type: ignore[arg-type]
    "an unknown window": (lambda: sl.col("t").dt.truncate("1 fortnight"), '"1mo"'),
    "an empty window": (lambda: sl.col("t").dt.truncate("0s"), "without a length"),
    "a text as a list": (lambda: sl.col("s").is_in("abc"), "a list, tuple or set"),
    "a path with wildcards": (lambda: sl.col("s").str.json_path_match("$.a[*]"), "$.a.b[0]"),
    "a template": (lambda: sl.format("{} {}", sl.col("s")), "1 times {}"),
    "and": (lambda: sl.col("a").is_nan() and sl.col("b"), "did you write `and`"),
    "case of a number": (lambda: sl.evaluate(sl.col("a").str.to_uppercase(), a=[1]), "col('a') is int64"),
    "the hour of a date": (
        lambda: sl.evaluate(sl.col("a").dt.hour(), a=[date(2024, 1, 1)]),
        "no time of day",
    ),
    "a field": (lambda: sl.evaluate(sl.col("a").struct["nmae"], a=[{"name": 1}]), "did you mean 'name'"),
    "a column": (lambda: sl.evaluate(sl.col("nmae").str.len_chars(), name=["a"]), "did you mean 'name'"),
    "too short a list": (lambda: sl.evaluate(sl.col("a").list.get(1), a=[[1, 2], [1]]), "row 1"),
    "a time zone of naive": (
        lambda: sl.evaluate(sl.col("a").dt.convert_time_zone("UTC"), a=[datetime(2024, 1, 1)]),
        "replace_time_zone",
    ),
}


@pytest.mark.parametrize("mistake", MISTAKES)
def test_a_mistake_is_named_with_what_to_do(mistake: str) -> None:
    build, part = MISTAKES[mistake]
    with pytest.raises(sl.StreamlibError) as caught:
        build()
    assert part in str(caught.value)
    assert caught.value.expected
    assert caught.value.found
    assert caught.value.remedy


# ------------------------------------------------------------------ the page


def test_the_page_lists_every_function_with_its_kernel() -> None:
    page = (Path(__file__).parents[1] / "docs" / "expressions.md").read_text()
    for line in table_lines():
        assert line in page, f"docs/expressions.md lacks this line, or has another:\n{line}"


def table_lines() -> Iterator[str]:
    for name, rule in RULES.items():
        space, _, method = name.rpartition(".")
        owner = getattr(SPACES.get(space, sl.Expr), method, None)
        documented = owner if callable(owner) else getattr(sl, name)
        meaning = (documented.__doc__ or "").splitlines()[0].replace("|", "\\|")
        yield f"| `{name}` | {meaning} | {rule.nulls} | {rule.kernel} | {rule.differs} |"


def test_every_method_of_a_namespace_has_a_rule() -> None:
    for prefix, space in SPACES.items():
        methods = {n for n, value in vars(space).items() if callable(value) and not n.startswith("_")}
        assert {f"{prefix}.{n}" for n in methods} == {n for n in RULES if n.startswith(f"{prefix}.")}
