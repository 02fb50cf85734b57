"""Classes made from contracts are immutable, positional, comparable, hashable and picklable."""

import copy
import inspect
import linecache
import pickle
import typing

import attrs
import pytest

import mycelium

TEXT = """
types:
  Side: {enum: {buy: 1, sell: 2}, open: false, description: which way}
messages:
  Leg:
    tlv_type: 1001
    fields:
      price: {type: f64}
  Order:
    tlv_type: 1000
    domain: MarketData
    description: One order
    deprecated: true
    fields:
      note: {type: String, optional: true, description: free text}
      id: {type: u64, description: unique}
      venue: {type: u16, default: 7}
      tags: {type: Vec<String>, default: [a]}
      side: {type: Side, default: buy}
      legs: {type: Vec<Leg>, default: []}
      levels: {type: "Map<u8, f32>", default: {}}
  Node:
    tlv_type: 1002
    fields:
      next: {type: Node, optional: true}
  Secret:
    tlv_type: 1003
    sensitivity: internal
    fields:
      key: {type: String}
  Quiet:
    tlv_type: 1004
    log_payload: false
    fields:
      key: {type: String}
  Empty: {tlv_type: 1005, fields: {}}
  Odd:
    tlv_type: 1006
    fields:
      type: {type: u8}
      _x: {type: u8}
      hash: {type: u8}
      číslo: {type: u8}
      match: {type: u8, optional: true}
"""


@pytest.fixture
def types():
    return mycelium.load(TEXT)


def test_ids_and_topics_are_on_the_class(types):
    assert (types.Order.TYPE_ID, types.Order.TOPIC) == (1000, "market-data")
    assert (types.Leg.TYPE_ID, types.Leg.TOPIC) == (1001, "default")


def test_arguments_are_positional_in_file_order_or_by_keyword(types):
    assert types.Order("hi", 3, 9) == types.Order(id=3, note="hi", venue=9)
    assert types.Order.__match_args__ == ("note", "id", "venue", "tags", "side", "legs", "levels")


def test_a_required_field_behind_an_optional_one_keeps_its_place_and_is_missed_by_name(types):
    assert types.Order(id=3).note is None
    with pytest.raises(TypeError, match=r"Order\(\) missing required argument: 'id'"):
        types.Order("hi")
    with pytest.raises(TypeError, match="'price'"):
        types.Leg()
    with pytest.raises(TypeError, match="unexpected keyword argument 'prise'"):
        types.Leg(prise=1.0)


def test_defaults_are_copied_never_shared(types):
    first, second = types.Order(id=1), types.Order(id=1)
    assert first.tags == ["a"]
    assert first.tags is not second.tags
    assert first.levels is not second.levels
    assert first.side is types.Side.buy


def test_instances_cannot_be_changed(types):
    leg = types.Leg(1.0)
    with pytest.raises(attrs.exceptions.FrozenInstanceError):
        leg.price = 2.0
    with pytest.raises(attrs.exceptions.FrozenInstanceError):
        leg.other = 2.0
    with pytest.raises(attrs.exceptions.FrozenInstanceError):
        del leg.price
    assert leg.price == 1.0


def test_equality_compares_fields_as_python_does(types):
    assert types.Leg(0.0) == types.Leg(-0.0)
    assert types.Leg(float("nan")) != types.Leg(float("nan"))
    nan = float("nan")
    assert types.Leg(nan) != types.Leg(nan)
    assert types.Order(id=1, levels={1: 1.0, 2: 2.0}) == types.Order(id=1, levels={2: 2.0, 1: 1.0})
    assert types.Leg(1.0) != (1.0,)
    assert types.Secret("a") != types.Quiet("a")


def test_equal_messages_have_equal_hashes_also_with_lists_and_maps(types):
    one = types.Order(id=1, levels={1: 1.0, 2: 2.0}, legs=[types.Leg(0.0)])
    other = types.Order(id=1, levels={2: 2.0, 1: 1.0}, legs=[types.Leg(-0.0)])
    assert hash(one) == hash(other)
    assert {one: "found"}[other] == "found"
    assert len({one, other, types.Order(id=2)}) == 2


def test_repr_shows_the_fields_and_hides_what_the_contract_hides(types):
    assert repr(types.Leg(1.5)) == "Leg(price=1.5)"
    assert repr(types.Empty()) == "Empty()"
    assert repr(types.Secret("canary")) == "Secret([REDACTED])"
    assert repr(types.Quiet(key="canary")) == "Quiet([REDACTED])"


def test_match_statement_takes_positions_and_names(types):
    match types.Order("hi", 3):
        case types.Order(note, id=number):
            assert (note, number) == ("hi", 3)
        case _:
            pytest.fail("no match")


