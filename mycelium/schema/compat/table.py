"""Every rule of the checker: its id, category, severity where nothing breaks, why it is one, and what to do.

A finding that breaks a direction is an error, whatever stands here, but for what the experimental range caps.
`unprovable` gives the reason why no bytes can show a break that the rule reports; where it is empty, tests hold every
verdict of the rule against real bytes.
"""

from collections.abc import Mapping
from types import MappingProxyType
from typing import Final, Literal, TypeAlias

from attrs import frozen

__all__ = ["TABLE", "Category", "RuleInfo", "Severity"]

Severity: TypeAlias = Literal["info", "warning", "error"]
Category: TypeAlias = Literal["WIRE", "SOURCE", "ROUTING", "MEANING", "POLICY", "DOC"]


@frozen
class RuleInfo:
    """One rule."""

    id: str
    category: Category
    severity: Severity
    """Where the finding breaks nothing; `error` for rules whose every finding is a break."""
    why: str
    hint: str
    unprovable: str = ""


_NO_BYTES: Final = "nothing on the wire changes"
_VERSIONS: Final = "versions are compared in the handshake, not in payloads"
_STRUCTS: Final = "bytes that prove are payloads of the native form; the offsets prove this"
_EXPAND: Final = (
    "Add a new field with a fresh tag beside the old one (optional), write both, move readers, stop writing the old "
    "one, remove and reserve it."
)
_TWO_STEPS: Final = (
    "Go in two steps: to tighten, first make writers obey, then readers; to loosen, first readers, then writers."
)

