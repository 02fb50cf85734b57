"""Whether two contracts can talk to each other over one connection, and about what (wire protocol, "Versions")."""

from collections.abc import Iterable, Iterator
from operator import itemgetter
from typing import TYPE_CHECKING, Final

from attrs import field, frozen

from mycelium.schema.model import Schema

if TYPE_CHECKING:
    from mycelium.schema.compat.findings import Finding

__all__ = ["FULL_STANDING", "Standing", "disagreements", "obstacles", "standing"]

_HARMLESS: Final = frozenset({"MESSAGE_REMOVED", "MESSAGE_TOPIC_CHANGED", "TYPE_ID_CHANGED"})
"""Breaks of a deployment that are none of a connection: a type that one side does not know is skipped there, and topics
are resolved by each side for itself."""
_TALKING: Final = frozenset({"WIRE", "MEANING"})
_MOST_SHOWN: Final = 20


@frozen
class Standing:
    """What a session whose contracts differ from the bridge's must leave.

    Attributes:
        unreadable: Type ids that it writes in a way that the bridge does not read: it may not publish them.
        unsendable: Type ids that the bridge's writers write in a way that it does not read: it may not be sent them.
        reasons: A line for each.
        causes: The same in short: rule and element.
    """

    unreadable: frozenset[int] = frozenset()
    unsendable: frozenset[int] = frozenset()
    reasons: tuple[str, ...] = field(default=(), eq=False)
    causes: tuple[str, ...] = field(default=(), eq=False)


FULL_STANDING: Final = Standing()


def disagreements(old: Schema, new: Schema) -> tuple["Finding", ...]:
    """Findings on types that both know and that one side writes in a way that the other does not read.

    Value rules are left aside: the bridge's door enforces them.
    """
    from mycelium.schema.compat.report import examine

    found = examine(old, new).issues
    return tuple(
        one
        for one in found
        if one.breaks
        and one.category in _TALKING
        and one.rule not in _HARMLESS
        and not one.rule.startswith("VALIDATION_")
        and any(_type_ids(one, old, new))
    )


def obstacles(client: Schema, bridge: Schema) -> list[str]:
    """Why a handshake between these contracts fails, a line each; empty where it does not."""
    if client.id != bridge.id:
        ids = f"schema id {client.id:#010x} is another protocol than the bridge's {bridge.id:#010x}"
        return [f"{ids}; connect to the bridge of that protocol"]
    lines = []
    for older, newer, who in ((client, bridge, "the client's"), (bridge, client, "the bridge's")):
        if older.version < newer.min_compatible:
            lines.append(
                f"{who} version {older.version} is below {newer.min_compatible}, the oldest that is still read"
            )
    found = disagreements(client, bridge) if client.version <= bridge.version else disagreements(bridge, client)
    if found:
        sides = (client.version, "the client's"), (bridge.version, "the bridge's")
        (old, whose), (new, other) = sorted(sides, key=itemgetter(0))
        lines.append(f"from {whose} version {old} to {other} version {new}")
    lines += map(_line, found)
    more = len(lines) - _MOST_SHOWN
    return [*lines[:_MOST_SHOWN], f"and {more} more"] if more > 0 else lines


def standing(client: Schema, bridge: Schema) -> Standing:
    """What a connected client with these contracts must leave now that the bridge has those."""
    found = disagreements(client, bridge)
    if not found:
        return FULL_STANDING
    unreadable = frozenset(one for each in found if not each.backward for one in _type_ids(each, client, bridge))
    unsendable = frozenset(one for each in found if not each.forward for one in _type_ids(each, client, bridge))
    return Standing(unreadable, unsendable, tuple(map(_line, found)), tuple(map(_cause, found)))


def _cause(finding: "Finding") -> str:
    return f"{finding.rule} {finding.subject or finding.path}"


def _line(finding: "Finding") -> str:
    return f"{_cause(finding)}: {finding.message}"


def _type_ids(finding: "Finding", old: Schema, new: Schema) -> Iterator[int]:
    """Ids of the messages that a finding reaches, as far as both sides know them."""
    for name in _messages(finding):
        for schema in (old, new):
            message = schema.messages.get(name)
            if message is not None and message.type_id in old.by_id and message.type_id in new.by_id:
                yield message.type_id


def _messages(finding: "Finding") -> Iterable[str]:
    probed = (finding.probe.previous, finding.probe.current) if finding.probe is not None else ()
    for path in (finding.path, *finding.affects):
        section, _, rest = path.partition(".")
        if section == "messages":
            yield rest.partition(".")[0]
    yield from (name for name in probed if name is not None)
