"""Checks of a whole file: what tests/broken does not show one by one."""

import pytest

from mycelium.schema.errors import ContractError
from mycelium.schema.nodes import MappingNode, ScalarNode
from mycelium.schema.parse import parse, parse_text
from mycelium.schema.source import read_yaml


def faults(text):
    with pytest.raises(ContractError) as caught:
        parse_text(text, "f")
    return [f"{fault.path}: {fault.problem}; {fault.remedy}" for fault in caught.value.faults]


def message(fields, **keys):
    said = "".join(f", {key}: {value}" for key, value in keys.items())
    return f"messages: {{M: {{tlv_type: 1001{said}, fields: {{{fields}}}}}}}"


# --- type ids --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("type_id", [1000, 49999, 50000, 65535])
def test_the_default_ranges_hold_every_id_that_is_not_the_core_protocols(type_id):
    assert parse_text(f"messages: {{M: {{tlv_type: {type_id}, fields: {{}}}}}}").by_id[type_id].name == "M"


def test_ids_1_to_999_are_refused_whatever_tag_ranges_says():
    (told,) = faults("tag_ranges: {app: 1-49999}\nmessages: {M: {tlv_type: 999, fields: {}}}")
    assert "the type ids 1 to 999 belong to the core protocol" in told


def test_the_remedy_names_an_id_that_is_neither_used_nor_reserved():
    text = "schema: {reserved: {type_ids: [1000-1004]}}\nmessages:\n"
    text += "".join(f"  M{each}: {{tlv_type: {each}, fields: {{}}}}\n" for each in (1005, 1006, 1003))
    (told,) = faults(text)
    assert told == "messages.M1003.tlv_type: the type id 1003 is reserved; take another id; 1007 is free"


# --- tags ------------------------------------------------------------------------------------------------------------


def test_tags_and_positions_may_be_mixed_as_long_as_they_do_not_collide():
    fields = parse_text(message("a: {type: u8}, b: {type: u8, tag: 61439}, c: {type: u8}")).messages["M"].fields
    assert [one.tag for one in fields] == [1, 61439, 3]


def test_a_position_that_is_reserved_or_taken_is_told_with_a_free_tag():
    told = faults(message("a: {type: u8}, b: {type: u8, tag: 1}, c: {type: u8}", reserved="{tags: [3, 2-5]}"))
    assert told == [
        f"messages.M.fields.{path}.tag: the tag {tag}, which is the field's position, is {reason}; "
        "write `tag: 6`, which is free"
        for path, tag, reason in (("a", 1, "b's already"), ("c", 3, "reserved"))
    ]


def test_a_message_whose_tags_are_all_reserved_has_none_free():
    (told,) = faults(message("a: {type: u8}", reserved="{tags: [1-61439]}"))
    assert told.endswith("is reserved; none is free: drop a reservation")


def test_a_message_has_at_most_as_many_fields_as_there_are_tags():
    place = ("f", 1, 1)
    one = read_yaml("{type: u8}", "f")
    fields = MappingNode(tuple((ScalarNode(f"f{each}", place), one) for each in range(61440)), place)
    keys = {"tlv_type": ScalarNode(1001, place), "fields": fields}
    told = MappingNode(tuple((ScalarNode(key, place), value) for key, value in keys.items()), place)
    for name in ("M", "messages"):
        told = MappingNode(((ScalarNode(name, place), told),), place)
    with pytest.raises(ContractError) as caught:
        parse(told)
    (fault,) = caught.value.faults
    assert fault.path == "messages.M.fields.f61439.tag"
    assert fault.problem == "the tag 61440, which is the field's position, is above 61439"


def test_a_tag_that_cannot_be_read_is_told_once():
    told = faults(message("a: {type: u8, tag: x}, b: {type: u8, tag: 1}"))
    assert [each.partition(":")[0] for each in told] == ["messages.M.fields.a.tag"]


# --- ranges, versions, names -----------------------------------------------------------------------------------------


