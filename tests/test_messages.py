"""`decode` and `encode`: columns of messages in flows, and what happens to those that fail."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import msgspec
import pyarrow as pa
import pytest
import toolz

import streamlib as sl
from streamlib import col
from streamlib import operators as op
from streamlib.connectors import memory
from streamlib.core.errors import DefinitionError, FormatError, TypeMismatchError, UnknownColumnError
from streamlib.testing import assert_parity, assert_survives
from tests.protos import message_classes


@dataclass
class Sale:
    item: str
    price: float


JSON = sl.formats.json(Sale)
GOOD = [i for i in range(60) if i % 7]
ROWS = [
    {
        "at": i * 1_000_000,
        "value": msgspec.json.encode({"item": f"i{i % 3}", "price": float(i)}) if i % 7 else b"{torn",
        "shop": i % 2,
    }
    for i in range(60)
]


def messages(rows: list[dict[str, Any]] = ROWS, **options: Any) -> sl.Stream:
    source = memory.source(
        rows, schema={"at": pa.int64(), "value": pa.binary(), "shop": pa.int64()}, **options
    )
    return sl.read(source, name="messages", event_time="at", watermark=sl.monotone())


def test_decode_puts_the_columns_of_the_records_in_the_place_of_the_messages() -> None:
    sales = messages().decode("value", JSON, on_error="skip")
    table = sales.collect()
    assert table.schema.names == ["at", "item", "price", "shop"]
    assert table["price"].to_pylist() == GOOD
    assert table["at"].to_pylist() == [i * 1_000_000 for i in GOOD]


def test_decode_into_a_struct_keeps_names_apart() -> None:
    clashing = messages().rename({"shop": "price"})
    with pytest.raises(DefinitionError, match="'price'") as error:
        clashing.decode("value", JSON, on_error="skip").collect()
    assert 'into="record"' in str(error.value)
    found = clashing.decode("value", JSON, into="value", on_error="skip").collect()
    assert found["value"].to_pylist()[0] == {"item": "i1", "price": 1.0}
    assert found["price"].to_pylist() == [i % 2 for i in GOOD]


def test_the_first_message_that_can_not_be_read_stops_the_job_with_operator_and_line() -> None:
    with pytest.raises(FormatError) as error:
        messages().decode("value", JSON).collect()
    assert "'decode'" in str(error.value)
    assert "test_messages.py" in str(error.value)
    assert "torn" in str(error.value)


def test_dead_letters_hold_the_messages_that_can_not_be_read() -> None:
    sales = messages().decode("value", JSON, on_error=sl.dead_letter(memory.sink()))
    tables = sl.Flow("sales", sales.write(memory.sink(), name="out")).collect()
    assert tables["out"].num_rows == len(GOOD)
    letters = tables["dead_letters"].to_pylist()
    assert len(letters) == 60 - len(GOOD)
    assert all("torn" in letter["error"] for letter in letters)


def flow(policy: Any = "skip") -> sl.Flow:
    sales = messages().decode("value", JSON, on_error=policy)
    again = sales.with_columns(price=col("price") / (col("shop") - 1)).encode(JSON, on_error=policy)
    return sl.Flow("both", again.write(memory.sink(), name="out"))


@pytest.mark.parametrize("policy", ["skip", "letters"])
def test_what_is_read_and_written_depends_on_no_batch_split_and_survives_crashes(policy: str) -> None:
    made = flow("skip" if policy == "skip" else sl.dead_letter(memory.sink()))
    tables = assert_parity(made, seeds=range(4))
    assert_survives(made, seeds=range(6))
    left = [i for i in GOOD if i % 2 == 0]  # of odd shops prices are divided by zero: not for JSON
    found = sorted(msgspec.json.decode(value)["price"] for value in tables["out"]["value"].to_pylist())
    assert found == sorted(-float(i) for i in left)
    if policy == "letters":
        assert tables["dead_letters"].num_rows == 60 - len(left)


@pytest.mark.parametrize("workers", ["threads", "processes"])
def test_several_workers_read_the_same(workers: Any, tmp_path: Any) -> None:
    sink = memory.sink()
    sales = messages().decode("value", JSON, on_error="skip")
    sl.Flow("f", sales.write(sink, name="out")).run(state=tmp_path / "s", parallelism=2, workers=workers)
    assert sink.table()["price"].to_pylist() == GOOD


FORMS = {
    "json": sl.formats.json({"item": pa.string(), "price": pa.float64()}),
    "msgpack": sl.formats.msgpack(Sale),
    "csv": sl.formats.csv(Sale),
    "avro": sl.formats.avro(Sale),
    "arrow": sl.formats.arrow({"item": pa.string(), "price": pa.float64()}),
}


@pytest.mark.parametrize("name", FORMS)
def test_what_encode_writes_decode_reads(name: str) -> None:
    sales = messages().decode("value", JSON, on_error="skip")
    again = toolz.pipe(sales, op.encode(FORMS[name], into="message"), op.decode("message", FORMS[name]))
    columns = ["at", "item", "price"]
    assert again.collect().select(columns).to_pylist() == sales.collect().select(columns).to_pylist()


def test_protobuf_messages_go_through_a_flow() -> None:
    item = message_classes()["Item"]
    rows = [{"value": item(name=str(i), tags=["x"] * i).SerializeToString()} for i in range(3)]
    form = sl.formats.protobuf(item)
    stream = sl.read(memory.source(rows), name="items").decode("value", form)
    assert stream.collect()["tags"].to_pylist() == [[], ["x"], ["x", "x"]]
    assert stream.encode(form).collect().to_pylist() == rows


def batches(sizes: list[int]) -> list[dict[str, Any]]:
    rows, first = [], 0
    for i, size in enumerate(sizes):
        sink = pa.BufferOutputStream()
        batch = pa.record_batch({"n": pa.array(range(first, first + size), pa.int64())})
        with pa.ipc.new_stream(sink, batch.schema) as stream:
            stream.write_batch(batch)
        first += size
        rows.append(
            {"at": i * 1_000_000, "value": sink.getvalue().to_pybytes() if size else b"torn", "shop": i}
        )
    return rows


def test_the_rows_of_one_arrow_message_have_its_event_time_and_come_in_bounded_batches() -> None:
    stream = messages(batches([2, 0, 1, 70_000])).decode(
        "value", sl.formats.arrow({"n": pa.int64()}), on_error="skip"
    )
    table = stream.with_columns(time=sl.event_time()).collect()
    assert table["n"].to_pylist() == list(range(70_003))
    assert table["shop"].to_pylist() == [0, 0, 2, *[3] * 70_000]
    assert table["time"].cast(pa.int64()).to_pylist()[:3] == [0, 0, 2_000_000]


def test_arrow_messages_depend_on_no_batch_split_and_survive_crashes() -> None:
    stream = messages(batches([2, 0, 1, 3] * 5)).decode(
        "value", sl.formats.arrow({"n": pa.int64()}), on_error="skip"
    )
    made = sl.Flow("arrow", stream.write(memory.sink(), name="out"))
    assert assert_parity(made, seeds=range(4))["out"].num_rows == 30
    assert_survives(made, seeds=range(6))


def test_sources_read_the_messages_alone_where_nothing_else_is_needed() -> None:
    prices = messages().decode("value", JSON, on_error="skip").select("price")
    assert prices.collect()["price"].to_pylist() == GOOD


@pytest.mark.parametrize(
    ("step", "error", "text"),
    [
        (op.decode("valeu", JSON), UnknownColumnError, "did you mean 'value'"),
        (op.decode("shop", JSON), TypeMismatchError, "binary or text"),
        (op.encode(JSON), UnknownColumnError, "no column 'item'"),
        (op.encode(sl.formats.json({"shop": pa.string()})), TypeMismatchError, "int64"),
        (op.encode(sl.formats.json({"shop": pa.int64()})), DefinitionError, "already"),
    ],
)
def test_what_does_not_fit_is_told_when_the_flow_is_bound(step: Any, error: Any, text: str) -> None:
    with pytest.raises(error) as found:
        sl.Flow("f", step(messages()).write(memory.sink(), name="out")).explain()
    assert text in str(found.value)


def test_keys_stay() -> None:
    for stream in (
        messages().key_by("value").decode("value", JSON),
        messages().key_by("shop").encode(sl.formats.json({"shop": pa.int64()}), into="m"),
    ):
        with pytest.raises(DefinitionError, match="keyed by"):
            stream.collect()


def test_what_is_no_format_is_told_at_once() -> None:
    wrong: Any = "json"
    with pytest.raises(TypeMismatchError, match="needs a format"):
        messages().decode("value", wrong)
    with pytest.raises(TypeMismatchError, match="needs a format"):
        messages().encode(wrong)


def test_plans_show_the_format() -> None:
    assert "value: formats.json(Sale)" in flow().explain()
