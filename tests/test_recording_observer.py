"""What a recording observer hears can be asked for, and waited for."""

from __future__ import annotations

import attrs
import pytest
import trio
from trio.testing import MockClock

from tests.harness import config
from trio_bus import (
    Bus,
    BusOptions,
    Delivery,
    MemoryBackend,
    Message,
    Scope,
    Transition,
    open_subscription,
)
from trio_bus.testing import RecordingObserver


async def fail_odd(delivery: Delivery) -> None:
    """Handle every other message."""
    if delivery.message.payload in {b"1", b"3"}:
        raise ValueError(delivery.message.payload)


async def test_it_keeps_what_happened_and_waits_for_what_will(autojump_clock: MockClock) -> None:
    observer = RecordingObserver()
    bus = Bus(MemoryBackend(), BusOptions(observer=observer))
    with trio.fail_after(60):
        async with open_subscription(bus, attrs.evolve(config(), max_retry=0), fail_odd):
            await bus.publish_batch([Message("orders", b"%d" % number) for number in range(4)])
            acked = await observer.wait_for(Transition.ACKED, count=2)
            dead = await observer.wait_for(Transition.DEAD_LETTERED, lambda it: it.attempt == 1)
            failed = await observer.wait_for(Scope.HANDLER, lambda it: "3" in str(it.error))
    assert len(acked) == 2
    assert dead[0].entry_id != acked[0].entry_id
    assert [str(it.error) for it in failed] == ["b'3'"]
    assert len(observer.of(Scope.HANDLER)) == 2
    assert observer.events[0] == observer.of(Transition.OPENED)[0]
    assert observer.events[-1] == observer.of(Transition.CLOSED)[0]


async def test_what_was_cleared_is_waited_for_again(autojump_clock: MockClock) -> None:
    observer = RecordingObserver()
    bus = Bus(MemoryBackend(), BusOptions(observer=observer))
    async with open_subscription(bus, config(), fail_odd):
        await bus.publish(Message("orders", b"0"))
        with trio.fail_after(1):
            await observer.wait_for(Transition.ACKED)
            await observer.wait_for(Transition.ACKED)  # the same one: it is still there
        observer.clear()
        with pytest.raises(trio.TooSlowError), trio.fail_after(1):
            await observer.wait_for(Transition.ACKED)
        with trio.fail_after(1):
            await bus.publish(Message("orders", b"2"))
            assert len(await observer.wait_for(Transition.ACKED)) == 1
