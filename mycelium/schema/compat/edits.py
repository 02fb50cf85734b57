"""Edits of a contracts file's text that leave everything else, comments included, as it is.

YAML is not parsed here: positions come from the model, and whoever edits reads the result again to see that it says
what it should.
"""

import difflib
import re
from collections.abc import Mapping
from typing import Final

from mycelium.schema.model import Field, Schema

__all__ = ["EditError", "patch", "set_section", "set_tags"]

_TAG: Final = re.compile(r"\btag\s*:\s*(?:0x[0-9a-fA-F]+|[0-9]+)")


class EditError(ValueError):
    """The text is laid out in a way that this module does not know."""


def patch(path: str, before: str, after: str) -> str:
    """A unified diff that `patch -p1` and `git apply` take; empty if nothing changes."""
    old, new = before.splitlines(keepends=True), after.splitlines(keepends=True)
    lines = list(difflib.unified_diff(old, new, f"a/{path}", f"b/{path}"))
    return "".join(line if line.endswith("\n") else f"{line}\n\\ No newline at end of file\n" for line in lines)


def set_tags(text: str, schema: Schema, tags: Mapping[tuple[str, str], int]) -> str:
    """Write tags of fields out.

    Args:
        text: The file.
        schema: What the file says.
        tags: By message and field name; fields that are not in it stay as they are.

    Raises:
        EditError: A field cannot be found in the text.
    """
    lines = text.splitlines(keepends=True)
    wanted = [
        (one, tags[message.name, one.name])
        for message in schema.messages.values()
        for one in message.fields
        if (message.name, one.name) in tags
    ]
    # From the end to the start, so that places further up stay right.
    for one, tag in sorted(wanted, key=_place, reverse=True):
        _set_tag(lines, one, tag)
    return "".join(lines)


def _place(wanted: tuple[Field, int]) -> tuple[int, int]:
    location = wanted[0].location
    return (location.line, location.column) if location else (0, 0)


def _set_tag(lines: list[str], field: Field, tag: int) -> None:
    row, column = _place((field, tag))
    if not 1 <= row <= len(lines):
        raise EditError(f"field {field.name} has no place in the text")
    line, start = lines[row - 1], column - 1
    brace = re.compile(r"\{\s*").search(line, start)
    colon = line.find(":", start)
    if colon < 0:
        raise EditError(f"line {row} is no field")
    if brace is not None and not line[colon + 1 : brace.start()].strip():
        lines[row - 1] = _in_flow(line, brace, tag)
    elif not line[colon + 1 :].split("#")[0].strip():
        _in_block(lines, row, start, tag)
    else:
        raise EditError(f"field {field.name} in line {row} is laid out in an unknown way")


def _in_flow(line: str, brace: re.Match[str], tag: int) -> str:
    end = _closing(line, brace.start())
    inside = line[brace.end() : end]
    if _TAG.search(inside):
        return line[: brace.end()] + _TAG.sub(f"tag: {tag}", inside, count=1) + line[end:]
    return f"{line[: brace.end()]}tag: {tag}, {line[brace.end() :]}"


def _closing(line: str, start: int) -> int:
    """Where the brace that opens at `start` closes, or the end of the line."""
    depth = 0
    for index in range(start, len(line)):
        depth += {"{": 1, "}": -1}.get(line[index], 0)
        if depth == 0:
            return index
    return len(line)


def _in_block(lines: list[str], row: int, indent: int, tag: int) -> None:
    """Put `tag:` before the first entry of a block mapping, or exchange the one that is there."""
    first: int | None = None
    for index in range(row, len(lines)):
        bare = lines[index].strip()
        if not bare or bare.startswith("#"):
            continue
        depth = len(lines[index]) - len(lines[index].lstrip())
        if depth <= indent:
            break
        first = index if first is None else first
        if re.match(r"\s*tag\s*:", lines[index]) and depth == _depth(lines[first]):
            lines[index] = _TAG.sub(f"tag: {tag}", lines[index], count=1)
            return
    if first is None:
        raise EditError(f"nothing stands below line {row}")
    ending = "\r\n" if lines[first].endswith("\r\n") else "\n"
    lines.insert(first, f"{' ' * _depth(lines[first])}tag: {tag}{ending}")


def _depth(line: str) -> int:
    return len(line) - len(line.lstrip())


def set_section(text: str, schema: Schema, values: Mapping[str, int]) -> str:
    """Set numbers of the `schema` section, which is made if it is missing.

    Raises:
        EditError: The section is laid out in an unknown way.
    """
    lines = text.splitlines(keepends=True)
    head = next((index for index, line in enumerate(lines) if re.match(r"schema\s*:", line)), None)
    if head is None:
        entries = {"version": schema.version, "min_compatible": schema.min_compatible, **values}
        return "schema:\n" + "".join(f"  {key}: {number}\n" for key, number in entries.items()) + "\n" + text
    flow = re.match(r"schema\s*:\s*\{", lines[head])
    for key, number in values.items():
        if flow:
            lines[head] = _in_section_flow(lines[head], key, number)
        else:
            _in_section(lines, head, key, number)
    return "".join(lines)


def _in_section_flow(line: str, key: str, number: int) -> str:
    known = re.compile(rf"\b{key}\s*:\s*(?:0x[0-9a-fA-F]+|[0-9]+)")
    if known.search(line):
        return known.sub(f"{key}: {number}", line, count=1)
    return line.replace("{", f"{{{key}: {number}, ", 1)


def _in_section(lines: list[str], head: int, key: str, number: int) -> None:
    indent = "  "
    for index in range(head + 1, len(lines)):
        line = lines[index]
        if not line.strip() or line.lstrip().startswith("#"):
            continue
        if not line[0].isspace():
            break
        indent = line[: _depth(line)]
        found = re.match(rf"(\s*{key}\s*:\s*)(?:0x[0-9a-fA-F]+|[0-9]+)", line)
        if found:
            lines[index] = f"{found[1]}{number}{line[found.end() :]}"
            return
    lines.insert(head + 1, f"{indent}{key}: {number}\n")
