"""`--param NAME=VALUE` for functions that make flows: texts become what the annotations say.

Nothing is evaluated: a text is an int, a date or a member of an enumeration because the parameter is
annotated so, and else it is refused with the form that is expected.
"""

from __future__ import annotations

import difflib
import enum
import inspect
import re
import types
import typing
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import date, datetime, timedelta
from decimal import Decimal, InvalidOperation
from pathlib import Path
from typing import Any

from streamlib.core.errors import DefinitionError, did_you_mean, shown
from streamlib.core.secrets import Secret, secret
from streamlib.core.time import duration

Convert = Callable[[str], Any]
_LISTS: Mapping[Any, Callable[[list[Any]], Any]] = {list: list, tuple: tuple, Sequence: list, Iterable: list}


def call_factory(factory: Callable[..., Any], texts: Sequence[str]) -> inspect.BoundArguments:
    """The arguments for `factory` that `NAME=VALUE` texts stand for; a list takes a text for each element.

    Raises:
        DefinitionError: an unknown, missing or repeated parameter, or a text that does not fit.
    """
    signature = inspect.signature(factory)
    parameters = {p.name: p for p in signature.parameters.values() if _by_name(p)}
    hints = _hints(factory)
    given = _grouped(texts, parameters)
    missing = [name for name, p in parameters.items() if p.default is p.empty and name not in given]
    if missing:
        raise DefinitionError(
            f"missing parameter{'s' if len(missing) > 1 else ''} {', '.join(missing)}",
            expected=signature_text(factory),
            found=", ".join(given) or "no parameters",
            remedy=" ".join(f"--param {n}={_example(_hint(parameters[n], hints))}" for n in missing),
        )
    values = {name: _value(name, _hint(parameters[name], hints), own) for name, own in given.items()}
    arguments = signature.bind_partial()
    arguments.arguments.update({name: values[name] for name in parameters if name in values})
    arguments.apply_defaults()
    return arguments


def signature_text(factory: Callable[..., Any]) -> str:
    """The parameters as they are written: `region: str, days: int = 7`."""
    hints = _hints(factory)
    parts = []
    for parameter in inspect.signature(factory).parameters.values():
        default = "" if parameter.default is parameter.empty else f" = {shown(parameter.default)}"
        parts.append(f"{parameter.name}: {_type_name(_hint(parameter, hints))}{default}")
    return ", ".join(parts)


def _hints(factory: Callable[..., Any]) -> Mapping[str, Any]:
    try:
        return typing.get_type_hints(factory)
    except NameError as error:
        raise DefinitionError(
            "the annotations of the function can't be understood",
            expected="types that the file imports when it runs, not only for type checkers",
            found=str(error),
            remedy="import the type outside of `if TYPE_CHECKING`",
        ) from error


def _by_name(parameter: inspect.Parameter) -> bool:
    return parameter.kind not in (parameter.VAR_POSITIONAL, parameter.VAR_KEYWORD)


def _grouped(texts: Sequence[str], parameters: Mapping[str, Any]) -> dict[str, list[str]]:
    given: dict[str, list[str]] = {}
    for text in texts:
        name, equals, value = text.partition("=")
        if not equals or not name:
            raise DefinitionError(
                "not a parameter", expected="NAME=VALUE", found=shown(text), remedy="--param NAME=VALUE"
            )
        if name not in parameters:
            raise DefinitionError(
                f"there is no parameter {name!r}",
                expected=f"one of {', '.join(parameters)}" if parameters else "no parameters",
                found=shown(name),
                remedy=did_you_mean(name.replace("-", "_"), parameters) or "leave it out",
            )
        given.setdefault(name, []).append(value)
    return given


def _hint(parameter: inspect.Parameter, hints: Mapping[str, Any]) -> Any:
    """The annotation, else the type of the default, else text."""
    if parameter.name in hints:
        return hints[parameter.name]
    default = parameter.default
    return str if default is parameter.empty or default is None else type(default)


def _value(name: str, hint: Any, texts: list[str]) -> Any:
    hint = _without_none(hint)
    if (origin := typing.get_origin(hint) or hint) in _LISTS:
        return _LISTS[origin]([_converted(name, _element(hint), text) for text in texts])
    if len(texts) > 1:
        raise DefinitionError(
            f"parameter {name!r} was given {len(texts)} times",
            expected=f"one value ({_form(hint)})",
            found=", ".join(texts),
            remedy="give it once, or annotate it as a list",
        )
    return _converted(name, hint, texts[0])


def _without_none(hint: Any) -> Any:
    """`X` of `X | None`: None is what a parameter is that was left out."""
    if typing.get_origin(hint) not in (typing.Union, types.UnionType):
        return hint
    members = [member for member in typing.get_args(hint) if member is not type(None)]
    return members[0] if len(members) == 1 else typing.Union[tuple(members)]  # noqa: UP007


