"""Parts of what keeps strangers out, without sockets: exposure, tokens, who a client is, crowds."""

import hashlib
import math
import os
import socket

import attrs
import pytest
from certificates import Authority
from guarding import CONTRACT
from processes import ROOT

import mycelium
from mycelium import BindError, SecurityError, UsageError
from mycelium.bus.limits import Limits
from mycelium.bus.security.acl import Acl, Grant
from mycelium.bus.security.contexts import bridge_context
from mycelium.bus.security.credentials import Credentials
from mycelium.bus.security.crowd import Crowd
from mycelium.bus.security.exposure import is_loopback, refuse_exposed
from mycelium.bus.security.guard import Guard
from mycelium.bus.security.identity import NOBODY, Identity
from mycelium.bus.security.peer import Certificate, Peer
from mycelium.bus.security.secretfile import read_secret
from mycelium.bus.security.settings import Security
from mycelium.bus.security.tokens import Tokens
from mycelium.bus.urls import Address, parse_url, redacted
from mycelium.cli import serve_settings
from mycelium.wire.errors import ErrorCode, ProtocolError

TOKEN = "0123456789abcdef"
OTHER = "fedcba9876543210"


# --- exposure ---


@pytest.mark.parametrize("host", ["127.0.0.1", "127.8.9.1", "::1", "localhost", "LOCALHOST"])
def test_loopback_is_for_everybody_on_the_machine(host):
    assert is_loopback(host)
    refuse_exposed(Address("tcp", host, 1), authenticated=False, encrypted=False)


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "10.0.0.1", "example.com", "localhost.example.com", "fe80::1%eth0"])
def test_p29_anything_else_needs_authentication_and_tls(host):
    assert not is_loopback(host)
    address = Address("tls", host, 1)
    refuse_exposed(address, authenticated=True, encrypted=True)
    with pytest.raises(BindError, match="nobody is asked who they are"):
        refuse_exposed(address, authenticated=False, encrypted=True)
    with pytest.raises(BindError, match="can read tokens and messages; do it so, or listen on 127.0.0.1"):
        refuse_exposed(address, authenticated=True, encrypted=False, remedy="do it so")


def test_a_unix_socket_is_never_exposed():
    refuse_exposed(Address("unix", path="/x"), authenticated=False, encrypted=False)


@pytest.mark.parametrize(
    ("url", "security", "fine"),
    [
        ("tls://0.0.0.0:1", {"tokens": "a: " + TOKEN, "tls_cert": "y"}, True),
        ("tls://0.0.0.0:1", {"tls_cert": "y"}, False),
        ("tls://0.0.0.0:1", {"tls_ca": "x", "tls_cert": "y"}, True),
        ("tcp://0.0.0.0:1", {"tls_ca": "x", "tls_cert": "y"}, False),
        ("tcp://0.0.0.0:1", {"tokens": "a: " + TOKEN}, False),
        ("tcp://0.0.0.0:1", {"insecure": True}, True),
        ("tcp://127.0.0.1:1", {}, True),
    ],
)
def test_what_a_guard_lets_be_listened_on(url, security, fine):
    guard = Guard(Security(**security))
    if fine:
        guard.refuse_exposed(parse_url(url))
    else:
        with pytest.raises(BindError, match="tls://0.0.0.0:1 with --tls-cert and --token-file or --tls-ca"):
            guard.refuse_exposed(parse_url(url))


def test_every_limit_is_an_option_of_serve_and_stands_on_the_page():
    page = (ROOT / "docs/security.md").read_text()
    named = {attribute: name for name, (attribute, *_) in serve_settings.LIMITS.items()}
    assert named.keys() == {one.name for one in attrs.fields(Limits)}
    assert [name for name in named.values() if f"--{name}" not in page] == []


# --- tokens ---


def test_a_token_file_has_principals_with_tokens_and_hashes_of_tokens():
    digest = hashlib.sha256(OTHER.encode()).hexdigest()
    tokens = Tokens.parse(f"# people\n\nann: {TOKEN}\nann: sha256:{digest.upper()}\n  bob:{TOKEN}b  \n", "file")
    assert [tokens.find(each) and tokens.find(each)[0] for each in (TOKEN, OTHER, TOKEN + "b", TOKEN + "c", "")] == [
        "ann",
        "ann",
        "bob",
        None,
        None,
    ]
    assert len(tokens) == 3
    assert repr(tokens) == "<Tokens of 2 principals>"


