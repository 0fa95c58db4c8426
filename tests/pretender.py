"""Somebody who says what a test wants to every client that connects."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from typing import cast

import trio

HELLO_OK = (
    b"%5\r\n+server\r\n+redis\r\n+version\r\n+7.4.1\r\n+proto\r\n:3\r\n+id\r\n:7\r\n"
    b"+role\r\n+master\r\n+OK\r\n+OK\r\n-NOPERM no\r\n-NOPERM no\r\n:0\r\n-NOSCRIPT no\r\n"
)


@asynccontextmanager
async def pretender(*answers: bytes) -> AsyncGenerator[tuple[str, trio.CancelScope]]:
    """Run a server that says *answers* to every client, then only listens; cancel it to end it."""
    (listener,) = await trio.open_tcp_listeners(0, host="127.0.0.1")
    port = cast("tuple[str, int]", listener.socket.getsockname())[1]
    scope = trio.CancelScope()

    async def talk(stream: trio.SocketStream) -> None:
        for answer in answers:
            await stream.receive_some()
            await stream.send_all(answer)
        async for _ in stream:
            pass

    async def serve() -> None:
        with scope:
            await trio.serve_listeners(talk, [listener])

    async with trio.open_nursery() as nursery:
        nursery.start_soon(serve)
        try:
            yield f"redis://127.0.0.1:{port}", scope
        finally:
            scope.cancel()
