"""Names that a contract gives to messages, fields, enums and their members.

They become Python classes, attributes and parts of compiled source, and come from files and peers that nobody vouches
for, so each is checked here before anything is built from it.
"""

import keyword
import unicodedata
from functools import lru_cache
from typing import Final

__all__ = ["MAX_NAME", "member_problem", "name_problem", "normalise"]

MAX_NAME: Final = 255
"""Characters of a name."""

_TAKEN: Final = frozenset({"self", "TYPE_ID", "TOPIC", "to_bytes", "from_bytes"})
_MIN_SUNDER: Final = 3


@lru_cache(maxsize=4096)
def normalise(name: str) -> str:
    """The name in NFKC, the form in which Python compares identifiers (language reference, "Identifiers")."""
    return name if name.isascii() else unicodedata.normalize("NFKC", name)


@lru_cache(maxsize=4096)
def name_problem(name: str) -> str | None:
    """Why a normalised name cannot be used, or None if it can."""
    if len(name) > MAX_NAME:
        return f"is longer than {MAX_NAME} characters"
    if not name.isidentifier():
        return "is no identifier"
    if keyword.iskeyword(name):
        return "is a keyword of Python"
    if name.startswith("__") and name.endswith("__"):
        return "has the form of Python's special names"
    if name in _TAKEN:
        return "is taken by every message class"
    return None


def member_problem(name: str, enum: str) -> str | None:
    """Why a normalised name cannot be a member of that enum, or None if it can.

    Python's enums keep `mro`, `_x_` and, as private, `_Enum__x` for themselves: the last would silently be no member.
    """
    problem = name_problem(name)
    if problem is None and (name == "mro" or _is_sunder(name) or name.startswith(f"_{enum}__")):
        return "is kept by Python's enums"
    return problem


def _is_sunder(name: str) -> bool:
    return len(name) >= _MIN_SUNDER and name[0] == name[-1] == "_"
