"""Formats: what is encoded is decoded to the same rows; what can't be read fails alone, with its field."""

from __future__ import annotations

import dataclasses
import pickle
import typing
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Annotated, Any, Literal, NotRequired

import msgspec
import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

import streamlib as sl
from streamlib import formats
from streamlib.connectors.json_text import json_lines
from streamlib.core.errors import DefinitionError, FormatError, TypeMismatchError
from tests.protos import message_classes

PROTO = message_classes()
INTS = {
    dtype: st.integers(-(2 ** (bits - 1)), 2 ** (bits - 1) - 1)
    for dtype, bits in ((pa.int8(), 8), (pa.int32(), 32), (pa.int64(), 64))
}
MOMENTS = st.integers(-62_135_596_800_000_000, 253_402_300_799_999_999)
FLAT: dict[pa.DataType, st.SearchStrategy[Any]] = {
    **INTS,
    pa.uint32(): st.integers(0, 2**32 - 1),
    pa.bool_(): st.booleans(),
    pa.float64(): st.floats(allow_nan=False, allow_infinity=False),
    pa.string(): st.text(max_size=8),
    pa.timestamp("us", "UTC"): MOMENTS,
    pa.timestamp("us"): MOMENTS,
    pa.date32(): st.integers(-719_162, 2_932_896),
    pa.decimal128(9, 2): st.integers(-(10**9) + 1, 10**9 - 1).map(lambda n: Decimal(n).scaleb(-2)),
}
BYTES: dict[pa.DataType, st.SearchStrategy[Any]] = {
    pa.binary(): st.binary(max_size=8),
    pa.binary(3): st.binary(min_size=3, max_size=3),
    pa.time64("us"): st.integers(0, 86_399_999_999),
}
DURATIONS: dict[pa.DataType, st.SearchStrategy[Any]] = {pa.duration("us"): st.integers(-(10**14), 10**14)}


def nested(leaves: dict[pa.DataType, st.SearchStrategy[Any]]) -> st.SearchStrategy[tuple[pa.DataType, Any]]:
    """Types with what makes their values."""
    pairs = st.sampled_from(list(leaves.items()))

    def lists(inner: tuple[pa.DataType, Any]) -> tuple[pa.DataType, Any]:
        return pa.list_(inner[0]), st.lists(st.none() | inner[1], max_size=3)

    def structs(inner: list[tuple[pa.DataType, Any]]) -> tuple[pa.DataType, Any]:
        names = ["x", "y_1", "Z"][: len(inner)]
        dtype = pa.struct([pa.field(name, each[0]) for name, each in zip(names, inner, strict=True)])
        parts = {name: st.none() | each[1] for name, each in zip(names, inner, strict=True)}
        return dtype, st.fixed_dictionaries(parts)

    def maps(inner: tuple[pa.DataType, Any]) -> tuple[pa.DataType, Any]:
        values = st.dictionaries(st.text(max_size=3), st.none() | inner[1], max_size=3)
        return pa.map_(pa.string(), inner[0]), values.map(lambda found: sorted(found.items()))

    return st.recursive(
        pairs,
        lambda inner: (
            inner.map(lists) | inner.map(maps) | st.lists(inner, min_size=1, max_size=3).map(structs)
        ),
        max_leaves=4,
    )


@st.composite
def batches(draw: Any, kinds: st.SearchStrategy[tuple[pa.DataType, Any]]) -> pa.RecordBatch:
    columns, fields = [], []
    count = draw(st.integers(0, 6))
    for i, (dtype, values) in enumerate(draw(st.lists(kinds, min_size=1, max_size=4))):
        required = draw(st.booleans())
        made = draw(st.lists(values if required else st.none() | values, min_size=count, max_size=count))
        fields.append(pa.field(f"c{i}", dtype, nullable=not required))
        columns.append(pa.array(made, dtype))
    return pa.RecordBatch.from_arrays(columns, schema=pa.schema(fields))


def check_round_trip(form: formats.Format, rows: pa.RecordBatch) -> None:
    encoded = form.encoder()(rows)
    assert encoded.failures == []
    found = form.decoder()(encoded.messages)
    assert found.failures == []
    assert found.rows.schema == form.schema
    assert found.rows.equals(rows)
    if rows.num_rows > 1:  # rows that begin inside of buffers
        part = form.encoder()(rows.slice(1))
        assert part.messages.equals(encoded.messages[1:])
        assert form.decoder()(encoded.messages.slice(1)).rows.equals(rows.slice(1))


