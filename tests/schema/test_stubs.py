"""Stubs say of names, positions, types and documents what the classes of the contract are."""

import ast
import builtins
import contextlib
import importlib
import inspect
import itertools

import pytest
import strategies
from attrs import evolve
from hypothesis import given, settings
from hypothesis import strategies as st

import mycelium
from mycelium.schema.classes import annotation
from mycelium.schema.parse import parse_text
from mycelium.schema.stubs import stubs

TEXT = """
schema: {id: 7, version: 3, min_compatible: 1}
types:
  Side: {enum: {buy: 1, sell: 2}, open: false, description: which way}
  Odd: {enum: {name: 1, plain: 2}}
messages:
  Leg: {tlv_type: 1001, deprecated: true, fields: {price: {type: f64}}}
  Order:
    tlv_type: 1000
    domain: MarketData
    description: One order
    fields:
      note: {type: String, optional: true, description: free text, validation: [{max_length: 9}]}
      id: {type: u64, deprecated: true}
      venue: {type: u16, default: 7}
      side: {type: Side, default: buy}
      legs: {type: "Map<u8, Vec<Leg>>", default: {}}
      raw: {type: bytes, default: "0x00ff"}
"""


class Stub:
    """A parsed stub."""

    def __init__(self, text):
        self.text = text
        self.body = ast.parse(text, "messages.pyi", type_comments=True).body
        self.classes = {node.name: node for node in self.body if isinstance(node, ast.ClassDef)}

    def fields(self, name):
        """Annotations of a class by name, without those of class variables."""
        found = (one for one in self.classes[name].body if isinstance(one, ast.AnnAssign))
        return {one.target.id: ast.unparse(one.annotation) for one in found if one.value is None}

    def constants(self, name):
        """Values of a class's class variables."""
        found = (one for one in self.classes[name].body if isinstance(one, ast.AnnAssign) and one.value is not None)
        return {one.target.id: ast.literal_eval(one.value) for one in found}

    def match_args(self, name):
        (found,) = (one for one in self.classes[name].body if isinstance(one, ast.Assign))
        return ast.literal_eval(found.value)

    def docs(self, name):
        """Docstrings of a class's fields."""
        body = self.classes[name].body
        pairs = itertools.pairwise(body)
        return {
            one.target.id: doc.value.value for one, doc in pairs if isinstance(one, ast.AnnAssign) and not one.value
        }

    def signatures(self, name):
        """The constructor's signatures."""
        for one in self.classes[name].body:
            if isinstance(one, ast.FunctionDef):
                scope = {}
                node = ast.parse("def f(): pass").body[0]
                node.args = one.args
                for each in [*one.args.args, *one.args.kwonlyargs]:
                    each.annotation = None
                exec(compile(ast.fix_missing_locations(ast.Module([node], [])), "messages.pyi", "exec"), scope)
                yield inspect.signature(scope["f"])

    def evaluate(self, text, registry):
        """The type that an annotation means."""
        scope = {
            **{name: registry.class_of(name) for name in registry.schema.messages},
            **{name: registry.enum_of(name) for name in registry.schema.enums},
        }
        for node in self.body:
            if isinstance(node, ast.Import):
                scope |= {one.asname: importlib.import_module(one.name) for one in node.names}
            elif isinstance(node, ast.AnnAssign):
                with contextlib.suppress(NameError):  # the JSON forms
                    scope[node.target.id] = eval(ast.unparse(node.value), vars(builtins) | scope)
        return eval(text, vars(builtins) | scope)


@settings(max_examples=15)
@given(strategies.worlds(rules=True))
def test_names_positions_types_and_ids_are_those_of_the_classes(world):
    stub, registry = Stub(stubs(world.schema)), world.registry
    for name, message in world.schema.messages.items():
        cls = registry.class_of(name)
        assert stub.match_args(name) == cls.__match_args__
        assert tuple(stub.fields(name)) == cls.__match_args__
        for one in message.fields:
            assert stub.evaluate(stub.fields(name)[one.name], registry) == annotation(one, registry.lineage)
        assert stub.constants(name) == {"TYPE_ID": cls.TYPE_ID, "TOPIC": cls.TOPIC}
        assert {ast.unparse(base) for base in stub.classes[name].bases} == {"_mycelium.Message"}
        json_form = stub.fields(f"{name}Json")
        assert tuple(json_form) == cls.__match_args__
        required = {each for each, form in json_form.items() if "NotRequired" not in form}
        assert required == {one.name for one in message.fields if one.required}
    for name in world.schema.enums:
        members = [one for one in stub.classes[name].body if isinstance(one, ast.Assign)]
        written = {one.targets[0].id: ast.literal_eval(one.value) for one in members}
        assert written == {one.name: one.value for one in registry.enum_of(name)}


@settings(max_examples=60)
@given(st.data())
def test_a_signature_takes_a_call_if_and_only_if_the_class_does(data):
    presence = data.draw(st.lists(st.sampled_from(["", ", optional: true", ", default: 1"]), max_size=7))
    fields = ", ".join(f"f{number}: {{type: u8{kind}}}" for number, kind in enumerate(presence))
    contracts = mycelium.load(f"messages:\n  M: {{tlv_type: 1000, fields: {{{fields}}}}}\n")
    names = contracts.M.__match_args__
    positional = data.draw(st.integers(0, len(names)))
    keywords = {name: 1 for name in names[positional:] if data.draw(st.booleans())}
    signatures = Stub(stubs(contracts.schema)).signatures("M")
    taken = [one for one in signatures if binds(one, positional, keywords)]
    try:
        contracts.M(*[1] * positional, **keywords)
    except TypeError:
        assert taken == []
    else:
        assert taken