def test_attrs_knows_the_fields(types):
    order = attrs.evolve(types.Order("hi", 3), id=4)
    assert order == types.Order("hi", 4)
    assert [one.name for one in attrs.fields(types.Leg)] == ["price"]
    assert attrs.fields(types.Order).venue.metadata["tag"] == 3
    assert attrs.asdict(types.Leg(1.0)) == {"price": 1.0}
    assert attrs.has(types.Leg)


def test_copy_is_the_message_and_deepcopy_has_its_own_lists(types):
    order = types.Order(id=1, legs=[types.Leg(1.0)])
    assert copy.copy(order) is order
    deep = copy.deepcopy(order)
    assert deep == order
    assert deep.legs is not order.legs


@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
def test_a_pickle_comes_back_equal_and_of_the_same_class(types, protocol):
    order = types.Order("hi", 3, legs=[types.Leg(1.0)])
    back = pickle.loads(pickle.dumps(order, protocol))
    assert back == order
    assert type(back) is types.Order


def test_a_pickle_holds_schema_id_name_and_bytes_and_no_class(types):
    data = pickle.dumps(types.Secret("x"))
    assert b"restore" in data
    assert b"Secret" in data
    assert types.Secret("x").to_bytes() in data
    assert b"__dict__" not in data


def test_docstring_and_annotations_come_from_the_contract(types):
    doc = inspect.getdoc(types.Order)
    assert doc.startswith("One order")
    assert "Deprecated." in doc
    assert "note (String, optional): free text" in doc
    assert "venue (u16, default 7)" in doc
    hints = typing.get_type_hints(types.Order)
    assert hints["note"] == str | None
    assert hints["id"] is int
    assert hints["legs"] == list[types.Leg]
    assert hints["levels"] == dict[int, float]
    assert hints["side"] == types.Side | int


def test_a_message_that_holds_itself_can_be_built(types):
    node = types.Node(types.Node())
    assert node.next == types.Node()
    assert types.Node.from_bytes(node.to_bytes()) == node


def test_field_names_may_be_builtins_private_or_not_ascii(types):
    odd = types.Odd(1, 2, 3, 4)
    assert (odd.type, odd._x, odd.hash, odd.číslo, odd.match) == (1, 2, 3, 4, None)
    assert types.Odd(type=1, _x=2, hash=3, číslo=4) == odd
    assert attrs.evolve(odd, _x=9)._x == 9
    assert types.Odd.from_bytes(odd.to_bytes()) == odd


def test_every_message_is_a_message(types):
    assert isinstance(types.Leg(1.0), mycelium.Message)
    assert issubclass(types.Empty, mycelium.Message)


def test_building_classes_leaves_no_linecache_entries():
    def build():
        types = mycelium.load(TEXT)
        for cls in types:
            attrs.fields(cls)
        types.from_json(types.Leg, types.to_json(types.Leg.from_bytes(types.Leg(1.0).to_bytes())))

    build()
    before = set(linecache.cache)
    build()
    assert set(linecache.cache) == before


def test_enums_are_int_enums_of_the_contract(types):
    assert types.Side.sell == 2
    assert types.Side(1) is types.Side.buy
    assert types.Side.__doc__ == "which way"
    assert types.Side is types.enum("Side")


def test_a_schema_cannot_be_changed(types):
    for mapping in (types.schema.messages, types.schema.enums, types.schema.enums["Side"].members):
        with pytest.raises(TypeError, match="does not support item assignment"):
            mapping["zz"] = 1


def test_a_draft_is_of_no_use_and_what_it_became_cannot_be_changed(types):
    draft = types.Leg.__draft__()
    draft.price = 1.0
    assert not isinstance(draft, types.Leg)
    draft.__class__ = types.Leg
    assert draft == types.Leg(1.0)
    with pytest.raises(attrs.exceptions.FrozenInstanceError):
        draft.price = 2.0
    with pytest.raises(attrs.exceptions.FrozenInstanceError):
        draft.__class__ = types.Leg.__draft__


def test_a_class_may_be_derived_from_a_messages_class(types):
    class Priced(types.Leg):
        def double(self):
            return self.price * 2

    leg = Priced(price=1.5)
    assert (type(leg), leg.double()) == (Priced, 3.0)
    assert leg.to_bytes() == types.Leg(1.5).to_bytes()
    with pytest.raises(attrs.exceptions.FrozenInstanceError):
        leg.price = 2.0


def test_a_constructors_signature_is_that_of_the_contract(types):
    assert str(inspect.signature(types.Leg)) == "(price)"


def test_a_private_field_name_is_not_mangled():
    types = mycelium.load("messages:\n  _Odd: {tlv_type: 1000, fields: {__x: {type: u8}}}\n")
    odd = types._Odd(__x=3)
    assert getattr(odd, "__x") == 3
    assert types._Odd.from_bytes(odd.to_bytes()) == odd