@given(batches(nested(FLAT | BYTES | DURATIONS)))
def test_json_reads_what_it_wrote(rows: pa.RecordBatch) -> None:
    check_round_trip(formats.json(rows.schema), rows)


PRINTED = {**FLAT, **DURATIONS, pa.time64("us"): BYTES[pa.time64("us")]}


@given(batches(nested(PRINTED)))
def test_json_reads_what_the_sink_of_json_lines_wrote(rows: pa.RecordBatch) -> None:
    lines = json_lines(rows).to_pybytes().split(b"\n")[:-1]
    found = formats.json(rows.schema).decoder()(pa.array(lines, pa.binary()))
    assert found.failures == []
    assert found.rows.equals(rows)


@given(batches(nested(FLAT | BYTES | DURATIONS)))
def test_msgpack_reads_what_it_wrote(rows: pa.RecordBatch) -> None:
    check_round_trip(formats.msgpack(rows.schema), rows)


@given(batches(nested(FLAT | BYTES)))
def test_avro_reads_what_it_wrote(rows: pa.RecordBatch) -> None:
    check_round_trip(formats.avro(rows.schema), rows)


@given(batches(nested(FLAT | BYTES | DURATIONS)))
def test_arrow_reads_what_it_wrote(rows: pa.RecordBatch) -> None:
    check_round_trip(formats.arrow(rows.schema), rows)


@given(batches(st.sampled_from([(k, v) for k, v in FLAT.items() if k != pa.string()])))
def test_csv_reads_numbers_that_it_wrote(rows: pa.RecordBatch) -> None:
    if len(rows.schema) > 1:  # an empty line is no record of several columns, and null in one column
        check_round_trip(formats.csv(rows.schema), rows)


@given(st.lists(st.tuples(st.integers(0, 9), st.none() | st.text(max_size=8))), st.sampled_from(",;\t|"))
def test_csv_reads_texts_that_it_wrote(rows: list[tuple[int, str | None]], delimiter: str) -> None:
    form = formats.csv({"n": pa.int64(), "text": pa.string()}, delimiter=delimiter)
    columns = [pa.array([n for n, _ in rows], pa.int64()), pa.array([t for _, t in rows], pa.string())]
    check_round_trip(form, pa.RecordBatch.from_arrays(columns, schema=form.schema))


def items() -> st.SearchStrategy[dict[str, Any]]:
    return st.fixed_dictionaries(
        {"name": st.text(max_size=5), "tags": st.lists(st.text(max_size=3), max_size=3)}
    )


MOST_NANOS = 315_576_000_000_000_000


@given(
    st.lists(
        st.fixed_dictionaries(
            {
                "auction": INTS[pa.int64()],
                "price": st.none() | st.floats(allow_nan=False),
                "kind": st.sampled_from(["UNKNOWN", "HOT"]),
                "at": st.none() | MOMENTS,
                "item": st.none() | items(),
                "items": st.lists(items(), max_size=2),
                "counts": st.dictionaries(st.text(max_size=3), INTS[pa.int64()], max_size=3).map(
                    lambda found: sorted(found.items())
                ),
                "note": st.none() | st.text(max_size=4),
                "took": st.none() | st.integers(-MOST_NANOS, MOST_NANOS),
                "data": st.binary(max_size=4),
                "small": st.floats(width=32, allow_nan=False),
                "ids": st.lists(st.integers(0, 2**32 - 1), max_size=3),
            }
        ),
        max_size=5,
    )
)
def test_protobuf_reads_what_it_wrote(rows: list[dict[str, Any]]) -> None:
    form = formats.protobuf(PROTO["Bid"])
    columns = [pa.array([row[field.name] for row in rows], field.type) for field in form.schema]
    check_round_trip(form, pa.RecordBatch.from_arrays(columns, schema=form.schema))


@pytest.mark.parametrize("name", ["json", "msgpack", "avro", "csv", "arrow", "protobuf"])
@given(st.lists(st.binary(max_size=30), max_size=5), st.data())
def test_torn_messages_fail_alone_whatever_is_in_them(name: str, torn: list[bytes], data: Any) -> None:
    form: Any = GOOD[name][0]
    good = form.encoder()(GOOD[name][1]).messages
    messages = [*torn, *(m[: data.draw(st.integers(0, len(m)))] for m in good.to_pylist()), *good.to_pylist()]
    order = data.draw(st.permutations(range(len(messages))))
    shuffled = [messages[i] for i in order]
    found = form.decoder()(pa.array(shuffled, pa.binary()))
    alone = [form.decoder()(pa.array([m], pa.binary())) for m in shuffled]
    assert [row for row, _ in found.failures] == [i for i, one in enumerate(alone) if one.failures]
    assert found.rows.to_pylist() == [row for one in alone for row in one.rows.to_pylist()]
    assert found.parents.tolist() == [i for i, one in enumerate(alone) for _ in range(one.rows.num_rows)]
    assert all(isinstance(error, FormatError) for _, error in found.failures)


