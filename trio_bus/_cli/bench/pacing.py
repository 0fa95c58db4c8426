"""Doing something at a rate, whether or not it is done with what came before."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

import trio


async def at_rate(rate: float, count: int, send: Callable[[int], Awaitable[None]]) -> None:
    """Call *send* so many times per second, each in a task of its own, and wait for all."""
    began = trio.current_time()
    async with trio.open_nursery() as nursery:
        for number in range(count):
            await trio.sleep_until(began + number / rate)
            nursery.start_soon(send, number)
