"""Classes through an edit: what user code imported stays the type, for messages made before and after it."""

import gc
import linecache
import pickle
import threading
import tracemalloc
import weakref

import attrs
import pytest

import mycelium
from mycelium.handle import Contracts
from mycelium.schema.parse import parse_text

BEFORE = """
types:
  Side: {enum: {buy: 1, sell: 2}, open: false}
messages:
  Leg: {tlv_type: 1001, fields: {price: {type: f64}}}
  Order:
    tlv_type: 1000
    fields:
      id: {type: u64, tag: 1}
      side: {type: Side, tag: 2}
      note: {type: String, tag: 3, optional: true}
      leg: {type: Leg, tag: 4, optional: true}
      venue: {type: u16, tag: 5, default: 7}
  Quiet: {tlv_type: 1002, fields: {x: {type: u8}}}
"""
AFTER = """
schema: {id: 0x4D594345, version: 2, min_compatible: 1}
types:
  Side: {enum: {buy: 1, sell: 2, hold: 3}, open: false}
messages:
  Leg: {tlv_type: 1001, fields: {price: {type: f64}, size: {type: u32, default: 1}}}
  Order:
    tlv_type: 1000
    domain: Market
    description: with more
    fields:
      tags: {type: Vec<String>, tag: 9, default: [x]}
      number: {type: u64, tag: 1, renamed_from: id}
      side: {type: Side, tag: 2}
      leg: {type: Leg, tag: 4, optional: true}
      extra: {type: String, tag: 10, optional: true}
  Quiet: {tlv_type: 1002, fields: {x: {type: u8}}}
  New: {tlv_type: 1003, fields: {}}
"""


def edited(contracts, text):
    contracts.apply(parse_text(text))


@pytest.fixture
def types():
    return mycelium.load(BEFORE)


def test_the_imported_name_constructs_the_new_fields_and_stays_the_type(types):
    Order, Quiet = types.Order, types.Quiet  # noqa: N806
    before = Order(1, types.Side.buy, note="hi")
    edited(types, AFTER)
    after = Order(number=1, side=types.Side.hold, extra="e")
    assert types.Order is Order
    assert types.Quiet is Quiet
    assert isinstance(before, Order)
    assert isinstance(after, Order)
    assert (Order.TOPIC, Order.__doc__.splitlines()[0]) == ("market", "with more")
    assert types.New.TYPE_ID == 1003


def test_known_fields_keep_their_positions_and_new_ones_follow(types):
    Order = types.Order  # noqa: N806
    edited(types, AFTER)
    assert Order.__match_args__ == ("number", "side", "leg", "tags", "extra")
    assert [one.name for one in attrs.fields(Order)] == list(Order.__match_args__)
    order = Order(5, 2, types.Leg(1.0))
    assert (order.number, order.side, order.leg.size) == (5, 2, 1)


def test_an_old_instance_reads_new_fields_as_their_defaults(types):
    before = types.Order(1, 1, leg=types.Leg(2.0))
    edited(types, AFTER)
    assert before.tags == ["x"]
    assert before.tags is before.tags
    assert before.extra is None
    assert before.leg.size == 1
    assert types.Order(1, 1).tags is not before.tags


def test_a_renamed_field_reads_under_both_names_on_old_and_new_instances(types):
    before = types.Order(1, 1)
    edited(types, AFTER)
    after = types.Order(2, 1)
    assert (before.id, before.number, after.id, after.number) == (1, 1, 2, 2)
    edited(
        types,
        AFTER.replace("number: {type: u64, tag: 1, renamed_from: id}", "no: {type: u64, tag: 1, renamed_from: number}"),
    )
    latest = types.Order(3, 1)
    assert [(one.id, one.number, one.no) for one in (before, after, latest)] == [(1, 1, 1), (2, 2, 2), (3, 3, 3)]


def test_a_renamed_field_is_given_under_either_name_to_the_constructor_and_in_json(types):
    edited(types, AFTER)
    assert types.Order(id=1, side=1) == types.Order(number=1, side=1) == attrs.evolve(types.Order(2, 1), number=1)
    with pytest.raises(TypeError, match="multiple values|got"):
        types.Order(1, 1, id=1)
    assert types.from_json(types.Order, '{"id": 1, "side": "buy"}') == types.Order(1, 1)
    with pytest.raises(TypeError, match="unexpected keyword argument 'nonsense'"):
        types.Order(1, 1, nonsense=1)


