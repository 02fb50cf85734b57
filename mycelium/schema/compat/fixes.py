"""What to do about a finding, with YAML that can be pasted and that makes the check pass.

Each function makes one `Fix`. Where an edit is safe in itself but was done in an unsafe way, the fix does it the safe
way; where it is not, the fix restores what was there.
"""

from collections.abc import Iterable
from typing import Any

from attrs import evolve

from mycelium.schema.compat.findings import Fix
from mycelium.schema.compat.pairs import FieldPairs, MessagePair, Moved, SchemaPair
from mycelium.schema.compat.snippets import (
    enum_json,
    field_json,
    flow,
    free_tag,
    free_type_id,
    mapping,
    message_yaml,
    reserved_json,
)
from mycelium.schema.model import MISSING, Alias, EnumDef, Field, Json, Message, Ranges, Reserved, in_ranges

# --- schema section --------------------------------------------------------------------------------------------------


def section(key: str, value: int, text: str) -> Fix:
    """Set one number of the `schema` section."""
    return Fix(text, "schema", f"{key}: {value}")


def raise_minimum(version: int) -> Fix:
    """Admit that older data is no longer read."""
    text = f"If the break is meant: `min_compatible: {version}`, so that peers refuse what they cannot read."
    return Fix(text, "schema", f"version: {version}\nmin_compatible: {version}")


def restore_schema_reservation(pair: SchemaPair) -> Fix:
    """Put reserved type ids and names back."""
    free = _unused(
        pair.previous.reserved, {one.type_id for one in pair.current.messages.values()}, pair.current.messages
    )
    both = _merged(pair.current.reserved, free.numbers, free.names)
    return Fix("Put the reservation back.", "schema", mapping({"reserved": reserved_json(both, "type_ids")}))


# --- messages --------------------------------------------------------------------------------------------------------


def restore_message(pair: SchemaPair, message: Message) -> Fix:
    """Put a message back, deprecated, and take its reservation back if there is one."""
    text = "Keep it with `deprecated: true` and remove it when no writer is left; then reserve its id and name."
    reserved = pair.current.reserved
    free = _unused(reserved, {message.type_id}, [message.name])
    also = None
    if free != reserved:
        yaml = mapping({"reserved": reserved_json(free, "type_ids")}) if free else ""
        also = Fix("Reserve it when it is gone.", "schema", yaml, () if free else ("reserved",))
    return Fix(text, "messages", message_yaml(message, deprecated=True), also=also)


def drop_message(message: Message) -> Fix:
    """Wait with a message until readers skip what they do not know."""
    return Fix("Deploy readers that skip unknown types first.", "messages", drop=(message.name,))


def rename_message(pair: MessagePair) -> Fix:
    """Record a rename."""
    text = f"Record it: `renamed_from: {pair.previous.name}`."
    return Fix(text, f"messages.{pair.current.name}", mapping({"renamed_from": pair.previous.name}))


def leave_out(message: Message) -> Fix:
    """Keep a message that is no struct from Rust peers."""
    text = "Use types that have a layout, or keep the message in a file that no Rust peer goes by."
    return Fix(text, "messages", drop=(message.name,))


def restore_struct(pair: SchemaPair, moved: MessagePair) -> Fix:
    """Give a message the struct back that it had."""
    free = free_type_id(pair.previous, pair.current, moved.previous.type_id + 1)
    text = f"Put its fields back, and add a new message with the new ones beside it: type id {free} is free."
    drop = (moved.current.name,) if moved.renamed else ()
    return Fix(text, "messages", message_yaml(moved.previous), drop)


def restore_type_id(pair: MessagePair) -> Fix:
    """Give a message its type id back."""
    text = f"Restore `tlv_type: {pair.previous.type_id}`, or add a new message beside the old one."
    return Fix(text, f"messages.{pair.current.name}", f"tlv_type: {pair.previous.type_id}")


def restore_type_ids(pairs: tuple[MessagePair, ...]) -> Fix:
    """Give several messages their type ids back."""
    blocks = [message_yaml(_with_id(one.current, one.previous.type_id)) for one in pairs]
    return Fix("Restore both `tlv_type`.", "messages", "\n".join(blocks))


def _with_id(message: Message, type_id: int) -> Message:
    return evolve(message, type_id=type_id)


