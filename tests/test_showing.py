"""How flows and streams show themselves: a tree where they are printed, a picture in a notebook's cell."""

from __future__ import annotations

import xml.etree.ElementTree as ET
from pathlib import Path

import pyarrow as pa
import pytest
from IPython.core.completer import provisionalcompleter
from IPython.core.interactiveshell import InteractiveShell

import streamlib as sl
from streamlib import col, windows
from streamlib.connectors import memory, parquet

ROWS = memory.source([{"at": 1_000_000, "key": 1}])
STREAM = sl.read(ROWS, name="bids", event_time="at", watermark=sl.monotone())
HOURLY = STREAM.key_by("key").window(windows.tumbling("1h")).aggregate(n=sl.count())


def test_a_flow_prints_as_a_tree_and_its_repr_is_one_line() -> None:
    flow = sl.Flow(
        "hot", HOURLY.write(memory.sink(), name="hourly"), HOURLY.late().write(memory.sink(), name="late")
    )
    lines = str(flow).splitlines()
    assert lines[0].startswith("flow hot (")
    assert [line.split("  ")[0] for line in lines[1:]] == [
        "bids",
        "key_by",
        "aggregate",
        "├─ hourly",
        "└─ late: late",
    ]
    assert repr(flow) == "<flow 'hot': hourly, late>"


def test_a_stream_prints_as_the_tree_of_what_is_above_it_and_nothing_runs() -> None:
    lines = str(HOURLY.filter(col("n") > 1)).splitlines()
    assert lines[0] == "stream filter"
    assert [line.split()[0] for line in lines[1:]] == ["bids", "key_by", "aggregate", "filter"]
    assert len(repr(HOURLY).splitlines()) == 1


@pytest.mark.parametrize("shown", [HOURLY, sl.Flow("hot", HOURLY.write(memory.sink(), name="hourly"))])
def test_in_a_notebook_both_are_pictures(shown: sl.Stream | sl.Flow) -> None:
    picture = ET.fromstring(shown._repr_svg_())
    texts = {element.text for element in picture.iter() if element.tag.endswith("text")}
    assert {"bids", "aggregate"} <= texts


def test_what_does_not_bind_yet_is_shown_with_its_error(tmp_path: Path) -> None:
    nowhere = sl.read(parquet.source(str(tmp_path / "none")), name="files")
    misspelt = STREAM.filter(col("kye") > 1)
    for stream, text in ((nowhere, "nothing to read"), (misspelt, "no column 'kye'")):
        assert text in str(stream)
        assert text.split("'")[0].strip() in stream._repr_svg_()


def test_a_stream_tells_its_columns_and_a_notebook_completes_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("IPYTHONDIR", str(tmp_path))
    rows = sl.read(memory.source([{"item": "pen", "price": 3}]), name="rows")
    assert rows.schema == pa.schema({"item": pa.string(), "price": pa.int64()})
    dear = rows.filter(rows["price"] > 2)
    assert dear == rows.filter(sl.col("price") > 2)
    counts = dear.key_by("item").aggregate(n=sl.count())
    shell = InteractiveShell()
    shell.user_ns["counts"] = counts
    with provisionalcompleter():
        found = {completion.text.strip('"]') for completion in shell.Completer.completions('counts["', 8)}
    assert {"item", "n"} <= found
    with pytest.raises(sl.StreamlibError, match=r"no column 'prise'") as error:
        rows["prise"]
    assert "test_showing.py:" in str(error.value)
    assert "price" in str(error.value)
    with pytest.raises(sl.StreamlibError, match=r"no column 'x'"):
        _ = rows.select("x").schema
    assert rows.select("x")._ipython_key_completions_() == []
