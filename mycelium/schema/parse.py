"""Nodes to model: reads a contracts file section by section and collects all of its faults."""

from typing import Any, Final

from mycelium.schema.collector import collector_paused
from mycelium.schema.declared import Declared
from mycelium.schema.errors import ContractError
from mycelium.schema.faults import Faults, Known, Wrong, join, quoted, shortened
from mycelium.schema.json_source import read_json
from mycelium.schema.literals import settled
from mycelium.schema.model import (
    DEFAULT_TAG_RANGES,
    Bytes,
    Domain,
    Field,
    Json,
    Location,
    Message,
    Reserved,
    Schema,
)
from mycelium.schema.names import name_problem, normalise
from mycelium.schema.nodes import (
    FILE_LIMITS,
    PEER_LIMITS,
    Limits,
    MappingNode,
    Node,
    ScalarNode,
    SequenceNode,
    describe,
)
from mycelium.schema.readers import Keys, Reading, as_mapping, is_null, read_keys
from mycelium.schema.sections import (
    DOMAIN,
    FIELD,
    FILE,
    INVARIANT,
    MESSAGE,
    MESSAGE_RESERVED,
    QOS,
    SCHEMA,
    SCHEMA_RESERVED,
    TAG_RANGES,
)
from mycelium.schema.source import compose
from mycelium.schema.validate import validate

__all__ = ["parse", "parse_document", "parse_text"]

_NAME_REMEDY: Final = "choose another name: letters, digits and _, not a digit first, no word of Python"
_LARGE: Final = 64 * 1024
_LOCATED: Final = ("schema.id", "schema.version", "schema.min_compatible", "schema.reserved", "tag_ranges")


def parse_text(
    text: str | bytes, name: str = "<contracts>", *, core: bool = False, limits: Limits = FILE_LIMITS
) -> Schema:
    """The model of a contracts file.

    Args:
        text: The file's content; bytes are UTF-8, or UTF-16 with a byte order mark.
        name: The file's name for locations.
        core: Whether it is the package's own core.yaml, whose type ids are 1 to 999.
        limits: What it may cost.

    Raises:
        ContractError: With every fault of the file.
    """
    faults = Faults(name)
    with collector_paused(when=len(text) > _LARGE):
        return _model(compose(text, faults, limits), Reading(faults, core))


def parse_document(data: bytes, name: str, *, limits: Limits = PEER_LIMITS) -> Schema:
    """The model of a contracts document (wire protocol, "Contracts on the wire") that came from a peer.

    Raises:
        ContractError: With every fault of the document.
    """
    with collector_paused(when=len(data) > _LARGE):
        return parse(read_json(data, name, limits=limits), name)


def parse(source: Node | str | bytes, name: str = "<contracts>", *, core: bool = False) -> Schema:
    """The model of nodes that are read already, or of a contracts file's text.

    Raises:
        ContractError: With every fault.
    """
    if isinstance(source, str | bytes):
        return parse_text(source, name, core=core)
    return _model(source, Reading(Faults(name), core))


def _model(root: Node, reading: Reading) -> Schema:
    faults = reading.faults
    if not isinstance(root, MappingNode):
        problem, remedy = f"the file is {describe(root)} instead of a mapping", "begin with `messages:`"
        faults.add(root.location, "", problem, remedy)
        raise ContractError(faults.in_file_order())
    sections, extras = read_keys(root, "", FILE, reading)
    for key, _ in root.items:
        reading.marks[str(key.value)] = key.location
    declared = Declared(sections.get("types"), sections.get("messages"), reading)
    if declared.kept:
        extras["types"] = declared.kept
    schema = Schema(
        **_schema_section(sections.get("schema"), reading, extras),
        tag_ranges=_tag_ranges(sections.get("tag_ranges"), reading),
        aliases=declared.aliases,
        enums=declared.enums,
        messages=settled(_Messages(declared, reading).read(), reading),
        domains=_domains(sections.get("domains"), reading),
        invariants=_invariants(sections.get("invariants"), reading),
        extras=extras,
        source=faults.file,
        location=reading.marks.get("schema", Location(faults.file, 1, 1)),
        locations={path.rpartition(".")[2]: reading.marks[path] for path in _LOCATED if path in reading.marks},
    )
    validate(schema, reading)
    faults.raise_if_any()
    return schema


# --- sections --------------------------------------------------------------------------------------------------------


def _read(node: Node, path: str, keys: Keys, reading: Reading, example: str) -> tuple[dict[str, Any], dict[str, Json]]:
    """As `read_keys`, of a node that may be no mapping."""
    try:
        mapping = as_mapping(node, example)
    except Wrong as wrong:
        reading.faults.add(node.location, path, wrong.problem, wrong.remedy)
        return {}, {}
    return read_keys(mapping, path, keys, reading)


def _reserved(node: Node | None, path: str, keys: Keys, reading: Reading, example: str) -> Reserved:
    if node is None:
        return Reserved()
    values, _ = _read(node, path, keys, reading, example)
    return Reserved(location=node.location, **values)


def _schema_section(node: Node | None, reading: Reading, kept: dict[str, Json]) -> dict[str, Any]:
    """What the section says; its `x-` keys go to those that are kept of the whole file."""
    if node is None:
        return {}
    values, extras = _read(node, "schema", SCHEMA, reading, "{id: 1, version: 1}")
    example = "{type_ids: [1041], names: [Trade]}"
    values["reserved"] = _reserved(values.get("reserved"), "schema.reserved", SCHEMA_RESERVED, reading, example)
    if values.get("version") == 0:
        values.setdefault("min_compatible", 0)
    if extras:
        kept["schema"] = extras
    return values


