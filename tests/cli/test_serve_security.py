"""`mycelium serve` where other machines reach it: who may, who may not, and the one clear line on both sides."""

import contextlib
import hashlib
import json
import re
import signal
import sys
import time
from pathlib import Path

import pytest
from certificates import Authority, in_seconds
from processes import call, line_with, run, started, stop

TOKENS = {name: f"{name}-0123456789abcdef" for name in ("pricer", "viewer", "ops")}
RULES = "principals:\n  pricer: {publish: [Ping]}\n  viewer: {subscribe: [Ping]}\n  ops: {admin: true}\n"
CARDS = "principals:\n  pricer.example: {publish: [Ping]}\n  viewer.example: {subscribe: [Ping]}\n"


@pytest.fixture
def ours(tmp_path):
    return Authority(tmp_path)


def secret(path, text):
    """A file that only its owner may read, written at once."""
    fresh = Path(f"{path}.new")
    fresh.write_text(text)
    fresh.chmod(0o600)
    fresh.replace(path)
    return path


@contextlib.contextmanager
def guarded(ours, folder, *arguments, rules=RULES):
    """A bridge on every address of the machine: the process, its URL for clients of this machine, and its rules."""
    files = ours.issue("localhost", file="bridge")
    acl = folder / "acl.yaml"
    acl.write_text(rules)
    secure = ["--tls-cert", files.cert, "--tls-key", files.key, "--acl", acl]
    with started("serve", "--listen", "tls://0.0.0.0:0", *secure, *arguments) as process:
        url = line_with(process, "listening on").split()[-1]
        yield process, url.replace("0.0.0.0", "localhost"), acl


def token_file(folder):
    hashed = "sha256:" + hashlib.sha256(TOKENS["ops"].encode()).hexdigest()
    lines = [f"pricer: {TOKENS['pricer']}", f"viewer: {TOKENS['viewer']}", f"ops: {hashed}"]
    return secret(folder / "tokens", "\n".join(lines))


def who(ours, name):
    """The environment of a client with a token."""
    return {"MYCELIUM_TLS_CA": ours.ca, "MYCELIUM_TOKEN": TOKENS[name]}


def told(process):
    """The words of the warnings in the bridge's log."""
    lines = re.findall(r"  warning +\S+  (.+?)(?:  \w+=.*)?$", process.stderr.read(), re.MULTILINE)
    return [line.partition(": ")[2] for line in lines]


def test_who_may_is_served_and_who_may_not_is_told_in_one_line_as_is_the_bridge(ours, tmp_path):
    tokens = token_file(tmp_path)
    ping = ["pub", "Ping", '{"value": "x"}', "--confirm"]
    with guarded(ours, tmp_path, "--token-file", tokens) as (process, url, _):
        at = ["--url", url]
        tries = {
            "nobody": call(*ping, *at, env={"MYCELIUM_TLS_CA": ours.ca}),
            "stranger": call(*ping, *at, env={**who(ours, "ops"), "MYCELIUM_TOKEN": "stranger-0123456789abcdef"}),
            "viewer": call(*ping, *at, env=who(ours, "viewer")),
            "pricer": call("sub", "Ping", *at, env=who(ours, "pricer")),
            "asker": call("req", "Pong", '{"value": "x"}', "Ping", *at, env=who(ours, "pricer")),
            "believer": call("ping", *at, env={"MYCELIUM_TOKEN": TOKENS["ops"]}),
            "plain": call("ping", "--url", url.replace("tls", "tcp"), env=who(ours, "ops")),
            "reloader": call("schema", "reload", *at, env=who(ours, "viewer")),
        }
        assert call(*ping, *at, env=who(ours, "pricer")).returncode == 0
        assert call("schema", "reload", *at, env=who(ours, "ops")).returncode == 0
        token = secret(tmp_path / "token", TOKENS["ops"])
        assert call("ping", "--count", "1", *at, "--token-file", token, "--tls-ca", ours.ca).returncode == 0
        assert stop(process) == 0
        said = told(process)
    assert {name: (done.returncode, done.stderr.splitlines()[1]) for name, done in tries.items()} == {
        "nobody": (1, "  why: this bridge asks who you are"),
        "stranger": (1, "  why: the token is not accepted"),
        "viewer": (1, "  why: viewer may not publish Ping"),
        "pricer": (1, "  why: pricer may not receive Ping"),
        "asker": (1, "  why: pricer may not publish Pong"),
        "believer": (4, "  why: the bridge's certificate is not accepted: unable to get local issuer certificate"),
        "plain": (1, "  why: this port speaks TLS, and what came is plain"),
        "reloader": (1, "  why: reload is for the bridge's own user, and for principals with `admin: true`"),
    }
    *others, plain = said
    assert others == [
        "auth_required: this bridge asks who you are; give a token (token=…, $MYCELIUM_TOKEN, --token-file)",
        "auth_refused: the token is not accepted",
        "denied: viewer may not publish Ping",
        "denied: pricer may not receive Ping",
        "denied: pricer may not publish Pong",
        "protocol: the client does not accept this bridge's certificate: it does not know the authority",
    ]
    assert plain == "protocol: this port speaks TLS, and what came is plain; connect by tls://"


