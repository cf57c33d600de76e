"""Row functions whose hints say what a record is: dataclasses, TypedDicts, msgspec structs."""

from __future__ import annotations

import operator
import pickle
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, time, timedelta
from decimal import Decimal
from functools import partial
from typing import TYPE_CHECKING, Annotated, Any, Literal, NamedTuple, NewType, NotRequired, TypedDict

import msgspec
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

import streamlib as sl
from streamlib import col
from streamlib.connectors import memory
from streamlib.core.errors import DefinitionError, TypeMismatchError, UnknownColumnError, UserFunctionError
from streamlib.core.hints import MISSING, function_hints, record_class

if TYPE_CHECKING:
    from collections.abc import Sequence as OnlyForCheckers

BIDS = pa.table({"auction": [1, 2], "price": [1.5, 2.5], "who": ["Ada", None], "extra": [True, False]})


@dataclass
class Bid:
    auction: int
    price: float
    who: str | None


@dataclass(frozen=True, slots=True)
class Priced:
    auction: int
    cents: int


class BidDict(TypedDict):
    auction: int
    who: str | None


class PricedDict(TypedDict):
    auction: int
    cents: int


class BidStruct(msgspec.Struct, frozen=True):
    price: float
    auction: int


class PricedStruct(msgspec.Struct, kw_only=True):
    cents: int
    auction: int = 0


def priced(bid: Bid) -> Priced:
    return Priced(bid.auction, round(bid.price * 100))


def of(table: pa.Table) -> sl.Stream:
    return sl.read(memory.source(table), name="rows")


def mapped(function, table: pa.Table = BIDS, **options) -> pa.Table:
    return of(table).map(function, **options).collect()


def test_objects_of_the_hinted_class_go_in_and_the_result_gives_the_columns():
    found = mapped(priced)
    assert found.to_pylist() == [{"auction": 1, "cents": 150}, {"auction": 2, "cents": 250}]
    assert found.schema == pa.schema(
        [pa.field("auction", pa.int64(), False), pa.field("cents", pa.int64(), False)]
    )


def test_typed_dicts_and_structs_do_as_well_in_any_combination():
    def a(bid: BidDict) -> PricedStruct:
        assert bid.keys() == {"auction", "who"}
        return PricedStruct(cents=bid["auction"])

    def b(bid: BidStruct) -> PricedDict:
        return {"auction": bid.auction, "cents": int(bid.price)}

    assert mapped(a).to_pylist() == [{"cents": 1, "auction": 0}, {"cents": 2, "auction": 0}]
    assert mapped(b).to_pylist() == [{"auction": 1, "cents": 1}, {"auction": 2, "cents": 2}]


def test_only_one_end_may_be_typed():
    def out(bid: dict[str, Any]) -> Priced:
        return Priced(bid["auction"], len(bid))

    def into(bid: Bid) -> dict[str, Any]:
        return {"who": bid.who}

    assert mapped(out)["cents"].to_pylist() == [4, 4]
    assert mapped(into, schema={"who": pa.string()})["who"].to_pylist() == ["Ada", None]


def test_methods_partials_and_callable_objects_have_hints_too():
    class Pricer:
        def __call__(self, bid: Bid) -> Priced:
            return Priced(bid.auction, 1)

        def method(self, bid: Bid) -> Priced:
            return Priced(bid.auction, 2)

    def scaled(bid: Bid, by: int) -> Priced:
        return Priced(bid.auction, by)

    for function, cents in ((Pricer(), 1), (Pricer().method, 2), (partial(scaled, by=3), 3)):
        assert mapped(function)["cents"].to_pylist() == [cents, cents]


def test_classes_defined_beside_the_function_are_found():
    class Local(TypedDict):
        x: int

    def local(bid: Bid) -> Local:
        return Local(x=bid.auction)

    assert mapped(local).to_pylist() == [{"x": 1}, {"x": 2}]


class Everything(msgspec.Struct):
    b: bool
    i: int
    f: float
    s: str
    y: bytes
    at: datetime
    day: date
    clock: time
    took: timedelta
    money: Annotated[Decimal, pa.decimal128(12, 2)]
    small: Annotated[int, pa.int8()]
    maybe: int | None
    tags: list[str]
    kind: Literal["a", "b"]
    bid: Bid
    bids: list[Bid | None]


SOME = Everything(
    True,
    1,
    1.5,
    "x",
    b"y",
    datetime(2024, 1, 1, 12, tzinfo=UTC),
    date(2024, 1, 1),
    time(1, 2, 3),
    timedelta(seconds=5),
    Decimal("1.25"),
    7,
    None,
    ["a", "b"],
    "a",
    Bid(1, 2.5, None),
    [None, Bid(2, 3.5, "Bo")],
)


