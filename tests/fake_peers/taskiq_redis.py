"""taskiq's broker, as much of it as is measured."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

import attrs

from tests.fake_peers import store

Function = Callable[[str], Awaitable[None]]


@attrs.frozen
class Task:
    stream: str

    async def kiq(self, text: str) -> None:
        await asyncio.sleep(0)
        store.publish(self.stream, text.encode())


class RedisStreamBroker:
    function: Function

    def __init__(
        self,
        url: str,
        *,
        queue_name: str,
        consumer_group_name: str,
        consumer_id: str,
        xread_count: int,
    ) -> None:
        self.stream = queue_name

    def register_task(self, function: Function, task_name: str) -> Task:
        self.function = function
        return Task(self.stream)

    async def startup(self) -> None:
        await asyncio.sleep(0)

    async def shutdown(self) -> None:
        await asyncio.sleep(0)
