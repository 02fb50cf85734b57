"""The handle on a contracts file: finding it, loading it, its names, JSON, and binding to modules and class bodies."""

import gc
import importlib
import json
import subprocess
import sys
import weakref
from pathlib import Path

import pytest

import mycelium

PING = "messages:\n  Ping: {tlv_type: 1010, fields: {value: {type: String}}}\n"


@pytest.fixture
def file(tmp_path):
    path = tmp_path / "contracts.yaml"
    path.write_text(PING)
    return path


def test_one_handle_per_real_path(file, tmp_path):
    link = tmp_path / "link.yaml"
    link.symlink_to(file)
    first = mycelium.load(file)
    assert mycelium.load(str(link)) is first
    assert mycelium.load(first) is first


def test_a_handle_nobody_uses_is_collected_but_a_class_keeps_it(file):
    handle = mycelium.load(file)
    cls = handle.Ping
    reference = weakref.ref(handle)
    del handle
    gc.collect()
    assert mycelium.load(file).Ping is cls
    del cls
    gc.collect()
    assert reference() is None


def test_a_str_with_a_newline_is_text_and_a_schema_makes_a_handle():
    contracts = mycelium.load(PING)
    again = mycelium.load(contracts.schema)
    assert again.schema is contracts.schema
    assert contracts.path is None


def test_names_are_attributes_items_and_iterable_in_file_order(contracts):
    names = ["TextMessage", "CounterUpdate", "BatchOperation", "Ping", "Pong"]
    assert [cls.__name__ for cls in contracts] == names
    assert len(contracts) == 5
    assert contracts["Ping"] is contracts.Ping
    assert "Ping" in contracts
    assert "Nobody" not in contracts
    assert set(names) <= set(dir(contracts))


def test_an_unknown_name_is_an_error_that_knows_what_was_meant(contracts):
    with pytest.raises(AttributeError, match="did you mean 'Ping'"):
        _ = contracts.Pingg
    with pytest.raises(mycelium.UnknownTypeError, match="did you mean 'Pong' or 'Ping'"):
        _ = contracts["Pnog"]
    with pytest.raises(mycelium.UnknownTypeError, match="no type id 4711"):
        contracts.decode(4711, b"")


def test_an_attribute_that_was_looked_at_goes_with_its_message_and_stays_with_its_class():
    text = "messages: {Kept: {tlv_type: 1000, fields: {a: {type: u8}}}"
    contracts = mycelium.load(text + ", Gone: {tlv_type: 1001, fields: {}}}\ntypes: {Old: {enum: {a: 1}}}\n")
    kept, gone, old = contracts.Kept, contracts.Gone, contracts.Old
    assert (contracts.Kept, contracts.Gone, contracts.Old) == (kept, gone, old)
    assert len(dir(contracts)) == len(set(dir(contracts)))
    contracts.apply(mycelium.load(text + "}\n").schema)
    assert contracts.Kept is kept
    for name in ("Gone", "Old"):
        with pytest.raises(AttributeError, match=f"no message, enum or attribute '{name}'"):
            getattr(contracts, name)
        assert name not in dir(contracts)


def test_a_message_whose_name_the_handle_uses_is_reached_as_an_item():
    contracts = mycelium.load("messages:\n  schema: {tlv_type: 1000, fields: {}}\n")
    assert contracts["schema"].TYPE_ID == 1000
    assert contracts.schema.messages["schema"].type_id == 1000


def test_decode_by_type_id(contracts):
    payload = bytes.fromhex("0100020000006869")
    assert contracts.decode(1010, payload) == contracts.Ping("hi")


def test_a_missing_file_says_where_it_was_looked_for(tmp_path, monkeypatch):
    with pytest.raises(mycelium.ContractNotFound, match="nothing.yaml"):
        mycelium.load(tmp_path / "nothing.yaml")
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("MYCELIUM_CONTRACTS", raising=False)
    with pytest.raises(mycelium.ContractNotFound) as caught:
        mycelium.load()
    assert caught.value.searched[0] == tmp_path.resolve() / "contracts.yaml"
    assert caught.value.searched[-1] == Path("/contracts.yaml")


def test_the_default_is_the_variable_else_the_nearest_file_upward(file, tmp_path, monkeypatch):
    deep = tmp_path / "a" / "b"
    deep.mkdir(parents=True)
    monkeypatch.chdir(deep)
    monkeypatch.delenv("MYCELIUM_CONTRACTS", raising=False)
    assert mycelium.load().path == file.resolve()
    other = tmp_path / "other.yaml"
    other.write_text(PING.replace("Ping", "Pang"))
    monkeypatch.setenv("MYCELIUM_CONTRACTS", str(other))
    assert [cls.__name__ for cls in mycelium.load()] == ["Pang"]


