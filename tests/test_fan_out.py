"""Fan-out: every subscription gets every message, in a group of its own."""

from __future__ import annotations

import math

import attrs
import cattrs
import pytest
import trio
import trio.testing

from tests.harness import Recorder
from tests.loose import loose
from tests.mortal import MortalProcess
from trio_bus import (
    AckMode,
    BalanceMode,
    Bus,
    BusOptions,
    ConnectionLost,
    Delivery,
    EntryId,
    MemoryBackend,
    Message,
    StartPosition,
    SubscriptionConfig,
    ValidationError,
    open_subscription,
)
from trio_bus._observer import Transition
from trio_bus._subscription.progress import Progress
from trio_bus.testing import FaultyBackend

USERS = SubscriptionConfig.fan_out("users")
QUICK = SubscriptionConfig(
    "users",
    balance_mode=BalanceMode.FAN_OUT,
    claim_idle_timeout=1.0,
    fan_out_expiry=4.0,
    max_retry=1,
)


class Seen:
    """What one subscription handled."""

    def __init__(self) -> None:
        self.payloads: list[bytes] = []

    async def __call__(self, delivery: Delivery) -> None:
        """Handle one."""
        await trio.lowlevel.checkpoint()
        self.payloads.append(delivery.message.payload)


async def publish(bus: Bus, *payloads: bytes) -> None:
    """Publish to the topic."""
    for payload in payloads:
        await bus.publish(Message("users", payload))


async def settled() -> None:
    """Let everything happen that is possible now."""
    await trio.sleep(0.5)
    await trio.testing.wait_all_tasks_blocked()


def test_a_fan_out_config_names_no_group_and_retries_nothing() -> None:
    assert USERS.group == ""
    assert USERS.max_retry == 0
    assert USERS.start is None
    assert USERS.group_of("a-1") == "~fan-a-1"
    assert SubscriptionConfig("users", "billing").group_of("a-1") == "billing"
    assert SubscriptionConfig("users", "billing").max_retry == 3
    assert attrs.evolve(USERS, max_retry=2).max_retry == 2
    assert attrs.evolve(USERS, ack_mode=AckMode.AUTO_ON_RECEIVE).max_retry == 0


def test_a_table_can_ask_for_fan_out() -> None:
    table = {"topic": "users", "balance_mode": "fan_out", "fan_out_expiry": 90}
    config = cattrs.structure(table, SubscriptionConfig)
    assert config == SubscriptionConfig(
        "users", balance_mode=BalanceMode.FAN_OUT, fan_out_expiry=90
    )


@pytest.mark.parametrize(
    ("settings", "text"),
    [
        ({}, "group: '' is blank"),
        ({"group": "billing", "fan_out_expiry": 90.0}, "fan_out_expiry: 90.0 has no effect"),
        ({"balance_mode": BalanceMode.FAN_OUT, "group": "billing"}, "group: 'billing': with"),
        ({"balance_mode": BalanceMode.FAN_OUT, "fan_out_expiry": 59.0}, "not at least 60.0"),
        (
            {"balance_mode": BalanceMode.FAN_OUT, "reclaim_interval": 100.0},
            "fan_out_expiry: 300.0 is not at least 400.0",
        ),
        ({"balance_mode": "fan_out"}, "balance_mode: 'fan_out' is not of type BalanceMode"),
        ({"group": "~fan-a"}, "reserved"),
    ],
)
def test_what_fits_not_together_is_refused(settings: dict[str, object], text: str) -> None:
    with pytest.raises(ValidationError, match=text):
        loose(SubscriptionConfig)(topic="users", **settings)


async def test_every_subscription_gets_every_message_from_its_start_on(
    autojump_clock: trio.testing.MockClock,
) -> None:
    streams = MemoryBackend()
    bus, first, second, third = Bus(streams), Seen(), Seen(), Seen()
    await publish(bus, b"before")
    async with open_subscription(bus, USERS, first):
        await publish(bus, b"1")
        async with open_subscription(bus, USERS, second):
            oldest = attrs.evolve(USERS, start=StartPosition.OLDEST)
            async with open_subscription(bus, oldest, third) as subscription:
                await publish(bus, b"2")
                await settled()
                assert "~fan-" in repr(subscription)
                groups = (await bus.info("users")).groups
                assert [group.is_private for group in groups] == [True] * 3
        await publish(bus, b"3")
        await settled()
        assert len((await bus.info("users")).groups) == 1
    assert (await bus.info("users")).groups == ()
    assert sorted(first.payloads) == [b"1", b"2", b"3"]
    assert second.payloads == [b"2"]
    assert sorted(third.payloads) == [b"1", b"2", b"before"]


