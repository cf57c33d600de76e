"""`col("xs").list` and `col("s").struct`: nested values."""

from __future__ import annotations

from streamlib.core.expressions.spaces import checks
from streamlib.core.expressions.spaces.base import Argument, E, Space


class Lists(Space[E]):
    """Functions of lists. A null list gives null."""

    prefix = "list"

    def len(self) -> E:
        """The number of elements, nulls too, an int64.

        >>> import streamlib as sl
        >>> sl.evaluate(sl.col("xs").list.len(), xs=[[1, None], [], None])
        [2, 0, None]
        """
        return self._apply("len")

    def get(self, index: Argument[E], *, null_on_oob: bool = False) -> E:
        """The element at `index`, from 0 on; negative: counted from the end. It may differ by row.

        Beyond the list it is an error at run time, or null with `null_on_oob`.

        >>> import streamlib as sl
        >>> sl.evaluate(sl.col("xs").list.get(-1), xs=[[1, 2], [3], None])
        [2, 3, None]
        """
        return self._apply("get", index, null_on_oob=null_on_oob)

    def first(self) -> E:
        """The first element; null for an empty list.

        >>> import streamlib as sl
        >>> sl.evaluate(sl.col("xs").list.first(), xs=[[1, 2], [], None])
        [1, None, None]
        """
        return self._apply("first")

    def last(self) -> E:
        """The last element; null for an empty list.

        >>> import streamlib as sl
        >>> sl.evaluate(sl.col("xs").list.last(), xs=[[1, 2], [], None])
        [2, None, None]
        """
        return self._apply("last")

    def contains(self, item: Argument[E]) -> E:
        """Whether an element equals `item`, which may differ by row. A null `item` looks for a null.

        >>> import streamlib as sl
        >>> sl.evaluate(sl.col("xs").list.contains(2), xs=[[1, 2], [], None])
        [True, False, None]
        """
        return self._apply("contains", item)

    def slice(self, offset: int, length: int | None = None) -> E:
        """The elements from `offset` on (negative: counted from the end), at most `length` of them.

        >>> import streamlib as sl
        >>> sl.evaluate(sl.col("xs").list.slice(-2, 1), xs=[[1, 2, 3], [4], None])
        [[2], [], None]
        """
        size = None if length is None else checks.integer(length, "length", 0)
        return self._apply("slice", offset=checks.integer(offset, "offset"), length=size)

    def head(self, n: int = 5) -> E:
        """The first `n` elements.

        >>> import streamlib as sl
        >>> sl.evaluate(sl.col("xs").list.head(2), xs=[[1, 2, 3], [4]])
        [[1, 2], [4]]
        """
        return self._apply("head", n=checks.integer(n, "n", 0))

    def tail(self, n: int = 5) -> E:
        """The last `n` elements.

        >>> import streamlib as sl
        >>> sl.evaluate(sl.col("xs").list.tail(2), xs=[[1, 2, 3], [4]])
        [[2, 3], [4]]
        """
        return self._apply("tail", n=checks.integer(n, "n", 0))

    def reverse(self) -> E:
        """The elements in reverse.

        >>> import streamlib as sl
        >>> sl.evaluate(sl.col("xs").list.reverse(), xs=[[1, 2], [], None])
        [[2, 1], [], None]
        """
        return self._apply("reverse")

    def join(self, separator: str) -> E:
        """The texts of a list as one, with `separator` between them; nulls are left out.

        >>> import streamlib as sl
        >>> sl.evaluate(sl.col("xs").list.join("-"), xs=[["a", None, "b"], [], None])
        ['a-b', '', None]
        """
        return self._apply("join", separator=checks.text(separator, "separator"))

    def sum(self) -> E:
        """The sum of the numbers; of none 0. Nulls are left out. Integers are exact or an error.

        >>> import streamlib as sl
        >>> sl.evaluate(sl.col("xs").list.sum(), xs=[[1, None, 2], [], None])
        [3, 0, None]
        """
        return self._apply("sum")

    def mean(self) -> E:
        """The mean of the numbers, a float64; of none null. Nulls are left out.

        >>> import streamlib as sl
        >>> sl.evaluate(sl.col("xs").list.mean(), xs=[[1, None, 2], [], None])
        [1.5, None, None]
        """
        return self._apply("mean")

    def min(self) -> E:
        """The least number; of none null. Nulls and NaN are left out.

        >>> import streamlib as sl
        >>> sl.evaluate(sl.col("xs").list.min(), xs=[[1, None, 2], [], None])
        [1, None, None]
        """
        return self._apply("min")

    def max(self) -> E:
        """The largest number; of none null. Nulls and NaN are left out.

        >>> import streamlib as sl
        >>> sl.evaluate(sl.col("xs").list.max(), xs=[[1, None, 2], [], None])
        [2, None, None]
        """
        return self._apply("max")


class Structs(Space[E]):
    """Functions of structs."""

    prefix = "struct"

    def field(self, name: str) -> E:
        """A field; null where the struct is. `col("s").struct["name"]` does the same.

        Raises `UnknownColumnError` when the stream is known and its struct has no such field.

        >>> import streamlib as sl
        >>> sl.evaluate(sl.col("s").struct.field("a"), s=[{"a": 1}, {"a": None}, None])
        [1, None, None]
        """
        return self._apply("field", name=checks.text(name, "name"))

    def __getitem__(self, name: str) -> E:
        return self.field(name)
