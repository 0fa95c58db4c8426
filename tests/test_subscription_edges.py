"""What happens in a subscription at moments that are rare."""

# pyright: reportPrivateUsage=false

from __future__ import annotations

from typing import TYPE_CHECKING, cast

import attrs
import pytest
import trio
import trio.testing
from trio.testing import MockClock

from tests.harness import Recorder, config, publish, until
from trio_bus import (
    AckMode,
    Bus,
    BusClosed,
    BusOptions,
    ConnectionLost,
    Delivery,
    EntryId,
    MemoryBackend,
    SubscriptionConfig,
    Transition,
    ValidationError,
    open_subscription,
)
from trio_bus._backend import Ack, Receipt
from trio_bus._errors import InternalError
from trio_bus._observer import Scope
from trio_bus._settled import Settled
from trio_bus._settling import Settling
from trio_bus._subscription import remembered
from trio_bus._subscription.buffer import Buffer
from trio_bus._subscription.core import _nowhere
from trio_bus._subscription.dispatcher import Dispatcher
from trio_bus._subscription.remembered import Remembered
from trio_bus.testing import FaultyBackend

if TYPE_CHECKING:
    from trio_bus._holding import Holding
    from trio_bus._subscription.core import Core


async def test_a_mode_without_a_handler_is_refused() -> None:
    """Nobody would say when it is done."""
    settings = SubscriptionConfig("orders", "billing", ack_mode=AckMode.AUTO_ON_RECEIVE)
    with pytest.raises(ValidationError, match="ack_mode: AUTO_ON_RECEIVE needs a handler"):
        async with open_subscription(Bus(MemoryBackend()), settings):
            pytest.fail("it was opened")


async def test_a_subscription_tells_its_settings() -> None:
    async with open_subscription(Bus(MemoryBackend()), config()) as subscription:
        assert subscription.config == config()


async def test_a_group_that_cannot_be_made_again_is_made_later(autojump_clock: MockClock) -> None:
    recorder, backend = Recorder(), FaultyBackend(MemoryBackend())
    handled: list[bytes] = []

    async def handle(delivery: Delivery) -> None:
        handled.append(delivery.message.payload)

    bus = Bus(backend, BusOptions(observer=recorder))
    async with open_subscription(bus, config(), handle):
        backend.fail("create_group", ConnectionLost("gone"))
        backend.inner.destroy_group("orders", "billing")
        await publish(bus, 1)
        await until(lambda: handled == [b"0"])
    assert "gone" in [str(it.error) for it in recorder.errors if it.scope is Scope.READ]
    assert recorder.ids(Transition.GROUP_RECREATED) == [None]


async def fail_later() -> None:
    try:
        await trio.sleep_forever()
    finally:
        raise LookupError("in the way out")


async def fail_when_cancelled(_: Delivery) -> None:
    async with trio.open_nursery() as nursery:
        nursery.start_soon(fail_later)


async def test_what_fails_while_it_is_cancelled_is_told(autojump_clock: MockClock) -> None:
    """A group of the cancellation and an error: the timeout is over, and the error counts."""
    recorder = Recorder()
    settings = attrs.evolve(config(), handler_timeout=0.5, max_retry=0)
    bus = Bus(MemoryBackend(), BusOptions(observer=recorder))
    async with open_subscription(bus, settings, fail_when_cancelled):
        await publish(bus, 1)
        await until(lambda: bool(recorder.ids(Transition.DEAD_LETTERED)))
    assert "LookupError" in repr([it.error for it in recorder.errors])


async def leave(_: Delivery) -> None:
    raise BaseExceptionGroup("the program ends", [SystemExit(3)])


async def test_what_ends_the_program_goes_on_through_the_subscription() -> None:
    """Also in a group; the entry goes back."""
    backend = MemoryBackend()
    bus = Bus(backend)
    with pytest.raises(BaseExceptionGroup) as caught:
        async with open_subscription(bus, config(), leave):
            await publish(bus, 1)
            await trio.sleep_forever()
    assert caught.group_contains(SystemExit)
    (group,) = (await backend.info("orders")).groups
    assert (group.released, group.consumers) == (1, ())


async def test_whoever_waits_for_what_is_given_up_is_told() -> None:
    settling = Settling(Ack(Receipt(EntryId(1), 1)), cast("Holding", None))
    settling.abandon(BusClosed("the subscription has ended"))
    settling.outcome = None
    with pytest.raises(BusClosed, match="the subscription has ended"):
        with trio.fail_after(10):
            await settling.confirmed()


async def test_any_number_of_tasks_may_wait_for_one_confirmation() -> None:
    settling = Settling(Ack(Receipt(EntryId(1), 1)), cast("Holding", None))
    with trio.fail_after(10):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(settling.confirmed)
            nursery.start_soon(settling.confirmed)
            await trio.testing.wait_all_tasks_blocked()
            settling.end(Settled.DONE)


async def test_any_number_of_tasks_may_renew_one_delivery() -> None:
    bus = Bus(MemoryBackend())
    async with open_subscription(bus, config()) as deliveries:
        await publish(bus, 1)
        delivery = await deliveries.receive()
        with trio.fail_after(10):
            async with trio.open_nursery() as nursery:
                nursery.start_soon(delivery.renew)
                nursery.start_soon(delivery.renew)
        await delivery.ack()


def test_what_is_remembered_has_a_bound(monkeypatch: pytest.MonkeyPatch) -> None:
    """Then it begins anew: what is forgotten waits no longer than others."""
    monkeypatch.setattr(remembered, "MOST", 2)
    known = Remembered()
    for number in (1, 2, 3):
        known.add(EntryId(number))
    assert [EntryId(number) in known for number in (1, 2, 3)] == [False, False, True]


@attrs.define
class Kept:
    """A holding that is over: it was acked when it came."""

    open: bool = False


@attrs.define
class Ended:
    """A core that notes what has ended."""

    gone: list[object] = attrs.field(factory=list[object])
    config: SubscriptionConfig = attrs.field(factory=config)
    ack_mode: AckMode = AckMode.AUTO_ON_RECEIVE
    lease: float = 60.0

    @property
    def inspection(self) -> Ended:
        return self

    def expire(self, holding: object) -> bool:
        pytest.fail(f"{holding} was looked at")

    def ended(self, holding: object) -> None:
        self.gone.append(holding)


async def test_what_comes_after_the_end_is_not_started() -> None:
    """What was acked on arrival is let go of; the rest is released by whoever ends it."""
    core, late = Ended(), [Kept(), Kept(open=True)]

    async def handle(_: Delivery) -> None:
        pytest.fail("it was started")

    outlet = Dispatcher(cast("Core", core), handle)
    outlet.close()
    outlet.deliver(cast("list[Holding]", late))
    assert core.gone == late[:1]
    await outlet.run()
    await outlet.wait_finished()
    buffer = Buffer(cast("Core", core))
    buffer.close()
    buffer.deliver(cast("list[Holding]", late))
    with pytest.raises(trio.EndOfChannel):
        await buffer.take()


def test_entries_cannot_come_before_there_is_an_outlet() -> None:
    with pytest.raises(InternalError, match="0 entries came before there was an outlet"):
        _nowhere([])
