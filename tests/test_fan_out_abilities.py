"""Fan-out together with everything else: each subscription is a group like any other."""

from __future__ import annotations

import math

import attrs
import pytest
import trio
import trio.testing

from tests.harness import Recorder
from tests.test_dead_letters import delete
from tests.test_fan_out import QUICK, USERS, Seen, publish, settled
from trio_bus import (
    Batch,
    Bus,
    BusOptions,
    ConnectionLost,
    DeadMessage,
    Delivery,
    EntryId,
    LeaseLost,
    MemoryBackend,
    Message,
    Redriven,
    StartPosition,
    Transition,
    open_bus,
    open_subscription,
)
from trio_bus.testing import FaultyBackend

DEAD = "{users}.dead"
OUT = "{users}.out"
BURYING = attrs.evolve(QUICK, max_retry=0, dead_letter_topic=DEAD)
PATIENCE = 20.0


class Rejecting(Seen):
    """Rejects what it sees for the first time."""

    async def __call__(self, delivery: Delivery) -> None:
        """Handle one."""
        first = delivery.message.payload not in self.payloads
        await super().__call__(delivery)
        if first:
            await delivery.reject("not yet")


async def listed(bus: Bus, topic: str) -> list[DeadMessage]:
    """List what is dead there."""
    return [letter async for letter in bus.dead_letters(topic)]


async def letters(bus: Bus, topic: str, count: int) -> list[DeadMessage]:
    """Wait until so many are dead there."""
    with trio.fail_after(PATIENCE):
        while len(found := await listed(bus, topic)) < count:
            await trio.sleep(0.01)
    return found


async def test_batches_come_whole_to_every_subscription(
    autojump_clock: trio.testing.MockClock,
) -> None:
    streams, got = MemoryBackend(), [list[bytes](), list[bytes]()]
    bus = Bus(streams)

    async def first(batch: Batch) -> None:
        await trio.lowlevel.checkpoint()
        got[0] += [delivery.message.payload for delivery in batch]

    async with (
        open_subscription(bus, QUICK, batch_handler=first) as subscription,
        open_subscription(bus, QUICK) as deliveries,
        trio.open_nursery() as nursery,
    ):

        async def iterate() -> None:
            async for batch in deliveries.batches(10):
                async with batch:
                    got[1] += [delivery.message.payload for delivery in batch]

        nursery.start_soon(iterate)
        await bus.publish_batch([Message("users", b"1"), Message("users", b"2")])
        await settled()
        streams.destroy_group("users", QUICK.group_of(subscription.name))
        await publish(bus, b"3")
        await settled()
        nursery.cancel_scope.cancel("all came")
    assert got == [[b"1", b"2", b"3"]] * 2


async def test_each_subscription_commits_for_itself(
    autojump_clock: trio.testing.MockClock,
) -> None:
    bus = Bus(MemoryBackend())
    config = attrs.evolve(QUICK, topic="{users}", output_topics=(OUT,))

    async def handle(delivery: Delivery) -> None:
        async with delivery.transaction() as transaction:
            await transaction.publish(Message(OUT, delivery.message.payload))

    async with open_subscription(bus, config, handle), open_subscription(bus, config, handle):
        await bus.publish(Message("{users}", b"1"))
        await settled()
    assert (await bus.info(OUT)).length == 2


async def test_what_was_not_committed_when_its_group_went_comes_again(
    autojump_clock: trio.testing.MockClock,
) -> None:
    streams, lost, attempts = MemoryBackend(), list[LeaseLost](), list[int]()
    bus = Bus(streams)
    config = attrs.evolve(QUICK, topic="{users}", output_topics=(OUT,))

    async def handle(delivery: Delivery) -> None:
        attempts.append(delivery.state.attempt)
        try:
            async with delivery.transaction() as transaction:
                await transaction.publish(Message(OUT, delivery.message.payload))
                if len(attempts) == 1:
                    streams.destroy_group("{users}", config.group_of(subscription.name))
        except LeaseLost as error:
            lost.append(error)

    async with open_subscription(bus, config, handle) as subscription:
        await bus.publish(Message("{users}", b"1"))
        await trio.sleep(5.0)
    assert (len(lost), attempts) == (1, [1, 1])
    assert (await bus.info(OUT)).length == 1


