"""CONTRIBUTING.md names files, commands and entries that are there."""

import importlib
import re

import pytest
from processes import ROOT

TEXT = (ROOT / "CONTRIBUTING.md").read_text()
NAMED = sorted(set(re.findall(r"`((?:\.?\w[\w.-]*/)[\w./-]*)`", TEXT)))


def test_the_gate_is_one_command():
    (first, *_) = re.findall(r"```sh\n(.*?)```", TEXT, re.DOTALL)
    assert first == ".ci/run\n"


@pytest.mark.parametrize("name", NAMED)
def test_a_file_that_is_named_is_there(name):
    assert (ROOT / name).exists()


def test_enough_files_are_named_for_each_of_its_recipes():
    for recipe in ("a type of fields", "a rule", "a command"):
        (text,) = re.findall(rf"## How to add {recipe}\n(.*?)\n## ", TEXT, re.DOTALL)
        assert sum(f"`{name}`" in text for name in NAMED) >= 5, recipe


@pytest.mark.parametrize(
    ("module", "names"),
    [
        ("mycelium.schema.kinds", ("SCALAR_SIZES", "INTEGERS", "Type")),
        ("mycelium.schema.rules", ("BUILTIN",)),
        ("mycelium.cli.main", ("COMMANDS",)),
        ("mycelium.cli.ping", ("add_parser",)),
    ],
)
def test_an_entry_that_is_named_is_there(module, names):
    for name in names:
        assert f"`{name}`" in TEXT
        assert hasattr(importlib.import_module(module), name)


def test_a_type_that_is_added_is_asked_for_by_the_type_checker():
    for name in re.findall(r"3\. `mypy`.*?(?=\n4\.)", TEXT, re.DOTALL):
        modules = re.findall(r"`(mycelium/[\w/]+\.py)`", name)
        assert sum("assert_never" in (ROOT / each).read_text() for each in modules) >= 6
