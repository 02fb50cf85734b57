"""`mycelium decode`: bytes to JSON, or explained byte by byte."""

import argparse
import sys
from typing import TYPE_CHECKING

from mycelium.cli.options import Commands, add_contracts, add_dialect, add_url, credentials, new_command

if TYPE_CHECKING:
    from collections.abc import Iterator

    from cattrs import Converter

    from mycelium.handle import Contracts
    from mycelium.schema.classes import Message
    from mycelium.schema.registry import Registry
    from mycelium.wire.annotate import Row
    from mycelium.wire.codec import Codec

__all__ = ["add_parser"]

_WIDTH = 16
"""Bytes on a line of an annotation."""


def add_parser(commands: Commands) -> None:
    """`decode HEX|-`."""
    parser = new_command(
        commands,
        "decode",
        "Print a whole frame, or with --type a payload, as JSON, one object a line; or explain each of its bytes. Exit "
        "code 1 if the bytes are no such message.",
        "mycelium decode 0a000000f2030100020000006869",
        "mycelium decode --type Ping --annotate 0100020000006869",
        'mycelium encode Ping \'{"value": "hi"}\' --frame | mycelium decode -',
        'mycelium encode Ping \'{"value": "hi"}\' --frame --dialect rust | mycelium decode --dialect rust -',
    )
    parser.add_argument("hex", metavar="HEX", help="the bytes in hex, spaces allowed; '-' reads standard input")
    parser.add_argument(
        "--type", metavar="TYPE", help="the bytes are a payload of this message (default: whole frames)"
    )
    parser.add_argument("--annotate", action="store_true", help="explain every byte, offset by offset")
    parser.add_argument(
        "--show-sensitive", action="store_true", help="print values that the contract keeps out of sight"
    )
    add_dialect(parser)
    add_contracts(parser)
    add_url(parser)
    parser.set_defaults(func=run)


def run(args: argparse.Namespace) -> int:
    """Print JSON or an annotation."""
    from mycelium.bus.errors import UsageError
    from mycelium.cli.bridge import file_or_bridge
    from mycelium.cli.failures import fail

    text = sys.stdin.read() if args.hex == "-" else args.hex
    try:
        data = bytes.fromhex(text.strip().removeprefix("0x"))
    except ValueError as error:
        raise UsageError(f"{text.strip()[:40]!r} is not hexadecimal; give the bytes as hex digits, two each") from error
    contracts = file_or_bridge(args.contracts, args.url, credentials(args))
    if args.annotate and not data and args.type is None:
        return fail(1, "these bytes are no frames", "there are no bytes", "give them in hex, or - for standard input")
    if args.annotate:
        return _annotate(contracts, data, args)
    return _decode(contracts, data, args)


def _decode(contracts: "Contracts", data: bytes, args: argparse.Namespace) -> int:
    from mycelium.cli.failures import fail
    from mycelium.cli.output import as_object, json_line
    from mycelium.wire.errors import ProtocolError

    try:
        for message, home, converter in _messages(contracts, data, args.type, is_rust=args.dialect == "rust"):
            print(json_line(as_object(message, home.schema, converter, show_sensitive=args.show_sensitive)))
    except ProtocolError as error:
        remedy = "--annotate explains them, --type TYPE reads a bare payload"
        return fail(1, "these bytes are no frames", error.problem, remedy)
    return 0


def _messages(
    contracts: "Contracts", data: bytes, name: str | None, *, is_rust: bool
) -> "Iterator[tuple[Message, Registry[Codec], Converter]]":
    """The message of a payload, or the messages of all frames, each with where it is from.

    Raises:
        ProtocolError: Not everything is frames.
    """
    from mycelium.handle import core_protocol
    from mycelium.schema.converter import make_converter
    from mycelium.wire.buffer import FrameBuffer
    from mycelium.wire.errors import ErrorCode, ProtocolError
    from mycelium.wire.frames import HARD_MAX_PAYLOAD
    from mycelium.wire.rustframes import RustFrames

    home = contracts.registry, contracts.converter
    if name is not None:
        codec = home[0].codec_of(name)
        yield (codec.rust if is_rust else codec).decode(data), *home
        return
    stream = RustFrames(HARD_MAX_PAYLOAD) if is_rust else FrameBuffer(HARD_MAX_PAYLOAD)
    stream.feed(data)
    core = core_protocol().registry
    core_home = core, make_converter(core)
    while (batch := stream.take()) is not None:
        for index, type_id in enumerate(batch.type_ids):
            found = core_home if type_id in core.by_id and not is_rust else home
            codec = found[0].entry_by_id(type_id).codec
            yield (codec.rust if is_rust else codec).decode(batch.payload(index)), *found
    if len(stream) or not data:
        why = f"{len(stream)} bytes are left that are no whole frame" if data else "there are no bytes"
        raise ProtocolError(ErrorCode.PROTOCOL, why)


def _annotate(contracts: "Contracts", data: bytes, args: argparse.Namespace) -> int:
    from mycelium.handle import core_protocol
    from mycelium.schema.redaction import unredacted
    from mycelium.wire.annotate import annotate, annotate_frames
    from mycelium.wire.rustannotate import annotate_rust_frames, annotate_struct

    schemas = [contracts.schema, core_protocol().registry.schema]
    if args.show_sensitive:
        schemas = [unredacted(schema) for schema in schemas]
    is_rust, schema = args.dialect == "rust", schemas[0]
    if args.type is None:
        rows = annotate_rust_frames(data, schema) if is_rust else annotate_frames(data, schemas)
    else:
        contracts.registry.entry(args.type)  # that there is one
        message = schema.messages[args.type]
        rows = annotate_struct(message, data) if is_rust else annotate(message, data, schema)
    for row in rows:
        _print_row(row)
    return 1 if any(row.wrong for row in rows) else 0


def _print_row(row: "Row") -> None:
    from mycelium.schema.printable import printable

    lines = [row.hex[start : start + 2 * _WIDTH] for start in range(0, len(row.hex), 2 * _WIDTH)] or [""]
    text = "  " * row.depth + printable(row.text)
    mark = "!" if row.wrong else " "
    print(f"{row.offset:>6} {mark} {lines[0]:<{2 * _WIDTH}}  {text}".rstrip())
    for number, line in enumerate(lines[1:], 1):
        print(f"{row.offset + number * _WIDTH:>6}   {line}")