async def test_dead_letters_go_back_to_the_subscription_that_gave_them_up(
    backend_url: str,
) -> None:
    first, second = Rejecting(), Seen()
    async with open_bus(backend_url) as bus:
        config = attrs.evolve(BURYING, topic="{users}")
        async with (
            open_subscription(bus, config, first) as subscription,
            open_subscription(bus, config, second),
        ):
            await bus.publish(Message("{users}", b"1"))
            (letter,) = await letters(bus, DEAD, 1)
            assert letter.dead_letter.group == config.group_of(subscription.name)
            outcome = await bus.redrive(DEAD, everything=True, group=letter.dead_letter.group)
            assert [it.result for it in outcome.results] == [Redriven.DONE]
            with trio.fail_after(PATIENCE):
                while len(first.payloads) < 2:
                    await trio.sleep(0.01)
        assert (first.payloads, second.payloads) == ([b"1", b"1"], [b"1"])


async def test_what_is_sent_back_as_a_copy_is_for_its_subscription_alone(backend_url: str) -> None:
    first, second = Rejecting(), Seen()
    async with open_bus(backend_url) as bus:
        config = attrs.evolve(BURYING, topic="{users}")
        async with open_subscription(bus, config, first), open_subscription(bus, config, second):
            await bus.publish(Message("{users}", b"1"))
            (letter,) = await letters(bus, DEAD, 1)
            with trio.fail_after(PATIENCE):
                while not second.payloads:
                    await trio.sleep(0.01)
            await delete(bus, "{users}", letter.dead_letter.entry_id)
            outcome = await bus.redrive(DEAD, everything=True)
            assert [it.result for it in outcome.results] == [Redriven.COPIED]
            await bus.publish(Message("{users}", b"2"))
            with trio.fail_after(PATIENCE):
                while len(first.payloads) < 3 or len(second.payloads) < 2:
                    await trio.sleep(0.01)
        assert sorted(first.payloads) == [b"1", b"1", b"2"]
        assert second.payloads == [b"1", b"2"]


async def test_dead_letters_outlive_the_group_that_gave_them_up(backend_url: str) -> None:
    async with open_bus(backend_url) as bus:
        config = attrs.evolve(BURYING, topic="{users}")
        async with open_subscription(bus, config, Rejecting()):
            await bus.publish(Message("{users}", b"1"))
            await letters(bus, DEAD, 1)
        outcome = await bus.redrive(DEAD, everything=True)
        assert [it.result for it in outcome.results] == [Redriven.GROUP_MISSING]
        (letter,) = await listed(bus, DEAD)
        assert letter.message is not None
        assert letter.message.payload == b"1"


async def test_without_a_topic_for_them_dead_letters_go_with_their_group(backend_url: str) -> None:
    first = Rejecting()
    config = attrs.evolve(QUICK, max_retry=0)
    async with open_bus(backend_url) as bus:
        async with open_subscription(bus, config, first):
            await publish(bus, b"1")
            await letters(bus, "users", 1)
            await bus.redrive("users", everything=True)
            with trio.fail_after(PATIENCE):
                while len(first.payloads) < 2:
                    await trio.sleep(0.01)
            await publish(bus, b"2")
            await letters(bus, "users", 1)
        assert await listed(bus, "users") == []


async def test_who_is_paused_keeps_its_group_and_misses_nothing(
    autojump_clock: trio.testing.MockClock,
) -> None:
    streams, seen, recorder = MemoryBackend(), Seen(), Recorder()
    bus, other = Bus(streams, BusOptions(observer=recorder)), Bus(streams)
    async with (
        open_subscription(bus, QUICK, seen) as subscription,
        open_subscription(other, QUICK, Seen()),
    ):
        subscription.pause()
        await publish(bus, b"1")
        await trio.sleep(10 * QUICK.fan_out_expiry)
        assert seen.payloads == []
        subscription.resume()
        await settled()
    assert seen.payloads == [b"1"]
    assert Transition.GROUP_RECREATED not in [event.transition for event in recorder.transitions]


