"""Moments of simulated worlds that seeds come to by chance only."""

# pyright: reportPrivateUsage=false

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from types import SimpleNamespace
from typing import cast

import attrs
import pytest
import trio
from trio.testing import MockClock

from tests.test_simulation_corners import wire
from tests.test_suspects import GROUP, TOPIC, US
from trio_bus import Delivery, EntryId, Message, OutcomeUnknown
from trio_bus._backend import Bury, Death, DeathCause
from trio_bus._graves import Grave
from trio_bus.testing import Handling, Run, Scenario, Trouble, What, simulate
from trio_bus.testing._journal import Journal
from trio_bus.testing._simulation.acting import Acting, AnySubscription, HandlerFailed
from trio_bus.testing._simulation.backend import WiredBackend
from trio_bus.testing._simulation.faults import Fault
from trio_bus.testing._simulation.handling import Step
from trio_bus.testing._simulation.host import Host
from trio_bus.testing._simulation.plan import ConsumerPlan
from trio_bus.testing._simulation.process import Process
from trio_bus.testing._simulation.steps import after_steps
from trio_bus.testing._simulation.world import START, World

BATCHES = Scenario(name="batches", messages=(6, 6), consumers=(1, 1), batching=(True,))


async def test_a_strike_comes_after_so_many_steps() -> None:
    """Of any task; and once."""
    struck: list[int] = []
    after_steps(0, lambda: struck.append(0))
    assert struck == [0]
    after_steps(2, lambda: struck.append(2))
    assert struck == [0]
    for _ in range(5):
        await trio.lowlevel.checkpoint()
    assert struck == [0, 2]


def details(run: Run, what: What) -> list[str]:
    """Return what was said of all that is of a kind."""
    return [line.detail for line in run.lines if line.what is what]


def test_each_of_a_batch_is_renewed_and_acked() -> None:
    """The batch goes on to its end when each of it did what is planned."""
    run = simulate(attrs.evolve(BATCHES, handlings=(Handling.RENEW,)), 0)
    assert details(run, What.VERB).count("renew") == 6
    assert len(details(run, What.SUCCEEDED)) == 6


def test_runs_in_which_the_same_happened_have_one_digest() -> None:
    first, again, other = (simulate(BATCHES, seed).digest for seed in (0, 0, 1))
    assert first == again
    assert first != other


def test_a_batch_ends_at_once_when_one_of_it_swallows_its_timeout() -> None:
    swallowing = attrs.evolve(BATCHES, handlings=(Handling.SWALLOW,), handler_timeouts=(0.05,))
    run = simulate(swallowing, 0)
    assert len(details(run, What.SUCCEEDED)) == 6


def test_a_handler_of_the_users_own_gets_each_of_a_batch() -> None:
    handled: list[EntryId] = []

    async def handle(delivery: Delivery) -> None:
        await trio.lowlevel.checkpoint()
        handled.append(delivery.entry_id)

    run = simulate(attrs.evolve(BATCHES, handler=handle), 0)
    assert len(set(handled)) == len(handled) == len(details(run, What.SUCCEEDED)) == 6


@attrs.define
class Committing:
    """A delivery, its subscription, its group, and the world around them."""

    published: list[Message] = attrs.field(factory=list[Message])
    outcome: str = ""
    message: Message = attrs.field(factory=lambda: Message(TOPIC))
    entry_id: EntryId = attrs.field(factory=lambda: EntryId(1))
    name: str = "us"

    @property
    def group(self) -> Committing:
        return self

    @property
    def config(self) -> Committing:
        return self

    def group_of(self, _: str) -> str:
        return GROUP

    def next_transaction(self) -> int:
        return 2

    @asynccontextmanager
    async def transaction(self) -> AsyncGenerator[Committing]:
        self.outcome = "failed"
        yield self
        self.outcome = "committed"

    async def publish(self, message: Message) -> None:
        await trio.lowlevel.checkpoint()
        self.published.append(message)

    async def act(self, step: Step) -> None:
        """Let it be handled so."""
        world, plan = cast("World", self), cast("ConsumerPlan", self)
        acting = Acting(world, plan, Process("web", 1), trio.Event())
        await acting.act(cast("AnySubscription", self), cast("Delivery", self), step)


