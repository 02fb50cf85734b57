"""What the contract language has: rules for values, and what the linter looks for."""

from typing import Final

from mycelium.schema.lint import LINT_RULES
from mycelium.schema.rules import BUILTIN
from mycelium_docs.markdown import table

__all__ = ["lint_rules", "value_rules"]

_MEANINGS: Final = {
    "min": "not smaller; NaN breaks it",
    "max": "not greater; NaN breaks it",
    "min_length": "at least so many bytes of UTF-8, or bytes, or elements",
    "max_length": "at most so many; for peers in the Rust dialect also the room that there is",
    "not_empty": "the same as `min_length: 1`",
    "not_zero": "not 0; of bytes: not all of them zero",
    "pattern": "matched by a regular expression as a whole; this runs last, and a text over 4 KiB breaks it unseen",
    "one_of": 'one of a list, written as in JSON: bytes as `"0x…"`, enums by name',
    "no_0x_prefix": "does not begin with `0x`",
    "monotonic": "not smaller than in its publisher's last message; checked where it publishes and at the door",
}


def value_rules() -> str:
    """The rules under `validation`."""
    if _MEANINGS.keys() != BUILTIN.keys():
        raise LookupError(f"rules and their meanings differ: {_MEANINGS.keys() ^ BUILTIN.keys()}")
    rows = ((f"`{name}`", rule.to, _MEANINGS[name]) for name, rule in BUILTIN.items())
    return table(["rule", "for", "the value is"], rows)


def lint_rules() -> str:
    """What `mycelium schema lint` finds in a file without faults."""
    rows = ((f"`{name}`", rule.severity, rule.hint) for name, rule in LINT_RULES.items())
    return table(["finding", "severity", "what to do"], rows)
