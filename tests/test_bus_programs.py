"""Each rule of the conformance suite for buses, in a program written by hand, and what is done."""

# pyright: reportPrivateUsage=false

from __future__ import annotations

from collections.abc import AsyncGenerator, Callable, Generator
from contextlib import asynccontextmanager, contextmanager
from typing import cast

import pytest
import trio

from tests.by_hand import open_memory, text
from trio_bus import AckMode, ConnectionLost, EntryId, MemoryBackend, Retention, Transition
from trio_bus.abc import StreamBackend
from trio_bus.testing import FaultyBackend, InvariantBroken, What, bus_conformance
from trio_bus.testing._bus_conformance.handling import Do
from trio_bus.testing._bus_conformance.machine import BusMachine
from trio_bus.testing._bus_conformance.play import Form, OpenBackend, Rules
from trio_bus.testing._bus_conformance.program import Way
from trio_bus.testing._bus_conformance.publishing import Odd

WHATS = {
    *(What.STARTED, What.SUCCEEDED, What.FAILED, What.CANCELLED),
    *(What.VERB, What.VERB_FAILED, What.DIED, What.LEAVING, What.LEFT),
}
TRANSITIONS = {
    *(Transition.ACKED, Transition.RETRIED, Transition.RELEASED, Transition.DEAD_LETTERED),
    *(Transition.TAKEN_OVER, Transition.EXPIRED),
}


@contextmanager
def program(
    form: Form,
    open_backend: OpenBackend = open_memory,
    *,
    max_retry: int = 1,
    buries: bool = True,
) -> Generator[BusMachine]:
    """Begin a program with one subscriber; its rules are called one by one."""
    machine = cast("BusMachine", bus_conformance(open_backend, virtual_time=True).machine())
    machine.begin([Rules(max_retry=max_retry, buries=buries)] * 3, ("a", "g"), form, 1)
    try:
        yield machine
    finally:
        machine.play.close()


def publish(it: BusMachine, number: int = 1) -> None:
    """Publish so many, and let their handlers begin."""
    it.publish("a", number)
    it.all_promises_are_kept()


def told(it: BusMachine) -> list[str]:
    """Let all happen that can; return what was done since this was asked last, by whom."""
    it.all_promises_are_kept()
    lines = it.play.journal.lines
    found = [
        f"{line.actor} {(line.transition or line.what).value} {line.detail}".strip()
        for line in lines
        if line.what in WHATS or line.transition in TRANSITIONS
    ]
    lines.clear()
    return found


def story(it: BusMachine) -> str:
    return "".join(f"{line}\n" for line in told(it))


def test_a_handler_ends_in_every_way() -> None:
    with program(Form(max_in_flight=1), max_retry=3) as it:
        publish(it)
        for order in (Do.RELEASE, Do.RELEASE_LATER, Do.FAIL, Do.FAIL_TWICE, Do.RETRY_LATER):
            it.end_one(0, order)
            it.let_time_pass(2.5)
        it.tell(0, Do.RENEW)
        it.end_all(Do.REJECT)
        assert story(it) == text("""
            program-1 starts the handler
            program-1 calls release
            program-1 released
            program-1 handler returns
            program-1 taken-over
            program-1 starts the handler
            program-1 calls release later
            program-1 released
            program-1 handler returns
            program-1 taken-over
            program-1 starts the handler
            program-1 handler fails HandlerFailed: as it was told
            program-1 retried as it was told
            program-1 taken-over
            program-1 starts the handler
            program-1 handler fails ExceptionGroup(HandlerFailed: a, HandlerFailed: b)
            program-1 retried as it was told (2 sub-exceptions)
            program-1 taken-over
            program-1 starts the handler
            program-1 calls retry later
            program-1 retried as it was told
            program-1 handler returns
            program-1 taken-over
            program-1 starts the handler
            program-1 calls renew
            program-1 calls reject
            program-1 dead-lettered as it was told
            program-1 handler returns
        """)
        it.finish()


def test_what_was_settled_is_not_settled_again() -> None:
    with program(Form(pulls=True, max_in_flight=1)) as it:
        publish(it)
        for order in (Do.ACK, Do.RETRY, Do.RETURN):
            it.tell(0, order)
        assert story(it) == text("""
            program-1 starts the handler
            program-1 calls ack
            program-1 acked
            program-1 calls retry
            program-1 is told no retry: DeliveryFinalized: entry 1893456000000-0 was settled
                    before
            program-1 handler returns
        """)
        publish(it)
        it.let_handlers_outlive_a_lease()
        it.end_all(Do.RETURN)
        assert story(it) == text("""
            program-1 starts the handler
            program-1 handler returns
            program-1 acked
        """)


def test_a_handler_that_resists_is_waited_for() -> None:
    with program(Form(handler_units=1.5, drain_units=0.0)) as it:
        publish(it)
        it.leave_resisting(0, Way.DRAIN)
        it.let_time_pass(2.5)
        assert story(it) == text("""
            program-1 starts the handler
            program-1 leaves its subscription drain
        """)
        it.finish()
        assert told(it)[:4] == [
            "program-1 calls ack",
            "program-1 is told no ack: Cancelled",
            "program-1 handler is cancelled Cancelled",
            "program-1 acked",
        ]


