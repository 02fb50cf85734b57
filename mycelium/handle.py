"""Contracts at work: a contracts file as live Python types.

    contracts = mycelium.load("contracts.yaml")
    Ping = contracts.Ping
    from mycelium.contracts import Ping         # the same, from the default file

This module joins the floors: the schema becomes classes, and classes get codecs.
"""

import contextlib
import difflib
import hashlib
import inspect
import os
import sys
import threading
import weakref
from collections.abc import AsyncIterator, Callable, Iterator
from enum import IntEnum
from functools import cache, cached_property
from importlib import resources
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from mycelium.contractfile import Origin, find, read_file
from mycelium.lenient import Lenient
from mycelium.logs.lines import Line
from mycelium.logs.log import Log
from mycelium.schema.classes import M, Message
from mycelium.schema.errors import ContractMismatch
from mycelium.schema.model import Schema
from mycelium.schema.parse import parse_document, parse_text
from mycelium.schema.registry import Registry
from mycelium.schema.rules import warn_unenforced
from mycelium.schema.texts import Texts
from mycelium.wire.codec import Codec, compile_codec
from mycelium.wire.connection import Core
from mycelium.wire.errors import DecodeError

if TYPE_CHECKING:
    from asyncio import Future

    from cattrs import Converter

    from mycelium.bus.reload import Change
    from mycelium.schema.compat.reloading import ReloadPolicy
    from mycelium.schema.compat.scope import Profile

__all__ = ["Contracts", "Source", "bind", "core_protocol", "default", "find", "load", "load_document"]

_log = Log("mycelium.contracts")


