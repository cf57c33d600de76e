"""`bind`: from what the user wrote to what runs, with every check and every type settled once."""

from __future__ import annotations

from functools import partial

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from streamlib.core.batch import Batch, Column
from streamlib.core.contracts import StreamType
from streamlib.core.errors import DefinitionError, EventTimeError, UnknownColumnError, shown
from streamlib.core.expressions import ast
from streamlib.core.expressions.arithmetic import bind_arithmetic, bind_negation
from streamlib.core.expressions.calls import bind_call
from streamlib.core.expressions.comparison import COMPARISONS, LOGIC, bind_comparison, bind_logic
from streamlib.core.expressions.failures import does_not_cast, kernel_failed
from streamlib.core.expressions.functions import Call
from streamlib.core.expressions.literals import literal_type
from streamlib.core.expressions.mismatch import unsupported
from streamlib.core.expressions.nodes import (
    ApplyOne,
    Choose,
    Convert,
    Fill,
    NullTest,
    ReadColumn,
    ReadEventTime,
)
from streamlib.core.expressions.operands import adapted, spread, unified
from streamlib.core.expressions.rules import RULES
from streamlib.core.expressions.rules.compute import OnArrow, cast_or_null
from streamlib.core.expressions.types import TEMPORAL, Family, family, type_text
from streamlib.core.expressions.values import Constant, Node, UserRaisedError

_UTC = frozenset({"UTC", "Etc/UTC", "Z", "+00:00"})


class Bound:
    """An expression that knows its stream: one type, and a cheap `evaluate` for each batch.

    Attributes:
        expr: what was bound.
        dtype: the type of every result.
    """

    __slots__ = ("_quiet", "_run", "_temporal", "dtype", "expr")

    def __init__(self, expr: ast.Expr, node: Node) -> None:
        self.expr = expr
        self.dtype = node.dtype
        self._run = node.run
        self._quiet = node.quiet
        self._temporal = family(node.dtype) in TEMPORAL

    def evaluate(self, batch: Batch) -> Column:
        """One value for each row: numpy of the type's own dtype, or Arrow of exactly `dtype`.

        `batch` is of the stream that was bound; the result may be one of its columns. Raises
        `ArithmeticOverflowError` for integers and moments that leave their type,
        `TypeMismatchError` for a value that a cast can't convert, `StreamlibError` for what else
        Arrow refuses, `UserFunctionError` for a wrong result of a `udf`, and whatever a `udf` raises.
        """
        try:
            if self._quiet:
                value = self._run(batch)
            else:
                # Division by zero and overflow of floats are inf and NaN here, not numpy's warnings.
                with np.errstate(all="ignore"):
                    value = self._run(batch)
        except UserRaisedError as carrier:
            failure = carrier.error
        except pa.ArrowException as error:
            raise kernel_failed(self.expr, error) from error
        else:
            if self._temporal and isinstance(value, np.ndarray):
                return pa.array(value).view(self.dtype)
            return value
        raise failure  # not while another error is handled: the user's traceback stays as it was

    def __repr__(self) -> str:
        return f"Bound({self.expr!r}: {type_text(self.dtype)})"


def bind(expr: ast.Expr, stream_type: StreamType) -> Bound:
    """Check `expr` against a stream, and settle its types and kernels.

    Raises `UnknownColumnError` for a column the stream lacks, `TypeMismatchError` for operands
    that an operator does not take, `EventTimeError` for `event_time()` where rows carry none.

    >>> from streamlib.core.expressions import col
    >>> stream = StreamType(pa.schema({"price": pa.int32()}))
    >>> bound = bind(col("price") * 2, stream)
    >>> bound.dtype
    DataType(int32)
    >>> bound.evaluate(Batch.from_arrow(pa.record_batch({"price": pa.array([1, 2], pa.int32())})))
    array([2, 4], dtype=int32)
    """
    return Bound(expr, spread(_Binder(stream_type).bind(expr)))


