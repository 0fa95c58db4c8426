"""Corners of the simulation: what its parts do where random worlds come to by chance only."""

# pyright: reportPrivateUsage=false

from __future__ import annotations

from types import SimpleNamespace
from typing import cast

import pytest
import trio
from trio.testing import MockClock

from tests.test_simulation_edges import failure
from tests.test_suspects import GROUP, TOPIC, US
from trio_bus import ConnectionLost, Delivery, EntryId
from trio_bus._backend import Release, Retry, TakeOver
from trio_bus._chance import Chance
from trio_bus.testing import Handling, Scenario, Trouble, simulate
from trio_bus.testing._journal import Journal
from trio_bus.testing._line import What
from trio_bus.testing._simulation.acting import Acting, HandlerFailed
from trio_bus.testing._simulation.administrator import administer
from trio_bus.testing._simulation.backend import WiredBackend
from trio_bus.testing._simulation.faults import Fault
from trio_bus.testing._simulation.handling import Step
from trio_bus.testing._simulation.host import Host
from trio_bus.testing._simulation.plan import TOPIC as ORDERS
from trio_bus.testing._simulation.plan import ConsumerPlan, draw
from trio_bus.testing._simulation.process import Process
from trio_bus.testing._simulation.wire import Wire
from trio_bus.testing._simulation.world import START, World


def wire(host: Host) -> Wire:
    return Wire(host, Process("web", 1), Journal(trio.current_time), 0.0, Chance(1))


def acting(timeout: float | None = None) -> tuple[Acting, list[str]]:
    """Give a handler whose delivery, subscription and world note what they are told."""
    told: list[str] = []

    def breaks(_: int, rule: str, words: str) -> None:
        told.append(f"{rule}: {words}")

    plan = SimpleNamespace(
        group=SimpleNamespace(settles_itself=False, config=SimpleNamespace(handler_timeout=timeout))
    )
    world = SimpleNamespace(judging=SimpleNamespace(breaks=breaks), database_is_down=False)
    plans = cast("ConsumerPlan", plan)
    return Acting(cast("World", world), plans, Process("web", 1), trio.Event()), told


async def act(handler: Acting, step: Step) -> None:
    await handler.act(cast("object", None), cast("Delivery", None), step)  # type: ignore[arg-type]  # it needs neither


async def test_a_handler_that_nobody_cancels_in_time_is_told(autojump_clock: MockClock) -> None:
    handler, told = acting(timeout=0.5)
    await act(handler, Step(Handling.SUCCEED, 0.4))
    assert not told
    await act(handler, Step(Handling.SUCCEED, 2.0))
    assert told == ["handler timeout: the handler of web.1 ran 2 s"]


@pytest.mark.parametrize(
    ("handling", "seconds"), [(Handling.LATE, 2.0), (Handling.STUBBORN, 1.2), (Handling.SWALLOW, 1)]
)
async def test_a_handler_may_go_on_when_it_is_cancelled(
    autojump_clock: MockClock, handling: Handling, seconds: float
) -> None:
    handler, _ = acting()
    began = trio.current_time()
    with trio.move_on_after(1.0) as patience:
        await act(handler, Step(handling, 2.0))
    assert trio.current_time() - began == pytest.approx(seconds)
    assert patience.cancelled_caught == (handling is Handling.STUBBORN)


async def test_a_handler_may_fail_when_it_is_cancelled(autojump_clock: MockClock) -> None:
    handler, _ = acting()
    with trio.move_on_after(1.0), pytest.raises(HandlerFailed, match="in the middle"):
        await act(handler, Step(Handling.MESSY, 2.0))


def test_what_would_stay_open_for_ever_is_finished() -> None:
    """A handler that forgets its delivery needs a time after which somebody else ends it."""
    steps = {
        timeout: {
            step.handling
            for plan in draw(
                Scenario(name="f", handlings=(Handling.FORGET,), handler_timeouts=(timeout,)), 1
            ).messages
            for step in plan.steps["billing"]
        }
        for timeout in (None, 1.0)
    }
    assert steps == {None: {Handling.SUCCEED}, 1.0: {Handling.FORGET}}


async def test_who_is_deaf_is_not_woken(autojump_clock: MockClock) -> None:
    """Until it hears again."""
    host = Host(START)
    way = wire(host)
    await host.streams.create_group(TOPIC, GROUP, EntryId(0))
    heard: list[float] = []
    async with WiredBackend(way).join(US) as us, trio.open_nursery() as nursery:

        async def listen() -> None:
            heard.append(await us.woken())

        nursery.start_soon(listen)
        await trio.testing.wait_all_tasks_blocked()
        way.is_deaf = True
        await host.streams.schedule(TOPIC, ((b"a", b"b"),), "1-m", 1.0)
        await trio.testing.wait_all_tasks_blocked()
        assert not heard
        way.hear()
        await host.streams.schedule(TOPIC, ((b"a", b"b"),), "2-m", 2.0)
    assert heard == [pytest.approx(2.0, abs=0.01)]


