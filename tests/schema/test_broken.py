"""Files that cannot be used: each yields all of its faults at once, and each fault where it stands."""

import re
from pathlib import Path

import pytest

from mycelium.schema.errors import ContractError
from mycelium.schema.faults import Faults
from mycelium.schema.parse import parse_text

PLACE = re.compile(r"# [0-9]+:[0-9]+: ")
FILES = sorted((Path(__file__).parent.parent / "broken").glob("*.yaml"))


def expected(text):
    """The comments at the head of a broken file: one line for each of its faults, without the file's name."""
    for line in text.splitlines():
        if not PLACE.match(line):
            return
        yield line.removeprefix("# ")


def test_there_are_many_broken_files():
    assert len(FILES) >= 50


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.stem)
def test_a_broken_file_yields_exactly_the_faults_that_its_head_names(file):
    text = file.read_text(encoding="utf-8")
    with pytest.raises(ContractError) as caught:
        parse_text(text, file.name)
    told = str(caught.value).splitlines()
    assert [
        line for line, wanted in zip(told, expected(text), strict=True) if not line.startswith(f"{file.name}:{wanted}")
    ] == []
    places = [(fault.location.line, fault.location.column) for fault in caught.value.faults]
    assert places == sorted(places)
    for fault in caught.value.faults:
        assert fault.location.file == file.name
        assert fault.remedy
        assert "Traceback" not in str(fault)


def test_faults_show_whose_and_how_many_they_are():
    faults = Faults("orders.yaml")
    faults.add(None, "schema", "is wrong", "correct it")
    assert repr(faults) == "<Faults of orders.yaml: 1>"
    assert str(faults.in_file_order()[0]) == "orders.yaml:1:1: schema: is wrong; correct it"
