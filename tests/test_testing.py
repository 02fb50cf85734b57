"""What applications test with: bridges inside the process, pytest fixtures, and messages drawn at random."""

import asyncio
import gc
import os
import subprocess
import sys
import threading
import warnings
from pathlib import Path

import pytest
import strategies
from hypothesis import HealthCheck, Phase, find, given, settings
from hypothesis import strategies as st
from hypothesis.errors import Unsatisfiable

import mycelium
from mycelium.testing import BridgeThread, bridge, messages, mycelium_bridge, mycelium_contracts

ROOT = Path(__file__).parent.parent
__all__ = ["mycelium_bridge", "mycelium_contracts"]


def left():
    """Threads and open files of this process, by number."""
    gc.collect()
    return threading.active_count(), len(list(Path("/proc/self/fd").iterdir()))


# --- bridges --------------------------------------------------------------------------------------------------------


def test_a_test_without_a_loop_uses_the_fixture(mycelium_bridge):
    contracts = mycelium_bridge.contracts
    assert contracts is mycelium.load()
    with mycelium_bridge.collect(contracts.Ping) as pings, mycelium_bridge.collect() as everything:
        mycelium_bridge.publish(contracts.Ping("a"))
        mycelium_bridge.publish(contracts.Pong("b"))
        asyncio.run(publish_from_a_client(mycelium_bridge.url, contracts.Ping("c")))
        assert everything.wait(3) == [contracts.Ping("a"), contracts.Pong("b"), contracts.Ping("c")]
        assert pings.wait(2) == [contracts.Ping("a"), contracts.Ping("c")]
    mycelium_bridge.publish(contracts.Ping("d"))
    assert (len(pings), pings[-1]) == (2, contracts.Ping("c"))


async def publish_from_a_client(url, message):
    async with mycelium.connect(url) as client:
        await client.publish(message)
        await client.flush()


async def test_a_test_with_a_loop_uses_the_fixture(mycelium_bridge):
    Ping = mycelium_bridge.contracts.Ping  # noqa: N806
    async with mycelium.connect(mycelium_bridge.url) as client, client.messages(Ping) as pings:
        with mycelium_bridge.collect(Ping) as collected:
            mycelium_bridge.publish(Ping("from the bridge"))
            assert await pings.next(timeout=5) == Ping("from the bridge")
            await client.publish(Ping("from the client"))
            assert await asyncio.to_thread(collected.wait, 2) == [Ping("from the bridge"), Ping("from the client")]


@pytest.mark.parametrize("url", ["tcp://127.0.0.1:0", "unix://{folder}/bridge.sock"])
def test_a_bridge_thread_leaves_no_thread_and_no_file_open(url, tmp_path, contracts):
    before = left()
    with BridgeThread(contracts, url.format(folder=tmp_path)) as running:
        assert running.contracts is contracts
        assert left()[0] == before[0] + 1
        with running.collect() as collected:
            asyncio.run(publish_to(running, contracts.Ping("x")))
            collected.wait(1)
    assert left() == before


async def publish_to(running, message):
    client = mycelium.MyceliumClient(running.contracts)
    await client.connect(running.url)
    async with client:
        await client.publish(message)


@pytest.mark.slow
def test_a_client_that_a_test_forgot_does_not_hold_the_bridge_up(contracts):
    with asyncio.Runner() as runner:
        client = mycelium.MyceliumClient(contracts)
        with BridgeThread(contracts) as running:
            runner.run(client.connect(running.url))
        runner.run(client.close())


def test_what_goes_wrong_is_raised_where_the_bridge_is_used(tmp_path, contracts):
    before = left()
    with pytest.raises(mycelium.ContractNotFound):
        BridgeThread(tmp_path / "nothing.yaml")
    with BridgeThread(contracts) as running:
        with pytest.raises(mycelium.BindError), BridgeThread(contracts, running.url):
            pass
        with pytest.raises(mycelium.UsageError):
            running.publish(
                mycelium.load("messages:\n  Ping: {tlv_type: 1, fields: {}}\n".replace("1,", "1000,")).Ping()
            )
        with running.collect() as collected, pytest.raises(TimeoutError, match="0 of 1 messages came within 0"):
            collected.wait(1, timeout=0.01)
    assert left() == before


async def test_a_bridge_serves_from_the_running_loop_without_pytest(contracts):
    before = left()
    async with bridge(contracts) as served:
        assert served.contracts is contracts
        client = mycelium.MyceliumClient(served.contracts)
        await client.connect(served.url)
        async with client, served.bus.messages(contracts.Ping) as pings:
            await client.publish(contracts.Ping("x"))
            assert await pings.next(timeout=5) == contracts.Ping("x")
    assert asyncio.all_tasks() == {asyncio.current_task()}
    assert left() == before


