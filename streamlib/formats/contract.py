"""What a format is: columns, and how messages become rows of them and rows messages, many at a time."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from typing import ClassVar, NamedTuple

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from streamlib.core.canonical import Value
from streamlib.core.errors import FormatError, StreamlibError

Failure = tuple[int, StreamlibError]
"""The number of a message or row, and why it is left out."""


class Decoded(NamedTuple):
    """What messages became.

    Attributes:
        rows: the records of all messages that could be read, in order, with the format's schema.
        parents: for each record the number of its message, rising; a message of `arrow` may have several.
        failures: the messages that could not be read, in order.
    """

    rows: pa.RecordBatch
    parents: npt.NDArray[np.intp]
    failures: list[Failure]


class Encoded(NamedTuple):
    """What rows became: a message for each, null for those in `failures`."""

    messages: pa.Array
    failures: list[Failure]


Decode = Callable[[pa.Array], Decoded]
"""Reads messages, an array of binary or text. A null is no message: it fails."""

Encode = Callable[[pa.RecordBatch], Encoded]
"""Makes a message of each row; the columns are those of the format, in its order and types."""


class Format(Value, ABC):
    """The frozen description of how records are written as messages: bytes or text, one by one.

    Equal ones have equal settings; they can be pickled. `decoder` and `encoder` make the machines, which
    keep nothing from call to call and work on columns of messages.
    """

    kind: ClassVar[str]
    """Its name in errors and plans."""

    per_record: ClassVar[bool] = True
    """Whether Python makes an object of every record: several workers then are processes."""

    unfolds: ClassVar[bool] = False
    """Whether a message may hold none or several records."""

    @property
    @abstractmethod
    def schema(self) -> pa.Schema:
        """The columns of a record; a field that is never null has to be in every message."""

    @abstractmethod
    def decoder(self) -> Decode:
        """What reads messages. Raises `MissingExtraError` where a package is missing."""

    @abstractmethod
    def encoder(self) -> Encode:
        """What writes messages. Raises `MissingExtraError` where a package is missing."""

    def split(self, document: bytes) -> Sequence[bytes]:
        """The messages in a document of them, such as the body of a response; here: it is one message.

        Raises `FormatError` for a document that holds none.
        """
        return [document]


def no_message(kind: str) -> FormatError:
    """The error for a null in the place of a message."""
    return FormatError(
        f"there is no {kind} message to read",
        expected="a message",
        found="null",
        remedy='filter such rows out before: `.filter(col("value").is_not_null())`',
    )
