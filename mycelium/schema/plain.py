"""Plain scalars by the YAML 1.2 core schema (YAML 1.2.2, section 10.3.2).

PyYAML resolves them by YAML 1.1, where `no` is false, `1_000` a number and `1:30` is ninety. The Rust loader goes by
1.2, and so does whoever reads the file.
"""

import re
from collections.abc import Callable, Mapping
from typing import Final

from mycelium.schema.faults import Wrong

__all__ = ["MAX_DIGITS", "SPECIAL_STARTS", "resolve", "to_float", "to_int"]

MAX_DIGITS: Final = 400
"""Of a number. The largest that any type holds has 309 (f64); Python itself refuses to convert more than 4300."""

_WORDS: Final[Mapping[str, bool | float | None]] = {
    **dict.fromkeys(("", "~", "null", "Null", "NULL")),
    **dict.fromkeys(("true", "True", "TRUE"), True),
    **dict.fromkeys(("false", "False", "FALSE"), False),
    **dict.fromkeys((".nan", ".NaN", ".NAN"), float("nan")),
    **{f"{sign}.{word}": float(f"{sign}inf") for sign in ("", "+", "-") for word in ("inf", "Inf", "INF")},
}
SPECIAL_STARTS: Final = frozenset({"", *"+-.0123456789", *(word[:1] for word in _WORDS)})
"""First characters of all plain scalars that are not text; empty for the empty scalar."""
_NUMBER_STARTS: Final = frozenset("+-.0123456789")
_INTEGER: Final = re.compile(r"[-+]?[0-9]+", re.ASCII)
_OCTAL: Final = re.compile(r"0o[0-7]+", re.ASCII)
_HEXADECIMAL: Final = re.compile(r"0x[0-9a-fA-F]+", re.ASCII)
_FLOAT: Final = re.compile(r"[-+]?(?:\.[0-9]+|[0-9]+(?:\.[0-9]*)?)(?:[eE][-+]?[0-9]+)?", re.ASCII)


def resolve(text: str) -> bool | int | float | str | None:
    """The value of a plain scalar.

    Raises:
        Wrong: The text is a number that is too long or too large.
    """
    if text in _WORDS:
        return _WORDS[text]
    if text[0] in _NUMBER_STARTS:
        for pattern, convert in _NUMBERS:
            if pattern.fullmatch(text):
                return convert(text)
    return text


def to_int(text: str, base: int = 10) -> int:
    """An integer of a length that Python converts in no time.

    Raises:
        Wrong: It has too many digits.
    """
    if len(text) > MAX_DIGITS:
        problem = f"a number of {len(text)} characters is more than any type holds"
        raise Wrong(problem, f"use at most {MAX_DIGITS}, or put the text in quotes")
    return int(text, base)


def to_float(text: str) -> float:
    """A finite float.

    Raises:
        Wrong: It is beyond the range of an f64, or too long.
    """
    if len(text) > MAX_DIGITS:
        problem = f"a number of {len(text)} characters is longer than any type needs"
        raise Wrong(problem, f"use at most {MAX_DIGITS}, or put the text in quotes")
    value = float(text)
    if value in (float("inf"), float("-inf")):
        raise Wrong(f"the number {text} is beyond the range of an f64", "write .inf for infinity, or a smaller number")
    return value


_NUMBERS: Final[tuple[tuple[re.Pattern[str], Callable[[str], int | float]], ...]] = (
    (_INTEGER, to_int),
    (_HEXADECIMAL, lambda text: to_int(text, 16)),
    (_OCTAL, lambda text: to_int(text, 8)),
    (_FLOAT, to_float),
)
