"""`schema stubs` and `schema json-schema`: files for editors; and what type checkers make of a stub."""

import json
import re
import subprocess
import sys

import pytest
from processes import SECONDS, line_with, started, stop
from processes import call as run

CONTRACTS = """
types:
  Side: {enum: {buy: 1, sell: 2}, open: false}
messages:
  Ping: {tlv_type: 1010, fields: {value: {type: String, description: any text}}}
  Leg: {tlv_type: 1011, fields: {price: {type: f64}}}
  Order:
    tlv_type: 1012
    fields:
      note: {type: String, optional: true}
      id: {type: u64}
      side: {type: Side}
      venue: {type: u16, default: 7}
      legs: {type: Vec<Leg>, default: []}
      rests: {type: "Map<Side, f64>", default: {}}
"""


@pytest.fixture
def app(tmp_path):
    """An application's folder with a contract and a module that is bound to it."""
    folder = tmp_path / "app"
    folder.mkdir()
    (folder / "__init__.py").touch()
    (folder / "contracts.yaml").write_text(CONTRACTS)
    (folder / "messages.py").write_text('import mycelium\n\nmycelium.bind(__name__, "contracts.yaml")\n')
    return folder


def stubs(app, *options):
    return run("schema", "stubs", app / "contracts.yaml", "-o", app / "messages.pyi", *options)


def test_without_a_file_the_stub_is_printed():
    printed = run("schema", "stubs")
    assert printed.returncode == 0
    assert printed.stdout.startswith("# Types of contracts.yaml: schema 0x4d594345, version 1, digest\n")
    assert "class Ping(_mycelium.Message):" in printed.stdout


def test_a_stub_is_written_and_left_alone_while_it_is_right(app):
    assert stubs(app).stderr == f"{app}/messages.pyi is written\n"
    before = (app / "messages.pyi").stat()
    assert stubs(app).stderr == f"{app}/messages.pyi is up to date\n"
    after = (app / "messages.pyi").stat()
    assert (before.st_mtime_ns, before.st_ino) == (after.st_mtime_ns, after.st_ino)
    assert sorted(each.name for each in app.iterdir()) == [
        "__init__.py",
        "contracts.yaml",
        "messages.py",
        "messages.pyi",
    ]


def test_check_says_in_one_line_that_a_stub_is_missing_or_stale_and_writes_nothing(app):
    stub, contract = app / "messages.pyi", app / "contracts.yaml"
    again = f"run `mycelium schema stubs {contract} -o {stub}`\n"
    missing = stubs(app, "--check")
    assert (missing.returncode, missing.stdout) == (1, "")
    assert missing.stderr == f"mycelium: {stub} is missing: {again}"
    assert not stub.exists()
    stubs(app)
    assert (stubs(app, "--check").returncode, stubs(app, "--check").stderr) == (0, "")
    contract.write_text(CONTRACTS.replace("any text", "some text"))
    stale = stubs(app, "--check")
    assert (stale.returncode, stale.stderr) == (1, f"mycelium: {stub} is not what {contract} says: {again}")
    assert "any text" in stub.read_text()


@pytest.mark.parametrize(
    ("arguments", "code", "what"),
    [
        (["--check"], 2, "--check needs a file"),
        (["--watch"], 2, "--watch needs a file"),
        (["--check", "--watch", "-o", "x.pyi"], 2, "not allowed with"),
        (["-o", "messages.py"], 2, "messages.py is no .pyi file"),
        (["-o", "nowhere/messages.pyi"], 4, "nowhere/messages.pyi cannot be written"),
        (["nothing.yaml"], 4, "no contracts file"),
        (["tests/broken/tag_twice.yaml"], 3, "the contract is invalid"),
    ],
)
def test_wrong_use_has_its_exit_code_and_says_what(arguments, code, what):
    failed = run("schema", "stubs", *arguments)
    assert (failed.returncode, failed.stdout) == (code, "")
    assert what in failed.stderr


def test_watch_follows_the_contract_until_it_is_interrupted(app):
    stub, contract = app / "messages.pyi", app / "contracts.yaml"
    with started("schema", "stubs", contract, "-o", stub, "--watch") as process:
        line_with(process, "following")
        assert "class Pong" not in stub.read_text()
        # A change that no peer could follow: the stub says what the contract says, not what is in force elsewhere.
        contract.write_text(CONTRACTS.replace("type: u64", "type: String") + "  Pong: {tlv_type: 1013, fields: {}}\n")
        line_with(process, "messages.pyi is written")
        assert "class Pong(_mycelium.Message):" in stub.read_text()
        assert "    id: str\n" in stub.read_text()
        assert stop(process) == 0