def test_a_removed_field_reads_as_none_or_its_default_on_new_instances(types):
    before = types.Order(1, 1, note="kept", venue=9)
    edited(types, AFTER)
    after = types.Order(1, 1)
    assert (before.note, before.venue) == ("kept", 9)
    assert (after.note, after.venue) == (None, 7)


def test_old_instances_are_written_and_equal_new_ones(types):
    before = types.Order(1, 1)
    edited(types, AFTER)
    assert types.Order.from_bytes(before.to_bytes()) == types.Order(1, 1) == before


def test_hashes_do_not_change_so_sets_and_dictionaries_go_on_working(types):
    before = types.Order(1, 1, note="n")
    known = {before: "found"}
    code = hash(before)
    edited(types, AFTER)
    assert hash(before) == code
    assert known[before] == "found"
    assert hash(types.Order(1, 1)) == hash(types.Order(number=1, side=1))


def test_an_enum_keeps_its_class_and_gains_members(types):
    Side = types.Side  # noqa: N806
    edited(types, AFTER)
    assert types.Side is Side
    assert Side.hold == 3
    assert Side(3) is Side.hold
    assert Side["hold"] is Side.hold
    assert [one.name for one in Side] == ["buy", "sell", "hold"]
    assert repr(Side.hold) == "<Side.hold: 3>"
    assert types.Order.from_bytes(types.Order(1, 3).to_bytes()).side is Side.hold
    assert pickle.loads(pickle.dumps(types.Order(1, Side.hold))).side is Side.hold


def test_a_renamed_message_is_reached_under_both_names(types):
    Quiet = types.Quiet  # noqa: N806
    edited(types, BEFORE.replace("Quiet: {tlv_type: 1002", "Silent: {tlv_type: 1002, renamed_from: Quiet"))
    assert types.Silent is Quiet
    assert types["Quiet"] is Quiet
    assert types.Quiet is Quiet
    assert repr(Quiet(1)) == "Silent(x=1)"
    assert "Quiet" not in [cls.__name__ for cls in types]


def test_a_message_that_was_renamed_twice_is_reached_under_all_its_names(types):
    Quiet = types.Quiet  # noqa: N806
    for old, new in (("Quiet", "Silent"), ("Silent", "Mute")):
        edited(types, BEFORE.replace("Quiet: {tlv_type: 1002", f"{new}: {{tlv_type: 1002, renamed_from: {old}"))
    assert types["Quiet"] is types["Silent"] is types["Mute"] is Quiet
    assert types.Quiet is types.Silent is types.Mute is Quiet
    assert repr(Quiet(1)) == "Mute(x=1)"
    edited(types, BEFORE.replace("Quiet: {tlv_type: 1002", "Other: {tlv_type: 1003"))
    for name in ("Quiet", "Silent", "Mute"):
        assert not hasattr(types, name)
        with pytest.raises(mycelium.UnknownTypeError):
            types[name]


def test_only_what_changed_and_what_holds_it_is_rebuilt(types):
    codecs = {name: types.registry.codec_of(name) for name in ("Leg", "Order", "Quiet")}
    edited(types, BEFORE.replace("price: {type: f64}", "price: {type: f64}, size: {type: u32, default: 1}"))
    rebuilt = {name for name, codec in codecs.items() if types.registry.codec_of(name) is not codec}
    assert rebuilt == {"Leg", "Order"}


def test_a_match_statement_sees_new_positions(types):
    edited(types, AFTER)
    match types.Order(1, 1):
        case types.Order(number=number, tags=tags):
            assert (number, tags) == (1, ["x"])
        case _:
            pytest.fail("no match")


def test_a_class_that_nobody_had_asked_for_is_made_for_the_new_contract_with_known_positions(types):
    edited(types, AFTER)
    assert types.Order.__match_args__[:2] == ("number", "side")


def test_retired_generations_are_collected(types):
    for cls in types:
        assert cls.__name__
    types.Order.from_bytes(types.Order(1, 1).to_bytes())
    registry = weakref.ref(types.registry)
    schema = weakref.ref(types.registry.schema)
    codec = weakref.ref(types.registry.codec_of("Order"))
    edited(types, AFTER)
    gc.collect()
    assert (registry(), schema(), codec()) == (None, None, None)


