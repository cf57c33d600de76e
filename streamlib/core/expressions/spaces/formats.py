"""Formats of dates and times: the directives of Polars and chrono, cut into pieces and checked.

Reading makes a regular expression with a group for every directive; writing leaves most to Arrow,
which knows nothing of fractions of a second, so that those are pieces of their own.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Literal, TypeAlias

from streamlib.core.errors import DefinitionError, shown

Kind: TypeAlias = Literal["date", "datetime", "time"]
Part: TypeAlias = Literal["day", "minute", "second", "fraction", "zone"]
"""What a directive shows of a moment: its day, the minute of that, the second of that, the offset."""

_DIRECTIVE = re.compile(r"%(\.?[369]?f|[-_0]?[A-Za-z%])", re.DOTALL)
_SHORTHAND = {"F": "%Y-%m-%d", "T": "%H:%M:%S", "R": "%H:%M", "D": "%m/%d/%y", "h": "%b"}
MONTHS = ("jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec")
_MONTH_NAMES = "january|february|march|april|may|june|july|august|september|october|november|december"
_DAY_NAMES = "monday|tuesday|wednesday|thursday|friday|saturday|sunday"
_READ = {
    "Y": r"[+-]?\d{4,5}",
    "y": r"\d{2}",
    "m": r"\d{1,2}",
    "b": "(?i:" + "|".join(MONTHS) + ")",
    "B": f"(?i:{_MONTH_NAMES})",
    "d": r" ?\d{1,2}",
    "e": r" ?\d{1,2}",
    "j": r"\d{1,3}",
    "H": r"\d{1,2}",
    "I": r"\d{1,2}",
    "M": r"\d{1,2}",
    "S": r"\d{1,2}",
    "p": "(?i:am|pm)",
    "P": "(?i:am|pm)",
    "z": r"Z|[+-]\d{2}:?\d{2}",
    "a": "(?i:" + "|".join(name[:3] for name in _DAY_NAMES.split("|")) + ")",
    "A": f"(?i:{_DAY_NAMES})",
    ".f": r"(?:\.\d{1,9})?",
    ".3f": r"\.\d{3}",
    ".6f": r"\.\d{6}",
    ".9f": r"\.\d{9}",
    "3f": r"\d{3}",
    "6f": r"\d{6}",
    "9f": r"\d{9}",
}
_WRITTEN = frozenset("YymdHIMSpjabABeuwUWVGzZ")
_FRACTIONS = frozenset({".f", ".3f", ".6f", ".9f", "3f", "6f", "9f"})
_DAY, _CLOCK = frozenset("YymbBdejaAuwUWVG"), frozenset({"H", "I", "M", "S", "p", "P", *_FRACTIONS})
_NEEDS = {
    "date": "a day (%Y, %m, %d; or %Y, %j)",
    "datetime": "a day and, at most, a time",
    "time": "an hour (%H)",
}


@dataclass(frozen=True)
class Reading:
    """How texts are read: a regular expression of RE2 and the directive behind each of its groups."""

    pattern: str
    directives: tuple[str, ...]


def _pieces(format: str, option_for: str) -> list[str]:
    """Texts and directives (without the `%`) in turn, beginning and ending with a text; `%%` is text."""
    if not isinstance(format, str):
        raise _bad(format, "a string", f'write for example "{option_for}"')
    expanded = _expanded(format)
    pieces, at, text = [], 0, ""
    while (cut := expanded.find("%", at)) >= 0:
        text += expanded[at:cut]
        found = _DIRECTIVE.match(expanded, cut)
        if not found:
            raise _bad(format, "a letter behind every %", "write %% for a percent sign")
        at = found.end()
        if found[1] == "%":
            text += "%"
        else:
            pieces += [text, found[1]]
            text = ""
    return [*pieces, text + expanded[at:]]


def _expanded(format: str) -> str:
    return re.sub(r"%(%|[FTRDh])", lambda m: m[0] if m[1] == "%" else _SHORTHAND[m[1]], format)


def parsed(format: str | None, kind: Kind) -> str | None:
    """A format for reading, checked. Raises `DefinitionError` for what can't be read or is not enough."""
    if format is not None:
        reading(format, kind)
    return format


