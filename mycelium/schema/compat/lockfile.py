"""`contracts.lock`: every released version of a contract, and everything that was ever used.

JSON with sorted keys, one entry a version: version, min_compatible, the digest, SHA-256 of the file's bytes (which is
what the Rust preamble carries) and the contracts document. Tombstones are the type ids, message names, tags and field
names of all versions, so that a number is never used twice, even when no history is at hand.
"""

import hashlib
import json
from collections.abc import Iterator, Mapping
from functools import cached_property
from typing import Any, Final

from attrs import evolve, field, frozen

from mycelium.errors import MyceliumError
from mycelium.schema.compat.scope import Tombstones
from mycelium.schema.document import digest, document
from mycelium.schema.model import Json, Schema
from mycelium.schema.parse import parse_document

__all__ = ["LOCK_VERSION", "Entry", "Lock", "LockError", "entry_of", "read_lock"]

LOCK_VERSION: Final = 1
_DIGEST_LENGTH: Final = 64


class LockError(MyceliumError):
    """A lockfile cannot be read, or cannot take an entry."""

    def __init__(self, problem: str, remedy: str) -> None:
        super().__init__(problem, remedy)
        self.problem = problem
        self.remedy = remedy

    def __str__(self) -> str:
        return f"{self.problem}; {self.remedy}"


@frozen(slots=False)
class Entry:
    """One released version."""

    version: int
    min_compatible: int
    digest: str
    sha256: str
    """Of the contracts file, byte for byte."""
    model: Mapping[str, Json] = field(repr=False)
    """The contracts document."""

    @cached_property
    def schema(self) -> Schema:
        """The model, read."""
        return parse_document(json.dumps(self.model).encode(), f"contracts.lock:v{self.version}")


@frozen(slots=False)
class Lock:
    """All entries, the oldest version first, and the tombstones."""

    entries: tuple[Entry, ...] = ()
    buried: Mapping[str, Any] = field(factory=dict, repr=False)
    """The `tombstones` object of the file."""

    @property
    def last(self) -> Entry | None:
        """The newest version."""
        return self.entries[-1] if self.entries else None

    @cached_property
    def by_digest(self) -> Mapping[str, Entry]:
        """Entries by digest: the peers that a handshake knows without being told their contracts."""
        return {entry.digest: entry for entry in self.entries}

    @cached_property
    def by_sha256(self) -> Mapping[str, Entry]:
        """Entries by the SHA-256 of their text."""
        return {entry.sha256: entry for entry in self.entries}

    @cached_property
    def tombstones(self) -> Tombstones:
        """What was ever used, as the checker takes it."""
        ids = {int(number): tuple(names) for number, names in self.buried.get("type_ids", {}).items()}
        fields = {
            message: {int(tag): tuple((str(name), str(type_)) for name, type_ in users) for tag, users in tags.items()}
            for message, tags in self.buried.get("fields", {}).items()
        }
        return Tombstones(ids, fields)

    def is_current(self, entry: Entry) -> bool:
        """Whether the lock says the same of a contract as the contract itself."""
        return self.last == entry

    def adding(self, entry: Entry) -> "Lock":
        """The lock with one more version, or with the same version's text renewed.

        Raises:
            LockError: The version is locked with another meaning, or is not the newest.
        """
        last = self.last
        if last is not None and entry.version < last.version:
            problem = f"version {entry.version} is older than version {last.version}, which is locked"
            raise LockError(problem, "raise `schema.version` (`mycelium schema bump`)")
        if last is not None and entry.version == last.version and entry.digest != last.digest:
            problem = f"version {entry.version} is locked with another content"
            raise LockError(problem, "raise `schema.version` (`mycelium schema bump`)")
        kept = self.entries[:-1] if last is not None and last.version == entry.version else self.entries
        return evolve(self, entries=(*kept, entry), buried=_buried(self.buried, entry.schema))

    def text(self) -> str:
        """The file."""
        whole: dict[str, Json] = {
            "lock_version": LOCK_VERSION,
            "tombstones": dict(self.buried),
            "versions": [
                {
                    "version": one.version,
                    "min_compatible": one.min_compatible,
                    "digest": one.digest,
                    "sha256": one.sha256,
                    "model": dict(one.model),
                }
                for one in self.entries
            ],
        }
        return "\n".join(_lines(whole, 4)) + "\n"