@pytest.mark.slow
def test_edits_leak_no_memory(types):
    def cycle(times):
        for number in range(times):
            text = AFTER if number % 2 else BEFORE
            types.apply(schemas[text])
            order = types.Order(**{"number" if number % 2 else "id": 1}, side=1)
            types.Order.from_bytes(order.to_bytes())

    schemas = {text: parse_text(text) for text in (BEFORE, AFTER)}
    cycle(6)
    tracemalloc.start()
    grown = []
    for _ in range(3):  # what other threads do meanwhile grows once, a leak grows each time
        gc.collect()
        before, objects = tracemalloc.get_traced_memory()[0], len(gc.get_objects())
        cycle(30)
        gc.collect()
        grown.append((tracemalloc.get_traced_memory()[0] - before, len(gc.get_objects()) - objects))
    tracemalloc.stop()
    assert min(size for size, _ in grown) < 16 * 1024
    assert min(count for _, count in grown) < 100


def test_apply_needs_the_same_handle_not_the_same_file():
    contracts = Contracts(mycelium.load(BEFORE).schema)
    edited(contracts, AFTER)
    assert contracts.schema.version == 2


def test_a_dropped_handle_is_collected_with_its_classes_also_with_optional_nested_fields():
    contracts = mycelium.load(BEFORE)
    cls, lineage = weakref.ref(contracts.Order), weakref.ref(contracts.registry.lineage)
    contracts.Order.from_bytes(contracts.Order(1, 1, leg=contracts.Leg(1.0)).to_bytes())
    del contracts
    gc.collect()
    assert (cls(), lineage()) == (None, None)


class Kept:
    """What somebody has worked out from a generation."""

    def __init__(self, lineage):
        self.lineage, self.cleared = lineage, []

    def clear(self):
        self.cleared.append(self.lineage.current.schema.version)


def test_what_was_worked_out_from_a_generation_is_cleared_when_the_next_one_is_in_force():
    contracts = mycelium.load(BEFORE)
    lineage = contracts.registry.lineage
    kept, other = Kept(lineage), Kept(lineage)
    lineage.watch_over(kept)
    lineage.watch_over(other)
    edited(contracts, AFTER)
    assert (kept.cleared, other.cleared) == ([2], [2])
    left = weakref.ref(other)
    del other
    gc.collect()
    assert left() is None
    edited(contracts, BEFORE)
    assert kept.cleared == [2, contracts.schema.version]


def test_threads_that_ask_for_classes_and_codecs_at_once_do_not_wait_for_each_other():
    for _ in range(30):
        contracts = mycelium.load(BEFORE)
        start = threading.Barrier(4)
        seen = []

        def ask(what, contracts=contracts, start=start, seen=seen):
            start.wait()
            seen.append(getattr(contracts.registry.entry("Order"), what))

        threads = [threading.Thread(target=ask, args=(what,), daemon=True) for what in ("cls", "codec") * 2]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(10)
        assert len(seen) == 4
        assert len(set(map(id, seen))) == 2


def test_pickles_survive_a_renamed_message_and_stricter_rules():
    text = "schema: {id: 99, version: 1, min_compatible: 1}\n"
    text += "messages:\n  A: {tlv_type: 1000, fields: {v: {type: String}}}\n"
    types = mycelium.load(text)
    data = pickle.dumps(types.A("too long"))
    edited(types, text.replace("A:", "B:").replace("1000,", "1000, renamed_from: A,"))
    assert pickle.loads(data) == types.B("too long")
    edited(types, text.replace("A:", "B:").replace("String}", "String, validation: [{max_length: 3}]}"))
    assert pickle.loads(data) == types.B("too long")
    with pytest.raises(mycelium.DecodeError):
        types.B.from_bytes(types.B("too long").to_bytes())


@pytest.mark.slow
def test_a_thousand_edits_of_a_hundred_messages_leave_no_class_codec_or_cache_entry(types):
    def text(version, more):
        extra = ", extra: {type: u32, default: 1}" if more else ""
        lines = [f"schema: {{id: 9, version: {version}, min_compatible: 1}}", "messages:"]
        lines += [
            f"  M{n}: {{tlv_type: {1000 + n}, fields: {{a: {{type: u64}}{extra if n < 5 else ''}}}}}"
            for n in range(100)
        ]
        return "\n".join(lines) + "\n"

    schemas = [parse_text(text(version, version % 2)) for version in (1, 2)]
    contracts = Contracts(schemas[0])

    def cycle(times):
        for number in range(times):
            contracts.apply(schemas[number % 2])
            for name in ("M0", "M4", "M50"):
                contracts[name].from_bytes(contracts[name](1).to_bytes())

    def held():
        gc.collect()
        objects = gc.get_objects()
        classes = sum(isinstance(each, type) and issubclass(each, mycelium.Message) for each in objects)
        codecs = sum(type(each).__name__ == "Codec" for each in objects)
        return classes, codecs, len(linecache.cache)

    cycle(4)
    before = held()
    cycle(1000)
    assert held() == before