def reading(format: str, kind: Kind) -> Reading:
    """The regular expression of a format."""
    pieces = _pieces(format, "%Y-%m-%d")
    directives = pieces[1::2]
    for directive in directives:
        if directive not in _READ:
            raise _bad(format, f"directives that can be read: {_listed(_READ)}", _remedy(directive))
    _check_enough(format, kind, directives)
    patterns = [f"(?P<g{i}>{_READ[d]})" for i, d in enumerate(directives)]
    texts = [re.escape(text) for text in pieces[::2]]
    body = "".join(part for pair in zip(texts, [*patterns, ""], strict=True) for part in pair)
    return Reading(rf"\A{body}\z", tuple(directives))


def _check_enough(format: str, kind: Kind, directives: list[str]) -> None:
    given = set(directives)
    repeated = next((d for d in given if directives.count(d) > 1), None)
    day = bool(given & {"Y", "y"}) and (
        (bool(given & {"m", "b", "B"}) and bool(given & {"d", "e"})) or "j" in given
    )
    hour = "H" in given or ("I" in given and bool(given & {"p", "P"}))
    enough = {"date": day, "datetime": day and (hour or not given & _CLOCK), "time": hour}[kind]
    if not enough:
        raise _bad(format, f"a format that tells {_NEEDS[kind]}", _missing(given, hour))
    if repeated:
        raise _bad(format, "each directive once", f"leave one %{repeated} out")


def _missing(given: set[str], hour: bool) -> str:
    if "I" in given and not hour:
        return "%I counts to 12: add %p, or write %H"
    return 'write for example "%Y-%m-%d", "%Y-%m-%d %H:%M:%S" or "%H:%M"'


def written(format: str, *, day: bool = True, clock: bool = True) -> str:
    """A format for writing, checked against what the values have: a day, a time of day."""
    pieces = _pieces(format, "%Y-%m-%d")
    for directive in pieces[1::2]:
        bare = directive.lstrip("-_0") if directive not in _FRACTIONS else directive
        if directive not in _FRACTIONS and directive not in _WRITTEN:
            raise _bad(
                format, f"directives that can be written: {_listed(_WRITTEN | _FRACTIONS)}", _remedy(bare)
            )
        if (not day and directive in _DAY | {"z", "Z"}) or (not clock and directive in _CLOCK):
            raise _bad(
                format, f"what {'a time of day' if clock else 'a date'} has", f"leave %{directive} out"
            )
    return format


def writing(format: str) -> list[tuple[str, Part]]:
    """The pieces of a checked format for writing, each with what it shows: formats for Arrow, and fractions.

    >>> writing("%H:%M:%S%.3f Z")
    [('%H:%M:', 'minute'), ('%S', 'second'), ('.3f', 'fraction'), (' Z', 'second')]
    """
    pieces = _pieces(format, "%Y-%m-%d")
    found: list[tuple[str, Part]] = []
    plain = pieces[0].replace("%", "%%")
    for directive, text in zip(pieces[1::2], pieces[2::2], strict=True):
        part = _part(directive)
        behind = text.replace("%", "%%")
        if part == "fraction":
            found.append((plain, "second"))
            found.append((directive, part))
            plain = behind
            continue
        before = found.pop()[0] if found and found[-1][1] == part else ""
        found.append((f"{before}{plain}%{directive}{behind}", part))
        plain = ""
    found.append((plain, "second"))
    return [piece for piece in found if piece[0]]


def _part(directive: str) -> Part:
    if directive in _FRACTIONS:
        return "fraction"
    if directive in ("z", "Z"):
        return "zone"
    if directive in _CLOCK:
        return "second" if directive == "S" else "minute"
    return "day"


def _remedy(directive: str) -> str:
    if directive == "f":
        return "write %.f for a fraction with its point, or %3f, %6f, %9f for that many digits"
    return f"leave %{directive} out, or use sl.udf"


def _listed(directives: frozenset[str] | dict[str, str]) -> str:
    return ", ".join(f"%{d}" for d in sorted(directives, key=lambda d: (len(d), d)))


def _bad(format: object, expected: str, remedy: str) -> DefinitionError:
    return DefinitionError(
        "this format of dates and times can't be used",
        expected=expected,
        found=shown(format),
        remedy=remedy,
    )