def _tag_ranges(node: Node | None, reading: Reading) -> dict[str, tuple[int, int]]:
    """The ranges of the file, and of the defaults those that the file neither gives nor covers."""
    if node is None:
        return dict(DEFAULT_TAG_RANGES)
    given, _ = _read(node, "tag_ranges", TAG_RANGES, reading, "{app: 1000-49999}")
    kept = {
        name: default
        for name, default in DEFAULT_TAG_RANGES.items()
        if name in given or not any(first <= default[1] and default[0] <= last for first, last in given.values())
    }
    return {name: given.get(name, default) for name, default in kept.items()}


def _domains(node: Node | None, reading: Reading) -> dict[str, Domain]:
    domains: dict[str, Domain] = {}
    if node is None:
        return domains
    try:
        section = as_mapping(node, "{Execution: {description: orders}}")
    except Wrong as wrong:
        reading.faults.add(node.location, "domains", wrong.problem, wrong.remedy)
        return domains
    for key, item in section.items:
        name = str(key.value)
        values, extras = _read(item, join("domains", shortened(name)), DOMAIN, reading, "{description: orders}")
        for figure in ("latency_slo_p99_ms", "error_rate_slo_pct"):
            value = values.get(figure)
            if figure in values and (isinstance(value, bool) or not isinstance(value, int | float)):
                extras[figure] = values.pop(figure)
        domains[name] = Domain(name=name, extras=extras, location=key.location, **values)
    return domains


def _invariants(node: Node | None, reading: Reading) -> tuple[dict[str, Json], ...]:
    if node is None:
        return ()
    if not isinstance(node, SequenceNode):
        problem, remedy = f"must be a list, not {describe(node)}", "write it as [{name: ..., description: ...}]"
        reading.faults.add(node.location, "invariants", problem, remedy)
        return ()
    read = (
        _read(item, f"invariants[{index}]", INVARIANT, reading, "{name: ..., description: ...}")
        for index, item in enumerate(node.items)
    )
    return tuple({**values, **extras} for values, extras in read)


# --- messages --------------------------------------------------------------------------------------------------------


class _Messages:
    """Reads the messages of a file."""

    def __init__(self, declared: Declared, reading: Reading) -> None:
        self._declared = declared
        self._reading = reading

    def read(self) -> dict[str, Message]:
        """All of them, by name, in file order."""
        return {name: self._message(name, key, node) for name, (key, node) in self._declared.messages.items()}

    def _message(self, name: str, key: ScalarNode, node: Node) -> Message:
        path = join("messages", name)
        self._reading.marks[path] = key.location
        values, extras = _read(node, path, MESSAGE, self._reading, "{tlv_type: 1001, fields: {...}}")
        if isinstance(node, MappingNode):
            self._require(node, ("tlv_type", "fields"), path, key.location)
        values.setdefault("type_id", 0)
        example = "{tags: [6], names: [old_name]}"
        values["reserved"] = _reserved(
            values.get("reserved"), join(path, "reserved"), MESSAGE_RESERVED, self._reading, example
        )
        if "qos" in values:
            qos, _ = _read(values.pop("qos"), join(path, "qos"), QOS, self._reading, "{on_lag: latest}")
            values.update(qos)
        fields = self._fields(values.pop("fields", None), join(path, "fields"))
        return Message(name=name, fields=fields, extras=extras, location=key.location, **values)

    def _require(self, node: MappingNode, wanted: tuple[str, ...], path: str, location: Location) -> None:
        present = {key.value for key, _ in node.items}
        for key in wanted:
            if key not in present:
                example = {"tlv_type": "tlv_type: 1001", "fields": "fields: {}", "type": "type: u64"}[key]
                self._reading.faults.add(location, path, f"`{key}` is missing", f"add `{example}`")

    def _fields(self, node: Node | None, path: str) -> tuple[Field, ...]:
        if node is None:
            return ()
        faults = self._reading.faults
        if not isinstance(node, MappingNode):
            remedy = "write `fields: {}` for a message without fields"
            faults.add(node.location, path, f"must be a mapping, not {describe(node)}", remedy)
            return ()
        fields: dict[str, Field] = {}
        for position, (key, item) in enumerate(node.items, 1):
            name = normalise(str(key.value))
            where = join(path, shortened(name))
            problem = name_problem(name)
            if problem or name in fields:
                problem = problem or "is there already"
                faults.add(key.location, where, f"the name {quoted(name)} {problem}", _NAME_REMEDY)
                continue
            fields[name] = self._field(name, position, key, item, where)
        return tuple(fields.values())

    def _field(self, name: str, position: int, key: ScalarNode, node: Node, path: str) -> Field:
        reading = self._reading
        reading.marks[path] = key.location
        if is_null(node) or not isinstance(node, MappingNode):
            reading.faults.add(
                node.location, path, f"must be a mapping, not {describe(node)}", "write it as {type: u64}"
            )
            values: dict[str, Any] = {}
            extras: dict[str, Json] = {}
        else:
            values, extras = read_keys(node, path, FIELD, reading)
            self._require(node, ("type",), path, key.location)
        spelling = values.pop("type", None)
        type_ = None
        if spelling is not None:
            try:
                type_ = self._declared.type(spelling)
            except Known:
                pass
            except Wrong as wrong:
                where = join(path, "type")
                reading.faults.add(reading.where(where), where, wrong.problem, wrong.remedy)
        if type_ is None:
            reading.broken.add(path)
        explicit = join(path, "tag") in reading.marks
        if explicit and "tag" not in values:
            reading.broken.add(join(path, "tag"))
        return Field(
            name=name,
            type=type_ or Bytes(),
            tag=values.pop("tag", position),
            position=position,
            explicit=explicit,
            spelling=spelling or "",
            extras=extras,
            location=key.location,
            **values,
        )
