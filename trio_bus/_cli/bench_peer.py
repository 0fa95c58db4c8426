"""redis.asyncio, measured by ``trio-bus bench`` in a process of its own.

It reads orders from standard input and answers each, both as lines of JSON. This is the only
module with an event loop that is not trio's. Nothing imports it: it is only ever run.
"""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Awaitable, Callable, Coroutine
from functools import partial
from time import perf_counter
from typing import Protocol, cast

import msgspec
from redis.asyncio import Redis
from redis.exceptions import RedisError

from .bench_work import Answer, Client, Order


class _Pipeline(Protocol):
    def xadd(self, name: str, fields: dict[str, bytes]) -> object: ...
    async def execute(self) -> list[object]: ...


class _Redis(Protocol):
    """What is used of the client, whose own types are partly unknown."""

    def ping(self) -> Awaitable[object]: ...
    def xadd(self, name: str, fields: dict[str, bytes]) -> Awaitable[object]: ...
    def pipeline(self, *, transaction: bool) -> _Pipeline: ...
    async def aclose(self) -> None: ...


class _FromUrl(Protocol):
    def __call__(self, url: str, *, single_connection_client: bool) -> _Redis: ...


_from_url = cast("_FromUrl", getattr(Redis, "from_url"))  # noqa: B009 - as above


async def _rate(order: Order) -> float:
    work = order.work
    client = _from_url(order.url, single_connection_client=order.client is Client.SINGLE)
    turn = partial(_batch if order.client is Client.PIPELINE else _one, client, order)
    try:
        await _together(order, client.ping)  # opens the connections
        began = perf_counter()
        await _together(order, partial(_repeat, turn, work.turns))
        return work.count / (perf_counter() - began)
    finally:
        await client.aclose()


async def _together(order: Order, run: Callable[[], Awaitable[object]]) -> None:
    await asyncio.gather(*[run() for _ in range(order.work.tasks)])


async def _repeat(turn: Callable[[], Coroutine[None, None, None]], turns: int) -> None:
    for _ in range(turns):
        await turn()


async def _one(client: _Redis, order: Order) -> None:
    await client.xadd(order.topic, {"data": bytes(order.size)})


async def _batch(client: _Redis, order: Order) -> None:
    pipeline = client.pipeline(transaction=False)
    for _ in range(order.work.batch):
        pipeline.xadd(order.topic, {"data": bytes(order.size)})
    await pipeline.execute()


def _answer(line: str) -> Answer:
    order = msgspec.json.decode(line, type=Order)
    try:
        return Answer(asyncio.run(_rate(order)))
    except (RedisError, OSError) as error:
        return Answer(error=f"{type(error).__name__}: {error}")


if __name__ == "__main__":
    for request in sys.stdin:
        print(msgspec.json.encode(_answer(request)).decode(), flush=True)
