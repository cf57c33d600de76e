"""Which columns a function returns that does not say so: what a preview learns from its first results."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pyarrow as pa

from streamlib.connectors.records import from_records
from streamlib.connectors.schemas import schema_line
from streamlib.core.batch import Batch
from streamlib.core.canonical import function_name
from streamlib.core.contracts import OperatorSpec
from streamlib.core.errors import DefinitionError, shown
from streamlib.core.hints import is_record_class
from streamlib.operators.unhinted import Unhinted
from streamlib.plan.node import Node

SAMPLES = (
    16,
    256,
)  # rows: few, since a function may be slow; more where a column is all null


def typed_by_sample(node: Node, sample: Callable[[int], pa.Table]) -> tuple[OperatorSpec, str]:
    """The operator with the columns of its first results, and what to paste to have them always.

    Raises `DefinitionError` where these don't tell, and whatever the function raises, unless the node
    has a policy for that: then the record is left out.
    """
    spec = node.spec
    assert isinstance(spec, Unhinted)
    for n in SAMPLES:
        rows = sample(n)
        results = list(_results(node, spec, rows))
        try:
            return _typed(spec, results)
        except DefinitionError:
            if n == SAMPLES[-1] or rows.num_rows < n:
                raise
    raise AssertionError("the last sample returns or raises")


def _typed(spec: Unhinted, results: list[Any]) -> tuple[OperatorSpec, str]:
    name = function_name(spec.function)
    if results and is_record_class(type(results[0])):
        line = f"{spec.kind} needs the hint {type(results[0]).__qualname__} in the result of {name}"
        return spec.typed(results[0], pa.schema([])), line
    schema = from_records(results, None).schema
    return spec.typed(results[0], schema), f"{spec.kind} of {name} needs {schema_line(schema)}"


def _results(node: Node, spec: Unhinted, rows: pa.Table) -> Iterator[Any]:
    for batch in rows.to_batches():
        for record in spec.records(Batch.from_arrow(batch)):
            try:
                yield from spec.results(record)
            except Exception as error:
                if node.on_error != "fail":
                    continue
                name = function_name(spec.function)
                error.add_note(f"while the columns of {name} were inferred, from {shown(record)}")
                raise
