"""Codes of text keys: whole numbers that stand for values as long as an operator works."""

from __future__ import annotations

from collections import OrderedDict
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from streamlib.core.batch import Column

MOST_CODES = 131_072  # values that are ever given a code: some MB, whatever keys come and go
_REMEMBERED = 8  # dictionaries: a reader brings a new one with each row group, of several files in turn


class KeyCodes:
    """Gives the values of dictionaries whole numbers from 0 on, without gaps, that never change.

    A dictionary is looked up once, however many batches share it, and its rows cost a lookup in a
    vector. Values are only added: a code can be read from another thread.
    """

    def __init__(self, dtype: pa.DataType) -> None:
        self._values = pa.array([], dtype)
        self._known: OrderedDict[tuple[Any, ...], tuple[pa.Array, npt.NDArray[np.int64]]] = OrderedDict()

    def codes(self, column: Column) -> npt.NDArray[np.int64] | None:
        """The code of every row; None where the column is not encoded, or there are too many values."""
        if isinstance(column, np.ndarray) or not pa.types.is_dictionary(column.type):
            return None
        mapping = self._mapping(column.dictionary)
        if mapping is None:
            return None
        if column.indices.null_count:
            null = self._mapping(pa.array([None], self._values.type))
            if null is None:
                return None
            indices = column.indices.fill_null(len(mapping)).to_numpy()
            return np.append(mapping, null).take(indices)
        return mapping.take(column.indices.to_numpy())

    def known(self, values: pa.Array) -> npt.NDArray[np.int64] | None:
        """The code of every value; None unless all have one. May be asked from another thread."""
        found = pc.index_in(values, self._values)
        return None if found.null_count else found.to_numpy().astype(np.int64)

    def values(self, codes: npt.NDArray[np.int64]) -> pa.Array:
        """The values that codes stand for."""
        return self._values.take(pa.array(codes))

    def _mapping(self, dictionary: pa.Array) -> npt.NDArray[np.int64] | None:
        """The code of each entry of a dictionary."""
        place = (
            len(dictionary),
            dictionary.offset,
            *(0 if b is None else b.address for b in dictionary.buffers()),
        )
        if place in self._known:
            self._known.move_to_end(place)
            return self._known[place][1]
        mapping = self._looked_up(dictionary)
        if mapping is not None:
            self._known[place] = (dictionary, mapping)  # which keeps its memory, and so its place
            if len(self._known) > _REMEMBERED:
                self._known.popitem(last=False)
        return mapping

    def _looked_up(self, dictionary: pa.Array) -> npt.NDArray[np.int64] | None:
        found = pc.index_in(dictionary, self._values)
        if found.null_count:
            new = dictionary.filter(found.is_null()).unique()
            if len(self._values) + len(new) > MOST_CODES:
                return None
            self._values = pa.concat_arrays([self._values, new])
            found = pc.index_in(dictionary, self._values)
        return found.to_numpy().astype(np.int64)


def has_codes(dtype: pa.DataType) -> bool:
    """Whether keys of a type can have codes: texts and bytes, as readers give them."""
    is_text = (pa.types.is_string, pa.types.is_large_string, pa.types.is_binary, pa.types.is_large_binary)
    return any(test(dtype) for test in is_text)
