"""Which messages a refusal of contracts is about, out of the bridge's text and the names that this side knows."""

import re
from collections.abc import Iterable
from typing import Final

__all__ = ["named_messages"]

_FINDING: Final = re.compile(r"\b[A-Z][A-Z0-9]*(?:_[A-Z0-9]+)+ (?:messages\.)?([A-Za-z_][A-Za-z0-9_]*)")
"""`FIELD_TYPE_CHANGED Ping.value: …`: a rule and the element that it is about."""


def named_messages(text: str, known: Iterable[str]) -> tuple[str, ...]:
    """Names of messages that the findings in a text are about, each once, in their order.

    Args:
        text: What the bridge said.
        known: The messages of this side's contracts; what looks like a name but is none of them is left out.
    """
    names = frozenset(known)
    found = dict.fromkeys(match.group(1) for match in _FINDING.finditer(text))
    return tuple(name for name in found if name in names)