async def test_what_is_unfinished_at_the_end_goes_with_its_group(
    autojump_clock: trio.testing.MockClock,
) -> None:
    bus = Bus(MemoryBackend())
    config = attrs.evolve(QUICK, drain_timeout=0.0)
    async with open_subscription(bus, config, _hang):
        await publish(bus, b"1")
        await settled()
    assert (await bus.info("users")).groups == ()


async def _hang(delivery: Delivery) -> None:
    await trio.sleep_forever()


@pytest.mark.parametrize("other", [QUICK, SubscriptionConfig("users", "billing")])
async def test_the_group_of_the_dead_is_removed_by_others(
    other: SubscriptionConfig, autojump_clock: trio.testing.MockClock
) -> None:
    streams = MemoryBackend()
    victim, bus, opened = MortalProcess(streams), Bus(streams), trio.Event()

    async def live(process: MortalProcess) -> None:
        async with open_subscription(process.bus, QUICK, _hang):
            await publish(bus, b"1")
            await settled()
            opened.set()
            process.die()
            await trio.sleep_forever()

    async with trio.open_nursery() as nursery, open_subscription(bus, other, Seen()):
        nursery.start_soon(victim.live, live)
        await opened.wait()
        await trio.sleep(3.0)
        assert len((await bus.info("users")).groups) == 2
        await trio.sleep(2.0)
        assert len((await bus.info("users")).groups) == 1


async def test_who_lives_keeps_its_group_however_little_comes(
    autojump_clock: trio.testing.MockClock,
) -> None:
    streams, seen = MemoryBackend(), Seen()
    recorder = Recorder()
    bus, other = Bus(streams, BusOptions(observer=recorder)), Bus(streams)
    async with open_subscription(bus, QUICK, seen), open_subscription(other, QUICK, Seen()):
        await trio.sleep(100.0)
        await publish(bus, b"1")
        await settled()
    assert seen.payloads == [b"1"]
    assert Transition.GROUP_RECREATED not in [event.transition for event in recorder.transitions]


async def test_a_handler_that_runs_on_while_drained_keeps_the_group(
    autojump_clock: trio.testing.MockClock,
) -> None:
    streams, ends = MemoryBackend(), Seen()
    bus, other = Bus(streams), Bus(streams)

    async def slow(delivery: Delivery) -> None:
        await trio.sleep(20.0)
        await ends(delivery)
        await delivery.ack()

    config = attrs.evolve(QUICK, ack_mode=AckMode.MANUAL, drain_timeout=math.inf)
    async with open_subscription(other, QUICK, Seen()), open_subscription(bus, config, slow):
        await publish(bus, b"1")
        await settled()
    assert ends.payloads == [b"1"]


async def test_who_comes_back_after_its_group_was_removed_goes_on_behind_what_it_finished(
    autojump_clock: trio.testing.MockClock,
) -> None:
    streams, seen, recorder = MemoryBackend(), Seen(), Recorder()
    faulty = FaultyBackend(streams)
    bus, other = Bus(faulty, BusOptions(observer=recorder)), Bus(streams)
    async with open_subscription(bus, QUICK, seen), open_subscription(other, QUICK, Seen()):
        await publish(other, b"1", b"2")
        await settled()
        cut = [ConnectionLost("cut") for _ in range(1000)]
        for operation in ("read", "look", "renew", "settle", "create_private", "take_over"):
            faulty.fail(operation, *cut)
        await trio.sleep(10.0)
        await publish(other, b"3", b"4")
        assert len((await other.info("users")).groups) == 1
        faulty.heal()
        await trio.sleep(20.0)
        await publish(other, b"5")
        await settled()
    assert sorted(seen.payloads) == [b"1", b"2", b"3", b"4", b"5"]
    assert Transition.GROUP_RECREATED in [event.transition for event in recorder.transitions]