def test_every_kind_of_field_goes_out_and_comes_back_equal():
    def make(bid: Bid) -> Everything:
        return SOME

    def same(record: Everything) -> Everything:
        assert record == SOME
        return record

    stream = of(BIDS).map(make)
    schema = stream.collect().schema
    bid = pa.struct({"auction": pa.int64(), "price": pa.float64(), "who": pa.string()})
    assert dict(zip(schema.names, schema.types, strict=True)) == {
        "b": pa.bool_(),
        "i": pa.int64(),
        "f": pa.float64(),
        "s": pa.string(),
        "y": pa.binary(),
        "at": pa.timestamp("us", "UTC"),
        "day": pa.date32(),
        "clock": pa.time64("us"),
        "took": pa.duration("us"),
        "money": pa.decimal128(12, 2),
        "small": pa.int8(),
        "maybe": pa.int64(),
        "tags": pa.list_(pa.string()),
        "kind": pa.string(),
        "bid": bid,
        "bids": pa.list_(bid),
    }
    assert [f.name for f in schema if f.nullable] == ["maybe"]
    assert stream.map(same).collect() == stream.collect()


def test_columns_of_other_widths_units_zones_and_encodings_are_read():
    class Wide(TypedDict):
        i: int
        f: float
        s: str
        at: datetime
        naive: datetime
        day: date
        took: timedelta

    at = datetime(2024, 7, 1, 12, tzinfo=UTC)
    table = pa.table(
        {
            "i": pa.array([1], pa.uint8()),
            "f": pa.array([2**53], pa.int64()),
            "s": pa.array(["x"]).dictionary_encode(),
            "at": pa.array([at], pa.timestamp("ns", "America/New_York")),
            "naive": pa.array([datetime(1900, 1, 1)], pa.timestamp("s")),
            "day": pa.array([date(1900, 1, 1)], pa.date64()),
            "took": pa.array([timedelta(days=-1)], pa.duration("ns")),
        }
    )
    seen = []

    def see(row: Wide) -> dict:
        seen.append(row)
        return {}

    mapped(see, table, schema=pa.schema([]))
    assert seen == [
        {
            "i": 1,
            "f": 2.0**53,
            "s": "x",
            "at": at,
            "naive": datetime(1900, 1, 1),
            "day": date(1900, 1, 1),
            "took": timedelta(days=-1),
        }
    ]
    assert seen[0]["at"].tzinfo is UTC
    assert type(seen[0]["f"]) is float


@given(
    rows=st.lists(
        st.fixed_dictionaries(
            {
                "i": st.none() | st.integers(-(2**63), 2**63 - 1),
                "f": st.none() | st.floats(allow_nan=False),
                "s": st.none() | st.text(),
                "at": st.none() | st.datetimes(timezones=st.just(UTC)),
                "l": st.none() | st.lists(st.none() | st.integers(0, 9), max_size=3),
                "n": st.none() | st.fixed_dictionaries({"x": st.none() | st.booleans()}),
            }
        ),
        max_size=12,
    ),
    chunk=st.integers(1, 5),
)
def test_values_pass_through_typed_and_plain_records_alike(rows, chunk):
    class Nested(TypedDict):
        x: bool | None

    @dataclass
    class Row:
        i: int | None
        f: float | None
        s: str | None
        at: datetime | None
        l: list[int | None] | None  # noqa: E741
        n: Nested | None

    def typed(row: Row) -> Row:
        return row

    schema = record_class(Row).schema()
    stream = sl.read(memory.source(pa.Table.from_pylist(rows, schema), chunk_rows=chunk), name="rows")
    assert stream.map(typed).collect().to_pylist() == rows
    assert stream.map(lambda row: row, schema=schema).collect().to_pylist() == rows


def test_a_field_with_a_default_may_lack_its_column():
    @dataclass
    class WithDefault:
        auction: int
        tags: list[str] = field(default_factory=list)
        price: float = 0.0
        twice: int = field(init=False, default=2)

    class Loose(TypedDict):
        auction: int
        nothing: NotRequired[int]

    def a(bid: WithDefault) -> dict:
        assert bid.price in (1.5, 2.5)
        return {"n": len(bid.tags) + bid.twice}

    def b(bid: Loose) -> dict:
        return {"n": len(bid)}

    assert mapped(a, schema={"n": pa.int64()})["n"].to_pylist() == [2, 2]
    assert mapped(b, schema={"n": pa.int64()})["n"].to_pylist() == [1, 1]


