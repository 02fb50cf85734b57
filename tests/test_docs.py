"""What README and documentation show is what happens: every example is run as it stands."""

import json
import re
import shutil
import subprocess
import sys
import tomllib

import pytest
import yaml
from pages import DOCS, ROOT, examples, pages
from terminal import Terminal
from zygote import Interpreter, Zygote

import mycelium
from mycelium.cli.main import COMMANDS
from mycelium.cli.schema import COMMANDS as SCHEMA

RUN = {"bash", "console", "pycon", "python"}
"""Languages of examples that are run."""


def read_yaml(text):
    for document in yaml.safe_load_all(text):
        if isinstance(document, dict) and "messages" in document:
            mycelium.load(text)


READ = {"json": json.loads, "toml": tomllib.loads, "yaml": read_yaml}
"""Those that have to be what they say, where they are not written to a file."""
SHOWN = {"", "text", "sh", "{eval-rst}", "{raw} html", "{toctree}"}


@pytest.fixture(scope="session")
def zygote():
    with Zygote() as running:
        yield running


def name_of(page):
    return page.relative_to(ROOT).with_suffix("").as_posix()


def run(terminal, example):
    if example.name or example.language in RUN:
        terminal.run(example)
    elif example.language in READ:
        READ[example.language](example.text)
    else:
        assert example.language in SHOWN, f"nobody knows what to do with {example.language!r}"


def run_all(terminal, page, several):
    with terminal:
        for example in several:
            try:
                run(terminal, example)
            except BaseException as error:
                error.add_note(f"in {name_of(page)}, line {example.line}")
                raise


@pytest.mark.parametrize("page", pages(), ids=name_of)
def test_every_example_of_a_page_is_what_happens(page, zygote, tmp_path):
    folder = tmp_path / "here"
    folder.mkdir()
    has_http = ":7778" in page.read_text()
    run_all(Terminal(zygote, folder, http="127.0.0.1:0" if has_http else "off"), page, examples(page))


@pytest.mark.parametrize("page", pages(), ids=name_of)
def test_every_command_that_is_named_exists(page):
    text = page.read_text()
    assert set(re.findall(r"[`$] ?mycelium ([a-z]+)", text)) <= {*COMMANDS, "schema"}
    under_schema = {name.replace("-", "_") for name in re.findall(r"mycelium schema ([a-z][a-z-]*)", text)}
    assert under_schema <= {*SCHEMA, "json_schema"}


def test_everything_that_is_made_for_a_page_is_shown_on_one(monkeypatch):
    monkeypatch.syspath_prepend(DOCS / "_ext")
    from mycelium_docs.generated import GENERATED, GENERATORS

    asked = [name for page in pages() for name in GENERATED.findall(page.read_text())]
    assert sorted(asked) == sorted(GENERATORS)
    for make in GENERATORS.values():
        assert len(make().splitlines()) > 2
    for name in [each for each in sys.modules if each.startswith("mycelium_docs")]:
        monkeypatch.delitem(sys.modules, name)


@pytest.mark.slow
def test_the_tutorial_on_an_empty_machine(tmp_path):
    """From its first command on: a copy of the source, a new environment, and nothing else."""
    source, page = tmp_path / "source", DOCS / "tutorial.md"
    leave_out = shutil.ignore_patterns(".*", "__pycache__", "tests", "build", "dist")
    shutil.copytree(ROOT, source, ignore=leave_out)
    installing, *rest = examples(page)
    commands = re.sub(r"^\$ ", "", installing.text, flags=re.MULTILINE)
    subprocess.run(["bash", "-ec", commands], cwd=source, check=True, timeout=500)
    python = source / ".venv" / "bin" / "python"
    run_all(Terminal(Interpreter(python), source / "first", python, library="", http=""), page, rest)
