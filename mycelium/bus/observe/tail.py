"""A sample of what is published, for people who watch: bounded, redacted, and free while nobody does."""

import asyncio
import contextlib
import json
import time
from collections import Counter
from collections.abc import AsyncGenerator, Iterator
from itertools import islice
from typing import Any, Final, final

from attrs import frozen

from mycelium.bus.exchange import Exchange
from mycelium.schema.classes import Message
from mycelium.schema.converter import to_plain
from mycelium.schema.errors import UnknownTypeError
from mycelium.schema.printable import printable
from mycelium.schema.redaction import holds_redacted, may_be_logged
from mycelium.schema.registry import Entry, Registry
from mycelium.wire.buffer import Batch
from mycelium.wire.codec import Codec
from mycelium.wire.errors import DecodeError

__all__ = ["PER_SECOND", "Tail", "Watcher"]

PER_SECOND: Final = 20
"""Messages that one watcher is shown."""
_WINDOW_SECONDS: Final = 0.25
_PER_WINDOW: Final = int(PER_SECOND * _WINDOW_SECONDS)
_PER_TYPE: Final = 2
"""Of one type in a window, where all are shown: a busy one leaves room for the others."""
_IDLE_SECONDS: Final = 15.0
"""Something is said at least so often, so that a reader that is gone is noticed."""
_MOST_BYTES: Final = 16 * 1024
_MOST_CHARACTERS: Final = 2000
_HERE: Final = "the bridge's process"
_REDACTED: Final = "redacted by the contract"
_UNMARKED: Final = "not shown: the contract does not say log_payload: true"
_LARGE: Final = f"not shown: over {_MOST_BYTES // 1024} KiB"
_OTHER: Final = "not shown: of other contracts than those in force now"


@frozen
class _Sample:
    """A message that was seen.

    Attributes:
        at: When, in seconds since the Unix epoch.
        client: Who has published it.
        type_id: Of its type.
        size: Bytes of its payload; None where nobody has asked for its bytes.
        content: The message, or its payload; None where its values are withheld.
        withheld: Why they are.
    """

    at: float
    client: str
    type_id: int
    size: int | None
    content: Message | bytes | None
    withheld: str = ""