FLOW = """
import asyncio, sys
import mycelium

async def main(url):
    async with mycelium.connect(url, name="flow") as client:
        number = 0
        while True:
            number += 1
            await client.publish(client.types.Ping(value=str(number)))
            await asyncio.sleep(0.005)

asyncio.run(main(sys.argv[1]))
"""


def test_a_rule_that_changes_while_messages_flow_holds_at_once_and_one_that_makes_no_sense_does_not(ours, tmp_path):
    tokens = token_file(tmp_path)
    with guarded(ours, tmp_path, "--token-file", tokens) as (process, url, acl):
        flow = [sys.executable, "-c", FLOW, url]
        listen = ["sub", "Ping", "-o", "json", "--url", url]
        with started(command=flow, env=who(ours, "pricer")), started(*listen, env=who(ours, "viewer")) as viewer:
            before = int(json.loads(viewer.stdout.readline())["fields"]["value"])
            acl.write_text("principals: {viewer: {subscribe: everything}}")
            assert "must be a mapping, not the text 'everything'" in line_with(process, "what was in force goes on")
            assert int(json.loads(viewer.stdout.readline())["fields"]["value"]) > before
            acl.write_text(RULES.replace("subscribe: [Ping]", "subscribe: [Pong]"))
            line_with(process, "viewer may not receive Ping: the access rules say so")
            assert "viewer may not receive Ping" in line_with(viewer, "denied")
            acl.write_text(RULES)
            line_with(process, "what it says is in force")
            line_with(process, "what it says is in force")
            while int(json.loads(viewer.stdout.readline())["fields"]["value"]) < before + 100:
                pass
        process.send_signal(signal.SIGHUP)
        line_with(process, "read again, says the same")
        assert stop(process) == 0


@pytest.mark.slow
def test_a_certificate_that_expires_while_its_client_is_connected_ends_that_connection_alone(ours, tmp_path):
    short = ours.issue("viewer.example", file="short", not_after=in_seconds(8))
    long = ours.issue("pricer.example", file="long")
    cards = {
        name: {"MYCELIUM_TLS_CA": ours.ca, "MYCELIUM_TLS_CERT": card.cert, "MYCELIUM_TLS_KEY": card.key}
        for name, card in (("viewer", short), ("pricer", long))
    }
    with guarded(ours, tmp_path, "--tls-ca", ours.ca, rules=CARDS) as (process, url, _):
        flow = [sys.executable, "-c", FLOW, url]
        listen = ["sub", "Ping", "-o", "json", "--url", url]
        with started(command=flow, env=cards["pricer"]) as pricer, started(*listen, env=cards["viewer"]) as viewer:
            assert json.loads(viewer.stdout.readline())["type"] == "Ping"
            start = time.monotonic()
            assert "the client's certificate has expired" in line_with(process, "auth_refused")
            assert time.monotonic() - start < 15
            assert "the client's certificate has expired" in line_with(viewer, "gone")
            line_with(process, "certificate has expired")  # it tries again, and does not get as far
            assert pricer.poll() is None
            fresh = ours.issue("viewer.example", file="short")
            assert fresh == short
            last = [json.loads(viewer.stdout.readline()) for _ in range(10)][-1]
            assert last["type"] == "Ping"
        assert stop(process) == 0