def fresh_type_id(pair: SchemaPair, new: Message, old: Message) -> Fix:
    """Give a new message an id of its own, and the old one back what it had."""
    before = pair.previous.messages.get(new.name)
    number = before.type_id if before is not None else free_type_id(pair.previous, pair.current, new.type_id)
    blocks = [message_yaml(_with_id(new, number))]
    if old.name not in pair.current.messages:
        blocks.append(message_yaml(old, deprecated=True))
    text = f"Next free type id: {number}. Keep `{old.name}` until no writer is left."
    if before is not None:
        text = f"Restore `tlv_type: {number}`."
    return Fix(text, "messages", "\n".join(blocks))


def unreserved_message(pair: SchemaPair, message: Message, name_taken: bool) -> Fix:
    """Give a message an id, and if need be a name, that nobody ever used."""
    number = message.type_id
    if pair.previous.by_id.get(number) is None:
        number = free_type_id(pair.previous, pair.current, number)
    name = f"{message.name}2" if name_taken else message.name
    text = f"Next free type id: {number}." + (f" Another name than `{message.name}`." if name_taken else "")
    return Fix(
        text,
        "messages",
        message_yaml(evolve(message, name=name, type_id=number)),
        (message.name,) if name_taken else (),
    )


def restore_domain(pair: MessagePair) -> Fix:
    """Send a message to its old topic again."""
    text = (
        f"Restore the domain; for a new topic add a new message with `domain: {pair.current.domain}` and publish both."
    )
    at = f"messages.{pair.current.name}"
    if pair.previous.domain is None:
        return Fix(text, at, drop=("domain",))
    return Fix(text, at, mapping({"domain": pair.previous.domain}))


def restore_secrecy(pair: MessagePair) -> Fix:
    """Hide payloads again."""
    old: dict[str, Json] = {"sensitivity": pair.previous.sensitivity, "log_payload": pair.previous.log_payload}
    kept = {key: value for key, value in old.items() if value is not None}
    drop = tuple(key for key, value in old.items() if value is None)
    return Fix("Restore it, or accept it with a reason.", f"messages.{pair.current.name}", mapping(kept), drop)


# --- fields ----------------------------------------------------------------------------------------------------------


def _fields_of(pair: MessagePair) -> str:
    return f"messages.{pair.current.name}.fields"


def _line(pair: MessagePair, text: str, field: Field, entry: dict[str, Json]) -> Fix:
    return Fix(text, _fields_of(pair), mapping({field.name: entry}))


def rename_field(pair: MessagePair, moved: Moved) -> Fix:
    """Record a rename."""
    text = f"Record it: `renamed_from: {moved.previous.name}`; if it is a different thing, give it a new tag."
    return _line(pair, text, moved.current, field_json(moved.current, renamed_from=moved.previous.name))


def stay_optional(pair: MessagePair, moved: Moved) -> Fix:
    """Leave a field optional."""
    text = "`optional: true`, or a `default`."
    return _line(pair, text, moved.current, field_json(moved.current, optional=True))


def stay_required(pair: MessagePair, moved: Moved) -> Fix:
    """Leave a field required."""
    text = "Leave it required; or deploy readers first, and let writers set it until old readers are gone."
    return _line(pair, text, moved.current, field_json(moved.current, without=("optional",)))


def restore_default(pair: MessagePair, moved: Moved) -> Fix:
    """Put a default back as it was."""
    old = moved.previous.default
    if old is MISSING:
        entry = field_json(moved.current, without=("default",))
        return _line(pair, "Leave it without a default.", moved.current, entry)
    entry = field_json(moved.current, default=old)
    return _line(pair, f"Keep `default: {flow(old)}`, or add a new field.", moved.current, entry)


def added_field(pair: MessagePair, pairs: FieldPairs, new: Field) -> Fix:
    """Make a new field one that old messages may lack, under a tag that is free."""
    changes: dict[str, Any] = {"optional": True}
    if new.tag in pair.previous.by_tag or any(not moved.same_tag for moved in pairs.kept):
        changes["tag"] = _free(pair, pairs, new)
    return _line(pair, "`optional: true`, or a `default`.", new, field_json(new, **changes))


def _free(pair: MessagePair, pairs: FieldPairs, new: Field) -> int:
    """The tag that `pin_tags` gives to an added field."""
    return pinned(pair, pairs)[new.name]


