"""Worlds that do not end, that ask too much, or that are broken off."""

# pyright: reportPrivateUsage=false

from __future__ import annotations

from functools import partial

import pytest
import trio
from trio.testing import MockClock

from tests.test_suspects import GROUP, THEM, TOPIC, US, suspect
from trio_bus import Delivery, EntryId, MemoryBackend, Unsupported
from trio_bus._chance import Chance
from trio_bus.testing import Form, InvariantBroken, Scenario, SimulationFailed, Trouble, simulate
from trio_bus.testing._invariants import Judge
from trio_bus.testing._journal import Journal
from trio_bus.testing._line import SERVER, WORLD, Line, What
from trio_bus.testing._simulation import run, wire, world
from trio_bus.testing._simulation.backend import WiredBackend
from trio_bus.testing._simulation.faults import Fault
from trio_bus.testing._simulation.host import Host
from trio_bus.testing._simulation.judging import Judging
from trio_bus.testing._simulation.process import Process
from trio_bus.testing._simulation.watch import Watch
from trio_bus.testing._simulation.wire import Wire
from trio_bus.testing._simulation.world import START, World


async def hang(_: Delivery) -> None:
    with trio.CancelScope(shield=True):
        await trio.sleep_forever()


async def exit_(_: Delivery) -> None:
    raise SystemExit(3)


def failure(scenario: Scenario, seed: int = 0) -> SimulationFailed:
    with pytest.raises(SimulationFailed) as caught:
        simulate(scenario, seed)
    return caught.value


def test_what_never_ends_is_broken_off(monkeypatch: pytest.MonkeyPatch) -> None:
    """Even where a handler shields itself from every cancellation: it is named."""
    monkeypatch.setattr(run, "Watch", partial(Watch, most=2000))
    monkeypatch.setattr(wire, "MOST_CALLS", 10**9)
    told = failure(Scenario(name="shielded", messages=(1, 1), consumers=(1, 1), handler=hang))
    assert str(told).startswith("Endless: it did not end; these tasks wait:")


def test_whoever_stands_still_when_an_invariant_breaks_does_not_keep_the_world(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def hear(_: Judge, line: Line) -> None:
        if line.what is What.PAUSED:
            raise InvariantBroken(1, "stillness", "somebody stands still", line)

    monkeypatch.setattr(Judge, "hear", hear)
    monkeypatch.setattr(run, "Watch", partial(Watch, most=2000))
    still = Scenario(name="still", messages=(1, 1), troubles=(Trouble.PAUSED,), faults=(6, 6))
    for seed in range(3):
        assert failure(still, seed).invariant is not None


@pytest.mark.any_python
def test_whoever_asks_too_much_runs_hot(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(wire, "MOST_CALLS", 20)
    told = failure(Scenario(name="hot", messages=(1, 1), consumers=(1, 1), handler=hang))
    assert "Hot: billing-0.1: 21 operations, the last one: " in str(told)


def test_an_error_of_a_handler_that_ends_programs_ends_the_world() -> None:
    """Whoever publishes meanwhile is cancelled, which is told of what was on its way."""
    forms = (Form.PUBLISH, Form.BATCH)
    scenario = Scenario(
        name="exit",
        messages=(20, 20),
        forms=forms,
        latencies=(0.3,),
        leases=(5.0,),
        seconds=1.0,
        handler=exit_,
    )
    told = failure(scenario, seed=1)
    assert told.broken == ("SystemExit: 3",)
    assert told.invariant is None
    assert any(line.what is What.UNKNOWN for line in told.run.lines)


def test_who_stops_the_simulation_stops_it(monkeypatch: pytest.MonkeyPatch) -> None:
    async def interrupted(_: World) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(world.World, "run", interrupted)
    with pytest.raises(KeyboardInterrupt):
        simulate(Scenario(name="stopped"), 0)


@pytest.mark.parametrize(
    ("fault", "words"),
    [
        (Fault(when=0.5, trouble=Trouble.CLOCK, seconds=-2.0), "0.500 s: clock -2 s"),
        (
            Fault(when=1.0, trouble=Trouble.LOST, process="web", operation="settle", after=True),
            "1.000 s: lost web settle after",
        ),
        (
            Fault(when=1.0, trouble=Trouble.LOST, process="web", operation="read", number=2),
            "1.000 s: lost web read before #2",
        ),
    ],
)
def test_a_fault_can_be_shown(fault: Fault, words: str) -> None:
    assert str(fault) == words


async def test_a_simulated_server_persists_nothing_and_can_be_asked() -> None:
    journal = Journal(trio.current_time)
    way = Wire(Host(START), Process("web", 1), journal, 0.0, Chance(1))
    backend = WiredBackend(way)
    assert backend.url is None
    (refusal,) = await backend.append_persisted([object()], 0)  # type: ignore[list-item]  # it looks at none
    assert isinstance(refusal, Unsupported)
    await backend.append("orders", [((b"a", b"b"),)])
    assert (await backend.info("orders")).length == 1


async def test_what_a_cancelled_claim_booked_is_given_up(autojump_clock: MockClock) -> None:
    """Like that of a real server: so that nobody waits for a lease."""
    journal, host = Journal(trio.current_time), Host(START)
    await host.streams.create_group(TOPIC, GROUP, EntryId(0))
    (key,) = await suspect(host.streams)
    way = Wire(host, Process("web", 1), journal, 0.0, Chance(1))
    slow = Fault(when=0.0, trouble=Trouble.SLOW, operation="take_over", seconds=5.0, after=True)
    way.expect(slow)
    async with WiredBackend(way).join(US) as us, host.streams.join(THEM) as them:
        with trio.move_on_after(1.0):
            await us.take_over(1, book=True)
        assert (await them.take_over(1, book=True)).booked == key
    told = [line.what for line in journal.lines if line.actor == SERVER]
    assert told == [What.BOOKED, What.UNBOOKED]


def test_what_broke_first_is_what_is_told() -> None:
    journal = Journal(lambda: 0.0)
    judging = Judging(journal, MemoryBackend(), trio.CancelScope())
    journal.say(WORLD, What.NOTE, "it begins")
    judging.breaks(5, "first", "it came first")
    judging.breaks(6, "second", "it came second")
    with pytest.raises(InvariantBroken, match="invariant 5, first: it came first"):
        judging.finish()
