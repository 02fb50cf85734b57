"""Edits of a contracts file as patches that people apply; each is read again before it is shown."""

from collections.abc import Callable, Mapping
from pathlib import Path

from mycelium.schema.compat.configuration import ConfigurationError
from mycelium.schema.compat.edits import EditError, patch, set_section, set_tags
from mycelium.schema.errors import ContractError
from mycelium.schema.model import Schema
from mycelium.schema.parse import parse_text

__all__ = ["section_patch", "tags_patch"]


def section_patch(name: str, text: bytes, schema: Schema, values: Mapping[str, int]) -> str:
    """A patch that sets numbers of the `schema` section.

    Raises:
        ConfigurationError: The file is laid out in a way that cannot be edited.
    """

    def says(edited: Schema) -> bool:
        return {"version": edited.version, "min_compatible": edited.min_compatible} == values

    return _patched(name, text, lambda old: set_section(old, schema, values), says)


def tags_patch(name: str, text: bytes, schema: Schema, tags: Mapping[tuple[str, str], int]) -> str:
    """A patch that writes tags out; fields that have theirs written already stay as they are.

    Raises:
        ConfigurationError: The file is laid out in a way that cannot be edited.
    """
    fields = {(message.name, one.name): one for message in schema.messages.values() for one in message.fields}
    wanted = {key: tag for key, tag in tags.items() if not fields[key].explicit or fields[key].tag != tag}

    def says(edited: Schema) -> bool:
        return all(
            one.explicit and one.tag == tags[message.name, one.name]
            for message in edited.messages.values()
            for one in message.fields
        )

    return _patched(name, text, lambda old: set_tags(old, schema, wanted), says)


def _patched(name: str, text: bytes, edit: Callable[[str], str], says: Callable[[Schema], bool]) -> str:
    old = text.decode("utf-8-sig")
    remedy = "edit it by hand; `mycelium schema check --verbose` prints the lines"
    try:
        new = edit(old)
        edited = parse_text(new, name)
    except (EditError, ContractError) as error:
        raise ConfigurationError(name, f"cannot be edited here: {error}", remedy) from error
    if not says(edited):
        raise ConfigurationError(name, "cannot be edited here", remedy)
    path = Path(name)
    shown = path.resolve().relative_to(Path.cwd()) if path.resolve().is_relative_to(Path.cwd()) else Path(path.name)
    return patch(shown.as_posix(), old, new)
