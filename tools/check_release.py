"""Says whether a tag may become a release, and prints its notes: the section of CHANGELOG.md.

    python tools/check_release.py v0.2.0 > notes.md

The version is in mycelium/_version.py and nowhere else; the tag, the changelog and what the README tells others to pin
have to agree with it.
"""

import argparse
import re
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Final

ROOT: Final = Path(__file__).resolve().parent.parent
_HEADING: Final = re.compile(r"^## \[(?P<name>[^\]]+)\](?: - (?P<day>\d{4}-\d{2}-\d{2}))?$", re.MULTILINE)


def version() -> str:
    """The version of the package."""
    found = re.search(r'^__version__[^"]*"([^"]+)"$', (ROOT / "mycelium" / "_version.py").read_text(), re.MULTILINE)
    assert found is not None
    return found[1]


def sections(changelog: str) -> dict[str, tuple[str, str]]:
    """Day and text of each version of a changelog."""
    headings = list(_HEADING.finditer(changelog))
    ends = [*(each.start() for each in headings[1:]), len(changelog)]
    return {
        each["name"]: (each["day"] or "", changelog[each.end() : end].strip())
        for each, end in zip(headings, ends, strict=True)
    }


def faults(tag: str, of: str, changelog: str, readme: str) -> Iterator[str]:
    """What stands against releasing a version under a tag."""
    if tag != f"v{of}":
        yield f"the tag is {tag}, and mycelium/_version.py says {of}: tag v{of}, or change the version"
    found = sections(changelog)
    day, text = found.get(of, ("", ""))
    if not day or not text:
        yield f"CHANGELOG.md has no section `## [{of}] - YYYY-MM-DD` with anything in it: rename `Unreleased`"
    if found.get("Unreleased", ("", ""))[1]:
        yield "CHANGELOG.md has changes under `Unreleased`: they belong to this release, or to none"
    for pinned in re.findall(r"^ *rev: (\S+)$", readme, re.MULTILINE):
        if pinned != f"v{of}":
            yield f"README.md tells others to pin {pinned}: write v{of}"


def main() -> None:
    """Runs the command."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("tag", metavar="TAG", help="the tag that is to be released")
    tag = parser.parse_args().tag
    changelog = (ROOT / "CHANGELOG.md").read_text()
    if found := list(faults(tag, version(), changelog, (ROOT / "README.md").read_text())):
        sys.exit("\n".join(found))
    print(sections(changelog)[version()][1])


if __name__ == "__main__":
    main()