def test_every_pair_of_ranges_that_overlap_is_told():
    told = faults("tag_ranges: {core: 1-1000, app: 1000-50000, experimental: 50000-65535}")
    assert told == [
        "tag_ranges.app: the range 1000-50000 overlaps core, 1-1000; let each id belong to one range",
        "tag_ranges.experimental: the range 50000-65535 overlaps app, 1000-50000; let each id belong to one range",
    ]


def test_min_compatible_above_version_is_told_where_one_of_them_stands():
    assert faults("schema: {version: 0, min_compatible: 1}")[0].startswith("schema.min_compatible: min_compatible 1")


def test_a_field_is_not_renamed_from_itself():
    (told,) = faults(message("a: {type: u8, renamed_from: a}"))
    assert told.startswith("messages.M.fields.a.renamed_from: is the name that the field has")


@pytest.mark.parametrize("type_", ["u8", "f64", "bool", "Side", "String", "bytes", "[u8; 4]"])
def test_keys_are_of_kinds_that_can_be_compared(type_):
    text = f"types: {{Side: {{enum: {{a: 1}}}}}}\n{message(f'k: {{type: {type_!r}, optional: true}}', key='k')}"
    assert parse_text(text).messages["M"].key == ("k",)


@pytest.mark.parametrize("type_", ["Vec<u16>", "[u16; 4]", "Map<u8, u8>", "M"])
def test_collections_and_messages_are_no_keys(type_):
    (told,) = faults(message(f"k: {{type: {type_!r}, optional: true}}", key="[k]"))
    assert "which cannot be compared as a key" in told


def test_every_wrong_part_of_a_key_is_told():
    told = faults(message("a: {type: u8}", key="[a, a, b]"))
    assert told == [
        "messages.M.key: the field a comes twice; name each field once",
        "messages.M.key: M has no field b; use one of: a",
    ]
    assert faults(message("", key="a")) == ["messages.M.key: M has no field a; give the message fields first"]


# --- messages inside messages ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("type_", ["Vec<M>", "Map<u8, M>", "Vec<Map<String, Vec<M>>>", "M"])
def test_a_message_may_contain_itself_through_vec_map_or_optional(type_):
    text = message(f"inner: {{type: {type_!r}{', optional: true' if type_ == 'M' else ''}}}")
    assert parse_text(text).messages["M"].fields


def test_each_circle_of_messages_is_told_once():
    text = "messages:\n" + "".join(
        f"  {name}: {{tlv_type: {1001 + index}, fields: {{{fields}}}}}\n"
        for index, (name, fields) in enumerate(
            {
                "A": "b: {type: B}, c: {type: C}",
                "B": "c: {type: C, optional: true}, d: {type: D}",
                "C": "a: {type: A}",
                "D": "d: {type: D}",
            }.items()
        )
    )
    assert [told.partition(";")[0] for told in faults(text)] == [
        "messages.C.fields.a.type: the message holds itself: A -> C -> A",
        "messages.D.fields.d.type: the message holds itself: D -> D",
    ]


def test_a_default_does_not_end_a_circle():
    (told,) = faults(message("inner: {type: M, default: {}}"))
    assert "messages are nested more than 16 deep" in told or "the message holds itself" in told


def chain(count):
    inner = "".join(
        f"  M{each}: {{tlv_type: {1000 + each}, fields: {{m: {{type: M{each + 1}}}}}}}\n" for each in range(count - 1)
    )
    return f"messages:\n{inner}  M{count - 1}: {{tlv_type: {999 + count}, fields: {{}}}}\n"


def test_sixteen_messages_inside_one_another_are_allowed_and_no_more():
    assert len(parse_text(chain(16)).messages) == 16
    assert [told.partition(":")[0] for told in faults(chain(17))] == ["messages.M0"]
    assert [told.partition(":")[0] for told in faults(chain(40))] == ["messages.M23"]


def test_a_long_circle_is_shortened():
    names = [f"M{each}" for each in range(500)]
    text = "messages:\n" + "".join(
        f"  {name}: {{tlv_type: {1000 + each}, fields: {{m: {{type: {names[(each + 1) % 500]}}}}}}}\n"
        for each, name in enumerate(names)
    )
    told = faults(text)
    assert any("holds itself: M0 -> M1 -> " in each and each.count("->") == 20 for each in told)
