"""`mycelium schema json-schema`: what contracts files may say, for editors that complete and check them."""

import argparse
from pathlib import Path

from mycelium.cli.options import Commands, new_command

__all__ = ["add_parser"]


def add_parser(commands: Commands) -> None:
    """`schema json-schema`."""
    parser = new_command(
        commands,
        "json-schema",
        "Print or write the JSON Schema (draft 2020-12) of contracts files. An editor with a YAML language server "
        "completes and checks a file whose first line is `# yaml-language-server: $schema=contracts.schema.json`. What "
        "it cannot see, such as a tag that comes twice, `mycelium schema lint` finds.",
        "mycelium schema json-schema -o contracts.schema.json",
    )
    parser.add_argument("-o", "--output", metavar="FILE", type=Path, help="the file to write (default: print it)")
    parser.set_defaults(func=run)


def run(args: argparse.Namespace) -> int:
    """Print the schema, or write it."""
    from importlib import resources

    from mycelium.cli.failures import fail
    from mycelium.cli.files import write_whole
    from mycelium.cli.output import say

    text = resources.files("mycelium.schema").joinpath("contracts.schema.json").read_text(encoding="utf-8")
    if args.output is None:
        print(text, end="")
        return 0
    if args.output.suffix != ".json":
        return fail(2, f"{args.output} is no .json file", "", "name a file that ends in .json")
    try:
        write_whole(args.output, text)
    except OSError as error:
        return fail(4, f"{args.output} cannot be written", error.strerror or str(error))
    say(f"{args.output} is written")
    return 0
