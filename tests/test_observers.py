"""What observers hear, and what it costs that nobody hears."""

from __future__ import annotations

import contextlib
import logging

import attrs
import pytest
import trio
from trio.testing import MockClock

from tests.faults import FlakyBackend
from tests.harness import Recorder, config, open_world, publish, until
from tests.redis_world import command
from trio_bus import (
    Bus,
    BusOptions,
    ConnectionLost,
    Delivery,
    ErrorEvent,
    LoggingObserver,
    Scope,
    Transition,
    TransitionEvent,
    open_subscription,
)
from trio_bus._notifier import Notifier
from trio_bus._redis import RedisBackend
from trio_bus.abc import Observer, SelectiveObserver


@attrs.define
class Picky(Recorder):
    """Wants one kind of transition."""

    asked: set[Transition] = attrs.field(factory=set[Transition])

    def wants(self, transition: Transition, /) -> bool:
        """Only the ends that are good."""
        self.asked.add(transition)
        return transition is Transition.ACKED


async def ok(_: Delivery) -> None:
    """Handle."""
    await trio.lowlevel.checkpoint()


async def test_a_selective_observer_hears_what_it_wants(autojump_clock: MockClock) -> None:
    """And all errors; it is counted all the same."""
    picky = Picky()
    bus = Bus(FlakyBackend(), BusOptions(observer=picky))

    async def fail_once(delivery: Delivery) -> None:
        if delivery.state.attempt == 1:
            raise ValueError(delivery.entry_id)

    async with open_subscription(bus, config(), fail_once) as subscription:
        await publish(bus, 2)
        await until(lambda: subscription.statistics().handled == 2)
    assert [event.transition for event in picky.transitions] == [Transition.ACKED] * 2
    assert [event.scope for event in picky.errors] == [Scope.HANDLER] * 2
    said = subscription.statistics()
    assert (said.received, said.retried, said.handled) == (4, 2, 2)
    assert picky.asked >= {Transition.RECEIVED, Transition.STARTED, Transition.FINISHED}


def test_an_event_that_nobody_wants_is_not_made(monkeypatch: pytest.MonkeyPatch) -> None:
    """That is what it saves."""

    def make(**_: object) -> TransitionEvent:
        raise AssertionError("it was made")

    monkeypatch.setattr("trio_bus._notifier.TransitionEvent", make)
    Notifier(Picky()).transition(Transition.STARTED)
    with pytest.raises(AssertionError, match="it was made"):
        Notifier(Picky()).transition(Transition.ACKED)
    with pytest.raises(AssertionError, match="it was made"):
        Notifier(Recorder()).transition(Transition.STARTED)


@pytest.mark.parametrize("level", [logging.DEBUG, logging.INFO, logging.WARNING, logging.ERROR])
def test_the_log_wants_what_its_level_shows(level: int, caplog: pytest.LogCaptureFixture) -> None:
    """And asks for nothing that it would throw away."""
    observer = LoggingObserver()
    with caplog.at_level(level, "trio_bus"):
        for transition in Transition:
            caplog.clear()
            observer.on_transition(TransitionEvent(transition=transition))
            assert len(caplog.records) == observer.wants(transition)
        lost = observer.wants(Transition.DEAD_LETTERED)
        back, step = observer.wants(Transition.RECONNECTED), observer.wants(Transition.STARTED)
    assert (lost, back, step) == (
        level <= logging.WARNING,
        level <= logging.INFO,
        level <= logging.DEBUG,
    )


def test_which_observers_are_selective() -> None:
    """Those that say so."""
    assert isinstance(LoggingObserver(), SelectiveObserver)
    plain: Observer = Recorder()
    assert not isinstance(plain, SelectiveObserver)


def test_a_log_line_says_what_is_known(caplog: pytest.LogCaptureFixture) -> None:
    """An entry that is gone has no attempt any more."""
    with caplog.at_level(logging.WARNING, "trio_bus"):
        Notifier(LoggingObserver()).at("orders", "billing", "us").transition(Transition.VANISHED)
        (record,) = caplog.records
    assert record.getMessage() == "vanished (topic='orders' group='billing' consumer='us')"


async def test_a_connection_that_is_back_is_told_once(server_url: str) -> None:
    """After each loss; of the bus, not of a topic."""
    async with open_world(server_url) as world:
        assert isinstance(world.backend, RedisBackend)
        for times in 1, 2:
            with contextlib.suppress(ConnectionLost):
                await command(world.backend, "CLIENT", "KILL", "TYPE", "normal", "SKIPME", "no")
            back = world.recorder.ids
            await until(lambda: len(back(Transition.RECONNECTED)) == times)  # noqa: B023 - now
            lost = [it for it in world.recorder.errors if it.scope is Scope.CONNECT]
            assert len(lost) >= times
            assert (await world.backend.info("orders")).length == 0
        events = [e for e in world.recorder.transitions if e.transition is Transition.RECONNECTED]
    assert len(events) == 2
    assert all((e.topic, e.group, e.entry_id) == ("", "", None) for e in events)


class Broken:
    """An observer all of whose methods raise."""

    def on_error(self, event: ErrorEvent, /) -> None:
        """Raise."""
        raise LookupError(event)

    def on_transition(self, event: TransitionEvent, /) -> None:
        """Raise."""
        raise LookupError(event)


async def test_a_broken_observer_breaks_no_counter(autojump_clock: MockClock) -> None:
    """What it raises is dropped at every step of a life."""
    bus = Bus(FlakyBackend(), BusOptions(observer=Broken()))
    async with open_subscription(bus, config(), ok) as subscription:
        await publish(bus, 3)
        await until(lambda: subscription.statistics().handled == 3)
    assert subscription.statistics().in_flight == 0