def _lines(value: Json, levels: int, indent: str = "") -> Iterator[str]:
    """JSON with a line for each entry down to some level: diffs stay readable, and the file short."""
    if not levels or not isinstance(value, dict | list) or not value:
        yield json.dumps(value, ensure_ascii=False)
        return
    keys = (
        [f"{json.dumps(key, ensure_ascii=False)}: " for key in value] if isinstance(value, dict) else [""] * len(value)
    )
    opening, closing = "{}" if isinstance(value, dict) else "[]"
    inner = f"{indent} "
    yield opening
    for index, (key, item) in enumerate(zip(keys, value.values() if isinstance(value, dict) else value, strict=True)):
        *head, last = _lines(item, levels - 1, inner)
        comma = "," if index < len(keys) - 1 else ""
        first, *middle = [*head, f"{last}{comma}"]
        yield f"{inner}{key}{first}"
        yield from middle
    yield f"{indent}{closing}"


def entry_of(schema: Schema, text: bytes) -> Entry:
    """The entry of a contract.

    Args:
        schema: What the contract says.
        text: The bytes of its file.
    """
    sha256 = hashlib.sha256(text).hexdigest()
    return Entry(schema.version, schema.min_compatible, digest(schema), sha256, document(schema))


def _buried(old: Mapping[str, Any], schema: Schema) -> dict[str, Any]:
    """Tombstones with those of one more schema, sorted."""
    ids: dict[str, list[str]] = {number: list(names) for number, names in old.get("type_ids", {}).items()}
    names = set(old.get("names", ())) | set(schema.messages)
    fields: dict[str, dict[str, list[list[str]]]] = {
        message: {tag: [list(user) for user in users] for tag, users in tags.items()}
        for message, tags in old.get("fields", {}).items()
    }
    for message in schema.messages.values():
        _bury(ids.setdefault(str(message.type_id), []), message.name)
        tags = fields.setdefault(message.name, {})
        for one in message.fields:
            _bury(tags.setdefault(str(one.tag), []), [one.name, str(one.type)])
    return {
        "fields": {message: _by_number(fields[message]) for message in sorted(fields)},
        "names": sorted(names),
        "type_ids": _by_number(ids),
    }


def _bury(users: list[Any], user: object) -> None:
    if user not in users:
        users.append(user)


def _by_number(entries: dict[str, Any]) -> dict[str, Any]:
    return {number: entries[number] for number in sorted(entries, key=int)}


def read_lock(text: str) -> Lock:
    """A lock from the text of its file.

    Raises:
        LockError: The text is no lockfile, or was edited by hand.
    """
    try:
        whole = json.loads(text)
        if whole["lock_version"] != LOCK_VERSION:
            raise LockError(f"lock_version {whole['lock_version']} is unknown", "use a newer mycelium")
        entries = tuple(Entry(**{key: one[key] for key in _KEYS}) for one in whole["versions"])
        lock = Lock(tuple(sorted(entries, key=lambda one: one.version)), dict(whole["tombstones"]))
        for entry in lock.entries:
            if digest(entry.schema) != entry.digest:
                raise LockError(
                    f"version {entry.version} does not have the digest that stands beside it",
                    "restore contracts.lock from version control; it is not for editing",
                )
        lock.tombstones  # noqa: B018  read now, so that a fault is told here
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError, MyceliumError) as error:
        if isinstance(error, LockError):
            raise
        raise LockError(
            f"this is no lockfile: {error}", "restore it, or write it anew with `mycelium schema lock`"
        ) from error
    return lock


_KEYS: Final = ("version", "min_compatible", "digest", "sha256", "model")
