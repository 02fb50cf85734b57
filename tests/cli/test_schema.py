"""`schema show`, `lint` and `digest`: what a contracts file declares."""

import json

import pytest
from processes import ROOT
from processes import call as run

CONTRACTS = ROOT / "tests/contracts"
BROKEN = ROOT / "tests/broken"


def test_show_lists_messages_and_explains_one():
    everything = run("schema", "show").stdout
    assert "1010  Ping" in everything
    assert "digest " in everything
    one = run("schema", "show", "TextMessage", "--contracts", CONTRACTS / "mycelium-protocol.yaml").stdout
    assert "TextMessage  (type id 1001, topic examples)" in one
    assert "max_length: 32, not_empty: true" in one


def test_show_as_json_is_the_document():
    shown = json.loads(run("schema", "show", "Ping", "-o", "json").stdout)
    assert list(shown) == ["messages"]
    assert shown["messages"]["Ping"]["fields"]["value"]["tag"] == 1
    assert list(json.loads(run("schema", "show", "-o", "json").stdout)) == ["schema", "messages"]


def test_show_prints_layouts_with_offsets_sizes_and_padding(tmp_path):
    shown = run("schema", "show", "--layout", "rust", "--contracts", CONTRACTS / "mycelium-defi.yaml")
    assert shown.returncode == 0
    assert "InstrumentMeta  (type id 1018, 68 bytes, alignment 4)" in shown.stdout
    rows = [line.split() for line in shown.stdout.splitlines()]
    assert ["20", "40", "2", "symbol", "String", "32"] in rows
    assert ["61", "3", "padding"] in rows
    file = tmp_path / "contracts.yaml"
    ping = "  Ping: {tlv_type: 1010, fields: {}}\n"
    file.write_text("messages:\n  A: {tlv_type: 1000, fields: {x: {type: u8}, y: {type: Vec<u16>}}}\n" + ping)
    refused = run("schema", "show", "--layout", "rust", "--contracts", file)
    assert refused.returncode == 1
    assert "A  (no layout: y: Vec<u16> (of all Vecs those of u8 and of [u8; N] have one))" in refused.stdout
    assert run("schema", "show", "--layout", "rust", "--contracts", file, "Ping").returncode == 0


def test_show_prints_layouts_as_json(tmp_path):
    file = tmp_path / "contracts.yaml"
    other = "  B: {tlv_type: 1001, fields: {x: {type: i128}}}\n"
    file.write_text("messages:\n  A: {tlv_type: 1000, fields: {x: {type: bytes}, y: {type: u32}}}\n" + other)
    shown = run("schema", "show", "--layout", "rust", "--contracts", file, "-o", "json")
    assert shown.returncode == 1
    assert json.loads(shown.stdout)["messages"] == {
        "A": {
            "tlv_type": 1000,
            "size": 28,
            "alignment": 4,
            "fields": {
                "x": {"type": "bytes", "offset": 0, "size": 24, "alignment": 2, "capacity": 16},
                "y": {"type": "u32", "offset": 24, "size": 4, "alignment": 4},
            },
            "padding": [],
        },
        "B": {"problems": [{"field": "x", "reason": "i128 (integers of 128 bits have none)"}]},
    }


def test_digest_prints_the_digest_its_text_or_the_document():
    import hashlib

    digest = run("schema", "digest").stdout.strip()
    reduced = run("schema", "digest", "--reduced").stdout.rstrip("\n")
    assert hashlib.sha256(reduced.encode()).hexdigest() == digest
    file = ROOT / "contracts.yaml"
    of_file = run("schema", "digest", "--rust", file).stdout.strip()
    assert of_file == hashlib.sha256(file.read_bytes()).hexdigest()
    assert json.loads(run("schema", "digest", "--document").stdout)["schema"]["id"] == 0x4D594345


def test_lint_of_a_good_file_is_one_line():
    linted = run("schema", "lint", CONTRACTS / "mycelium-game.yaml")
    assert (linted.returncode, linted.stdout) == (0, f"{CONTRACTS}/mycelium-game.yaml: no faults, no findings\n")


def test_lint_prints_every_fault_of_fifty_broken_files_and_the_worst_code():
    files = sorted(BROKEN.glob("*.yaml"))[:50]
    linted = run("schema", "lint", *files)
    assert linted.returncode == 3
    for file in files:
        assert f"{file}:" in linted.stdout
    assert "Traceback" not in linted.stderr


def test_lint_as_json_has_a_place_for_each_fault(tmp_path):
    file = tmp_path / "contracts.yaml"
    file.write_text("messages:\n  Ping: {tlv_type: 1010, fields: {a: {type: u8, optinal: true}}}\n")
    linted = run("schema", "lint", "-o", "json", file)
    assert linted.returncode == 3
    fault = json.loads(linted.stdout.splitlines()[0])
    assert (fault["file"], fault["line"], fault["severity"]) == (str(file), 2, "fault")
    assert "did you mean 'optional'?" in fault["hint"]


def test_lint_fails_on_warnings_only_when_asked_to(tmp_path):
    file = tmp_path / "contracts.yaml"
    file.write_text("messages:\n  Ping: {tlv_type: 1010, fields: {a: {type: u8}, b: {type: u8, tag: 9}}}\n")
    assert run("schema", "lint", file).returncode == 0
    strict = run("schema", "lint", "--strict", file)
    assert strict.returncode == 1
    assert "MIXED_TAGS" in strict.stdout


@pytest.mark.parametrize(
    ("arguments", "code"),
    [
        (["schema", "show", "Pingg"], 2),
        (["schema", "show", "--layout", "c", "Ping"], 2),
        (["schema", "show", "--contracts", "nothing.yaml"], 4),
        (["schema", "digest", "nothing.yaml"], 4),
        (["schema", "nonsense"], 2),
        (["schema"], 2),
        (["nonsense"], 2),
    ],
)
def test_wrong_use_has_its_exit_code_and_no_traceback(arguments, code):
    failed = run(*arguments)
    assert failed.returncode == code
    assert "Traceback" not in failed.stderr


@pytest.mark.parametrize(
    "command", ["demo", "serve", "pub", "sub", "ping", "encode", "decode", "schema show", "schema lint"]
)
def test_every_command_has_help_with_an_example(command):
    helped = run(*command.split(), "--help")
    assert helped.returncode == 0
    assert f"  mycelium {command}" in helped.stdout


def test_the_bare_command_lists_the_commands_and_knows_its_version():
    assert "watch typed messages flow" in run().stdout
    assert run("--version").stdout.startswith("mycelium ")
