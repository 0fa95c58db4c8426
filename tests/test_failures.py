"""What follows a failure: ``on_failure`` first, then the types, on every backend."""

from __future__ import annotations

import functools
import inspect
import itertools
from collections.abc import Callable, Coroutine
from typing import cast

import attrs
import pytest
import trio
from trio.testing import MockClock

from tests.harness import Recorder, World, buried, config, publish, until
from trio_bus import (
    AckMode,
    Backoff,
    Decision,
    Delivery,
    HandlerTimeout,
    Scope,
    SubscriptionConfig,
    SubscriptionStatistics,
    Transition,
    ValidationError,
    open_subscription,
)

Ask = Callable[[Exception, int], Decision | None]


class BankError(Exception):
    """What handlers here raise."""


def asking(ask: Ask, max_retry: int = 3) -> SubscriptionConfig:
    """Return settings with this function."""
    return attrs.evolve(config(), on_failure=ask, max_retry=max_retry)


def always(decision: Decision) -> Ask:
    """Return a function that says this of each failure."""

    def ask(_: Exception, __: int) -> Decision:
        return decision

    return ask


def errors(recorder: Recorder, scope: Scope) -> list[BaseException]:
    """Return the errors of one kind."""
    return [event.error for event in recorder.errors if event.scope is scope]


@pytest.mark.parametrize(
    ("decision", "max_retry", "attempts", "counter"),
    [
        (Decision.retry(), 1, [1, 2], "retried"),
        (Decision.retry(0.02), 1, [1, 2], "retried"),
        (Decision.retry(0), 1, [1, 2], "retried"),
        (None, 1, [1, 2], "retried"),
        (Decision.release(), 0, [1, 1], "released"),
        (Decision.release(0.02), 0, [1, 1], "released"),
        (Decision.release(0), 0, [1, 1], "released"),
        (Decision.retry(60), 0, [1], "rejected"),
        (Decision.reject(), 3, [1], "rejected"),
        (Decision.reject("closed"), 3, [1], "rejected"),
    ],
    ids=str,
)
async def test_the_function_decides(
    any_world: World,
    decision: Decision | None,
    max_retry: int,
    attempts: list[int],
    counter: str,
) -> None:
    """It gets the failure and its attempt; what it says is done, and counted as that."""
    asked: list[tuple[Exception, int]] = []
    seen: list[int] = []
    failure = BankError("no answer")

    def ask(error: Exception, attempt: int) -> Decision | None:
        asked.append((error, attempt))
        return decision

    async def charge(delivery: Delivery) -> None:
        seen.append(delivery.state.attempt)
        if len(seen) == 1:
            raise failure

    async with open_subscription(any_world.bus(), asking(ask, max_retry), charge) as subscription:
        await publish(any_world.bus(), 1)
        await until(lambda: len(seen) == len(attempts))
        await until(lambda: subscription.statistics().in_flight == 0)
        statistics = subscription.statistics()
    assert seen == attempts
    assert asked == [(failure, 1)]
    assert statistics.failed == 1
    assert statistics.handled == len(attempts) - 1
    assert ends(statistics) - statistics.handled == getattr(statistics, counter) == 1
    assert errors(any_world.recorder, Scope.HANDLER) == [failure]
    assert not errors(any_world.recorder, Scope.POLICY)
    if counter == "rejected":
        letter = await buried(any_world)
        cause = "rejected" if decision != Decision.retry(60) else "exhausted"
        text = "closed" if decision == Decision.reject("closed") else "no answer"
        assert (letter.cause.value, letter.error_text, letter.attempts) == (cause, text, 1)
        assert letter.error_type.endswith("BankError") == (text == "no answer")


def ends(statistics: SubscriptionStatistics) -> int:
    """Return how many deliveries ended, whichever way."""
    names = "handled retried rejected released expired lost_leases vanished unconfirmed"
    return sum(getattr(statistics, name) for name in names.split())


async def test_at_the_limit_a_retry_is_a_dead_letter(
    autojump_clock: MockClock, world: World
) -> None:
    """However the function insists; each attempt was asked about."""
    attempts: list[int] = []

    def ask(_: Exception, attempt: int) -> Decision:
        attempts.append(attempt)
        return Decision.retry(0.5)

    async def fail(_: Delivery) -> None:
        raise BankError

    async with open_subscription(world.bus(), asking(ask, 2), fail) as subscription:
        await publish(world.bus(), 1)
        await until(lambda: subscription.statistics().rejected == 1)
        assert subscription.statistics().retried == 2
    assert attempts == [1, 2, 3]
    assert (await buried(world)).cause.value == "exhausted"