@pytest.mark.parametrize(
    ("arguments", "code", "lines"),
    [
        (
            ["--listen", "tcp://0.0.0.0:0"],
            1,
            ["cannot listen on tcp://0.0.0.0:0", "other machines reach it, and nobody is asked who they are"],
        ),
        (
            ["--listen", "tcp://0.0.0.0:0", "--token-file", "tokens"],
            1,
            ["cannot listen on tcp://0.0.0.0:0", "whoever is on the way can read tokens and messages"],
        ),
        (["--listen", "tls://127.0.0.1:0"], 1, ["there is no certificate", "--tls-cert"]),
        (["--token-file", "nowhere"], 2, ["the security settings cannot be used", "nowhere: no such file"]),
        (["--token-file", "open"], 2, ["others may read or change it (mode 0644)", "chmod 600 open"]),
        (
            ["--acl", "acl"],
            2,
            ["the security settings cannot be used", "acl:1:18: principals.a.x", "acl:1:28: principals.b"],
        ),
        (["--tls-key", "x"], 2, ["tls_key without tls_cert"]),
        (["--socket-mode", "666"], 2, ["a socket mode of 0666 makes no sense"]),
        (["--allow-uid", "nobody-here"], 2, ["there is no user 'nobody-here'"]),
        (["--max-errors", "0"], 2, ["no number from 1 on"]),
    ],
)
def test_a_bridge_that_could_not_keep_its_word_does_not_start(tmp_path, arguments, code, lines):
    secret(tmp_path / "tokens", f"ann: {TOKENS['ops']}")
    (tmp_path / "open").write_text(f"ann: {TOKENS['ops']}")
    (tmp_path / "open").chmod(0o644)
    (tmp_path / "acl").write_text("principals: {a: {x: 1}, b: []}")
    contracts = Path(__file__).parent.parent.parent / "contracts.yaml"
    done = call("serve", contracts, "--listen", "tcp://127.0.0.1:0", *arguments, cwd=tmp_path)
    assert done.returncode == code, done.stderr
    for line in lines:
        assert line in done.stderr
    assert "Traceback" not in done.stderr
    assert TOKENS["ops"] not in done.stderr


def test_every_limit_and_setting_is_shown_with_where_it_came_from_and_no_token_is():
    settings = ["--max-errors", "7", "--max-outbound", "1MiB", "--socket-mode", "660", "--allow-uid", "0"]
    env = {"MYCELIUM_TOKENS": f"ann: {TOKENS['ops']}", "MYCELIUM_STALL_TIMEOUT": "3s"}
    done = run("serve", *settings, "--listen", "tls://x:y@host", "--print-config", env=env)
    lines = done.stdout.splitlines()
    assert "max-errors = 7    # command line" in lines
    assert "max-outbound = 1048576    # command line" in lines
    assert "stall-timeout = 3.0    # MYCELIUM_STALL_TIMEOUT" in lines
    assert "socket-mode = 0660    # command line" in lines
    assert "allow-uid = 0    # command line" in lines
    assert "acl = everything    # default" in lines
    assert "tokens = [REDACTED]    # MYCELIUM_TOKENS" in lines
    assert "listen = tls://[REDACTED]@host    # command line" in lines
    assert TOKENS["ops"] not in done.stdout
