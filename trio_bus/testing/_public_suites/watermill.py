"""What Watermill's universal suite asks of a broker, asked of a backend (pubsub/tests)."""

from __future__ import annotations

from contextvars import ContextVar

import attrs
import trio

from trio_bus._backend import Membership
from trio_bus._bus import Bus
from trio_bus._config import SubscriptionConfig
from trio_bus._delivery import Delivery
from trio_bus._errors import DeliveryFinalized
from trio_bus._message import Message
from trio_bus._subscription import open_subscription

from .stage import PATIENCE, SOON, Inbox, Stage, consume_with, payloads, publish, until

_context = ContextVar("_context", default="nothing")
_LEASE = 4.0
"""Seconds: longer than a busy machine keeps one of many tests waiting."""


async def publish_subscribe(stage: Stage) -> None:
    """What was published before comes with every byte and every header; then iteration ends."""
    topic = stage.topic()
    sent = {body: {"number": str(n), "odd": "é\r\n"} for n, body in enumerate(payloads(100))}
    messages = [Message(topic, body, headers=headers) for body, headers in sent.items()]
    (await stage.bus().publish_batch(messages)).raise_errors()
    got: dict[bytes, dict[str, str]] = {}
    async with open_subscription(stage.bus(), stage.config(topic)) as deliveries:
        with trio.fail_after(PATIENCE):
            while len(got) < len(sent):
                async with await deliveries.receive() as delivery:
                    got[delivery.message.payload] = dict(delivery.message.headers)
        await deliveries.drain()
        assert [it async for it in deliveries] == []
    assert got == sent


async def concurrent_subscribe(stage: Stage) -> None:
    """From 50 publishers to 10 subscriptions of one group every message comes."""
    topic, inbox = stage.topic(), Inbox(payloads(100))
    async with trio.open_nursery() as nursery:
        for number in range(50):
            bodies = payloads(100)[number::50]
            nursery.start_soon(publish, stage.bus(), topic, bodies)
    await consume_with(stage, stage.config(topic), inbox, subscriptions=10)


async def concurrent_subscribe_multiple_topics(stage: Stage) -> None:
    """On 10 topics at a time, on one bus, each gets what was published on it."""
    bus = stage.bus()

    async def play(topic: str) -> None:
        inbox = Inbox(payloads(50, topic))
        async with open_subscription(bus, stage.config(topic), inbox.handle):
            await publish(bus, topic, payloads(50, topic))
            await inbox.complete()
        assert set(inbox.seen) == inbox.wanted

    async with trio.open_nursery() as nursery:
        for _ in range(10):
            nursery.start_soon(play, stage.topic())


async def resend_on_error(stage: Stage) -> None:
    """With the first two failing once, all 100 are handled, and the two a second time."""
    topic, inbox = stage.topic(), Inbox(payloads(100))
    await publish(stage.bus(), topic, payloads(100))
    failed: list[bytes] = []

    async def handle(delivery: Delivery) -> None:
        await trio.lowlevel.checkpoint()
        if len(failed) < 2:
            failed.append(delivery.message.payload)
            raise ValueError("one of the first two")
        inbox.put(delivery)

    async with open_subscription(stage.bus(), stage.config(topic), handle):
        await inbox.complete()
    inbox.check_exactly_once()


async def no_ack(stage: Stage) -> None:
    """With one at a time the second does not come before the first is acked, and then soon."""
    topic = stage.topic()
    await publish(stage.bus(), topic, payloads(2))
    config = stage.config(topic, max_in_flight=1)
    async with open_subscription(stage.bus(), config) as deliveries:
        with trio.fail_after(PATIENCE):
            first = await deliveries.receive()
            with trio.move_on_after(5 * SOON) as waited:
                await deliveries.receive()
            assert waited.cancelled_caught, "the second came before the first was acked"
            await first.ack()
            async with await deliveries.receive() as second:
                assert second.message.payload == b"1"
        with trio.move_on_after(5 * SOON) as waited:
            await deliveries.receive()
        assert waited.cancelled_caught, "a third came, and there are two"


async def continue_after_subscribe_close(stage: Stage) -> None:
    """Of 50 messages what one subscription leaves is there for the next."""
    topic, wanted = stage.topic(), set(payloads(50))
    await publish(stage.bus(), topic, payloads(50))
    seen: list[bytes] = []
    for _ in range(2):
        async with open_subscription(stage.bus(), stage.config(topic)) as deliveries:
            with trio.fail_after(PATIENCE):
                for _ in range(25):
                    async with await deliveries.receive() as delivery:
                        seen.append(delivery.message.payload)
    assert sorted(seen) == sorted(wanted), "each came once, since each was acked"


