"""asyncio, for libraries that run on nothing else: only in programs of their own."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncGenerator, Awaitable, Callable, Coroutine, Sequence
from contextlib import asynccontextmanager
from typing import cast

from trio_bus._cli.bench.order import Figures

from .library import Loop

PATIENCE = 120.0
_PAUSE = 0.05
_TRIES = 200


def _run(call: Callable[[], Awaitable[Figures]]) -> Figures:
    return asyncio.run(_coroutine(call()))


async def _coroutine(awaited: Awaitable[Figures]) -> Figures:
    return await awaited


async def _together(calls: Sequence[Callable[[], Awaitable[None]]]) -> None:
    await asyncio.gather(*[call() for call in calls])


async def _at_rate(rate: float, count: int, send: Callable[[int], Awaitable[None]]) -> None:
    clock = asyncio.get_running_loop()
    began = clock.time()
    sending: list[asyncio.Future[None]] = []
    for number in range(count):
        await asyncio.sleep(max(0.0, began + number / rate - clock.time()))
        sending.append(asyncio.ensure_future(send(number)))
    await asyncio.gather(*sending)


async def _in_time(awaited: Awaitable[object]) -> None:
    async with asyncio.timeout(PATIENCE):
        await awaited


@asynccontextmanager
async def beside(call: Callable[[], Coroutine[None, None, object]]) -> AsyncGenerator[None]:
    """Let something run in the background of the block.

    What does not end when it is cancelled again and again would hold up the end of asyncio for
    ever: it ends with this process.
    """
    task = asyncio.create_task(cast("Coroutine[object, object, object]", call()))
    try:
        yield
    finally:
        tries = 0
        while not task.done():  # some libraries take a cancellation for a lost connection
            tries += 1
            if tries > _TRIES:
                os._exit(1)
            task.cancel()
            await asyncio.wait([task], timeout=_PAUSE)
    if not task.cancelled():
        task.result()


LOOP = Loop(
    run=_run,
    event=asyncio.Event,
    sleep=asyncio.sleep,
    together=_together,
    at_rate=_at_rate,
    in_time=_in_time,
)