def test_a_record_of_which_the_stream_has_no_column_is_made_for_every_row():
    class Nothing(TypedDict):
        nothing: NotRequired[int]

    def f(bid: Nothing) -> dict:
        return {"n": len(bid)}

    assert mapped(f, schema={"n": pa.int64()})["n"].to_pylist() == [0, 0]


def test_rows_of_large_batches_are_counted_from_the_start_of_the_batch():
    def f(bid: BidDict) -> PricedDict:
        return {"auction": 1, "cents": 1 // (bid["auction"] - 5000)}

    table = pa.table({"auction": range(6000), "who": pa.nulls(6000, pa.string())})
    with pytest.raises(ZeroDivisionError) as caught:
        mapped(f, table)
    assert "mapped row 5000: {'auction': 5000" in caught.value.__notes__[0]


def test_a_field_that_may_be_left_out_is_null_where_it_is():
    class Loose(TypedDict):
        a: int
        b: NotRequired[int]

    def some(bid: Bid) -> Loose:
        return {"a": 1} if bid.auction == 1 else {"a": 2, "b": 3}

    assert mapped(some).to_pylist() == [{"a": 1, "b": None}, {"a": 2, "b": 3}]


def test_schema_overrides_the_types_of_the_hints_and_orders_the_columns():
    found = mapped(priced, schema={"cents": pa.int16(), "auction": pa.int32()})
    assert found.schema == pa.schema({"cents": pa.int16(), "auction": pa.int32()})


def test_a_missing_column_is_refused_when_the_flow_is_bound_with_the_closest_name():
    stream = of(BIDS.rename_columns(["auction", "prize", "who", "extra"])).map(priced)
    with pytest.raises(UnknownColumnError, match="did you mean 'prize'") as caught:
        sl.Flow("f", stream.write(memory.sink(), name="out")).bind()
    assert "field 'price' of Bid" in str(caught.value)
    assert "test_typed_records.py:" in str(caught.value)


@pytest.mark.parametrize("dtype", [pa.string(), pa.bool_(), pa.timestamp("us"), pa.list_(pa.float64())])
def test_a_column_of_another_type_is_refused_when_the_flow_is_bound(dtype):
    stream = of(BIDS.set_column(1, "price", pa.nulls(2, dtype))).map(priced)
    with pytest.raises(TypeMismatchError, match=r"(?s)'price' of Bid.*gives float.*found"):
        sl.Flow("f", stream.write(memory.sink(), name="out")).bind()


def test_types_inside_lists_and_structs_are_checked_too():
    class Outer(TypedDict):
        bids: list[Bid]

    def f(o: Outer) -> Priced:
        return Priced(0, 0)

    wrong = pa.table({"bids": pa.array([], pa.list_(pa.struct({"auction": pa.string()})))})
    with pytest.raises(TypeMismatchError, match="'auction' in the items of field 'bids' of Outer"):
        mapped(f, wrong)


def test_a_null_in_a_field_that_cannot_be_none_is_refused_when_it_comes():
    table = pa.table({"auction": [1, None], "price": [1.0, 2.0], "who": ["a", "b"]})
    with pytest.raises(TypeMismatchError, match=r"(?s)Bid.auction can't be None.*row 1.*\| None"):
        mapped(priced, table)
    assert of(table).filter(col("auction").is_not_null()).map(priced).collect().num_rows == 1


def test_none_in_a_result_that_cannot_be_none_is_refused():
    def bad(bid: Bid) -> Priced:
        return Priced(bid.auction, None)  # type: ignore[arg-type]

    with pytest.raises(UserFunctionError, match=r"'cents' of type int64, not null"):
        mapped(bad)


@pytest.mark.parametrize("returned", [None, {"auction": 1}, Bid(1, 2.0, None)])
def test_a_result_of_another_class_is_refused_with_row_and_record(returned):
    def bad(bid: Bid) -> Priced:
        return returned if bid.auction == 2 else Priced(1, 1)

    with pytest.raises(UserFunctionError) as caught:
        mapped(bad)
    assert "Priced with auction, cents" in str(caught.value)
    assert "for row 1: Bid(auction=2" in str(caught.value)


@pytest.mark.parametrize("returned", [{"auction": 1}, {"auction": 1, "cents": 2, "x": 3}, [1, 2], None])
def test_a_typed_dict_without_its_keys_is_refused(returned):
    def bad(bid: Bid) -> PricedDict:
        return returned

    with pytest.raises(UserFunctionError, match="PricedDict with auction, cents"):
        mapped(bad)


def test_what_the_function_raises_comes_through_with_row_and_record():
    def bad(bid: Bid) -> Priced:
        raise KeyError("gone") if bid.auction == 2 else ValueError("first")

    with pytest.raises(ValueError, match="first") as caught:
        mapped(bad)
    assert "mapped row 0: Bid(auction=1, price=1.5, who='Ada')" in caught.value.__notes__[0]


def test_what_the_class_raises_comes_through_with_the_row():
    @dataclass
    class Strict:
        auction: int

        def __post_init__(self):
            if self.auction == 2:
                raise ValueError("no twos")

    def f(bid: Strict) -> Priced:
        return Priced(bid.auction, 0)

    with pytest.raises(ValueError, match="no twos") as caught:
        mapped(f)
    assert "Strict was made of row 1: {'auction': 2}" in caught.value.__notes__[0]


def no_hints(bid):
    return {}


def dict_result(bid: Bid) -> dict:
    return {}


def hidden_result(bid: Bid) -> OnlyForCheckers[int]:
    return []


class Pair(NamedTuple):
    a: int


def tuple_argument(bid: Pair) -> Priced:
    return Priced(1, 1)


def number(x: int) -> Priced:
    return Priced(x, x)


class BareDecimal(TypedDict):
    money: Decimal


def bare_decimal(bid: Bid) -> BareDecimal:
    return {"money": Decimal(1)}


class Either(TypedDict):
    x: int | str


def either(bid: Bid) -> Either:
    return {"x": 1}


class Empty:
    pass


def unhinted_class(bid: Bid) -> Empty:
    return Empty()


@dataclass
class Holds:
    itself: Holds | None


def recursive(bid: Bid) -> Holds:
    return Holds(None)


@pytest.mark.parametrize(
    ("function", "text"),
    [
        (hidden_result, "OnlyForCheckers"),
        (tuple_argument, "Pair"),
        (number, r"sl\.udf"),
        (bare_decimal, r"Annotated\[Decimal, pa\.decimal128"),
        (either, r"Either\.x"),
        (unhinted_class, "no record"),
        (recursive, "holds itself"),
    ],
)
def test_hints_that_leave_the_columns_open_are_refused_where_map_is_called(function, text):
    with pytest.raises(DefinitionError, match=text) as caught:
        of(BIDS).map(function)
    assert "in operator 'map' (test_typed_records.py:" in str(caught.value)


@pytest.mark.parametrize("function", [no_hints, dict_result])
def test_a_function_that_leaves_its_columns_open_is_refused_when_the_flow_is_bound(function):
    with pytest.raises(DefinitionError, match="schema=") as caught:
        of(BIDS).map(function).collect()
    assert "in operator 'map' (test_typed_records.py:" in str(caught.value)
    assert ".preview()" in str(caught.value)


def hidden_dict(bid: Mapping[str, Any]) -> Mapping[str, Any]:
    return {"n": len(bid)}


def test_dicts_hinted_with_names_for_type_checkers_only_stay_dicts(monkeypatch):
    monkeypatch.delitem(globals(), "Mapping")
    assert mapped(hidden_dict, schema={"n": pa.int64()})["n"].to_pylist() == [4, 4]


def test_schema_and_hints_with_different_columns_are_refused():
    with pytest.raises(DefinitionError, match="did you mean 'cents'"):
        of(BIDS).map(priced, schema={"auction": pa.int64(), "cent": pa.int64()})


UserId = NewType("UserId", int)


def test_new_types_are_what_they_are_made_of():
    class Of(TypedDict):
        auction: UserId

    def f(bid: Of) -> Of:
        return bid

    assert mapped(f)["auction"].to_pylist() == [1, 2]


def test_typed_maps_compare_pickle_and_explain_themselves():
    one, two = of(BIDS).map(priced), of(BIDS).map(priced)
    assert one == two
    assert pickle.loads(pickle.dumps(one)) == one
    flow = sl.Flow("f", one.write(memory.sink(), name="out"))
    assert "priced: Bid -> Priced" in flow.explain()


def test_rows_keep_their_event_time_through_typed_functions():
    class At(TypedDict):
        at: int

    def f(row: At) -> At:
        return {"at": 0}

    rows = sl.read(memory.source([{"at": 5}]), name="rows", event_time="at", watermark=sl.monotone())
    assert rows.map(f).select(t=sl.event_time().cast(pa.int64())).collect().to_pylist() == [{"t": 5}]


def test_functions_written_in_c_have_no_hints_and_are_called_all_the_same() -> None:
    found: list[Any] = []
    for function in (found.append, found.__len__, list.append, operator.itemgetter("x")):
        assert function_hints(function)[1] is MISSING
    source = memory.source([{"x": 1}])
    names = sl.read(source, name="rows").map(
        operator.itemgetter("x"), schema={"x": pa.int64()}, on_error="skip"
    )
    assert names.collect().num_rows == 0
