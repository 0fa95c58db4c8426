"""Transactions: outputs and the ack together, or nothing."""

# pyright: reportPrivateUsage=false
# How much fits in one is made less than it is.

from __future__ import annotations

import attrs
import cattrs
import pytest
import trio
from trio.testing import MockClock

from tests.faults import FlakyBackend
from tests.harness import World, config, publish, until
from trio_bus import (
    AckMode,
    Bus,
    BusClosed,
    Confirmation,
    ConnectionLost,
    Delivery,
    DeliveryFinalized,
    LeaseLost,
    MemoryBackend,
    Message,
    OutcomeUnknown,
    PublishOptions,
    PullSubscription,
    RemoteError,
    SubscriptionConfig,
    SubscriptionError,
    Transaction,
    Transition,
    ValidationError,
    open_subscription,
)
from trio_bus import _transaction as limits
from trio_bus._outputs import Outputs
from trio_bus.abc import Append
from trio_bus.testing import Done

pytestmark = pytest.mark.every_server

OUT, LOG = "{orders}.out", "{orders}.log"
CONFIG = attrs.evolve(config(), output_topics=(OUT, LOG), claim_idle_timeout=1.0)
BOTH = [Message(OUT, b"1"), Message(LOG, b"2"), Message(OUT, b"3")]


async def length(world: World, topic: str = OUT) -> int:
    """Count what was published there."""
    return (await world.backend.info(topic)).length


async def payloads(world: World, topic: str, count: int) -> list[bytes]:
    """Read what was published there, in order."""
    settings = SubscriptionConfig(topic, "reader")
    async with open_subscription(world.bus(), settings) as deliveries:
        return [(await deliveries.receive()).message.payload for _ in range(count)]


async def one(world: World, deliveries: PullSubscription) -> Delivery:
    """Publish a message, and receive it."""
    await publish(world.bus(), 1)
    return await deliveries.receive()


async def test_outputs_and_the_ack_become_visible_together(any_world: World) -> None:
    """Nothing is to be seen before; then all of it, in the order of the calls."""
    seen: list[int] = []

    async def handle(delivery: Delivery) -> None:
        async with delivery.transaction() as tx:
            for message in BOTH:
                await tx.publish(message)
            seen.append(await length(any_world))
        seen.append(await length(any_world))
        seen.append((await any_world.group()).pending)

    async with open_subscription(any_world.bus(), CONFIG, handle) as subscription:
        await publish(any_world.bus(), 1)
        await until(lambda: subscription.statistics().handled == 1)
    assert seen == [0, 2, 0]
    assert await payloads(any_world, OUT, 2) == [b"1", b"3"]
    assert await payloads(any_world, LOG, 1) == [b"2"]
    assert len(any_world.recorder.ids(Transition.ACKED)) == 1


async def test_an_exception_discards_everything(any_world: World) -> None:
    """The delivery is settled as the policy says, and succeeds when it comes again."""

    async def handle(delivery: Delivery) -> None:
        async with delivery.transaction() as tx:
            await tx.publish(BOTH[0])
            if delivery.state.attempt == 1:
                raise ValueError("not yet")

    async with open_subscription(any_world.bus(), CONFIG, handle) as subscription:
        await publish(any_world.bus(), 1)
        await until(lambda: subscription.statistics().handled == 1)
    assert subscription.statistics().retried == 1
    assert await length(any_world) == 1


async def test_a_pulled_delivery_in_manual_mode(any_world: World) -> None:
    """``async with delivery`` around it settles nothing any more, and no verb does."""
    async with open_subscription(any_world.bus(), CONFIG) as deliveries:
        delivery = await one(any_world, deliveries)
        kept: list[Transaction] = []
        async with delivery:
            async with delivery.transaction() as tx:
                await tx.publish(BOTH[0])
                kept.append(tx)
            with pytest.raises(DeliveryFinalized, match="was settled before"):
                await delivery.retry("too late")
            with pytest.raises(DeliveryFinalized):
                async with delivery.transaction():
                    pytest.fail("there is no second one")
        with pytest.raises(DeliveryFinalized, match="is over"):
            await kept[0].publish(BOTH[0])
        assert "1 messages, over" in repr(kept[0])
    assert await length(any_world) == 1
    assert (await any_world.group()).oldest is None


