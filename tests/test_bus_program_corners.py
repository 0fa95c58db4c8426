"""Programs of the conformance suite for buses that random ones come to by chance only."""

# pyright: reportPrivateUsage=false

from __future__ import annotations

from collections.abc import Generator
from contextlib import contextmanager
from typing import cast

import pytest
import trio

from tests.by_hand import open_memory, text
from tests.faults import cut_for_good, open_faulty
from tests.test_bus_programs import program, publish, story, told
from trio_bus import (
    AckMode,
    ConnectionLost,
    EntryId,
    MemoryBackend,
    OrderingMode,
    RemoteError,
)
from trio_bus._backend import Ack, Receipt
from trio_bus._graves import Grave, Redriven
from trio_bus._settled import Settled
from trio_bus.abc import Membership, StreamBackend, TakeOver
from trio_bus.testing import InvariantBroken, What, bus_conformance
from trio_bus.testing._bus_conformance import machine as machines
from trio_bus.testing._bus_conformance import play
from trio_bus.testing._bus_conformance.handling import Do
from trio_bus.testing._bus_conformance.machine import BusMachine, CutMachine
from trio_bus.testing._bus_conformance.mortal import Mortal, MortalBackend
from trio_bus.testing._bus_conformance.play import Form, OpenBackend, Rules
from trio_bus.testing._bus_conformance.program import Way
from trio_bus.testing._ears import Witness, tell_redriven
from trio_bus.testing._journal import Journal

US = Membership(topic="orders", group="billing", consumer="us", lease=60.0, max_attempt=3)


def begin(machine: BusMachine | None = None) -> BusMachine:
    """Begin the program of a machine, or of the usual one."""
    if machine is None:
        machine = cast("BusMachine", bus_conformance(open_memory, virtual_time=True).machine())
    machine.begin([Rules()] * 3, ("a", "g"), Form(), 1)
    return machine


@contextmanager
def begun(machine: BusMachine) -> Generator[BusMachine]:
    """Begin a program, and end it."""
    try:
        yield begin(machine)
    finally:
        machine.play.close()


@contextmanager
def cutting(opened: OpenBackend, disconnect: object) -> Generator[CutMachine]:
    """Begin a program whose connections can end."""
    case = bus_conformance(opened, virtual_time=True, disconnect=disconnect)  # type: ignore[arg-type]  # it is a callable
    with begun(cast("CutMachine", case.machine())) as it:
        yield cast("CutMachine", it)


def effects(it: BusMachine) -> int:
    """Return how many outputs of transactions there are."""
    return it.play.pump.run(it.play.backend.info, it.play.topic("effects")).length


def test_a_handler_publishes_with_its_ack_or_not_at_all() -> None:
    with program(Form(max_in_flight=1), max_retry=3) as it:
        publish(it)
        it.end_one(0, Do.COMMIT_NOT)
        it.let_time_pass(2.5)
        assert effects(it) == 0
        it.end_one(0, Do.COMMIT)
        assert story(it) == text("""
            program-1 starts the handler
            program-1 calls fail in a transaction
            program-1 is told no fail in a transaction: HandlerFailed: in its transaction
            program-1 handler fails HandlerFailed: in its transaction
            program-1 retried in its transaction
            program-1 taken-over
            program-1 starts the handler
            program-1 calls commit
            program-1 acked
            program-1 handler returns
        """)
        assert effects(it) == 2
        it.finish()


def test_each_of_a_batch_has_all_verbs() -> None:
    """Each settles its own."""
    with program(Form(batch_units=0.5, max_in_flight=6), max_retry=3) as it:
        publish(it, 6)
        told(it)
        orders = (Do.ACK, Do.RETRY_LATER, Do.REJECT, Do.RELEASE_LATER, Do.COMMIT, Do.RENEW)
        for which, order in enumerate(orders):
            it.tell(which, order)
        it.all_promises_are_kept()
        calls = [line.partition(" calls ")[2] for line in told(it) if " calls " in line]
        assert sorted(calls) == sorted(order.value for order in orders)
        assert effects(it) == 2
        it.end_all(Do.RETURN)
        it.finish()


