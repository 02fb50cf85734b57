"""Access rules by themselves: what they allow by name and topic, and files with faults."""

import re

import pytest
from guarding import CONTRACT
from hypothesis import given
from hypothesis import strategies as st
from processes import ROOT

import mycelium
from mycelium import SecurityError
from mycelium.bus.security.acl import Acl, Grant, Rules
from mycelium.bus.security.aclfile import parse_acl

NAMES = {1001: "Tick", 1002: "Trade", 1003: "Order", 1004: "Ping"}


def allowed(rules, principal="ann"):
    """What may be received."""
    acl = Acl({"ann": Grant(subscribe=rules)} if isinstance(rules, Rules) else rules)
    denied = acl.permits(principal, mycelium.load(CONTRACT).registry).unreceivable
    return [name for type_id, name in NAMES.items() if type_id not in denied]


@pytest.mark.parametrize(
    ("rules", "names"),
    [
        (Rules(), []),
        (Rules(["*"]), ["Tick", "Trade", "Order", "Ping"]),
        (Rules(["Tick"]), ["Tick"]),
        (Rules(["T*"]), ["Tick", "Trade"]),
        (Rules(["T?ck", "Ping"]), ["Tick", "Ping"]),
        (Rules(["topic:market-data"]), ["Tick", "Trade"]),
        (Rules(["topic:*"], ["topic:ex*"]), ["Tick", "Trade", "Ping"]),
        (Rules(["*"], ["T*"]), ["Order", "Ping"]),
        (Rules(["Tick"], ["*"]), []),
        (Rules(["*", "Tick"], ["topic:market-data"]), ["Order", "Ping"]),
        (Rules(["OldOrder"]), ["Order"]),
        (Rules(["*"], ["OldOrder"]), ["Tick", "Trade", "Ping"]),
        (Rules(["tick", "Tic"]), []),
    ],
)
def test_p27_what_is_allowed_by_name_and_topic_and_deny_wins(rules, names):
    assert allowed(rules) == names


def test_a_message_that_is_renamed_over_and_over_is_denied_and_allowed_by_every_name_that_it_had():
    text = "messages:\n  %s: {tlv_type: 1001, fields: {}%s}\n  Open: {tlv_type: 1002, fields: {}}\n"
    contracts = mycelium.load(text % ("Secret", ""))
    denied, allowed = Grant(subscribe=Rules(["*"], ["Secret"])), Grant(publish=Rules(["Secret"]))
    acl = Acl({"ann": denied, "bob": allowed})
    for now, more in (
        ("Private", ", renamed_from: Secret"),
        ("Hidden", ", renamed_from: Private"),
        ("Hidden", ""),
        ("Covert", ", renamed_from: Hidden"),
    ):
        contracts.apply(mycelium.load(text % (now, more)).schema)
        assert acl.permits("ann", contracts.registry).unreceivable == {1001}
        assert acl.permits("bob", contracts.registry).unpublishable == {1002}
        assert list(acl.strays(contracts.registry)) == []
    contracts.apply(mycelium.load((text % ("Covert", "")).replace("Open", "Secret")).schema)
    assert acl.permits("ann", contracts.registry).unreceivable == {1001, 1002}


def test_what_everybody_may_comes_on_top_and_what_everybody_may_not_as_well():
    grants = {"*": Grant(subscribe=Rules(["Ping"], ["Trade"])), "ann": Grant(subscribe=Rules(["T*"]))}
    assert allowed(grants) == ["Tick", "Ping"]
    assert allowed(grants, "bob") == allowed(grants, None) == ["Ping"]


@given(st.lists(st.sampled_from([*NAMES.values(), "T*", "topic:market-data", "*"])), st.data())
def test_to_deny_more_never_allows_more(allow, data):
    deny = data.draw(st.lists(st.sampled_from([*NAMES.values(), "topic:*", "?i*"])))
    some = data.draw(st.integers(0, len(deny)))
    assert set(allowed(Rules(allow, deny))) <= set(allowed(Rules(allow, deny[:some]))) <= set(allowed(Rules(allow)))


def test_patterns_that_no_message_fits_are_told():
    acl = Acl({"ann": Grant(Rules(["Tik", "T*", "*"]), Rules(["topic:marketdata"], ["topic:*"]))})
    assert list(acl.strays(mycelium.load(CONTRACT).registry)) == [
        "ann: publish: no message fits 'Tik'; did you mean Tick?",
        "ann: subscribe: no message fits 'topic:marketdata'; did you mean topic:market-data?",
    ]


def test_p28_an_empty_file_allows_nobody_anything():
    for text in ("", "\n", "# nobody\n", "  # nobody", "principals:\n", "principals: {}\n"):
        assert parse_acl(text.encode(), "acl").grants == {}


def test_an_acl_file_is_read():
    text = """
principals:
  ann: {publish: [Tick, 'topic:execution'], admin: true}
  uid:1000:
    subscribe: {allow: ['*'], deny: [Order]}
  bob:
  "*": {subscribe: {deny: [Ping]}, x-note: on purpose}
"""
    assert parse_acl(text.encode(), "acl").grants == {
        "ann": Grant(Rules(("Tick", "topic:execution")), admin=True),
        "uid:1000": Grant(subscribe=Rules(("*",), ("Order",))),
        "bob": Grant(),
        "*": Grant(subscribe=Rules((), ("Ping",))),
    }


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("[]", "acl:1:1: this is no mapping; begin with `principals:`"),
        ("principal: {}", "acl:1:1: principal: an ACL file has no key 'principal'; did you mean 'principals'?"),
        ("principals: []", "must be a mapping"),
        ("principals: {a: []}", "acl:1:17: principals.a: must be a mapping"),
        ("principals: {a: {publsh: []}}", "did you mean 'publish'?"),
        ("principals: {a: {publish: Tick}}", "must be a mapping, not the text 'Tick'"),
        ("principals: {a: {publish: [1]}}", "must be text, not the number 1"),
        ("principals: {a: {publish: ['[T]']}}", "'[T]' is neither a message's name nor a topic"),
        ("principals: {a: {publish: ['topic:']}}", "names no topic"),
        ("principals: {a: {publish: {alow: []}}}", "there is no key 'alow' here"),
        ("principals: {a: {admin: 1}}", "must be true or false"),
        ("principals: {'a*': {}}", "'a*' is no principal"),
        ("principals: {a: {}, a: {}}", "the key is there already"),
        ("principals: {a: {}", "not YAML"),
        ("[" * 40_000, "more than 8 collections stand inside one another"),
        ("a: !!python/object:os.system {}", "the tag"),
    ],
)
def test_p28_an_acl_file_with_faults_is_refused_with_their_places(text, problem):
    with pytest.raises(SecurityError) as caught:
        parse_acl(text.encode(), "acl")
    assert problem in str(caught.value)


@pytest.mark.parametrize("page", ["README.md", "docs/howto/access.md"])
def test_the_rules_that_pages_show_are_rules(page):
    shown = re.findall(r"^```yaml\n(.*?)^```$", (ROOT / page).read_text(), re.MULTILINE | re.DOTALL)
    (text,) = [each for each in shown if "principals:" in each]
    assert "pricer" in parse_acl(text.encode(), page).grants