async def test_what_cannot_be_given_back_at_once_is_given_back_later(
    autojump_clock: MockClock,
) -> None:
    host = Host(START)
    way = wire(host)
    await host.streams.create_group(TOPIC, GROUP, EntryId(0))
    await host.streams.append(TOPIC, [((b"a", b"b"),)])
    slow = Fault(when=0.0, trouble=Trouble.SLOW, operation="read", seconds=5.0, after=True)
    lost = Fault(when=0.0, trouble=Trouble.LOST, operation="recover")
    async with WiredBackend(way).join(US) as us:
        way.expect(slow)
        way.expect(lost)
        with trio.move_on_after(1.0) as patience:
            await us.read(1, 0.0)
        assert patience.cancelled_caught
        (group,) = (await host.streams.info(TOPIC)).groups
        assert (group.pending, group.released) == (1, 0)
        assert await us.read(1, 0.0) == []
        (group,) = (await host.streams.info(TOPIC)).groups
        assert (group.pending, group.released) == (0, 1)


async def test_nothing_is_queued_without_a_connection() -> None:
    host = Host(START)
    way = wire(host)
    host.is_down = True
    results: list[object] = []
    with pytest.raises(ConnectionLost):
        WiredBackend(way).append_nowait(TOPIC, ((b"a", b"b"),), None, results.append)
    assert not results


async def test_an_operation_that_is_cut_while_it_waits_is_lost(autojump_clock: MockClock) -> None:
    """Before the server has heard of it."""
    host = Host(START)
    way = wire(host)
    way.expect(Fault(when=0.0, trouble=Trouble.SLOW, operation="append", seconds=5.0))
    async with trio.open_nursery() as nursery:

        async def append() -> None:
            (result,) = await WiredBackend(way).append(TOPIC, [((b"a", b"b"),)])
            assert "the connection was lost before it was sent" in str(result)

        nursery.start_soon(append)
        await trio.sleep(1.0)
        way.cut()
    assert (await host.streams.info(TOPIC)).length == 0


async def test_an_administrator_finds_what_there_is() -> None:
    """And does nothing where there is nothing."""
    host, journal = Host(START), Journal(trio.current_time)
    groups = (SimpleNamespace(name="billing"),)
    plan = SimpleNamespace(groups=groups)
    world = cast("World", SimpleNamespace(host=host, journal=journal, plan=plan))
    nothing = [Trouble.DELETED, Trouble.TRIMMED, Trouble.UNGROUPED]
    for trouble in nothing:
        administer(world, Fault(when=0.0, trouble=trouble, number=1))
    assert not journal.lines
    await host.streams.create_group(ORDERS, "billing", EntryId(0))
    await host.streams.append(ORDERS, [((b"a", b"b"),)] * 3)
    for trouble in (*nothing, Trouble.UNSTREAMED):
        administer(world, Fault(when=0.0, trouble=trouble, number=1))
    assert [line.what for line in journal.lines] == [
        What.DELETED,
        What.TRIMMED,
        What.GROUP_DESTROYED,
        What.TOPIC_DELETED,
    ]
    assert (await host.streams.info(ORDERS)).length == 0


async def leave_a_task(_: Delivery) -> None:
    await trio.lowlevel.checkpoint()
    trio.lowlevel.spawn_system_task(trio.sleep_forever)


def test_a_task_that_is_left_is_a_leak() -> None:
    told = failure(Scenario(name="left", messages=(1, 1), consumers=(1, 1), handler=leave_a_task))
    assert "something is left" in str(told)


def test_what_comes_while_all_rests_is_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    """Until all rests again."""
    really, looks = World._is_quiet, list[bool]()

    def is_quiet(world: World) -> bool:
        looks.append(really(world) and len(looks) != 1)
        return looks[-1]

    monkeypatch.setattr(World, "_is_quiet", is_quiet)
    simulate(Scenario(name="rest", messages=(0, 0), consumers=(1, 1)), 0)
    assert looks == [True, False, True, True]


def test_what_is_never_finished_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    def is_quiet(_: World) -> bool:
        return False

    monkeypatch.setattr(World, "_is_quiet", is_quiet)
    told = failure(Scenario(name="restless", messages=(0, 0), consumers=(1, 1)))
    assert told.broken == ("Unfinished: 10 s after the last fault",)


async def test_what_a_cancelled_claim_found_is_returned(autojump_clock: MockClock) -> None:
    """What it took is given back."""
    host, scope = Host(START), trio.CancelScope()
    over, free = await host.streams.append(TOPIC, [((b"n", b"1"),), ((b"n", b"2"),)])
    async with WiredBackend(wire(host)).join(US) as us:
        await host.streams.create_group(TOPIC, GROUP, EntryId(0))
        first, second = await us.read(2, 0)
        await us.settle([Retry(first.receipt, 0.0), Release(second.receipt)])
        host.streams.delete_entry(TOPIC, first.id)
        really = Wire._come_back

        async def come_back(self: Wire, operation: str, connection: trio.CancelScope) -> None:
            if operation == "take_over":
                scope.cancel()
                await trio.lowlevel.checkpoint()
            await really(self, operation, connection)

        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(Wire, "_come_back", come_back)
            with scope:
                found = await us.take_over(2)
                assert found == TakeOver(gone=(first.id,))
        assert (over, free) == (first.id, second.id)
        assert [it.id for it in (await us.take_over(2)).entries] == [free]
