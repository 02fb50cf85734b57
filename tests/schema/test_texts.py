"""Which texts a listener takes for its own: those that are known and say the same structs."""

import hashlib

import pytest

import mycelium
from mycelium.bus.reload import Reloader
from mycelium.schema.parse import parse_text
from mycelium.schema.texts import Texts

BASE = "messages:\n  A: {tlv_type: 1001, fields: {a: {type: u32}, b: {type: String}}}\n"
WIDER = BASE.replace("String", "String, validation: [{max_length: 40}]")
ADDED = f"{BASE}  B: {{tlv_type: 1002, fields: {{}}}}\n"
WITHOUT = BASE.replace("u32", "u128")


def digest(text):
    return hashlib.sha256(text.encode()).digest()


def known(*texts):
    """The last one is in force."""
    made = Texts()
    for text in texts:
        made.take(digest(text).hex(), parse_text(text))
    return made, parse_text(texts[-1])


@pytest.mark.parametrize("now", [BASE, WIDER, WITHOUT])
def test_the_text_in_force_is_fine(now):
    made, schema = known(BASE, now)
    assert made.objection(digest(now), schema) is None
    assert made.current == digest(now).hex()


@pytest.mark.parametrize(
    ("then", "now"),
    [
        (f"# another comment\n{BASE}", BASE),
        (BASE.replace("A:", "Z:"), BASE),
        (BASE, ADDED),
        (ADDED, BASE),
        (BASE, BASE.replace("String", "String, optional: true, validation: [{max_length: 32}]")),
    ],
)
def test_a_text_with_the_same_structs_is_fine_and_so_is_one_with_more_or_fewer_messages(then, now):
    made, schema = known(then, WIDER, now)
    assert made.objection(digest(then), schema) is None


@pytest.mark.parametrize(
    ("then", "now"),
    [(WIDER, BASE), (WITHOUT, BASE), (BASE.replace("a:", "c:"), BASE), (BASE.replace("u32", "u16"), BASE)],
)
def test_a_text_with_another_struct_is_not(then, now):
    for made, schema in (known(then, now), known(then, ADDED, now)):
        said = f"digest {digest(then).hex()} is of contracts with another struct A; {digest(now).hex()} is in force"
        assert made.objection(digest(then), schema) == said


def test_an_unknown_text_is_not_and_both_digests_are_said():
    made, schema = known(BASE)
    said = f"digest {digest('x').hex()} is of no contracts that are known here; {digest(BASE).hex()} is in force"
    assert made.objection(digest("x"), schema) == said


def test_a_released_text_is_known_without_being_in_force():
    made, schema = known(BASE)
    made.remember(digest(ADDED).hex(), parse_text(ADDED))
    assert made.objection(digest(ADDED), schema) is None
    assert made.current == digest(BASE).hex()
    assert digest(ADDED).hex() in made
    assert repr(made) == "<Texts, 2 known>"


def test_what_is_from_no_file_has_no_digest():
    contracts = mycelium.load(BASE)
    assert contracts.text_digest is None
    assert contracts.texts.objection(digest(BASE), contracts.schema) is not None


async def test_a_handle_knows_every_text_that_was_in_force(tmp_path):
    file = tmp_path / "contracts.yaml"
    file.write_text(BASE)
    contracts = mycelium.load(file)
    reloader = Reloader(contracts)
    texts = [BASE, f"# words\n{BASE}", ADDED, f"{ADDED}# more\n"]
    for text in texts[1:]:
        file.write_text(text)
        assert not (await reloader.reload()).refused
        assert contracts.text_digest == digest(text).hex()
    file.write_text("messages: {")
    assert (await reloader.reload()).outcome == "invalid"
    assert contracts.text_digest == digest(texts[-1]).hex()
    assert [contracts.texts.objection(digest(text), contracts.schema) for text in texts] == [None] * 4
    contracts.apply(parse_text(WIDER))
    assert contracts.text_digest is None