async def test_an_outage_is_that_of_one_subscription(
    autojump_clock: trio.testing.MockClock,
) -> None:
    bus, well, down = Bus(MemoryBackend()), Seen(), [True]
    config = attrs.evolve(QUICK, failure_threshold=2, max_retry=3)

    async def fail(delivery: Delivery) -> None:
        if down[0]:
            raise OSError("the database is down")

    async with (
        open_subscription(bus, config, fail) as ill,
        open_subscription(bus, config, well) as healthy,
    ):
        await publish(bus, *(b"%d" % number for number in range(5)))
        await trio.sleep(10 * QUICK.fan_out_expiry)
        assert (ill.statistics().outage, healthy.statistics().outage) == (True, False)
        assert len(well.payloads) == 5
        down[0] = False
        await trio.sleep(30.0)
        assert (ill.statistics().handled, ill.statistics().rejected) == (5, 0)


async def test_a_group_that_is_lost_in_an_outage_is_made_again(
    autojump_clock: trio.testing.MockClock,
) -> None:
    streams, down = MemoryBackend(), [True]
    bus = Bus(streams)
    config = attrs.evolve(QUICK, failure_threshold=2, max_retry=3)

    async def fail(delivery: Delivery) -> None:
        if down[0]:
            raise OSError("the database is down")

    async with open_subscription(bus, config, fail) as subscription:
        await publish(bus, b"1", b"2", b"3")
        await trio.sleep(5.0)
        streams.destroy_group("users", config.group_of(subscription.name))
        down[0] = False
        await trio.sleep(30.0)
        figures = subscription.statistics()
        assert (figures.handled, figures.rejected, figures.outage) == (3, 0, False)


@pytest.mark.parametrize(
    ("start", "wanted"),
    [
        (None, [b"3"]),
        (StartPosition.NEWEST, [b"3"]),
        (StartPosition.OLDEST, [b"1", b"2", b"3"]),
        (1, [b"2", b"3"]),
    ],
)
async def test_start_says_where_it_begins_and_only_the_first_time(
    start: StartPosition | int | None, wanted: list[bytes], autojump_clock: trio.testing.MockClock
) -> None:
    streams, seen = MemoryBackend(), Seen()
    bus = Bus(streams)
    ids = [await bus.publish(Message("users", payload)) for payload in (b"1", b"2")]
    place = ids[start - 1] if isinstance(start, int) else start
    config = attrs.evolve(QUICK, start=place)
    async with open_subscription(bus, config, seen) as subscription:
        await settled()
        await publish(bus, b"3")
        await settled()
        streams.destroy_group("users", config.group_of(subscription.name))
        await trio.sleep(10.0)
    assert sorted(seen.payloads) == wanted


async def test_a_start_behind_all_there_is_means_the_beginning(
    autojump_clock: trio.testing.MockClock,
) -> None:
    """It is an id of another stream: this one never had so late an entry."""
    bus, seen = Bus(MemoryBackend()), Seen()
    await publish(bus, b"1")
    async with open_subscription(bus, attrs.evolve(QUICK, start=EntryId(2**60)), seen):
        await settled()
    assert seen.payloads == [b"1"]


async def test_a_subscription_that_is_cut_off_at_its_end_leaves_its_group_to_the_others(
    autojump_clock: trio.testing.MockClock,
) -> None:
    streams = MemoryBackend()
    faulty = FaultyBackend(streams)
    bus, other = Bus(faulty), Bus(streams)
    async with open_subscription(other, QUICK, Seen()):
        lasting = attrs.evolve(QUICK, fan_out_expiry=60.0)  # longer than leaving may take
        async with open_subscription(bus, lasting, Seen()):
            faulty.fail("forget", *[ConnectionLost("cut") for _ in range(1000)])
        assert len((await other.info("users")).groups) == 2
        await trio.sleep(2 * lasting.fan_out_expiry)
        assert len((await other.info("users")).groups) == 1


async def test_a_drain_keeps_the_group_until_its_handlers_have_ended(
    autojump_clock: trio.testing.MockClock,
) -> None:
    streams, seen = MemoryBackend(), Seen()
    bus, other = Bus(streams), Bus(streams)

    async def slow(delivery: Delivery) -> None:
        await trio.sleep(5 * QUICK.fan_out_expiry)
        await seen(delivery)

    config = attrs.evolve(USERS, claim_idle_timeout=1.0, fan_out_expiry=4.0, drain_timeout=math.inf)
    async with (
        open_subscription(other, QUICK, Seen()),
        open_subscription(bus, config, slow) as subscription,
    ):
        await publish(bus, b"1")
        await settled()
        await subscription.drain()
        assert subscription.statistics().handled == 1
    assert seen.payloads == [b"1"]