@final
class Watcher:
    """Somebody who watches. What waits for it is what one window of time has room for, however slowly it reads.

    Args:
        type_id: Of the only type that it is shown; None for all, of which each gets its share.
    """

    def __init__(self, type_id: int | None) -> None:
        self.type_id = type_id
        self._samples: list[_Sample] = []
        self._taken: Counter[int] = Counter()
        """In this window, by type id."""
        self._skipped = 0
        self._news = asyncio.Event()

    def __repr__(self) -> str:
        return f"<Watcher, {len(self._samples)} samples wait, {self._skipped} skipped>"

    def see(self, type_id: int, count: int, samples: Iterator[_Sample]) -> None:
        """So many messages of a type were published; samples of them are made as far as there is room."""
        share = _PER_TYPE if self.type_id is None else _PER_WINDOW
        room = min(_PER_WINDOW - len(self._samples), share - self._taken[type_id], count)
        if room > 0:
            self._samples += islice(samples, room)
            self._taken[type_id] += room
            count -= room
            self._news.set()
        self._skipped += count

    def end(self) -> None:
        """Let it look once more."""
        self._news.set()

    async def next(self, seconds: float) -> tuple[list[_Sample], int]:
        """What was seen, and how many messages were not; waits for some, but not for ever."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self._news.wait()
        self._news.clear()
        seen = self._samples, self._skipped
        self._samples, self._skipped = [], 0
        return seen

    def go_on(self) -> None:
        """A window of time is over."""
        self._taken.clear()


@final
class Tail:
    """Shows what is published on a bus to those who watch.

    Args:
        exchange: Where it is routed.
    """

    def __init__(self, exchange: Exchange) -> None:
        self._exchange = exchange
        self._watchers: dict[Watcher, None] = {}
        self._withheld: dict[int, str] = {}
        self._registry: Registry[Codec] | None = None
        """What the above is about."""
        self._closed = False

    def __repr__(self) -> str:
        return f"<Tail, {len(self._watchers)} watchers>"

    # --- what the exchange calls ---

    def take(self, message: Message) -> None:
        """A message of this process is published."""
        type_id = message.TYPE_ID
        withheld = self._why_withheld(type_id)
        sample = _Sample(time.time(), _HERE, type_id, None, None if withheld else message, withheld)
        for watcher in self._watchers:
            if watcher.type_id in (None, type_id):
                watcher.see(type_id, 1, iter([sample]))

    def take_batch(self, batch: Batch, client: str) -> None:
        """Frames of a client are published."""
        type_ids = batch.type_ids
        for watcher in self._watchers:
            wanted = batch.types if watcher.type_id is None else batch.types & {watcher.type_id}
            for type_id in wanted:
                places = _places(type_ids, type_id)
                samples = (self._sample(batch, place, client) for place in places)
                watcher.see(type_id, type_ids.count(type_id), samples)

    # --- what pages call ---

    async def watch(self, name: str | None) -> AsyncGenerator[bytes, None]:
        """What is to be said to one page, as JSON, a few times a second; ends when the tail is closed.

        Args:
            name: Of the only type that it is to be shown; None for all.

        Raises:
            UnknownTypeError: There is no such type.
        """
        type_id = None if name is None else self._exchange.registry.class_of(name).TYPE_ID
        watcher = Watcher(type_id)
        self._watchers[watcher] = None
        self._tap()
        try:
            while not self._closed:
                samples, skipped = await watcher.next(_IDLE_SECONDS)
                shown = [self._shown(sample) for sample in samples]
                yield json.dumps({"items": shown, "skipped": skipped}, ensure_ascii=False).encode()
                await asyncio.sleep(_WINDOW_SECONDS)
                watcher.go_on()
        finally:
            del self._watchers[watcher]
            self._tap()

    def close(self) -> None:
        """Let everybody who watches come to the end."""
        self._closed = True
        for watcher in self._watchers:
            watcher.end()

    # --- inside ---

    def _tap(self) -> None:
        """Ask to be shown what is published as long as somebody watches, and no longer."""
        meter = self._exchange.measure()
        tap = self if self._watchers else None
        if meter.tap is not tap:
            meter.tap = tap
            self._exchange.on_change()

    def _sample(self, batch: Batch, place: int, client: str) -> _Sample:
        type_id, payload = batch.type_ids[place], batch.payload(place)
        withheld = self._why_withheld(type_id) or (_LARGE if len(payload) > _MOST_BYTES else "")
        return _Sample(time.time(), client, type_id, len(payload), None if withheld else payload, withheld)

    def _why_withheld(self, type_id: int) -> str:
        """Why values of a type are not shown; empty where they are."""
        registry = self._exchange.registry
        if self._registry is not registry:
            self._registry, self._withheld = registry, {}
        if type_id not in self._withheld:
            self._withheld[type_id] = _reason(registry, type_id)
        return self._withheld[type_id]

    def _shown(self, sample: _Sample) -> dict[str, Any]:
        """What a page is told of a sample."""
        values, withheld = None, sample.withheld
        if sample.content is not None:
            try:
                values = self._text(sample)
            except (DecodeError, UnknownTypeError):
                withheld = _OTHER
        return {
            "at": sample.at,
            "type": self._exchange.name_of(sample.type_id),
            "from": sample.client,
            "size": sample.size,
            "values": values,
            "withheld": withheld,
        }

    def _text(self, sample: _Sample) -> str:
        """The values of a message, cut where nobody would read on."""
        contracts, content = self._exchange.contracts, sample.content
        message = contracts.decode(sample.type_id, content) if isinstance(content, bytes) else content
        assert message is not None  # noqa: S101  then there is nothing to show
        text = json.dumps(to_plain(contracts.converter, message), ensure_ascii=False)
        return printable(text[:_MOST_CHARACTERS]) + ("…" if len(text) > _MOST_CHARACTERS else "")


def _places(type_ids: list[int], type_id: int) -> Iterator[int]:
    """Where a type stands in a list, found no further than is asked for."""
    place = -1
    while True:
        try:
            place = type_ids.index(type_id, place + 1)
        except ValueError:
            return
        yield place


def _reason(registry: Registry[Codec], type_id: int) -> str:
    entry: Entry[Codec] | None = registry.by_id.get(type_id)
    if entry is None:
        return _OTHER
    if may_be_logged(registry.schema, entry.message.name):
        return ""
    return _REDACTED if holds_redacted(registry.schema, entry.message.name) else _UNMARKED