async def concurrent_close(stage: Stage) -> None:
    """Ten that open and close at the same time leave everything to the next one."""
    topic, inbox = stage.topic(), Inbox(payloads(50))

    async def come_and_go() -> None:
        async with open_subscription(stage.bus(), stage.config(topic)):
            await trio.lowlevel.checkpoint()

    async with trio.open_nursery() as nursery:
        for _ in range(10):
            nursery.start_soon(come_and_go)
    await publish(stage.bus(), topic, payloads(50))
    await consume_with(stage, stage.config(topic), inbox)
    inbox.check_exactly_once()


async def continue_after_errors(stage: Stage) -> None:
    """After one whose handlers only fail, a healthy one handles all 50."""
    topic, inbox = stage.topic(), Inbox(payloads(50))
    await publish(stage.bus(), topic, payloads(50))
    failures = trio.Event()

    async def fail(delivery: Delivery) -> None:
        await trio.lowlevel.checkpoint()
        if delivery.message.payload == b"4":
            failures.set()
        raise ValueError("it always fails")

    config = stage.config(topic, max_retry=1_000)
    async with open_subscription(stage.bus(), config, fail):
        with trio.fail_after(PATIENCE):
            await failures.wait()
    await consume_with(stage, config, inbox)
    inbox.check_exactly_once()


async def publish_subscribe_in_order(stage: Stage) -> None:
    """With one at a time, 100 messages of 16 kinds come in the order of each kind."""
    topic = stage.topic()
    bodies = [b"%d %d" % (number % 16, number) for number in range(100)]
    inbox = Inbox(bodies)
    for body in bodies:
        await stage.bus().publish(Message(topic, body, kind=body.split()[0].decode()))
    await consume_with(stage, stage.config(topic, max_in_flight=1), inbox)
    assert inbox.seen == bodies


async def publisher_close(stage: Stage) -> None:
    """What 20 publishers have published is there when they are gone."""
    topic, inbox = stage.topic(), Inbox(payloads(100))
    async with trio.open_nursery() as nursery:
        for number in range(20):
            nursery.start_soon(_publish_and_close, stage, topic, payloads(100)[number::20])
    await consume_with(stage, stage.config(topic), inbox)
    inbox.check_exactly_once()


async def topics(stage: Stage) -> None:
    """Each message comes on the topic that it was published on, and on no other."""
    names = [stage.topic(), stage.topic()]
    for name in names:
        await publish(stage.bus(), name, [name.encode()])
    for name in names:
        inbox = Inbox([name.encode()])
        await consume_with(stage, stage.config(name), inbox)
        inbox.check_exactly_once()


async def message_context(stage: Stage) -> None:
    """After its ack a delivery is over; one that runs when its subscription closes is cancelled."""
    topic = stage.topic()
    await publish(stage.bus(), topic, payloads(2))
    acked, cancelled, running = trio.Event(), trio.Event(), trio.Event()

    async def handle(delivery: Delivery) -> None:
        if delivery.message.payload == b"0":
            await delivery.ack()
            try:
                await delivery.renew()
            except DeliveryFinalized:
                acked.set()
            return
        running.set()
        try:
            await trio.sleep_forever()
        finally:
            cancelled.set()

    config = stage.config(topic, drain_timeout=0.0)
    async with open_subscription(stage.bus(), config, handle):
        with trio.fail_after(PATIENCE):
            await acked.wait()
            await running.wait()
        assert not cancelled.is_set()
    assert cancelled.is_set()


async def subscribe_context(stage: Stage) -> None:
    """Cancelled at once a subscription ends soon; the next one gets all, in its own context."""
    topic, inbox = stage.topic(), Inbox(payloads(20))
    await publish(stage.bus(), topic, payloads(20))
    with trio.fail_after(15.0), trio.CancelScope() as scope:
        async with open_subscription(stage.bus(), stage.config(topic), inbox.handle):
            scope.cancel("at once")
            await trio.lowlevel.checkpoint()
    known: set[str] = set()

    async def handle(delivery: Delivery) -> None:
        known.add(_context.get())
        await inbox.handle(delivery)

    token = _context.set("that of the subscriber")
    try:
        await consume_with(stage, stage.config(topic), inbox, handle=handle)
    finally:
        _context.reset(token)
    assert known == {"that of the subscriber"}
    inbox.check_exactly_once()