@pytest.mark.slow
def test_watch_tells_of_an_edit_that_is_no_contract_and_goes_on(app):
    stub, contract = app / "messages.pyi", app / "contracts.yaml"
    with started("schema", "stubs", contract, "-o", stub, "--watch") as process:
        line_with(process, "following")
        contract.write_text(CONTRACTS + "  Pong: {tlv_type: nonsense}\n")
        assert f"{contract}:16:" in line_with(process, "is not applied (invalid)")
        contract.write_text(CONTRACTS + "  Pong: {tlv_type: 1013, fields: {}}\n")
        line_with(process, "messages.pyi is written")
        assert stop(process) == 0


def test_the_json_schema_is_printed_or_written(tmp_path):
    printed = run("schema", "json-schema")
    assert json.loads(printed.stdout)["$schema"] == "https://json-schema.org/draft/2020-12/schema"
    file = tmp_path / "contracts.schema.json"
    assert run("schema", "json-schema", "-o", file).stderr == f"{file} is written\n"
    assert file.read_text() == printed.stdout
    assert run("schema", "json-schema", "-o", tmp_path / "contracts.yaml").returncode == 2
    assert run("schema", "json-schema", "-o", tmp_path / "nowhere/s.json").returncode == 4


@pytest.mark.parametrize("command", ["stubs", "json-schema"])
def test_help_has_an_example(command):
    assert f"  mycelium schema {command}" in run("schema", command, "--help").stdout


# --- type checkers --------------------------------------------------------------------------------------------------

RIGHT = """
import json
from typing import TYPE_CHECKING, assert_type

import attrs
import mycelium

from app.messages import Leg, Order, Ping, Side

if TYPE_CHECKING:
    from app.messages import OrderJson, SideJson

ping = Ping("x")
assert_type(Ping(value="x").value, str)
assert_type(attrs.evolve(ping, value="y"), Ping)
assert_type(Ping.from_bytes(ping.to_bytes()), Ping)
assert_type(Ping.TYPE_ID, int)
print(attrs.fields(Ping).value.name, hash(ping), ping == Ping("y"), {ping: 1})
orders = [Order("note", 1, Side.buy), Order(id=1, side=2), Order("note", id=1, side=Side.sell, legs=[Leg(1)])]
orders += [Order(None, 1, Side.buy, 8, [Leg(price=1.5)], {Side.buy: 1.0, 2: 2})]


def told(message: mycelium.Message) -> None:
    match message:
        case Order(note, number, venue=venue):
            assert_type(note, str | None)
            assert_type(number, int)
            assert_type(venue, int)
        case Ping(value=value):
            assert_type(value, str)
        case _:
            pass


def bought(order: "OrderJson") -> "SideJson":
    if "rests" in order and "note" in order:
        print(order["note"].upper(), order["rests"]["buy"])
    return order["side"]


async def pings(bus: mycelium.MessageBus) -> None:
    async def on_ping(message: Ping) -> None:
        print(message.value)

    await bus.subscribe(on_ping)
    await bus.publish(ping)


written: "OrderJson" = {"id": 1, "side": "buy"}
print(bought(json.loads("{}")), bought(written))
"""

WRONG = """
from typing import TYPE_CHECKING

from app.messages import Order, Ping, Side

if TYPE_CHECKING:
    from app.messages import OrderJson

ping = Ping("x")
order = Order(id=1, side=Side.buy)
print(ping.valeu)  # an attribute that is none
print(Side.hold)  # a member that is none
Ping(1)  # another type
Ping(value=b"x")  # another type
Ping()  # one is missing
Ping("x", "y")  # one too many
Ping(valeu="x")  # a keyword that is none
Order("note", side=Side.buy)  # a required one behind an optional one is missing
Order(1, Side.buy)  # the required one in the place of the optional one
Order(id="1", side=Side.buy)  # another type
Order(id=1, side=Side.buy, legs=[1])  # another type inside
ping.value = "y"  # nobody changes a message
ping.extra = "y"  # nor adds to it
order.venue = 8  # nobody
number: int = ping.value  # another type
text: str = order.note  # it may be None
order.legs[0].prise  # an attribute of what is inside
json_form: "OrderJson" = {"id": 1, "side": "hold"}  # a word that is none
"""


