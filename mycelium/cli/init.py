"""`mycelium init`: a folder to begin in."""

import argparse
import secrets
import shlex
from importlib import resources
from pathlib import Path
from typing import Final

from mycelium.cli.options import Commands, new_command

__all__ = ["FILES", "add_parser"]

FILES: Final = {
    "contracts.yaml": "the messages",
    "messages.py": "their types, for import",
    "app.py": "a publisher and a subscriber over one bridge",
    "test_app.py": "a test, with a bridge of its own",
}
"""What is written, and what each is. The texts are in `starter`, as `.txt`: no tool takes them for modules of ours."""
_NEXT: Final = (
    ("python app.py", "a bridge, a publisher and a subscriber at once"),
    ("python -m pytest", "its test (pip install pytest)"),
    ("mycelium serve", "a bridge; with it, in two more terminals:"),
    ("mycelium sub", "everything that is published"),
    ("python app.py localhost:7777", "the application over that bridge"),
)


def add_parser(commands: Commands) -> None:
    """`init [DIR]`."""
    parser = new_command(
        commands,
        "init",
        "Write a starter contracts file, an application and its test. Nothing that is there is overwritten.",
        "mycelium init sensors",
    )
    parser.add_argument("dir", metavar="DIR", nargs="?", default=".", help="the folder (default: this one)")
    parser.set_defaults(func=run)


def run(args: argparse.Namespace) -> int:
    """Write the files and say what can be done with them; exit code 1 if one is there already."""
    from mycelium.cli.failures import fail

    folder = Path(args.dir)
    if folder.exists() and not folder.is_dir():
        return fail(2, f"{folder} is a file", "", "name a folder, which may be a new one: `mycelium init sensors`")
    there = [name for name in FILES if (folder / name).exists() or (folder / name).is_symlink()]
    if there:
        held = f"{', '.join(there)} in {folder.resolve()} would be overwritten"
        return fail(1, "nothing is written", held, "name a new folder: `mycelium init sensors`")
    folder.mkdir(parents=True, exist_ok=True)
    for name in FILES:
        with (folder / name).open("x", encoding="utf-8") as file:
            file.write(_text(name))
    _say_next(folder)
    return 0


def _text(name: str) -> str:
    """The text of a file, with a schema id of its own: two applications are two protocols."""
    text = resources.files("mycelium.cli").joinpath("starter", f"{name}.txt").read_text("utf-8")
    return text.replace("@SCHEMA_ID@", f"{secrets.randbelow(0xFFFF_FFFF) + 1:#010x}")


def _say_next(folder: Path) -> None:
    width = max(len(command) for command, _ in _NEXT)
    print(f"in {folder.resolve()}:\n")
    for name, what in FILES.items():
        print(f"  {name:{width}}  {what}")
    print("\ntry:\n")
    if folder.resolve() != Path.cwd():
        print(f"  cd {shlex.quote(str(folder))}")
    for command, what in _NEXT:
        print(f"  {command:{width}}  {what}")
    print(
        "\nEdit contracts.yaml while it all runs: the bridge says what it takes and what it refuses.\n"
        "For your editor: mycelium schema stubs contracts.yaml -o messages.pyi"
    )
