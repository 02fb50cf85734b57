"""The README's two commands, which a script takes out of it. What else it shows is run by test_docs.py."""

import re

from pages import ROOT

README = (ROOT / "README.md").read_text()


def test_exactly_two_commands_one_for_the_demo_and_one_for_the_tests():
    commands = re.findall(r"^```sh\n(.*?)^```$", README, re.MULTILINE | re.DOTALL)
    assert [command.count("\n") for command in commands] == [1, 1]
    assert commands[0].strip().endswith(".venv/bin/mycelium demo")
    assert commands[1].strip().endswith(".venv/bin/python -m pytest -q -n 3 --dist worksteal")
    assert README.index(commands[1]) < README.index("\n## ")


def test_what_it_links_to_is_there():
    links = set(re.findall(r"\]\(((?!https?://)[^)#]+)", README))
    assert len(links) > 10
    assert [link for link in links if not (ROOT / link).exists()] == []
