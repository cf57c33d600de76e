"""Rules of `.str`: case, search, parts. Each on Arrow's kernels, per distinct word where text is encoded."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from streamlib.core.expressions.rules.compute import OnWords, is_null
from streamlib.core.expressions.rules.rule import TEXT, Given, Rule
from streamlib.core.expressions.spaces.patterns import groups, named_groups, only_group, rewrite
from streamlib.core.expressions.types import computing_type
from streamlib.core.expressions.values import Node

_RE2 = "RE2: `\\w`, `\\d`, `\\s`, `\\b` are ASCII"


def _words(
    function: Callable[..., pa.Array], dtype: pa.DataType | None, *options: str
) -> Callable[[Given], Node]:
    """Binds a function of one array and some options; `dtype` None is the text's own."""

    def bind(given: Given) -> Node:
        chosen = {name: given.options[name] for name in options}
        result = computing_type(given.first.dtype) if dtype is None else dtype
        return OnWords(partial(function, **chosen) if chosen else function, given.first, result)

    return bind


def _length(kernel: Callable[[pa.Array], pa.Array], texts: pa.Array) -> pa.Array:
    return kernel(texts).cast(pa.int64())


def _strip(space: Any, some: Any, texts: pa.Array, characters: str | None) -> pa.Array:
    if characters == "":
        return texts
    return space(texts) if characters is None else some(texts, characters=characters)


def _strip_prefix(texts: pa.Array, prefix: str) -> pa.Array:
    return pc.replace_substring_regex(texts, pattern=rf"\A{_quoted(prefix)}", replacement="")


def _strip_suffix(texts: pa.Array, suffix: str) -> pa.Array:
    return pc.replace_substring_regex(texts, pattern=rf"{_quoted(suffix)}\z", replacement="")


def _quoted(text: str) -> str:
    """The text as a pattern that matches it, whatever is in it."""
    return "".join(c if c.isalnum() or ord(c) > 127 else f"\\x{{{ord(c):x}}}" for c in text)


def _starts_with(texts: pa.Array, prefix: str) -> pa.Array:
    return pc.starts_with(texts, pattern=prefix)


def _ends_with(texts: pa.Array, suffix: str) -> pa.Array:
    return pc.ends_with(texts, pattern=suffix)


def _contains(texts: pa.Array, pattern: str, literal: bool) -> pa.Array:
    return (pc.match_substring if literal else pc.match_substring_regex)(texts, pattern=pattern)


def _contains_any(texts: pa.Array, patterns: tuple[str, ...]) -> pa.Array:
    if not patterns:
        return pc.if_else(pc.is_valid(texts), False, None)
    return pc.match_substring_regex(texts, pattern="|".join(map(_quoted, patterns)))


def _find(texts: pa.Array, pattern: str, literal: bool) -> pa.Array:
    found = (pc.find_substring if literal else pc.find_substring_regex)(texts, pattern=pattern).cast(
        pa.int64()
    )
    return pc.if_else(pc.equal(found, -1), pa.scalar(None, pa.int64()), found)


def _count_matches(texts: pa.Array, pattern: str, literal: bool) -> pa.Array:
    kernel = pc.count_substring if literal else pc.count_substring_regex
    return kernel(texts, pattern=pattern).cast(pa.int64())


def _extract(texts: pa.Array, pattern: str, group_index: int) -> pa.Array:
    return pc.struct_field(pc.extract_regex(texts, pattern=only_group(pattern, group_index)), "g")


def _bind_extract(given: Given) -> Node:
    function = partial(_extract, pattern=given.options["pattern"], group_index=given.options["group_index"])
    return OnWords(function, given.first, computing_type(given.first.dtype))


def _bind_extract_groups(given: Given) -> Node:
    pattern = given.options["pattern"]
    names = [name or str(i + 1) for i, name in enumerate(groups(pattern))]
    text = computing_type(given.first.dtype)
    dtype = pa.struct([pa.field(name, text) for name in names])
    return OnWords(partial(_extract_groups, pattern=named_groups(pattern), dtype=dtype), given.first, dtype)


def _extract_groups(texts: pa.Array, pattern: str, dtype: pa.DataType) -> pa.Array:
    found = pc.extract_regex(texts, pattern=pattern)
    parts = [found.field(i) for i in range(dtype.num_fields)]
    return pa.StructArray.from_arrays(parts, fields=list(dtype), mask=found.is_null())