def binds(signature, positional, keywords):
    with contextlib.suppress(TypeError):
        return signature.bind(None, *[1] * positional, **keywords)
    return None


ANYTHING = st.text(max_size=20) | st.text(st.sampled_from('"\\\n\r a'), max_size=12)


@settings(max_examples=60)
@given(ANYTHING, ANYTHING)
def test_any_description_is_quoted_so_that_it_reads_as_it_was(about, field):
    schema = parse_text("messages:\n  M: {tlv_type: 1000, domain: a, fields: {f: {type: u8}}}\n")
    message = schema.messages["M"]
    message = evolve(message, description=about, domain=about, fields=[evolve(message.fields[0], description=field)])
    stub = Stub(stubs(evolve(schema, messages={"M": message}, source=f"folder/{about}")))
    docstring = ast.get_docstring(stub.classes["M"], clean=False)
    assert words(docstring) == (words(about) or ["Message", "M"])
    assert words(stub.docs("M")["f"].removesuffix("(u8)")) == (words(field) or ["u8"])


def words(text):
    return text.split()


def test_a_stub_documents_its_fields_and_what_is_deprecated():
    stub = Stub(stubs(parse_text(TEXT)))
    assert ast.get_docstring(stub.classes["Order"]) == "One order"
    assert ast.get_docstring(stub.classes["Side"]) == "which way (u8, closed)"
    assert stub.docs("Order") == {
        "note": "free text (String, optional, max_length: 9)",
        "id": "u64, deprecated",
        "venue": "u16, default 7",
        "side": 'Side, default "buy"',
        "legs": "Map<u8, Vec<Leg>>, default {}",
        "raw": 'bytes, default "0x00ff"',
    }
    deprecated = stub.classes["Leg"].decorator_list[0]
    assert ast.unparse(deprecated) == "_typing_extensions.deprecated('Leg is deprecated')"


def test_json_forms_are_what_json_has():
    stub = Stub(stubs(parse_text(TEXT)))
    assert stub.fields("OrderJson") == {
        "note": "_typing.NotRequired[str]",
        "id": "int",
        "venue": "_typing.NotRequired[int]",
        "side": "_typing.NotRequired[SideJson]",
        "legs": "_typing.NotRequired[dict[str, list[LegJson]]]",
        "raw": "_typing.NotRequired[str]",
    }
    assert stub.fields("LegJson") == {"price": "_Float"}
    assert "SideJson: _typing.TypeAlias = _typing.Literal['buy', 'sell']\n" in stub.text
    assert "OddJson: _typing.TypeAlias = _typing.Literal['name', 'plain'] | int\n" in stub.text


def test_the_head_names_the_contract_and_is_the_same_wherever_the_file_lies():
    schema = parse_text(TEXT, "here/contracts.yaml")
    text = stubs(schema)
    first, second, by, *_ = text.splitlines()
    assert first == "# Types of contracts.yaml: schema 0x00000007, version 3, digest"
    assert second == f"# {schema.digest}."
    assert "`mycelium schema stubs`" in by
    assert stubs(parse_text(TEXT, "/elsewhere/contracts.yaml")) == text


def test_names_that_a_field_hides_are_reached_another_way():
    names = ("int", "str", "Leg", "LegJson", "_typing", "_mycelium", "_Float")
    fields = ", ".join(f"{name}: {{type: {kind}}}" for name, kind in zip(names, ["Leg"] * 6 + ["f64"], strict=True))
    text = f"messages:\n  Leg: {{tlv_type: 1000, fields: {{}}}}\n  float: {{tlv_type: 1001, fields: {{{fields}}}}}\n"
    stub = Stub(stubs(parse_text(text)))
    assert stub.fields("float") == {**dict.fromkeys(names, "_Leg"), "_Float": "_builtins.float"}
    assert stub.fields("floatJson") == {**dict.fromkeys(names, "LegJson_"), "_Float": "_Float_"}
    assert "import typing as _typing_\n" in stub.text
    assert "class Leg(_mycelium_.Message):" in stub.text


def test_a_bound_module_has_what_its_stub_says_also_where_the_handle_has_the_name(tmp_path, monkeypatch):
    (tmp_path / "contracts.yaml").write_text(TEXT + "  schema: {tlv_type: 1002, fields: {}}\n")
    (tmp_path / "stubbed_messages.py").write_text("import mycelium\nmycelium.bind(__name__, 'contracts.yaml')\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    module = importlib.import_module("stubbed_messages")
    stub = Stub(stubs(mycelium.load(tmp_path / "contracts.yaml").schema))
    for name in stub.classes:
        if not name.endswith("Json"):
            assert getattr(module, name).__name__ == name


@pytest.mark.parametrize("name", ["__private", "_single"])
def test_a_name_with_two_underscores_is_given_by_keyword(name):
    stub = Stub(stubs(parse_text(f"messages:\n  M: {{tlv_type: 1000, fields: {{{name}: {{type: u8}}}}}}\n")))
    (signature,) = stub.signatures("M")
    kind = inspect.Parameter.KEYWORD_ONLY if name == "__private" else inspect.Parameter.POSITIONAL_OR_KEYWORD
    assert signature.parameters[name].kind is kind