class Contracts:
    """A live handle on the newest accepted schema of one source.

    Messages are attributes and items, enums are attributes; iteration gives message classes in file order. There is one
    handle per real path and process: make it with `load`.

    Attributes:
        registry: Classes and codecs of the newest generation.
        texts: The files that have been gone by, by the SHA-256 of their bytes.
    """

    def __init__(self, schema: Schema, origin: Origin | None = None) -> None:
        self.origin = origin
        self._listeners: list[Callable[[Change], object]] = []
        self._layout_holders = 0
        self._given: set[str] = set()
        """Names that are attributes since somebody asked for them: to come by `__getattr__` takes ten times as long."""
        self.texts = Texts()
        self.texts.take(None if origin is None else origin.content_hash, schema)
        self.registry = make_registry(schema, owner=self)
        warn_unenforced(schema)
        _remember(self)

    def __repr__(self) -> str:
        schema = self.schema
        return f"<Contracts {schema.source}, version {schema.version}, {len(schema.messages)} messages>"

    @property
    def schema(self) -> Schema:
        """The immutable model: id, version, digest (hex), messages, fields, tags."""
        return self.registry.schema

    @property
    def path(self) -> Path | None:
        """The file that this was loaded from, as a real path; None for text and documents."""
        return None if self.origin is None else self.origin.real

    @property
    def text_digest(self) -> str | None:
        """SHA-256 of the bytes of the file that says what is in force, in hex; None for text and documents."""
        return self.texts.current

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        registry = self.__dict__.get("registry")
        if registry is None or not (registry.knows(name) or name in registry.schema.enums):
            raise AttributeError(f"{self!r} has no message, enum or attribute {name!r}{self._hint(name)}")
        found = registry.class_of(name) if registry.knows(name) else registry.enum_of(name)
        self._given.add(name)
        self.__dict__[name] = found
        if self.registry is not registry:  # another thread has gone over to another schema meanwhile
            self._take_back()
        return found

    def _take_back(self) -> None:
        for name in tuple(self._given):
            self.__dict__.pop(name, None)

    def __getitem__(self, name: str) -> type[Message]:
        """The class of a message.

        Raises:
            UnknownTypeError: There is no such message.
        """
        return self.registry.class_of(name)

    def __contains__(self, name: object) -> bool:
        return name in self.registry.entries

    def __iter__(self) -> Iterator[type[Message]]:
        return (entry.cls for entry in self.registry.entries.values())

    def __len__(self) -> int:
        return len(self.registry.entries)

    def __dir__(self) -> list[str]:
        return [*{*super().__dir__(), *self.schema.messages, *self.schema.enums}]

    def enum(self, name: str) -> type[IntEnum]:
        """The class of an enum.

        Raises:
            UnknownTypeError: There is no such enum.
        """
        return self.registry.enum_of(name)

    def apply(self, schema: Schema, text_digest: str | None = None) -> None:
        """Go over to another schema, without asking whether peers can follow: what a reload does after its checks.

        Classes that were given out stay the types, brought up to date in place; nothing is changed if this raises.

        Args:
            schema: The other one.
            text_digest: SHA-256 of the bytes of the file that it is from, in hex; None if it is from none.
        """
        registry = self.registry.next(schema)
        registry.activate()
        self.registry = registry
        self._take_back()
        self.texts.take(text_digest, schema)
        self.__dict__.pop("converter", None)
        warn_unenforced(schema)

    async def watch(self, policy: "ReloadPolicy" = "full") -> None:
        """Follow the file until cancelled: apply each edit that keeps what the policy asks for, refuse the others.

        Args:
            policy: Which directions must hold: full, backward (new reads old), forward (old reads new), or none.

        Raises:
            ValueError: This handle was not loaded from a file.
        """
        from mycelium.bus.reload import Reloader

        await Reloader(self, policy).run()

    @contextlib.asynccontextmanager
    async def watching(self, policy: "ReloadPolicy" = "full") -> AsyncIterator[None]:
        """Follow the file inside the block; see `watch`."""
        import asyncio

        from mycelium.bus.reload import Reloader

        watcher = asyncio.ensure_future(Reloader(self, policy).run())
        watcher.add_done_callback(_watcher_ended)
        try:
            yield
        finally:
            watcher.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await watcher

    def on_change(self, callback: "Callable[[Change], object]") -> Callable[[], None]:
        """Have a function called with each change that is accepted or refused, after it.

        Returns:
            A function that ends it.
        """
        self._listeners.append(callback)
        return lambda: self._listeners.remove(callback) if callback in self._listeners else None

    @property
    def profile(self) -> "Profile":
        """What an edit is checked for: `rust` where every layout in Mycelium's own dialect must stay, else `tlv`."""
        return "rust" if self._layout_holders else "tlv"

    def hold_layouts(self, by: int = 1) -> None:
        """Count who speaks that dialect with these contracts; one less with -1."""
        self._layout_holders += by

    def tell(self, change: "Change") -> None:
        """Call everybody who asked with `on_change`; what they raise is logged."""
        for listener in list(self._listeners):
            try:
                listener(change)
            except Exception as error:  # noqa: BLE001  what a listener raises stops nobody else
                _log(Line.CALLBACK_FAILED, caused_by=error, handler="a function given to on_change", where="")

    def decode(self, type_id: int, payload: bytes) -> Message:
        """The message of a type id and a payload.

        Raises:
            UnknownTypeError: No message has that type id.
            DecodeError: The payload is no such message.
        """
        return self.registry.entry_by_id(type_id).decode(payload)

    @cached_property
    def converter(self) -> "Converter":
        """The cattrs converter that knows these messages."""
        from mycelium.schema.converter import make_converter

        return make_converter(self.registry)

    def to_json(self, message: Message) -> str:
        """JSON of a message: bytes as "0x…", enums by name, integers exact, None left out.

        Raises:
            EncodeError: A value does not fit its type.
        """
        from mycelium.schema.converter import write_json

        return write_json(self.converter, message)

    def from_json(self, cls: type[M], text: str | bytes) -> M:
        """The message of such JSON.

        Raises:
            JsonError: The text is no JSON, has a key that is no field, lacks a field, or a value does not fit; the
                error names every one of them.
        """
        from mycelium.schema.converter import read_json

        return read_json(self.converter, cls, text)

    def bind(self, cls: type[M]) -> type[M]:
        """Class decorator: check a class body against the contract and give the contract's class.

        The body names fields with their types, as a type checker should see them:

            @contracts.bind
            class Ping(mycelium.Message):
                value: str

        Raises:
            ContractMismatch: A field is missing, unknown, or has another type.
            UnknownTypeError: There is no such message.
        """
        from mycelium.schema.binding import differences

        contract = self.registry.class_of(cls.__name__)
        differing = differences(self.schema.messages[cls.__name__], self.registry.lineage, cls)
        if differing:
            raise ContractMismatch(cls.__name__, self.schema.source, differing)
        return contract  # type: ignore[return-value]  # that it is one is what has just been checked

    def _hint(self, name: str) -> str:
        close = difflib.get_close_matches(name, [*self.schema.messages, *self.schema.enums], n=1)
        return f"; did you mean {close[0]!r}?" if close else ""