async def test_a_group_comes_as_it_is(autojump_clock: MockClock, world: World) -> None:
    """The function sees what was raised; that it passes leaves it to ``reject_on``."""
    asked: list[Exception] = []
    group = ExceptionGroup("both", [BankError("one"), OSError("two")])

    def ask(error: Exception, _: int) -> None:
        asked.append(error)

    async def fail(_: Delivery) -> None:
        raise group

    settings = attrs.evolve(asking(ask), reject_on=OSError)
    async with open_subscription(world.bus(), settings, fail) as subscription:
        await publish(world.bus(), 1)
        await until(lambda: subscription.statistics().rejected == 1)
    assert asked == [group]
    assert asked[0] is group


async def test_the_function_is_asked_before_the_types(
    autojump_clock: MockClock, world: World
) -> None:
    """What it says goes before ``reject_on`` and ``retry_on``."""
    seen: list[int] = []

    async def fail_once(delivery: Delivery) -> None:
        seen.append(delivery.state.attempt)
        if len(seen) == 1:
            raise BankError

    settings = attrs.evolve(asking(always(Decision.retry())), reject_on=BankError, retry_on=())
    async with open_subscription(world.bus(), settings, fail_once) as subscription:
        await publish(world.bus(), 1)
        await until(lambda: subscription.statistics().handled == 1)
    assert seen == [1, 2]


async def answer_later(error: Exception, attempt: int) -> Decision:
    """Answer as no function of ours may."""
    await trio.lowlevel.checkpoint()
    return Decision.release()


ASKED_LATER: list[Coroutine[object, object, Decision]] = []


def asks_later(error: Exception, attempt: int) -> object:
    """Hide that it is async, which settings refuse."""
    ASKED_LATER.append(answer_later(error, attempt))
    return ASKED_LATER[-1]


def says_text(_: Exception, __: int) -> object:
    """Answer what is no decision."""
    return "retry"


def raises(error: Exception, attempt: int) -> Decision:
    """Fail."""
    raise LookupError("no such bank")


def asks_too_much(error: Exception, attempt: int) -> Decision:
    """Make a decision that cannot be made."""
    return Decision.retry(-1)


@pytest.mark.parametrize(
    ("ask", "kind", "text"),
    [
        (raises, LookupError, "no such bank"),
        (asks_too_much, ValidationError, "delay: -1 "),
        (says_text, TypeError, "returned a str"),
        (asks_later, TypeError, "returned a coroutine"),
    ],
    ids=["raises", "asks too much", "text", "coroutine"],
)
async def test_a_function_that_fails_is_told_and_the_types_decide(
    autojump_clock: MockClock,
    world: World,
    ask: Callable[[Exception, int], object],
    kind: type[Exception],
    text: str,
) -> None:
    """It costs no delivery, and hides no failure of the handler."""

    async def fail(_: Delivery) -> None:
        raise BankError("the failure itself")

    settings = attrs.evolve(asking(cast("Ask", ask)), reject_on=BankError)
    async with open_subscription(world.bus(), settings, fail) as subscription:
        (entry_id,) = await publish(world.bus(), 1)
        await until(lambda: subscription.statistics().rejected == 1)
        (error,) = errors(world.recorder, Scope.POLICY)
        assert subscription.statistics().last_errors[Scope.POLICY] is error
    assert type(error) is kind
    assert text in str(error)
    assert [event.entry_id for event in world.recorder.errors] == [entry_id, entry_id]
    assert (await buried(world)).error_text == "the failure itself"
    # One that is left behind would warn, somewhere, some time later.
    assert all(inspect.getcoroutinestate(it) == inspect.CORO_CLOSED for it in ASKED_LATER)
    assert bool(ASKED_LATER) == (text == "returned a coroutine")
    ASKED_LATER.clear()


