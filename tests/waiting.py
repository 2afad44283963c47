"""Waiting for something to become true, in tests that meet other processes."""

import asyncio
import time


def until(condition, seconds=20.0):
    """What a condition says once that is true; fails when it never is."""
    give_up = time.monotonic() + seconds
    while not (found := condition()):
        assert time.monotonic() < give_up, "waited in vain"
        time.sleep(0.02)
    return found


async def until_async(condition, seconds=20.0):
    """The same inside an event loop."""
    give_up = time.monotonic() + seconds
    while not (found := condition()):
        assert time.monotonic() < give_up, "waited in vain"
        await asyncio.sleep(0.02)
    return found
