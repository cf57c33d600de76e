"""Regular expressions as text: their groups, and replacements that speak of them."""

from __future__ import annotations

import re

from streamlib.core.errors import DefinitionError, did_you_mean, shown

# What can look like a group and is none: quoted text, escapes, classes. Then groups of every kind.
_TOKEN = re.compile(
    r"\\Q.*?(?:\\E|$)|\\.|\[\^?\]?(?:\[:\^?\w+:\]|\\.|[^\]\\])*\]|\(\?P?<(?P<name>\w+)>|(?P<other>\(\?)|\(",
    re.DOTALL,
)
_REFERENCE = re.compile(r"\$(?:\{(\w+)\}|(\w+)|(\$))")


def groups(pattern: str) -> list[str | None]:
    r"""The names of the capturing groups of a valid pattern, in order; None for those without one.

    >>> groups(r"(a)(?:b)[(](?P<year>\d+)\(")
    [None, 'year']
    """
    return [token["name"] for token in _TOKEN.finditer(pattern) if _captures(token)]


def only_group(pattern: str, index: int) -> str:
    """The pattern with one capturing group, called `g`; group 0 is all of it.

    >>> only_group("(a)(b)", 2), only_group("(a)b", 0)
    ('(?:a)(?P<g>b)', '(?P<g>(?:a)b)')
    """
    number = 0

    def renamed(token: re.Match[str]) -> str:
        nonlocal number
        if not _captures(token):
            return token[0]
        number += 1
        return "(?P<g>" if number == index else "(?:"

    kept = _TOKEN.sub(renamed, pattern)
    return f"(?P<g>{kept})" if index == 0 else kept


def _captures(token: re.Match[str]) -> bool:
    return token[0].startswith("(") and token["other"] is None


def named_groups(pattern: str) -> str:
    """The pattern with a name for every capturing group: its own, else its number.

    >>> named_groups("(a)(?P<year>b)")
    '(?P<g1>a)(?P<g2>b)'
    """
    number = 0

    def renamed(token: re.Match[str]) -> str:
        nonlocal number
        if not _captures(token):
            return token[0]
        number += 1
        return f"(?P<g{number}>"

    return _TOKEN.sub(renamed, pattern)


def rewrite(replacement: str, pattern: str) -> str:
    r"""A replacement with `$1`, `${name}` and `$$`, as RE2 writes it; refuses groups that there are not.

    >>> print(rewrite("$2-${1}", "(a)(b)"))
    \2-\1
    """
    names = groups(pattern)
    known = {"0": 0} | {name: i + 1 for i, name in enumerate(names) if name}
    known |= {str(i + 1): i + 1 for i in range(min(len(names), 9))}

    def numbered(found: re.Match[str]) -> str:
        name = found[1] or found[2]
        if found[3]:
            return "$"
        if name not in known:
            raise DefinitionError(
                f"the replacement speaks of a group {name!r}, which the pattern does not have",
                expected=f"one of {', '.join(f'${{{n}}}' for n in known)}",
                found=shown(replacement),
                remedy=did_you_mean(name, known)
                or "write $$ for a dollar, and ${1}a for a group before letters",
            )
        return f"\\{known[name]}"

    return _REFERENCE.sub(numbered, replacement.replace("\\", "\\\\"))
