"""coredis on trio: a client that all tasks share, and a loop that reads, handles and acks."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Awaitable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from importlib import import_module
from typing import Protocol, cast, final

import attrs
import trio

from trio_bus._cli.bench.order import Order

from .driver import main
from .library import GROUP, Handle
from .on_trio import LOOP


class _Entry(Protocol):
    identifier: bytes
    field_values: Mapping[bytes, bytes]


class _Pipeline(Protocol):
    def xadd(self, key: str, field_values: Mapping[str, bytes]) -> object: ...


class _Client(AbstractAsyncContextManager["_Client"], Protocol):
    def xadd(self, key: str, field_values: Mapping[str, bytes]) -> Awaitable[object]: ...
    def xgroup_create(
        self, key: str, groupname: str, identifier: str, *, mkstream: bool
    ) -> Awaitable[object]: ...
    def xreadgroup(
        self, group: str, consumer: str, streams: Mapping[str, str], count: int, block: int
    ) -> Awaitable[Mapping[bytes, Sequence[_Entry]] | None]: ...
    def xack(self, key: str, group: str, ids: Sequence[bytes]) -> Awaitable[object]: ...
    def pipeline(self, *, transaction: bool) -> AbstractAsyncContextManager[_Pipeline]: ...


class _Redis(Protocol):
    def from_url(self, url: str) -> _Client: ...


class _Module(Protocol):
    Redis: _Redis


@final
@attrs.frozen
class _Library:
    client: _Client
    stream: str
    group: str = GROUP

    async def publish(self, payload: bytes) -> None:
        await self.client.xadd(self.stream, {"data": payload})

    async def publish_many(self, payloads: Sequence[bytes]) -> None:
        async with self.client.pipeline(transaction=False) as pipeline:
            for payload in payloads:
                pipeline.xadd(self.stream, {"data": payload})

    @asynccontextmanager
    async def consuming(self, width: int, batch: int, handle: Handle) -> AsyncGenerator[None]:
        await self.client.xgroup_create(self.stream, self.group, "0", mkstream=True)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._consume, max(width, batch), batch, handle)
            yield
            nursery.cancel_scope.cancel("it is measured")

    async def _consume(self, count: int, batch: int, handle: Handle) -> None:
        while True:
            found = await self.client.xreadgroup(self.group, "c", {self.stream: ">"}, count, 1000)
            for entries in (found or {}).values():
                for first in range(0, len(entries), batch):
                    some = entries[first : first + batch]
                    await handle([entry.field_values[b"data"] for entry in some])
                    ids = [entry.identifier for entry in some]
                    await self.client.xack(self.stream, self.group, ids)


@asynccontextmanager
async def open_library(order: Order) -> AsyncGenerator[_Library]:
    """Open it for one topic."""
    coredis = cast("_Module", import_module("coredis"))
    async with coredis.Redis.from_url(order.url) as client:
        yield _Library(client, order.topic)


if __name__ == "__main__":
    main(open_library, LOOP)
