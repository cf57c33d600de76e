"""`col("s").str`: text."""

from __future__ import annotations

from typing import Literal, TypeAlias

import pyarrow as pa

from streamlib.core.errors import DefinitionError, shown
from streamlib.core.expressions.spaces import checks, formats
from streamlib.core.expressions.spaces.base import E, Space
from streamlib.core.expressions.spaces.json_paths import path_steps
from streamlib.core.expressions.spaces.patterns import groups, rewrite

Ambiguous: TypeAlias = Literal["raise", "earliest", "latest", "null"]


class Strings(Space[E]):
    """Functions of text. Positions and lengths count characters (code points) where nothing else is said."""

    prefix = "str"

    def to_uppercase(self) -> E:
        """In capital letters.

        >>> import streamlib as sl
        >>> sl.evaluate(sl.col("s").str.to_uppercase(), s=["né", None])
        ['NÉ', None]
        """
        return self._apply("to_uppercase")

    def to_lowercase(self) -> E:
        """In small letters.

        >>> import streamlib as sl
        >>> sl.evaluate(sl.col("s").str.to_lowercase(), s=["NÉ", None])
        ['né', None]
        """
        return self._apply("to_lowercase")

    def to_titlecase(self) -> E:
        """Each word with a capital letter first and small ones after it.

        >>> import streamlib as sl
        >>> sl.evaluate(sl.col("s").str.to_titlecase(), s=["new YORK"])
        ['New York']
        """
        return self._apply("to_titlecase")

    def len_chars(self) -> E:
        """The number of characters (code points), an int64.

        >>> import streamlib as sl
        >>> sl.evaluate(sl.col("s").str.len_chars(), s=["né", "", None])
        [2, 0, None]
        """
        return self._apply("len_chars")

    def len_bytes(self) -> E:
        """The number of bytes in UTF-8, an int64.

        >>> import streamlib as sl
        >>> sl.evaluate(sl.col("s").str.len_bytes(), s=["né", "", None])
        [3, 0, None]
        """
        return self._apply("len_bytes")

    def strip_chars(self, characters: str | None = None) -> E:
        """Without `characters` (default: white space) at both ends.

        >>> import streamlib as sl
        >>> sl.evaluate(sl.col("s").str.strip_chars(), s=["  a b ", None])
        ['a b', None]
        >>> sl.evaluate(sl.col("s").str.strip_chars("-+"), s=["+-7-"])
        ['7']
        """
        return self._apply("strip_chars", characters=_characters(characters))

    def strip_chars_start(self, characters: str | None = None) -> E:
        """Without `characters` (default: white space) at the start.

        >>> import streamlib as sl
        >>> sl.evaluate(sl.col("s").str.strip_chars_start("0"), s=["007"])
        ['7']
        """
        return self._apply("strip_chars_start", characters=_characters(characters))

    def strip_chars_end(self, characters: str | None = None) -> E:
        """Without `characters` (default: white space) at the end.

        >>> import streamlib as sl
        >>> sl.evaluate(sl.col("s").str.strip_chars_end(), s=["a  "])
        ['a']
        """
        return self._apply("strip_chars_end", characters=_characters(characters))

    def strip_prefix(self, prefix: str) -> E:
        """Without the text `prefix` at the start, once.

        >>> import streamlib as sl
        >>> sl.evaluate(sl.col("s").str.strip_prefix("id:"), s=["id:7", "7"])
        ['7', '7']
        """
        return self._apply("strip_prefix", prefix=checks.text(prefix, "prefix"))

    def strip_suffix(self, suffix: str) -> E:
        """Without the text `suffix` at the end, once.

        >>> import streamlib as sl
        >>> sl.evaluate(sl.col("s").str.strip_suffix(" km"), s=["7 km", "7"])
        ['7', '7']
        """
        return self._apply("strip_suffix", suffix=checks.text(suffix, "suffix"))

    def starts_with(self, prefix: str) -> E:
        """Whether the text begins with `prefix`.

        >>> import streamlib as sl
        >>> sl.evaluate(sl.col("s").str.starts_with("N"), s=["N123", "D5", None])
        [True, False, None]
        """
        return self._apply("starts_with", prefix=checks.text(prefix, "prefix"))

    def ends_with(self, suffix: str) -> E:
        """Whether the text ends with `suffix`.

        >>> import streamlib as sl
        >>> sl.evaluate(sl.col("s").str.ends_with("Z"), s=["12Z", "12"])
        [True, False]
        """
        return self._apply("ends_with", suffix=checks.text(suffix, "suffix"))

    def contains(self, pattern: str, *, literal: bool = False) -> E:
        r"""Whether a part of the text matches the regular expression, or is the very text if `literal`.

        Raises `DefinitionError` for a pattern that is not one of RE2.

        >>> import streamlib as sl
        >>> sl.evaluate(sl.col("s").str.contains(r"^N\d+"), s=["N12", "xN1", None])
        [True, False, None]
        """
        return self._apply("contains", pattern=checks.regex(pattern, literal), literal=literal)

    def contains_any(self, patterns: list[str] | tuple[str, ...]) -> E:
        """Whether any of the texts `patterns` is a part of it; plain texts, no regular expressions.

        >>> import streamlib as sl
        >>> sl.evaluate(sl.col("s").str.contains_any(["err", "fail"]), s=["an error", "ok"])
        [True, False]
        """
        texts = tuple(checks.text(part, "patterns") for part in patterns)
        return self._apply("contains_any", patterns=texts)

    def find(self, pattern: str, *, literal: bool = False) -> E:
        """The position in bytes of the first match, an int64; null where there is none.

        >>> import streamlib as sl
        >>> sl.evaluate(sl.col("s").str.find("[0-9]"), s=["ab1", "ab", None])
        [2, None, None]
        """
        return self._apply("find", pattern=checks.regex(pattern, literal), literal=literal)

    def count_matches(self, pattern: str, *, literal: bool = False) -> E:
        """How many matches there are, one after another, an int64.

        >>> import streamlib as sl
        >>> sl.evaluate(sl.col("s").str.count_matches("a."), s=["abacad", "b", None])
        [3, 0, None]
        """
        return self._apply("count_matches", pattern=checks.regex(pattern, literal), literal=literal)

    def extract(self, pattern: str, group_index: int = 1) -> E:
        r"""What a group of the first match holds (0: all of it); null where nothing matches.

        Raises `DefinitionError` for a group that the pattern does not have.

        >>> import streamlib as sl
        >>> sl.evaluate(sl.col("s").str.extract(r"(\w+)@(\w+)", 2), s=["ada@home", "ada"])
        ['home', None]
        """
        valid = checks.regex(pattern, literal=False)
        index = checks.integer(group_index, "group_index", 0)
        if index > len(groups(valid)):
            raise _no_group(valid, index)
        return self._apply("extract", pattern=valid, group_index=index)

    def extract_all(self, pattern: str) -> E:
        r"""All matches, one after another, as a list of text.

        >>> import streamlib as sl
        >>> sl.evaluate(sl.col("s").str.extract_all(r"\d+"), s=["1 or 22", "none", None])
        [['1', '22'], [], None]
        """
        return self._apply("extract_all", pattern=checks.regex(pattern, literal=False))

    def extract_groups(self, pattern: str) -> E:
        r"""The groups of the first match as a struct: fields by name, else by number. Null without a match.

        >>> import streamlib as sl
        >>> sl.evaluate(sl.col("s").str.extract_groups(r"(?P<user>\w+)@(\w+)"), s=["ada@home"])
        [{'user': 'ada', '2': 'home'}]
        """
        valid = checks.regex(pattern, literal=False)
        if not groups(valid):
            raise _no_group(valid, 1)
        return self._apply("extract_groups", pattern=valid)

    def replace(self, pattern: str, value: str, *, literal: bool = False, n: int = 1) -> E:
        r"""With the first `n` matches replaced by `value`, where `$1` or `${name}` is a group.

        >>> import streamlib as sl
        >>> sl.evaluate(sl.col("s").str.replace(r"(\d)-(\d)", "$2-$1"), s=["1-2 3-4", None])
        ['2-1 3-4', None]
        """
        options = {"n": checks.integer(n, "n", 0), "literal": literal}
        return self._apply("replace", **_replacement(pattern, value, literal), **options)

    def replace_all(self, pattern: str, value: str, *, literal: bool = False) -> E:
        r"""With every match replaced by `value`, where `$1` or `${name}` is a group.

        >>> import streamlib as sl
        >>> sl.evaluate(sl.col("s").str.replace_all(r"\s+", " "), s=["a  b   c"])
        ['a b c']
        """
        return self._apply("replace_all", **_replacement(pattern, value, literal), literal=literal)

    def split(self, by: str) -> E:
        """The parts between the texts `by`, as a list of text.

        >>> import streamlib as sl
        >>> sl.evaluate(sl.col("s").str.split(","), s=["a,b", "", None])
        [['a', 'b'], [''], None]
        """
        return self._apply("split", by=checks.nonempty(by, "by"))

    def slice(self, offset: int, length: int | None = None) -> E:
        """The characters from `offset` on (negative: counted from the end), at most `length` of them.

        >>> import streamlib as sl
        >>> sl.evaluate(sl.col("s").str.slice(-3, 2), s=["hello", "a", None])
        ['ll', '', None]
        """
        size = None if length is None else checks.integer(length, "length", 0)
        return self._apply("slice", offset=checks.integer(offset, "offset"), length=size)

    def head(self, n: int) -> E:
        """The first `n` characters; with a negative `n` all but the last.

        >>> import streamlib as sl
        >>> sl.evaluate(sl.col("s").str.head(2), s=["hello", "a"])
        ['he', 'a']
        """
        return self._apply("head", n=checks.integer(n, "n"))

    def tail(self, n: int) -> E:
        """The last `n` characters; with a negative `n` all but the first.

        >>> import streamlib as sl
        >>> sl.evaluate(sl.col("s").str.tail(2), s=["hello", "a"])
        ['lo', 'a']
        """
        return self._apply("tail", n=checks.integer(n, "n"))

    def pad_start(self, length: int, fill_char: str = " ") -> E:
        """Filled up to `length` characters at the start.

        >>> import streamlib as sl
        >>> sl.evaluate(sl.col("s").str.pad_start(3, "."), s=["7", "1234"])
        ['..7', '1234']
        """
        width = checks.integer(length, "length", 0)
        return self._apply("pad_start", length=width, fill_char=checks.character(fill_char, "fill_char"))

    def pad_end(self, length: int, fill_char: str = " ") -> E:
        """Filled up to `length` characters at the end.

        >>> import streamlib as sl
        >>> sl.evaluate(sl.col("s").str.pad_end(3, "."), s=["7", "1234"])
        ['7..', '1234']
        """
        width = checks.integer(length, "length", 0)
        return self._apply("pad_end", length=width, fill_char=checks.character(fill_char, "fill_char"))

    def zfill(self, length: int) -> E:
        """Filled up to `length` characters with zeros, behind a sign.

        >>> import streamlib as sl
        >>> sl.evaluate(sl.col("s").str.zfill(4), s=["7", "-7"])
        ['0007', '-007']
        """
        return self._apply("zfill", length=checks.integer(length, "length", 0))

    def reverse(self) -> E:
        """The characters (code points) in reverse.

        >>> import streamlib as sl
        >>> sl.evaluate(sl.col("s").str.reverse(), s=["abc"])
        ['cba']
        """
        return self._apply("reverse")

    def to_date(self, format: str | None = None, *, strict: bool = True) -> E:
        """The date that the text shows, by `format` (default: `%Y-%m-%d`).

        Raises `DefinitionError` for a format that can't be read, at run time `TypeMismatchError` for
        a text that is no such date; without `strict` that is null.

        >>> import streamlib as sl
        >>> sl.evaluate(sl.col("s").str.to_date("%d.%m.%Y"), s=["24.12.2026", None])
        [datetime.date(2026, 12, 24), None]
        """
        return self._apply("to_date", format=formats.parsed(format, "date"), strict=strict)

    def to_datetime(
        self,
        format: str | None = None,
        *,
        time_unit: checks.TimeUnit = "us",
        time_zone: str | None = None,
        strict: bool = True,
        ambiguous: Ambiguous = "raise",
    ) -> E:
        """The moment that the text shows, by `format` (default: ISO 8601, with or without an offset).

        A format with `%z` gives moments in UTC, or in `time_zone`; without `%z` they are naive, or
        the local times of `time_zone`: `ambiguous` decides on the hour that the clock repeats. The
        default format takes texts of both kinds for a `time_zone`, and only naive ones without.

        >>> import streamlib as sl
        >>> sl.evaluate(sl.col("s").str.to_datetime("%d/%m/%y %H:%M"), s=["24/12/26 18:30", None])
        [datetime.datetime(2026, 12, 24, 18, 30), None]
        """
        return self._apply(
            "to_datetime",
            format=formats.parsed(format, "datetime"),
            time_unit=checks.unit(time_unit),
            time_zone=None if time_zone is None else checks.zone(time_zone),
            strict=strict,
            ambiguous=checks.choice(ambiguous, "ambiguous", ("raise", "earliest", "latest", "null")),
        )

    def to_time(self, format: str | None = None, *, strict: bool = True) -> E:
        """The time of day that the text shows, by `format` (default: `%H:%M:%S%.f`), in microseconds.

        >>> import streamlib as sl
        >>> sl.evaluate(sl.col("s").str.to_time("%H:%M"), s=["18:30", None])
        [datetime.time(18, 30), None]
        """
        return self._apply("to_time", format=formats.parsed(format, "time"), strict=strict)

    def json_path_match(self, json_path: str) -> E:
        """What stands at `json_path` (`$.a.b[0]`) of a JSON document, as text; null where nothing does.

        Text comes without quotes, everything else as JSON; null too for text that is no JSON.

        >>> import streamlib as sl
        >>> sl.evaluate(sl.col("s").str.json_path_match("$.a[1]"), s=['{"a": [1, "x"]}', "{}", "?"])
        ['x', None, None]
        """
        path_steps(json_path)
        return self._apply("json_path_match", json_path=json_path)

    def json_decode(self, dtype: pa.DataType, *, strict: bool = True) -> E:
        """The JSON document as a value of `dtype`, usually a struct; fields it does not name are left out.

        At run time `TypeMismatchError` for text that is no JSON of that type; without `strict` null.

        >>> import streamlib as sl, pyarrow as pa
        >>> sl.evaluate(sl.col("s").str.json_decode(pa.struct({"a": pa.int64()})), s=['{"a": 1}', None])
        [{'a': 1}, None]
        """
        return self._apply("json_decode", dtype=checks.arrow_type(dtype), strict=strict)


def _characters(characters: str | None) -> str | None:
    return None if characters is None else checks.text(characters, "characters")


def _replacement(pattern: str, value: str, literal: bool) -> dict[str, str]:
    valid = checks.regex(pattern, literal)
    if not literal:
        rewrite(checks.text(value, "value"), valid)
    return {"pattern": valid, "value": checks.text(value, "value")}


def _no_group(pattern: str, index: int) -> DefinitionError:
    count = len(groups(pattern))
    return DefinitionError(
        f"the pattern has no group {index}",
        expected=f"a group from 0 (all of the match) to {count}" if count else "a group in parentheses",
        found=f"group_index={index} of {shown(pattern)}",
        remedy="put the part that you want in parentheses, or take all of the match with group_index=0",
    )