def _bind_extract_all(given: Given) -> Node:
    text = computing_type(given.first.dtype)
    return OnWords(partial(_extract_all, pattern=given.options["pattern"]), given.first, _list_of(text))


def _list_of(text: pa.DataType) -> pa.DataType:
    return pa.list_(text)


_MARKS = ("\x1f", "\x1e", "\x00", "\ue000", "\uf8ff", "\U000f0000")
"""Characters to stand around matches: one that the text does not have is taken."""


def _extract_all(texts: pa.Array, pattern: str) -> pa.Array:
    """Matches are put between marks, and the text is split at the marks: every second part is a match."""
    mark = next((m for m in _MARKS if not pc.any(pc.match_substring(texts, pattern=m)).as_py()), None)
    if mark is None:
        return pa.concat_arrays([_extract_all(texts.slice(i, 1), pattern) for i in range(len(texts))])
    around = pc.replace_substring_regex(
        texts, pattern=f"({_grouped(pattern)})", replacement=f"{mark}\\1{mark}"
    )
    parts = pc.split_pattern(around, pattern=mark)
    matches = parts.flatten()
    counts = parts.value_lengths().fill_null(1).to_numpy()
    offsets = np.concatenate([[0], np.cumsum(counts // 2)]).astype(np.int32)
    starts = np.concatenate([[0], np.cumsum(parts.value_lengths().fill_null(0).to_numpy())])[:-1]
    inside = np.arange(len(matches)) - np.repeat(starts, parts.value_lengths().fill_null(0).to_numpy())
    chosen = matches.filter(pa.array(inside % 2 == 1))
    return pa.ListArray.from_arrays(pa.array(offsets), chosen, mask=pa.array(is_null(texts)))


def _grouped(pattern: str) -> str:
    return only_group(pattern, -1)


def _replace(texts: pa.Array, pattern: str, value: str, literal: bool, n: int) -> pa.Array:
    if n == 0:
        return texts
    if literal:
        return pc.replace_substring(texts, pattern=pattern, replacement=value, max_replacements=n)
    return pc.replace_substring_regex(
        texts, pattern=pattern, replacement=rewrite(value, pattern), max_replacements=n
    )


def _replace_all(texts: pa.Array, pattern: str, value: str, literal: bool) -> pa.Array:
    return _replace(texts, pattern, value, literal, -1)


def _bind_split(given: Given) -> Node:
    text = computing_type(given.first.dtype)
    return OnWords(partial(pc.split_pattern, pattern=given.options["by"]), given.first, _list_of(text))


def _slice(texts: pa.Array, offset: int, length: int | None) -> pa.Array:
    if length is None:
        return pc.utf8_slice_codeunits(texts, start=offset)
    if offset >= 0 or offset + length < 0:
        return pc.utf8_slice_codeunits(texts, start=offset, stop=offset + length)
    return pc.utf8_slice_codeunits(texts, start=offset)


def _head(texts: pa.Array, n: int) -> pa.Array:
    return pc.utf8_slice_codeunits(texts, start=0, stop=n)


def _tail(texts: pa.Array, n: int) -> pa.Array:
    if n == 0:
        return _head(texts, 0)
    return pc.utf8_slice_codeunits(texts, start=-n)


def _pad(kernel: Any, texts: pa.Array, length: int, fill_char: str) -> pa.Array:
    return kernel(texts, width=length, padding=fill_char)


def _zfill(texts: pa.Array, length: int) -> pa.Array:
    signed = pc.match_substring_regex(texts, pattern=r"\A[+-]")
    sign = pc.utf8_slice_codeunits(texts, start=0, stop=1)
    rest = pc.utf8_slice_codeunits(texts, start=1)
    behind = _pad(pc.utf8_lpad, rest, max(length - 1, 0), "0")
    filled = pc.binary_join_element_wise(sign, behind, pa.scalar("", texts.type))
    return pc.if_else(signed, filled, _pad(pc.utf8_lpad, texts, length, "0"))


_STRIP = {
    "strip_chars": (pc.utf8_trim_whitespace, pc.utf8_trim),
    "strip_chars_start": (pc.utf8_ltrim_whitespace, pc.utf8_ltrim),
    "strip_chars_end": (pc.utf8_rtrim_whitespace, pc.utf8_rtrim),
}
_MAPPED = "case of single characters: `ß` stays one character"

RULES: dict[str, Rule] = {
    "to_uppercase": Rule((TEXT,), _words(pc.utf8_upper, None), "Arrow `utf8_upper`", differs=_MAPPED),
    "to_lowercase": Rule((TEXT,), _words(pc.utf8_lower, None), "Arrow `utf8_lower`", differs=_MAPPED),
    "to_titlecase": Rule(
        (TEXT,),
        _words(pc.utf8_title, None),
        "Arrow `utf8_title`",
        differs="a letter behind a digit is small in Polars",
    ),
    "len_chars": Rule(
        (TEXT,), _words(partial(_length, pc.utf8_length), pa.int64()), "Arrow `utf8_length`", differs="int64"
    ),
    "len_bytes": Rule(
        (TEXT,),
        _words(partial(_length, pc.binary_length), pa.int64()),
        "Arrow `binary_length`",
        differs="int64",
    ),
    **{
        name: Rule(
            (TEXT,), _words(partial(_strip, *kernels), None, "characters"), f"Arrow `{kernels[1].__name__}`"
        )
        for name, kernels in _STRIP.items()
    },
    "strip_prefix": Rule((TEXT,), _words(_strip_prefix, None, "prefix"), "Arrow `replace_substring_regex`"),
    "strip_suffix": Rule((TEXT,), _words(_strip_suffix, None, "suffix"), "Arrow `replace_substring_regex`"),
    "starts_with": Rule((TEXT,), _words(_starts_with, pa.bool_(), "prefix"), "Arrow `starts_with`"),
    "ends_with": Rule((TEXT,), _words(_ends_with, pa.bool_(), "suffix"), "Arrow `ends_with`"),
    "contains": Rule(
        (TEXT,),
        _words(_contains, pa.bool_(), "pattern", "literal"),
        "Arrow `match_substring_regex`",
        differs=_RE2,
    ),
    "contains_any": Rule(
        (TEXT,), _words(_contains_any, pa.bool_(), "patterns"), "Arrow `match_substring_regex`"
    ),
    "find": Rule(
        (TEXT,),
        _words(_find, pa.int64(), "pattern", "literal"),
        "Arrow `find_substring_regex`",
        differs=f"int64; {_RE2}",
    ),
    "count_matches": Rule(
        (TEXT,),
        _words(_count_matches, pa.int64(), "pattern", "literal"),
        "Arrow `count_substring_regex`",
        differs=f"int64; {_RE2}",
    ),
    "extract": Rule(
        (TEXT,),
        _bind_extract,
        "Arrow `extract_regex`",
        differs=f"a group that took no part in a match is empty, not null; {_RE2}",
    ),
    "extract_groups": Rule(
        (TEXT,),
        _bind_extract_groups,
        "Arrow `extract_regex`",
        differs="null without a match (Polars: a struct of nulls); a group that took no part is empty",
    ),
    "extract_all": Rule(
        (TEXT,), _bind_extract_all, "Arrow `replace_substring_regex`, `split_pattern`", differs=_RE2
    ),
    "replace": Rule(
        (TEXT,),
        _words(_replace, None, "pattern", "value", "literal", "n"),
        "Arrow `replace_substring_regex`",
        differs=f"a group that there is not is an error; {_RE2}",
    ),
    "replace_all": Rule(
        (TEXT,),
        _words(_replace_all, None, "pattern", "value", "literal"),
        "Arrow `replace_substring_regex`",
        differs=f"a group that there is not is an error; {_RE2}",
    ),
    "split": Rule((TEXT,), _bind_split, "Arrow `split_pattern`", differs="`by` is one text, and not empty"),
    "slice": Rule((TEXT,), _words(_slice, None, "offset", "length"), "Arrow `utf8_slice_codeunits`"),
    "head": Rule((TEXT,), _words(_head, None, "n"), "Arrow `utf8_slice_codeunits`"),
    "tail": Rule((TEXT,), _words(_tail, None, "n"), "Arrow `utf8_slice_codeunits`"),
    "pad_start": Rule(
        (TEXT,), _words(partial(_pad, pc.utf8_lpad), None, "length", "fill_char"), "Arrow `utf8_lpad`"
    ),
    "pad_end": Rule(
        (TEXT,), _words(partial(_pad, pc.utf8_rpad), None, "length", "fill_char"), "Arrow `utf8_rpad`"
    ),
    "zfill": Rule((TEXT,), _words(_zfill, None, "length"), "Arrow `utf8_lpad`"),
    "reverse": Rule(
        (TEXT,),
        _words(pc.utf8_reverse, None),
        "Arrow `utf8_reverse`",
        differs="code points, not grapheme clusters",
    ),
}
