"""`encode` and `decode`: JSON to bytes and back, and every byte explained."""

import json

import pytest
from processes import ROOT
from processes import call as run

DEFI = ROOT / "tests/contracts/mycelium-defi.yaml"
FRAME = "0a000000f2030100020000006869"


def test_encode_prints_the_payload_or_the_frame_in_hex():
    assert run("encode", "Ping", '{"value": "hi"}').stdout == "0100020000006869\n"
    assert run("encode", "Ping", '{"value": "hi"}', "--frame").stdout == f"{FRAME}\n"
    assert (
        run("encode", "Ping", "-", input='{"type": "Ping", "fields": {"value": "hi"}}').stdout == "0100020000006869\n"
    )


def test_decode_prints_frames_as_json_lines_and_payloads_by_type():
    frames = run("decode", "-", input=f"{FRAME}\n{FRAME}\n")
    assert [json.loads(line) for line in frames.stdout.splitlines()] == [
        {"type": "Ping", "fields": {"value": "hi"}}
    ] * 2
    payload = run("decode", "--type", "Ping", "0x01 00 02 00 00 00 68 69")
    assert json.loads(payload.stdout) == {"type": "Ping", "fields": {"value": "hi"}}


def test_a_core_frame_is_decoded_too_and_a_hello_is_hidden():
    assert json.loads(run("decode", "1000000007000100080000000100000000000000").stdout)["fields"] == {"nonce": 1}
    hello = "110000000100010002000000010002000100000063"
    assert json.loads(run("decode", hello).stdout) == {"type": "Hello", "fields": {}, "redacted": True}
    assert json.loads(run("decode", hello, "--show-sensitive").stdout)["fields"] == {"protocol": 1, "client": "c"}


def test_annotate_explains_every_byte_offset_by_offset():
    shown = run("decode", FRAME, "--annotate")
    assert shown.returncode == 0
    rows = [line.split(maxsplit=2) for line in shown.stdout.splitlines()]
    assert "".join(row[1] for row in rows) == FRAME
    assert [(row[0], row[2].strip()) for row in rows] == [
        ("0", "frame of length 10"),
        ("4", "type id 1010: Ping"),
        ("6", "tag 1: value, String"),
        ("8", "length 2"),
        ("12", "'hi'"),
    ]


def test_annotate_goes_up_to_the_fault_and_marks_it():
    shown = run("decode", "--type", "Ping", "--annotate", "0100ff0000006869")
    assert shown.returncode == 1
    assert "2 ! ff000000" in shown.stdout


def test_annotate_hides_what_the_contract_hides():
    fields = {"opportunity_id": 4711, "path": ["0x" + "ab" * 20] * 2, "estimated_profit_usd": 1.5}
    signal = json.dumps({**fields, "gas_estimate_wei": 1, "deadline_block": 2})
    env = {"MYCELIUM_CONTRACTS": str(DEFI)}
    frame = run("encode", "ArbitrageSignal", signal, "--frame", env=env).stdout.strip()
    hidden = run("decode", frame, "--annotate", env=env).stdout
    assert "ab" * 16 not in hidden
    assert "[REDACTED]" in hidden
    assert "ab" * 16 in run("decode", frame, "--annotate", "--show-sensitive", env=env).stdout


RUST_FRAME = "f20328000000" + "0200" + "00" * 6 + "6869" + "00" * 30


def test_the_rust_dialect_goes_both_ways_and_is_explained():
    assert run("encode", "Ping", '{"value": "hi"}', "--dialect", "rust", "--frame").stdout == f"{RUST_FRAME}\n"
    assert run("encode", "Ping", '{"value": "hi"}', "--dialect", "rust").stdout == f"{RUST_FRAME[12:]}\n"
    preamble = "2000" + "07" * 32
    frames = run("decode", preamble + RUST_FRAME * 2, "--dialect", "rust")
    assert [json.loads(line) for line in frames.stdout.splitlines()] == [
        {"type": "Ping", "fields": {"value": "hi"}}
    ] * 2
    payload = run("decode", "--type", "Ping", RUST_FRAME[12:], "--dialect", "rust")
    assert json.loads(payload.stdout) == {"type": "Ping", "fields": {"value": "hi"}}
    shown = run("decode", RUST_FRAME, "--annotate", "--dialect", "rust")
    assert shown.returncode == 0
    assert "count 2, room for 32" in shown.stdout
    assert "'hi'" in shown.stdout
    payload = run("decode", RUST_FRAME[12:], "--annotate", "--dialect", "rust", "--type", "Ping")
    assert "unused" in payload.stdout


def test_a_message_without_a_layout_is_named(tmp_path):
    file = tmp_path / "contracts.yaml"
    file.write_text("messages:\n  A: {tlv_type: 1000, fields: {x: {type: u128}}}\n")
    failed = run("encode", "A", '{"x": 1}', "--dialect", "rust", "--contracts", file)
    assert (failed.returncode, failed.stdout) == (3, "")
    assert "A.x: u128 (integers of 128 bits have none)" in failed.stderr


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        (["decode", "xyz"], 2, "give the bytes as hex digits"),
        (["decode", ""], 1, "there are no bytes"),
        (["decode", "0102"], 1, "2 bytes are left that are no whole frame"),
        (["decode", FRAME[:-2]], 1, "no whole frame"),
        (["decode", "0100000001ff"], 1, "a frame of length 1"),
        (["decode", "0000000000000000"], 1, "a frame of length 0"),
        (["decode", "02000000ffff"], 1, "no type id 65535"),
        (["decode", "--annotate", ""], 1, "there are no bytes"),
        (["decode", "--dialect", "rust", "f203280000"], 1, "5 bytes are left that are no whole frame"),
        (["decode", "--dialect", "rust", "ffff00000000"], 1, "no type id 65535"),
        (["decode", "--dialect", "rust", "0a00000001000100020000006869"], 1, "a native Hello"),
        (["decode", "--dialect", "rust", "f203020000006869"], 1, "takes 40 bytes, not 2"),
        (["encode", "Ping", f'{{"value": "{"x" * 33}"}}', "--dialect", "rust"], 2, "room for 32"),
        (["decode", "--type", "Ping", "010002000000fffe"], 1, "value"),
        (["decode", "--type", "Pong", "010002000000fffe", "--contracts", "nothing.yaml"], 4, "no contracts file"),
        (["encode", "Ping", '{"value": 1}'], 2, "value"),
        (["encode", "TextMessage", '{"sender": "x", "content": "", "timestamp": 1}'], 2, "not_empty"),
        (["encode", "Ping", '{"valeu": "x"}'], 2, "valeu"),
    ],
)
def test_what_is_no_message_is_said_in_a_line_without_a_traceback(arguments, code, said):
    failed = run(*arguments)
    assert (failed.returncode, failed.stdout) == (code, "")
    assert said in failed.stderr
    assert "Traceback" not in failed.stderr
