"""The answers in Polars. The columns are named and ordered as in streamlib's."""

from __future__ import annotations

from collections.abc import Callable

import polars as pl
import pyarrow as pa
from polars import col

from questions.tables import Tables

LOCAL = col("time_hour").dt.convert_time_zone("America/New_York")


def delays_of_carriers(flights: pl.LazyFrame, weather: pl.LazyFrame) -> pl.LazyFrame:
    departed = flights.filter(col("dep_delay").is_not_null())
    return departed.group_by("carrier").agg(
        flights=pl.len(),
        mean=col("dep_delay").mean(),
        median=col("dep_delay").median(),
        over_15=(col("dep_delay") > 15).mean(),
    )


def busiest_hours(flights: pl.LazyFrame, weather: pl.LazyFrame) -> pl.LazyFrame:
    hourly = flights.group_by("origin", "time_hour").agg(flights=pl.len()).sort("flights", "time_hour")
    return hourly.group_by("origin").agg(col("flights").last(), hour=col("time_hour").last())


def worst_three_hours(flights: pl.LazyFrame, weather: pl.LazyFrame) -> pl.LazyFrame:
    departed = flights.filter(col("dep_delay").is_not_null())
    spread = pl.concat(
        [departed.with_columns(since=col("time_hour") - pl.duration(hours=back)) for back in range(3)]
    )
    delays = spread.group_by("origin", "since").agg(flights=pl.len(), mean=col("dep_delay").mean())
    worst = delays.filter(col("flights") >= 20).sort("mean", "since")
    return worst.group_by("origin").agg(col("mean").last(), col("since").last())


def delays_by_weekday(flights: pl.LazyFrame, weather: pl.LazyFrame) -> pl.LazyFrame:
    days = flights.with_columns(weekday=LOCAL.dt.weekday().cast(pl.Int64), evening=LOCAL.dt.hour() >= 17)
    return days.group_by("weekday", "evening").agg(
        flights=pl.len(), mean=col("arr_delay").mean(), spread=col("arr_delay").std()
    )


def cancelled_days(flights: pl.LazyFrame, weather: pl.LazyFrame) -> pl.LazyFrame:
    days = flights.group_by(day=LOCAL.dt.date())
    cancelled = days.agg(flights=pl.len(), cancelled=col("dep_delay").is_null().sum())
    return cancelled.with_columns(share=col("cancelled") / col("flights")).filter(col("share") > 0.2)


def speed_by_distance(flights: pl.LazyFrame, weather: pl.LazyFrame) -> pl.LazyFrame:
    haul = pl.when(col("distance") < 500).then(pl.lit("short"))
    haul = haul.when(col("distance") < 1500).then(pl.lit("middle")).otherwise(pl.lit("long"))
    flown = flights.filter(col("air_time") > 0)
    speeds = flown.select(haul=haul, speed=col("distance") / col("air_time") * 60)
    return speeds.group_by("haul").agg(
        slow=col("speed").quantile(0.05, "linear"),
        usual=col("speed").median(),
        fast=col("speed").quantile(0.95, "linear"),
    )


def fleets(flights: pl.LazyFrame, weather: pl.LazyFrame) -> pl.LazyFrame:
    known = flights.filter(col("tailnum").str.contains("^N[0-9]"))
    return known.group_by("carrier").agg(
        aircraft=col("tailnum").n_unique(), destinations=col("dest").n_unique()
    )


def days_of_aircraft(flights: pl.LazyFrame, weather: pl.LazyFrame) -> pl.LazyFrame:
    legs = flights.filter(col("tailnum").is_not_null() & col("dep_delay").is_not_null())
    days = legs.group_by("tailnum", window_start=col("time_hour").dt.truncate("1d")).agg(
        legs=pl.len(), miles=col("distance").sum(), left=col("time_hour").min(), last=col("time_hour").max()
    )
    ends = days.filter(col("legs") >= 5).with_columns(window_end=col("window_start") + pl.duration(days=1))
    return ends.select("tailnum", "window_start", "window_end", "legs", "miles", "left", "last")


def weather_of_months(flights: pl.LazyFrame, weather: pl.LazyFrame) -> pl.LazyFrame:
    readings = weather.with_columns(
        month=LOCAL.dt.month().cast(pl.Int64), celsius=((col("temp") - 32) * 5 / 9).round(1)
    )
    return readings.group_by("origin", "month").agg(
        coldest=col("celsius").min(),
        mean=col("celsius").mean(),
        warmest=col("celsius").max(),
        inches=col("precip").sum(),
    )


def sudden_changes(flights: pl.LazyFrame, weather: pl.LazyFrame) -> pl.LazyFrame:
    ordered = weather.filter(col("temp").is_not_null()).sort("origin", "time_hour")
    changes = ordered.select("origin", "time_hour", change=col("temp").diff().over("origin"))
    return changes.filter(col("change").abs() >= 12)


ANSWERS: dict[str, Callable[[pl.LazyFrame, pl.LazyFrame], pl.LazyFrame]] = {
    "delays_of_carriers": delays_of_carriers,
    "busiest_hours": busiest_hours,
    "worst_three_hours": worst_three_hours,
    "delays_by_weekday": delays_by_weekday,
    "cancelled_days": cancelled_days,
    "speed_by_distance": speed_by_distance,
    "fleets": fleets,
    "days_of_aircraft": days_of_aircraft,
    "weather_of_months": weather_of_months,
    "sudden_changes": sudden_changes,
}


def answer(question: str, tables: Tables) -> pa.Table:
    """The answer to one question."""
    frames = [pl.LazyFrame(pl.from_arrow(table)) for table in (tables.flights, tables.weather)]
    return ANSWERS[question](*frames).collect().to_arrow()
