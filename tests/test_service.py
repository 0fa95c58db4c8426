"""The service of the manual, as a process that is stopped by signals while it has work."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import attrs
import pytest
import trio

from tests.harness import World, config, open_world
from trio_bus import Message, open_subscription

pytestmark = [pytest.mark.any_server, pytest.mark.any_python]

EXAMPLES = Path(__file__).parent.parent / "docs" / "examples"
AS_IT_IS = "import trio, service; trio.run(service.main)"
WITH_A_HANDLER_THAT_HANGS = """
import trio, service

async def hang(delivery):
    print("charging for", delivery.message.payload.decode(), flush=True)
    await trio.sleep_forever()

service.charge = hang
trio.run(service.main)
"""
PATIENCE = 60.0
SIGNALS = pytest.mark.parametrize(
    "number", [signal.SIGTERM, signal.SIGINT], ids=lambda number: number.name
)


@attrs.define
class Service:
    """The process, and what it has printed."""

    process: trio.Process
    _text: bytes = b""

    @property
    def lines(self) -> list[str]:
        """The lines so far."""
        return self._text.decode().splitlines()

    def about(self, word: str) -> set[str]:
        """Return what the lines that begin with this word are about."""
        return {line.removeprefix(f"{word} for ") for line in self.lines if line.startswith(word)}

    async def until(self, condition: Callable[[], bool]) -> None:
        """Wait for lines until it holds."""
        assert self.process.stdout is not None
        with trio.fail_after(PATIENCE):
            while not condition():
                chunk = await self.process.stdout.receive_some()
                assert chunk, f"it ended early: {self.lines}"
                self._text += chunk

    async def ended(self) -> int:
        """Wait for its end; return the exit code."""
        assert self.process.stdout is not None
        with trio.fail_after(PATIENCE):
            while chunk := await self.process.stdout.receive_some():
                self._text += chunk
            return await self.process.wait()


@asynccontextmanager
async def serving(url: str, program: str = AS_IT_IS) -> AsyncGenerator[Service]:
    """Run it until it is ready; kill it at the end, if it has not ended."""
    path = os.pathsep.join([str(EXAMPLES), os.environ.get("PYTHONPATH", "")])
    process = await trio.lowlevel.open_process(
        [sys.executable, "-W", "error", "-c", program],
        stdout=subprocess.PIPE,
        env={**os.environ, "TRIO_BUS_URL": url, "PYTHONPATH": path},
    )
    service = Service(process)
    try:
        await service.until(lambda: service.lines[:1] == ["ready"])
        yield service
    finally:
        process.kill()
        with trio.CancelScope(shield=True):
            await process.wait()


async def order(world: World, *numbers: int) -> None:
    """Publish orders."""
    bus = world.bus()
    await bus.publish_batch([Message("orders", f"order {it}".encode()) for it in numbers])


async def handle_rest(world: World, count: int) -> dict[str, int]:
    """Handle so many orders; return their attempts."""
    attempts: dict[str, int] = {}
    settings = attrs.evolve(config(), claim_idle_timeout=1000.0)  # nothing waits for a lease
    with trio.fail_after(PATIENCE):
        async with open_subscription(world.bus(), settings) as deliveries:
            while len(attempts) < count:
                async with await deliveries.receive() as delivery:
                    attempts[delivery.message.payload.decode()] = delivery.state.attempt
    return attempts


async def check_gone(world: World) -> None:
    """Nothing is pending for it, and the group does not know it any more."""
    group = await world.group()
    assert (group.pending, group.delayed, group.dead) == (0, 0, 0)
    assert group.consumers == ()


@SIGNALS
async def test_the_service_of_the_manual_finishes_what_it_started(
    server_url: str, number: signal.Signals
) -> None:
    async with open_world(server_url) as world, serving(server_url) as service:
        await order(world, 7)
        await service.until(lambda: "charging for order 7" in service.lines)
        service.process.send_signal(number)
        assert await service.ended() == 0
        await check_gone(world)
        assert (await world.group()).released == 0
    expected = (EXAMPLES / "service.txt").read_text().replace("SIGTERM", number.name)
    assert service.lines == expected.splitlines()


async def test_a_service_that_gets_sigterm_leaves_the_rest_to_others_at_once(
    server_url: str,
) -> None:
    """What it read and has not started is handed back; nothing of it counts."""
    async with open_world(server_url) as world, serving(server_url) as service:
        await order(world, *range(100))
        await service.until(lambda: len(service.about("charging")) >= 16)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(order, world, *range(100, 200))
            service.process.send_signal(signal.SIGTERM)
            assert await service.ended() == 0
        await check_gone(world)
        charged = service.about("charged")
        assert charged == service.about("charging"), "what it started it has finished"
        rest = await handle_rest(world, 200 - len(charged))
    assert charged.isdisjoint(rest)
    assert len(charged) + len(rest) == 200
    assert set(rest.values()) == {1}


@SIGNALS
async def test_a_second_signal_cancels_a_handler_that_hangs(
    server_url: str, number: signal.Signals
) -> None:
    async with (
        open_world(server_url) as world,
        serving(server_url, WITH_A_HANDLER_THAT_HANGS) as service,
    ):
        await order(world, 7, 8)
        await service.until(lambda: len(service.about("charging")) == 2)
        service.process.send_signal(signal.SIGTERM)
        await service.until(lambda: service.about("stopping") != set())
        assert (await world.group()).pending == 2, "it waits for them"
        service.process.send_signal(number)
        assert await service.ended() == 0
        await check_gone(world)
        assert (await world.group()).released == 2
        assert await handle_rest(world, 2) == {"order 7": 1, "order 8": 1}
    assert service.lines[-1] == "handled 0"
