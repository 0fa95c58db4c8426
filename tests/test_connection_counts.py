"""How many connections a process with many subscriptions has."""

from __future__ import annotations

from contextlib import AsyncExitStack

import attrs
import pytest
import trio

from tests.harness import config, open_world, publish, until
from tests.redis_world import command
from trio_bus import Delivery, RedisBackend, open_subscription
from trio_bus._redis.replies import as_text

pytestmark = pytest.mark.any_server


@pytest.mark.parametrize("count", [1, 16, 256])
async def test_each_subscription_has_one_and_all_share_two(server_url: str, count: int) -> None:
    """One to read on; commands go over that of the bus, and all listen on one."""
    handled: list[str] = []
    async with open_world(server_url) as world, AsyncExitStack() as stack:
        backend = world.backend
        assert isinstance(backend, RedisBackend)
        bus = world.bus()

        async def connections(kind: str) -> int:
            return as_text(await command(backend, "CLIENT", "LIST", "TYPE", kind)).count("id=")

        async def handle(delivery: Delivery) -> None:
            handled.append(delivery.message.topic)

        for number in range(count):
            mine = attrs.evolve(config(), group=f"group-{number}")
            await stack.enter_async_context(open_subscription(bus, mine, handle))
        await publish(bus, 3)
        await until(lambda: len(handled) == 3 * count, patience=60)
        with trio.fail_after(10):
            while await connections("normal") != count + 1:
                await trio.sleep(0.01)
        assert await connections("pubsub") == 1
        await stack.aclose()
        with trio.fail_after(10):
            while (await connections("normal"), await connections("pubsub")) != (1, 0):
                await trio.sleep(0.01)