def fresh_tag(pair: MessagePair, pairs: FieldPairs, new: Field) -> Fix:
    """Move a field to a tag that nobody ever used; one that was there before goes back to its own."""
    before = next((moved.previous.tag for moved in pairs.kept if moved.current.name == new.name), None)
    tag = free_tag(pair.previous, pair.current) if before is None else before
    text = f"Next free tag: {tag}." if before is None else f"Restore tag {tag}."
    return _line(pair, text, new, field_json(new, tag=tag))


def restore_field(pair: MessagePair, old: Field) -> Fix:
    """Put a field back."""
    tag = old.tag if old.tag not in pair.current.by_tag else None
    changes: dict[str, Any] = {"tag": old.tag}
    text = "Keep it until no old reader is left; reserve tag and name when it goes."
    if tag is None:
        text += f" Tag {old.tag} is taken by `{pair.current.by_tag[old.tag].name}`, which has to leave it."
    reserved = pair.current.reserved
    free = _unused(reserved, {old.tag}, [old.name])
    also = None
    if free != reserved:
        yaml = mapping({"reserved": reserved_json(free, "tags")}) if free else ""
        at = f"messages.{pair.current.name}"
        also = Fix("Reserve it when it is gone.", at, yaml, () if free else ("reserved",))
    return evolve(_line(pair, text, old, field_json(old, **changes)), also=also)


def reserve(pair: MessagePair, gone: tuple[Field, ...]) -> Fix:
    """Reserve tags and names of fields that are gone."""
    both = _with_reserved(pair.current.reserved, gone)
    shown = flow(reserved_json(both, "tags"))
    return Fix(f"`reserved: {shown}`", f"messages.{pair.current.name}", f"reserved: {shown}")


def restore_reservation(pair: MessagePair) -> Fix:
    """Put reserved tags and names back, but for those in use."""
    used = {one.tag for one in pair.current.fields}
    free = _unused(pair.previous.reserved, used, pair.current.by_name)
    both = _merged(pair.current.reserved, free.numbers, free.names)
    yaml = mapping({"reserved": reserved_json(both, "tags")})
    return Fix("Put the reservation back.", f"messages.{pair.current.name}", yaml)


def _merged(reserved: Reserved, numbers: Ranges, names: Iterable[str]) -> Reserved:
    spans = sorted({*reserved.numbers, *(span for span in numbers if span not in reserved.numbers)})
    return Reserved(tuple(spans), tuple(dict.fromkeys([*reserved.names, *names])))


def _with_reserved(reserved: Reserved, gone: Iterable[Field]) -> Reserved:
    gone = tuple(gone)
    numbers = tuple((one.tag, one.tag) for one in gone if not in_ranges(one.tag, reserved.numbers))
    return _merged(reserved, numbers, (one.name for one in gone))


def _unused(reserved: Reserved, numbers: set[int], names: Iterable[str]) -> Reserved:
    """A reservation without what is in use."""
    spans: list[tuple[int, int]] = []
    for first, last in reserved.numbers:
        start = first
        for number in sorted(one for one in numbers if first <= one <= last):
            if start < number:
                spans.append((start, number - 1))
            start = number + 1
        if start <= last:
            spans.append((start, last))
    taken = set(names)
    return Reserved(tuple(spans), tuple(name for name in reserved.names if name not in taken))


# --- tags ------------------------------------------------------------------------------------------------------------


def pinned(pair: MessagePair, pairs: FieldPairs) -> dict[str, int]:
    """A tag for every field of the current message: the old one where it had one, else a free one."""
    tags = {moved.current.name: moved.previous.tag for moved in pairs.kept}
    taken = {one.tag for one in pair.previous.fields}
    reserved = pair.previous.reserved.numbers + pair.current.reserved.numbers
    candidate = 1
    for one in pair.current.fields:
        if one.name in tags:
            continue
        if one.explicit and one.tag not in taken and not in_ranges(one.tag, reserved):
            tags[one.name] = one.tag
            taken.add(one.tag)
    for one in pair.current.fields:
        if one.name in tags:
            continue
        while candidate in taken or in_ranges(candidate, reserved):
            candidate += 1
        tags[one.name] = candidate
        taken.add(candidate)
    return tags