@pytest.mark.parametrize(
    ("handling", "seconds"), [(Handling.COMMIT, 1.0), (Handling.COMMIT_LATE, 2.0)]
)
async def test_a_transaction_may_be_cancelled(
    autojump_clock: MockClock, handling: Handling, seconds: float
) -> None:
    """At once, or when its work is done: before all of it is published."""
    it, began = Committing(), trio.current_time()
    with trio.move_on_after(1.0):
        await it.act(Step(handling, 2.0))
    assert trio.current_time() - began == pytest.approx(seconds)
    assert (it.outcome, len(it.published)) == ("failed", 1)


async def test_a_transaction_may_fail() -> None:
    """After all of it was published in it."""
    it = Committing()
    await it.act(Step(Handling.COMMIT, 0.0))
    assert (it.outcome, len(it.published)) == ("committed", 3)
    with pytest.raises(HandlerFailed):
        await it.act(Step(Handling.COMMIT_NOT, 0.0))
    assert (it.outcome, len(it.published)) == ("failed", 6)


async def test_what_a_cancelled_start_took_is_given_back_at_once(
    autojump_clock: MockClock,
) -> None:
    host = Host(START)
    way = wire(host)
    await host.streams.create_group(TOPIC, GROUP, EntryId(0))
    (entry_id,) = await host.streams.append(TOPIC, [((b"a", b"b"),)])
    assert isinstance(entry_id, EntryId)
    slow = Fault(when=0.0, trouble=Trouble.SLOW, operation="start", seconds=5.0, after=True)
    async with WiredBackend(way).join(US) as us:
        token = await us.lead(None)
        assert token is not None
        await us.draw(token, 1)
        way.expect(slow)
        with trio.move_on_after(1.0) as patience:
            await us.start(token, [entry_id])
        assert patience.cancelled_caught
        (group,) = (await host.streams.info(TOPIC)).groups
        assert (group.pending, group.released) == (0, 1)


async def test_of_what_is_sent_back_half_may_be_when_the_connection_is_lost(
    autojump_clock: MockClock,
) -> None:
    host = Host(START)
    way = wire(host)
    await host.streams.create_group(TOPIC, GROUP, EntryId(0))
    await host.streams.append(TOPIC, [((b"a", b"b"),)] * 2)
    us = attrs.evolve(US, dead_letter_topic=None)
    death = Death(DeathCause.REJECTED, "ValueError", "no")
    async with host.streams.join(us) as member:
        receipts = [entry.receipt for entry in await member.read(2, 0.0)]
        await member.settle([Bury(it, death) for it in receipts])
    way.expect(Fault(when=0.0, trouble=Trouble.HALF, operation="redrive", after=True))
    backend = WiredBackend(way)
    graves = [Grave(topic=TOPIC, group=GROUP, entry_id=it.id) for it in receipts]
    with pytest.raises(OutcomeUnknown, match="lost in the middle"):
        await backend.redrive(graves)
    left, _ = await backend.buried(TOPIC, GROUP, None)
    assert [entry_id for entry_id, _ in left] == [receipts[1].id]


def test_whoever_is_dead_does_not_die_again() -> None:
    journal, process = Journal(lambda: 0.0), Process("web", 1)
    cuts: list[str] = []
    host = SimpleNamespace(wires={"web": SimpleNamespace(cut=lambda: cuts.append("a cut"))})
    world = cast("World", SimpleNamespace(host=host, journal=journal))
    for _ in range(2):
        World.kill(world, process, "by the test")
    assert [line.what for line in journal.lines] == [What.DIED]
    assert cuts == ["a cut"]
