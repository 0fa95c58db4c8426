"""Tests of a service, with the fixtures of trio_bus and the mock clock of pytest-trio."""

import trio
from trio.testing import MockClock

from trio_bus import Bus, Delivery, Message, SubscriptionConfig, Transition, open_subscription
from trio_bus.testing import RecordingObserver, publish_and_wait

REMINDERS = SubscriptionConfig("reminders", "mail")


async def send(_: Delivery) -> None:
    await trio.sleep(3.0)


async def test_a_reminder_is_sent_an_hour_later(
    autojump_clock: MockClock, trio_bus_memory: Bus, trio_bus_observer: RecordingObserver
) -> None:
    async with open_subscription(trio_bus_memory, REMINDERS, send):
        began = trio.current_time()
        await trio_bus_memory.schedule(Message("reminders", b"pay!"), delay=3600)
        await trio_bus_observer.wait_for(Transition.ACKED)
        assert 3603 <= trio.current_time() - began < 3604


async def test_it_works_on_a_server(trio_bus_embedded: Bus) -> None:
    async with open_subscription(trio_bus_embedded, REMINDERS, send):
        await publish_and_wait(trio_bus_embedded, Message("reminders", b"pay!"))
