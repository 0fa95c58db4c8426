"""Whole subscriptions to which the server delivered entries that never arrived."""

from __future__ import annotations

import attrs
import pytest

from tests.harness import Recorder, config, open_world, publish, until
from tests.servers import command
from trio_bus import (
    BusOptions,
    Delivery,
    EntryId,
    OutcomeUnknown,
    Scope,
    Transition,
    open_bus,
    open_subscription,
)
from trio_bus._redis.group import Group
from trio_bus.abc import Entry, Membership, Release, Retry, TakeOver
from trio_bus.testing import open_fault_proxy

# Where nothing wakes the subscription, it looks again after 24 seconds at the earliest.
SLOW = attrs.evolve(config(), reclaim_interval=30.0)
SOON = 10.0
OTHER = Membership(topic="orders", group="billing", consumer="other", lease=60.0, max_attempt=9)


@attrs.define
class Starts:
    """A handler that keeps which entries started, and with which attempt."""

    seen: list[tuple[bytes, int]] = attrs.field(factory=list[tuple[bytes, int]])

    async def __call__(self, delivery: Delivery) -> None:
        """Keep it."""
        self.seen.append((delivery.message.payload, delivery.state.attempt))


async def test_entries_of_a_read_whose_answer_was_lost_start_after_the_reconnect(
    server_url: str,
) -> None:
    """They are pending for us, and we do not know them: they come back, uncounted."""
    starts, recorder = Starts(), Recorder()
    async with (
        open_world(server_url) as world,
        open_fault_proxy(server_url) as proxy,
        open_bus(proxy.url, BusOptions(observer=recorder)) as bus,
        open_subscription(bus, SLOW, starts) as subscription,
    ):
        await publish(world.bus(), 1)
        await until(lambda: subscription.statistics().handled == 1)
        fault = proxy.in_reply("XREADGROUP")
        # One that waits already does not count; it is answered, and the next one is cut.
        await publish(world.bus(), 1)
        await until(lambda: len(starts.seen) == 2)
        await publish(world.bus(), 3)
        await until(lambda: len(starts.seen) == 5, SOON)
        await subscription.wait_idle()
        assert fault.happened == 1
        assert (await world.group()).pending == 0
    assert sorted(starts.seen) == [(b"0", 1), (b"0", 1), (b"0", 1), (b"1", 1), (b"2", 1)]
    assert {event.scope for event in recorder.errors} <= {Scope.READ, Scope.CONNECT}
    assert recorder.ids(Transition.LEASE_LOST) == []


async def test_entries_of_a_take_over_whose_answer_was_lost_start_after_the_reconnect(
    server_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """That they were counted as taken over is undone: a lost answer is no attempt."""
    starts, recorder, lost = Starts(), Recorder(), list[Entry]()
    really_take_over = Group.take_over

    async def take_over(
        group: Group, count: int, suspect: EntryId | None, *, book: bool
    ) -> TakeOver:
        taken = await really_take_over(group, count, suspect, book=book)
        if taken.entries and not lost:
            lost.extend(taken.entries)
            command(server_url, "CLIENT KILL TYPE normal SKIPME yes")
            raise OutcomeUnknown("the connection was lost")
        return taken

    monkeypatch.setattr(Group, "take_over", take_over)
    async with (
        open_world(server_url) as world,
        open_bus(server_url, BusOptions(observer=recorder)) as bus,
    ):
        await world.backend.create_group("orders", "billing", EntryId(0))
        await publish(world.bus(), 2)
        async with world.backend.join(OTHER) as other:
            retried, released = await other.read(2, 1)
            await other.settle([Retry(retried.receipt), Release(released.receipt)])
        async with open_subscription(bus, SLOW, starts) as subscription:
            await until(lambda: len(starts.seen) == 2, SOON)
            await subscription.wait_idle()
        assert (await world.group()).pending == 0
    assert sorted((entry.record[-1][1], entry.attempt) for entry in lost) == [(b"0", 2), (b"1", 1)]
    assert sorted(starts.seen) == [(b"0", 2), (b"1", 1)]
    assert Scope.CLAIM in {event.scope for event in recorder.errors}
