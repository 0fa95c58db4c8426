"""redis.asyncio: a client that all tasks share, and a loop that reads, handles and acks."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Awaitable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from functools import partial
from typing import Protocol, cast, final

import attrs
from redis.asyncio import Redis

from trio_bus._cli.bench.order import Order

from .driver import main
from .library import GROUP, Handle
from .on_asyncio import LOOP, beside

_Read = list[tuple[bytes, list[tuple[bytes, dict[bytes, bytes]]]]]


class _Pipeline(Protocol):
    def xadd(self, name: str, fields: Mapping[str, bytes]) -> object: ...
    async def execute(self) -> list[object]: ...


class _Client(Protocol):
    """What is used of the client, whose own types are partly unknown."""

    def xadd(self, name: str, fields: Mapping[str, bytes]) -> Awaitable[object]: ...
    def xgroup_create(
        self, name: str, groupname: str, start: str, /, *, mkstream: bool
    ) -> Awaitable[object]: ...
    def xreadgroup(
        self, group: str, consumer: str, streams: Mapping[str, str], count: int, block: int
    ) -> Awaitable[_Read]: ...
    def xack(self, name: str, group: str, *ids: bytes) -> Awaitable[object]: ...
    def pipeline(self, *, transaction: bool) -> _Pipeline: ...
    async def aclose(self) -> None: ...


class _FromUrl(Protocol):
    def __call__(self, url: str, *, single_connection_client: bool) -> _Client: ...


_from_url = cast("_FromUrl", getattr(Redis, "from_url"))  # noqa: B009 - as above


@final
@attrs.frozen
class _Library:
    client: _Client
    stream: str
    group: str = GROUP

    async def publish(self, payload: bytes) -> None:
        await self.client.xadd(self.stream, {"data": payload})

    async def publish_many(self, payloads: Sequence[bytes]) -> None:
        pipeline = self.client.pipeline(transaction=False)
        for payload in payloads:
            pipeline.xadd(self.stream, {"data": payload})
        await pipeline.execute()

    def consuming(
        self, width: int, batch: int, handle: Handle
    ) -> AbstractAsyncContextManager[None]:
        return beside(partial(self._consume, max(width, batch), batch, handle))

    async def _consume(self, count: int, batch: int, handle: Handle) -> None:
        await self.client.xgroup_create(self.stream, self.group, "0", mkstream=True)
        while True:
            found = await self.client.xreadgroup(self.group, "c", {self.stream: ">"}, count, 1000)
            for _, entries in found:
                for first in range(0, len(entries), batch):
                    some = entries[first : first + batch]
                    await handle([fields[b"data"] for _, fields in some])
                    await self.client.xack(self.stream, self.group, *[entry for entry, _ in some])


@asynccontextmanager
async def _open(order: Order, *, single: bool) -> AsyncGenerator[_Library]:
    client = _from_url(order.url, single_connection_client=single)
    try:
        yield _Library(client, order.topic)
    finally:
        await client.aclose()


open_shared = partial(_open, single=False)
"""A client that opens a connection for each task that waits."""
open_single = partial(_open, single=True)
"""A client with one connection."""

if __name__ == "__main__":
    main(open_shared, LOOP)
