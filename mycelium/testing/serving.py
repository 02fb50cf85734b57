"""A bridge inside the process, in the running loop or in a thread of its own."""

import asyncio
import contextlib
import threading
from collections.abc import AsyncIterator, Coroutine, Iterator, Sequence
from concurrent import futures
from types import TracebackType
from typing import Any, Final, Self, TypeVar, final

from attrs import frozen

from mycelium.bus.bus import MessageBus
from mycelium.handle import Contracts, Source, load
from mycelium.schema.classes import Message

__all__ = ["BridgeThread", "Collected", "ServedBus", "bridge"]

M = TypeVar("M", bound=Message)
T = TypeVar("T")

_FREE_PORT: Final = "tcp://127.0.0.1:0"
_SECONDS: Final = 5.0
"""How long a test waits for what should be there at once."""
_GRACE_SECONDS: Final = 0.5
"""How long a bridge that ends waits for clients that a test forgot to close."""


@frozen
class ServedBus:
    """A bus with a listener.

    Attributes:
        url: Where clients connect.
        bus: The bus that they share with handlers of this process.
    """

    url: str
    bus: MessageBus

    @property
    def contracts(self) -> Contracts:
        """The contracts of the bus."""
        return self.bus.contracts


@contextlib.asynccontextmanager
async def bridge(contracts: Source | None = None, url: str = _FREE_PORT) -> AsyncIterator[ServedBus]:
    """Serve a bus from the running loop inside the block.

    Args:
        contracts: What `mycelium.load` takes; None for the default contracts file.
        url: Where to listen; by default on a free port of loopback.

    Raises:
        ContractNotFound: There is no such file.
        ContractError: The file has faults.
        BindError: The address cannot be listened on.
    """
    bus = MessageBus(contracts)
    server = bus.serve(url)
    await server.start()
    try:
        yield ServedBus(server.urls[0], bus)
    finally:
        await server.close(_GRACE_SECONDS)
        await bus.close()


@final
class BridgeThread:
    """A bridge in a thread with a loop of its own, inside a `with` block.

    Args:
        contracts: What `mycelium.load` takes; None for the default contracts file.
        url: Where to listen; by default on a free port of loopback.

    Attributes:
        contracts: Its contracts; give them to clients where they are not the default.
        url: Where clients connect; within the block.

    Raises:
        ContractNotFound: There is no such file.
        ContractError: The file has faults.
        BindError: When the block begins: the address cannot be listened on.
    """

    _loop: asyncio.AbstractEventLoop
    _stop: asyncio.Event
    _bus: MessageBus

    def __init__(self, contracts: Source | None = None, url: str = _FREE_PORT) -> None:
        self.contracts = load(contracts)
        self.url = url
        self._executor = futures.ThreadPoolExecutor(1, thread_name_prefix="mycelium bridge")
        self._serving: futures.Future[None] = futures.Future()
        self._ended: futures.Future[None] = futures.Future()

    def __repr__(self) -> str:
        return f"<BridgeThread on {self.url}>"

    def __enter__(self) -> Self:
        self._ended = self._executor.submit(lambda: asyncio.run(self._serve()))
        futures.wait([self._serving, self._ended], return_when=futures.FIRST_COMPLETED)
        if self._ended.done():
            self._executor.shutdown()
            self._ended.result()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._loop.call_soon_threadsafe(self._stop.set)
        self._executor.shutdown()
        self._ended.result()

    def publish(self, message: Message) -> None:
        """Publish to all who are subscribed, clients included.

        Raises:
            EncodeError: A value does not fit its type.
            RuleError: A value breaks a rule.
            UsageError: The message is not of this bridge's contracts.
        """
        self._run(self._bus.publish(message))

    @contextlib.contextmanager
    def collect(self, *types: type[M]) -> "Iterator[Collected[M]]":
        """Collect what is published inside the block.

        Args:
            types: Message classes; none for all.
        """
        collected: Collected[M] = Collected()
        subscription = self._run(self._bus.subscribe(collected.take, *(types or self.contracts)))
        try:
            yield collected
        finally:
            self._run(subscription.unsubscribe())

    async def _serve(self) -> None:
        async with bridge(self.contracts, self.url) as served:
            self.url, self._bus = served.url, served.bus
            self._loop, self._stop = asyncio.get_running_loop(), asyncio.Event()
            self._serving.set_result(None)
            await self._stop.wait()

    def _run(self, work: Coroutine[Any, Any, T]) -> T:
        return asyncio.run_coroutine_threadsafe(work, self._loop).result(_SECONDS)


@final
class Collected(Sequence[M]):
    """Messages in the order of their arrival; it grows while the block of `BridgeThread.collect` goes on."""

    def __init__(self) -> None:
        self._messages: list[M] = []
        self._changed = threading.Condition()

    def __repr__(self) -> str:
        return f"<Collected {self._messages!r}>"

    def __len__(self) -> int:
        return len(self._messages)

    def __getitem__(self, index: Any) -> Any:
        return self._messages[index]

    def wait(self, count: int, timeout: float = _SECONDS) -> list[M]:
        """Wait until there are that many messages, and give all that there are.

        It blocks the thread: inside a coroutine write `await asyncio.to_thread(jobs.wait, 2)`.

        Args:
            count: How many there must be.
            timeout: Seconds.

        Raises:
            TimeoutError: There were fewer.
        """
        with self._changed:
            if not self._changed.wait_for(lambda: len(self._messages) >= count, timeout):
                raise TimeoutError(f"{len(self._messages)} of {count} messages came within {timeout:g} s")
            return list(self._messages)

    def take(self, message: Any) -> None:
        """Add a message; what the bridge calls."""
        with self._changed:
            self._messages.append(message)
            self._changed.notify_all()
