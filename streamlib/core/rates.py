"""How often something may happen, written as `"100/s"`."""

from __future__ import annotations

from dataclasses import dataclass

from streamlib.core.errors import DefinitionError, shown
from streamlib.core.time import SECOND, duration, show_duration


@dataclass(frozen=True)
class Rate:
    """At most `count` times in `per` microseconds, evenly spread."""

    count: int
    per: int

    @property
    def spacing(self) -> float:
        """Seconds from one time to the next."""
        return self.per / self.count / SECOND

    def __str__(self) -> str:
        unit = show_duration(self.per)
        return f"{self.count}/{unit.removeprefix('1') if unit[1:].isalpha() else unit}"


def rate(text: str) -> Rate:
    """Read `"100/s"`, `"30/min"` or `"5/10s"`. Raises `DefinitionError` for anything else.

    >>> rate("100/s").spacing, rate("30/min").spacing, str(rate("5/10s"))
    (0.01, 2.0, '5/10s')
    """
    count, slash, per = text.partition("/") if isinstance(text, str) else ("", "", "")
    try:
        times = int(count)
        length = duration(per if per[:1].isdigit() else f"1{per}") if slash else 0
    except ValueError:
        times = length = 0
    if times < 1 or length < 1:
        raise DefinitionError(
            "this is no rate",
            expected='a text such as "100/s", "30/min" or "5/10s"',
            found=shown(text),
            remedy='write how many, a slash, and in how long: "100/s"',
        )
    return Rate(times, length)