MANY = (
    "messages:\n  Wide: {tlv_type: 1000, fields: {a: {type: u8, tag: 1}, __x: {type: u8, tag: 2, optional: true}%s}}\n"
)


def test_an_edit_may_add_any_number_of_fields():
    types = mycelium.load(MANY % "")
    Wide = types.Wide  # noqa: N806
    before = Wide(1, 2)
    for count in (3, 9):
        names = [f"n{number}" for number in range(count)]
        edited(types, MANY % "".join(f", {name}: {{type: 'Vec<u8>', default: '0x01'}}" for name in names))
        after = Wide(1, 2, **{name: bytes([number]) for number, name in enumerate(names)})
        assert [getattr(after, name) for name in names] == [bytes([number]) for number in range(count)]
        assert [getattr(before, name) for name in names] == [b"\1"] * count
        assert Wide.from_bytes(after.to_bytes()) == after != before
        with pytest.raises(attrs.exceptions.FrozenInstanceError):
            after.n0 = b""
        with pytest.raises(AttributeError, match="'Wide' object has no attribute 'n99'"):
            after.n99  # noqa: B018
    with pytest.raises(AttributeError, match="n8"):
        Wide.n8  # noqa: B018
    assert [type(vars(Wide.__draft__)[f"n{number}"]).__name__ for number in (0, 3, 4, 8)] == [
        "member_descriptor",
        "member_descriptor",
        "Later",
        "Later",
    ]


def test_a_new_required_field_is_missed_on_instances_made_before():
    types = mycelium.load(MANY % "")
    before = types.Wide(1)
    edited(types, MANY % "".join(f", n{number}: {{type: u8}}" for number in range(5)))
    for name in ("n0", "n4"):
        with pytest.raises(AttributeError, match=name):
            getattr(before, name)


def test_a_field_that_takes_the_former_name_of_another_has_a_place_of_its_own():
    text = "messages:\n  A: {tlv_type: 1000, fields: {%s}}\n"
    types = mycelium.load(text % "old: {type: u8, tag: 1}")
    first = types.A(1)
    edited(types, text % "new: {type: u8, tag: 1, renamed_from: old}")
    second = types.A(2)
    edited(types, text % "new: {type: u8, tag: 1}, old: {type: u8, tag: 2, default: 9}")
    third = types.A(3, 4)
    assert [(one.new, one.old) for one in (first, second, third)] == [(1, 9), (2, 9), (3, 4)]
    assert types.A.from_bytes(third.to_bytes()) == third


def test_bytes_go_through_the_codec_of_the_contract_in_force():
    text = "messages:\n  A: {tlv_type: 1000, fields: {a: {type: u8, tag: 1}%s}}\n"
    types = mycelium.load(text % "")
    A = types.A  # noqa: N806
    to_bytes, from_bytes = A(1).to_bytes, A.from_bytes
    assert from_bytes(to_bytes()) == A(1)
    assert A.to_bytes is types.registry.codec_of("A").encode
    before = A(1)
    edited(types, text % ", b: {type: u8, tag: 2, default: 5}")
    assert before.to_bytes() == A(1).to_bytes() == bytes.fromhex("0100 01000000 01  0200 01000000 05")
    assert A.from_bytes(A(1, 6).to_bytes()).b == 6
    assert A.to_bytes is types.registry.codec_of("A").encode
    assert "payload: a sequence of TLV fields" in A.to_bytes.__doc__


def test_an_entry_that_is_not_in_force_leaves_the_class_alone():
    text = "messages:\n  A: {tlv_type: 1000, fields: {a: {type: u8, tag: 1}%s}}\n"
    types = mycelium.load(text % "")
    former = types.registry.entry("A")
    assert types.A.__mycelium__ is former
    edited(types, text % ", b: {type: u8, tag: 2, default: 5}")
    former.equip()
    assert types.A(1).to_bytes() == bytes.fromhex("0100 01000000 01  0200 01000000 05")
