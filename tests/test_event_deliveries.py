"""A message that is not the event that its handler reads is rejected at once."""

from __future__ import annotations

import attrs
import pytest
from trio.testing import MockClock

from tests.event_classes import KINDS, PLACED, Kinds, Order, order
from tests.event_classes import message as message_of
from tests.harness import World, buried, config, until
from trio_bus import (
    AckMode,
    DeathCause,
    Decision,
    Delivery,
    EventInvalid,
    Message,
    SerializationError,
    SubscriptionConfig,
    open_subscription,
)
from trio_bus.abc import Handler


class PickyError(EventInvalid):
    """One that somebody derived."""


def wrong() -> Message:
    """Return what is no order."""
    nested = order(items=[{"price": 1}, {"price": "x"}])
    return attrs.evolve(message_of(nested, kind="order-placed"), topic="orders")


async def test_a_payload_that_does_not_fit_is_a_dead_letter_with_its_path(any_world: World) -> None:
    """At the first attempt, with no setting; what fits is handled beside it."""
    handled: list[Order | Kinds] = []
    events = PLACED | KINDS

    async def handle(delivery: Delivery) -> None:
        handled.append(events.load(delivery.message))

    bus = any_world.bus()
    async with open_subscription(bus, config(), handle) as subscription:
        await bus.publish(PLACED.message(Order(1, []), topic="orders"))
        await bus.publish(wrong())
        await bus.publish(KINDS.message(Kinds(), topic="orders"))
        await until(lambda: len(handled) == 2 and subscription.statistics().rejected == 1)
        assert subscription.statistics().retried == 0
    assert sorted(handled, key=lambda event: type(event).__name__) == [Kinds(), Order(1, [])]
    letter = await buried(any_world)
    assert letter.cause is DeathCause.REJECTED
    assert letter.error_type == "trio_bus.EventInvalid"
    assert letter.error_text == "$.items[1].price: 'x' is not a number"
    assert letter.attempts == 1


async def load(delivery: Delivery) -> None:
    """Handle."""
    PLACED.load(delivery.message)


async def load_in_a_group(delivery: Delivery) -> None:
    """Handle, as a nursery would."""
    try:
        PLACED.load(delivery.message)
    except EventInvalid as error:
        raise ExceptionGroup("two", [error, OSError("worth another attempt")]) from None


async def load_pickily(delivery: Delivery) -> None:
    """Handle."""
    try:
        PLACED.load(delivery.message)
    except EventInvalid as error:
        raise PickyError(str(error)) from error


def say_retry(_: Exception, __: int) -> Decision:
    """Insist."""
    return Decision.retry()


def pass_on(_: Exception, __: int) -> None:
    """Have no opinion."""


@pytest.mark.parametrize(
    ("settings", "handler", "attempts"),
    [
        (config(), load, 1),
        (config(), load_in_a_group, 1),
        (config(), load_pickily, 1),
        (attrs.evolve(config(), retry_on=(ValueError, SerializationError)), load, 1),
        (attrs.evolve(config(), retry_on=EventInvalid), load, 4),
        (attrs.evolve(config(), retry_on=(Exception, EventInvalid)), load_in_a_group, 4),
        (attrs.evolve(config(), retry_on=PickyError), load_pickily, 4),
        (attrs.evolve(config(), retry_on=PickyError), load, 1),
        (attrs.evolve(config(), retry_on=EventInvalid, reject_on=EventInvalid), load, 1),
        (attrs.evolve(config(), on_failure=say_retry), load, 4),
        (attrs.evolve(config(), on_failure=pass_on), load, 1),
    ],
)
async def test_settings_may_say_otherwise(
    autojump_clock: MockClock,
    world: World,
    settings: SubscriptionConfig,
    handler: Handler,
    attempts: int,
) -> None:
    """``retry_on`` by its very name, or ``on_failure``."""
    bus = world.bus()
    async with open_subscription(bus, settings, handler) as subscription:
        await bus.publish(wrong())
        await until(lambda: subscription.statistics().rejected == 1)
    letter = await buried(world)
    assert letter.attempts == attempts
    cause = DeathCause.REJECTED if attempts == 1 else DeathCause.EXHAUSTED
    assert letter.cause is cause


async def test_the_same_holds_for_deliveries_that_are_received(
    autojump_clock: MockClock, world: World
) -> None:
    """In the block of each."""
    bus = world.bus()
    async with open_subscription(bus, config()) as deliveries:
        await bus.publish(wrong())
        async with await deliveries.receive() as delivery:
            PLACED.load(delivery.message)
        await until(lambda: deliveries.statistics().rejected == 1)
    assert (await buried(world)).attempts == 1


async def test_what_was_acked_before_is_only_told(autojump_clock: MockClock, world: World) -> None:
    """At most once means that nothing is left to reject."""
    settings = SubscriptionConfig("orders", "billing", ack_mode=AckMode.AUTO_ON_RECEIVE)
    bus = world.bus()
    async with open_subscription(bus, settings, load) as subscription:
        await bus.publish(wrong())
        await until(lambda: subscription.statistics().failed == 1)
        assert subscription.statistics().rejected == 0
    (event,) = world.recorder.errors
    assert isinstance(event.error, EventInvalid)
