"""What the namespaces of expressions share: their methods name a function, its operands and options."""

from __future__ import annotations

from typing import Any, ClassVar, Generic, TypeAlias, TypeVar

import numpy as np

from streamlib.core.expressions.literals import LiteralValue

E = TypeVar("E")
"""The class of expressions. It has the namespaces, so that they can't import it."""

Argument: TypeAlias = "E | LiteralValue | np.generic"
"""An expression, or a plain value, which is a literal."""


class Applicable(Generic[E]):
    """What functions are applied to: an expression."""

    def _applied(self, function: str, operands: tuple[Any, ...], options: dict[str, Any]) -> E:
        raise NotImplementedError


class Space(Generic[E]):
    """The methods of one namespace on one expression. Each applies the function of its name."""

    prefix: ClassVar[str]
    __slots__ = ("_expr",)

    def __init__(self, expr: Applicable[E]) -> None:
        self._expr = expr

    def _apply(self, function: str, *operands: Any, **options: Any) -> E:
        return self._expr._applied(f"{self.prefix}.{function}", (self._expr, *operands), options)

    def __repr__(self) -> str:
        return f"{self._expr!r}.{self.prefix}"