def pin_tags(pair: MessagePair, pairs: FieldPairs) -> Fix:
    """Write every tag of a message out, the old ones as they were."""
    tags = pinned(pair, pairs)
    added = {one.name: one for one in pairs.added}
    entries: dict[str, Json] = {}
    softened = []
    for one in pair.current.fields:
        changes: dict[str, Any] = {"tag": tags[one.name]}
        if one.name in added and one.required:
            changes["optional"] = True
            softened.append(one.name)
        entries[one.name] = field_json(one, **changes)
    text = "Write the tags out; the old fields keep theirs, new ones take the next free."
    if softened:
        text += f" {', '.join(f'`{name}`' for name in softened)}: optional, since old messages lack it."
    head: dict[str, Json] = {}
    removed = [one for one in pairs.removed if not one.required]
    if removed:
        head["reserved"] = reserved_json(_with_reserved(pair.current.reserved, removed), "tags")
    body = "\n".join(f"  {line}" for line in mapping(entries).splitlines())
    yaml = "\n".join([*(mapping(head).splitlines()), "fields:", body])
    return Fix(text, f"messages.{pair.current.name}", yaml)


def restore_tags(pair: MessagePair, moves: tuple[Moved, ...]) -> Fix:
    """Give fields their tags back."""
    entries: dict[str, Json] = {
        moved.current.name: field_json(moved.current, tag=moved.previous.tag) for moved in moves
    }
    shown = ", ".join(str(moved.previous.tag) for moved in moves)
    return Fix(f"Restore tag{'s' if len(moves) > 1 else ''} {shown}.", _fields_of(pair), mapping(entries))


def separate_tags(pair: MessagePair, pairs: FieldPairs, moved: Moved) -> Fix:
    """Let a new field have a tag of its own, and the old one be again, or be reserved."""
    old, new = moved.previous, moved.current
    tag = _free(pair, pairs, new)
    changes: dict[str, Any] = {"tag": tag}
    if new.required:
        changes["optional"] = True
    entries: dict[str, Json] = {new.name: field_json(new, **changes)}
    text = f"Next free tag: {tag}"
    at = f"messages.{pair.current.name}"
    if old.name in pair.current.by_name:
        return Fix(f"{text}.", f"{at}.fields", mapping(entries))
    if old.required:
        entries = {old.name: field_json(old, tag=old.tag), **entries}
        return Fix(f"{text}; keep `{old.name}` until no old reader is left.", f"{at}.fields", mapping(entries))
    reserved = reserved_json(_with_reserved(pair.current.reserved, (old,)), "tags")
    fields: dict[str, Json] = {
        one.name: field_json(one, tag=one.tag) if one is not new else entries[new.name] for one in pair.current.fields
    }
    body = "\n".join(f"  {line}" for line in mapping(fields).splitlines())
    return Fix(f"{text}; reserve tag {old.tag}.", at, f"reserved: {flow(reserved)}\nfields:\n{body}")


# --- types and rules -------------------------------------------------------------------------------------------------


def new_field(pair: MessagePair, moved: Moved) -> Fix:
    """Keep the old field and add one of the new type beside it."""
    old, new = moved.previous, moved.current
    stem = "".join(char if char.isalnum() else "_" for char in (new.spelling or str(new.type)).lower()).strip("_")
    name = f"{new.name}_{stem}" if f"{new.name}_{stem}".isidentifier() else f"{new.name}_2"
    while name in pair.current.by_name:
        name += "_2"
    tag = free_tag(pair.previous, pair.current)
    kept = field_json(old, tag=new.tag)
    beside = field_json(new, without=("default", "renamed_from"), tag=tag, optional=True)
    entries: dict[str, Json] = {new.name: kept, name: beside}
    text = f"New field `{name}`, tag {tag}, beside the old one: write both, move readers, then retire `{new.name}`."
    return Fix(text, _fields_of(pair), mapping(entries))


def restore_rules(pair: MessagePair, moved: Moved) -> Fix:
    """Put value rules back as they were."""
    entry = field_json(moved.current, without=("validation",))
    if moved.previous.rules:
        entry["validation"] = [{rule.name: rule.argument} for rule in moved.previous.rules]
    text = (
        "Restore the rules; or go in two steps: to tighten, first make writers obey, then readers; to loosen, first "
        "readers, then writers."
    )
    return _line(pair, text, moved.current, entry)


def restore_type(name: str, old: Alias | EnumDef) -> Fix:
    """Put a definition under `types` back."""
    if isinstance(old, EnumDef):
        text = "Restore the enum; a new value goes to readers first (level backward)."
        return Fix(text, "types", mapping({name: enum_json(old)}))
    entry: dict[str, Json] = {"type": old.spelling or str(old.type)}
    if old.description:
        entry["description"] = old.description
    return Fix(f"Restore `{name}`, and add a new alias for the new type.", "types", mapping({name: entry}))
