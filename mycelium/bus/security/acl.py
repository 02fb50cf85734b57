"""Who may publish what, and receive what (reliability, "ACL"): patterns, and what they come to for given contracts."""

import re
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, Final, TypeAlias, final

from attrs import field, frozen

from mycelium.schema.faults import nearest
from mycelium.schema.model import Schema
from mycelium.schema.registry import Entry, Registry

__all__ = ["EVERYBODY", "FREE", "Acl", "Grant", "Permits", "Rules", "pattern_problem"]

EVERYBODY: Final = "*"
"""In place of a principal: what holds for all, beside what holds for each."""
TOPIC: Final = "topic:"
"""What a pattern for topics begins with; without it, it is for names of messages."""
_WILD: Final = str.maketrans({"*": "x", "?": "x"})
_ALL_NAMES: Final = ("*", "topic:*")
_Patterns: TypeAlias = tuple[str, ...]


def pattern_problem(pattern: str) -> str | None:
    """Why a text is no pattern; None if it is one."""
    if pattern.startswith(TOPIC):
        return None if pattern.removeprefix(TOPIC).strip() else "names no topic"
    name = pattern.translate(_WILD)
    return None if name.isidentifier() else "is neither a message's name nor a topic"


@frozen
class Rules:
    """Patterns for what is allowed and what is denied; deny wins."""

    allow: _Patterns = ()
    deny: _Patterns = ()

    @property
    def patterns(self) -> Iterator[str]:
        """All of them."""
        yield from self.allow
        yield from self.deny


@frozen
class Grant:
    """What a principal may do."""

    publish: Rules = Rules()
    subscribe: Rules = Rules()
    admin: bool = False


@frozen
class Permits:
    """What a principal must not do, worked out for the types of some contracts.

    Attributes:
        unpublishable: Type ids that it may not publish.
        unreceivable: Type ids that it may not get.
        is_admin: Whether it may see other clients and have contracts reloaded.
    """

    unpublishable: frozenset[int] = field(default=frozenset(), repr=False)
    unreceivable: frozenset[int] = field(default=frozenset(), repr=False)
    is_admin: bool = False

    @property
    def hidden(self) -> frozenset[int]:
        """Type ids that it has nothing to do with at all."""
        return self.unpublishable & self.unreceivable


FREE: Final = Permits()
"""Where there is no ACL."""


@final
@frozen
class Acl:
    """Principals and what they may do; whoever is not named may do nothing but what everybody may.

    Attributes:
        grants: By principal; under `*` what everybody may.
    """

    grants: Mapping[str, Grant] = field(factory=dict)

    def names(self, principal: str | None) -> bool:
        """Whether a principal has an entry of its own."""
        return principal is not None and principal in self.grants

    def permits(self, principal: str | None, registry: Registry[Any]) -> Permits:
        """What a principal must not do with these messages; None for one that is not known."""
        grants = [self.grants[one] for one in (EVERYBODY, principal) if one is not None and one in self.grants]
        entries = registry.by_id.items()
        publish = _Matcher(grant.publish for grant in grants)
        subscribe = _Matcher(grant.subscribe for grant in grants)
        return Permits(
            frozenset(type_id for type_id, entry in entries if not publish.allows(entry)),
            frozenset(type_id for type_id, entry in entries if not subscribe.allows(entry)),
            any(grant.admin for grant in grants),
        )

    def strays(self, registry: Registry[Any]) -> Iterator[str]:
        """A line for each pattern that no message of these contracts fits: it may be a slip."""
        for principal, grant in self.grants.items():
            for verb, rules in (("publish", grant.publish), ("subscribe", grant.subscribe)):
                for pattern in rules.patterns:
                    if pattern not in _ALL_NAMES and not any(map(_Fits(pattern), registry.entries.values())):
                        yield f"{principal}: {verb}: no message fits {pattern!r}{_meant(pattern, registry.schema)}"


def _meant(pattern: str, schema: Schema) -> str:
    if pattern.startswith(TOPIC):
        close = nearest(pattern.removeprefix(TOPIC), tuple(schema.by_topic))
        return f"; did you mean {TOPIC}{close}?" if close else ""
    close = nearest(pattern, tuple(schema.messages))
    return f"; did you mean {close}?" if close else ""


@final
class _Matcher:
    """The rules of several grants."""

    def __init__(self, rules: Iterable[Rules]) -> None:
        together = tuple(rules)
        self._allow = [_Fits(pattern) for one in together for pattern in one.allow]
        self._deny = [_Fits(pattern) for one in together for pattern in one.deny]

    def allows(self, entry: Entry[Any]) -> bool:
        return any(fits(entry) for fits in self._allow) and not any(fits(entry) for fits in self._deny)


class _Fits:
    """Whether a message fits a pattern; by each of its former names, too, so that to rename one opens nothing."""

    def __init__(self, pattern: str) -> None:
        self._of_topic = pattern.startswith(TOPIC)
        text = re.escape(pattern.removeprefix(TOPIC))
        self._fits = re.compile(text.replace(r"\*", ".*").replace(r"\?", "."), re.DOTALL).fullmatch

    def __call__(self, entry: Entry[Any]) -> bool:
        names = (entry.message.topic,) if self._of_topic else entry.names
        return any(map(self._fits, names))