async def test_nothing_received_before_a_partition_is_needed_to_go_on(
    autojump_clock: trio.testing.MockClock,
) -> None:
    streams, seen = MemoryBackend(), Seen()
    bus = Bus(streams)
    await publish(bus, b"before")
    async with open_subscription(bus, QUICK, seen) as subscription:
        streams.destroy_group("users", QUICK.group_of(subscription.name))
        await publish(bus, b"1")
        await trio.sleep(10.0)
    assert seen.payloads == [b"1"]


async def test_what_was_received_and_not_finished_comes_again(
    autojump_clock: trio.testing.MockClock,
) -> None:
    streams, starts = MemoryBackend(), list[bytes]()
    bus = Bus(streams)

    async def handle(delivery: Delivery) -> None:
        starts.append(delivery.message.payload)
        if delivery.message.payload == b"2" and starts.count(b"2") == 1:
            await delivery.retry("later", delay=1000.0)

    async with open_subscription(bus, QUICK, handle) as subscription:
        await publish(bus, b"1", b"2", b"3")
        await settled()
        streams.destroy_group("users", QUICK.group_of(subscription.name))
        await trio.sleep(10.0)
    assert sorted(starts) == [b"1", b"2", b"2", b"3", b"3"]


async def test_a_stream_that_began_anew_is_read_from_its_beginning(
    autojump_clock: trio.testing.MockClock,
) -> None:
    streams, seen = MemoryBackend(), Seen()
    bus = Bus(streams)
    async with open_subscription(bus, QUICK, seen):
        await publish(bus, b"1")
        await settled()
        streams.step_clock(-3600)
        streams.delete_topic("users")
        await publish(bus, b"2")
        await trio.sleep(10.0)
    assert seen.payloads == [b"1", b"2"]


async def test_who_lost_its_group_twice_goes_on_behind_what_it_finished_since(
    autojump_clock: trio.testing.MockClock,
) -> None:
    """What the first one had, and the stream has no more, says nothing about the second."""
    streams, starts = MemoryBackend(), list[bytes]()
    bus = Bus(streams)

    async def handle(delivery: Delivery) -> None:
        starts.append(delivery.message.payload)
        if delivery.message.payload == b"1":
            await delivery.retry("later", delay=1000.0)

    async with open_subscription(bus, QUICK, handle) as subscription:
        await publish(bus, b"1")
        for payload in (b"2", b"3"):
            await settled()
            streams.destroy_group("users", QUICK.group_of(subscription.name))
            if payload == b"2":
                streams.trim("users", 0)
            await publish(bus, payload)
            await trio.sleep(10.0)
    assert starts == [b"1", b"2", b"3"]


async def test_a_stream_that_began_anew_twice_is_read_where_it_was_left(
    autojump_clock: trio.testing.MockClock,
) -> None:
    streams, seen = MemoryBackend(), Seen()
    bus = Bus(streams)
    async with open_subscription(bus, QUICK, seen) as subscription:
        await publish(bus, b"1")
        await settled()
        streams.step_clock(-3600)
        streams.delete_topic("users")
        await publish(bus, b"2")
        await trio.sleep(10.0)
        streams.destroy_group("users", QUICK.group_of(subscription.name))
        await publish(bus, b"3")
        await trio.sleep(10.0)
    assert seen.payloads == [b"1", b"2", b"3"]


def test_progress_is_what_is_finished_without_a_gap() -> None:
    progress = Progress(EntryId(5, 0))
    assert progress.position == EntryId(5, 0)
    for entry_id in (EntryId(7, 0), EntryId(7, 1), EntryId(8, 0)):
        progress.received(entry_id)
    assert progress.position == EntryId(6, 2**64 - 1)
    progress.finished(EntryId(7, 0))
    assert progress.position == EntryId(7, 0)
    progress.finished(EntryId(8, 0))
    assert progress.position == EntryId(7, 0)
    progress.finished(EntryId(7, 1))
    assert progress.position == EntryId(8, 0)


def test_of_a_shared_group_nothing_is_kept() -> None:
    progress = Progress(None)
    progress.received(EntryId(7, 0))
    progress.finished(EntryId(8, 0))
    assert progress.position is None