def test_an_operator_may_find_that_what_was_dead_is_gone() -> None:
    """Then nothing is sent back."""
    with program(Form()) as it:
        publish(it)
        it.end_all(Do.REJECT)
        it.all_promises_are_kept()
        assert it.play.operating.dead
        backend = it.play.backend
        assert isinstance(backend, MemoryBackend)
        backend.trim(it.play.topic("dead"), 0)
        it.play.operating.redrive(0, one=True)
        assert What.REDRIVEN not in [line.what for line in it.play.journal.lines]


def test_an_operator_reaches_all_of_a_backend() -> None:
    """Members of it too, though he joins no group."""
    with program(Form()) as it:
        backend = it.play.operating._bus.backend

        async def read() -> int:
            await backend.create_group("orders", "billing", EntryId(0))
            await backend.append("orders", [((b"a", b"b"),)])
            async with backend.join(US) as member:
                return len(await member.read(5, 0.1))

        assert it.play.pump.run(read) == 1


def test_time_may_be_real() -> None:
    """What is sent back is told before anybody can have it."""
    case = bus_conformance(open_memory, virtual_time=False)
    with begun(cast("BusMachine", case.machine())) as it:
        publish(it)
        it.end_all(Do.REJECT)
        it.play.pump.pump_until(lambda: bool(it.play.operating.dead))
        it.redrive(0, one=False)
        it.play.pump.pump_until(lambda: bool(it.play.running))
        whats = [line.what for line in it.play.journal.lines]
        assert whats.index(What.REDRIVEN) < whats.index(What.GIVEN, whats.index(What.BURIED) + 1)
        it.end_all(Do.RETURN)
        it.finish()


def test_only_what_was_sent_back_is_told() -> None:
    journal = Journal(lambda: 0.0)
    grave = Grave(topic="orders", group="billing", entry_id=EntryId(1), id=EntryId(9))
    results: list[Redriven | RemoteError] = [Redriven.GONE, RemoteError("OOM full"), Redriven.DONE]
    tell_redriven(journal, [grave] * 3, results)
    assert [line.what for line in journal.lines] == [What.REDRIVEN]


def test_what_the_server_does_is_told() -> None:
    """Each part of it, and what had no effect."""
    journal = Journal(lambda: 0.0)
    witness = Witness(journal, "web", US)
    one, two, three, four = (Receipt(EntryId(number), 1) for number in range(1, 5))
    witness.took_over(TakeOver(buried=(one,), gone=(two.id,), suspects=(three,), booked=four.id))
    witness.unbooked(four.id)
    witness.trimmed(0)
    witness.trimmed(7)
    witness.renewed([one, two], {one.id: Settled.LOST})
    results = (Settled.DONE, Settled.GONE, Settled.LOST, RemoteError("OOM full"))
    witness.settled([Ack(it) for it in (one, two, three, four)], results)
    assert [(line.what, line.entry_id, line.detail) for line in journal.lines[1:]] == [
        (What.BURIED, one.id, ""),
        (What.DROPPED, two.id, ""),
        (What.SET_APART, three.id, ""),
        (What.BOOKED, four.id, ""),
        (What.UNBOOKED, four.id, ""),
        (What.RETAINED, None, ""),
        (What.RENEWED, two.id, ""),
        (What.ACKED, one.id, ""),
        (What.DROPPED, two.id, "ack: gone"),
        (What.NO_EFFECT, three.id, "ack: lost"),
        (What.NO_EFFECT, four.id, "ack: RemoteError: OOM full"),
    ]


def test_an_order_is_kept() -> None:
    """One is active, and starts what comes in order; all are handled, whoever is killed."""
    case = bus_conformance(open_memory, virtual_time=True)
    machine = cast("BusMachine", case.machine())
    machine.begin([Rules(max_parked=7)] * 3, ("a", "g"), Form(), 1)
    try:
        machine.subscribe(("a", "g"), Form())
        publish(machine, 4)
        machine.kill_at_work(0)
        machine.let_time_pass(2.5)
        machine.finish()
        lines = machine.play.journal.lines
        asked = {line.detail for line in lines if line.what is What.COMMAND}
        assert {"lead", "survey", "draw", "start", "grown"} <= asked
    finally:
        machine.play.close()


