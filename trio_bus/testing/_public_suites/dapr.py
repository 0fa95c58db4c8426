"""What Dapr's conformance suite asks of a pub/sub component (tests/conformance/pubsub)."""

from __future__ import annotations

from collections import Counter

import trio

from trio_bus._delivery import Delivery
from trio_bus._entry_id import EntryId
from trio_bus._errors import PublishError
from trio_bus._message import Message
from trio_bus._subscription import open_subscription

from .stage import Inbox, Stage, consume_with, payloads, publish


async def init_and_ping(stage: Stage) -> None:
    """The backend answers; a topic that does not exist is empty."""
    info = await stage.bus().info(stage.topic())
    assert (info.length, info.groups, info.scheduled) == (0, (), 0)


async def subscribe_with_failures(stage: Stage) -> None:
    """The first two and every fifth delivery fail; all are handled, new ones in order."""
    topic, inbox = stage.topic(), Inbox(payloads(10))
    deliveries: list[bytes] = []

    async def handle(delivery: Delivery) -> None:
        deliveries.append(delivery.message.payload)
        number = len(deliveries)
        await trio.lowlevel.checkpoint()
        if number <= 2 or number % 5 == 0:
            raise ValueError("as agreed")
        inbox.put(delivery)

    config = stage.config(topic, max_in_flight=1, max_retry=10)
    async with open_subscription(stage.bus(), config, handle):
        await publish(stage.bus(), topic, payloads(10))
        await inbox.complete()
        await stage.finished(topic)
    inbox.check_exactly_once()
    first_times = [int(body) for body in dict.fromkeys(deliveries)]
    assert first_times == sorted(first_times), "what is new comes in the order of the stream"


async def bulk_publish(stage: Stage) -> None:
    """Of a batch each message has its own result: an id, or why it was refused."""
    topic = stage.topic()
    bus = stage.bus()
    good = [Message(topic, body) for body in payloads(9)]
    outcome = await bus.publish_batch([*good[:4], Message(topic, bytes(5 * 2**20)), *good[4:]])
    ids = [it for it in outcome.results if isinstance(it, EntryId)]
    refusal = outcome.results[4]
    assert isinstance(refusal, Exception)
    assert not isinstance(refusal, PublishError)
    assert ids == sorted(ids)
    assert len(ids) == 9
    inbox = Inbox(payloads(9))
    await consume_with(stage, stage.config(topic), inbox)
    inbox.check_exactly_once()


async def multiple_handlers(stage: Stage) -> None:
    """Two topics, two subscriptions, alternating messages: each gets exactly its own."""
    names = [stage.topic(), stage.topic()]
    inboxes = {name: Inbox(payloads(10, name)) for name in names}
    async with trio.open_nursery() as nursery:
        for name, inbox in inboxes.items():
            nursery.start_soon(consume_with, stage, stage.config(name), inbox)
        for number in range(10):
            for name in names:
                await publish(stage.bus(), name, [f"{name}{number}".encode()])
    for inbox in inboxes.values():
        inbox.check_exactly_once()


async def stop_subscribers(stage: Stage) -> None:
    """Three rounds in which one, then the other is stopped: each gets exactly its own."""
    names = [stage.topic(), stage.topic()]
    got: dict[str, Counter[bytes]] = {name: Counter() for name in names}
    for round_ in range(3):
        alive = list(names)
        async with trio.open_nursery() as nursery:
            scopes = {name: trio.CancelScope() for name in names}
            closed = {name: trio.Event() for name in names}
            for name in names:
                nursery.start_soon(_collect, stage, name, got[name], scopes[name], closed[name])
            for stopped in names:
                for name in alive:
                    await publish(stage.bus(), name, [f"{name} {round_} {stopped}".encode()])
                for name in alive:
                    await stage.finished(name)
                scopes[stopped].cancel("stopped")
                await closed[stopped].wait()
                alive.remove(stopped)
    expected = {name: Counter[bytes]() for name in names}
    for round_ in range(3):
        for number, stopped in enumerate(names):
            for name in names[number:]:
                expected[name][f"{name} {round_} {stopped}".encode()] += 1
    assert got == expected


async def _collect(
    stage: Stage, topic: str, got: Counter[bytes], scope: trio.CancelScope, closed: trio.Event
) -> None:
    async def handle(delivery: Delivery) -> None:
        await trio.lowlevel.checkpoint()
        got[delivery.message.payload] += 1

    with scope:
        async with open_subscription(stage.bus(), stage.config(topic), handle):
            await trio.sleep_forever()
    closed.set()


DAPR = (
    init_and_ping,
    subscribe_with_failures,
    bulk_publish,
    multiple_handlers,
    stop_subscribers,
)