_RULES: Final = (
    # --- the schema section ---
    RuleInfo(
        "SCHEMA_ID_CHANGED", "POLICY", "error",
        "Another `schema.id` is another protocol: peers refuse each other in the handshake.",
        "Restore the id, or treat this as a new protocol and bridge the two.", _VERSIONS,
    ),
    RuleInfo(
        "SCHEMA_VERSION_NOT_BUMPED", "POLICY", "warning",
        "The contract changed under the same `schema.version`, so people and logs cannot tell the two apart.",
        "Raise `schema.version` by one.", _VERSIONS,
    ),
    RuleInfo(
        "SCHEMA_VERSION_DECREASED", "POLICY", "warning",
        "`schema.version` went down: a roll-back, or a mistake.",
        "Use the old version plus one; a roll-back is a new version too.", _VERSIONS,
    ),
    RuleInfo(
        "SCHEMA_VERSION_BELOW_MIN_COMPATIBLE", "POLICY", "error",
        "Old readers refuse every version below their `min_compatible`.",
        "Raise `version` to at least the old `min_compatible`.", _VERSIONS,
    ),
    RuleInfo(
        "MIN_COMPATIBLE_EXCLUDES_OLD", "POLICY", "error",
        "New readers refuse data of versions below their `min_compatible`, and the previous version is one of them.",
        "If that is meant, accept it (`mycelium schema accept`); else lower `min_compatible`.", _VERSIONS,
    ),
    RuleInfo(
        "MIN_COMPATIBLE_RAISED", "POLICY", "info",
        "Versions below the new `min_compatible` are no longer read; transitive checks leave them out.",
        "Nothing, if no data that old is left.", _VERSIONS,
    ),
    RuleInfo(
        "MIN_COMPATIBLE_LOWERED", "POLICY", "warning",
        "A lower `min_compatible` claims that older data can be read again, which only a transitive check can confirm.",
        "Run the check with `--level full-transitive` over the history.", _VERSIONS,
    ),
    RuleInfo(
        "MIN_COMPATIBLE_NOT_RAISED", "POLICY", "warning",
        "New readers cannot read what the previous version writes, yet `min_compatible` still admits it.",
        "Set `min_compatible` to the new version once the break is meant.", _VERSIONS,
    ),
    RuleInfo(
        "TAG_RANGE_CHANGED", "POLICY", "info",
        "`tag_ranges` guides people and the loader; it is not on the wire.",
        "Nothing.", _NO_BYTES,
    ),
    # --- messages ---
    RuleInfo(
        "MESSAGE_ADDED", "WIRE", "info",
        "Readers skip type ids that they do not know; one that was told to fail on them fails.",
        "Where readers fail on unknown types, deploy readers that skip them first.",
    ),
    RuleInfo(
        "MESSAGE_REMOVED", "WIRE", "error",
        "New readers drop what old writers still send.",
        "Keep it with `deprecated: true` and remove it when no writer is left; then reserve its id and name.",
    ),
    RuleInfo(
        "MESSAGE_RENAMED", "SOURCE", "warning",
        "A message's name is not on the wire, but code imports it.",
        "Record it: `renamed_from: <the old name>`.", _NO_BYTES,
    ),
    RuleInfo(
        "TYPE_ID_CHANGED", "WIRE", "error",
        "Each side gets frames with a type id that it does not know.",
        "Restore `tlv_type`, or add a new message beside the old one.",
    ),
    RuleInfo(
        "TYPE_ID_SWAPPED", "WIRE", "error",
        "Frames of one message are read as another, without an error where the shapes agree.",
        "Restore both `tlv_type`.",
    ),
    RuleInfo(
        "TYPE_ID_REUSED", "WIRE", "error",
        "Frames of the message that had the type id are read as the one that has it now.",
        "Take the next free type id.",
    ),
    RuleInfo(
        "RESERVED_TYPE_ID_USED", "POLICY", "error",
        "A reserved type id or name was in use once; a peer that still uses it is read wrongly.",
        "Take the next free type id and another name.",
        "the peers that used the reserved id are older than both files",
    ),
    RuleInfo(
        "MESSAGE_TOPIC_CHANGED", "ROUTING", "error",
        "Subscribers of the old topic no longer get the message.",
        "Add a new message in the new domain and publish both until subscribers moved.",
        "topics route messages inside bus and bridge; payloads do not carry them",
    ),
    RuleInfo(
        "MESSAGE_DOMAIN_RENAMED_SAME_TOPIC", "DOC", "info",
        "The domain is spelled differently and still stands for the same topic.",
        "Nothing.", _NO_BYTES,
    ),
    RuleInfo(
        "PRIOR_MESSAGE_REQUIRED", "POLICY", "warning",
        "Publishers on the old schema may not send the required message first.",
        "Make receivers tolerate a missing prior message until all publishers are new.", _NO_BYTES,
    ),
    RuleInfo(
        "SENSITIVITY_LOWERED", "POLICY", "warning",
        "Payloads that were redacted or kept out of logs may now be shown there.",
        "Restore it, or accept it with a reason (`mycelium schema accept`).", _NO_BYTES,
    ),
    RuleInfo(
        "MESSAGE_METADATA_CHANGED", "DOC", "info",
        "Labels, service levels, key, retain, qos and keys for tools do not change payloads.",
        "Nothing.", _NO_BYTES,
    ),
    RuleInfo("MESSAGE_DOC_CHANGED", "DOC", "info", "Descriptions are for people.", "Nothing.", _NO_BYTES),
    # --- fields: presence and identity ---
    RuleInfo(
        "FIELD_ADDED_REQUIRED", "WIRE", "error",
        "Old messages do not carry the tag, and a required field that is absent is an error.",
        "Make it `optional: true`, or give it a `default`.",
    ),
    RuleInfo(
        "FIELD_ADDED_OPTIONAL", "WIRE", "info",
        "New readers take its absence for None; old readers skip the unknown tag.",
        "Nothing.",
    ),
    RuleInfo(
        "FIELD_ADDED_WITH_DEFAULT", "WIRE", "info",
        "New readers fill in the default; old readers skip the unknown tag.",
        "Nothing.",
    ),
    RuleInfo(
        "FIELD_REMOVED_REQUIRED", "WIRE", "error",
        "Old readers miss a required field in what new writers send.",
        "Keep it until no old reader is left; reserve tag and name when it goes.",
    ),
    RuleInfo(
        "FIELD_REMOVED_OPTIONAL", "WIRE", "info",
        "New readers skip the tag; old readers take its absence for None.",
        "Reserve its tag and name.",
    ),
    RuleInfo(
        "FIELD_REMOVED_WITH_DEFAULT", "WIRE", "info",
        "New readers skip the tag; old readers fill in their default.",
        "Reserve its tag and name.",
    ),
    RuleInfo(
        "FIELD_TAG_NOT_RESERVED", "POLICY", "warning",
        "The tag of a removed field is free: whoever takes it breaks old data, and no check without history sees it.",
        "Reserve the tag and the name.", _NO_BYTES,
    ),
    RuleInfo(
        "FIELD_TAG_SHIFTED", "WIRE", "error",
        "Tags that are not written out follow the position in the file, so fields behind an inserted, removed or moved "
        "one get other tags.",
        "Pin the tags (`mycelium schema pin-tags`), or add fields at the end only.",
    ),
    RuleInfo(
        "FIELD_TAG_CHANGED", "WIRE", "error",
        "The tag is the field's identity on the wire: under another tag its value is lost or read as another field.",
        "Restore the tag.",
    ),
    RuleInfo(
        "FIELD_RENAMED", "SOURCE", "warning",
        "A field's name is not on the wire, but code uses it.",
        "Record it: `renamed_from: <the old name>`; if it is a different thing, give it a new tag.", _NO_BYTES,
    ),
    RuleInfo(
        "FIELD_TAG_REUSED", "WIRE", "error",
        "Bytes of the field that had the tag are read as the one that has it now.",
        "Take the next free tag and reserve the old one.",
    ),
    RuleInfo(
        "FIELD_RESERVED_TAG_USED", "POLICY", "error",
        "A reserved tag was in use once: data of that time is read as the new field.",
        "Take the next free tag.",
        "the peers that used the reserved tag are older than both files",
    ),
    RuleInfo(
        "FIELD_RESERVED_NAME_USED", "POLICY", "warning",
        "The name meant something else once. It is not on the wire, but it is in JSON and in people's heads.",
        "Take another name.", _NO_BYTES,
    ),
    RuleInfo("RESERVED_ADDED", "POLICY", "info", "Reserving numbers and names is always safe.", "Nothing.", _NO_BYTES),
    RuleInfo(
        "RESERVED_REMOVED", "POLICY", "warning",
        "What was reserved may be used again, and old data is then read wrongly.",
        "Put the reservation back.", _NO_BYTES,
    ),
    RuleInfo("FIELD_DEPRECATED", "DOC", "info", "A note to people; bytes stay.", "Nothing.", _NO_BYTES),
    RuleInfo("FIELD_UNDEPRECATED", "DOC", "info", "A note to people; bytes stay.", "Nothing.", _NO_BYTES),
    RuleInfo(
        "FIELD_DOC_CHANGED", "DOC", "info",
        "Descriptions and keys for tools are not on the wire.",
        "Nothing.", _NO_BYTES,
    ),
    # --- fields: optionality and defaults ---
    RuleInfo(
        "FIELD_BECAME_REQUIRED", "WIRE", "error",
        "Old writers may leave it out, and new readers need it.",
        "Give it a default, or leave it optional.",
    ),
    RuleInfo(
        "FIELD_BECAME_REQUIRED_WITH_DEFAULT", "WIRE", "info",
        "The default stands in where old writers leave it out; new writers always write it.",
        "Nothing.",
    ),
    RuleInfo(
        "FIELD_BECAME_OPTIONAL", "WIRE", "info",
        "New writers may leave it out, and old readers need it unless they have a default.",
        "Leave it required, or deploy readers first and keep writers setting it until old readers are gone.",
    ),
    RuleInfo(
        "FIELD_DEFAULT_ADDED", "MEANING", "info",
        "A required field is written anyway; of an optional one, absence now reads as the default instead of None.",
        "Leave an optional field without a default.",
    ),
    RuleInfo(
        "FIELD_DEFAULT_CHANGED", "MEANING", "warning",
        "Where the field is absent, the two sides read different values.",
        "Say so in the changelog, or add a new field.",
    ),
    RuleInfo(
        "FIELD_DEFAULT_REMOVED", "MEANING", "warning",
        "Data from before the field cannot be read without the default; an optional field's absence now reads as None.",
        "Keep the default, or raise `min_compatible`.",
    ),
    # --- types ---
    RuleInfo(
        "FIELD_TYPE_CHANGED", "WIRE", "info",
        "The value is written in another form. Widening helps nobody here: lengths are fixed, there are no varints.",
        _EXPAND,
    ),
    RuleInfo(
        "FIELD_TYPE_REINTERPRETED", "WIRE", "info",
        "Both types take as many bytes, so values are read without an error and mean something else.",
        _EXPAND + " If both mean the same to you, accept it.",
    ),
    RuleInfo(
        "FIELD_ARRAY_LENGTH_CHANGED", "WIRE", "error",
        "An array has exactly its length; every other length is an error.",
        _EXPAND,
    ),
    RuleInfo(
        "TYPE_ALIAS_RENAMED", "DOC", "info",
        "Names under `types` are not on the wire; what they stand for is the same.",
        "Nothing.", _NO_BYTES,
    ),
    RuleInfo(
        "TYPE_ALIAS_CHANGED", "WIRE", "info",
        "The text of the messages is the same, but what the name stands for is not.",
        "Restore it, and add a new alias for the new type.",
    ),
    RuleInfo(
        "ENUM_VALUE_ADDED", "WIRE", "info",
        "A closed enum's old readers reject the new number; an open one's keep it as an int.",
        "Drop `open: false` one release before, or deploy readers first.",
    ),
    RuleInfo(
        "ENUM_VALUE_REMOVED", "WIRE", "warning",
        "Old data may hold the number: a closed enum rejects it, an open one keeps it as an int.",
        "Keep the value and say in its description that it is deprecated.",
    ),
    RuleInfo(
        "ENUM_VALUE_RENAMED", "SOURCE", "warning",
        "The number is the identity; the name is in code and JSON.",
        "Keep the name unless code and JSON move with it.", _NO_BYTES,
    ),
    RuleInfo(
        "ENUM_VALUE_NUMBER_CHANGED", "WIRE", "error",
        "The two sides write different numbers for the same name.",
        "Restore the numbers.",
    ),
    RuleInfo(
        "ENUM_REPR_CHANGED", "WIRE", "info",
        "The underlying integer decides length and sign of every value.",
        "Restore `repr`, or add a new enum.",
    ),
    RuleInfo(
        "ENUM_OPENED", "WIRE", "error",
        "New writers may pass on numbers that have no name; old readers reject them.",
        "Deploy readers first.",
    ),
    RuleInfo(
        "ENUM_CLOSED", "WIRE", "error",
        "Old writers may pass on numbers that have no name; new readers reject them.",
        "Leave it open.",
    ),
    # --- validation ---
    RuleInfo(
        "VALIDATION_TIGHTENED", "WIRE", "warning",
        "New readers reject values that old writers may send.",
        _TWO_STEPS,
    ),
    RuleInfo(
        "VALIDATION_LOOSENED", "WIRE", "warning",
        "Old readers reject values that new writers may send.",
        _TWO_STEPS,
    ),
    RuleInfo(
        "VALIDATION_OPAQUE_CHANGED", "WIRE", "warning",
        "What a custom rule or `monotonic` accepts is not known here, so nothing can be said of either direction.",
        _TWO_STEPS, "the rule is application code, or keeps state",
    ),
    # --- layout, under --profile rust ---
    RuleInfo(
        "LAYOUT_CHANGED", "WIRE", "error",
        "A struct of the Rust dialect has no tags: names, order, sizes and offsets of its fields must be equal, and "
        "`max_length` is a size.",
        "Put the fields back, and add a new message with the new ones beside it.", _STRUCTS,
    ),
    RuleInfo(
        "LAYOUT_MISSING", "WIRE", "error",
        "Structs of the Rust dialect have no integers of 128 bits, no maps, no nested messages, and no vectors but of "
        "u8 and [u8; N].",
        "Use types that have a layout, or keep the message in a file that no Rust peer goes by.", _STRUCTS,
    ),
)  # fmt: skip

TABLE: Final[Mapping[str, RuleInfo]] = MappingProxyType({rule.id: rule for rule in _RULES})
"""All rules by id, in the order of the documentation."""
