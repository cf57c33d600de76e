"""The rules of every function: what it takes, how it is bound, which kernel computes it."""

from __future__ import annotations

from streamlib.core.expressions.rules import (
    choices,
    dates,
    hashes,
    json,
    lists,
    numbers,
    reading,
    texts,
    windows,
    zones,
)
from streamlib.core.expressions.rules.rule import Rule

RULES: dict[str, Rule] = {
    **numbers.RULES,
    **choices.RULES,
    **hashes.RULES,
    **{
        f"{space}.{name}": rule
        for space, tables in {
            "str": (texts.RULES, reading.RULES, json.RULES),
            "dt": (dates.RULES, windows.RULES, zones.RULES, reading.WRITING),
            "list": (lists.RULES,),
            "struct": (lists.STRUCTS,),
        }.items()
        for table in tables
        for name, rule in table.items()
    },
}
"""By the name that expressions have for a function: `abs`, `str.contains`, `dt.year`, …"""

__all__ = ["RULES", "Rule"]
