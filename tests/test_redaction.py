"""Canaries in payloads and tokens, a story that brings out every kind of trouble, and nobody who sings (P93, I6).

What a contract calls sensitive shows nowhere: in no log, exception, traceback, event, counter, repr or answer of the
bridge. Of other messages a publisher's own errors may show the value that is wrong with them, logs may not.
"""

import asyncio
import contextlib
import logging
import pickle
import traceback

import pytest
from asking import ask
from certificates import Authority
from processes import call, started, stop
from spans import Recorder

import mycelium
from mycelium.wire.frames import encode_frame
from mycelium.wire.metadata import Metadata
from peers import peer_at, until

CANARY = "canary7734"
SENSITIVE = f"sensitive-{CANARY}"
PLAIN = f"plain-{CANARY}"
TOKEN = f"token-{CANARY}-0123456789"
STRANGE = f"strange-{CANARY}-0123456789"
PATHS = ("/", "/readyz", "/varz", "/connz", "/subsz", "/queuez", "/messagez", "/schemaz", "/metrics")
CONTRACTS = """
messages:
  Secret:
    tlv_type: 1001
    sensitivity: personal
    key: owner
    retain: last
    fields:
      owner: {type: String, validation: [{max_length: 40}, {pattern: "[a-z0-9-]+"}]}
      number: {type: u64, validation: [{monotonic: true}]}
  Hidden: {tlv_type: 1002, log_payload: false, fields: {value: {type: String}, inner: {type: Secret, optional: true}}}
  Plain: {tlv_type: 1003, fields: {value: {type: String, validation: [{max_length: 60}]}}}
"""


class Choir:
    """Everything that was said, shown or raised."""

    def __init__(self):
        self.heard = []

    def hear(self, *things):
        for thing in things:
            self.heard += [repr(thing), str(thing)]

    @contextlib.contextmanager
    def raised(self, *kinds):
        """Something is raised, of which everything is looked at that a program would log."""
        with pytest.raises(kinds or mycelium.MyceliumError) as caught:
            yield
        error = caught.value
        self.hear(error, error.args, pickle.loads(pickle.dumps(error)))
        self.heard += traceback.format_exception(error)

    def sings(self, canary):
        return [text for text in self.heard if canary in text]


@pytest.fixture
def choir(caplog):
    """Hears the logs of everything, in every detail."""
    with caplog.at_level(logging.DEBUG):
        choir = Choir()
        yield choir


def take_badly(message):
    raise KeyError(message.owner)


async def misbehave(choir, url, contracts, token):
    """A client of bare frames: whatever is wrong with a frame may be."""
    secret = contracts.Secret(owner=SENSITIVE, number=5).to_bytes()
    async with peer_at(url, token=token) as peer:
        for payload in (
            secret[:-1],
            secret + b"\0",
            secret.replace(b"-", b"\xff"),
            secret.replace(b"-", b"!"),
            secret * 2,
        ):
            peer.send(encode_frame(1001, payload))
        peer.send(
            encode_frame(1001, secret), encode_frame(1001, contracts.Secret(owner=SENSITIVE, number=4).to_bytes())
        )
        peer.send(encode_frame(1001, secret + Metadata(origin=(99, 1)).encode()))
        peer.send(encode_frame(1003, PLAIN.encode()), encode_frame(999, PLAIN.encode()))
        for event in await peer.barrier():
            choir.hear(event)
        peer.send(b"\xff" * 8 + SENSITIVE.encode())
        choir.hear(*await peer.ending())


async def publish_badly(choir, client, contracts):
    """Everything that a publisher can do wrong."""
    secret = contracts.Secret
    for wrong in (
        secret(owner=SENSITIVE + "!", number=1),
        secret(owner=SENSITIVE * 5, number=1),
        secret(owner=SENSITIVE, number=SENSITIVE),
        secret(owner=SENSITIVE.encode(), number=1),
        contracts.Hidden(value=3, inner=SENSITIVE),
        contracts.Hidden(value=SENSITIVE, inner=secret(owner=SENSITIVE + "!", number=1)),
    ):
        with choir.raised():
            await client.publish(wrong)
        choir.hear(wrong)
    with choir.raised():
        contracts.from_json(secret, f'{{"owner": "{SENSITIVE}", "number": "{SENSITIVE}"}}')
    with choir.raised():
        secret.from_bytes(secret(owner=SENSITIVE, number=1).to_bytes()[:-3])


async def look_around(choir, client, app, bridge, subscription):
    """What everything shows of itself, and what a bridge tells of others."""
    choir.hear(client, client.stats(), bridge, bridge.admission, bridge.admission.guard, subscription)
    for session in bridge.sessions:
        choir.hear(session, session.identity, session.peer, session.intake, *session.subscriptions)
    choir.hear(*bridge.closed)
    for what in ("info", "stats", "sessions"):
        choir.hear(await client.query(what))
    for path in PATHS:
        answer = await ask(app, path)
        assert answer.status == 200, path
        choir.hear(answer.text)


@pytest.fixture
def rules(tmp_path):
    path = tmp_path / "acl.yaml"
    path.write_text("principals: {ann: {publish: ['*'], subscribe: ['*'], admin: true}, bob: {publish: [Hidden]}}")
    return path


