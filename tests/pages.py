"""The README and the pages of docs/ as sequences of examples.

An example is a fenced block. What a test has to know beside it stands in an HTML comment before it, which nobody sees:

    <!-- test: goes on -->              the last command of the block runs until the page ends
    <!-- test: more of COMMAND -->      what a command that goes on says from here
    <!-- test: exits 1 -->              the exit code of the block's last command
    <!-- test: skip: REASON -->         not run; for what needs a network, an engine or root
    <!-- test: as NAME -->              the block is the content of a file

A comment with lines of its own is an example that readers do not see:

    <!-- test: bash
    git init -q
    -->
    <!-- test: python
    import mycelium
    -->
    <!-- test: console goes on
    $ mycelium serve
    -->
"""

import re
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).parent.parent
DOCS = ROOT / "docs"
_TOKENS = re.compile(
    r"^<!-- test: (?P<note>[^\n]*?)(?:\n(?P<hidden>.*?))?\s*-->\n"
    r"|^(?P<indent> *)```(?P<info>[^\n]*)\n(?P<text>.*?)^ *```$",
    re.MULTILINE | re.DOTALL,
)
_NAMED = re.compile(r"# ([\w./-]+\.\w+)\b.*\n")


class Example(NamedTuple):
    """A fenced block, or a hidden one."""

    line: int
    language: str
    text: str
    note: str = ""

    @property
    def name(self):
        """The file whose content it is; None for none."""
        if self.note.startswith("as "):
            return self.note.removeprefix("as ")
        named = _NAMED.match(self.text)
        return named[1] if named and self.language in {"python", "yaml", "toml"} else None


def examples(path):
    """Every example of a page, in its order."""
    text, note = path.read_text(), ""
    for found in _TOKENS.finditer(text):
        line = text.count("\n", 0, found.start()) + 1
        if found["hidden"] is not None:
            language, _, beside = found["note"].partition(" ")
            yield Example(line, language, found["hidden"] + "\n", beside)
        elif found["note"] is not None:
            note = found["note"]
        else:
            body = re.sub(rf"^{found['indent']}", "", found["text"], flags=re.MULTILINE)
            yield Example(line, found["info"].strip(), body, note)
            note = ""


def pages():
    """The README and every page of the site."""
    return [ROOT / "README.md", *sorted(DOCS.rglob("*.md"))]