def test_a_directory_is_no_contracts_file(tmp_path):
    with pytest.raises(mycelium.ContractError, match="not a regular file"):
        mycelium.load(tmp_path)


def test_types_are_imported_from_the_package(file, monkeypatch):
    monkeypatch.setenv("MYCELIUM_CONTRACTS", str(file))
    module = importlib.import_module("mycelium.contracts")
    assert module.Ping is mycelium.load(file).Ping
    with pytest.raises(ImportError):
        exec("from mycelium.contracts import Pingg", {})


def test_a_module_is_bound_to_a_file_beside_it(file, tmp_path, monkeypatch):
    app = tmp_path / "boundapp"
    app.mkdir()
    (app / "__init__.py").write_text("")
    (app / "messages.py").write_text("import mycelium\nmycelium.bind(__name__, '../contracts.yaml')\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    messages = importlib.import_module("boundapp.messages")
    assert messages.Ping is mycelium.load(file).Ping
    assert "Ping" in dir(messages)
    with pytest.raises(ImportError):
        exec("from boundapp.messages import Nobody", {})


def test_a_class_body_is_checked_and_gives_the_class_of_the_contract(contracts):
    @contracts.bind
    class CounterUpdate(mycelium.Message):
        counter_id: int
        value: int
        delta: int

    assert CounterUpdate is contracts.CounterUpdate


def test_a_class_body_that_says_something_else_is_refused_with_every_difference(contracts):
    with pytest.raises(mycelium.ContractMismatch) as caught:

        @contracts.bind
        class CounterUpdate(mycelium.Message):
            counter_id: str
            valeu: int
            delta: int

    assert caught.value.differences == (
        "valeu is no field",
        "counter_id is int, not str",
        "field value: int is missing",
    )
    with pytest.raises(mycelium.UnknownTypeError):

        @contracts.bind
        class Nobody(mycelium.Message):
            pass


def test_a_class_body_may_name_an_enum_alone_and_other_messages():
    contracts = mycelium.load(
        "types:\n  Side: {enum: {buy: 1}}\n"
        "messages:\n"
        "  Leg: {tlv_type: 1000, fields: {price: {type: f64}}}\n"
        "  Order: {tlv_type: 1001, fields: {side: {type: Side}, leg: {type: Leg, optional: true}}}\n"
    )
    Side = contracts.Side  # noqa: N806

    @contracts.bind
    class Leg(mycelium.Message):
        price: float

    @contracts.bind
    class Order(mycelium.Message):
        side: Side
        leg: Leg | None

    assert Order is contracts.Order


JSON_TEXT = """
types:
  Side: {enum: {buy: 1, sell: 2}}
messages:
  Leg: {tlv_type: 1001, fields: {price: {type: f64}}}
  All:
    tlv_type: 1000
    fields:
      big: {type: U256}
      raw: {type: bytes}
      key: {type: "[u8; 2]"}
      side: {type: Side}
      sides: {type: "Map<Side, bool>"}
      leg: {type: Leg}
      legs: {type: Vec<Leg>}
      nan: {type: f64}
      note: {type: String, optional: true}
      venue: {type: u16, default: 7}
"""


@pytest.fixture
def everything():
    types = mycelium.load(JSON_TEXT)
    message = types.All(
        big=2**256 - 1,
        raw=b"\x00\xff",
        key=b"ab",
        side=types.Side.sell,
        sides={types.Side.buy: True, 9: False},
        leg=types.Leg(1.5),
        legs=[types.Leg(0.1)],
        nan=float("-inf"),
    )
    return types, message


def test_json_of_a_message_is_exact(everything):
    types, message = everything
    assert json.loads(types.to_json(message)) == {
        "big": 2**256 - 1,
        "raw": "0x00ff",
        "key": "0x6162",
        "side": "sell",
        "sides": {"buy": True, "9": False},
        "leg": {"price": 1.5},
        "legs": [{"price": 0.1}],
        "nan": "-Infinity",
        "venue": 7,
    }
    assert types.from_json(types.All, types.to_json(message)) == message


def test_json_that_does_not_fit_is_one_error_with_everything_in_it(everything):
    types, _ = everything
    with pytest.raises(mycelium.JsonError) as caught:
        types.from_json(types.All, '{"big": -1, "raw": "xyz", "side": "buuy", "nonsense": 1}')
    text = str(caught.value)
    for part in ("big", "raw", "buuy", "'nonsense'", "leg", "required field missing"):
        assert part in text


@pytest.mark.parametrize("text", ["", "{", "[]", "3", '"x"', "[" * 100_000, '{"value": 1e999}'])
def test_text_that_is_no_such_json_is_a_json_error(contracts, text):
    with pytest.raises(mycelium.JsonError):
        contracts.from_json(contracts.Ping, text)


def test_a_converter_reads_messages_inside_an_applications_own_classes(contracts):
    import attrs

    @attrs.define
    class Saved:
        name: str
        ping: contracts.Ping

    saved = Saved("a", contracts.Ping("hi"))
    plain = contracts.converter.unstructure(saved)
    assert plain == {"name": "a", "ping": {"value": "hi"}}
    assert contracts.converter.structure(plain, Saved) == saved


def test_a_pickle_is_read_by_the_newest_handle_with_its_schema_id(tmp_path):
    text = "schema: {id: 77, version: 1, min_compatible: 1}\n" + PING
    older, newer = mycelium.load(text), mycelium.load(text)
    import pickle

    back = pickle.loads(pickle.dumps(older.Ping("x")))
    assert type(back) is newer.Ping


def test_a_custom_rule_warns_once_until_it_is_registered_and_then_holds():
    text = PING.replace("String}", "String, validation: [{only_in_this_test: true}]}")
    with pytest.warns(mycelium.ContractWarning, match="only_in_this_test"):
        contracts = mycelium.load(text)
    mycelium.load(text)  # the second time is silent: warnings are errors here

    @mycelium.rule("only_in_this_test")
    def only(value, argument):
        return value == "ok"

    with pytest.raises(mycelium.DecodeError, match="only_in_this_test"):
        contracts.Ping.from_bytes(contracts.Ping("no").to_bytes())
    assert contracts.Ping.from_bytes(contracts.Ping("ok").to_bytes()).value == "ok"


def test_importing_the_package_loads_none_of_its_dependencies():
    code = (
        "import sys, mycelium; print([n for n in ('attrs', 'cattrs', 'yaml', 'asyncio', 'rich') if n in sys.modules])"
    )
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert out.strip() == "[]"


def test_every_public_name_can_be_reached():
    for name in mycelium.__all__:
        assert getattr(mycelium, name) is not None
    assert sorted(mycelium.__all__) == mycelium.__all__
    with pytest.raises(AttributeError):
        _ = mycelium.nothing


def test_any_name_can_be_imported_from_the_package_module(tmp_path, monkeypatch):
    names = ("Source", "Path", "M", "Message", "Schema", "Registry", "Any", "os")
    file = tmp_path / "contracts.yaml"
    file.write_text(
        "messages:\n" + "".join(f"  {name}: {{tlv_type: {1000 + n}, fields: {{}}}}\n" for n, name in enumerate(names))
    )
    monkeypatch.setenv("MYCELIUM_CONTRACTS", str(file))
    for number, name in enumerate(names):
        scope = {}
        exec(f"from mycelium.contracts import {name}", scope)
        assert 1000 + number == scope[name].TYPE_ID


def test_a_class_body_may_name_a_message_of_its_own_module_whatever_other_handles_have():
    text = (
        "messages:\n  In: {tlv_type: 1000, fields: {}}\n"
        "  Out: {tlv_type: 1001, fields: {n: {type: In}, l: {type: Vec<In>}}}\n"
    )
    other, mine = mycelium.load(text), mycelium.load(text)
    assert other.In is not mine.In
    body = type("Out", (mycelium.Message,), {"__annotations__": {"n": "In", "l": "list[In]"}, "__module__": __name__})
    assert mine.bind(body) is mine.Out


def test_json_that_does_not_fit_hides_what_the_contract_hides():
    types = mycelium.load(
        "messages:\n"
        "  Key: {tlv_type: 1000, sensitivity: high, fields: {pin: {type: String}}}\n"
        "  Outer: {tlv_type: 1001, fields: {key: {type: Key}, n: {type: u8}}}\n"
    )
    for cls, text in ((types.Key, '{"pin": 987654}'), (types.Outer, '{"key": {"pin": 987654}, "n": 1}')):
        with pytest.raises(mycelium.JsonError) as caught:
            types.from_json(cls, text)
        assert "987654" not in str(caught.value)
        assert "[REDACTED] does not fit" in str(caught.value)


async def test_a_block_that_cannot_follow_says_so_when_it_begins(contracts):
    with pytest.raises(ValueError, match="no file to follow"):
        async with contracts.watching():
            pytest.fail("it began")


def test_submodules_of_the_public_surface_need_no_import_of_their_own():
    code = "import mycelium; print(mycelium.events.SchemaChanged.__name__, mycelium.testing.__name__)"
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert out == "SchemaChanged mycelium.testing\n"
