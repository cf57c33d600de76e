"""The answers as flows: each gives a stream, which runs over history or over what is still to come."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from typing import TypedDict

import pyarrow as pa

import streamlib as sl
from questions.tables import Tables
from streamlib import col, windows
from streamlib.connectors import memory

ZONE = "America/New_York"


class Reading(TypedDict):
    """A row of the weather, as far as it is needed."""

    origin: str
    time_hour: datetime
    temp: float


class Change(TypedDict):
    """By how many degrees (Fahrenheit) a reading differs from the one before."""

    origin: str
    time_hour: datetime
    change: float


def read_flights(tables: Tables) -> sl.Stream:
    """The departures, by the hour for which they were scheduled."""
    return sl.read(
        memory.source(tables.flights),
        name="flights",
        event_time="time_hour",
        watermark=sl.bounded_disorder("1d"),
    )


def read_weather(tables: Tables) -> sl.Stream:
    """The weather, hour by hour."""
    return sl.read(
        memory.source(tables.weather),
        name="weather",
        event_time="time_hour",
        watermark=sl.bounded_disorder("1d"),
    )


def delays_of_carriers(tables: Tables) -> sl.Stream:
    departed = read_flights(tables).filter(col("dep_delay").is_not_null())
    return departed.key_by("carrier").aggregate(
        flights=sl.count(),
        mean=sl.mean("dep_delay"),
        median=sl.median("dep_delay"),
        over_15=sl.mean(col("dep_delay") > 15),
    )


def busiest_hours(tables: Tables) -> sl.Stream:
    hourly = (
        read_flights(tables).key_by("origin").window(windows.tumbling("1h")).aggregate(flights=sl.count())
    )
    return hourly.key_by("origin").aggregate(
        flights=sl.max("flights"), hour=sl.arg_max("window_start", by="flights")
    )


def worst_three_hours(tables: Tables) -> sl.Stream:
    departed = read_flights(tables).filter(col("dep_delay").is_not_null())
    delays = (
        departed.key_by("origin")
        .window(windows.sliding("3h", every="1h"))
        .aggregate(flights=sl.count(), mean=sl.mean("dep_delay"))
    )
    worst = delays.filter(col("flights") >= 20).key_by("origin")
    return worst.aggregate(mean=sl.max("mean"), since=sl.arg_max("window_start", by="mean"))


def delays_by_weekday(tables: Tables) -> sl.Stream:
    local = col("time_hour").dt.convert_time_zone(ZONE)
    days = read_flights(tables).with_columns(weekday=local.dt.weekday(), evening=local.dt.hour() >= 17)
    return days.key_by("weekday", "evening").aggregate(
        flights=sl.count(), mean=sl.mean("arr_delay"), spread=sl.std("arr_delay")
    )


def cancelled_days(tables: Tables) -> sl.Stream:
    day = col("time_hour").dt.convert_time_zone(ZONE).dt.date()
    days = read_flights(tables).with_columns(day=day).key_by("day")
    cancelled = days.aggregate(flights=sl.count(), cancelled=sl.count(filter=col("dep_delay").is_null()))
    return cancelled.with_columns(share=col("cancelled") / col("flights")).filter(col("share") > 0.2)


def speed_by_distance(tables: Tables) -> sl.Stream:
    flown = read_flights(tables).filter(col("air_time") > 0)
    haul = (
        sl.when(col("distance") < 500)
        .then(sl.lit("short"))
        .when(col("distance") < 1500)
        .then(sl.lit("middle"))
    )
    speeds = flown.select(haul=haul.otherwise(sl.lit("long")), speed=col("distance") / col("air_time") * 60)
    return speeds.key_by("haul").aggregate(
        slow=sl.quantile("speed", 0.05), usual=sl.median("speed"), fast=sl.quantile("speed", 0.95)
    )


def fleets(tables: Tables) -> sl.Stream:
    known = read_flights(tables).filter(col("tailnum").str.contains("^N[0-9]"))
    return known.key_by("carrier").aggregate(
        aircraft=sl.count_distinct("tailnum"), destinations=sl.count_distinct("dest")
    )


def days_of_aircraft(tables: Tables) -> sl.Stream:
    legs = read_flights(tables).filter(col("tailnum").is_not_null() & col("dep_delay").is_not_null())
    days = (
        legs.key_by("tailnum")
        .window(windows.tumbling("1d"))
        .aggregate(
            legs=sl.count(), miles=sl.sum("distance"), left=sl.min("time_hour"), last=sl.max("time_hour")
        )
    )
    return days.filter(col("legs") >= 5)


def weather_of_months(tables: Tables) -> sl.Stream:
    month = col("time_hour").dt.convert_time_zone(ZONE).dt.month()
    celsius = ((col("temp") - 32) * 5 / 9).round(1)
    readings = read_weather(tables).with_columns(month=month, celsius=celsius)
    return readings.key_by("origin", "month").aggregate(
        coldest=sl.min("celsius"), mean=sl.mean("celsius"), warmest=sl.max("celsius"), inches=sl.sum("precip")
    )


def change_of_temperature(last: float | None, now: Reading) -> tuple[float, Change]:
    by = 0.0 if last is None else now["temp"] - last
    return now["temp"], Change(origin=now["origin"], time_hour=now["time_hour"], change=by)


def sudden_changes(tables: Tables) -> sl.Stream:
    """Needs what came before: a function with a state, behind an order that is the same for every arrival."""
    known = read_weather(tables).filter(col("temp").is_not_null())
    in_order = known.key_by("origin").in_event_time_order()
    return in_order.stateful_map(change_of_temperature).filter(col("change").abs() >= 12)


ANSWERS: dict[str, Callable[[Tables], sl.Stream]] = {
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
    """The answer to one question, over all that is there."""
    return ANSWERS[question](tables).collect()