CONFTEST = """
import pytest
from mycelium.testing import messages, mycelium_bridge  # before pytest loads the plugin, which is no reason to warn

pytest_plugins = ["mycelium.testing"]

@pytest.fixture
def mycelium_contracts(tmp_path):
    file = tmp_path / "contracts.yaml"
    file.write_text("messages:\\n  Job: {tlv_type: 1000, fields: {number: {type: u8}}}\\n")
    return file
"""

TESTS = """
import asyncio
import mycelium

def test_of_a_job(mycelium_bridge):
    async def publish():
        client = mycelium.MyceliumClient(mycelium_bridge.contracts)
        await client.connect(mycelium_bridge.url)
        async with client:
            await client.publish(client.types.Job(3))

    with mycelium_bridge.collect() as jobs:
        asyncio.run(publish())
        assert [job.number for job in jobs.wait(1)] == [3]
"""

IMPORTED = """
from mycelium.testing import mycelium_bridge

def test_of_the_default_contracts(mycelium_bridge):
    assert "Other" in mycelium_bridge.contracts
"""


def run_pytest(folder):
    """Run the tests of a folder with warnings as errors; what pytest prints."""
    command = [sys.executable, "-W", "error", "-m", "pytest", "-q", "-p", "no:cacheprovider", "-c", os.devnull, "."]
    kept = {name: value for name, value in os.environ.items() if not name.startswith("MYCELIUM_")}
    variables = {**kept, "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1"}
    return subprocess.run(command, cwd=folder, capture_output=True, text=True, env=variables, check=False).stdout


@pytest.mark.slow
def test_pytest_takes_the_package_as_a_plugin_whose_contracts_a_fixture_chooses(tmp_path):
    (tmp_path / "conftest.py").write_text(CONFTEST)
    (tmp_path / "test_job.py").write_text(TESTS)
    assert "1 passed in" in run_pytest(tmp_path)


@pytest.mark.slow
def test_a_fixture_that_is_imported_alone_has_the_default_contracts(tmp_path):
    (tmp_path / "contracts.yaml").write_text("messages:\n  Other: {tlv_type: 1000, fields: {}}\n")
    (tmp_path / "test_imported.py").write_text(IMPORTED)
    assert "1 passed in" in run_pytest(tmp_path)


def test_neither_pytest_nor_hypothesis_is_needed_before_something_of_theirs_is():
    code = (
        "import sys, mycelium.testing\n"
        "from mycelium.testing import bridge, BridgeThread\n"
        "print([name for name in ('pytest', 'hypothesis') if name in sys.modules])"
    )
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert out.strip() == "[]"


# --- messages at random ---------------------------------------------------------------------------------------------

REAL = sorted((ROOT / "tests/contracts").glob("*.yaml"))


SOON = settings(phases=[Phase.generate], max_examples=500)
"""For what is to be found at all; nobody looks at it."""


def survives(message):
    """Make sure that a message can be published, and is the same after the wire and after JSON."""
    entry = message.__mycelium__
    entry.codec.check(message)
    assert type(message).from_bytes(message.to_bytes()) == message


@pytest.mark.parametrize("file", REAL, ids=lambda file: file.stem)
def test_every_message_of_the_real_contracts_is_publishable_and_survives_the_wire(file):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", mycelium.ContractWarning)  # of custom rules, once in a process
        types = mycelium.load(file)

    @settings(max_examples=30)
    @given(st.sampled_from(list(types)).flatmap(lambda cls: st.tuples(st.just(cls), messages(cls))))
    def hold(drawn):
        cls, message = drawn
        assert type(message) is cls
        survives(message)
        assert types.from_json(cls, types.to_json(message)) == message

    hold()


def test_messages_of_several_types_are_drawn_together(contracts):
    for cls in contracts:
        assert find(messages(*contracts), lambda message, cls=cls: isinstance(message, cls), settings=SOON)


@settings(max_examples=15, suppress_health_check=[HealthCheck.too_slow])
@given(strategies.worlds(rules=True), st.data())
def test_messages_of_any_schema_are_publishable_and_survive_the_wire(world, data):
    name = data.draw(strategies.message_names(world))
    survives(data.draw(messages(world.registry.class_of(name))))


