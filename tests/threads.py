"""Threads of a test that block, and wait for what other threads do."""

import os
import signal
import threading
import time

SECONDS = 20
"""How long anything may take; it is there for hangs, not for timing."""


def until(condition):
    deadline = time.monotonic() + SECONDS
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.001)


def in_thread(function, *args):
    thread = threading.Thread(target=function, args=args, daemon=True)
    thread.start()
    return thread


def interrupting(condition):
    """Press Ctrl-C when something is so."""

    def press():
        until(condition)
        os.kill(os.getpid(), signal.SIGINT)

    return in_thread(press)


def values(messages):
    return [message.value for message in messages]
