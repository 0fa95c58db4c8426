"""Blocks that cannot be entered, and blocks of nothing."""

from __future__ import annotations

import pytest
import trio
from trio.testing import MockClock

from tests.harness import World, config, publish, until
from trio_bus import open_subscription


@pytest.mark.parametrize("as_batch", [False, True], ids=["delivery", "batch"])
async def test_whoever_is_cancelled_while_entering_gives_it_back(
    autojump_clock: MockClock, memory: World, *, as_batch: bool
) -> None:
    """Or it would be held as long as the subscription lives, and nobody works on it."""
    async with open_subscription(memory.bus(), config()) as deliveries:
        await publish(memory.bus(), 1)
        block = await (anext(deliveries.batches()) if as_batch else deliveries.receive())
        with trio.CancelScope() as scope:
            scope.cancel()
            async with block:
                pytest.fail("it is cancelled")
        assert scope.cancelled_caught
        await deliveries.wait_idle()
        assert deliveries.statistics().released == 1
        again = await deliveries.receive()
        assert again.state.attempt == 1


async def test_whoever_is_cancelled_while_entering_takes_it_from_nobody(
    autojump_clock: MockClock, memory: World
) -> None:
    """Whoever is inside goes on."""
    async with open_subscription(memory.bus(), config()) as deliveries:
        await publish(memory.bus(), 1)
        delivery = await deliveries.receive()
        async with delivery:
            with trio.CancelScope() as scope:
                scope.cancel()
                async with delivery:
                    pytest.fail("it is cancelled")
        await until(lambda: deliveries.statistics().handled == 1)


async def test_what_an_empty_batch_raises_is_told(autojump_clock: MockClock, memory: World) -> None:
    """All of it was settled or lost before; the error is suppressed, so somebody has to hear it."""
    async with open_subscription(memory.bus(), config()) as deliveries:
        await publish(memory.bus(), 2)
        batch = await anext(deliveries.batches(2, 1.0))
        for delivery in batch:
            await delivery.ack()
        for _ in range(2):
            async with batch:
                assert len(batch) == 0
                raise ValueError("nothing to do")
        assert deliveries.statistics().failed == 2
    assert [str(it.error) for it in memory.recorder.errors] == ["nothing to do"] * 2
