"""An asyncio event loop in virtual time: no sockets, no threads, no waiting."""

import asyncio
import functools
import weakref

__all__ = ["Deadlock", "SimLoop"]

MOST_TURNS = 50_000
"""Turns of the loop at one moment; more is somebody who spins."""


class Deadlock(AssertionError):
    """Everybody waits for something that never comes, or somebody runs for ever without letting time pass."""


class _Clock:
    """What the loop takes for its selector: nothing ever comes from outside, so waiting is moving the time."""

    def __init__(self):
        self.now = 0.0
        self._turns = 0

    def select(self, timeout):
        if timeout is None:
            raise Deadlock(f"at {self.now:.3f} s everybody waits, and there is no timer")
        self._turns = self._turns + 1 if timeout <= 0 else 0
        if self._turns > MOST_TURNS:
            self._turns = 0
            raise Deadlock(f"at {self.now:.3f} s the loop has turned {MOST_TURNS} times without waiting")
        self.now += max(0.0, timeout)
        return ()


class SimLoop(asyncio.BaseEventLoop):
    """A loop whose time passes only when there is nothing to do, and then at once.

    What is given to a thread is done at once, and its result comes after `thread_seconds()`.

    Attributes:
        network: Where connections go; None for a loop without one.
        unhandled: What the loop's exception handler was called with.
        tasks: Every task of this loop that is still somebody's.
    """

    def __init__(self):
        super().__init__()
        self._selector = _Clock()
        self.network = None
        self.unhandled = []
        self.tasks = weakref.WeakSet()
        self.thread_seconds = lambda: 0.0
        self.set_exception_handler(lambda _, context: self.unhandled.append(context))
        self.set_task_factory(SimLoop._make_task)

    def time(self):
        return self._selector.now

    def run_in_executor(self, _, func, *args):
        future = self.create_future()
        try:
            settle = functools.partial(future.set_result, func(*args))
        except Exception as error:  # noqa: BLE001  whoever waits for the thread gets it
            settle = functools.partial(future.set_exception, error)
        self.call_later(self.thread_seconds(), lambda: future.done() or settle())
        return future

    async def create_connection(self, protocol_factory, host=None, port=None, **_):
        return await self.network.connect(protocol_factory, ("tcp", host, port))

    async def create_unix_connection(self, protocol_factory, path=None, **_):
        return await self.network.connect(protocol_factory, ("unix", path))

    # --- what is left ---

    def timers(self):
        """Timers that are set and not cancelled."""
        return [one for one in self._scheduled if not one.cancelled()]

    def running(self):
        """Tasks that have not ended."""
        return [one for one in list(self.tasks) if not one.done()]

    def unobserved(self):
        """Tasks that have failed, and nobody has looked."""
        return [one for one in list(self.tasks) if one.done() and one._log_traceback]

    def dispose(self):
        """End everything, whatever state it is in."""
        try:
            self.run_until_complete(asyncio.sleep(0))  # nobody is cancelled before his beginning
            for task in self.running():
                task.cancel()
            if self.running():
                self.run_until_complete(asyncio.wait(self.running(), timeout=60))
        except Deadlock:
            pass
        for task in self.tasks:
            task._log_destroy_pending = False
        self.close()

    # --- what BaseEventLoop leaves to its subclasses ---

    def _make_task(self, coro, **options):
        task = asyncio.Task(coro, loop=self, **options)
        self.tasks.add(task)
        return task

    def _process_events(self, events):
        """There are none."""

    def _write_to_self(self):
        """Nobody has to be woken: there is one thread."""
