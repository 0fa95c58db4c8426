"""An operator whose process is killed while it sends dead letters back."""

from __future__ import annotations

import subprocess
import sys
from collections import Counter

import attrs
import pytest
import trio

from tests.test_dead_letters import KEPT, MOVED, kill, listed
from tests.test_processes import PATIENCE, ROOT, Lines
from tests.unmeasured import unmeasured
from trio_bus import Bus, Delivery, Message, SubscriptionConfig, open_bus, open_subscription

pytestmark = pytest.mark.any_python

MANY = 60
MIDDLE = 15
"""So many were begun when it is killed."""


async def kill_in_the_middle(url: str, topic: str) -> None:
    """Run an operator, and end it without a word."""
    process = await trio.lowlevel.open_process(
        [sys.executable, "-m", "tests.redriving_process", url, topic],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        cwd=ROOT,
        env={**unmeasured(), "PYTHONPATH": str(ROOT)},
    )
    assert process.stdin is not None
    try:
        await process.stdin.send_all(b"." * MIDDLE)
        await Lines(process).until(MIDDLE)
    finally:
        process.kill()
        with trio.CancelScope(shield=True):
            await process.wait()


async def handled(bus: Bus, config: SubscriptionConfig, many: int) -> Counter[tuple[str, int]]:
    """Let a group handle so many; return how often each came, with which attempt."""
    got: Counter[tuple[str, int]] = Counter()

    async def note(delivery: Delivery) -> None:
        got[delivery.message.payload.decode(), delivery.state.attempt] += 1

    async with open_subscription(bus, config, note) as subscription:
        with trio.fail_after(PATIENCE):
            while subscription.statistics().handled < many:
                await trio.sleep(0.005)
    return got


@pytest.mark.bulk
@pytest.mark.parametrize("config", [KEPT, MOVED], ids=["kept", "moved"])
async def test_an_operator_who_is_killed_loses_nothing(
    server_url: str, config: SubscriptionConfig
) -> None:
    """Each is where it was, or back in its group; whoever goes on sends the rest back, once."""
    topic = config.dead_letter_topic or "orders"
    config = attrs.evolve(config, max_in_flight=MANY)
    async with open_bus(server_url) as bus:
        await bus.backend.create_group("orders", "billing", None)
        await bus.publish_batch([Message("orders", b"%d" % number) for number in range(MANY)])
        await kill(bus, config, MANY)
        await kill_in_the_middle(server_url, topic)
        left = len(await listed(bus, topic))
        (group,) = (await bus.info("orders")).groups
        assert MANY - MIDDLE <= left <= MANY - MIDDLE + 1
        assert group.released == MANY - left, "each in one place"
        outcome = await bus.redrive(topic, everything=True)
        assert outcome.redriven == left
        assert await handled(bus, config, MANY) == {(str(it), 1): 1 for it in range(MANY)}
        assert await listed(bus, topic) == []