async def test_a_timeout_is_asked_about(autojump_clock: MockClock, world: World) -> None:
    """In a handler, and of a delivery that MANUAL mode left open."""
    asked: list[Exception] = []

    def ask(error: Exception, _: int) -> Decision:
        asked.append(error)
        return Decision.reject("too slow")

    async def slow(delivery: Delivery) -> None:
        if delivery.message.payload == b"0":
            await trio.sleep_forever()

    settings = attrs.evolve(asking(ask), handler_timeout=1.0, ack_mode=AckMode.MANUAL)
    async with open_subscription(world.bus(), settings, slow) as subscription:
        await publish(world.bus(), 2)
        await until(lambda: subscription.statistics().rejected == 2)
    assert [type(error) for error in asked] == [HandlerTimeout, HandlerTimeout]


async def test_it_is_asked_about_a_block_and_not_about_what_was_settled(
    autojump_clock: MockClock, world: World
) -> None:
    """Pull mode has the same rules; a failure behind an ack decides nothing."""
    asked: list[int] = []

    def ask(_: Exception, attempt: int) -> Decision:
        asked.append(attempt)
        return Decision.release(100.0)

    async with open_subscription(world.bus(), asking(ask)) as deliveries:
        await publish(world.bus(), 2)
        async with await deliveries.receive():
            raise BankError
        async with await deliveries.receive() as delivery:
            await delivery.ack()
            raise BankError
        await until(lambda: deliveries.statistics().in_flight == 0)
        said = deliveries.statistics()
    assert asked == [1]
    assert (said.handled, said.released, said.failed) == (1, 1, 2)
    (released,) = [e for e in world.recorder.transitions if e.transition is Transition.RELEASED]
    assert released.delay == 100.0


async def test_a_function_that_always_releases_runs_no_hot_loop(
    autojump_clock: MockClock, world: World
) -> None:
    """Released again by the same consumer, an entry waits for a ``reclaim_interval``."""
    starts: list[float] = []

    async def fail(_: Delivery) -> None:
        starts.append(trio.current_time())
        raise BankError

    settings = attrs.evolve(asking(always(Decision.release())), reclaim_interval=0.5)
    async with open_subscription(world.bus(), settings, fail):
        await publish(world.bus(), 1)
        await trio.sleep(10)
    assert 10 <= len(starts) <= 25


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (7, "is not a function"),
        (Decision.retry(), "is not a function"),
        (Decision, "is not a function"),
        (answer_later, "is async"),
        (functools.partial(answer_later, attempt=1), "is async"),
    ],
    ids=["number", "decision", "class", "async", "async partial"],
)
def test_what_is_no_plain_function_is_refused(value: object, text: str) -> None:
    """When the settings are made, by name."""
    with pytest.raises(ValidationError, match=rf"^on_failure: .* {text}"):
        asking(cast("Ask", value))


def test_at_most_once_refuses_the_function() -> None:
    """Nothing is left to decide once it was acked."""
    with pytest.raises(ValidationError, match=r"^on_failure: .*AUTO_ON_RECEIVE"):
        SubscriptionConfig("orders", "billing", ack_mode=AckMode.AUTO_ON_RECEIVE, on_failure=raises)


@pytest.mark.parametrize("delay", [-0.1, float("inf"), float("nan"), 1.1e9, True, "1"])
def test_a_decision_has_a_delay_that_can_be_kept(delay: float) -> None:
    """As the verbs have."""
    for make in Decision.retry, Decision.release:
        with pytest.raises(ValidationError, match=r"^delay: "):
            make(delay)
        assert make(1e9).delay == 1e9
        assert make(0).delay == 0.0
        assert make().delay is None


async def test_backoff_goes_by_the_attempt(autojump_clock: MockClock, world: World) -> None:
    """Exponential, without jitter exactly, up to its cap; also where a decision has no delay."""
    starts: list[float] = []

    async def fail(_: Delivery) -> None:
        starts.append(trio.current_time())
        raise BankError

    steady = Backoff(first=1.0, factor=3.0, cap=5.0, jitter=0.0)
    settings = attrs.evolve(asking(always(Decision.retry()), 4), retry_backoff=steady)
    async with open_subscription(world.bus(), settings, fail) as subscription:
        await publish(world.bus(), 1)
        await until(lambda: subscription.statistics().rejected == 1)
    told = [e for e in world.recorder.transitions if e.transition is Transition.RETRIED]
    assert [event.delay for event in told] == [1.0, 3.0, 5.0, 5.0]
    waits = [after - before for before, after in itertools.pairwise(starts)]
    for wait, delay in zip(waits, [1.0, 3.0, 5.0, 5.0], strict=True):
        assert delay - 1e-6 <= wait < delay + 0.1
