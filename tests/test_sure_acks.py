"""Acks of what is safely ours, which nobody looks at before: they finish it, whoever has it."""

from __future__ import annotations

import attrs
import pytest
import trio

from tests.harness import World, config, publish, until
from tests.redis_world import GROUP, TOPIC, US, command, receipts
from tests.redis_world import publish as append
from trio_bus import Delivery, RedisBackend, Transition, open_subscription
from trio_bus.abc import Ack, Membership, Receipt, Settled

LONG = 60.0
THEY = attrs.evolve(US, consumer="they", lease=0.001, tend_every=0.0)


def sure(*held: Receipt) -> list[Ack]:
    """Ack these without a look."""
    return [Ack(receipt, trio.current_time() + LONG) for receipt in held]


@pytest.mark.any_python
async def test_what_is_ours_is_done(any_world: World) -> None:
    await _create(any_world)
    async with any_world.backend.join(_as(THEY)) as us:
        await publish(any_world.bus(), 3)
        held = receipts(await us.read(3, 1))
        assert await us.settle(sure(*held)) == [Settled.DONE] * 3
        assert (await any_world.group()).pending == 0


@pytest.mark.any_python
async def test_what_somebody_took_is_done_as_well(any_world: World) -> None:
    """And they find out. One that is not sure any more changes nothing."""
    await _create(any_world)
    async with (
        any_world.backend.join(_as(US)) as us,
        any_world.backend.join(_as(THEY)) as they,
    ):
        await publish(any_world.bus(), 1)
        held = receipts(await us.read(1, 1))
        with trio.fail_after(20):
            while not (taken := (await they.take_over(1)).entries):
                await trio.sleep(0.01)
                await they.look()
        old = [Ack(receipt, trio.current_time() - 0.001) for receipt in held]
        assert await us.settle(old) == [Settled.LOST]
        assert await us.settle(sure(*held)) == [Settled.DONE]
        assert await they.settle([Ack(taken[0].receipt)]) == [Settled.LOST]


@pytest.mark.any_python
async def test_what_is_pending_for_nobody_is_lost_or_absent(any_world: World) -> None:
    """A look says which; also where the group is gone."""
    await _create(any_world)
    async with any_world.backend.join(_as(US)) as us:
        await publish(any_world.bus(), 2)
        held = receipts(await us.read(2, 1))
        assert await us.settle(sure(*held)) == [Settled.DONE] * 2
        assert await us.settle(sure(*held)) == [Settled.LOST] * 2
    async with any_world.backend.join(_as(attrs.evolve(US, group="none"))) as us:
        assert await us.settle(sure(*held)) == [Settled.LOST] * 2


async def test_it_is_no_script(backend: RedisBackend) -> None:
    """One command for all: a tenth of the time of the server."""
    await append(backend, 100)
    async with backend.join(US) as us:
        held = receipts(await us.read(100, 1))
        await command(backend, "CONFIG", "RESETSTAT")
        assert await us.settle(sure(*held)) == [Settled.DONE] * 100
        stats = str(await command(backend, "INFO", "commandstats"))
    assert "cmdstat_xack:calls=1," in stats
    assert "cmdstat_eval" not in stats


async def test_where_some_are_pending_for_nobody_all_are_done(backend: RedisBackend) -> None:
    """An operator acked one: it is finished, which is what we wanted."""
    await append(backend, 2)
    async with backend.join(US) as us:
        held = receipts(await us.read(2, 1))
        await command(backend, "XACK", TOPIC, GROUP, str(held[0].id))
        assert await us.settle(sure(*held)) == [Settled.DONE] * 2


@pytest.mark.any_python
async def test_a_handler_that_succeeds_finishes_what_an_operator_gave_away(
    any_world: World,
) -> None:
    """Its lease was safely ours; a verb would have said that it is another's."""
    going, go_on = trio.Event(), trio.Event()

    async def handle(_: Delivery) -> None:
        going.set()
        await go_on.wait()

    settings = attrs.evolve(config(), claim_idle_timeout=100.0)
    thief = Membership(topic="orders", group="billing", consumer="t", lease=0.1, max_attempt=9)
    async with open_subscription(any_world.bus(), settings, handle) as subscription:
        await publish(any_world.bus(), 1)
        await going.wait()
        async with any_world.backend.join(thief) as they:
            with trio.fail_after(20):
                while not (taken := (await they.take_over(1)).entries):
                    await trio.sleep(0.01)
                    await they.look()
            go_on.set()
            await until(lambda: subscription.statistics().handled == 1)
            assert await they.settle([Ack(taken[0].receipt)]) == [Settled.LOST]
    told = [event.transition for event in any_world.recorder.transitions]
    assert told.count(Transition.ACKED) == 1
    assert Transition.LEASE_LOST not in told


def _as(membership: Membership) -> Membership:
    return attrs.evolve(membership, topic="orders")


async def _create(world: World) -> None:
    await world.backend.create_group("orders", US.group, None)
