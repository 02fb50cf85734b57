"""`mycelium schema reload`: have a running bridge read its contracts file again."""

import argparse

from mycelium.cli.options import Commands, add_url, credentials, new_command

__all__ = ["add_parser"]


def add_parser(commands: Commands) -> None:
    """`schema reload`."""
    parser = new_command(
        commands,
        "reload",
        "Have a running bridge read its contracts file again, and say what became of it. Exit code 1 if the edit is "
        "not applied; --force applies it whatever it breaks, and lists the clients that lose types by it.",
        "mycelium schema reload",
        "mycelium schema reload --force --url unix:///run/mycelium.sock",
    )
    parser.add_argument("--force", action="store_true", help="apply a valid file whatever it breaks")
    add_url(parser)
    parser.set_defaults(func=run)


def run(args: argparse.Namespace) -> int:
    """Ask, and print the answer."""
    from mycelium.cli.bridge import ASKER, ask
    from mycelium.schema.printable import printable

    (answer,) = ask(args.url, "reload", credentials(args), force=args.force)
    print(f"{printable(answer['source'])}: {_WORDS[answer['outcome']]}")
    for reason in answer["reasons"]:
        print(f"  {printable(reason)}")
    verb = "loses types" if answer["outcome"] == "applied" else "would be hurt"
    for client, reasons in answer["hurt"].items():
        if client != ASKER:
            print(f"  {printable(client)} {verb}: {printable(', '.join(reasons))}")
    return 0 if answer["outcome"] in ("applied", "unchanged") else 1


_WORDS = {
    "applied": "applied",
    "unchanged": "read again, says the same",
    "incompatible": "not applied, since it breaks what the bridge's policy asks for",
    "invalid": "not applied, since it is no valid contract",
    "error": "not applied, since it cannot be read",
}
