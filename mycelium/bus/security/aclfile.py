"""From the text of an ACL file to an Acl, with every fault of it at once."""

import re
from typing import Any, Final

from mycelium.bus.errors import SecurityError
from mycelium.bus.security.acl import EVERYBODY, Acl, Grant, Rules, pattern_problem
from mycelium.schema.errors import ContractError
from mycelium.schema.faults import Faults, Wrong, quoted
from mycelium.schema.nodes import Limits, MappingNode, Node, SequenceNode
from mycelium.schema.readers import Key, Keys, Reading, as_mapping, boolean, is_null, read_keys, text
from mycelium.schema.source import compose

__all__ = ["parse_acl"]

_LIMITS: Final = Limits(size=1024 * 1024, depth=8, nodes=100_000)
_COMMENTS: Final = re.compile(r"(?m)\A(?:[ \t]*(?:#.*)?$\n?)*\Z")
_CONTROL: Final = re.compile(r"[\x00-\x20\x7f]")


def parse_acl(data: bytes, source: str) -> Acl:
    """Read the text of an ACL file; an empty one allows nobody anything.

    Args:
        data: The text.
        source: Where it is from, for errors.

    Raises:
        SecurityError: It has faults.
    """
    if _COMMENTS.match(data.decode("utf-8", "replace")):
        return Acl()
    faults = Faults(source)
    try:
        found = _read_file(compose(data, faults, _LIMITS), Reading(faults))
        faults.raise_if_any()
    except ContractError as error:
        raise SecurityError(*map(str, error.faults)) from None
    return found


def _read_file(root: Node, reading: Reading) -> Acl:
    if not isinstance(root, MappingNode):
        reading.faults.add(root.location, "", "this is no mapping", "begin with `principals:`")
        return Acl()
    values, _ = read_keys(root, "", _FILE, reading)
    principals = values.get("principals")
    return Acl({} if principals is None else _read_principals(principals, reading))


def _read_principals(node: MappingNode, reading: Reading) -> dict[str, Grant]:
    grants = {}
    for key, item in node.items:
        name, path = str(key.value), f"principals.{key.value}"
        if name != EVERYBODY and (not name or _CONTROL.search(name) or "*" in name):
            problem = f"{quoted(name)} is no principal"
            reading.faults.add(key.location, path, problem, 'write its whole name, or "*" for everybody')
        elif is_null(item):
            grants[name] = Grant()
        elif isinstance(item, MappingNode):
            values, _ = read_keys(item, path, _PRINCIPAL, reading)
            grants[name] = Grant(**values)
        else:
            reading.faults.add(item.location, path, "must be a mapping", "write it as {publish: [Tick], subscribe: []}")
    return grants


def _rules(node: Node) -> Rules:
    """`[Tick, topic:market-data]`, or `{allow: […], deny: […]}`."""
    if isinstance(node, SequenceNode):
        return Rules(allow=_patterns(node))
    given = {str(key.value): item for key, item in as_mapping(node, "[Tick] or {allow: ['*'], deny: [Tick]}").items}
    unknown = given.keys() - {"allow", "deny"}
    if unknown:
        raise Wrong(f"there is no key {quoted(min(unknown))} here", "use allow and deny")
    return Rules(**{name: _patterns(item) for name, item in given.items()})


def _patterns(node: Node) -> tuple[str, ...]:
    if is_null(node):
        return ()
    if not isinstance(node, SequenceNode):
        raise Wrong("must be a list of patterns", "write it as [Tick, topic:market-data]", node.location)
    return tuple(map(_pattern, node.items))


def _pattern(node: Node) -> str:
    try:
        pattern = text(node)
    except Wrong as wrong:
        raise Wrong(wrong.problem, wrong.remedy, node.location) from None
    problem = pattern_problem(pattern)
    if problem is not None:
        remedy = "write Tick, 'Tick*', 'topic:market-data' or '*'"
        raise Wrong(f"{quoted(pattern)} {problem}", remedy, node.location)
    return pattern


def _mapping_or_nothing(node: Node) -> Any:
    return None if is_null(node) else as_mapping(node, "principals: {pricer: {publish: [Tick]}}")


_FILE: Final = Keys("an ACL file", {"principals": Key("principals", _mapping_or_nothing)})
_PRINCIPAL: Final = Keys(
    "a principal",
    {
        "publish": Key("publish", _rules, nullable=True),
        "subscribe": Key("subscribe", _rules, nullable=True),
        "admin": Key("admin", boolean),
    },
)
