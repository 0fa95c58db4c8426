"""The process that the demo kills while it holds entries."""

from __future__ import annotations

import signal
import subprocess
import sys
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from typing import final

import trio

from trio_bus._bus import Bus

from .failing import FAILED, CommandError
from .work import CLIMATE, READINGS, WORKER

_END_TIMEOUT = 5.0


@final
class Victim:
    """A consumer of the group ``climate`` in another process."""

    def __init__(self, process: trio.Process, bus: Bus) -> None:
        self._process = process
        self._bus = bus

    @property
    def pid(self) -> int:
        """Its process id."""
        return self._process.pid

    async def wait_joined(self) -> None:
        """Wait until it is a member of its group.

        Raises:
          CommandError: it ended instead.
        """
        while await self._pending() is None:
            if self._process.poll() is not None:
                raise CommandError("the worker process did not start", FAILED)
            await trio.sleep(0.02)

    async def kill_holding(self) -> int:
        """Kill it (``kill -9``) at a moment when it holds entries; return how many."""
        while True:
            # Stopped, it cannot finish what it holds between our look and the kill.
            self._process.send_signal(signal.SIGSTOP)
            await trio.sleep(0.03)
            if await self._pending():
                break
            self._process.send_signal(signal.SIGCONT)
            await trio.sleep(0.01)
        self._process.kill()
        await self._process.wait()
        await trio.sleep(0.03)  # the server may yet hand entries to the socket that is gone
        return await self._pending() or 0

    async def _pending(self) -> int | None:
        """Ask the server how many entries it holds; None if it is no member."""
        info = await self._bus.info(READINGS)
        for group in info.groups:
            for consumer in group.consumers:
                if group.name == CLIMATE and consumer.name.startswith(WORKER):
                    return consumer.pending
        return None


@asynccontextmanager
async def open_victim(bus: Bus) -> AsyncGenerator[Victim]:
    """Start the process; it ends with the block, if it is not killed before."""
    process = await trio.lowlevel.open_process(
        # -P: no module of the directory we happen to be in.
        [sys.executable, "-P", "-m", "trio_bus._cli.worker", str(bus.url)],
        stdin=subprocess.PIPE,
        start_new_session=True,  # Ctrl-C is for us to handle
    )
    try:
        yield Victim(process, bus)
    finally:
        with trio.move_on_after(_END_TIMEOUT, shield=True):
            process.kill()
            await process.wait()
            assert process.stdin is not None
            await process.stdin.aclose()
