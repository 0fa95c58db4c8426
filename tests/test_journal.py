"""The journal: what is written when things happen, and what the dead write."""

from __future__ import annotations

import trio
from trio.testing import MockClock

from tests.faults import FlakyBackend
from trio_bus import (
    Bus,
    BusOptions,
    ConnectionLost,
    Delivery,
    EntryId,
    MemoryBackend,
    Message,
    OutcomeUnknown,
    SubscriptionConfig,
    open_subscription,
)
from trio_bus._backend import (
    Ack,
    Bury,
    Death,
    DeathCause,
    Entry,
    Membership,
    Receipt,
    Retry,
    Settlement,
    TakeOver,
)
from trio_bus._settled import Settled
from trio_bus.testing._ears import JournalObserver, Witness
from trio_bus.testing._journal import Journal
from trio_bus.testing._line import Line, What
from trio_bus.testing._places import DONE, UNDELIVERED, Spot, look_at, look_into

CONFIG = SubscriptionConfig("orders", "billing")


def _text(journal: Journal) -> list[str]:
    return [f"{line.time:g} {line.actor} {line}" for line in journal.lines]


def _journal() -> Journal:
    return Journal(lambda: 12.0, start=10.0)


def test_a_publisher_is_told_of_each_message() -> None:
    journal = _journal()
    messages = [Message("orders", b"1"), Message("orders", b"2"), Message("orders", b" 3 ")]
    told = journal.publishing("web.1", messages)
    told([EntryId(5), ConnectionLost("away"), OutcomeUnknown("who knows")])
    assert _text(journal) == [
        "2 web.1 publishes '1' orders batch 1",
        "2 web.1 publishes '2' orders batch 1",
        "2 web.1 publishes '3' orders batch 1",
        "2 web.1 has published '1' 5-0 orders batch 1",
        "2 web.1 is refused to publish '2' orders batch 1 ConnectionLost: away",
        "2 web.1 cannot know whether it published '3' orders batch 1 OutcomeUnknown: who knows",
    ]


def test_the_dead_write_nothing() -> None:
    journal = _journal()
    heard: list[Line] = []
    journal.listen(heard.append)
    journal.died("web.1", "killed")
    journal.say("web.1", What.NOTE, "still here")
    journal.say("web.2", What.NOTE, "I am another one")
    assert [str(line) for line in journal.lines] == ["dies killed", "note I am another one"]
    assert heard == journal.lines


def test_a_private_group_begins_once() -> None:
    journal = Journal(lambda: 1.0)
    for begin in (EntryId(5, 0), None):
        journal.begun("orders", "~fan-a-1", begin, 2.0)
    (line,) = journal.lines
    assert str(line) == "begins a private group 5-0 orders/~fan-a-1 2 s"


def test_a_witness_writes_what_the_server_did() -> None:
    journal = _journal()
    where = Membership(topic="orders", group="billing", consumer="c-1", lease=1.0, max_attempt=2)
    witness = Witness(journal, "web.1", where)
    one, two, three = Receipt(EntryId(1), 1), Receipt(EntryId(2), 2), Receipt(EntryId(3), 1)
    witness.delivered([Entry(EntryId(1), ())])
    death = Death(DeathCause.REJECTED, "ValueError", "no")
    settlements: list[Settlement] = [
        Ack(one),
        Bury(two, death),
        Retry(three, 0.5),
        Ack(one),
        Ack(two),
    ]
    results = [*(Settled.DONE,) * 3, Settled.LOST, Settled.GONE]
    witness.settled(settlements, results)
    entries = (Entry(EntryId(4), (), 2),)
    witness.took_over(TakeOver(entries, (one,), (EntryId(9),), (three,), EntryId(3)))
    witness.booked(None)
    witness.unbooked(EntryId(3))
    witness.renewed([one, two], [EntryId(1)])
    place = "orders/billing/c-1"
    assert [str(line) for line in journal.lines] == [
        f"is a member attempt 2 {place} 1 s",
        f"gives 1-0 attempt 1 {place}",
        f"marks as done 1-0 attempt 1 {place}",
        f"buries because rejected 2-0 attempt 2 {place}",
        f"keeps for a retry 3-0 attempt 1 {place} 0.5 s",
        f"refuses to settle 1-0 attempt 1 {place} ack: lost",
        f"finds gone 2-0 attempt 2 {place} ack: gone",
        f"buries because exhausted 1-0 attempt 1 {place}",
        f"finds gone 9-0 {place}",
        f"sets apart as a suspect 3-0 attempt 1 {place}",
        f"keeps a suspect for its turn 3-0 {place}",
        f"gives 4-0 attempt 2 {place}",
        f"keeps a suspect no more 3-0 {place}",
        f"renews the lease 2-0 attempt 2 {place}",
    ]