def _converted(name: str, hint: Any, text: str) -> Any:
    convert = _converter(name, hint)
    try:
        return convert(text)
    except (ValueError, InvalidOperation) as error:  # a DefinitionError is a ValueError
        raise DefinitionError(
            f"parameter {name!r} does not take this value",
            expected=_form(hint),
            found="a text" if _without_none(hint) is Secret else shown(text),  # maybe the secret itself
            remedy=_closest(hint, text) or f"--param {name}={_example(hint)}",
        ) from error


def _converter(name: str, hint: Any) -> Convert:
    hint = _without_none(hint)
    origin = typing.get_origin(hint)
    if origin is typing.Literal:
        return lambda text: _literal(hint, text)
    if origin in (typing.Union, types.UnionType):
        return lambda text: _first_that_takes(name, hint, text)
    if isinstance(hint, type) and issubclass(hint, enum.Enum):
        return lambda text: _member(hint, text)
    if hint in _SIMPLE:
        return _SIMPLE[hint].convert
    raise DefinitionError(
        f"parameter {name!r} can't be given as a text",
        expected=f"{', '.join(_type_name(t) for t in _SIMPLE)}, Enum, Literal, or a list of these",
        found=_type_name(hint),
        remedy="give it a default and leave it out, or write another function",
    )


class _Simple(typing.NamedTuple):
    convert: Convert
    form: str
    example: str


def _timedelta(text: str) -> timedelta:
    return timedelta(microseconds=duration(text))


_BOOLEANS = {"true": True, "yes": True, "1": True, "false": False, "no": False, "0": False}


def _boolean(text: str) -> bool:
    if text.lower() not in _BOOLEANS:
        raise ValueError(text)
    return _BOOLEANS[text.lower()]


_SIMPLE: Mapping[Any, _Simple] = {
    str: _Simple(str, "a text", "TEXT"),
    int: _Simple(int, "a whole number", "7"),
    float: _Simple(float, "a number", "0.5"),
    bool: _Simple(_boolean, "true or false", "true"),
    Decimal: _Simple(Decimal, "a decimal number", "9.99"),
    Path: _Simple(Path, "a path", "in/file.parquet"),
    date: _Simple(date.fromisoformat, "a date, YYYY-MM-DD", "2026-01-31"),
    datetime: _Simple(datetime.fromisoformat, "a time, YYYY-MM-DDTHH:MM:SSZ", "2026-01-31T12:00:00Z"),
    timedelta: _Simple(_timedelta, "a duration such as 10s or 1h30min", "10s"),
    Secret: _Simple(secret, "a reference to a secret, env:NAME or file:PATH", "env:PASSWORD"),
}


def _literal(hint: Any, text: str) -> Any:
    for value in typing.get_args(hint):
        if str(value) == text:
            return value
    raise ValueError(text)


def _member(hint: type[enum.Enum], text: str) -> enum.Enum:
    for member in hint:
        if text in (member.name, str(member.value)):
            return member
    raise ValueError(text)


def _first_that_takes(name: str, hint: Any, text: str) -> Any:
    for member in typing.get_args(hint):
        try:
            return _converter(name, member)(text)
        except (ValueError, InvalidOperation):
            continue
    raise ValueError(text)


def _choices(hint: Any) -> list[str]:
    if typing.get_origin(hint) is typing.Literal:
        return [str(value) for value in typing.get_args(hint)]
    return [member.name for member in hint] if isinstance(hint, type) and issubclass(hint, enum.Enum) else []


def _form(hint: Any) -> str:
    """What a text for this annotation looks like."""
    hint = _element(hint)
    if _choices(hint):
        return f"one of {', '.join(_choices(hint))}"
    if typing.get_origin(hint) in (typing.Union, types.UnionType):
        return " or ".join(_form(member) for member in typing.get_args(hint))
    return _SIMPLE[hint].form if hint in _SIMPLE else _type_name(hint)


def _element(hint: Any) -> Any:
    """What one text stands for: of a list, an element."""
    hint = _without_none(hint)
    if (typing.get_origin(hint) or hint) in _LISTS:
        return (*typing.get_args(hint), str)[0]
    return hint


def _example(hint: Any) -> str:
    hint = _element(hint)
    if _choices(hint):
        return _choices(hint)[0]
    if typing.get_origin(hint) in (typing.Union, types.UnionType):
        return _example(typing.get_args(hint)[0])
    return _SIMPLE[hint].example if hint in _SIMPLE else "VALUE"


def _closest(hint: Any, text: str) -> str | None:
    choices = {choice.lower(): choice for choice in _choices(_element(hint))}
    close = difflib.get_close_matches(text.lower(), choices, n=1)
    return f"did you mean {choices[close[0]]!r}?" if close else None


def _type_name(hint: Any) -> str:
    plain = isinstance(hint, type) and not typing.get_args(hint)
    return hint.__name__ if plain else re.sub(r"\b(\w+\.)+(?=\w)", "", str(hint))  # without modules