COLUMNS = {"a": pa.int64(), "b": pa.string()}
TWO = pa.record_batch({"a": [1, None], "b": ["x", "y"]}, schema=pa.schema(COLUMNS))
GOOD: dict[str, tuple[Any, pa.RecordBatch]] = {
    **{name: (getattr(formats, name)(COLUMNS), TWO) for name in ("json", "msgpack", "avro", "csv", "arrow")},
    "protobuf": (
        formats.protobuf(PROTO["Item"]),
        pa.RecordBatch.from_pylist(
            [{"name": "x", "tags": ["a"]}, {"name": "", "tags": []}],
            schema=formats.protobuf(PROTO["Item"]).schema,
        ),
    ),
}


@pytest.mark.parametrize("name", ["json", "msgpack", "avro", "csv", "arrow"])
def test_texts_with_a_dictionary_keep_it_also_beside_messages_that_fail(name: str) -> None:
    codes = pa.array(["x", None, "y"]).dictionary_encode()
    form = getattr(formats, name)({"n": pa.int8(), "text": codes.type})
    rows = pa.RecordBatch.from_arrays([pa.array([1, 2, 3], pa.int8()), codes], schema=form.schema)
    messages = form.encoder()(rows).messages.to_pylist()
    found = form.decoder()(pa.array([messages[0], b"{torn", *messages[1:]]))
    assert found.rows.schema == form.schema
    assert found.rows["text"].to_pylist() == ["x", None, "y"]
    if name == "json":
        wide = form.decoder()(pa.array([messages[0], b'{"n": 300, "text": "z"}', messages[2]]))
        assert wide.rows["text"].to_pylist() == ["x", "y"]


# --------------------------------------------------------------------------- JSON


@dataclasses.dataclass
class Seller:
    name: str
    rating: float | None


@dataclasses.dataclass
class Bid:
    auction: int
    price: float
    at: datetime
    seller: Seller
    tags: list[str]
    channel: str = "web"
    note: str | None = None


GOOD_BID: dict[str, Any] = {
    "auction": 1,
    "price": 2,
    "at": "2024-05-01T12:00:00.1234567+02:00",
    "seller": {"name": "ann", "rating": None, "unknown": [1, {"deep": True}]},
    "tags": ["a"],
    "unknown": {"fields": "are ignored"},
}


def failing(form: formats.Format, message: Any) -> FormatError:
    found = form.decoder()(pa.array([message]))
    assert found.rows.num_rows == 0
    ((row, error),) = found.failures
    assert row == 0
    assert isinstance(error, FormatError)
    return error


def test_json_fills_defaults_and_ignores_unknown_fields() -> None:
    found = formats.json(Bid).decoder()(pa.array([msgspec.json.encode(GOOD_BID)]))
    assert found.rows.to_pylist() == [
        {
            "auction": 1,
            "price": 2.0,
            "at": datetime(2024, 5, 1, 10, 0, 0, 123456, UTC),
            "seller": {"name": "ann", "rating": None},
            "tags": ["a"],
            "channel": "web",
            "note": None,
        }
    ]


@pytest.mark.parametrize(
    ("change", "field", "expected", "found"),
    [
        ({"auction": "1"}, "auction", "int", "str"),
        ({"auction": 1.5}, "auction", "int", "float"),
        ({"auction": None}, "auction", "int", "null"),
        ({"auction": 2**64}, "auction", "int64", "18446744073709551616"),
        ({"seller": {"name": "ann"}}, "seller.rating", "a value", "no such field"),
        ({"seller": {"name": 1, "rating": 2}}, "seller.name", "str", "int"),
        ({"tags": ["a", 1]}, "tags[1]", "str", "int"),
        ({"at": "2024-05-01T12:00:00"}, "at", "timestamp[us, tz=UTC]", "2024-05-01T12:00:00"),
        ({"at": 3}, "at", "str", "int"),
        ({"channel": None}, "channel", "str", "null"),
    ],
)
def test_a_json_record_that_does_not_fit_is_told_with_field_expected_and_found(
    change: dict[str, Any], field: str, expected: str, found: str
) -> None:
    error = failing(formats.json(Bid), msgspec.json.encode({**GOOD_BID, **change}))
    assert f"{field!r}" in error.message
    assert expected in str(error.expected)
    assert found in str(error.found)
    assert error.remedy


