"""Which tag each field should have written out."""

from collections.abc import Mapping

from mycelium.schema.compat.fixes import pinned
from mycelium.schema.compat.pairs import SchemaPair
from mycelium.schema.model import Schema

__all__ = ["pinned_tags"]


def pinned_tags(previous: Schema, current: Schema) -> Mapping[tuple[str, str], int]:
    """The previous schema's tag for every field that it has, the next free one for others.

    Returns:
        Tags by message and field name of the current schema.
    """
    pair = SchemaPair(previous, current)
    tags = {(message.name, one.name): one.tag for message in current.messages.values() for one in message.fields}
    for one in pair.messages.kept:
        found = pinned(one, pair.fields[one.current.name])
        tags |= {(one.current.name, name): tag for name, tag in found.items()}
    return tags
