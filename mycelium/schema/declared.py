"""The names that a file declares: messages, enums and aliases share one namespace, and types are spelled with them."""

from collections.abc import Mapping
from contextlib import suppress
from typing import Final

from attrs import evolve

from mycelium.schema.faults import Known, Wrong, join, quoted, shortened
from mycelium.schema.model import INTEGERS, Alias, Bytes, EnumDef, Json, Location, MessageRef, Type
from mycelium.schema.names import member_problem, name_problem, normalise
from mycelium.schema.nodes import MappingNode, Node, ScalarNode, describe, to_json
from mycelium.schema.readers import Reading, as_mapping, integer, read_keys
from mycelium.schema.sections import ALIAS, ENUM
from mycelium.schema.types import BUILTINS, TYPE_NAMES, parse_type, unknown_type

__all__ = ["Declared"]

_MAX_CHAIN: Final = 16
_NAME_REMEDY: Final = "choose another name: letters, digits and _, not a digit first, no word of Python"


class Declared:
    """The types of one file, built from its `types:` and the names of its messages.

    Args:
        types: The section, if there is one.
        messages: The section, if there is one.
        reading: Takes the faults.
    """

    def __init__(self, types: Node | None, messages: Node | None, reading: Reading) -> None:
        self._reading = reading
        self._taken: dict[str, Location] = {}
        self._spelled: dict[str, Type | Wrong] = {}
        self._unfinished: dict[str, Alias] = {}
        self._failed: dict[str, Wrong] = {}
        self._resolving: dict[str, int] = {}
        """Aliases being resolved, each inside the one before it, with the length of the longest chain found so far."""
        self._chains: dict[str, int] = {}
        self.enums: dict[str, EnumDef] = {}
        self.aliases: dict[str, Alias] = {}
        self.kept: dict[str, Json] = {}
        """Entries of `types:` that change nothing: named like a built-in type, or of a Rust type that is none here."""
        declared = self._entries(types, "types", "{Address: {type: String}}")
        self.messages: Mapping[str, tuple[ScalarNode, Node]] = self._entries(messages, "messages", "{Order: {...}}")
        self._names = (*TYPE_NAMES, *self._taken)
        for name, (key, node) in declared.items():
            self._declare(name, key, node)
        for name in tuple(self._unfinished):
            if name in self._unfinished:
                with suppress(Wrong):  # told by then
                    self._finish(name)
        self.aliases = {name: self.aliases[name] for name in declared if name in self.aliases}

    def type(self, spelling: str) -> Type:
        """The type that a field's spelling stands for.

        Raises:
            Wrong: It stands for none.
        """
        known = self._spelled.get(spelling)
        if known is None:
            try:
                known = parse_type(spelling, self._resolve)
            except Wrong as wrong:
                known = wrong
            self._spelled[spelling] = known
        if isinstance(known, Wrong):
            raise known.again()
        return known

    # --- names -------------------------------------------------------------------------------------------------------

    def _entries(self, section: Node | None, path: str, example: str) -> dict[str, tuple[ScalarNode, Node]]:
        """The entries of a section whose names can be used, by normalised name."""
        entries: dict[str, tuple[ScalarNode, Node]] = {}
        faults = self._reading.faults
        if section is None:
            return entries
        if not isinstance(section, MappingNode):
            faults.add(section.location, path, f"must be a mapping, not {describe(section)}", f"write it as {example}")
            return entries
        for key, node in section.items:
            name = normalise(str(key.value))
            where = join(path, shortened(name))
            problem = name_problem(name)
            if problem:
                faults.add(key.location, where, f"the name {quoted(name)} {problem}", _NAME_REMEDY)
            elif name in TYPE_NAMES and path == "messages":
                faults.add(key.location, where, f"{name} is a built-in type", "choose another name")
            elif name in TYPE_NAMES:
                self.kept[name] = to_json(node)
            elif name in self._taken:
                first = self._taken[name]
                problem = f"the name {name} is taken already, at line {first.line}, column {first.column}"
                faults.add(key.location, where, problem, "messages, enums and aliases share one namespace: rename one")
            else:
                self._taken[name] = key.location
                entries[name] = key, node
        return entries

    def _declare(self, name: str, key: ScalarNode, node: Node) -> None:
        path = join("types", name)
        try:
            mapping = as_mapping(node, f'{name}: {{type: "[u8; 20]"}}')
        except Wrong as wrong:
            self._reading.faults.add(node.location, path, wrong.problem, wrong.remedy)
            self._failed[name] = Known(f"{name} stands for no type", "repair its entry under `types`")
            return
        if any(each.value == "enum" for each, _ in mapping.items):
            self.enums[name] = self._enum(name, key, mapping, path)
        else:
            self._alias(name, key, mapping, path)

    # --- enums -------------------------------------------------------------------------------------------------------

    def _enum(self, name: str, key: ScalarNode, mapping: MappingNode, path: str) -> EnumDef:
        values, extras = read_keys(mapping, path, ENUM, self._reading)
        members, locations = self._members(name, values.pop("enum"), values.get("repr", "u8"), join(path, "enum"))
        return EnumDef(
            name=name, members=members, extras=extras, location=key.location, member_locations=locations, **values
        )

    def _members(self, enum: str, node: Node, underlying: str, path: str) -> tuple[dict[str, int], dict[str, Location]]:
        faults = self._reading.faults
        members: dict[str, int] = {}
        locations: dict[str, Location] = {}
        if not isinstance(node, MappingNode) or not node.items:
            what = "empty" if isinstance(node, MappingNode) else f"no mapping but {describe(node)}"
            faults.add(node.location, path, f"the members are {what}", "write them as {buy: 1, sell: 2}")
            return members, locations
        read = integer(*INTEGERS[underlying], f"an enum with repr {underlying}")
        owners: dict[int, str] = {}
        for key, item in node.items:
            member = normalise(str(key.value))
            where = join(path, shortened(member))
            problem = member_problem(member, enum)
            if problem or member in members:
                problem = problem or "is there already"
                faults.add(key.location, where, f"the member {quoted(member)} {problem}", _NAME_REMEDY)
                continue
            try:
                number = read(item)
            except Wrong as wrong:
                faults.add(item.location, where, wrong.problem, wrong.remedy)
                continue
            if number in owners:
                faults.add(
                    item.location, where, f"{number} is {owners[number]} already", "give each member its own number"
                )
                continue
            owners[number] = member
            members[member], locations[member] = number, key.location
        return members, locations

    # --- aliases -----------------------------------------------------------------------------------------------------

    def _alias(self, name: str, key: ScalarNode, mapping: MappingNode, path: str) -> None:
        values, extras = read_keys(mapping, path, ALIAS, self._reading)
        spelling = values.pop("type", None)
        if spelling is None and isinstance(extras.get("rust_type"), str):
            spelling = extras["rust_type"]
        if spelling is None:
            if not any(each.value == "type" for each, _ in mapping.items):
                problem = "has neither `type`, nor `rust_type`, nor `enum`"
                self._reading.faults.add(key.location, path, problem, 'write type: "[u8; 20]" or enum: {buy: 1}')
            self._failed[name] = Known(f"{name} has no type", "repair its entry under `types`")
            return
        # `_finish` gives it its type, once every name of the file is known.
        self._unfinished[name] = Alias(
            name=name, type=Bytes(), spelling=str(spelling), extras=extras, location=key.location, **values
        )

    def _finish(self, name: str) -> Type:
        """Resolves an alias, and before it the aliases that it is spelled with.

        Raises:
            Wrong: It stands for no type; the file's fault, if it is one, is told.
        """
        if len(self._resolving) > _MAX_CHAIN:
            raise _too_deep()
        alias = self._unfinished[name]
        self._resolving[name] = 1
        try:
            type_ = parse_type(alias.spelling, self._resolve)
            self._check_chain(name)
        except Wrong as wrong:
            # Kept as it is and never raised itself: a traceback would keep every frame on the way alive.
            self._failed[name] = self._told(alias, wrong)
            raise self._failed[name].again() from None
        finally:
            self._chains[name] = self._resolving.pop(name)
            del self._unfinished[name]
        self.aliases[name] = evolve(alias, type=type_)
        return type_

    def _check_chain(self, name: str) -> None:
        if self._resolving[name] > _MAX_CHAIN:
            raise _too_deep()

    def _told(self, alias: Alias, wrong: Wrong) -> Wrong:
        """Tells the faults of an alias without a type, and gives what its users are told."""
        path = join("types", alias.name)
        if join(path, "type") not in self._reading.marks:
            # Spelled for Rust alone: no fault of the file unless somebody uses it.
            self.kept[alias.name] = {
                **alias.extras,
                **({"description": alias.description} if alias.description else {}),
            }
            problem = f"{alias.name} stands for {quoted(alias.spelling)}, which is no type here"
            return Wrong(problem, f"give types.{alias.name} a `type:`")
        if not isinstance(wrong, Known):
            path = join(path, "type")
            self._reading.faults.add(self._reading.where(path), path, wrong.problem, wrong.remedy)
        return Known(f"{alias.name} stands for no type", "repair its entry under `types`")

    def _resolve(self, spelled: str) -> Type:
        """The type of a name.

        Raises:
            Wrong: There is none, or it leads back to the alias that is being resolved.
        """
        name = normalise(spelled)
        if name in self._failed:
            raise self._failed[name].again()
        if name in self._resolving:
            circle = " -> ".join((*list(self._resolving)[list(self._resolving).index(name) :], name))
            raise Wrong(f"the alias stands for itself: {circle}", "name a type that ends the circle")
        if name in self._unfinished or name in self.aliases:
            type_ = self.aliases[name].type if name in self.aliases else self._finish(name)
            if self._resolving:
                user = next(reversed(self._resolving))
                self._resolving[user] = max(self._resolving[user], self._chains[name] + 1)
            return type_
        if name in self.enums:
            return self.enums[name]
        if name in self.messages:
            return MessageRef(name)
        if name in BUILTINS:
            return BUILTINS[name]
        problem, remedy = unknown_type(name)
        raise Wrong(problem, remedy or self._reading.faults.suggest(name, self._names, "declare it under `types`"))


def _too_deep() -> Wrong:
    return Wrong(f"aliases of aliases are more than {_MAX_CHAIN} deep", "name the type itself")