def test_whoever_iterates_over_batches_may_drain() -> None:
    """The iteration ends then."""
    with program(Form(pulls=True, batch_units=0.0)) as it:
        it.leave(0, Way.DRAIN)
        assert told(it)[-1] == "program-1 has left its subscription"
        it.finish()


def test_where_an_order_is_kept_nobody_acks_on_arrival() -> None:
    with program(Form()) as it:
        it.play._rules["b", "g"] = Rules(max_parked=7)
        config = it.play.config(("b", "g"), Form(ack_mode=AckMode.AUTO_ON_RECEIVE))
        assert (config.ordering_mode, config.max_parked) == (OrderingMode.KEY, 7)
        assert config.ack_mode is None


@pytest.mark.parametrize("way", [Way.DRAIN, Way.LEAVE])
def test_a_program_pauses_and_resumes(way: Way) -> None:
    """Nothing comes meanwhile; and whoever was told to leave does neither."""
    with program(Form()) as it:
        it.pause_or_resume(0)
        publish(it)
        assert not it.play.running
        it.pause_or_resume(0)
        it.all_promises_are_kept()
        assert len(it.play.running) == 1
        it.leave(0, way)
        it.pause_or_resume(0)
        whats = [line.what for line in it.play.journal.lines]
        assert [whats.count(what) for what in (What.HALTED, What.CONTINUED)] == [1, 1]
        it.finish()


def test_the_story_is_told_in_the_end(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of what was broken too; then nothing else is demanded."""
    noted = list[str]()
    monkeypatch.setattr(machines, "note", noted.append)
    machine = begin()
    machine.teardown()
    assert noted[-1].endswith("the run is over")
    machine = begin()
    machine.play.pump.start_soon(trio.sleep_forever)
    with pytest.raises(InvariantBroken):
        machine.teardown()
    assert "the task sleep_forever" in noted[-1]
    machine = begin()
    with pytest.raises(ZeroDivisionError):
        try:
            machine.tell(0, Do.ACK)  # and nobody is there
        finally:
            machine.teardown()
    assert "the run is over" not in noted[-1]


def test_what_does_not_finish_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    with program(Form()) as it:
        publish(it)
        monkeypatch.setattr(play, "PATIENCE", 0)
        with pytest.raises(AssertionError, match="after 0 s something is still not finished"):
            it.finish()


def test_connections_end_when_nothing_is_under_way() -> None:
    """What ends them may wait, or fail; what is paused is not demanded of."""
    cuts: list[str] = []

    async def disconnect(_: StreamBackend) -> None:
        await trio.lowlevel.checkpoint()
        cuts.append("a cut")
        raise ConnectionLost("cut")

    with cutting(open_memory, disconnect) as it:
        it.subscribe(("b", "g"), Form())
        it.pause_or_resume(1)
        publish(it)
        it.lose_all_connections()
        assert len(cuts) == 1
        it.finish()
        assert len(cuts) == 2


@pytest.mark.parametrize(
    ("operation", "words"),
    [("info", "no command is answered"), ("read", "nobody reads what is new")],
)
def test_connections_that_do_not_come_back_are_told(operation: str, words: str) -> None:
    broken = pytest.raises(InvariantBroken, match=f"15, progress: after 10 s {words}")
    with cutting(open_faulty, cut_for_good(operation)) as it, broken:
        for _ in range(2):  # a read that is under way is not cut
            it.lose_all_connections()


async def test_whoever_lives_books_suspects() -> None:
    """And gives that up; whoever died waits for ever."""
    journal = Journal(lambda: 0.0)
    mortal = Mortal(journal, "web")
    backend = MemoryBackend()
    await backend.create_group("orders", "billing", EntryId(0))
    async with MortalBackend(backend, mortal).join(US) as member:
        assert not await member.keep_booking(EntryId(1))
        assert not (await member.take_booked(EntryId(1))).entries
        await member.give_up_booking(EntryId(1))
        mortal.dead = True
        with trio.move_on_after(0.01) as patience:
            await member.woken()
        assert patience.cancelled_caught
    assert [line.what for line in journal.lines][-1] is What.UNBOOKED
