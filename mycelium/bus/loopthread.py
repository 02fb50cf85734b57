"""An event loop in a thread of its own, and blocking calls into it from any other thread."""

import asyncio
import os
import threading
from collections.abc import Callable, Coroutine
from concurrent import futures
from typing import Any, Final, Generic, TypeVar, final

from mycelium.bus.errors import ClosedError, UsageError

__all__ = ["LoopThread"]

T = TypeVar("T")
_LOOK_SECONDS: Final = 0.5
"""How late a Ctrl-C may be noticed at worst."""
_CANCEL_SECONDS: Final = 1.0
"""How long an interrupted call may take to notice."""
_END_SECONDS: Final = 5.0
"""How long the tasks of a loop that ends may take, and then its thread."""


@final
class LoopThread:
    """Runs coroutines for threads that have no loop. It never keeps the interpreter alive.

    Calls are made in the context of the calling thread, so that context variables are there. After a fork the child has
    no such thread: there every call is refused.

    Args:
        name: Of the thread, for people.
    """

    def __init__(self, name: str) -> None:
        self._pid = os.getpid()
        self._lock = threading.RLock()  # a signal handler may call from inside a call
        self._over = False
        self._loop = asyncio.new_event_loop()
        self._resolver = futures.ThreadPoolExecutor(2, thread_name_prefix=f"{name} resolver")
        self._loop.set_default_executor(self._resolver)
        self._thread = threading.Thread(target=self._serve, name=name, daemon=True)
        self._thread.start()

    def __repr__(self) -> str:
        return f"<LoopThread {self._thread.name!r} {'over' if self._over else 'running'}>"

    @property
    def is_foreign(self) -> bool:
        """Whether it belongs to the process that this one was forked from."""
        return os.getpid() != self._pid

    @property
    def is_over(self) -> bool:
        """Whether it takes no more calls."""
        return self._over

    # --- calls from other threads ---

    def run(self, work: Callable[[], Coroutine[Any, Any, T]], unwanted: Callable[[T], object] | None = None) -> T:
        """Run a coroutine, and wait for what it returns or raises.

        A KeyboardInterrupt, or whatever else a signal handler raises meanwhile, cancels it and is raised here.

        Args:
            work: Makes the coroutine, in the loop's thread.
            unwanted: Gets, in the loop's thread, the result of a call that was interrupted just too late.

        Raises:
            UsageError: This thread runs an event loop, which would stand still; or the process was forked.
            ClosedError: The loop has ended.
        """
        _refuse_loops()
        call = _Call(work, unwanted)
        try:
            self.soon(call.start)
            return call.answer.wait()
        except asyncio.CancelledError:
            raise ClosedError("the client is closed; make a new one") from None
        except Exception:
            raise
        except BaseException:
            self._abandon(call)
            raise

    def ask(self, function: Callable[[], T]) -> T:
        """Call a plain function in the loop's thread, or here when the loop has ended.

        Raises:
            UsageError: As in `run`.
        """

        async def work() -> T:
            return function()

        return function() if self._over else self.run(work)

    def soon(self, callback: Callable[[], object]) -> None:
        """Have a callback called in the loop's thread, in the context of this one, and do not wait for it.

        Raises:
            UsageError: The process was forked.
            ClosedError: The loop has ended.
        """
        self.refuse_forks()
        with self._lock:
            if self._over:
                raise ClosedError("the client is closed; make a new one")
            self._loop.call_soon_threadsafe(callback)

    def refuse_forks(self) -> None:
        """To be called before a lock is taken, which a thread may have held that the child does not have.

        Raises:
            UsageError: The process was forked.
        """
        if self.is_foreign:
            raise UsageError("this client is of the process that this one was forked from; connect again in the child")

    def end(self) -> None:
        """Cancel what still runs and wait for the thread, for some seconds at most. May be called twice."""
        if self.is_foreign:
            return
        with self._lock:
            if not self._over:
                self._over = True
                self._loop.call_soon_threadsafe(self._loop.stop)
        if threading.current_thread() is not self._thread:
            self._thread.join(2 * _END_SECONDS)

    # --- inside ---

    def _abandon(self, call: "_Call[Any]") -> None:
        try:
            self.soon(call.abandon)
        except ClosedError:
            return
        call.answer.wait_for(_CANCEL_SECONDS)

    def _serve(self) -> None:
        try:
            self._loop.run_forever()
        finally:
            with self._lock:
                self._over = True
            self._wind_up()

    def _wind_up(self) -> None:
        """What `asyncio.run` does at its end, without starting a thread, which a process that ends may not."""
        loop = self._loop
        tasks = asyncio.all_tasks(loop)
        for task in tasks:
            task.cancel()
        if tasks:
            loop.run_until_complete(asyncio.wait(tasks, timeout=_END_SECONDS))
        loop.run_until_complete(loop.shutdown_asyncgens())
        loop.close()
        self._resolver.shutdown()