@pytest.mark.parametrize(
    ("line", "problem"),
    [
        (TOKEN, "no line `principal: token`"),
        (f": {TOKEN}", "no line `principal: token`"),
        (f"a b: {TOKEN}", "no line `principal: token`"),
        (f"*: {TOKEN}", "no line `principal: token`"),
        ("ann: secret", "a token of 6 characters"),
        ("ann: " + "x" * 1025, "a token of 1025 characters"),
        (f"ann: {TOKEN} {OTHER}", "characters that are not allowed"),
        (f"ann: {TOKEN}\N{SNOWMAN}", "characters that are not allowed"),
        ("ann: sha256:abc", "no SHA-256"),
        (f"bob: {TOKEN}", "another principal's already"),
    ],
)
def test_a_line_that_is_none_is_told_by_its_number_and_without_what_it_says(line, problem):
    with pytest.raises(SecurityError, match=problem) as caught:
        Tokens.parse(f"ann: {TOKEN}\n{line}", "tokens")
    assert str(caught.value).startswith("tokens:2: ")
    assert TOKEN not in repr(caught.value)
    assert "secret" not in repr(caught.value)


@pytest.mark.parametrize(
    ("mode", "fine"), [(0o600, True), (0o640, True), (0o644, False), (0o660, False), (0o602, False)]
)
def test_a_secret_that_others_may_read_or_change_is_none(tmp_path, mode, fine):
    path = tmp_path / "tokens"
    path.write_text("x")
    path.chmod(mode)
    if fine:
        assert read_secret(path) == b"x"
    else:
        with pytest.raises(SecurityError, match=f"mode 0{mode:o}.*chmod 600"):
            read_secret(path)


def test_what_is_no_file_is_no_secret(tmp_path):
    os.mkfifo(tmp_path / "pipe", 0o600)
    (tmp_path / "large").write_bytes(bytes(1024 * 1024 + 1))
    (tmp_path / "large").chmod(0o600)
    for name, problem in [("", "directory"), ("pipe", "no regular"), ("large", "over"), ("none", "no such file")]:
        with pytest.raises(SecurityError, match=problem):
            read_secret(tmp_path / name)


# --- who a client is ---


def admitted(security, peer=Peer(), token=None):  # noqa: B008  frozen
    guard = Guard(Security(**security))
    guard.start()
    return guard.admit(peer, token)


REMOTE = Peer("tls", "10.0.0.1:1", "10.0.0.1")
CARD = Certificate("spiffe://example/pricer", 5e9)


@pytest.mark.parametrize("token", ["", "wrong", "x" * 4000, "\0" * 16, TOKEN[:-1], TOKEN + "x", "\ud83c\udf44"])
def test_p18_a_wrong_token_is_refused_in_the_same_words_whatever_is_wrong_with_it(token):
    with pytest.raises(ProtocolError) as caught:
        admitted({"tokens": f"ann: {TOKEN}"}, token=token)
    assert caught.value.args == (ErrorCode.AUTH_REFUSED, "the token is not accepted")


def test_p19_no_token_is_another_matter():
    with pytest.raises(ProtocolError, match="auth_required: this bridge asks who you are"):
        admitted({"tokens": f"ann: {TOKEN}"}, REMOTE)


def test_a_token_a_certificate_and_the_user_of_a_unix_socket_say_who_a_client_is():
    card, unix = Peer("tls", certificate=CARD), Peer("unix", uid=7)
    asks = {"tokens": f"ann: {TOKEN},bob:{OTHER}"}
    assert admitted({}) == NOBODY
    assert admitted({}, token=TOKEN) == NOBODY
    assert admitted(asks, token=OTHER) == Identity("bob", "token", hashlib.sha256(OTHER.encode()).digest())
    assert admitted({}, card) == Identity("spiffe://example/pricer", "certificate", None, 5e9)
    assert admitted(asks, card, TOKEN).principal == "ann"
    assert admitted(asks, card, TOKEN).expires_at == 5e9
    assert admitted(asks, unix) == Identity("uid:7", "unix")


