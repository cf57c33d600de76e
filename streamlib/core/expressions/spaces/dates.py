"""`col("t").dt`: moments, dates, times of day and durations."""

from __future__ import annotations

from typing import Literal, TypeAlias

from streamlib.core.expressions.spaces import checks, formats
from streamlib.core.expressions.spaces.base import E, Space

Ambiguous: TypeAlias = Literal["raise", "earliest", "latest", "null"]
NonExistent: TypeAlias = Literal["raise", "earliest", "latest", "null"]


class Dates(Space[E]):
    """Functions of moments, dates, times of day and durations.

    Parts of a moment are those of its local time. Counts and parts are int64.
    """

    prefix = "dt"

    def year(self) -> E:
        """The year.

        >>> import streamlib as sl, datetime as dt
        >>> sl.evaluate(sl.col("t").dt.year(), t=[dt.datetime(2026, 12, 24, 18, 30, 5, 250000), None])
        [2026, None]
        """
        return self._apply("year")

    def iso_year(self) -> E:
        """The year of the ISO week.

        >>> import streamlib as sl, datetime as dt
        >>> sl.evaluate(sl.col("t").dt.iso_year(), t=[dt.datetime(2026, 12, 24, 18, 30, 5, 250000), None])
        [2026, None]
        """
        return self._apply("iso_year")

    def quarter(self) -> E:
        """The quarter of the year, from 1 to 4.

        >>> import streamlib as sl, datetime as dt
        >>> sl.evaluate(sl.col("t").dt.quarter(), t=[dt.datetime(2026, 12, 24, 18, 30, 5, 250000), None])
        [4, None]
        """
        return self._apply("quarter")

    def month(self) -> E:
        """The month, from 1 to 12.

        >>> import streamlib as sl, datetime as dt
        >>> sl.evaluate(sl.col("t").dt.month(), t=[dt.datetime(2026, 12, 24, 18, 30, 5, 250000), None])
        [12, None]
        """
        return self._apply("month")

    def week(self) -> E:
        """The ISO week of the year, from 1 to 53.

        >>> import streamlib as sl, datetime as dt
        >>> sl.evaluate(sl.col("t").dt.week(), t=[dt.datetime(2026, 12, 24, 18, 30, 5, 250000), None])
        [52, None]
        """
        return self._apply("week")

    def day(self) -> E:
        """The day of the month, from 1 on.

        >>> import streamlib as sl, datetime as dt
        >>> sl.evaluate(sl.col("t").dt.day(), t=[dt.datetime(2026, 12, 24, 18, 30, 5, 250000), None])
        [24, None]
        """
        return self._apply("day")

    def ordinal_day(self) -> E:
        """The day of the year, from 1 on.

        >>> import streamlib as sl, datetime as dt
        >>> sl.evaluate(sl.col("t").dt.ordinal_day(), t=[dt.datetime(2026, 12, 24, 18, 30, 5, 250000), None])
        [358, None]
        """
        return self._apply("ordinal_day")

    def weekday(self) -> E:
        """The day of the week: Monday is 1, Sunday 7.

        >>> import streamlib as sl, datetime as dt
        >>> sl.evaluate(sl.col("t").dt.weekday(), t=[dt.datetime(2026, 12, 24, 18, 30, 5, 250000), None])
        [4, None]
        """
        return self._apply("weekday")

    def hour(self) -> E:
        """The hour, from 0 to 23.

        >>> import streamlib as sl, datetime as dt
        >>> sl.evaluate(sl.col("t").dt.hour(), t=[dt.datetime(2026, 12, 24, 18, 30, 5, 250000), None])
        [18, None]
        """
        return self._apply("hour")

    def minute(self) -> E:
        """The minute, from 0 to 59.

        >>> import streamlib as sl, datetime as dt
        >>> sl.evaluate(sl.col("t").dt.minute(), t=[dt.datetime(2026, 12, 24, 18, 30, 5, 250000), None])
        [30, None]
        """
        return self._apply("minute")

    def second(self) -> E:
        """The second, from 0 to 59.

        >>> import streamlib as sl, datetime as dt
        >>> sl.evaluate(sl.col("t").dt.second(), t=[dt.datetime(2026, 12, 24, 18, 30, 5, 250000), None])
        [5, None]
        """
        return self._apply("second")

    def millisecond(self) -> E:
        """The milliseconds within the second, from 0 to 999.

        >>> import streamlib as sl, datetime as dt
        >>> sl.evaluate(sl.col("t").dt.millisecond(), t=[dt.datetime(2026, 12, 24, 18, 30, 5, 250000), None])
        [250, None]
        """
        return self._apply("millisecond")

    def microsecond(self) -> E:
        """The microseconds within the second, from 0 to 999999.

        >>> import streamlib as sl, datetime as dt
        >>> sl.evaluate(sl.col("t").dt.microsecond(), t=[dt.datetime(2026, 12, 24, 18, 30, 5, 250000), None])
        [250000, None]
        """
        return self._apply("microsecond")

    def nanosecond(self) -> E:
        """The nanoseconds within the second, from 0 to 999999999.

        >>> import streamlib as sl, datetime as dt
        >>> sl.evaluate(sl.col("t").dt.nanosecond(), t=[dt.datetime(2026, 12, 24, 18, 30, 5, 250000), None])
        [250000000, None]
        """
        return self._apply("nanosecond")

    def is_leap_year(self) -> E:
        """Whether the year has a 29th of February.

        >>> import streamlib as sl, datetime as dt
        >>> sl.evaluate(sl.col("t").dt.is_leap_year(), t=[dt.datetime(2026, 12, 24, 18, 30, 5, 250000), None])
        [False, None]
        """
        return self._apply("is_leap_year")

    def date(self) -> E:
        """The day, without the time.

        >>> import streamlib as sl, datetime as dt
        >>> sl.evaluate(sl.col("t").dt.date(), t=[dt.datetime(2026, 12, 24, 18, 30), None])
        [datetime.date(2026, 12, 24), None]
        """
        return self._apply("date")

    def time(self) -> E:
        """The time of day, without the day.

        >>> import streamlib as sl, datetime as dt
        >>> sl.evaluate(sl.col("t").dt.time(), t=[dt.datetime(2026, 12, 24, 18, 30), None])
        [datetime.time(18, 30), None]
        """
        return self._apply("time")

    def truncate(self, every: checks.Every) -> E:
        """The start of the window of length `every` that holds the moment, in local time.

        Windows are `"15min"`, `"1h"`, `"1d"`, a timedelta, or the calendar's `"1w"` (from Monday),
        `"1mo"`, `"1q"`, `"1y"`; several of them are counted from 1970. Moments before it round down too.
        In a zone, a start that the clock skips is the moment at which it goes on, and one that it
        repeats is the one with the offset of the moment itself.

        >>> import streamlib as sl, datetime as dt
        >>> sl.evaluate(sl.col("t").dt.truncate("1h"), t=[dt.datetime(2026, 12, 24, 18, 30), None])
        [datetime.datetime(2026, 12, 24, 18, 0), None]
        """
        return self._apply("truncate", every=checks.span(every))

    def offset_by(self, by: str) -> E:
        """Moved by `by`: `"1mo"`, `"-1d"`, `"2h"`; months end on their last day where they are shorter.

        Days and longer keep the local time of day; what is shorter is exact.

        >>> import streamlib as sl, datetime as dt
        >>> sl.evaluate(sl.col("t").dt.offset_by("1mo"), t=[dt.date(2026, 1, 31), None])
        [datetime.date(2026, 2, 28), None]
        """
        negative = isinstance(by, str) and by.strip().startswith("-")
        return self._apply("offset_by", by=checks.span(by.strip()[1:] if negative else by), negative=negative)

    def month_start(self) -> E:
        """The first day of the month, at the same time of day.

        >>> import streamlib as sl, datetime as dt
        >>> sl.evaluate(sl.col("t").dt.month_start(), t=[dt.date(2026, 1, 31), None])
        [datetime.date(2026, 1, 1), None]
        """
        return self._apply("month_start")

    def month_end(self) -> E:
        """The last day of the month, at the same time of day.

        >>> import streamlib as sl, datetime as dt
        >>> sl.evaluate(sl.col("t").dt.month_end(), t=[dt.date(2024, 2, 1), None])
        [datetime.date(2024, 2, 29), None]
        """
        return self._apply("month_end")

    def strftime(self, format: str) -> E:
        """As text, by `format`: `%Y-%m-%d %H:%M:%S`, with `%.3f`, `%6f` for fractions of the second.

        Raises `DefinitionError` for a directive that is not known.

        >>> import streamlib as sl, datetime as dt
        >>> sl.evaluate(sl.col("t").dt.strftime("%d.%m.%Y %H:%M"), t=[dt.datetime(2026, 12, 24, 18, 30)])
        ['24.12.2026 18:30']
        """
        return self._apply("strftime", format=formats.written(format))

    def convert_time_zone(self, time_zone: str) -> E:
        """The same moment, shown in another time zone. Naive moments are refused.

        >>> import streamlib as sl, datetime as dt
        >>> noon = dt.datetime(2026, 7, 1, 12, tzinfo=dt.UTC)
        >>> sl.evaluate(sl.col("t").dt.convert_time_zone("Europe/Berlin").dt.hour(), t=[noon])
        [14]
        """
        return self._apply("convert_time_zone", time_zone=checks.zone(time_zone))

    def replace_time_zone(
        self,
        time_zone: str | None,
        *,
        ambiguous: Ambiguous = "raise",
        non_existent: NonExistent = "raise",
    ) -> E:
        """The same local time in another time zone, or without one (None).

        `ambiguous` decides on local times that the clock repeats, `non_existent` on those that it
        skips: `"raise"` is an error at run time, `"null"` null, and for skipped times `"earliest"` is
        the last tick before the gap, `"latest"` the moment after it.

        >>> import streamlib as sl, datetime as dt
        >>> noon = dt.datetime(2026, 7, 1, 12)
        >>> moments = sl.col("t").dt.replace_time_zone("Europe/Berlin").dt.convert_time_zone("UTC")
        >>> sl.evaluate(moments.dt.hour(), t=[noon])
        [10]
        """
        choices = ("raise", "earliest", "latest", "null")
        return self._apply(
            "replace_time_zone",
            time_zone=None if time_zone is None else checks.zone(time_zone),
            ambiguous=checks.choice(ambiguous, "ambiguous", choices),
            non_existent=checks.choice(non_existent, "non_existent", choices),
        )

    def cast_time_unit(self, time_unit: checks.TimeUnit) -> E:
        """In another unit; rounded down where that is coarser.

        >>> import streamlib as sl, datetime as dt
        >>> sl.evaluate(sl.col("t").dt.cast_time_unit("ms"), t=[dt.timedelta(microseconds=-1)])
        [datetime.timedelta(days=-1, seconds=86399, microseconds=999000)]
        """
        return self._apply("cast_time_unit", time_unit=checks.unit(time_unit))

    def epoch(self, time_unit: Literal["s", "ms", "us", "ns", "d"] = "us") -> E:
        """The time since 1970 (UTC) in whole units, rounded down.

        >>> import streamlib as sl, datetime as dt
        >>> sl.evaluate(sl.col("t").dt.epoch("s"), t=[dt.datetime(1970, 1, 1, 0, 1), None])
        [60, None]
        """
        return self._apply(
            "epoch", time_unit=checks.choice(time_unit, "time_unit", ("s", "ms", "us", "ns", "d"))
        )

    def total_days(self) -> E:
        """The duration in whole days, rounded towards zero.

        >>> import streamlib as sl, datetime as dt
        >>> sl.evaluate(sl.col("d").dt.total_days(), d=[dt.timedelta(hours=-36), None])
        [-1, None]
        """
        return self._apply("total_days")

    def total_hours(self) -> E:
        """The duration in whole hours, rounded towards zero.

        >>> import streamlib as sl, datetime as dt
        >>> sl.evaluate(sl.col("d").dt.total_hours(), d=[dt.timedelta(hours=-36), None])
        [-36, None]
        """
        return self._apply("total_hours")

    def total_minutes(self) -> E:
        """The duration in whole minutes, rounded towards zero.

        >>> import streamlib as sl, datetime as dt
        >>> sl.evaluate(sl.col("d").dt.total_minutes(), d=[dt.timedelta(hours=-36), None])
        [-2160, None]
        """
        return self._apply("total_minutes")

    def total_seconds(self) -> E:
        """The duration in whole seconds, rounded towards zero.

        >>> import streamlib as sl, datetime as dt
        >>> sl.evaluate(sl.col("d").dt.total_seconds(), d=[dt.timedelta(hours=-36), None])
        [-129600, None]
        """
        return self._apply("total_seconds")

    def total_milliseconds(self) -> E:
        """The duration in whole milliseconds, rounded towards zero.

        >>> import streamlib as sl, datetime as dt
        >>> sl.evaluate(sl.col("d").dt.total_milliseconds(), d=[dt.timedelta(hours=-36), None])
        [-129600000, None]
        """
        return self._apply("total_milliseconds")

    def total_microseconds(self) -> E:
        """The duration in whole microseconds, rounded towards zero.

        >>> import streamlib as sl, datetime as dt
        >>> sl.evaluate(sl.col("d").dt.total_microseconds(), d=[dt.timedelta(hours=-36), None])
        [-129600000000, None]
        """
        return self._apply("total_microseconds")

    def total_nanoseconds(self) -> E:
        """The duration in whole nanoseconds, rounded towards zero.

        >>> import streamlib as sl, datetime as dt
        >>> sl.evaluate(sl.col("d").dt.total_nanoseconds(), d=[dt.timedelta(hours=-36), None])
        [-129600000000000, None]
        """
        return self._apply("total_nanoseconds")
