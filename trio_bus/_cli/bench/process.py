"""The process of a client, as the command sees it."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from typing import final

import msgspec
import trio

from trio_bus._cli.failing import FAILED, CommandError

from .clients import Client
from .order import Answer, Figures, Order

_END_TIMEOUT = 5.0


@final
class Process:
    """A running program of a client. One order at a time."""

    def __init__(self, client: Client, process: trio.Process) -> None:
        self._client = client
        self._process = process

    async def measure(self, order: Order) -> Figures:
        """Return what it measured.

        Raises:
          CommandError: it could not, or it died.
        """
        assert self._process.stdin is not None
        try:
            await self._process.stdin.send_all(msgspec.json.encode(order) + b"\n")
        except trio.BrokenResourceError:
            raise self._died() from None
        answer = msgspec.json.decode(await self._line(), type=Answer)
        if answer.error:
            raise CommandError(f"{self._client.name}: {order.work.name}: {answer.error}", FAILED)
        return answer.figures

    async def _line(self) -> bytes:
        assert self._process.stdout is not None
        line = b""
        while not line.endswith(b"\n"):
            data = await self._process.stdout.receive_some()
            if not data:
                raise self._died()
            line += data
        return line

    def _died(self) -> CommandError:
        return CommandError(f"the process that measures {self._client.name} died", FAILED)

    async def restart(self) -> None:
        """End the program, and start it anew."""
        await self.end()
        self._process = await _start(self._client)

    async def end(self) -> None:
        """End the program, also when cancelled."""
        with trio.move_on_after(_END_TIMEOUT, shield=True):
            self._process.kill()
            await self._process.wait()
            assert self._process.stdio is not None
            await self._process.stdio.aclose()


@asynccontextmanager
async def running(client: Client) -> AsyncGenerator[Process]:
    """Start the program of *client*; it ends with the block."""
    process = Process(client, await _start(client))
    try:
        yield process
    finally:
        await process.end()


async def _start(client: Client) -> trio.Process:
    return await trio.lowlevel.open_process(
        # -P: no module of the directory we happen to be in.
        [sys.executable, "-P", "-m", f"{__package__}.{client.program}"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        start_new_session=True,  # Ctrl-C is for us to handle
    )