def test_a_handler_that_is_not_cancelled_in_time_is_told() -> None:
    """It does not resist: so somebody should have cancelled it."""
    with program(Form(handler_units=1.5)) as it:
        publish(it)
        (running,) = it.play.running
        running.tell(Do.RESIST)
        it.let_time_pass(2.5)
        it.all_promises_are_kept()
        running._resists = False
        with pytest.raises(InvariantBroken, match=r"invariant 0, handler timeout: the handler of "):
            it.all_promises_are_kept()
        running._resists = True


def test_each_of_a_batch_is_told_for_itself_what_to_do() -> None:
    """What fails alone fails all that is open, when all of them have ended."""
    with program(Form(batch_units=0.5, max_in_flight=3), max_retry=3) as it:
        publish(it, 3)
        told(it)
        it.end_one(0, Do.RETRY)
        it.end_one(1, Do.FAIL)
        it.all_promises_are_kept()
        assert len(it.play.running) == 1
        it.end_one(0, Do.RETURN)
        assert story(it) == text("""
            program-1 calls retry
            program-1 retried as it was told
            program-1 handler returns
            program-1 handler fails ExceptionGroup(HandlerFailed: as it was told)
            program-1 handler fails ExceptionGroup(HandlerFailed: as it was told)
            program-1 retried of a batch (1 sub-exception)
            program-1 retried of a batch (1 sub-exception)
        """)
        it.let_time_pass(2.5)
        assert len(it.play.running) == 3
        it.end_all(Do.ACK)
        it.finish()


def test_a_program_iterates_over_batches() -> None:
    """Which wait for a while, unless they are complete."""
    with program(Form(pulls=True, batch_units=0.5, max_in_flight=3)) as it:
        publish(it, 3)
        assert not it.play.running
        it.let_time_pass(1.0)
        sizes = [line.count for line in it.play.journal.lines if line.what is What.BATCHED]
        assert sizes in ([3, 3, 3], [1, 2, 2], [2, 2, 1])
        it.end_all(Do.RETURN)
        it.finish()


@pytest.mark.parametrize("one", [False, True])
@pytest.mark.parametrize("buries", [False, True])
def test_what_is_dead_is_sent_back(*, one: bool, buries: bool) -> None:
    """Into the group that gave it up, wherever it lies."""
    with program(Form(), buries=buries) as it:
        it.subscribe(("a", "h"), Form())
        publish(it, 2)
        it.end_all(Do.REJECT)
        it.all_promises_are_kept()
        (topic, first), (_, second) = it.play.operating.dead
        assert (first, second) == ("g", "h")
        it.redrive(1, one=one)
        it.let_time_pass(0.25)
        assert len(it.play.running) == (1 if one else 2)
        assert all(running._about[1].group == "h" for running in it.play.running)
        assert it.play.place_of_dead(topic, "h") == (it.play.topic("dead") if buries else topic)
        it.finish()


def test_a_batch_that_is_cancelled_is_told_for_each() -> None:
    with program(Form(batch_units=0.0, max_in_flight=2, drain_units=0.0)) as it:
        publish(it, 2)
        told(it)
        it.leave(0, Way.DRAIN)
        words = "program-1 handler is cancelled BaseExceptionGroup(Cancelled, Cancelled)"
        assert told(it).count(words) == 2
        it.finish()


def test_a_batch_of_which_all_is_settled_may_fail() -> None:
    """That is told of the first."""
    with program(Form(batch_units=0.0, max_in_flight=2)) as it:
        publish(it, 2)
        told(it)
        for order in (Do.ACK, Do.FAIL):
            for which in (0, 1):
                it.tell(which, order)
        ends = [line for line in told(it) if " handler " in line]
        assert [" fails " in line for line in ends] == [True, False]
        it.finish()


@pytest.mark.parametrize("way", Way)
@pytest.mark.parametrize("pulls", [False, True])
def test_a_program_leaves_as_it_was_told_first(way: Way, *, pulls: bool) -> None:
    with program(Form(pulls=pulls)) as it:
        it.leave(0, way)
        it.leave(0, Way.LEAVE)
        how = " BodyFailed" if way is Way.ERROR else ""
        assert told(it) == [
            f"program-1 leaves its subscription {way.value}",
            f"program-1 has left its subscription{how}",
        ]
        assert not it.play.programs


def test_what_the_dead_held_is_taken_over() -> None:
    with program(Form()) as it:
        it.subscribe(("a", "g"), Form(ack_mode=AckMode.AUTO_ON_RECEIVE))
        it.subscribe(("b", "g"), Form(ack_mode=AckMode.MANUAL))
        publish(it)
        (holder,) = {running.actor for running in it.play.running}
        it.kill_at_work(0)
        (heir,) = {running.actor for running in it.play.running}
        assert heir != holder
        assert f"{heir} taken-over" in told(it)
        it.kill(0)
        it.finish()
        assert told(it)[-1].endswith(" has left its subscription")


