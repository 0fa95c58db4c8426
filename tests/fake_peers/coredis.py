"""coredis, as much of it as is measured."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Mapping, Sequence
from contextlib import asynccontextmanager
from typing import Self

import attrs
import trio

from tests.fake_peers import store


@attrs.frozen
class Entry:
    identifier: bytes
    field_values: dict[bytes, bytes]


class Pipeline:
    def xadd(self, key: str, field_values: Mapping[str, bytes]) -> None:
        store.publish(key, field_values["data"])


class Redis:
    @classmethod
    def from_url(cls, url: str) -> Self:
        return cls()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await trio.lowlevel.checkpoint()

    async def xadd(self, key: str, field_values: Mapping[str, bytes]) -> None:
        await trio.lowlevel.checkpoint()
        store.publish(key, field_values["data"])

    async def xgroup_create(self, *_: str, mkstream: bool) -> None:
        await trio.lowlevel.checkpoint()

    async def xreadgroup(
        self, _: str, __: str, streams: Mapping[str, str], count: int, block: int
    ) -> dict[bytes, tuple[Entry, ...]] | None:
        await trio.sleep(0.001)
        (stream,) = streams
        entries = tuple(
            Entry(b"%d" % number, {b"data": payload})
            for number, payload in store.read(stream, count)
        )
        return {stream.encode(): entries} if entries else None

    async def xack(self, key: str, _: str, ids: Sequence[bytes]) -> None:
        await trio.lowlevel.checkpoint()
        for identifier in ids:
            store.ack(key, int(identifier))

    @asynccontextmanager
    async def pipeline(self, *, transaction: bool) -> AsyncGenerator[Pipeline]:
        yield Pipeline()