@pytest.mark.parametrize(
    ("name", "problem"),
    [
        ("", "names nobody; give it a subjectAltName"),
        ("uid:0", "names nobody; give it a subjectAltName"),
        ("rust:peer", "names nobody; give it a subjectAltName"),
        ("x" * 1025, "has a name of more than 1,024 characters"),
        ("ann\0", "has a name with characters that cannot be shown"),
        ("ann\nb", "has a name with characters that cannot be shown"),
        ("\u202enna", "has a name with characters that cannot be shown"),
    ],
)
def test_a_certificate_whose_name_is_no_principals_is_refused(name, problem):
    with pytest.raises(ProtocolError) as caught:
        admitted({}, Peer("tls", certificate=Certificate(name, math.inf)))
    assert caught.value.args == (ErrorCode.AUTH_REFUSED, f"the certificate {problem}")


def test_certificates_with_long_names_are_different_principals_where_only_the_last_letters_differ():
    long = "spiffe://" + "x" * 1014
    cards = [Certificate.of({"subjectAltName": (("URI", long + end),)}) for end in "ab"]
    ann, bob = (admitted({}, Peer("tls", certificate=card)) for card in cards)
    assert (ann.principal, bob.principal) == (long + "a", long + "b")
    assert str(ann) == ann.shown == long[:128]
    acl = Acl({ann.principal: Grant(admin=True)})
    registry = mycelium.load(CONTRACT).registry
    assert [acl.permits(one.principal, registry).is_admin for one in (ann, bob)] == [True, False]


@pytest.mark.parametrize(
    ("facts", "name"),
    [
        ({"subject": ((("commonName", "ann"),),)}, "ann"),
        ({"subject": ((("commonName", "ann"),),), "subjectAltName": (("DNS", "a.example"), ("DNS", "b"))}, "a.example"),
        ({"subjectAltName": (("DNS", "a"), ("email", "e@x"), ("URI", "spiffe://x"))}, "spiffe://x"),
        ({"subjectAltName": (("IP Address", "10.0.0.1"),)}, ""),
        ({}, ""),
        ({"subject": ((("commonName", "a\nb"),),)}, "a\nb"),
    ],
)
def test_whose_a_certificate_is(facts, name):
    assert Certificate.of(facts) == Certificate(name, math.inf)


def test_a_certificate_says_when_it_expires():
    assert Certificate.of({"notAfter": "Jan  1 00:00:01 1970 GMT"}).expires_at == 1


@pytest.mark.parametrize(
    ("settings", "peer", "fine"),
    [
        ({}, Peer("unix", uid=os.getuid()), True),
        ({}, Peer("unix", uid=os.getuid() + 1), False),
        ({"uids": [7]}, Peer("unix", uid=7), True),
        ({"uids": [7]}, Peer("unix", uid=os.getuid()), os.getuid() == 7),
        ({"gids": [9]}, Peer("unix", uid=7, gids=frozenset({8, 9})), True),
        ({"gids": [9]}, Peer("unix", uid=7, gids=frozenset({8})), False),
        ({"uids": [7]}, Peer("tcp"), True),
    ],
)
def test_p25_who_may_use_a_unix_socket(settings, peer, fine):
    assert (Guard(Security(**settings)).turned_away(peer) is None) is fine


def test_the_kernel_says_which_groups_a_peer_is_in():
    ours, theirs = socket.socketpair(socket.AF_UNIX)
    with ours, theirs:
        peer = Peer.of(ours, "unix")
    assert (peer.uid, peer.origin, peer.is_owner) == (os.getuid(), None, True)
    assert peer.gids >= {os.getgid()}
    assert f"pid {os.getpid()}" in peer.place


@pytest.mark.parametrize(
    "settings", [{"socket_mode": 0o666}, {"socket_mode": 0o400}, {"tls_key": "k"}, {"tls_ca": "c"}]
)
def test_security_that_makes_no_sense_is_refused(settings):
    with pytest.raises(UsageError):
        Security(**settings)


