"""Dead letters as people read them: from a folder, or from the sink that got them."""

from __future__ import annotations

from os import PathLike, fspath
from pathlib import Path

import pyarrow as pa

from streamlib.connectors import memory, parquet
from streamlib.connectors.file_sink import FileSink
from streamlib.core.contracts import Chunk
from streamlib.core.errors import SourceError, TypeMismatchError, shown
from streamlib.core.letters import LETTERS
from streamlib.plan.dead_letters import shares_columns

Letters = str | PathLike[str] | FileSink | memory.MemorySink
"""Where dead letters are: a folder of Parquet files, or a sink in this program."""


def read_dead_letters(place: Letters) -> pa.Table:
    """The dead letters that were committed so far.

    Columns: `operator` (its id, as in `explain`) and `input` (which of its inputs), `event_time`, `error`,
    `code`, `traceback`, `record` (JSON, for people) and `data` (the record as an Arrow stream with one
    row: `pa.ipc.open_stream(data).read_all()` gives it back without loss). `source`, `partition` and
    `position` are null where they are not known.

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
    if isinstance(place, memory.MemorySink):
        table = place.table()
        return table if table.num_columns else LETTERS.empty_table()
    path = place.path if isinstance(place, FileSink) and place.encoding.name == "parquet" else place
    if not isinstance(path, str | PathLike):
        raise TypeMismatchError(
            "dead letters are read from a folder or a sink",
            expected="a path, a parquet.sink or a memory.sink",
            found=shown(place),
        )
    return _from_folder(Path(fspath(path)).expanduser())


def _from_folder(folder: Path) -> pa.Table:
    if not folder.is_dir():
        raise SourceError(
            f"no folder {str(folder)!r}",
            expected="the folder of a sink of dead letters",
            found="nothing of that name",
            remedy="give the path that sl.dead_letter(parquet.sink(...)) was given, from this folder",
        )
    if not any(folder.glob("*.parquet")):
        return LETTERS.empty_table()
    source = parquet.source(str(folder))
    if not shares_columns(source.schema()):
        raise SourceError(
            f"{str(folder)!r} does not hold dead letters",
            expected=f"the columns {', '.join(LETTERS.names)}",
            found=", ".join(source.schema().names),
            remedy="give the folder of the sink of dead letters, not that of the results",
        )
    tables = []
    for partition in sorted(source.partitions()):
        reader = source.open(partition, None, None)
        try:
            while isinstance(chunk := reader.read(), Chunk):
                tables.append(pa.Table.from_batches([chunk.rows]).cast(LETTERS))
        finally:
            reader.close()
    return pa.concat_tables([LETTERS.empty_table(), *tables])
