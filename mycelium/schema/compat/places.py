"""Where a finding is: paths, probes, and what identifies an element in a fingerprint."""

from mycelium.schema.compat.findings import Probe
from mycelium.schema.compat.pairs import MessagePair
from mycelium.schema.model import Field, Json, Message

__all__ = ["canonical", "path_of", "probe_of"]


def path_of(message: Message, field: Field) -> str:
    """The path of a field in the file."""
    return f"messages.{message.name}.fields.{field.name}"


def probe_of(pair: MessagePair, old: Field | None, new: Field | None) -> Probe:
    """Where to look for bytes about one field."""
    return Probe(
        pair.previous.name,
        pair.current.name,
        () if old is None else (old.name,),
        () if new is None else (new.name,),
    )


def canonical(field: Field) -> dict[str, Json]:
    """What identifies a field in a fingerprint."""
    return {"tag": field.tag, "type": str(field.type), "optional": field.optional}