def test_a_missing_field_of_a_json_record_is_told() -> None:
    error = failing(formats.json(Bid), '{"auction": 1}')
    assert "'price'" in error.message
    assert "no such field" in str(error.found)


@pytest.mark.parametrize(
    "message", ["", "[]", "1", "null", '{"a": 1} {"a": 2}', '{"a": 1', "{'a': 1}", "[" * 9999]
)
def test_what_is_no_json_object_fails(message: str) -> None:
    failing(formats.json({"a": pa.int64()}), message)


def test_messages_that_would_be_whole_together_fail_each() -> None:
    found = formats.json({"a": pa.int64()}).decoder()(
        pa.array(['{"a": 1', ', "b": 2}', '{"a": 3}\n', '{"a"\n:4}'])
    )
    assert [row for row, _ in found.failures] == [0, 1]
    assert found.rows["a"].to_pylist() == [3, 4]


class Loose(typing.TypedDict):
    id: int
    note: NotRequired[str]


class Small(msgspec.Struct, rename="camel", forbid_unknown_fields=True):
    user_id: Annotated[int, msgspec.Meta(ge=1)]
    kind_of: Literal["a", "b"] = "a"
    parts: list[int] = []


def test_a_typed_dict_says_which_fields_may_be_missing() -> None:
    form = formats.json(Loose)
    assert form.decoder()(pa.array(['{"id": 1}'])).rows.to_pylist() == [{"id": 1, "note": None}]
    assert "'id'" in failing(form, '{"note": "x"}').message


def test_names_constraints_and_strictness_of_a_struct_hold() -> None:
    form = formats.json(Small)
    found = form.decoder()(pa.array(['{"userId": 3, "kindOf": "b"}', '{"userId": 4}']))
    assert found.rows.to_pylist() == [
        {"user_id": 3, "kind_of": "b", "parts": []},
        {"user_id": 4, "kind_of": "a", "parts": []},
    ]
    assert form.encoder()(found.rows).messages[0].as_py() == b'{"userId":3,"kindOf":"b","parts":[]}'
    failing(form, '{"userId": 0}')
    failing(form, '{"userId": 1, "kindOf": "c"}')
    failing(form, '{"userId": 1, "more": 2}')


def test_json_refuses_to_write_what_it_can_not_hold() -> None:
    form = formats.json({"x": pa.float64(), "at": pa.timestamp("us")})
    rows = pa.RecordBatch.from_arrays(
        [pa.array([1.0, float("nan"), None, 2.0]), pa.array([0, 0, 0, 2**62], pa.timestamp("us"))],
        schema=form.schema,
    )
    found = form.encoder()(rows)
    assert [row for row, _ in found.failures] == [1, 3]
    assert found.messages.to_pylist()[0] == b'{"x":1.0,"at":"1970-01-01T00:00:00.000000"}'
    assert found.messages.to_pylist()[2] == b'{"x":null,"at":"1970-01-01T00:00:00.000000"}'


def test_a_null_where_the_format_allows_none_is_not_written() -> None:
    form = formats.json(pa.schema([pa.field("a", pa.int64(), nullable=False)]))
    found = form.encoder()(pa.record_batch({"a": [1, None]}))
    assert [(row, "'a'" in error.message) for row, error in found.failures] == [(1, True)]
    assert found.messages.to_pylist() == [b'{"a":1}', None]


def test_columns_may_have_any_name() -> None:
    rows = pa.record_batch({"a b": [1], "class": [2], "é": [3], "__x": [4], "1": [5]})
    for form in (formats.json(rows.schema), formats.msgpack(rows.schema)):
        check_round_trip(form, rows)


def test_a_document_of_json_is_split_into_its_records() -> None:
    form = formats.json({"a": pa.int64()})
    assert [bytes(m) for m in form.split(b' [{"a": 1}, {"a": [2]}]')] == [b'{"a": 1}', b'{"a": [2]}']
    assert form.split(b'{"a": 1}\n{"a": 2}\n') == [b'{"a": 1}', b'{"a": 2}']
    assert form.split(b'{\n "a": 1\n}') == [b'{\n "a": 1\n}']
    with pytest.raises(FormatError):
        form.split(b'[{"a": 1}')
    assert formats.csv({"a": pa.string()}).split(b'x\n"y\nz"\n\n') == [b"x", b'"y\nz"']


