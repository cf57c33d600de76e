"""Text files that are compressed while they are written."""

from __future__ import annotations

from typing import Any, Literal, TypeAlias

import pyarrow as pa

from streamlib.core.disk import WritableFile
from streamlib.core.errors import DefinitionError, did_you_mean, shown

Compress: TypeAlias = Literal["gz", "zst"]
"""How a text file is compressed, which is also how its name ends."""

_CODECS = {"gz": "gzip", "zst": "zstd"}


def check_compress(compress: Compress | None) -> None:
    """Raise `DefinitionError` for what is none of the compressions."""
    if compress is None or compress in _CODECS:
        return
    raise DefinitionError(
        "compress= is not known",
        expected="None, 'gz' or 'zst'",
        found=shown(compress),
        remedy=did_you_mean(str(compress), list(_CODECS)) or 'give compress="gz", or leave it out',
    )


def suffixed(suffix: str, compress: Compress | None) -> str:
    """How names of files end.

    >>> suffixed(".csv", "gz")
    '.csv.gz'
    """
    return f"{suffix}.{compress}" if compress else suffix


def compressing(file: WritableFile, compress: Compress | None) -> Any:
    """A stream whose `close` writes what is left, and leaves `file` open."""
    stream = pa.PythonFile(file, "w")
    return pa.CompressedOutputStream(stream, _CODECS[compress]) if compress else stream