class _Binder:
    """Walks an expression, leaves first."""

    def __init__(self, stream: StreamType) -> None:
        self._stream = stream

    def bind(self, expr: ast.Expr) -> Node:
        match expr:
            case ast.Alias():
                return self.bind(expr.operand)
            case ast.Binary():
                return self._binary(expr)
            case ast.Unary():
                return self._unary(expr)
            case ast.IsNull():
                return NullTest(spread(self.bind(expr.operand)), expr.negated)
            case ast.FillNull():
                return self._fill(expr)
            case ast.Cast():
                return self._cast(expr)
            case ast.Case():
                return self._case(expr)
            case ast.Method():
                return RULES[expr.function].bound(expr, [self.bind(operand) for operand in expr.operands])
            case Call():
                return bind_call(expr, [spread(self.bind(argument)) for argument in expr.arguments])
        return self._leaf(expr)

    def _leaf(self, expr: ast.Expr) -> Node:
        match expr:
            case ast.Column():
                return self._column(expr)
            case ast.EventTime():
                return self._event_time()
            case ast.Literal():
                return Constant(expr.value, literal_type(expr.value))
        raise DefinitionError(
            "not an expression",
            expected="something built from col(…), lit(…), event_time() or when(…).then(…)",
            found=shown(expr),
            remedy="wrap a plain value in lit(…)",
        )

    def _column(self, expr: ast.Column) -> Node:
        schema = self._stream.schema
        positions = schema.get_all_field_indices(expr.name)
        if not positions:
            raise UnknownColumnError.of(expr.name, schema.names)
        if len(positions) > 1:
            raise DefinitionError(
                f"the name {expr.name!r} is ambiguous",
                expected="one column of that name",
                found=f"{len(positions)} of them",
                remedy="rename one of them where the stream is read",
            )
        return ReadColumn(positions[0], schema.field(positions[0]).type)

    def _event_time(self) -> Node:
        if not self._stream.event_time:
            raise EventTimeError(
                "event_time() on a stream without event time",
                expected="rows that carry an event time",
                found=f"only the columns {', '.join(self._stream.schema.names) or '(none)'}",
                remedy='give event_time="…" to sl.read, or name the column: col("…")',
            )
        return ReadEventTime()

    def _binary(self, expr: ast.Binary) -> Node:
        left, right = self.bind(expr.left), self.bind(expr.right)
        if expr.operator in COMPARISONS:
            return bind_comparison(expr, left, right)
        return (bind_logic if expr.operator in LOGIC else bind_arithmetic)(expr, left, right)

    def _unary(self, expr: ast.Unary) -> Node:
        operand = spread(self.bind(expr.operand))
        return (bind_negation if expr.operator == "-" else _bind_not)(expr, operand)

    def _fill(self, expr: ast.FillNull) -> Node:
        parts = (expr.operand, expr.value)
        operand, filler = unified(expr, parts, [self.bind(part) for part in parts])
        return Fill(spread(operand), filler)

    def _cast(self, expr: ast.Cast) -> Node:
        operand = spread(self.bind(expr.operand))
        if operand.dtype == expr.dtype:
            return operand
        _check_cast(expr, operand.dtype)
        if not expr.strict:
            return OnArrow(partial(cast_or_null, dtype=expr.dtype), [operand], expr.dtype)
        return Convert(operand, expr.dtype, partial(does_not_cast, expr, expr.dtype))

    def _case(self, expr: ast.Case) -> Node:
        conditions = [spread(adapted(self.bind(c), pa.bool_())) for c, _ in expr.branches]
        for (condition, _), node in zip(expr.branches, conditions, strict=True):
            if node.dtype != pa.bool_():
                remedy = "compare it with something, for example col('a') > 0"
                raise unsupported(expr, "a bool as the condition", (condition, node.dtype), remedy=remedy)
        values = [value for _, value in expr.branches]
        values.append(ast.Literal(None) if expr.default is None else expr.default)
        *branches, default = unified(expr, values, [self.bind(value) for value in values])
        return Choose(list(zip(conditions, branches, strict=True)), default)


def _bind_not(expr: ast.Unary, operand: Node) -> Node:
    operand = adapted(operand, pa.bool_())
    if operand.dtype != pa.bool_():
        remedy = "compare it with something, for example ~(col('a') == 0)"
        raise unsupported(expr, "a bool", (expr.operand, operand.dtype), remedy=remedy)
    return ApplyOne(np.logical_not, pc.invert, operand, pa.bool_())


def _check_cast(expr: ast.Cast, source: pa.DataType) -> None:
    found = (expr.operand, source)
    if _changes_zone_awareness(source, expr.dtype):
        raise unsupported(
            expr,
            "UTC, where a time zone is gained or lost: local times can be ambiguous",
            found,
            remedy='cast by way of pa.timestamp("us", tz="UTC")',
        )
    try:
        pa.array([], source).cast(expr.dtype)
    except pa.ArrowException:
        raise unsupported(
            expr,
            f"a type that converts to {type_text(expr.dtype)}",
            found,
            remedy="cast by way of a type between them, or map a function over the column",
        ) from None


def _changes_zone_awareness(source: pa.DataType, target: pa.DataType) -> bool:
    if {family(source), family(target)} != {Family.TIMESTAMP}:
        return False
    return (source.tz is None) != (target.tz is None) and not {source.tz, target.tz} <= {None, *_UTC}