# --------------------------------------------------------------------------- the other formats


def test_timestamps_of_msgpack_are_its_extension_or_text() -> None:
    form = formats.msgpack({"at": pa.timestamp("us", "UTC")})
    moment = datetime(2024, 1, 1, tzinfo=UTC)
    found = form.decoder()(
        pa.array(
            [
                msgspec.msgpack.encode({"at": at})
                for at in (moment, "2024-01-01T00:00:00Z", "2024-01-01T00:00:00")
            ]
        )
    )
    assert found.rows["at"].to_pylist() == [moment, moment]
    assert [row for row, _ in found.failures] == [2]


AVRO = {
    "type": "record",
    "name": "shop.Order",
    "fields": [
        {"name": "id", "type": "long"},
        {"name": "day", "type": {"type": "int", "logicalType": "date"}},
        {"name": "kind", "type": {"type": "enum", "name": "Kind", "symbols": ["NEW", "OLD"]}},
        {"name": "again", "type": ["null", "Kind"], "default": None},
        {"name": "amount", "type": {"type": "bytes", "logicalType": "decimal", "precision": 6, "scale": 2}},
        {"name": "key", "type": {"type": "string", "logicalType": "uuid"}},
    ],
}


def test_avro_speaks_with_others_by_the_same_schema(tmp_path: Path) -> None:
    import io

    import fastavro

    (tmp_path / "order.avsc").write_text(msgspec.json.encode(AVRO).decode())
    form = formats.avro(AVRO)
    assert form == formats.avro(msgspec.json.encode(AVRO).decode())
    assert form.schema == formats.avro(tmp_path / "order.avsc").schema
    record = {
        "id": 1,
        "day": date(2024, 1, 2),
        "kind": "NEW",
        "again": "OLD",
        "amount": Decimal("12.50"),
        "key": "3f1b6a0e-9d3e-4c52-8f5b-0a1c2d3e4f50",
    }
    stream = io.BytesIO()
    fastavro.schemaless_writer(stream, fastavro.parse_schema(AVRO), record)
    found = form.decoder()(pa.array([stream.getvalue()]))
    assert found.rows.to_pylist() == [record]
    assert form.encoder()(found.rows).messages[0].as_py() == stream.getvalue()


@pytest.mark.parametrize(
    "schema",
    [
        {"type": "record", "name": "R", "fields": [{"name": "x", "type": ["int", "string"]}]},
        {"type": "record", "name": "R", "fields": [{"name": "x", "type": ["null", "R"]}]},
        {"type": "record", "name": "R", "fields": [{"name": "x", "type": "nonsense"}]},
        {"type": "record", "name": "R", "fields": []},
        {"type": "array", "items": "int"},
        "missing.avsc",
        "{torn",
        7,
    ],
)
def test_an_avro_schema_that_can_not_become_columns_is_refused(schema: Any) -> None:
    with pytest.raises(DefinitionError):
        formats.avro(schema)


def test_protobuf_tells_unset_fields_from_defaults_and_ignores_unknown_ones() -> None:
    form = formats.protobuf(PROTO["Bid"])
    full = PROTO["Bid"](auction=1, price=0, took=timedelta(seconds=-1.5), counts={"b": 1, "a": 2}, note={})
    rows = form.decoder()(pa.array([b"", full.SerializeToString() + b"\xf8\x07\x01"])).rows.to_pylist()
    assert [row["price"] for row in rows] == [None, 0.0]
    assert [row["note"] for row in rows] == [None, ""]
    assert [row["kind"] for row in rows] == ["UNKNOWN", "UNKNOWN"]
    assert rows[1]["took"] == timedelta(seconds=-1.5)
    assert rows[1]["counts"] == [("a", 2), ("b", 1)]


def test_protobuf_refuses_what_the_class_does_not_know() -> None:
    unknown = PROTO["Bid"]()
    unknown.kind = 9
    assert "'kind'" in failing(formats.protobuf(PROTO["Bid"]), unknown.SerializeToString()).message
    assert "id" in str(failing(formats.protobuf(PROTO["Old"]), b"").found)
    beyond = PROTO["Bid"](at={"seconds": 2**60})
    assert "'at'" in failing(formats.protobuf(PROTO["Bid"]), beyond.SerializeToString()).message


