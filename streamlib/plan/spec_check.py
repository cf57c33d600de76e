"""What can be known to be wrong with an operator's description when it is put into a flow."""

from __future__ import annotations

from streamlib.core.canonical import Value
from streamlib.core.contracts import OperatorSpec
from streamlib.core.errors import DefinitionError, StreamlibError, TypeMismatchError, shown
from streamlib.core.where import caller

_DECORATOR = "decorate the class with `@dataclass(frozen=True, eq=False)`"


def check_spec(spec: OperatorSpec) -> None:
    """Raise a `StreamlibError` for a description that is none, can change, or lacks its names."""
    error = _wrong(spec)
    if error is not None:
        raise error.at(None, caller())


def _wrong(spec: object) -> StreamlibError | None:
    if not isinstance(spec, OperatorSpec):
        return TypeMismatchError(
            "this is not the description of an operator",
            expected="an object of a subclass of OperatorSpec",
            found=shown(spec),
            remedy="call the class: `stream.then(Differences('price'))`",
        )
    return changeable(spec) or _wrong_names(spec, type(spec).__name__)


def changeable(description: Value) -> StreamlibError | None:
    """The error of a description that can change once a flow holds it, or that compares its fields itself."""
    name = type(description).__name__
    params = getattr(description, "__dataclass_params__", None)
    if params is None or not params.frozen:
        return DefinitionError(
            f"the description {name} can be changed after the flow was built",
            expected="a frozen dataclass",
            found=f"class {name}",
            remedy=_DECORATOR,
        )
    if type(description).__eq__ is not Value.__eq__:
        return DefinitionError(
            f"the description {name} compares its fields by `==`, which expressions don't have",
            expected="the equality of descriptions, by canonical form",
            found=f"class {name} with an `__eq__` of its own",
            remedy=_DECORATOR,
        )
    return None


def _wrong_names(spec: OperatorSpec, name: str) -> StreamlibError | None:
    kind = getattr(spec, "kind", None)
    if not isinstance(kind, str) or not kind.replace("_", "").isalnum():
        return DefinitionError(
            f"the operator {name} has no kind",
            expected="a class attribute `kind`, a word of letters, digits and `_`",
            found=shown(kind),
            remedy='name it as errors and plans should: `kind: ClassVar[str] = "differences"`',
        )
    outputs = spec.outputs
    strings = isinstance(outputs, tuple) and all(isinstance(o, str) and o for o in outputs)
    if not strings or not outputs or len(set(outputs)) < len(outputs):
        return DefinitionError(
            f"the outputs of {name} can't be told apart",
            expected='a tuple of different names, for example ("out", "late")',
            found=shown(outputs),
            remedy="an operator with one output needs no `outputs`",
        )
    return None