Source = Contracts | Schema | Path | str | os.PathLike[str]
"""What `load` takes: a path, a handle, a schema, or a str: a path, or contract text if it has a newline."""

_handles: "list[weakref.ref[Contracts]]" = []
"""Oldest first."""
_by_path: "weakref.WeakValueDictionary[Path, Contracts]" = weakref.WeakValueDictionary()
_lock: Final = threading.RLock()


def load(source: Source | None = None) -> Contracts:
    """The live handle of a contracts file, the same one for the same real path.

    Args:
        source: A path, or a str that is a path, or contract text if it has a newline; a handle is returned as it is,
            and a Schema gets one. None: the default file, see `find`.

    Raises:
        ContractNotFound: There is no such file.
        ContractError: The file has faults; the error holds all of them.
    """
    match source:
        case None:
            return default()
        case Contracts():
            return source
        case Schema():
            return Contracts(source)
        case str() if "\n" in source:
            return Contracts(parse_text(source))
        case _:
            return _load_path(Path(source))


def load_document(document: bytes, name: str) -> Contracts:
    """A handle on the contracts document (JSON) of a peer.

    Raises:
        ContractError: The document has faults.
    """
    return Contracts(parse_document(document, name))


def default() -> Contracts:
    """The handle of the default contracts file."""
    return _load_path(find())


def bind(module: str, source: str | os.PathLike[str]) -> Contracts:
    """Make a module give out the types of a contracts file: call it as `mycelium.bind(__name__, "contracts.yaml")`.

    Args:
        module: The calling module's `__name__`.
        source: A path, relative to that module's file.

    Raises:
        ContractNotFound: There is no such file.
        ContractError: The file has faults.
    """
    namespace = sys.modules[module]
    file = inspect.getsourcefile(namespace)
    contracts = _load_path(Path(file).parent / source if file else Path(source))

    def get(name: str) -> Any:
        # The module gives out types: a message comes before what the handle itself has of that name.
        return contracts[name] if name in contracts else getattr(contracts, name)

    namespace.__getattr__ = get  # type: ignore[method-assign]  # PEP 562
    namespace.__dir__ = lambda: [*vars(namespace), *contracts.schema.messages, *contracts.schema.enums]  # type: ignore[method-assign]
    return contracts


def restore(schema_id: int, name: str, payload: bytes) -> Message:
    """What unpickling calls: the message, by the newest live handle with that schema id, else the default.

    Rules are not run: what was a message when it was pickled comes back, although an edit may have made them stricter.

    Raises:
        UnknownTypeError: That handle has no such message.
        DecodeError: It has, but the payload is no such message any more.
    """
    with _lock:
        live = [handle for reference in reversed(_handles) if (handle := reference()) is not None]
    fitting = (each for each in live if each.schema.id == schema_id and each.registry.knows(name))
    entry = (next(fitting, None) or default()).registry.entry(name)
    try:
        return entry.decode(payload)
    except DecodeError as error:
        if error.rule is None:
            raise
        return Lenient(entry.lineage).codec_of(entry.message.name).decode(payload)  # type: ignore[no-any-return]


@cache
def core_protocol() -> Core:
    """The core protocol, from the contracts file inside the package."""
    text = resources.files("mycelium.wire").joinpath("core.yaml").read_bytes()
    return Core(make_registry(parse_text(text, "core.yaml", core=True)))


def make_registry(schema: Schema, owner: object = None) -> Registry[Codec]:
    """Classes and codecs for a schema."""
    return Registry.first(schema, compile_codec, restore, owner)


def _watcher_ended(watcher: "Future[None]") -> None:
    """Nobody waits for a watcher until its block ends: what ends it before is said at once."""
    if not watcher.cancelled() and watcher.exception() is not None:
        _log(Line.SCHEMA_UNFOLLOWED, caused_by=watcher.exception())


def _remember(contracts: Contracts) -> None:
    with _lock:
        _handles[:] = [reference for reference in _handles if reference() is not None]
        _handles.append(weakref.ref(contracts))


def _load_path(path: Path) -> Contracts:
    with _lock:
        real = path.resolve()
        known = _by_path.get(real)
        if known is None:
            content = read_file(path)
            origin = Origin(path, real, hashlib.sha256(content).hexdigest())
            known = _by_path[real] = Contracts(parse_text(content, str(path)), origin)
        return known
