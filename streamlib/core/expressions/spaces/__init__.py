"""The namespaces of expressions: what users write, its options checked. `rules` says how it is computed."""

from __future__ import annotations

from streamlib.core.expressions.spaces.base import E
from streamlib.core.expressions.spaces.dates import Dates
from streamlib.core.expressions.spaces.lists import Lists, Structs
from streamlib.core.expressions.spaces.strings import Strings
from streamlib.core.expressions.spaces.values import Methods

SPACES = {space.prefix: space for space in (Strings, Dates, Lists, Structs)}
"""The namespaces by name."""


class Spaces(Methods[E]):
    """The namespaces, and the functions that stand beside them on every expression."""

    @property
    def str(self) -> Strings[E]:
        """Functions of text: `.str.to_uppercase()`, `.str.contains(…)`, `.str.to_datetime(…)`, and more."""
        return Strings(self)

    @property
    def dt(self) -> Dates[E]:
        """Functions of moments, dates and durations: `.dt.year()`, `.dt.truncate("1h")`, and more."""
        return Dates(self)

    @property
    def list(self) -> Lists[E]:
        """Functions of lists: `.list.len()`, `.list.get(0)`, `.list.contains(…)`, and more."""
        return Lists(self)

    @property
    def struct(self) -> Structs[E]:
        """Functions of structs: `.struct.field("name")`, `.struct["name"]`, and more."""
        return Structs(self)
