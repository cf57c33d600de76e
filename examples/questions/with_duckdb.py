"""The answers in SQL. The columns are named and ordered as in streamlib's."""

from __future__ import annotations

import duckdb
import pyarrow as pa

from questions.tables import Tables

LOCAL = "time_hour AT TIME ZONE 'America/New_York'"

ANSWERS = {
    "delays_of_carriers": """
        SELECT carrier, count(*) AS flights, avg(dep_delay) AS mean, median(dep_delay) AS median,
               avg((dep_delay > 15)::INT) AS over_15
        FROM flights WHERE dep_delay IS NOT NULL GROUP BY carrier
    """,
    "busiest_hours": """
        SELECT origin, max(flights) AS flights, arg_max(hour, (flights, hour)) AS hour
        FROM (SELECT origin, time_hour AS hour, count(*) AS flights FROM flights GROUP BY ALL) GROUP BY origin
    """,
    "worst_three_hours": """
        WITH spread AS (
            SELECT origin, dep_delay, unnest(range(3)) AS back, time_hour - back * INTERVAL 1 HOUR AS since
            FROM flights WHERE dep_delay IS NOT NULL
        ),
        delays AS (SELECT origin, since, count(*) AS flights, avg(dep_delay) AS mean FROM spread GROUP BY ALL)
        SELECT origin, max(mean) AS mean, arg_max(since, (mean, since)) AS since
        FROM delays WHERE flights >= 20 GROUP BY origin
    """,
    "delays_by_weekday": f"""
        SELECT isodow({LOCAL}) AS weekday, hour({LOCAL}) >= 17 AS evening, count(*) AS flights,
               avg(arr_delay) AS mean, stddev_samp(arr_delay) AS spread
        FROM flights GROUP BY ALL
    """,
    "cancelled_days": f"""
        SELECT *, cancelled / flights AS share
        FROM (
            SELECT ({LOCAL})::DATE AS day, count(*) AS flights, count(*) - count(dep_delay) AS cancelled
            FROM flights GROUP BY day
        )
        WHERE share > 0.2
    """,
    "speed_by_distance": """
        SELECT haul, quantile_cont(speed, 0.05) AS slow, median(speed) AS usual,
               quantile_cont(speed, 0.95) AS fast
        FROM (
            SELECT CASE WHEN distance < 500 THEN 'short' WHEN distance < 1500 THEN 'middle'
                        ELSE 'long' END AS haul,
                   distance / air_time * 60 AS speed
            FROM flights WHERE air_time > 0
        )
        GROUP BY haul
    """,
    "fleets": """
        SELECT carrier, count(DISTINCT tailnum) AS aircraft, count(DISTINCT dest) AS destinations
        FROM flights WHERE regexp_matches(tailnum, '^N[0-9]') GROUP BY carrier
    """,
    "days_of_aircraft": """
        SELECT tailnum, time_bucket(INTERVAL 1 DAY, time_hour) AS window_start,
               window_start + INTERVAL 1 DAY AS window_end, count(*) AS legs, sum(distance)::BIGINT AS miles,
               min(time_hour) AS "left", max(time_hour) AS last
        FROM flights WHERE tailnum IS NOT NULL AND dep_delay IS NOT NULL GROUP BY ALL HAVING legs >= 5
    """,
    "weather_of_months": f"""
        SELECT origin, month({LOCAL}) AS month, min(celsius) AS coldest, avg(celsius) AS mean,
               max(celsius) AS warmest, sum(precip) AS inches
        FROM (SELECT *, round((temp - 32) * 5 / 9, 1) AS celsius FROM weather) GROUP BY ALL
    """,
    "sudden_changes": """
        SELECT origin, time_hour, temp - lag(temp) OVER (PARTITION BY origin ORDER BY time_hour) AS change
        FROM weather WHERE temp IS NOT NULL QUALIFY abs(change) >= 12
    """,
}


def answer(question: str, tables: Tables) -> pa.Table:
    """The answer to one question."""
    connection = duckdb.connect()
    connection.execute("SET TimeZone = 'UTC'")
    connection.register("flights", tables.flights)
    connection.register("weather", tables.weather)
    return connection.sql(ANSWERS[question]).to_arrow_table()
