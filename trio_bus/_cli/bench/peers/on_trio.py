"""trio, for libraries that run on it."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence

import trio

from trio_bus._cli.bench.pacing import at_rate

from .library import Loop

PATIENCE = 120.0


async def _together(calls: Sequence[Callable[[], Awaitable[None]]]) -> None:
    async with trio.open_nursery() as nursery:
        for call in calls:
            nursery.start_soon(call)


async def _in_time(awaited: Awaitable[object]) -> None:
    with trio.fail_after(PATIENCE):
        await awaited


LOOP = Loop(
    run=trio.run,
    event=trio.Event,
    sleep=trio.sleep,
    together=_together,
    at_rate=at_rate,
    in_time=_in_time,
)