async def test_nothing_of_a_payload_or_a_token_is_said_by_anybody(choir, caplog, tmp_path, rules):
    contracts = mycelium.load(CONTRACTS)
    ours = Authority(tmp_path)
    files = ours.issue("127.0.0.1")
    bob = TOKEN.replace("token", "other")
    security = mycelium.Security(
        tokens=f"ann: {TOKEN},bob: {bob}", acl_file=rules, tls_cert=files.cert, tls_key=files.key
    )
    choir.hear(security)
    tracing = (recorder := Recorder()).tracing()
    bus = mycelium.MessageBus(contracts, tracing=tracing)
    app = mycelium.asgi.app(bus)
    events = bus.events()
    believe = {"tls_ca": ours.ca, "tracing": tracing}
    async with bus.serve("tls://127.0.0.1:0", "tcp://127.0.0.1:0", security=security) as bridge:
        url, plain = bridge.urls
        for token in (STRANGE, None):
            with choir.raised(mycelium.AuthError):
                async with mycelium.connect(url, contracts, token=token, **believe):
                    pass
        await misbehave(choir, plain, contracts, TOKEN)
        async with (
            mycelium.connect(url, contracts, token=TOKEN, on_error=choir.hear, stamp=True, **believe) as client,
            mycelium.connect(plain, contracts, token=bob, on_error=choir.hear) as other,
        ):
            stream = client.events()
            failing = await client.subscribe(
                take_badly, contracts.Secret, on_error=lambda _, message: choir.hear(message)
            )
            got = []
            await client.subscribe(got.append, contracts.Hidden, contracts.Plain)
            await publish_badly(choir, client, contracts)
            for number in range(3):
                await client.publish(contracts.Secret(owner=SENSITIVE, number=number))
            with choir.raised():
                await client.publish(contracts.Secret(owner=SENSITIVE, number=0), confirm=True)
            await client.publish(contracts.Hidden(value=SENSITIVE))
            await client.publish(contracts.Plain(value=PLAIN))
            with choir.raised():
                await other.publish(contracts.Secret(owner=SENSITIVE, number=9), confirm=True)
            with choir.raised(TimeoutError):
                await client.request(contracts.Plain(value=PLAIN), contracts.Secret, timeout=0.05)
            bus.publish_nowait(contracts.Secret(owner=SENSITIVE, number=10))
            await client.flush()
            await until(lambda: failing.stats().delivered >= 4)
            await look_around(choir, client, app, bridge, failing)
            rules.write_text("principals: {ann: nothing}")
            assert not await bridge.reload_security()
            choir.hear(client.types, client.types.schema, got[0].__class__)
        choir.hear(*[event async for event in stream])
    await bus.close()
    choir.hear(bus, bus.stats(), *[event async for event in events])
    choir.heard += caplog.text.splitlines()
    choir.heard += [span.to_json() for span in recorder.spans]
    assert len(recorder.spans) > 15
    choir.heard += [str(record.__dict__) for record in caplog.records]
    assert len(caplog.records) > 15
    assert choir.sings(SENSITIVE) == []
    assert [text for text in caplog.text.splitlines() if CANARY in text] == []
    for token in (TOKEN, STRANGE, bob):
        assert choir.sings(token) == []


def test_the_command_shows_neither_tokens_nor_what_is_sensitive(tmp_path):
    (tmp_path / "contracts.yaml").write_text(CONTRACTS)
    at = {"cwd": tmp_path}
    heard = []
    with started("serve", "--listen", "tcp://127.0.0.1:0", env={"MYCELIUM_TOKENS": f"ann: {TOKEN}"}, **at) as process:
        url = next(line for line in process.stderr if "listening on" in line).split()[-1]
        ann = {"MYCELIUM_TOKEN": TOKEN, "MYCELIUM_URL": url}
        secret = f'{{"owner": "{SENSITIVE}", "number": 1}}'
        for arguments, env in (
            (["pub", "Secret", secret], ann),
            (["pub", "Secret", secret.replace("1}", '"x"}')], ann),
            (["pub", "Secret", secret.replace("-", "!")], ann),
            (["pub", "Secret", secret], {**ann, "MYCELIUM_TOKEN": STRANGE}),
            (["pub", "Secret", secret], {**ann, "MYCELIUM_TOKEN": "x-" + CANARY}),
            (["ping", "--count", "1", "--url", url.replace("//", f"//{SENSITIVE}@")], ann),
            (["sub", "Secret", "--count", "1", "--timeout", "5"], ann),
            (["req", "Secret", secret, "Plain"], ann),
        ):
            done = call(*arguments, env=env, **at)
            heard += [done.stdout, done.stderr]
        assert stop(process) == 0
        heard.append(process.stderr.read())
    assert [text for text in heard if CANARY in text] == []
    assert "[redacted]" in "".join(heard).lower()


async def test_a_handler_of_what_is_sensitive_that_fails_is_told_by_where_and_not_by_what(caplog):
    contracts = mycelium.load(CONTRACTS)
    bus = mycelium.MessageBus(contracts)

    async def take(message):
        await asyncio.sleep(0)
        take_badly(message)

    await bus.subscribe(take, contracts.Secret)
    bus.publish_nowait(contracts.Secret(owner=SENSITIVE, number=1))
    await bus.drain()
    (record,) = [one for one in caplog.records if one.levelno == logging.ERROR]
    assert "failed on Secret: KeyError in take_badly, line" in record.getMessage()
    assert "its text may show what the contract keeps out of sight" in record.getMessage()
    assert record.exc_info is None
