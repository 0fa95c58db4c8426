"""Moments in which two things meet that seldom do, each brought about."""

# pyright: reportPrivateUsage=false

from __future__ import annotations

import socket
import typing
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import TYPE_CHECKING, NoReturn, TypeVar, cast

import attrs
import pytest
import trio
from trio.testing import MockClock

from tests.harness import World, config, publish
from tests.test_backend_verdicts import Other
from tests.test_invariants import A, member
from trio_bus import Bus, Delivery, EntryId, TopicInfo, Transition, open_subscription, testing
from trio_bus._redis.portion import Portion
from trio_bus._redis.strays import Holdings
from trio_bus.abc import Look
from trio_bus.testing._conditions import Conditions
from trio_bus.testing._invariants import Judge
from trio_bus.testing._invariants.bounds import Bounds
from trio_bus.testing._places import UNDELIVERED, GroupPlaces, Places, TopicPlaces, look_at
from trio_bus.testing._pump import Pump
from trio_bus.testing._relay import Relay

if TYPE_CHECKING:
    from trio_bus._redis.group import Group
    from trio_bus._redis.link import Link

T = TypeVar("T")


async def test_what_somebody_still_works_on_is_not_given_back_if_it_is_settled(
    world: World, autojump_clock: MockClock
) -> None:
    """The subscription ends before the block around the delivery does."""
    await publish(world.bus(), 1)
    acked, go_on = trio.Event(), trio.Event()

    async def work(delivery: Delivery) -> None:
        async with delivery:
            await delivery.ack()
            acked.set()
            await go_on.wait()

    async with trio.open_nursery() as nursery:
        async with open_subscription(world.bus(), config()) as deliveries:
            nursery.start_soon(work, await deliveries.receive())
            await acked.wait()
        told = [it.transition for it in world.recorder.transitions]
        go_on.set()
    assert Transition.ACKED in told
    assert Transition.RELEASED not in told
    group = await world.group()
    assert (group.pending, group.released) == (0, 0)


@attrs.define
class Looks:
    """Says of the first look that there was more than one does."""

    times: list[float] = attrs.field(factory=list[float])

    def __call__(self, name: str, came: object) -> object:
        if name != "look":
            return came
        self.times.append(trio.current_time())
        return attrs.evolve(cast("Look", came), due_in=0.0) if len(self.times) == 1 else came


async def test_a_look_that_did_not_do_all_is_followed_by_another_at_once(
    autojump_clock: MockClock,
) -> None:
    looks = Looks()
    async with open_subscription(Bus(Other(looks)), config()):
        await trio.sleep(0.01)
    first, second, *_ = looks.times
    assert second == first


async def _unused(*_: object) -> NoReturn:
    pytest.fail("nothing is asked for")


@attrs.frozen
class Silent:
    """A group, and the link to its server, which are not asked for anything."""

    current: None = None
    pending: Callable[[], Awaitable[object]] = _unused


async def test_what_somebody_else_has_swept_is_not_swept_again() -> None:
    """Whoever waits for its turn looks once more."""
    server = Silent()
    holdings = Holdings(cast("Group", server), cast("Link", server), Portion())
    holdings.suspect()
    async with trio.open_nursery() as nursery, holdings.lock:
        nursery.start_soon(holdings.recover)
        await trio.testing.wait_all_tasks_blocked()
        holdings._suspected = False
    assert not holdings.is_suspected


async def test_a_connection_can_be_ended_before_the_server_is_reached() -> None:
    ours, theirs = socket.socketpair()
    with theirs:
        client = trio.SocketStream(trio.socket.from_stdlib_socket(ours))
        relay = Relay(client, Conditions())
        async with client, trio.open_nursery() as nursery:
            nursery.start_soon(relay.run, _dial_for_ever)
            await trio.testing.wait_all_tasks_blocked()
            relay.end(reset=False)
        assert relay.is_ended
        assert theirs.recv(1) == b""


async def _dial_for_ever() -> NoReturn:
    await trio.sleep_forever()
    raise AssertionError


async def _fail_late() -> None:
    try:
        await trio.sleep_forever()
    finally:
        raise ValueError("too late")


async def _wait_and_fail_late() -> None:
    async with trio.open_nursery() as nursery:
        nursery.start_soon(_fail_late)
        nursery.start_soon(trio.sleep_forever)


TOO_LATE = pytest.RaisesGroup(pytest.RaisesExc(ValueError, match="too late"))


def test_what_fails_while_it_is_cancelled_is_told_to_whoever_asks() -> None:
    with Pump() as pump:
        job = pump.start(_wait_and_fail_late)
        pump.settle()
        job.cancel()
        pump.wait_for(job)
        with TOO_LATE:
            job.result()


def test_what_fails_while_a_pump_is_closed_is_told_by_that() -> None:
    pump = Pump()
    pump.start_soon(_wait_and_fail_late)
    pump.settle()
    with TOO_LATE:
        pump.close()


def test_a_pump_that_is_closed_makes_no_step() -> None:
    pump = Pump()
    pump.close()
    with pytest.raises(RuntimeError, match="the pump is closed"):
        pump.step()


def test_whoever_has_no_subscription_yet_has_no_bounds() -> None:
    judge = Judge([Bounds])
    judge.hear(member())
    held = GroupPlaces(last_delivered=EntryId(9), counts={A: 9}, holders=frozenset({A}))
    judge.look(Places({"orders": TopicPlaces(length=9, groups={"billing": held})}))
    assert judge.scene.consumer(A).config is None


async def test_a_server_need_not_know_what_waits() -> None:
    """Then nothing is said of it."""

    def change(_: str, came: object) -> object:
        if not isinstance(came, TopicInfo):
            return came
        return attrs.evolve(came, groups=tuple(attrs.evolve(it, lag=None) for it in came.groups))

    backend = Other(change)
    await backend.create_group("orders", "billing", EntryId(0))
    await backend.append("orders", [((b"a", b"b"),)])
    group = (await look_at(backend, ["orders"])).group("orders", "billing")
    assert group is not None
    assert UNDELIVERED not in group.counts
    assert not group.counts


def test_a_type_checker_finds_what_is_loaded_late(monkeypatch: pytest.MonkeyPatch) -> None:
    """And takes no other name for one that exists."""
    late = {name: getattr(testing, name) for name in testing._NEED_HYPOTHESIS}
    monkeypatch.setattr(typing, "TYPE_CHECKING", True)
    path = Path(testing.__file__)
    seen: dict[str, object] = {"__name__": testing.__name__, "__package__": testing.__name__}
    exec(compile(path.read_text(), path, "exec"), seen)  # noqa: S102 - as it is checked
    assert seen.items() >= late.items()
    assert "__getattr__" not in seen
