"""What Wolverine's TransportCompliance and JetStream's consumer tests ask, where it applies."""

from __future__ import annotations

import trio

from trio_bus._backend import DeathCause
from trio_bus._backoff import Backoff
from trio_bus._delivery import Delivery
from trio_bus._message import Message
from trio_bus._subscription import open_subscription

from .stage import PATIENCE, SOON, Inbox, Stage, consume_with, payloads, publish


async def listeners_accept_at_start(stage: Stage) -> None:
    """What is published once a subscription is open is handled, whatever was there before."""
    topic, inbox = stage.topic(), Inbox(payloads(3))
    async with open_subscription(stage.bus(), stage.config(topic), inbox.handle):
        await publish(stage.bus(), topic, payloads(3))
        await inbox.complete()


async def requeue(stage: Stage) -> None:
    """What is released comes again, and was not counted."""
    topic = stage.topic()
    attempts: list[int] = []
    done = trio.Event()

    async def handle(delivery: Delivery) -> None:
        attempts.append(delivery.state.attempt)
        if len(attempts) == 1:
            await delivery.release()
        else:
            done.set()

    async with open_subscription(stage.bus(), stage.config(topic), handle):
        await publish(stage.bus(), topic, [b"1"])
        with trio.fail_after(PATIENCE):
            await done.wait()
        await stage.finished(topic)
    assert attempts == [1, 1]


async def correlation_ids_stay(stage: Stage) -> None:
    """Who caused a message, and its trace, arrive as they were published; on retries too."""
    topic = stage.topic()
    message = Message(topic, b"1", correlation_uid="order 7", trace_uid="a trace", source="shop")
    await stage.bus().publish(message)
    seen: list[Message] = []

    async def handle(delivery: Delivery) -> None:
        await trio.lowlevel.checkpoint()
        seen.append(delivery.message)
        if len(seen) < 2:
            raise ValueError("once more")

    async with open_subscription(stage.bus(), stage.config(topic), handle):
        await stage.finished(topic)
    assert [(it.correlation_uid, it.trace_uid, it.source) for it in seen] == [
        ("order 7", "a trace", "shop")
    ] * 2


async def scheduled_send(stage: Stage) -> None:
    """A scheduled message comes when it is due, not before; a cancelled one never."""
    topic, inbox = stage.topic(), Inbox([b"now", b"later"])
    bus = stage.bus()
    due = trio.current_time() + 20 * SOON
    await bus.schedule(Message(topic, b"later"), delay=20 * SOON)
    cancelled = await bus.schedule(Message(topic, b"never"), delay=10 * SOON)
    await bus.publish(Message(topic, b"now"))
    assert await bus.cancel_scheduled(cancelled)
    came: dict[bytes, float] = {}

    async def handle(delivery: Delivery) -> None:
        came[delivery.message.payload] = trio.current_time()
        await inbox.handle(delivery)

    await consume_with(stage, stage.config(topic), inbox, handle=handle)
    inbox.check_exactly_once()
    # The clock of a server counts whole milliseconds, and is another clock.
    assert came[b"later"] >= due - 0.01
    assert (await bus.info(topic)).scheduled == 0


async def dead_letter_after_three_attempts(stage: Stage) -> None:
    """What fails three times goes to the dead-letter topic, once, with its story and its bytes."""
    topic = stage.topic()
    dead = f"{{{topic}}}.dead"
    attempts: list[int] = []

    async def handle(delivery: Delivery) -> None:
        await trio.lowlevel.checkpoint()
        attempts.append(delivery.state.attempt)
        raise ValueError("no good")

    await publish(stage.bus(), topic, [b"\x00 odd \xff"])
    config = stage.config(topic, max_retry=2, dead_letter_topic=dead)
    async with open_subscription(stage.bus(), config, handle):
        await stage.finished(topic)
    assert attempts == [1, 2, 3]
    await _check_letter(stage, dead, topic, DeathCause.EXHAUSTED, attempts=3)


async def dead_letter_at_once(stage: Stage) -> None:
    """What fails with an error that rejects is not tried again."""
    topic = stage.topic()
    dead = f"{{{topic}}}.dead"

    async def handle(_: Delivery) -> None:
        await trio.lowlevel.checkpoint()
        raise ExceptionGroup("two", [LookupError("the reason"), ValueError("beside it")])

    await publish(stage.bus(), topic, [b"\x00 odd \xff"])
    config = stage.config(topic, reject_on=(LookupError,), dead_letter_topic=dead)
    async with open_subscription(stage.bus(), config, handle):
        await stage.finished(topic)
    await _check_letter(stage, dead, topic, DeathCause.REJECTED, attempts=1)


