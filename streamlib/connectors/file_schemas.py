"""What is said of files whose columns are not those of the others."""

from __future__ import annotations

import pyarrow as pa

from streamlib.connectors.schemas import difference, plain
from streamlib.core.errors import SchemaChangedError, SourceError


def columns_in(path: str, schema: pa.Schema) -> pa.Schema:
    """The columns of a file, plain. Raises `SourceError` where two have one name."""
    doubled = {name for name in schema.names if schema.names.count(name) > 1}
    if doubled:
        raise SourceError(
            f"{path!r} has several columns called {min(doubled)!r}",
            expected="a name of its own for every column",
            found=", ".join(schema.names),
            remedy="write the file again with distinct names",
        )
    return plain(schema)


def check_same(reference: str, expected: pa.Schema, path: str, found: pa.Schema) -> None:
    """Raise `SchemaChangedError` where a file has other columns; their order does not count."""
    differing = difference(expected, found)
    if differing is None:
        return
    raise SchemaChangedError(
        f"{path!r} does not have the columns of {reference}",
        expected=f"{differing[0]}, as in {reference}",
        found=f"{differing[1]} in {path!r}",
        remedy="write one of them again with the columns of the other, or read them as two sources",
    )
