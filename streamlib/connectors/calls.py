"""How connectors show themselves: as the calls that made them."""

from __future__ import annotations


def as_call(factory: str, *arguments: object, **options: object) -> str:
    """A call that makes the same; options that are None are those which nobody gave.

    >>> as_call("parquet.sink", "out/hot", max_rows_per_file=None)
    "parquet.sink('out/hot')"
    """
    given = [f"{name}={value!r}" for name, value in options.items() if value is not None]
    return f"{factory}({', '.join([*map(repr, arguments), *given])})"