async def test_a_run_is_written_down(autojump_clock: MockClock) -> None:
    """Everything that a program does, and what it is told, in one order."""
    journal = Journal()
    backend = MemoryBackend()
    bus = Bus(backend, BusOptions(observer=JournalObserver(journal, "web.1")))
    name = "?"

    async def handle(delivery: Delivery) -> None:
        with journal.handling("web.1", CONFIG, name, delivery):
            await trio.sleep(0.5)
            if delivery.state.attempt == 1:
                raise ExceptionGroup("two", [ValueError("one"), OSError()])
            with journal.verb("web.1", CONFIG, name, delivery, "ack"):
                await delivery.ack()

    message = Message("orders", b"m1")
    told = journal.publishing("web.1", [message])
    told([await bus.publish(message)])
    journal.opening("web.1", CONFIG)
    async with open_subscription(bus, CONFIG, handle) as subscription:
        name = subscription.name
        journal.joined("web.1", name, CONFIG)
        await subscription.wait_idle()
        await trio.sleep(1)
        await subscription.wait_idle()
        journal.leaving("web.1", name, CONFIG, "leave")
    journal.left("web.1", name, CONFIG)
    what = [line.subject.value for line in journal.lines]
    assert what == [
        *("publishes", "has published", "opens a subscription", "opened"),
        *("has its subscription", "received", "started", "starts the handler"),
        *("handler fails", "is told of an error", "finished", "retried"),
        *("taken-over", "started", "starts the handler", "calls", "acked", "is answered"),
        *("handler returns", "finished"),
        *("leaves its subscription", "draining", "closed", "has left its subscription"),
    ]
    failed = next(line for line in journal.lines if line.what is What.FAILED)
    assert failed.detail == "ExceptionGroup(ValueError: one, OSError)"
    assert autojump_clock.autojump_threshold == 0


async def test_a_cancelled_handler_is_no_failed_one(autojump_clock: MockClock) -> None:
    journal = Journal()
    bus = Bus(MemoryBackend())
    await bus.publish(Message("orders", b"m1"))
    async with open_subscription(bus, CONFIG) as deliveries:
        with trio.move_on_after(1):
            async for delivery in deliveries:
                async with delivery:
                    with journal.handling("web.1", CONFIG, deliveries.name, delivery):
                        await trio.sleep_forever()
    assert [line.what for line in journal.lines] == [What.STARTED, What.CANCELLED]
    assert autojump_clock.current_time() == journal.lines[-1].time


async def test_places_of_memory_are_exact_and_those_of_others_are_figures() -> None:
    backend = MemoryBackend()
    bus = Bus(backend)
    ids = [await bus.publish(Message("orders", b"%d" % number)) for number in range(4)]
    where = Membership(topic="orders", group="billing", consumer="c-1", lease=9.0, max_attempt=2)
    await backend.create_group("orders", "billing", EntryId(0))
    async with backend.join(where) as member:
        one, two, three = await member.read(3, 0.0)
        await member.settle([Ack(one.receipt), Retry(two.receipt, 60.0)])
        exact = look_into(backend, ["orders"]).group("orders", "billing")
        assert exact is not None
        assert exact.spots == {
            ids[0]: Spot(DONE),
            ids[1]: Spot("~due", 1),
            ids[2]: Spot("c-1", 1),
            ids[3]: Spot(UNDELIVERED),
        }
        assert exact.counts == {"~due": 1, "c-1": 1, UNDELIVERED: 1}
        assert exact.last_delivered == three.id
        figures = await look_at(FlakyBackend(backend), ["orders"])
        from_outside = figures.group("orders", "billing")
        assert from_outside is not None
        assert from_outside.spots is None
        assert (from_outside.counts, from_outside.holders) == (exact.counts, exact.holders)
        assert from_outside.held_by("c-1") == 1
    assert (await look_at(backend, ["orders"])).exact
    assert not figures.exact
    assert look_into(backend, ["none"]).group("none", "billing") is None