async def test_one_at_a_time_and_another_after_one_that_failed(world: World) -> None:
    """A transaction that was left by an error has done nothing: there may be another."""
    async with open_subscription(world.bus(), CONFIG) as deliveries:
        delivery = await one(world, deliveries)
        with pytest.raises(KeyError):
            async with delivery.transaction() as tx:
                await tx.publish(BOTH[0])
                with pytest.raises(trio.BusyResourceError):
                    async with delivery.transaction():
                        pytest.fail("it has one")
                raise KeyError
        async with delivery.transaction() as tx:
            await tx.publish(BOTH[1])
    assert await length(world, OUT) == 0
    assert await length(world, LOG) == 1


async def test_what_the_body_settles_itself_discards_the_outputs(world: World) -> None:
    """It is told so."""
    async with open_subscription(world.bus(), CONFIG) as deliveries:
        delivery = await one(world, deliveries)
        with pytest.raises(DeliveryFinalized):
            async with delivery.transaction() as tx:
                await tx.publish(BOTH[0])
                await delivery.ack()
    assert await length(world) == 0


async def test_an_empty_transaction_acks(any_world: World) -> None:
    """There is nothing to publish."""
    async with open_subscription(any_world.bus(), CONFIG) as deliveries:
        delivery = await one(any_world, deliveries)
        async with delivery.transaction():
            pass
        assert (await any_world.group()).pending == 0


async def test_an_idempotency_key_is_honoured(any_world: World) -> None:
    """Within one transaction, between two, and with what was published outside."""
    keyed = Message(OUT, b"once", idempotency_key="k")
    await any_world.bus().publish(Message(OUT, b"before", idempotency_key="b"))
    async with open_subscription(any_world.bus(), CONFIG) as deliveries:
        await publish(any_world.bus(), 2)
        for _ in range(2):
            async with (await deliveries.receive()).transaction() as tx:
                await tx.publish(keyed)
                await tx.publish(Message(OUT, b"never", idempotency_key="b"))
                await tx.publish(keyed)
    assert await length(any_world) == 2
    first = await any_world.bus().publish(keyed)
    assert (await any_world.backend.info(OUT)).length == 2
    assert first.ms > 0


async def test_what_cannot_be_published_is_refused_at_the_call(world: World) -> None:
    """The transaction goes on without it."""
    async with open_subscription(world.bus(100), CONFIG) as deliveries:
        delivery = await one(world, deliveries)
        async with delivery.transaction() as tx:
            with pytest.raises(ValidationError, match=r"topic: 'other' is not among .*orders.*out"):
                await tx.publish(Message("other", b""))
            with pytest.raises(ValidationError, match="payload: 101 bytes"):
                await tx.publish(Message(OUT, b"x" * 101))
            with pytest.raises(ValidationError, match="cannot wait for PERSISTED"):
                options = PublishOptions(confirmation=Confirmation.PERSISTED)
                await tx.publish(Message(OUT, b""), options)
            await tx.publish(Message(OUT, b"fits"), PublishOptions({"from": "us"}))
    assert await length(world) == 1


def test_a_record_of_too_many_fields_is_refused() -> None:
    """A script passes on no more."""
    record = ((b"name", b"value"),) * 3501
    outputs = Outputs((OUT,), lambda message, _: Append(message.topic, record))
    with pytest.raises(ValidationError, match=r"record: 3,501 fields; in a transaction, at most"):
        outputs.output(BOTH[0], PublishOptions())