async def retry_counts_attempts(stage: Stage) -> None:
    """What succeeds the third time was tried three times, and is in no dead-letter topic."""
    topic = stage.topic()
    dead = f"{{{topic}}}.dead"
    attempts: list[int] = []

    async def handle(delivery: Delivery) -> None:
        await trio.lowlevel.checkpoint()
        attempts.append(delivery.state.attempt)
        if delivery.state.attempt < 3:
            raise ValueError("not yet")

    await publish(stage.bus(), topic, [b"1"])
    config = stage.config(topic, max_retry=2, dead_letter_topic=dead)
    async with open_subscription(stage.bus(), config, handle):
        await stage.finished(topic)
    assert attempts == [1, 2, 3]
    assert (await stage.backend.info(dead)).length == 0


async def retry_waits_for_its_delay(stage: Stage) -> None:
    """A second attempt does not start before its backoff is over; others go on meanwhile."""
    topic, wait = stage.topic(), 20 * SOON
    starts: dict[bytes, list[float]] = {}

    async def handle(delivery: Delivery) -> None:
        await trio.lowlevel.checkpoint()
        body = delivery.message.payload
        starts.setdefault(body, []).append(trio.current_time())
        if body == b"0" and len(starts[body]) == 1:
            raise ValueError("later")

    await publish(stage.bus(), topic, payloads(3))
    config = stage.config(topic, max_in_flight=1, retry_backoff=Backoff(first=wait, jitter=0.0))
    async with open_subscription(stage.bus(), config, handle):
        await stage.finished(topic)
    first, second = starts[b"0"]
    # Both clocks count whole milliseconds, and the server's is another one.
    assert second - first >= wait - 0.01
    assert max(starts[b"1"] + starts[b"2"]) < second, "a retry holds up nobody"


async def drained_and_restarted(stage: Stage) -> None:
    """One that is drained takes nothing new; what came meanwhile waits for the next one."""
    topic, inbox = stage.topic(), Inbox([b"after"])
    async with open_subscription(stage.bus(), stage.config(topic), inbox.handle) as subscription:
        await subscription.drain()
        await publish(stage.bus(), topic, [b"after"])
        await trio.sleep(5 * SOON)
        assert inbox.seen == []
    await consume_with(stage, stage.config(topic), inbox)
    inbox.check_exactly_once()


async def pending_count_with_redeliveries(stage: Stage) -> None:
    """What waits for its retry is pending for nobody; the figures say where each is."""
    topic = stage.topic()
    dead = f"{{{topic}}}.dead"
    config = stage.config(topic, dead_letter_topic=dead)
    await publish(stage.bus(), topic, payloads(4))
    async with open_subscription(stage.bus(), config) as deliveries:
        with trio.fail_after(PATIENCE):
            one, two, three, four = [await deliveries.receive() for _ in range(4)]
        await one.ack()
        await two.retry("later", delay=600.0)
        await three.reject("never")
        group = await stage.group(topic)
        assert (group.pending, group.delayed, group.released) == (1, 1, 0)
        await four.ack()
    group = await stage.group(topic)
    assert (group.pending, group.delayed, group.released, group.dead) == (0, 1, 0, 0)
    assert (await stage.backend.info(dead)).length == 1


async def _check_letter(
    stage: Stage, dead: str, topic: str, cause: DeathCause, attempts: int
) -> None:
    async with open_subscription(stage.bus(), stage.config(dead)) as deliveries:
        with trio.fail_after(PATIENCE):
            async with await deliveries.receive() as delivery:
                letter = delivery.dead_letter
                assert letter is not None
                assert (letter.topic, letter.group) == (topic, "group")
                assert (letter.cause, letter.attempts) == (cause, attempts)
                assert delivery.message.payload == b"\x00 odd \xff"
    assert (await stage.backend.info(dead)).length == 1


WOLVERINE = (
    listeners_accept_at_start,
    requeue,
    correlation_ids_stay,
    scheduled_send,
    dead_letter_after_three_attempts,
    dead_letter_at_once,
    retry_counts_attempts,
    retry_waits_for_its_delay,
    drained_and_restarted,
    pending_count_with_redeliveries,
)