RULED = """
types:
  Side: {enum: {buy: 1, sell: 2}, open: false}
  Open: {enum: {one: 1, two: 2}}
messages:
  M:
    tlv_type: 1000
    fields:
      small: {type: i8, validation: [{min: -2.5}, {max: 1.5}, {not_zero: true}]}
      big: {type: u64, validation: [{min: 9007199254740993}]}
      exact: {type: f64, validation: [{min: 9007199254740993}, {max: 9007199254740995}]}
      tenth: {type: f32, validation: [{min: 0.1}, {max: 0.3}]}
      above: {type: f32, validation: [{min: -1.0e+300}, {max: 1.0e+300}, {not_zero: true}]}
      positive: {type: f64, validation: [{min: 0}, {not_zero: true}]}
      text: {type: String, validation: [{min_length: 3}, {max_length: 5}]}
      filled: {type: String, validation: [{not_empty: true}, {no_0x_prefix: true}, {max_length: 1}]}
      long: {type: String, validation: [{min_length: 5000}, {max_length: 5000}]}
      code: {type: String, validation: [{pattern: "[A-Z]{2}[0-9]*"}, {max_length: 4}]}
      raw: {type: bytes, validation: [{not_zero: true}, {max_length: 2}]}
      hash: {type: "[u8; 2]", validation: [{not_zero: true}]}
      block: {type: "[u8; 70000]"}
      row: {type: "[f32; 3000]"}
      some: {type: "Vec<u8>", validation: [{min_length: 2}, {max_length: 2}]}
      many: {type: "Vec<u16>", validation: [{min_length: 1000}]}
      levels: {type: "Map<u8, bool>", validation: [{min_length: 2}, {max_length: 3}]}
      side: {type: Side, validation: [{one_of: [sell]}]}
      open: {type: Open, validation: [{one_of: [one, 7]}]}
      picked: {type: f32, validation: [{one_of: [0.1, 0.2]}, {max: 0.15}]}
      number: {type: u32, validation: [{monotonic: true}, {not_zero: false}]}
      note: {type: String, optional: true, default: "", validation: [{not_empty: true}]}
"""


@settings(max_examples=20, suppress_health_check=[HealthCheck.too_slow, HealthCheck.large_base_example])
@given(messages(mycelium.load(RULED).M))
def test_rules_of_every_kind_are_kept(message):
    survives(message)
    assert message.small in (-2, -1, 1)
    assert message.exact == 9007199254740994.0
    assert len(message.text.encode()) in (3, 4, 5)
    assert len(message.long) == 5000
    assert message.side == 2
    assert message.open in (1, 7)
    assert message.note  # its default breaks its rule


NESTED = """
messages:
  Node:
    tlv_type: 1000
    fields: {next: {type: Node, optional: true}, rest: {type: "Vec<Node>"}, by: {type: "Map<u8, Node>"}}
  Last: {tlv_type: 1001, fields: {value: {type: u8, validation: [{min: 250}]}, up: {type: N0, optional: true}}}
"""
CHAIN = "".join(
    f"  N{n}: {{tlv_type: {1100 + n}, fields: {{inner: {{type: {f'N{n + 1}' if n < 14 else 'Last'}}}}}}}\n"
    for n in range(15)
)
NESTING = mycelium.load(NESTED + CHAIN)


@settings(max_examples=15)
@given(messages(NESTING.Node) | messages(NESTING.N0) | messages(NESTING.Last))
def test_nested_and_recursive_messages_end_and_keep_the_rules_inside(message):
    survives(message)


@pytest.mark.parametrize("shape", [(True, True), (True, False), (False, True), (False, False)])
def test_fields_that_may_be_absent_are_drawn_absent_and_present(shape):
    fields = "a: {type: u8, optional: true}, b: {type: u8, default: 7}"
    drawn = messages(mycelium.load(f"messages:\n  M: {{tlv_type: 1000, fields: {{{fields}}}}}\n").M)
    assert find(drawn, lambda message: (message.a is None, message.b == 7) == shape, settings=SOON)


def test_floats_are_nan_only_where_asked_for():
    types = mycelium.load("messages:\n  M: {tlv_type: 1000, fields: {f: {type: f64}}}\n")

    @settings(max_examples=30)
    @given(messages(types.M))
    def never(message):
        assert message.f == message.f

    never()
    assert find(messages(types.M, allow_nan=True), lambda message: message.f != message.f, settings=SOON)


def test_custom_rules_are_kept_once_they_are_registered():
    @mycelium.rule("even_in_drawn_messages")
    def even(value, argument):
        return value % 2 == 0

    text = "messages:\n  M: {tlv_type: 1000, fields: {n: {type: u8, validation: [{even_in_drawn_messages: true}]}}}\n"

    @settings(max_examples=20)
    @given(messages(mycelium.load(text).M))
    def hold(message):
        assert message.n % 2 == 0

    hold()


def test_rules_that_no_value_keeps_are_told_by_hypothesis():
    text = "messages:\n  M: {tlv_type: 1000, fields: {n: {type: u8, validation: [{one_of: [1]}, {min: 2}]}}}\n"

    @given(messages(mycelium.load(text).M))
    def never(message):
        raise AssertionError(message)

    with pytest.raises(Unsatisfiable):
        never()
