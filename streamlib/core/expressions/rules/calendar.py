"""The proleptic Gregorian calendar on vectors of int64: exact for every day that Arrow's types hold.

After Howard Hinnant, "chrono-Compatible Low-Level Date Algorithms": years begin in March, so that the
leap day is their last, and 400 of them are one era of 146097 days.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

Days = npt.NDArray[np.int64]

_ERA = 146_097
_TO_MARCH_0000 = 719_468
"""Days from the first of March of the year 0 to 1970."""


def year_month_day(days: Days) -> tuple[Days, Days, Days]:
    """The calendar's year, month and day of so many days since 1970.

    >>> [int(part) for part in year_month_day(np.int64(-1))]
    [1969, 12, 31]
    """
    shifted = days + _TO_MARCH_0000
    era = shifted // _ERA
    of_era = shifted - era * _ERA
    year = (of_era - of_era // 1460 + of_era // 36_524 - of_era // 146_096) // 365
    of_year = of_era - (365 * year + year // 4 - year // 100)
    month = (5 * of_year + 2) // 153
    day = of_year - (153 * month + 2) // 5 + 1
    month = np.where(month < 10, month + 3, month - 9)
    return year + era * 400 + (month <= 2), month, day


def days_since_1970(year: Any, month: Any, day: Any) -> Days:
    """The days from 1970 to a date; months count from 1, and days beyond a month go into the next one.

    >>> int(days_since_1970(1969, 12, 31))
    -1
    """
    year = np.asarray(year, np.int64) - (np.asarray(month) <= 2)
    era = year // 400
    of_era = year - era * 400
    of_year = (153 * (np.asarray(month) + np.where(np.asarray(month) > 2, -3, 9)) + 2) // 5 + day - 1
    days: Days = era * _ERA + of_era * 365 + of_era // 4 - of_era // 100 + of_year - _TO_MARCH_0000
    return days


def is_leap_year(year: Days) -> npt.NDArray[np.bool_]:
    """Whether years have a 29th of February."""
    leap: npt.NDArray[np.bool_] = (year % 4 == 0) & ((year % 100 != 0) | (year % 400 == 0))
    return leap


def month_length(year: Days, month: Days) -> Days:
    """The number of days of months.

    >>> int(month_length(np.int64(2024), np.int64(2)))
    29
    """
    return days_since_1970(year + month // 12, month % 12 + 1, 1) - days_since_1970(year, month, 1)


def iso_year_week(days: Days) -> tuple[Days, Days]:
    """The year and week by ISO 8601: the week belongs to the year of its Thursday.

    >>> [int(part) for part in iso_year_week(np.int64(0))]
    [1970, 1]
    """
    thursday = days - (days + 3) % 7 + 3
    year, _, _ = year_month_day(thursday)
    return year, (thursday - days_since_1970(year, 1, 1)) // 7 + 1
