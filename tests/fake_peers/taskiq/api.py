"""What runs tasks."""

from __future__ import annotations

import asyncio

from tests.fake_peers import store
from tests.fake_peers.taskiq_redis import RedisStreamBroker


async def run_receiver_task(broker: RedisStreamBroker, *, max_async_tasks: int) -> None:
    while True:
        for number, payload in store.read(broker.stream, max_async_tasks):
            await broker.function(payload.decode())
            store.ack(broker.stream, number)
        await asyncio.sleep(0.001)