async def test_a_transaction_is_bounded(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """In number and in bytes."""
    monkeypatch.setattr(limits, "MAX_OUTPUTS", 2)
    monkeypatch.setattr(limits, "MAX_OUTPUT_BYTES", 1000)
    async with open_subscription(world.bus(), CONFIG) as deliveries:
        delivery = await one(world, deliveries)
        async with delivery.transaction() as tx:
            with pytest.raises(ValidationError, match="bytes, at most 1,000"):
                await tx.publish(Message(OUT, b"x" * 1000))
            await tx.publish(BOTH[0])
            await tx.publish(BOTH[0])
            with pytest.raises(ValidationError, match="more than 2 messages"):
                await tx.publish(BOTH[0])
    assert await length(world) == 2


async def test_topics_that_do_not_share_a_slot_are_refused(any_world: World) -> None:
    """When it opens, whatever the backend is."""
    settings = SubscriptionConfig("orders", "billing", output_topics=("{orders}.a", "stock"))
    with pytest.raises(ValidationError, match=r"'stock' does not share a slot .*'orders'"):
        async with open_subscription(any_world.bus(), settings):
            pytest.fail("it cannot be opened")


async def test_the_topic_itself_may_be_one(any_world: World) -> None:
    """A handler that counts down."""
    settings = attrs.evolve(config(), output_topics=("orders",))

    async def handle(delivery: Delivery) -> None:
        left = int(delivery.message.payload)
        async with delivery.transaction() as tx:
            if left:
                await tx.publish(Message("orders", b"%d" % (left - 1)))

    async with open_subscription(any_world.bus(), settings, handle) as subscription:
        await any_world.bus().publish(Message("orders", b"5"))
        await until(lambda: subscription.statistics().handled == 6)
    assert await length(any_world, "orders") == 6


async def test_cancelled_inside_it_publishes_nothing(world: World) -> None:
    """The entry is released."""
    async with open_subscription(world.bus(), CONFIG) as deliveries:
        delivery = await one(world, deliveries)
        with trio.CancelScope() as scope:
            async with delivery, delivery.transaction() as tx:
                await tx.publish(BOTH[0])
                scope.cancel()
                await trio.sleep_forever()
        assert await length(world) == 0
        again = await deliveries.receive()
        assert again.state.attempt == 1


async def test_a_commit_that_is_cancelled_happens(world: World, flaky: FlakyBackend) -> None:
    """It was handed over before the first checkpoint."""
    async with open_subscription(world.bus(), CONFIG) as deliveries:
        delivery = await one(world, deliveries)
        with trio.CancelScope() as scope:
            async with delivery.transaction() as tx:
                await tx.publish(BOTH[0])
                scope.cancel()
        assert scope.cancelled_caught
    assert await length(world) == 1
    assert flaky.calls["settle"] >= 1


async def test_without_its_group_it_publishes_nothing(
    autojump_clock: MockClock, world: World, flaky: FlakyBackend
) -> None:
    """There is nothing to be ours."""
    async with open_subscription(world.bus(), CONFIG) as deliveries:
        delivery = await one(world, deliveries)
        with pytest.raises(LeaseLost, match="no longer ours"):
            async with delivery.transaction() as tx:
                await tx.publish(BOTH[0])
                flaky.inner.destroy_group("orders", "billing")
    assert await length(world) == 0


@pytest.mark.parametrize("done", [Done.NOTHING, Done.EVERYTHING])
async def test_an_unknown_outcome_is_asked_again(
    autojump_clock: MockClock, world: World, flaky: FlakyBackend, done: Done
) -> None:
    """Gone from the pending list means committed."""
    async with open_subscription(world.bus(), CONFIG) as deliveries:
        delivery = await one(world, deliveries)
        flaky.fail("settle", OutcomeUnknown("cut"), OutcomeUnknown("cut"), done=done)
        async with delivery.transaction() as tx:
            await tx.publish(BOTH[0])
    assert await length(world) == 1
    assert len(world.recorder.ids(Transition.ACKED)) == 1


async def test_what_is_pending_elsewhere_was_not_committed(
    autojump_clock: MockClock, world: World, flaky: FlakyBackend
) -> None:
    """An answer that was lost, a lease that ran out: the other one publishes, and only that."""
    over = trio.Event()

    async def other(delivery: Delivery) -> None:
        async with delivery.transaction() as tx:
            await over.wait()
            await tx.publish(Message(OUT, b"other"))

    async with open_subscription(world.bus(), CONFIG) as deliveries:
        delivery = await one(world, deliveries)
        async with open_subscription(Bus(flaky.inner), CONFIG, other) as theirs:
            flaky.fail("renew", *[ConnectionLost("cut")] * 40)
            flaky.fail("look", *[ConnectionLost("cut")] * 400)
            flaky.fail("settle", *[OutcomeUnknown("cut")] * 9)
            with pytest.raises(LeaseLost, match="no longer ours"):
                async with delivery.transaction() as tx:
                    await tx.publish(Message(OUT, b"ours"))
            over.set()
            flaky.heal()
            await until(lambda: theirs.statistics().handled == 1)
    assert await payloads(world, OUT, 1) == [b"other"]
    assert await length(world) == 1


async def test_what_was_finished_by_another_one_was_not_committed(
    autojump_clock: MockClock, world: World, flaky: FlakyBackend
) -> None:
    """Where no answer was lost, it is known."""
    async with open_subscription(world.bus(), CONFIG) as deliveries:
        delivery = await one(world, deliveries)
        with pytest.raises(LeaseLost, match="no longer ours"):
            async with delivery.transaction() as tx:
                await tx.publish(BOTH[0])
                await _ack_behind(flaky.inner, deliveries.name, delivery)
    assert await length(world) == 0


@pytest.mark.parametrize("uncertain", [False, True])
async def test_what_was_deleted_and_dropped_was_not_committed(
    autojump_clock: MockClock,
    world: World,
    flaky: FlakyBackend,
    uncertain: bool,  # noqa: FBT001 - a parameter
) -> None:
    """The renewal that drops it has found it pending."""
    async with open_subscription(world.bus(), CONFIG) as deliveries:
        delivery = await one(world, deliveries)
        with pytest.raises(LeaseLost, match="was deleted; nothing was published"):
            async with delivery.transaction() as tx:
                await tx.publish(BOTH[0])
                flaky.inner.delete_entry("orders", delivery.entry_id)
                await delivery.renew()
                if uncertain:
                    flaky.fail("settle", OutcomeUnknown("cut"))
    assert await length(world) == 0
    assert world.recorder.ids(Transition.VANISHED) == [delivery.entry_id]


async def test_what_was_deleted_and_is_pending_is_committed(any_world: World) -> None:
    """It was ours, and its effect is there once."""
    async with open_subscription(any_world.bus(), CONFIG) as deliveries:
        delivery = await one(any_world, deliveries)
        any_world.delete_entry(delivery.entry_id)
        async with delivery.transaction() as tx:
            await tx.publish(BOTH[0])
    assert await length(any_world) == 1


async def test_a_commit_that_nobody_confirms(
    autojump_clock: MockClock, world: World, flaky: FlakyBackend
) -> None:
    """The subscription gives up: who waits is told, and so is who leaves."""
    flaky.fail("settle", *[ConnectionLost("cut")] * 100)
    settings = attrs.evolve(CONFIG, shutdown_timeout=0.1)
    async with trio.open_nursery() as nursery:
        with pytest.raises(SubscriptionError):
            async with open_subscription(world.bus(), settings) as deliveries:
                nursery.start_soon(_commit_in_vain, await one(world, deliveries))
                await trio.sleep(0.1)
    assert await length(world) == 0


async def _commit_in_vain(delivery: Delivery) -> None:
    with pytest.raises(BusClosed):
        async with delivery.transaction() as tx:
            await tx.publish(BOTH[0])


async def test_a_refused_output_leaves_no_trace(world: World, flaky: FlakyBackend) -> None:
    """What was appended before it is taken back; the commit is tried again until it is taken."""
    streams = flaky.inner
    assert isinstance(streams, MemoryBackend)
    streams.use_up(LOG)
    async with open_subscription(world.bus(), CONFIG) as deliveries:
        delivery = await one(world, deliveries)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(_commit_all, delivery)
            await until(lambda: bool(world.recorder.errors))
            assert isinstance(world.recorder.errors[0].error, RemoteError)
            assert await length(world) == 0
            assert (await world.group()).pending == 1
            streams.delete_topic(LOG)
    assert (await length(world, OUT), await length(world, LOG)) == (2, 1)


async def _commit_all(delivery: Delivery) -> None:
    async with delivery.transaction() as tx:
        await tx.publish(attrs.evolve(BOTH[0], idempotency_key="k"))
        for message in BOTH[1:]:
            await tx.publish(message)


async def _ack_behind(streams: MemoryBackend, consumer: str, delivery: Delivery) -> None:
    """Finish it as if another consumer had."""
    server = streams._server  # pyright: ignore[reportPrivateUsage]
    found = server.store.need_group("orders", "billing")
    assert found[1].pending[delivery.entry_id].consumer.name == consumer
    found[1].acknowledge(delivery.entry_id)


@pytest.mark.parametrize(
    ("value", "words"),
    [
        ("orders", "'orders' is not a list of topics"),
        (["a", ""], "'' is blank"),
        ([1], "1 is not a str"),
        (["a", "b", "a"], "'a' stands there twice"),
    ],
)
def test_output_topics_are_checked(value: list[str], words: str) -> None:
    """They are a list of different topics."""
    with pytest.raises(ValidationError, match=f"output_topics: {words}"):
        SubscriptionConfig("orders", "billing", output_topics=value)


def test_at_most_once_publishes_nothing() -> None:
    """It has acked before it starts."""
    with pytest.raises(ValidationError, match=r"output_topics: .* no effect with AUTO_ON_RECEIVE"):
        SubscriptionConfig("a", "g", output_topics=["a"], ack_mode=AckMode.AUTO_ON_RECEIVE)


def test_output_topics_of_a_table() -> None:
    """A list of a TOML file will do."""
    table = {"topic": "orders", "group": "billing", "output_topics": [OUT]}
    assert cattrs.structure(table, SubscriptionConfig).output_topics == (OUT,)