def mypy(folder):
    """Places at which mypy reports an error."""
    command = [sys.executable, "-m", "mypy", "--strict", "--no-error-summary", "--cache-dir", ".mypy", "app"]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=4 * SECONDS, check=False)
    assert done.returncode in (0, 1), done.stderr
    return {(file, int(line)) for file, line in re.findall(r"^(\S+?):(\d+): error: ", done.stdout, re.MULTILINE)}


def pyright(folder):
    """Places at which pyright reports an error, as strictly as it can."""
    settings = {"typeCheckingMode": "strict", "reportUnusedExpression": False, "reportPrivateUsage": False}
    (folder / "pyrightconfig.json").write_text(json.dumps({"include": ["app"], **settings}))
    command = [sys.executable, "-m", "pyright", "--pythonpath", sys.executable, "--outputjson"]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=4 * SECONDS, check=False)
    found = json.loads(done.stdout[done.stdout.index("{") :])
    assert found["summary"]["filesAnalyzed"] > 2, done.stdout
    return {
        (one["file"].removeprefix(f"{folder}/"), one["range"]["start"]["line"] + 1)
        for one in found["generalDiagnostics"]
        if one["severity"] == "error"
    }


@pytest.mark.slow
@pytest.mark.parametrize("check", [mypy, pyright])
def test_type_checkers_pass_right_code_and_report_each_fault_of_wrong_code(app, check):
    stubs(app)
    (app / "right.py").write_text(RIGHT)
    (app / "wrong.py").write_text(WRONG)
    faults = {("app/wrong.py", number) for number, line in enumerate(WRONG.splitlines(), 1) if "  # " in line}
    assert len(faults) == 18
    assert check(app.parent) == faults


ODD = """
types:
  Odd: {enum: {name: 1, value: 2, real: 3, bit_length: 4, __x: 5, _y: 6, mid: 7, class_: 8}}
messages:
  int: {tlv_type: 1000, fields: {a: {type: u8}, Leg: {type: Leg}, LegJson: {type: f64}, _typing: {type: bool}}}
  Leg: {tlv_type: 1001, deprecated: true, fields: {items: {type: "Vec<i64>"}, keys: {type: "Map<Odd, Leg>"}}}
  First: {tlv_type: 1005, fields: {warning: {type: Warning}}}
  Warning: {tlv_type: 1006, fields: {level: {type: u8}}}
  Holder:
    tlv_type: 1002
    domain: a "topic's" \\
    description: "one \\"\\"\\" and \\\\"
    fields:
      str: {type: Vec<String>, default: [a]}
      property: {type: Odd, default: mid}
      legs: {type: Vec<Leg>}
      type: {type: bytes, default: "0x22"}
      f: {type: f32, default: NaN}
      s: {type: String, default: "'\\"\\n"}
      self_: {type: Holder, optional: true}
      int: {type: int}
  Private: {tlv_type: 1003, fields: {__x: {type: u8}, _y: {type: u8, optional: true}, z: {type: u8}}}
  Runs:
    tlv_type: 1004
    fields:
      a: {type: u8}
      b: {type: u8, optional: true}
      c: {type: u8}
      d: {type: u8, default: 1}
      e: {type: u8}
"""

ODD_RIGHT = """
# pyright: reportDeprecated=false
import mycelium

from app.messages import First, Holder, Leg, Odd, Private, Runs, Warning
from app.messages import int as Int

leg = Leg([], {Odd.mid: Leg(items=[1], keys={})})
number = Int(1, leg, 1.5, True)
holder = Holder(["x"], Odd.class_, [leg], b"", 1, "s", None, number)
holder = Holder(legs=[leg], self_=holder, int=number)
print(holder.str[0].upper(), holder.property.bit_count(), holder.int.Leg.items, holder.type.hex())
level: int = First(First(Warning(1)).warning).warning.level
private: mycelium.Message = Private(__x=1, z=2)
runs = [Runs(1, 2, 3, 4, 5), Runs(1, c=3, e=5), Runs(1, 2, 3, e=5), Runs(a=1, b=2, c=3, d=4, e=5)]
"""


@pytest.mark.slow
@pytest.mark.parametrize("check", [mypy, pyright])
def test_type_checkers_find_no_fault_in_a_stub_whatever_names_the_contract_has(app, check):
    (app / "contracts.yaml").write_text(ODD)
    assert stubs(app).returncode == 0
    (app / "right.py").write_text(ODD_RIGHT)
    assert check(app.parent) == set()
    subprocess.run([sys.executable, "-W", "error", "-c", "import app.right"], cwd=app.parent, check=True)
