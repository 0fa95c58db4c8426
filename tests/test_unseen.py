"""What the suites of random examples do not see, although planted faults show that it can break."""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import TypeVar

import attrs
import pytest
import trio
from trio.testing import MockClock

from tests.harness import World, config, messages, open_world, publish, until
from trio_bus import Bus, ConnectionLost, Delivery, MemoryBackend, Transition, open_subscription
from trio_bus.abc import GroupMember, Membership
from trio_bus.testing._interposed import InterposedMember

T = TypeVar("T")

LEASE = 1.0
BRIEF = attrs.evolve(config(), claim_idle_timeout=LEASE, max_in_flight=2)


@pytest.fixture
async def world() -> AsyncIterator[World]:
    """Give streams in memory, in virtual time."""
    async with open_world("memory:") as world:
        yield world


async def lose_owners(world: World, times: int) -> None:
    """Let one message lose its owner so often."""
    await world.backend.create_group("orders", "billing", None)
    await publish(world.bus(), 1)
    for number in range(times):
        ghost = Membership(
            topic="orders", group="billing", consumer=f"ghost-{number}", lease=0.1, max_attempt=4
        )
        async with world.backend.join(ghost) as member:
            if number:
                assert (await member.look()).claimable
            taken = (await member.take_over(1)).entries if number else await member.read(1, 1.0)
            assert len(taken) == 1
        await trio.sleep(0.2)


async def test_after_the_turn_of_a_suspect_there_are_as_many_permits_as_before(
    autojump_clock: MockClock, world: World
) -> None:
    """Two run at once before it, and two after it."""
    await lose_owners(world, 2)
    running: list[int] = [0]
    most: list[int] = []

    async def handle(delivery: Delivery) -> None:
        running[0] += 1
        most.append(running[0])
        await trio.sleep(1.0)
        running[0] -= 1

    bus = world.bus()
    async with open_subscription(bus, BRIEF, handle) as subscription:
        await until(lambda: subscription.statistics().handled == 1, 30.0)
        await publish(bus, 4)
        await until(lambda: subscription.statistics().handled == 5, 30.0)
    assert Transition.SUSPECTED in {it.transition for it in world.recorder.transitions}
    assert max(most) == 2


async def test_who_buries_while_it_takes_over_tells_of_it(
    autojump_clock: MockClock, world: World
) -> None:
    """Nobody held it, so there is no delivery that could tell."""
    await lose_owners(world, 1)
    once = attrs.evolve(BRIEF, max_retry=0)

    async def handle(delivery: Delivery) -> None:
        raise AssertionError(f"{delivery} was delivered as often as it may be")

    async with open_subscription(world.bus(), once, handle):
        await until(lambda: bool(world.recorder.ids(Transition.DEAD_LETTERED)), 30.0)


@attrs.define
class CutOff(InterposedMember):
    """A member whose first renewal is answered late, and no other one at all."""

    renewals: int = 0

    async def run(self, name: str, act: Callable[[], Awaitable[T]]) -> T:
        """Do it."""
        self.renewals += name == "renew"
        if name == "renew" and self.renewals > 1:
            raise ConnectionLost("renew: the connection is cut")
        result = await act()
        if name == "renew":
            await trio.sleep(LEASE / 2)
        return result


class CutOffBackend(MemoryBackend):
    """Gives such members."""

    @asynccontextmanager
    async def join(self, membership: Membership) -> AsyncGenerator[GroupMember, None]:
        """Join."""
        async with super().join(membership) as inner:
            yield CutOff(inner)


async def test_a_lease_that_nobody_can_renew_ends_when_the_server_ends_it(
    autojump_clock: MockClock,
) -> None:
    """It runs from when the last renewal was sent, a third of a lease after the read."""
    bus = Bus(CutOffBackend())
    await bus.publish(messages(1)[0])
    took: list[float] = []

    async def handle(delivery: Delivery) -> None:
        began = trio.current_time()
        try:
            await trio.sleep_forever()
        finally:
            took.append(trio.current_time() - began)

    async with open_subscription(bus, BRIEF, handle):
        await until(lambda: bool(took), 30.0)
    assert took[0] == pytest.approx(LEASE * 4 / 3, abs=LEASE / 10)