def test_what_killed_two_programs_starts_alone() -> None:
    with program(Form(), max_retry=3) as it:
        for _ in range(2):
            it.subscribe(("a", "g"), Form())
        publish(it)
        for _ in range(2):
            it.kill_at_work(0)
        (running,) = it.play.running
        whats = [line.what for line in it.play.journal.lines]
        assert whats.count(What.SET_APART) == 1
        it.end_all(Do.RETURN)
        assert told(it)[-1] == f"{running.actor} acked"
        it.finish()


def test_programs_that_fan_out_get_everything_and_what_the_dead_leave_is_removed() -> None:
    with program(Form()) as it:
        for _ in range(2):
            it.fan_out(("a", ""), Form())
        publish(it)
        assert len({running.actor for running in it.play.running}) == 3
        it.kill(2)
        own = [program.group for program in it.play.programs]
        assert it.play.places().topics[it.play.topic("a")].groups.keys() == set(own)
        it.let_handlers_outlive_a_lease()
        it.let_time_pass(2.5)
        assert it.play.places().topics[it.play.topic("a")].groups.keys() == set(own[:2])
        it.finish()
        assert it.play.places().topics[it.play.topic("a")].groups.keys() == {"g", "h"}


def test_odd_things_are_published() -> None:
    with program(Form()) as it:
        for odd in Odd:
            it.publish_odd("b", odd)
        publish(it, 2)
        it.publish("b", 4)
        it.schedule("a", 1.5)
        for _ in range(2):
            it.cancel_scheduled(0)
        it.schedule("a", 0.0)
        it.let_time_pass(1.0)
        it.cancel_scheduled(0)
        assert [line.what for line in it.play.journal.lines].count(What.CANCELLED_SCHEDULED) == 1
        it.finish()
        buried = [line for line in told(it) if " dead-lettered " in line]
        assert len(buried) == 4, "one was forged, one too large, and two expired"


def test_few_programs_run_at_once() -> None:
    with program(Form()) as it:
        for _ in range(5):
            it.subscribe(("b", "g"), Form())
        assert len(it.play.programs) == 4


def test_a_program_that_cannot_subscribe_fails() -> None:
    """Its error is raised by whatever is done next, and is no surprise of a program that died."""

    @asynccontextmanager
    async def opened() -> AsyncGenerator[StreamBackend]:
        backend = FaultyBackend(MemoryBackend())
        backend.fail("create_group", ConnectionLost("cut"))
        yield backend

    lost = pytest.RaisesGroup(pytest.RaisesExc(ConnectionLost, match="cut"))
    with program(Form(), opened) as it, lost:
        it.all_promises_are_kept()


class Deadly(MemoryBackend):
    """Kills whoever creates a group, and answers with an error, if it was told how."""

    kill: Callable[[], object] | None = None

    async def create_group(self, topic: str, group: str, start: EntryId | None) -> bool:
        created = await super().create_group(topic, group, start)
        if self.kill is not None:
            self.kill()
            self.kill = None
            raise ConnectionLost("cut")
        return created


def test_what_a_program_is_told_when_it_is_dead_is_no_failure() -> None:
    """It dies while a command is under way: nobody hears what became of that."""
    backend = Deadly()

    @asynccontextmanager
    async def opened() -> AsyncGenerator[StreamBackend]:
        yield backend

    with program(Form(), opened) as it:
        backend.kill = lambda: it.play.kill(-1)
        victim = it.play.subscribe(("a", "h"), Form())
        assert victim.ended
        assert not victim.name
        it.finish()


def test_what_is_left_in_the_end_is_told() -> None:
    """A task that nobody ended."""
    with program(Form()) as it:
        it.play.pump.start_soon(trio.sleep_forever)
        with pytest.raises(InvariantBroken, match="the task sleep_forever"):
            it.finish()


def test_a_play_can_be_closed_while_handlers_resist() -> None:
    with program(Form()) as it:
        publish(it)
        it.tell(0, Do.RESIST)
        it.all_promises_are_kept()
    assert not it.play.running


def test_a_program_that_did_not_begin_needs_no_end() -> None:
    """What is left of it would hide why it did not."""
    machine = bus_conformance(open_memory, virtual_time=True).machine()
    machine.teardown()
    assert not hasattr(machine, "play")


def test_a_test_of_a_public_suite_takes_no_time() -> None:
    """In virtual time; each is a method with the words of that test."""
    name = "test_watermill_publish_subscribe"
    case = bus_conformance(open_memory, virtual_time=True)(name)
    case.debug()
    assert case.shortDescription()


def test_what_is_finished_is_removed_in_the_end() -> None:
    """Whatever was kept for whoever came last."""
    machine = cast("BusMachine", bus_conformance(open_memory, virtual_time=True).machine())
    keeping = Rules(retention=Retention(max_length=1))
    machine.begin([keeping] * 3, ("a", "g"), Form(), 1)
    try:
        publish(machine, 3)
        machine.finish()
        lines = machine.play.journal.lines
        assert len([line for line in lines if line.what is What.RETAINED]) == 2
    finally:
        machine.play.close()
