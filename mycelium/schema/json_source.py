"""From a peer's contracts document, which is JSON, to nodes, under the limits of the YAML reader.

JSON has no places to tell: every node stands at the start of the document.
"""

import json
import re
from collections import Counter
from typing import Any, Final

from mycelium.schema.faults import Wrong, quoted, refused
from mycelium.schema.nodes import PEER_LIMITS, Limits, MappingNode, Node, Place, ScalarNode, SequenceNode
from mycelium.schema.plain import to_float, to_int

__all__ = ["read_json"]

_PARTS: Final = re.compile(r'"(?:[^"\\]+|\\.)*+"?|[\[\]{},:]', re.DOTALL)
_UNPAIRED: Final = re.compile("[\ud800-\udfff]")


def read_json(data: bytes, name: str, *, limits: Limits = PEER_LIMITS) -> Node:
    """The nodes of a contracts document, as it came from a peer; every location is the document's start.

    Raises:
        ContractError: It is no JSON, beyond the limits, or holds what JSON leaves open: a key twice, NaN, unpaired
            surrogates.
    """
    if len(data) > limits.size:
        problem = f"the document has {len(data):,} bytes; the limit is {limits.size:,}"
        raise refused(name, 1, 1, problem, "send a smaller one")
    try:
        text = data.decode()
        _measure_json(text, name, limits)
        value = json.loads(
            text, object_pairs_hook=_unique, parse_int=to_int, parse_float=to_float, parse_constant=_no_constant
        )
        text.encode()
    except Wrong as wrong:
        raise refused(name, 1, 1, wrong.problem, wrong.remedy) from wrong
    except json.JSONDecodeError as error:
        raise refused(name, error.lineno, error.colno, f"not JSON: {error.msg}", "send valid JSON") from error
    except (ValueError, RecursionError) as error:
        raise refused(name, 1, 1, f"not JSON: {error}", "send valid JSON in UTF-8") from error
    return _from_json(value, (name, 1, 1))


def _measure_json(text: str, name: str, limits: Limits) -> None:
    """Counts brackets and separators outside of strings, before the parser, which is recursive, sees the text."""
    depth, nodes = 0, 1
    for part in _PARTS.findall(text):
        if part in "[{":
            depth += 1
            nodes += 1
            if depth > limits.depth:
                problem = f"more than {limits.depth} collections stand inside one another"
                raise refused(name, 1, 1, problem, "nest less deeply")
        elif part in "]}":
            depth -= 1
        elif part in ",:":
            nodes += 1
    if nodes > limits.nodes:
        raise refused(name, 1, 1, f"the document has more than {limits.nodes:,} values", "send a smaller one")


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    members = dict(pairs)
    if len(members) != len(pairs):
        twice = Counter(key for key, _ in pairs).most_common(1)[0][0]
        raise Wrong(f"the key {quoted(twice)} comes twice in one object", "keep one of the two")
    return members


def _no_constant(text: str) -> float:
    raise Wrong(f"{text} is no JSON", 'write it as a string, such as "NaN"')


def _from_json(value: Any, place: Place) -> Node:
    """Recursive, which is safe because `_measure_json` bounds the depth."""
    if isinstance(value, dict):
        pairs = tuple((_json_scalar(key, place), _from_json(item, place)) for key, item in value.items())
        return MappingNode(pairs, place)
    if isinstance(value, list):
        return SequenceNode(tuple(_from_json(item, place) for item in value), place)
    return _json_scalar(value, place)


def _json_scalar(value: Any, place: Place) -> ScalarNode:
    if isinstance(value, str) and not value.isascii() and _UNPAIRED.search(value):
        problem = f"the text {quoted(value)} holds half of a surrogate pair"
        raise refused(*place, problem, "send whole characters")
    return ScalarNode(value, place)