def test_security_shows_no_token():
    assert TOKEN not in repr(Security(tokens=f"ann: {TOKEN}"))
    assert TOKEN not in repr(Credentials(TOKEN))
    assert TOKEN not in repr(Identity("ann", "token", TOKEN.encode()))


# --- a crowd ---


def test_connections_of_one_place_are_counted_and_those_of_this_machine_are_not():
    crowd = Crowd(Limits(connections_per_origin=2))
    assert [crowd.enter("10.0.0.1", 0.0) is None for _ in range(3)] == [True, True, False]
    assert crowd.enter("10.0.0.2", 0.0) is None
    assert all(crowd.enter(None, 0.0) is None for _ in range(5))
    crowd.leave("10.0.0.1")
    crowd.leave("10.0.0.1")
    crowd.leave(None)
    assert crowd.enter("10.0.0.1", 0.0) is None


def test_a_place_where_nobody_can_say_who_he_is_has_to_wait():
    crowd = Crowd(Limits(refusals=3))
    for _ in range(3):
        assert crowd.enter("10.0.0.1", 0.0) is None
        crowd.failed("10.0.0.1", 0.0)
        crowd.failed(None, 0.0)
    assert "wait 10 s" in crowd.enter("10.0.0.1", 9.0)
    assert crowd.enter("10.0.0.2", 9.0) is None
    assert crowd.enter("10.0.0.1", 10.0) is None


# --- clients ---


def test_a_token_goes_where_nobody_else_can_read_it():
    holder, careless = Credentials(TOKEN), Credentials(TOKEN, insecure=True)
    for url in ("tls://example.com", "tcp://127.0.0.1:1", "localhost", "unix:///x"):
        assert holder.token_for(parse_url(url)) == TOKEN
    assert holder.token_for(parse_url("tcp://example.com")) is None
    assert holder.holds_back(parse_url("tcp://example.com"))
    assert careless.token_for(parse_url("tcp://example.com")) == TOKEN
    assert Credentials().token_for(parse_url("tls://example.com")) is None


def test_a_token_may_come_from_the_environment_or_from_a_file_that_is_read_each_time(tmp_path, monkeypatch):
    here = parse_url("localhost")
    monkeypatch.setenv("MYCELIUM_TOKEN", TOKEN)
    assert Credentials().token_for(here) == TOKEN
    path = tmp_path / "token"
    path.write_text(f"{OTHER}\n")
    path.chmod(0o600)
    credentials = Credentials(path)
    assert credentials.token_for(here) == OTHER
    path.write_text("two words, of which none is a token")
    with pytest.raises(SecurityError, match="can be none of a bridge") as caught:
        credentials.token_for(here)
    assert "two words" not in str(caught.value)
    with pytest.raises(UsageError, match="a token of 6 characters can be none"):
        Credentials("secret")


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("tls://ann:s3cret@host:1", "tls://[REDACTED]@host:1"),
        ("tcp://host?token=s3cret", "tcp://host?[REDACTED]"),
        ("ann:s3cret@host", "[REDACTED]@host"),
        ("tls://host:7777", "tls://host:7777"),
        ("unix:///run/x", "unix:///run/x"),
    ],
)
def test_a_secret_in_a_url_is_refused_and_not_shown(url, shown):
    assert redacted(url) == shown
    if "s3cret" in url:
        with pytest.raises(UsageError, match="no place for secrets") as caught:
            parse_url(url)
        assert "s3cret" not in str(caught.value)


@pytest.mark.parametrize("name", ["tls_ca", "tls_cert"])
def test_a_client_says_which_of_its_files_cannot_be_used(tmp_path, name):
    path = tmp_path / "none.pem"
    with pytest.raises(SecurityError, match=r"none.pem: no such file or directory"):
        Credentials(**{name: path}).context()
    path.write_text("no certificate")
    path.chmod(0o600)
    with pytest.raises(SecurityError, match="give files in PEM"):
        Credentials(**{name: path}).context()


def test_a_key_that_belongs_to_another_certificate_is_told(tmp_path):
    ours = Authority(tmp_path)
    one, two = ours.issue("one", file="one"), ours.issue("two", file="two")
    with pytest.raises(SecurityError, match="they do not belong together"):
        bridge_context(Security(tls_cert=one.cert, tls_key=two.key))
