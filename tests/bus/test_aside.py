"""Long work beside the loop leaves the loop its turns, and the interpreter as it was."""

import asyncio
import sys
import time

from mycelium.bus.aside import aside


async def test_the_loop_has_its_turns_while_a_thread_computes():
    def compute():
        end = time.perf_counter() + 0.2
        while time.perf_counter() < end:
            sum(range(1000))
        return sys.getswitchinterval()

    usual = sys.getswitchinterval()
    work = asyncio.ensure_future(aside(compute))
    turns = 0
    while not work.done():
        await asyncio.sleep(0)
        turns += 1
    assert await work < usual
    assert turns > 10
    assert sys.getswitchinterval() == usual


async def test_what_is_raised_comes_back_and_the_interval_too():
    usual = sys.getswitchinterval()
    results = await asyncio.gather(aside(lambda: 1 / 0), aside(time.sleep, 0.01), return_exceptions=True)
    assert [type(each) for each in results] == [ZeroDivisionError, type(None)]
    assert sys.getswitchinterval() == usual
