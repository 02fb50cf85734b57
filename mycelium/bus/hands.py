"""Threads in which plain functions are called, so that none of them holds up the event loop."""

import asyncio
import contextlib
import threading
import time
from collections.abc import Callable
from contextvars import Context, copy_context
from functools import partial
from queue import SimpleQueue
from typing import Any, Final, TypeAlias, final

from mycelium.bus.discretion import where_of
from mycelium.bus.errors import ClosedError
from mycelium.bus.worker import guarded
from mycelium.logs.lines import Line
from mycelium.logs.log import Log

__all__ = ["Hands"]

_log = Log("mycelium.bus")
_JOIN_SECONDS: Final = 1.0
"""How long `end` waits for functions that are running."""
_CALLBACKS: Final = ("on_gap", "on_error")
_Job: TypeAlias = Callable[[], None]


@final
class Hands:
    """A few threads and what they have to do, in the order in which it was given to them.

    With one thread things are done one after the other. The threads do not keep the interpreter alive.

    Args:
        name: Of the threads, for people.
        most: How many threads there are at most.
    """

    def __init__(self, name: str, most: int = 1) -> None:
        self._name = name
        self._most = most
        self._jobs: SimpleQueue[_Job | None] = SimpleQueue()
        self._threads: list[threading.Thread] = []
        self._lock = threading.Lock()
        self._unfinished = 0
        self._ended = False

    def __repr__(self) -> str:
        return f"<Hands {self._name!r}, {len(self._threads)} of {self._most} threads>"

    def start(self) -> None:
        """Have a thread ready; later ones start when they are needed."""
        with self._lock:
            if not self._threads:
                self._add_thread()

    async def call(self, function: Callable[..., Any], *args: Any) -> Any:
        """Call a function in one of the threads, in the context of this task; what it returns.

        Raises:
            ClosedError: The threads have ended.
            Exception: What it raises. What is no Exception comes as the cause of a RuntimeError, since it would end the
                event loop.
        """
        loop = asyncio.get_running_loop()
        answer: asyncio.Future[Any] = loop.create_future()
        context = copy_context()

        def job() -> None:
            result, error = _outcome(context, function, args)
            with contextlib.suppress(RuntimeError):  # the loop may have ended without waiting for it
                loop.call_soon_threadsafe(_settle, answer, result, error)

        self._put(job)
        return await answer

    def post(self, what: str, function: Callable[..., object], *args: object) -> None:
        """Have a function called in one of the threads, if they have not ended; what it raises is logged.

        Args:
            what: The function's name, for the log.
            function: A plain function.
            args: What it gets.
        """
        with contextlib.suppress(ClosedError):
            self._put(lambda: guarded(what, function, *args))

    def adopt(self, options: Any) -> None:
        """Have the callbacks among the options of a client or a subscription called here, not in the loop's thread."""
        for name in _CALLBACKS:
            if options.get(name) is not None:
                options[name] = partial(self.post, name, options[name])

    def end(self) -> None:
        """Let the threads end when they have done everything, and wait for that a moment; not for the calling one."""
        with self._lock:
            self._ended = True
            threads = tuple(self._threads)
        for _ in threads:
            self._jobs.put(None)
        deadline = time.monotonic() + _JOIN_SECONDS
        for thread in threads:
            if thread is not threading.current_thread():
                thread.join(max(0.0, deadline - time.monotonic()))

    # --- inside ---

    def _put(self, job: _Job) -> None:
        with self._lock:
            if self._ended:
                raise ClosedError("the subscription has ended")
            self._unfinished += 1
            if len(self._threads) < min(self._unfinished, self._most):
                self._add_thread()
            self._jobs.put(job)

    def _add_thread(self) -> None:
        thread = threading.Thread(target=self._work, name=self._name, daemon=True)
        try:
            thread.start()
        except RuntimeError:  # none may be started while the interpreter ends
            if not self._threads:
                raise
        else:
            self._threads.append(thread)

    def _work(self) -> None:
        while (job := self._jobs.get()) is not None:
            try:
                job()
            except BaseException as error:  # noqa: BLE001  the thread lives, or what comes later would wait for ever
                _log(Line.CALLBACK_EXITED, caused_by=error)
            del job  # an idle thread holds no message
            with self._lock:
                self._unfinished -= 1


def _outcome(context: Context, function: Callable[..., Any], args: tuple[Any, ...]) -> tuple[Any, Exception | None]:
    try:
        return context.run(function, *args), None
    except BaseException as error:  # noqa: BLE001  the thread lives, whatever a function raises
        if isinstance(error, Exception) and not isinstance(error, StopIteration):
            return None, error
        wrapped = RuntimeError(f"it raised {type(error).__name__}, which ends neither thread nor process here")
        wrapped.__cause__ = error
        return None, wrapped


def _settle(answer: "asyncio.Future[Any]", result: Any, error: Exception | None) -> None:
    if answer.done():  # cancelled, when its subscription or client would not wait any longer
        if error is not None:
            _log(Line.HANDLER_FAILED_LATE, where=where_of(error), error_type=type(error).__qualname__)
    elif error is not None:
        answer.set_exception(error)
    else:
        answer.set_result(result)
