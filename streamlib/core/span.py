"""A span of event time to which a run is limited: instants as people write them."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta

from streamlib.core.errors import DefinitionError, EventTimeError, shown
from streamlib.core.time import show_instant

Instant = str | date | datetime | int
"""`"2024-01-31"` or `"2024-01-31T10:00"` (UTC, unless an offset is given), a `date` (its midnight in UTC), a
`datetime` with a time zone, or an int of microseconds since the epoch."""

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def instant(value: Instant) -> datetime:
    """An instant in UTC.

    Raises `DefinitionError` for what is none, `EventTimeError` for a `datetime` without a time zone.

    >>> instant("2024-01-31"), instant("2024-01-31T10:00+01:00").isoformat()
    (datetime.datetime(2024, 1, 31, 0, 0, tzinfo=datetime.timezone.utc), '2024-01-31T09:00:00+00:00')
    """
    if isinstance(value, datetime):
        return _zoned(value)
    try:
        if isinstance(value, str):
            moment = datetime.fromisoformat(value.strip())
            return moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment.astimezone(UTC)
        if isinstance(value, date):
            return datetime(value.year, value.month, value.day, tzinfo=UTC)
        if isinstance(value, int) and not isinstance(value, bool):
            return _EPOCH + timedelta(microseconds=value)
    except (ValueError, OverflowError):
        pass
    raise DefinitionError(
        "not an instant",
        expected='a date or time such as "2024-01-31" or "2024-01-31T10:00", a datetime with a time zone, '
        "or an int of microseconds since the epoch",
        found=shown(value),
        remedy="write years with four digits, months and days with two",
    )


def _zoned(moment: datetime) -> datetime:
    if moment.tzinfo is None:
        raise EventTimeError(
            "an instant needs a time zone",
            expected="a datetime with tzinfo",
            found=shown(moment),
            remedy="for example datetime(2026, 1, 1, tzinfo=UTC)",
        )
    return moment.astimezone(UTC)


@dataclass(frozen=True)
class Span:
    """The event times from `start` on and before `end`; None: without a bound on that side."""

    start: datetime | None = None
    end: datetime | None = None

    @classmethod
    def of(cls, start: Instant | None, end: Instant | None) -> Span | None:
        """The span between two instants, None for all of time. Raises as `instant`, and if it is empty.

        >>> str(Span.of("2024-01-01", "2024-02-01"))
        '2024-01-01..2024-02-01'
        """
        if start is None and end is None:
            return None
        span = cls(None if start is None else instant(start), None if end is None else instant(end))
        if span.start is not None and span.end is not None and span.start >= span.end:
            raise DefinitionError(
                "there is no time between start and end",
                expected="a start before the end, which itself is left out",
                found=f"start={shown(start)}, end={shown(end)}",
                remedy="exchange them"
                if span.start > span.end
                else "for one day write the next day as the end",
            )
        return span

    def __str__(self) -> str:
        """As part of the name of a folder."""
        return f"{_short(self.start)}..{_short(self.end)}"

    def describe(self) -> str:
        """For people."""
        first = "the beginning" if self.start is None else show_instant(micros(self.start))
        return f"from {first} to {'the end' if self.end is None else show_instant(micros(self.end))}"


def micros(moment: datetime) -> int:
    """Microseconds since the epoch of a moment with a time zone."""
    return (moment - _EPOCH) // timedelta(microseconds=1)


def _short(moment: datetime | None) -> str:
    if moment is None:
        return ""
    text = moment.strftime("%Y-%m-%dT%H%M%S.%f").rstrip("0").rstrip(".")
    return (
        moment.strftime("%Y-%m-%d")
        if moment == moment.replace(hour=0, minute=0, second=0, microsecond=0)
        else text
    )
