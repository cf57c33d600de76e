"""Dead letters as people read them: from a folder, or from the sink that got them."""

from __future__ import annotations

import pyarrow as pa

from streamlib.core.letters import LETTERS
from streamlib.runners.letter_places import Letters, place_of


def read_dead_letters(place: Letters) -> pa.Table:
    """The dead letters that were committed so far.

    Columns: `operator` (its id, as in `explain`) and `input` (which of its inputs), `event_time`, `error`,
    `code`, `traceback`, `record` (for people: JSON, or the text that was read), `data` and `format`. Where
    `format` is `arrow`, `data` is an Arrow stream with one row: `pa.ipc.open_stream(data).read_all()` gives
    the record back without loss. Where it is `raw`, `data` are the bytes that a source could not read.
    `source`, `partition` and `position` are null where they are not known.

    Args:
        place: the folder of a `parquet.sink`, or the sink that was given to `sl.dead_letter`.

    Raises:
        SourceError: there is no such folder, or no letters in it.

    >>> import pyarrow as pa
    >>> import streamlib as sl
    >>> from streamlib.connectors import memory
    >>> dead = memory.sink()
    >>> texts = sl.read(memory.source([{"n": "1"}, {"n": "two"}]), name="texts")
    >>> numbers = texts.select(n=sl.col("n").cast(pa.int64()), on_error=sl.dead_letter(dead))
    >>> flow = sl.Flow("numbers", numbers.write(memory.sink(), name="numbers"))
    >>> import tempfile
    >>> dict(flow.run(state=tempfile.mkdtemp(), progress="none").dead_letters)
    {'texts.select': 1}
    >>> sl.read_dead_letters(dead).select(["operator", "record"]).to_pylist()
    [{'operator': 'texts.select', 'record': '{"n": "two"}'}]
    """
    found = place_of(place)
    batches = [batch for part in found.parts() for batch in found.read(part)]
    return pa.Table.from_batches(batches, LETTERS)