async def new_subscriber_receives_old_messages(stage: Stage) -> None:
    """A new group gets the whole history, three times over."""
    topic = stage.topic()
    for number in range(1, 4):
        await publish(stage.bus(), topic, [b"%d" % number])
        inbox = Inbox([b"%d" % it for it in range(1, number + 1)])
        await consume_with(stage, stage.config(topic, f"group-{number}"), inbox)
        inbox.check_exactly_once()


async def consumer_groups(stage: Stage) -> None:
    """Of two groups each gets all 50."""
    topic = stage.topic()
    for group in ("one", "two"):
        await stage.create_group(topic, group)
    await publish(stage.bus(), topic, payloads(50))
    for group in ("one", "two"):
        inbox = Inbox(payloads(50))
        await consume_with(stage, stage.config(topic, group), inbox)
        inbox.check_exactly_once()


async def claim_idle(stage: Stage) -> None:
    """What hangs at one consumer until it is dead is taken over, once, by one of the others."""
    topic, inbox = stage.topic(), Inbox(payloads(10))
    config = stage.config(topic, claim_idle_timeout=_LEASE)
    await stage.create_group(topic)
    await publish(stage.bus(), topic, payloads(10))
    async with stage.backend.join(membership(config, "dead")) as dead:
        assert len(await dead.read(3, 1.0)) == 3
    attempts: dict[bytes, int] = {}

    async def handle(delivery: Delivery) -> None:
        attempts[delivery.message.payload] = delivery.state.attempt
        await inbox.handle(delivery)

    await consume_with(stage, config, inbox, subscriptions=3, handle=handle)
    inbox.check_exactly_once()
    assert attempts == {body: 2 if number < 3 else 1 for number, body in enumerate(payloads(10))}


async def claim_all_messages(stage: Stage) -> None:
    """One dies with 1 of 10 in its hands: another gets all of it, and the dead one is removed."""
    topic, inbox = stage.topic(), Inbox(payloads(10))
    config = stage.config(topic, claim_idle_timeout=_LEASE)
    await stage.create_group(topic)
    await publish(stage.bus(), topic, payloads(10))
    async with stage.backend.join(membership(config, "dead")) as dead:
        assert len(await dead.read(1, 1.0)) == 1
    async with open_subscription(stage.bus(), config, inbox.handle) as subscription:
        await inbox.complete()

        async def is_alone() -> bool:
            group = await stage.group(topic)
            return {it.name for it in group.consumers} == {subscription.name}

        await until(is_alone)
    inbox.check_exactly_once()


async def fan_out_without_a_group(stage: Stage) -> None:
    """Two readers without a group see all that is new, in the same order, and nothing old."""
    topic, inboxes = stage.topic(), [Inbox(payloads(50)), Inbox(payloads(50))]
    await publish(stage.bus(), topic, payloads(50, "old "))
    config = attrs.evolve(SubscriptionConfig.fan_out(topic), max_in_flight=1, reclaim_interval=SOON)
    async with (
        open_subscription(stage.bus(), config, inboxes[0].handle),
        open_subscription(stage.bus(), config, inboxes[1].handle),
    ):
        await publish(stage.bus(), topic, payloads(50))
        for inbox in inboxes:
            await inbox.complete()
    assert [inbox.seen for inbox in inboxes] == [payloads(50)] * 2
    assert (await stage.backend.info(topic)).groups == ()


async def stress(stage: Stage) -> None:
    """All of these at the same time, twice."""
    async with trio.open_nursery() as nursery:
        for _ in range(2):
            for test in WATERMILL:
                if test is not stress:
                    nursery.start_soon(test, stage)


def membership(config: SubscriptionConfig, consumer: str) -> Membership:
    """Return a consumer of that group who goes away without a word."""
    return Membership(
        topic=config.topic,
        group=config.group,
        consumer=consumer,
        lease=config.claim_idle_timeout,
        max_attempt=config.max_attempt,
    )


async def _publish_and_close(stage: Stage, topic: str, bodies: list[bytes]) -> None:
    bus: Bus = stage.bus()
    await publish(bus, topic, bodies)
    bus.close()


WATERMILL = (
    publish_subscribe,
    fan_out_without_a_group,
    concurrent_subscribe,
    concurrent_subscribe_multiple_topics,
    resend_on_error,
    no_ack,
    continue_after_subscribe_close,
    concurrent_close,
    continue_after_errors,
    publish_subscribe_in_order,
    publisher_close,
    topics,
    message_context,
    subscribe_context,
    new_subscriber_receives_old_messages,
    consumer_groups,
    claim_idle,
    claim_all_messages,
    stress,
)