def _refuse_loops() -> None:
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return
    raise UsageError(
        "this thread runs an event loop, which a blocking call would stop; use mycelium.MyceliumClient in asyncio code"
    )


@final
class _Answer(Generic[T]):
    """What a call comes to, for the one thread that waits for it.

    A signal handler may raise at any point of the waiting thread. What is waited for is therefore a bare lock: a
    Condition, and so a `concurrent.futures.Future`, may stay locked then, and the loop stand still at it for ever.
    """

    def __init__(self) -> None:
        self._pending = threading.Lock()
        self._pending.acquire()
        self._is_there = False
        self._result: T
        self._error: BaseException | None = None

    @property
    def is_there(self) -> bool:
        """Whether the call has come to an end."""
        return self._is_there

    def settle(self, task: "asyncio.Task[T] | None") -> None:
        """Let the waiting thread go on, once; for the loop's thread. Without a task: the call was never begun."""
        if task is None or task.cancelled():
            self._error = asyncio.CancelledError()
        elif (error := task.exception()) is not None:
            self._error = error
        else:
            self._result = task.result()
        self._is_there = True
        self._pending.release()

    def wait_for(self, seconds: float) -> bool:
        """Wait that long at most; whether it is there."""
        return self._is_there or self._pending.acquire(timeout=seconds)

    def wait(self) -> T:
        """The result, once it is there.

        A signal that comes right before a thread begins to wait does not wake it, so it looks up now and then.

        Raises:
            asyncio.CancelledError: It was cancelled.
            Exception: What it raised.
        """
        while not self.wait_for(_LOOK_SECONDS):
            pass
        if self._error is not None:
            raise self._error
        return self._result


@final
class _Call(Generic[T]):
    """A coroutine on its way through the loop. All but `answer` is the loop's thread's."""

    def __init__(self, work: Callable[[], Coroutine[Any, Any, T]], unwanted: Callable[[T], object] | None) -> None:
        self.answer: _Answer[T] = _Answer()
        self._work = work
        self._unwanted = unwanted
        self._task: asyncio.Task[T] | None = None
        self._abandoned = False

    def start(self) -> None:
        self._task = asyncio.get_running_loop().create_task(self._run(), name="mycelium call")
        self._task.add_done_callback(self._finish)

    def abandon(self) -> None:
        """Nobody waits any more."""
        self._abandoned = True
        if self._task is None:
            self.answer.settle(None)
        elif self.answer.is_there:
            self._throw_away(self._task)
        else:
            self._task.cancel()  # if it is done already, `_finish` is about to be called

    async def _run(self) -> T:
        return await self._work()

    def _finish(self, task: "asyncio.Task[T]") -> None:
        self.answer.settle(task)
        if self._abandoned:
            self._throw_away(task)

    def _throw_away(self, task: "asyncio.Task[T]") -> None:
        if self._unwanted is not None and not task.cancelled() and task.exception() is None:
            self._unwanted(task.result())