def test_csv_without_quotes_writes_nothing_that_it_would_read_otherwise() -> None:
    form = formats.csv({"n": pa.int64(), "text": pa.string()}, quote="")
    rows = pa.record_batch({"n": [1, 2, 3, 4], "text": ["a", "a,b", "", 'say "x"']}, schema=form.schema)
    found = form.encoder()(rows)
    assert [row for row, _ in found.failures] == [1, 2]
    assert form.decoder()(found.messages.drop_null()).rows["text"].to_pylist() == ["a", 'say "x"']


def test_an_arrow_message_holds_any_number_of_rows() -> None:
    form = formats.arrow(COLUMNS)
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(
        sink, pa.schema([("b", pa.string()), ("more", pa.int8()), ("a", pa.int64())])
    ) as stream:
        stream.write_batch(
            pa.record_batch({"b": ["x", "y"], "more": pa.array([1, 2], pa.int8()), "a": [1, 2]})
        )
    empty = pa.BufferOutputStream()
    with pa.ipc.new_stream(empty, form.schema):
        pass
    messages = [empty.getvalue().to_pybytes(), sink.getvalue().to_pybytes()]
    found = form.decoder()(pa.array([*messages, b"torn"], pa.binary()))
    assert found.rows.to_pylist() == [{"a": 1, "b": "x"}, {"a": 2, "b": "y"}]
    assert found.parents.tolist() == [1, 1]
    assert [row for row, _ in found.failures] == [2]


def test_a_null_is_no_message_except_for_raw() -> None:
    for form, _ in GOOD.values():
        found = form.decoder()(pa.array([None], pa.binary()))
        assert [row for row, _ in found.failures] == [0]
    assert formats.raw().decoder()(pa.array([None, b"x"], pa.binary())).rows["value"].to_pylist() == [
        None,
        b"x",
    ]


# --------------------------------------------------------------------------- descriptions


def test_formats_are_values() -> None:
    for form in (formats.json(Bid), formats.avro(AVRO), formats.csv(COLUMNS), formats.raw(text=True)):
        assert pickle.loads(pickle.dumps(form)) == form
        assert hash(pickle.loads(pickle.dumps(form))) == hash(form)
    assert formats.json(COLUMNS) == formats.json(pa.schema(COLUMNS)) != formats.msgpack(COLUMNS)
    assert formats.csv(COLUMNS) != formats.csv(COLUMNS, delimiter=";")
    assert repr(sl.formats.json(Bid)) == "formats.json(Bid)"


@pytest.mark.parametrize("make", ["json", "msgpack", "csv", "arrow"])
def test_what_is_no_shape_is_refused(make: str) -> None:
    for wrong in (int, [1], {}, "Bid", None):
        with pytest.raises((DefinitionError, TypeMismatchError)):
            getattr(formats, make)(wrong)


@pytest.mark.parametrize(
    ("make", "dtype"),
    [
        ("json", pa.float16()),
        ("msgpack", pa.map_(pa.int64(), pa.int64())),
        ("csv", pa.list_(pa.int64())),
        ("avro", pa.duration("us")),
        ("avro", pa.uint64()),
        ("avro", pa.timestamp("s")),
    ],
)
def test_a_column_type_that_a_format_can_not_hold_is_refused_at_once(make: str, dtype: pa.DataType) -> None:
    with pytest.raises(TypeMismatchError, match="'x"):
        getattr(formats, make)({"x": dtype} | ({"y": pa.int64()} if make == "csv" else {}))


def test_many_messages_with_few_bad_ones_are_read_in_bulk() -> None:
    rng = np.random.default_rng(1)
    bad = set(rng.choice(20_000, 40, replace=False).tolist())
    lines = [f'{{"a": {i if i not in bad else 2**70}}}' for i in range(20_000)]
    found = formats.json({"a": pa.int64()}).decoder()(pa.array(lines))
    assert {row for row, _ in found.failures} == bad
    assert found.rows["a"].to_pylist() == [i for i in range(20_000) if i not in bad]


def test_a_json_message_that_is_not_utf8_fails_alone():
    found = sl.formats.json({"name": pa.string()}).decoder()(
        pa.array([b'{"name": "\xff"}', b'{"name": "x"}'])
    )
    assert found.rows.to_pylist() == [{"name": "x"}]
    assert [number for number, _ in found.failures] == [0]
