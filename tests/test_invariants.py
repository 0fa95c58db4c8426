"""Every invariant can hold, and can break: tiny journals of each kind."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TypedDict, Unpack

import attrs
import pytest

from trio_bus import (
    AckMode,
    EntryId,
    OrderingMode,
    Retention,
    StartPosition,
    SubscriptionConfig,
    Transition,
)
from trio_bus._backend import DeathCause, Record
from trio_bus._dead_letter import CONTEXT, ONLY
from trio_bus._names import DEAD, DUE, FREE
from trio_bus._observer import Scope
from trio_bus.testing._invariants import (
    RULES,
    InvariantBroken,
    Judge,
    Rule,
    alone,
    answers,
    attempts,
    batches,
    bookings,
    bounds,
    cancellations,
    closing,
    contents,
    deaths,
    decisions,
    delays,
    effects,
    ends,
    errors,
    expiry,
    fan_out,
    findings,
    hand_over,
    in_flight,
    inheritance,
    leaks,
    leases,
    lives,
    neighbours,
    one_place,
    order,
    outages,
    own_groups,
    pauses,
    progress,
    promptness,
    rate,
    readable,
    redrives,
    reserved,
    retained,
    settings,
    settled_once,
    sizes,
    tenure,
    together,
)
from trio_bus.testing._line import SERVER, WORLD, Line, Pairs, What
from trio_bus.testing._places import (
    DONE,
    UNDELIVERED,
    GroupPlaces,
    Places,
    Spot,
    TopicPlaces,
)

ONE, TWO = EntryId(1), EntryId(2)
CONFIG = SubscriptionConfig(
    "orders",
    "billing",
    max_in_flight=1,
    max_pending_acks=1,
    max_retry=1,
    claim_idle_timeout=1.0,
    drain_timeout=1.0,
    shutdown_timeout=1.0,
    dead_letter_topic="{orders}.dead",
)
A, B = "a-1", "b-1"
BYTES: Record = ((b"data", b"bytes"),)


class Parts(TypedDict, total=False):
    """The parts of a line that a row may set."""

    time: float
    actor: str
    group: str
    consumer: str
    attempt: int | None
    delivery: int | None
    label: str
    detail: str
    cause: DeathCause
    scope: Scope
    yields: bool
    size: int
    seconds: float | None
    count: int
    batch: int
    asked: Pairs
    headers: Pairs
    config: SubscriptionConfig
    key: str
    expires: float


def say(what: What | Transition, entry_id: EntryId | None = None, **more: Unpack[Parts]) -> Line:
    """Write a line about consumer A, or whoever is named."""
    line = Line(
        time=0.0,
        actor="web.1",
        what=what if isinstance(what, What) else What.TOLD,
        transition=None if isinstance(what, What) else what,
        topic="orders",
        group="billing",
        consumer=A,
        entry_id=entry_id,
    )
    return attrs.evolve(line, **more)


def at_server(what: What, entry_id: EntryId, number: int = 1, /, **more: Unpack[Parts]) -> Line:
    """Write what the server does, with a delivery of that number."""
    return attrs.evolve(say(what, entry_id, actor=SERVER, attempt=number), **more)


def told(transition: Transition, entry_id: EntryId = ONE, **more: Unpack[Parts]) -> Line:
    """Write what A is told of its first delivery."""
    return attrs.evolve(say(transition, entry_id, attempt=1, delivery=1), **more)


def joined(consumer: str = A, config: SubscriptionConfig = CONFIG) -> Line:
    """Write that a subscription is open."""
    return say(What.JOINED, consumer=consumer, config=config)


def member(consumer: str = A) -> Line:
    """Write that what the server does for a consumer is witnessed."""
    return say(What.MEMBER, consumer=consumer, attempt=2, seconds=1.0)


def fault(what: What, entry_id: EntryId | None = None) -> Line:
    """Declare a fault."""
    return say(what, entry_id, actor=WORLD, consumer="")


def published(entry_id: EntryId, name: str = "m1", /, **more: Unpack[Parts]) -> Line:
    """Write that the publish of that message is confirmed."""
    return attrs.evolve(say(What.PUBLISHED, entry_id, group="", consumer="", label=name), **more)


def places(
    *spots: tuple[EntryId, str],
    holders: Sequence[str] = (),
    letters: Sequence[Record] = (),
    record: Record = BYTES,
) -> Places:
    """Return exact places: where each entry of the one group is."""
    counts: dict[str, int] = {}
    for _, place in spots:
        if place != DONE:
            counts[place] = counts.get(place, 0) + 1
    group = GroupPlaces(
        last_delivered=TWO,
        counts=counts,
        holders=frozenset(holders),
        spots={key: Spot(place) for key, place in spots},
    )
    records = {key: record for key, _ in spots}
    graves = {EntryId(100 + number): it for number, it in enumerate(letters)}
    orders = TopicPlaces(length=len(records), groups={"billing": group}, records=records)
    dead = TopicPlaces(length=len(graves), groups={}, records=graves)
    return Places({"orders": orders, "{orders}.dead": dead})


def figures(length: int = 0, **counts: int) -> Places:
    """Return places of which only figures can be seen."""
    group = GroupPlaces(last_delivered=TWO, counts=counts, holders=frozenset(counts))
    return Places({"orders": TopicPlaces(length=length, groups={"billing": group})})


def letter(data: bytes = b"bytes", entry: bytes = b"1-0") -> Record:
    """Return a record that was buried."""
    values = (b"orders", b"billing", entry, b"2", b"1", b"2", b"exhausted", b"E", b"text")
    return ((b"data", data), *zip(CONTEXT, values, strict=True))


OUTPUTS = "{orders}.out"


def outputs(*made: str) -> Places:
    """Return places with these outputs of entry ONE: who made each, which it is, of how many."""
    named = [b"effect|orders|billing|1-0|" + it.replace(" ", "|").encode() for it in made]
    records = {EntryId(200 + number): ((b"data", it),) for number, it in enumerate(named)}
    foreign = {EntryId(300): ((b"data", b"foreign"),)}
    there = TopicPlaces(length=len(made), groups={}, records={**records, **foreign})
    return Places({OUTPUTS: there})


def output_figures(length: int) -> Places:
    """Return places in which outputs can only be counted."""
    return Places({OUTPUTS: TopicPlaces(length=length, groups={})})


OWN = "~fan-a-1"
ZERO = EntryId(0)
FANS = SubscriptionConfig.fan_out("orders")
OLD = attrs.evolve(FANS, start=StartPosition.OLDEST)


def own(what: What, entry_id: EntryId | None = None, **more: Unpack[Parts]) -> Line:
    """Write what the server does with the private group of A."""
    return attrs.evolve(say(what, entry_id, actor=SERVER, group=OWN, detail="look"), **more)


FANNED = say(What.JOINED, group=OWN, config=FANS)
KEPT = [attrs.evolve(member(), group=OWN), own(What.KEPT), own(What.KEPT, seconds=1.0)]
COMPETES = say(What.JOINED, group=OWN, config=CONFIG)
OTHER = own(What.KEPT, group="~fan-b-1", consumer=B, time=1.5, seconds=1.0)


def own_places(place: str = DONE) -> Places:
    """Return exact places of the private group of A: it is behind both entries."""
    spots = {ONE: Spot(DONE), TWO: Spot(place)}
    group = GroupPlaces(last_delivered=TWO, counts={}, holders=frozenset(), spots=spots)
    records = {ONE: BYTES, TWO: BYTES}
    return Places({"orders": TopicPlaces(length=2, groups={OWN: group}, records=records)})


def own_figures() -> Places:
    """Return the same, where only figures can be seen."""
    group = GroupPlaces(last_delivered=TWO, counts={}, holders=frozenset())
    return Places({"orders": TopicPlaces(length=2, groups={OWN: group})})


@attrs.frozen
class Row:
    """One run: what happened, what is seen then, and what the rule says of it ("": it holds)."""

    rule: type[Rule]
    name: str
    lines: Sequence[Line] = ()
    says: str = ""
    look: Places | None = None
    quiet: Places | None = None
    finish: Places | None = None


TRANSACTS = say(
    What.OPENING,
    config=SubscriptionConfig("orders", "billing", output_topics=[OUTPUTS, "{orders}.unseen"]),
)
COMMITTED = at_server(What.ACKED, ONE, count=2)
START = say(What.STARTED, ONE, attempt=1, label="m1")
END = say(What.SUCCEEDED, ONE, attempt=1)
CANCELLED = say(What.CANCELLED, ONE, attempt=1)
BEGUN = told(Transition.RECEIVED)
GIVEN = at_server(What.GIVEN, ONE)
ACKED = at_server(What.ACKED, ONE)
BURIED = at_server(What.BURIED, ONE, 2, cause=DeathCause.EXHAUSTED)
WARY = attrs.evolve(CONFIG, failure_threshold=2)
FELL = [
    say(What.ERROR, entry_id, scope=Scope.HANDLER, attempt=1, delivery=1) for entry_id in (ONE, TWO)
]
OUTAGE, OVER = (
    told(it, delivery=None) for it in (Transition.OUTAGE_BEGAN, Transition.OUTAGE_ENDED)
)
DIED = [
    *(joined(), member(), attrs.evolve(joined(B), actor="web.2"), GIVEN),
    say(What.DIED, consumer=""),
]
GIVEN_TEN = at_server(What.GIVEN, ONE, size=10)
TEN = attrs.evolve(CONFIG, max_in_flight_bytes=10)
TIDY = attrs.evolve(CONFIG, retention=Retention(max_length=1, max_age=9.0))
LOSSY = attrs.evolve(TIDY, retention=Retention(max_length=1, finished=False))
LOSSY_KEEPING = attrs.evolve(LOSSY, dead_letter_topic=None)
KEEPING_DEAD = attrs.evolve(TIDY, dead_letter_topic=None)
EXPIRED = told(Transition.EXPIRED, time=1.0)
EXPIRING = published(ONE, expires=1.0)
DEAD_LETTER = told(Transition.DEAD_LETTERED, time=1.0, cause=DeathCause.EXPIRED)
REMOVED = at_server(What.RETAINED, ONE, count=1, seconds=2.0)
HALTED, CONTINUED = say(What.HALTED), say(What.CONTINUED)
PUBLISHING = say(What.PUBLISHING, label="m1", group="", consumer="")
LEAVING = say(What.LEAVING, config=CONFIG, detail="leave")
LEFT = say(What.LEFT, config=CONFIG)
STEPS = [told(it, delivery=None) for it in (Transition.OPENED, Transition.DRAINING)]
CLOSED = told(Transition.CLOSED, delivery=None)
RECEIVING = attrs.evolve(SubscriptionConfig("orders", "billing", ack_mode=AckMode.AUTO_ON_RECEIVE))
TIMED = attrs.evolve(CONFIG, handler_timeout=1.0)
FAILED = say(What.FAILED, ONE, attempt=1, detail="ValueError: no")
DESTROYED = fault(What.GROUP_DESTROYED)
YIELDING = attrs.evolve(START, yields=True)


def ordered() -> Line:
    """Write that a subscription that keeps an order is open."""
    return joined(config=attrs.evolve(CONFIG, ordering_mode=OrderingMode.KEY))


def first(entry_id: EntryId, **more: Unpack[Parts]) -> Line:
    """Write that a message with a key starts."""
    return attrs.evolve(say(What.STARTED, entry_id, attempt=1, key="ann"), **more)


HURRIED = attrs.evolve(CONFIG, handler_timeout=0.0, drain_timeout=0.0)

KEEPING = [
    joined(config=attrs.evolve(CONFIG, ordering_mode=OrderingMode.KEY, max_in_flight=2)),
    told(Transition.ACTIVE, delivery=None),
]
CROWDED = attrs.evolve(CONFIG, ordering_mode=OrderingMode.KEY, max_in_flight=2, max_parked=1)
REGAINED = at_server(What.GIVEN, ONE)
STARTED, FINISHED = told(Transition.STARTED), told(Transition.FINISHED)


def verb(name: str, *between: Line) -> list[Line]:
    """Write that a handler calls a verb, what is told meanwhile, and that it is answered."""
    said = say(What.VERB, ONE, attempt=1, detail=name)
    return [said, *between, attrs.evolve(said, what=What.VERB_DONE)]


def at(time: float, line: Line) -> Line:
    """Let it happen then."""
    return attrs.evolve(line, time=time)


HELD_ALONE = [member(), GIVEN, YIELDING]


def renewed(time: float, entry_id: EntryId = ONE) -> Line:
    """Write that the server renews the lease of an entry for A."""
    return at_server(What.RENEWED, entry_id, time=time)


def asks(verb: str, seconds: float | None = None) -> Line:
    """Write that a handler calls a verb, with that delay."""
    return say(What.VERB, ONE, attempt=1, detail=verb, seconds=seconds)


def commands(operation: str, *times: float, **more: Unpack[Parts]) -> list[Line]:
    """Write that A asks its server for something at these times."""
    command = say(What.COMMAND, **more)
    return [attrs.evolve(command, time=it, detail=operation) for it in times]


def dead(cause: DeathCause) -> Line:
    """Write that A's delivery was dead-lettered."""
    return told(Transition.DEAD_LETTERED, cause=cause)


NARROW = attrs.evolve(joined(), size=10)
"""It takes payloads of ten bytes."""
TOO_LARGE = dead(DeathCause.OVERSIZED)

APART, TAKEN = at_server(What.SET_APART, ONE), told(Transition.TAKEN_OVER)
TURN = (joined(), APART, GIVEN, TAKEN)
BOOKED = at_server(What.BOOKED, ONE)


def other(time: float = 0.0) -> Line:
    """Write that A is told of another delivery."""
    return told(Transition.RECEIVED, TWO, delivery=2, time=time)


WAITS = [
    *(joined(), member(), GIVEN, at_server(What.GIVEN, TWO), START, say(What.STARTED, TWO)),
    at(0.1, END),
]
"""A holds two entries; one was handled, and waits to be settled."""

SCHEDULED = [
    say(What.SCHEDULING, label="m1", group="", consumer="", seconds=0.5),
    say(What.SCHEDULED, label="m1", group="", consumer=""),
]
"""It is due at 0.5 s."""
SENT = attrs.evolve(PUBLISHING, headers=(("shop", "corner"),))
RELEASED = at_server(What.RELEASED, ONE)

PAIRED = joined(config=attrs.evolve(CONFIG, max_in_flight=2))
BATCHES = say(What.BATCHING, count=2, seconds=0.5, batch=0)
RETRIED = told(Transition.RETRIED)


def batch(time: float, *entries: EntryId, after: float = 0.0) -> list[Line]:
    """Write that A gets these in a batch, so long after they were taken."""
    steps = (Transition.RECEIVED, Transition.STARTED)
    taken = [told(step, it, time=time, delivery=it.ms) for it in entries for step in steps]
    whole = say(What.BATCHED, time=time + after, count=len(entries), batch=int(time))
    return [*taken, *(attrs.evolve(whole, entry_id=it, delivery=it.ms) for it in entries)]


T0, R0 = together.Together, redrives.Redrives
REDRIVEN, COPIED = (at_server(it, ONE, consumer="") for it in (What.REDRIVEN, What.COPIED))
AGAIN = (BURIED, REDRIVEN, BURIED)
OPENED = say(What.OPENING, config=CONFIG)
CALM = say(What.CALM, actor=SERVER, seconds=2.0)
LATE_LOOK = say(What.COMMAND, detail="look", time=99.0)
W0, A0, P0, S0, C0 = (
    delays.Delays,
    answers.Answers,
    promptness.Promptness,
    settings.Settings,
    contents.Contents,
)
L, W, P, S, A3, D, R4, T, E = (
    lives.Lives,
    decisions.Decisions,
    one_place.OnePlace,
    settled_once.SettledOnce,
    attempts.Attempts,
    deaths.Deaths,
    readable.Readable,
    tenure.Tenure,
    ends.Ends,
)
ROWS = [
    # 0
    Row(L, "whole", [BEGUN, told(Transition.STARTED), told(Transition.ACKED), CLOSED]),
    Row(L, "twice", [BEGUN, BEGUN], "delivery 1 of a-1 is told received after it began"),
    Row(
        L,
        "two ends",
        [BEGUN, told(Transition.RELEASED), told(Transition.ACKED)],
        "delivery 1 of a-1 is told acked after it ended",
    ),
    Row(L, "finished first", [BEGUN, told(Transition.FINISHED)], "is told finished after it began"),
    Row(L, "no end", [BEGUN, CLOSED], "delivery 1 of a-1 has not ended after it began"),
    Row(L, "nobody's", [told(Transition.VANISHED, delivery=None)]),
    Row(L, "no attempt", [told(Transition.RECEIVED, attempt=None)], "has no entry or no attempt"),
    Row(W, "returned", [BEGUN, STARTED, START, END, FINISHED, told(Transition.ACKED)]),
    Row(
        W,
        "failed",
        [BEGUN, STARTED, START, FAILED, FINISHED, told(Transition.ACKED)],
        "1-0 is acked, and its handler neither returned nor asked",
    ),
    Row(
        W,
        "early",
        [BEGUN, STARTED, START, told(Transition.RETRIED)],
        "1-0 is settled while its handler runs, which did not ask",
    ),
    Row(W, "lost", [BEGUN, STARTED, START, told(Transition.LEASE_LOST)]),
    Row(W, "on arrival", [joined(config=RECEIVING), BEGUN, told(Transition.ACKED), STARTED, START]),
    Row(
        W,
        "again",
        [
            *(STARTED, *verb("ack", told(Transition.ACKED)), FINISHED),
            *(STARTED, *verb("reject", told(Transition.VANISHED))),
        ],
    ),
    Row(W, "never began", [STARTED, told(Transition.RELEASED)]),
    Row(
        W,
        "done and lost",
        [ACKED, told(Transition.LEASE_LOST)],
        "1-0 is told lease-lost, and for a-1 the server marks as done it at 0.000 s",
    ),
    Row(W, "done and not confirmed", [ACKED, told(Transition.UNCONFIRMED)]),
    Row(W, "done before", [ACKED, GIVEN, told(Transition.LEASE_LOST)]),
    Row(
        W,
        "shared",
        [
            *(GIVEN, at_server(What.RELEASED, ONE), GIVEN, at_server(What.RELEASED, ONE)),
            told(Transition.LEASE_LOST),
        ],
    ),
    Row(W, "given by a group that came back", [GIVEN, GIVEN, ACKED, told(Transition.LEASE_LOST)]),
    Row(
        W,
        "buried and lost",
        [at_server(What.BURIED, ONE, cause=DeathCause.EXHAUSTED), told(Transition.LEASE_LOST)],
    ),
    Row(W, "expired", [BEGUN, told(Transition.ACKED, cause=DeathCause.EXPIRED)]),
    Row(W, "asked", [STARTED, *verb("release later", told(Transition.RELEASED))]),
    Row(W, "unheard", [STARTED, *verb("ack", told(Transition.UNCONFIRMED))]),
    Row(W, "renewed", [STARTED, *verb("renew")]),
    Row(W, "rejected", [STARTED, *verb("reject", dead(DeathCause.REJECTED))]),
    Row(
        W,
        "another verb",
        [STARTED, *verb("release", told(Transition.RETRIED))],
        "1-0: release led to retried",
    ),
    Row(
        W,
        "another cause",
        [STARTED, *verb("reject", dead(DeathCause.EXHAUSTED))],
        "1-0: reject led to dead-lettered",
    ),
    Row(
        findings.Findings,
        "told",
        [member(), BURIED, told(Transition.DEAD_LETTERED, delivery=None)],
        quiet=places(),
    ),
    Row(
        findings.Findings,
        "untold",
        [member(), BURIED],
        "the server buries 1-0 for a-1, and its observer was not told",
        quiet=places(),
    ),
    Row(
        findings.Findings,
        "told of another",
        [member(), APART, told(Transition.SUSPECTED, TWO, delivery=None)],
        "the server sets apart as a suspect 1-0 for a-1, and its observer was not told",
        quiet=places(),
    ),
    Row(
        findings.Findings,
        "strayed",
        [member(), at_server(What.DROPPED, ONE, detail="release: gone")],
        quiet=places(),
    ),
    Row(findings.Findings, "settled", [member(), BEGUN, BURIED], quiet=places()),
    Row(
        findings.Findings,
        "gone when it was given back",
        [member(), at_server(What.DROPPED, ONE, 1, detail="release: gone")],
        quiet=places(),
    ),
    Row(
        findings.Findings,
        "gone when it was claimed",
        [member(), at_server(What.DROPPED, ONE)],
        "the server finds gone 1-0 for a-1, and its observer was not told",
        quiet=places(),
    ),
    Row(
        findings.Findings,
        "not heard",
        [member(), BURIED, say(What.REPLY_LOST, consumer="")],
        quiet=places(),
    ),
    Row(
        findings.Findings,
        "heard by all but one",
        [member(), BURIED, say(What.REPLY_LOST, consumer="", actor="web.2")],
        "the server buries 1-0 for a-1, and its observer was not told",
        quiet=places(),
    ),
    Row(
        findings.Findings,
        "heard by nobody",
        [member(), BURIED, fault(What.SERVER_STOPPED)],
        quiet=places(),
    ),
    Row(findings.Findings, "leaving", [member(), BURIED, *STEPS], quiet=places()),
    Row(findings.Findings, "found late", [member(), *STEPS, BURIED], quiet=places()),
    Row(
        findings.Findings,
        "untold before it left",
        [member(), BURIED, attrs.evolve(STEPS[1], time=2.0)],
        "the server buries 1-0 for a-1, and its observer was not told",
    ),
    Row(
        findings.Findings,
        "another one left",
        [member(), BURIED, attrs.evolve(STEPS[1], time=2.0, consumer=B)],
    ),
    Row(W0, "at once", [asks("retry", 0.0), at_server(What.RETRIED, ONE, seconds=0.0)]),
    Row(
        W0,
        "not at once",
        [asks("retry", 0.0), at_server(What.RETRIED, ONE, seconds=0.5)],
        "1-0 has to wait for 0 s by its retry, and is kept for 0.5 s",
    ),
    Row(W0, "by the backoff", [asks("retry"), at_server(What.RETRIED, ONE, seconds=0.5)]),
    Row(W0, "another one", [asks("retry", 0.0), START, at_server(What.RETRIED, ONE, seconds=0.5)]),
    Row(
        W0,
        "refused",
        [asks("release", 9.0), say(What.VERB_FAILED, ONE, detail="release: LeaseLost"), RELEASED],
    ),
    Row(
        W0,
        "cancelled",
        [asks("release", 9.0), say(What.VERB_FAILED, ONE, detail="release: Cancelled"), RELEASED],
        "1-0 has to wait for 9 s by its release, and is kept for 0 s",
    ),
    Row(W0, "not by it", [asks("ack"), asks("retry", 9.0), RELEASED]),
    Row(
        W0,
        "released twice",
        [
            *(joined(), asks("release"), RELEASED, START, asks("release")),
            at_server(What.RELEASED, ONE, seconds=CONFIG.reclaim_interval),
        ],
    ),
    Row(
        W0,
        "hot",
        [joined(), asks("release"), RELEASED, START, asks("release"), RELEASED],
        "1-0 has to wait for 0.5 s by its release, and is kept for 0 s",
    ),
    Row(W0, "of nobody we know", [asks("release"), RELEASED, asks("release"), RELEASED]),
    Row(
        W0,
        "retried between",
        [
            *(joined(), asks("release"), RELEASED, told(Transition.RETRIED)),
            *(START, asks("release"), RELEASED),
        ],
    ),
    Row(
        W0,
        "an earlier answer",
        [fault(What.REPLY_LOST), asks("release", 9.0), RELEASED],
    ),
    Row(A0, "at once", [*verb("ack"), PUBLISHING, published(ONE), *SCHEDULED]),
    Row(
        A0,
        "a verb",
        [asks("ack"), say(What.VERB_DONE, ONE, time=0.002)],
        "what web.1 asked for at 0.000 s is answered after 0.002 s",
    ),
    Row(
        A0,
        "a schedule",
        [SCHEDULED[0], attrs.evolve(SCHEDULED[1], time=0.5)],
        "what web.1 asked for at 0.000 s is answered after 0.500 s",
    ),
    Row(A0, "a publish", [PUBLISHING, published(ONE, time=0.5)], "is answered after 0.500 s"),
    Row(
        A0,
        "what is left behind",
        [FINISHED, told(Transition.ACKED, time=0.5)],
        "is answered after 0.500 s",
    ),
    Row(
        A0,
        "left open",
        [FINISHED, told(Transition.UNSETTLED), told(Transition.ACKED, time=0.5)],
    ),
    Row(A0, "a slow server", [asks("ack"), fault(What.FAULT), say(What.VERB_DONE, ONE, time=9.0)]),
    Row(P0, "at once", [joined(), RELEASED, at_server(What.GIVEN, ONE, time=0.02)]),
    Row(
        P0,
        "not due",
        [
            *(joined(), at_server(What.RETRIED, ONE, seconds=9.0), *commands("look", 0.0, 0.01, 8)),
            at_server(What.ACKED, ONE, time=8.0),
        ],
    ),
    Row(
        P0,
        "late",
        [
            *(joined(), at_server(What.RETRIED, ONE, seconds=0.5)),
            at_server(What.GIVEN, ONE, time=0.6),
        ],
        "1-0 is due since 0.500 s, and a-1 is free",
    ),
    Row(P0, "never", [joined(), RELEASED, *commands("look", 0.1)], "1-0 is due since 0.000 s"),
    Row(
        P0,
        "sent back, where somebody had searched in vain",
        [*KEEPING, REDRIVEN, *commands("look", 0.3), attrs.evolve(REGAINED, time=0.5)],
    ),
    Row(
        P0,
        "sent back, and later than that",
        [*KEEPING, REDRIVEN, attrs.evolve(REGAINED, time=1.0)],
        "1-0 is due since 0.500 s, and a-1 is free",
    ),
    Row(P0, "nobody is free", [joined(), BEGUN, at_server(What.RELEASED, TWO), *commands("", 9.0)]),
    Row(P0, "after a fault", [joined(), RELEASED, fault(What.FAULT), *commands("look", 9.0)]),
    Row(P0, "a suspect", [joined(), at_server(What.SET_APART, TWO), RELEASED, *commands("", 9.0)]),
    Row(P0, "destroyed", [joined(), RELEASED, DESTROYED, *commands("look", 9.0)]),
    Row(
        P0,
        "published later",
        [
            *(joined(), *SCHEDULED, at_server(What.GIVEN, ONE, time=0.52)),
            *(attrs.evolve(START, time=3.0), at_server(What.GIVEN, ONE, time=9.0)),
        ],
    ),
    Row(
        P0,
        "published in time, and copied later",
        [
            *(joined(), *SCHEDULED, at_server(What.GIVEN, ONE, time=0.52), at(0.52, START)),
            *(
                at(0.53, ACKED),
                at(0.53, END),
                at_server(What.GIVEN, TWO, time=9.0),
                at(9.0, attrs.evolve(START, entry_id=TWO)),
            ),
        ],
    ),
    Row(
        P0,
        "published too late",
        [
            *(joined(), *SCHEDULED, at_server(What.GIVEN, ONE, time=0.6)),
            attrs.evolve(START, time=0.6),
        ],
        "'m1' was due at 0.500 s, and was given at 0.600 s",
    ),
    Row(S0, "kept", [say(What.OPENING, config=CONFIG, asked=(("max_retry", 1),))]),
    Row(
        S0,
        "replaced",
        [say(What.OPENING, config=CONFIG, asked=(("max_retry", 0),))],
        "max_retry was set to 0, and is 1",
    ),
    Row(
        S0,
        "within",
        [
            *(*commands("read", 0.0, seconds=99.0, count=99), joined()),
            *commands("read", 0.0, seconds=0.25, count=1),
            *commands("take_over", 0.0, count=1),
            *commands("settle", 0.0, count=256),
            *(*commands("renew", 0.0), *commands("look", 0.0, 0.5, 0.9)),
            *(fault(What.FAULT), *commands("look", 99.0)),
        ],
    ),
    Row(
        S0,
        "waits",
        [joined(), *commands("read", 0.0, seconds=0.3)],
        "a read of a-1 waits for 0.3 s, and by its block_timeout and lease for 0.25 s",
    ),
    Row(
        S0,
        "takes too many",
        [joined(), *commands("take_over", 0.0, count=2)],
        "a take_over is about 2 entries: max_in_flight is 1",
    ),
    Row(
        S0,
        "settles too many",
        [joined(), *commands("settle", 0.0, count=257)],
        "a settle is about 257 entries: ack_batch_size is 256",
    ),
    Row(
        S0,
        "looks too rarely",
        [joined(), *commands("look", 0.0, 0.6)],
        "a-1 looked at 0.000 s, and then not for 0.501 s",
    ),
    Row(
        S0,
        "is quiet",
        [joined(), *commands("look", 0.0), CALM, *commands("look", 2.0)],
    ),
    Row(
        S0,
        "is quiet no more",
        [joined(), *commands("look", 0.0), CALM, *commands("look", 2.0, 4.0)],
        "a-1 looked at 2.000 s, and then not for 0.501 s",
    ),
    Row(
        S0,
        "is quiet for long",
        [joined(), *commands("look", 0.0), attrs.evolve(CALM, seconds=99.0), LATE_LOOK],
        "a-1 looked at 0.000 s, and then not for 30.101 s",
    ),
    Row(C0, "arrives", [SENT, attrs.evolve(START, headers=(("a", "b"), ("shop", "corner")))]),
    Row(C0, "of somebody else", [attrs.evolve(SENT, label="m2"), START]),
    Row(
        C0,
        "without",
        [SENT, attrs.evolve(START, headers=(("shop", "other"),))],
        "'m1' arrives without what it was published with: shop = 'corner'",
    ),
    # 1
    Row(P, "there", [joined(), published(ONE)], look=places((ONE, UNDELIVERED))),
    Row(P, "lost", [published(ONE)], "1-0 ('m1') was confirmed, and is not", look=places()),
    Row(P, "deleted", [published(ONE), fault(What.DELETED, ONE)], look=places()),
    Row(P, "topic gone", [published(ONE), fault(What.TOPIC_DELETED)], look=places()),
    Row(P, "settled", [member(), joined(), published(ONE), ACKED], look=places((ONE, DONE))),
    Row(
        P,
        "done by nobody",
        [member(), joined(), published(ONE)],
        "1-0 ('m1') counts as done in 'billing': nobody settled it",
        look=places((ONE, DONE)),
    ),
    Row(P, "not told yet", [joined(), published(ONE)], look=places((ONE, DONE))),
    Row(
        P,
        "never told",
        [joined(), published(ONE)],
        "counts as done in 'billing'",
        quiet=places((ONE, DONE)),
    ),
    Row(
        P,
        "never told at the end",
        [joined(), published(ONE)],
        "counts as done in 'billing'",
        finish=places((ONE, DONE)),
    ),
    Row(P, "begins again", [joined(), published(ONE), DESTROYED], quiet=places((ONE, DONE))),
    Row(P, "figures", [published(ONE)], look=figures(1)),
    Row(
        P,
        "fewer",
        [published(ONE)],
        "1 confirmed entries are not in the stream 'orders'",
        look=figures(0),
    ),
    # 2
    Row(S, "once", [GIVEN, START, ACKED, END]),
    Row(S, "acked twice", [GIVEN, ACKED, ACKED], "1-0 was settled before, at 0.000 s"),
    Row(S, "given again", [ACKED, GIVEN], "1-0 is given again: a-1 settled it"),
    Row(S, "starts again", [told(Transition.ACKED), START], "1-0 starts again: a-1 settled it"),
    Row(S, "new group", [joined(), ACKED, DESTROYED, GIVEN]),
    Row(S, "stood still", [fault(What.PAUSED), ACKED, START]),
    Row(S, "acked on receive", [joined(config=RECEIVING), GIVEN, ACKED, START]),
    Row(
        S,
        "started twice",
        [joined(config=RECEIVING), GIVEN, ACKED, START, START],
        "1-0 starts again",
    ),
    # 3
    Row(A3, "counted", [GIVEN, START, at_server(What.RETRIED, ONE), at_server(What.GIVEN, ONE, 2)]),
    Row(A3, "released", [GIVEN, at_server(What.RELEASED, ONE), GIVEN]),
    Row(A3, "not first", [at_server(What.GIVEN, ONE, 2)], "attempt 2 of 1-0 should be 1"),
    Row(A3, "forgotten", [GIVEN, GIVEN], "attempt 1 of 1-0 should be 2"),
    Row(A3, "new group", [GIVEN, DESTROYED, GIVEN]),
    Row(
        A3,
        "told otherwise",
        [GIVEN, say(What.STARTED, ONE, attempt=2)],
        "a handler is told attempt 2, the server says 1",
    ),
    Row(A3, "told", [BEGUN, told(Transition.RETRIED), told(Transition.TAKEN_OVER, attempt=2)]),
    Row(
        A3,
        "retry uncounted",
        [BEGUN, told(Transition.RETRIED), told(Transition.TAKEN_OVER)],
        "attempt 1 of 1-0 is not in 2 to 2",
    ),
    Row(A3, "too many", [told(Transition.RECEIVED, attempt=2)], "attempt 2 of 1-0 is not in 1 to"),
    Row(A3, "untold", [fault(What.DIED), told(Transition.TAKEN_OVER, attempt=2)]),
    # 4
    Row(D, "exhausted", [joined(), BURIED], finish=places((ONE, DONE), letters=[letter()])),
    Row(
        D,
        "too early",
        [joined(), at_server(What.BURIED, ONE, 1, cause=DeathCause.EXHAUSTED)],
        "exhausted after attempt 1 of 2",
    ),
    Row(D, "too late", [member(), at_server(What.RETRIED, ONE, 2)], "attempt 2 of 2 is kept for a"),
    Row(D, "beyond", [joined(), say(What.STARTED, ONE, attempt=3)], "attempt 3 starts, and 2 are"),
    Row(D, "twice", [BURIED, BURIED], "1-0 was buried before, at 0.000 s"),
    Row(D, "twice, in a new group", [BURIED, DESTROYED, BURIED]),
    Row(
        D,
        "rejected by nobody",
        [at_server(What.BURIED, ONE, 1, cause=DeathCause.REJECTED)],
        "1-0 is rejected, and no handler was started",
    ),
    Row(D, "rejected", [START, at_server(What.BURIED, ONE, 1, cause=DeathCause.REJECTED)]),
    Row(
        D,
        "other bytes",
        [],
        "the fields of 1-0 changed when it was buried",
        quiet=places((ONE, DONE), letters=[letter(b"byte")]),
    ),
    Row(
        D,
        "two letters",
        [],
        "1-0 is in the dead-letter topic twice",
        finish=places((ONE, DONE), letters=[letter(), letter()]),
    ),
    Row(R4, "too large", [NARROW, published(ONE, size=11), TOO_LARGE], quiet=places((ONE, DONE))),
    Row(
        R4,
        "it fits",
        [NARROW, TOO_LARGE, published(ONE, size=10)],
        "1-0 is given up unread, and its payload has 10 bytes",
        quiet=places((ONE, DONE)),
    ),
    Row(
        R4,
        "unreadable",
        [joined(), published(ONE, size=10), dead(DeathCause.UNDECODABLE)],
        "1-0 is given up unread",
        finish=places((ONE, DONE)),
    ),
    Row(R4, "no limit known", [joined(), published(ONE, size=10), TOO_LARGE], quiet=figures()),
    Row(R4, "foreign", [published(TWO), dead(DeathCause.UNDECODABLE)], quiet=figures()),
    Row(R4, "nobody's", [attrs.evolve(TOO_LARGE, entry_id=None)], quiet=figures()),
    Row(R4, "rejected", [published(ONE, size=1), dead(DeathCause.REJECTED)], finish=figures()),
    Row(
        R4,
        "deleted",
        [NARROW, published(ONE, size=9), TOO_LARGE, fault(What.TOPIC_DELETED)],
        quiet=figures(),
    ),
    # 5
    Row(own_groups.OwnGroups, "one entry", [PUBLISHING, published(ONE), START]),
    Row(
        own_groups.OwnGroups,
        "published again",
        [PUBLISHING, published(ONE), say(What.STARTED, TWO, attempt=1, label="m1")],
        "'m1' has 2 entries, and was published 1 times",
    ),
    # 6
    Row(bounds.Bounds, "one", [joined(), START, END, START], look=places((ONE, A))),
    Row(
        bounds.Bounds,
        "two run",
        [joined(), START, say(What.STARTED, TWO)],
        "2 handlers run, and max_in_flight is 1",
    ),
    Row(
        bounds.Bounds,
        "three held",
        [joined(), *(told(Transition.RECEIVED, EntryId(n), delivery=n) for n in (1, 2, 3))],
        "3 entries are held, and 2 are allowed",
    ),
    Row(
        bounds.Bounds,
        "three pending",
        [joined()],
        "3 entries are pending for a-1: 2 are allowed",
        look=places((ONE, A), (TWO, A), (EntryId(3), A)),
    ),
    Row(
        bounds.Bounds,
        "an answer was lost",
        [joined(), fault(What.REPLY_LOST)],
        look=places((ONE, A), (TWO, A), (EntryId(3), A)),
    ),
    # 7
    Row(
        leases.Leases,
        "run out",
        [member(), GIVEN, member(B), at_server(What.GIVEN, ONE, 2, consumer=B, time=1.0)],
    ),
    Row(
        leases.Leases,
        "taken early",
        [member(), GIVEN, member(B), at_server(What.GIVEN, ONE, 2, consumer=B, time=0.9)],
        "1-0 is given while a-1 has it until 1.000 s",
    ),
    Row(
        leases.Leases,
        "renewed",
        [
            *(member(), GIVEN, at_server(What.RENEWED, ONE, time=0.5), member(B)),
            at_server(What.GIVEN, ONE, 2, consumer=B, time=1.2),
        ],
        "1-0 is given while a-1 has it until 1.500 s",
    ),
    Row(
        leases.Leases,
        "given back",
        [member(), GIVEN, at_server(What.RELEASED, ONE), at_server(What.GIVEN, ONE, consumer=B)],
    ),
    Row(
        leases.Leases,
        "clock moved",
        [member(), GIVEN, fault(What.CLOCK_STEPPED), at_server(What.GIVEN, ONE, 2, consumer=B)],
    ),
    Row(
        leases.Leases,
        "two run",
        [joined(), joined(B), START, say(What.STARTED, ONE, attempt=2, consumer=B)],
        "a handler of a-1 runs 1-0 already",
    ),
    Row(
        leases.Leases,
        "one had settled it",
        [
            *(joined(), joined(B), START, say(What.VERB, ONE, detail="release")),
            say(What.STARTED, ONE, attempt=2, consumer=B),
        ],
    ),
    Row(
        leases.Leases,
        "lost for nothing",
        [joined(), BEGUN, told(Transition.LEASE_LOST)],
        "the lease of 1-0 was lost, and nothing went wrong",
    ),
    Row(
        leases.Leases,
        "lost when it stood still",
        [joined(), BEGUN, fault(What.PAUSED), told(Transition.LEASE_LOST)],
    ),
    Row(
        leases.Leases,
        "deleted, and lost for that",
        [joined(), BEGUN, fault(What.DELETED, ONE), told(Transition.LEASE_LOST)],
        "the lease of 1-0 was lost, and nothing went wrong",
    ),
    Row(T, "within its lease", [member(), GIVEN, YIELDING, at(1.0, END)]),
    Row(
        T,
        "after its lease",
        [member(), GIVEN, YIELDING, renewed(0.3), at(1.4, END)],
        "a handler of a-1 ends 0.100 s after its lease",
    ),
    Row(T, "settled by its handler", [member(), GIVEN, YIELDING, ACKED, at(1.4, END)]),
    Row(T, "waits for an answer", [member(), GIVEN, YIELDING, *verb("retry")[:1], at(1.4, END)]),
    Row(T, "resists", [member(), GIVEN, START, at(1.4, END)]),
    Row(T, "stood still", [member(), GIVEN, YIELDING, fault(What.PAUSED), at(1.4, END)]),
    Row(T, "not witnessed", [YIELDING, told(Transition.LEASE_LOST), renewed(1.0), at(1.4, END)]),
    Row(T, "deleted", [member(), GIVEN, YIELDING, fault(What.DELETED, ONE), at(1.4, END)]),
    Row(
        T,
        "another is deleted",
        [member(), GIVEN, YIELDING, fault(What.DELETED, TWO), at(1.4, END)],
        "a handler of a-1 ends 0.400 s after its lease",
    ),
    Row(T, "group gone", [member(), GIVEN, YIELDING, DESTROYED, at(1.4, END)]),
    Row(T, "starts in time", [member(), GIVEN, at(0.5, START)]),
    Row(T, "starts renewed", [member(), GIVEN, renewed(0.7), at(0.9, START)]),
    Row(
        T,
        "starts in doubt",
        [member(), GIVEN, at(0.7, START)],
        "1-0 starts 0.700 s after its lease of 1 s began",
    ),
    Row(
        T,
        "left out",
        [*WAITS, *(renewed(it, TWO) for it in (0.3, 0.3, 0.6, 0.9))],
        "1-0 waits to be settled by a-1, which renews what it holds without it",
    ),
    Row(T, "not left out", [*WAITS, *(renewed(it / 4, EntryId(it % 2 + 1)) for it in range(9))]),
    Row(T, "left out once", [*WAITS, renewed(0.3, TWO), renewed(0.6), renewed(0.6, TWO)]),
    Row(
        T,
        "by a handler",
        [
            *(*WAITS, say(What.VERB, TWO, detail="renew")),
            *(renewed(it, TWO) for it in (0.3, 0.6, 0.9)),
            say(What.VERB_DONE, TWO, detail="renew", time=0.9),
        ],
    ),
    Row(
        T,
        "by a handler before",
        [
            *(*WAITS, *verb("ack"), say(What.VERB, TWO, detail="renew")),
            say(What.VERB_FAILED, TWO, detail="renew: LeaseLost"),
            *(renewed(it, TWO) for it in (0.3, 0.6, 0.9)),
        ],
        "1-0 waits to be settled by a-1",
    ),
    Row(
        T,
        "lost and left out",
        [*WAITS, told(Transition.LEASE_LOST), *(renewed(it, TWO) for it in (0.3, 0.6, 0.9))],
    ),
    Row(
        T,
        "draining and left out",
        [*WAITS, STEPS[1], *(renewed(it, TWO) for it in (0.3, 0.6, 0.9))],
    ),
    Row(T, "settled and left out", [*WAITS, ACKED, *(renewed(it, TWO) for it in (0.3, 0.6, 0.9))]),
    # 9
    Row(in_flight.InFlight, "same", [joined(), BEGUN], quiet=places((ONE, A))),
    Row(
        in_flight.InFlight,
        "not pending",
        [joined(), BEGUN],
        "a-1 holds 1-0, which is not pending for it",
        quiet=places((ONE, FREE)),
    ),
    Row(
        in_flight.InFlight,
        "not held",
        [joined()],
        "1-0 is pending for a-1, which does not hold it",
        quiet=places((ONE, A)),
    ),
    Row(
        in_flight.InFlight,
        "lost",
        [joined(), BEGUN, told(Transition.LEASE_LOST)],
        quiet=places((ONE, A)),
    ),
    Row(
        in_flight.InFlight,
        "figures differ",
        [joined(), BEGUN],
        "a-1 holds 1 entries, the server says 0",
        quiet=figures(1),
    ),
    Row(
        in_flight.InFlight,
        "not over",
        [joined(), fault(What.REPLY_LOST)],
        quiet=places((ONE, A)),
    ),
    # 10
    Row(neighbours.Neighbours, "nothing waits", [joined()], quiet=places((ONE, DUE))),
    Row(neighbours.Neighbours, "full", [joined(), BEGUN], quiet=places((TWO, UNDELIVERED))),
    Row(
        neighbours.Neighbours,
        "it could start",
        [joined()],
        "1 entries of orders/billing could start, and a-1 has a free permit",
        quiet=places((ONE, FREE)),
    ),
    Row(
        neighbours.Neighbours,
        "alone",
        [joined(), told(Transition.SUSPECTED, delivery=None)],
        quiet=places((ONE, FREE)),
    ),
    Row(
        alone.Alone,
        "alone",
        [*TURN, START, END, told(Transition.ACKED), other()],
    ),
    Row(
        alone.Alone,
        "beside what is held",
        [other(), *TURN],
        "the suspect 1-0 comes to a-1 beside 2-0",
    ),
    Row(
        alone.Alone,
        "beside what runs",
        [say(What.STARTED, TWO), *TURN],
        "the suspect 1-0 comes to a-1 beside 2-0",
    ),
    Row(
        alone.Alone,
        "beside it",
        [*TURN, START, told(Transition.ACKED), other(9.0)],
        "2-0 comes to a-1 beside a suspect, 1-0",
    ),
    Row(
        alone.Alone,
        "left open",
        [*TURN, START, attrs.evolve(END, time=1.0), other(1.5)],
        "2-0 comes to a-1 beside a suspect, 1-0",
    ),
    Row(
        alone.Alone,
        "left open for long",
        [*TURN, START, attrs.evolve(END, time=1.0), other(1.7)],
    ),
    Row(alone.Alone, "begun late", [*TURN, attrs.evolve(START, time=0.7), other(0.8)]),
    Row(
        alone.Alone,
        "others run elsewhere",
        [*TURN, say(What.STARTED, TWO), say(What.SUCCEEDED, TWO), START, END],
    ),
    Row(alone.Alone, "settings unknown", [*TURN[1:], other()]),
    Row(alone.Alone, "no suspect", [joined(), other(), GIVEN, TAKEN]),
    Row(
        alone.Alone,
        "released",
        [joined(), APART, GIVEN, at_server(What.RELEASED, ONE), other(), GIVEN, TAKEN],
        "the suspect 1-0 comes to a-1 beside 2-0",
    ),
    Row(
        alone.Alone,
        "retried",
        [joined(), APART, GIVEN, at_server(What.RETRIED, ONE), other(), GIVEN, TAKEN],
    ),
    Row(alone.Alone, "new group", [joined(), APART, DESTROYED, other(), GIVEN, TAKEN]),
    # 11
    Row(
        cancellations.Cancellations,
        "given back",
        [joined(), START, CANCELLED, at_server(What.RELEASED, ONE)],
    ),
    Row(
        cancellations.Cancellations,
        "retried",
        [joined(), START, CANCELLED, at_server(What.RETRIED, ONE)],
        "1-0 was cancelled at 0.000 s: it counts as a failure",
    ),
    Row(
        cancellations.Cancellations,
        "told",
        [joined(), START, CANCELLED, say(What.ERROR, ONE, attempt=1, scope=Scope.HANDLER)],
        "1-0 was cancelled at 0.000 s: it is told as an error of its handler",
    ),
    Row(
        cancellations.Cancellations,
        "timed out",
        [joined(config=TIMED), START, CANCELLED, at_server(What.RETRIED, ONE)],
    ),
    Row(
        cancellations.Cancellations,
        "settled before",
        [
            *(joined(), START, say(What.VERB, ONE, detail="retry"), CANCELLED),
            at_server(What.RETRIED, ONE),
        ],
    ),
    # 15
    Row(
        inheritance.Inheritance,
        "in time",
        [*DIED, at_server(What.GIVEN, ONE, 2, consumer=B, time=1.2), say(What.OVER, time=9.0)],
    ),
    Row(
        inheritance.Inheritance,
        "too late",
        [*DIED, say(What.OVER, time=9.0)],
        "the lease of a-1 on 1-0 was over at 1.000 s, and b-1 could have taken it",
    ),
    Row(
        inheritance.Inheritance,
        "renewed",
        [*DIED[:-1], at_server(What.RENEWED, ONE, time=0.9), DIED[-1], say(What.OVER, time=1.8)],
    ),
    Row(
        inheritance.Inheritance,
        "it lives",
        [*DIED[:-1], say(What.OVER, time=9.0)],
    ),
    Row(
        inheritance.Inheritance,
        "settled before",
        [*DIED, at_server(What.ACKED, ONE), say(What.OVER, time=9.0)],
    ),
    Row(
        inheritance.Inheritance,
        "deleted",
        [*DIED, fault(What.DELETED, entry_id=ONE), say(What.OVER, time=9.0)],
    ),
    Row(
        inheritance.Inheritance,
        "more went wrong",
        [*DIED, fault(What.REPLY_LOST), say(What.OVER, time=9.0)],
    ),
    Row(
        inheritance.Inheritance,
        "a suspect",
        [*DIED, at_server(What.SET_APART, TWO), say(What.OVER, time=9.0)],
    ),
    # 12
    Row(
        hand_over.HandOver,
        "at once",
        [
            *(joined(B), at_server(What.RELEASED, ONE), at_server(What.GIVEN, ONE, consumer=B)),
            say(What.COMMAND, time=5.0),
        ],
    ),
    Row(
        hand_over.HandOver,
        "after a lease",
        [joined(B), at_server(What.RELEASED, ONE), at_server(What.GIVEN, ONE, time=1.0)],
        "1-0 was given back at 0.000 s, and b-1 could have taken it",
    ),
    Row(
        hand_over.HandOver,
        "nobody was free",
        [
            *(joined(B), told(Transition.RECEIVED, TWO, consumer=B)),
            *(at_server(What.RELEASED, ONE), at_server(What.GIVEN, ONE, time=1.0)),
        ],
    ),
    Row(
        hand_over.HandOver,
        "its key is at work",
        [*KEEPING, first(ONE), RELEASED, attrs.evolve(REGAINED, time=9.0)],
    ),
    Row(
        hand_over.HandOver,
        "its key was at work until now",
        [
            *(*KEEPING, first(ONE), RELEASED, say(What.SUCCEEDED, ONE, attempt=1, time=9.0)),
            attrs.evolve(REGAINED, time=9.1),
        ],
    ),
    Row(
        hand_over.HandOver,
        "another key is at work",
        [
            *(*KEEPING, first(ONE), say(What.SUCCEEDED, ONE, attempt=1), first(TWO, key="bob")),
            *(RELEASED, attrs.evolve(REGAINED, time=1.0)),
        ],
        "1-0 was given back at 0.000 s, and a-1 could have taken it",
    ),
    Row(
        hand_over.HandOver,
        "its key may be at work",
        [
            *(*KEEPING, first(ONE), attrs.evolve(RELEASED, entry_id=TWO)),
            attrs.evolve(REGAINED, entry_id=TWO, time=9.0),
        ],
    ),
    Row(
        hand_over.HandOver,
        "what was dead is before it",
        [
            *(*KEEPING, first(ONE), say(What.FAILED, ONE, attempt=1), BURIED, first(TWO)),
            *(say(What.SUCCEEDED, TWO, attempt=1), REDRIVEN, REGAINED),
            attrs.evolve(RELEASED, entry_id=TWO),
            attrs.evolve(REGAINED, entry_id=TWO, time=9.0),
        ],
    ),
    Row(
        hand_over.HandOver,
        "its key may be held",
        [
            *(*KEEPING, first(ONE), say(What.SUCCEEDED, ONE, attempt=1)),
            *(told(Transition.RECEIVED, TWO), RELEASED, attrs.evolve(REGAINED, time=9.0)),
        ],
    ),
    Row(
        hand_over.HandOver,
        "as many wait as may",
        [
            *(attrs.evolve(KEEPING[0], config=CROWDED), KEEPING[1]),
            *(first(TWO, key="bob"), say(What.SUCCEEDED, TWO, attempt=1)),
            *(RELEASED, attrs.evolve(REGAINED, time=9.0)),
        ],
    ),
    Row(
        hand_over.HandOver,
        "without a key",
        [
            *(*KEEPING, first(ONE, key=""), say(What.SUCCEEDED, ONE, attempt=1)),
            *(first(TWO, key=""), RELEASED, attrs.evolve(REGAINED, time=1.0)),
        ],
        "1-0 was given back at 0.000 s, and a-1 could have taken it",
    ),
    Row(
        hand_over.HandOver,
        "nobody was there",
        [
            at_server(What.RELEASED, ONE),
            attrs.evolve(joined(B), time=5.0),
            at_server(What.GIVEN, ONE, time=5.1),
        ],
    ),
    Row(
        hand_over.HandOver,
        "could not look",
        [
            *(joined(B), say(What.ERROR, consumer=B, scope=Scope.CLAIM)),
            *(at_server(What.RELEASED, ONE), at_server(What.GIVEN, ONE, time=1.0)),
        ],
    ),
    Row(
        hand_over.HandOver,
        "could not look long ago",
        [
            *(joined(B), say(What.ERROR, consumer=B, scope=Scope.CLAIM)),
            *(at_server(What.RELEASED, ONE), at_server(What.GIVEN, ONE, time=10.0)),
        ],
        "1-0 was given back at 0.000 s, and b-1 could have taken it",
    ),
    Row(
        hand_over.HandOver,
        "with a delay",
        [joined(B), at_server(What.RELEASED, ONE, seconds=2.0), say(What.COMMAND, time=1.9)],
    ),
    Row(
        bookings.Bookings,
        "given up",
        [member(), BOOKED, at_server(What.UNBOOKED, ONE), LEFT],
    ),
    Row(
        bookings.Bookings,
        "kept",
        [member(), BOOKED, LEFT],
        "a-1 is gone, and 1-0 waits for it until 1.000 s",
    ),
    Row(bookings.Bookings, "over", [member(), BOOKED, attrs.evolve(LEFT, time=1.0)]),
    Row(bookings.Bookings, "another's", [member(), BOOKED, attrs.evolve(LEFT, consumer=B)]),
    Row(bookings.Bookings, "new group", [member(), BOOKED, DESTROYED, LEFT]),
    Row(bookings.Bookings, "not heard", [member(), BOOKED, fault(What.REPLY_LOST), LEFT]),
    # 13
    Row(closing.Closing, "in order", [*STEPS, LEAVING, CLOSED, attrs.evolve(LEFT, time=1.0)]),
    Row(closing.Closing, "not opened", [CLOSED], "a-1 is told closed after step 0 of 3"),
    Row(closing.Closing, "twice", [*STEPS, CLOSED, CLOSED], "a-1 is told closed after step 3 of 3"),
    Row(
        closing.Closing,
        "starts late",
        [*STEPS, told(Transition.STARTED)],
        "1-0 starts after a-1 began to drain",
    ),
    Row(
        closing.Closing,
        "starts late, and was acked on arrival",
        [joined(config=RECEIVING), *STEPS, told(Transition.STARTED)],
    ),
    Row(
        closing.Closing,
        "comes late",
        [*STEPS, CLOSED, BEGUN],
        "1-0 comes or ends after a-1 was closed",
    ),
    Row(
        closing.Closing,
        "made late",
        [*STEPS, told(Transition.GROUP_RECREATED, delivery=None)],
        "the group is made",
    ),
    Row(
        closing.Closing,
        "for ever",
        [*STEPS, LEAVING, attrs.evolve(LEFT, time=99.0)],
        "a-1 is being left since 0.000 s, and had to be by 34.000 s",
    ),
    Row(
        closing.Closing,
        "not confirmed",
        [joined(), BEGUN, told(Transition.UNCONFIRMED)],
        "what became of 1-0 is not known, and nothing went wrong",
    ),
    Row(
        closing.Closing,
        "an answer was lost",
        [joined(), BEGUN, fault(What.REPLY_LOST), told(Transition.UNCONFIRMED)],
    ),
    Row(closing.Closing, "never", [*STEPS, LEAVING], "and had to be by 34.000 s", finish=places()),
    Row(
        closing.Closing,
        "killed",
        [*STEPS, LEAVING, say(What.DIED, consumer="")],
        finish=places(),
    ),
    Row(E, "in time", [joined(config=TIMED), YIELDING, at(1.0, END)]),
    Row(
        E,
        "too late",
        [joined(config=TIMED), YIELDING, at(1.1, CANCELLED)],
        "a handler of a-1 ends 0.100 s after handler_timeout was over",
    ),
    Row(
        E,
        "no time at all",
        [joined(config=HURRIED), YIELDING, at(0.1, END)],
        "a handler of a-1 ends 0.100 s after handler_timeout was over",
    ),
    Row(E, "resists", [joined(config=TIMED), START, at(1.1, CANCELLED)]),
    Row(E, "stood still", [joined(config=TIMED), YIELDING, fault(What.PAUSED), at(1.1, END)]),
    Row(E, "not bounded", [joined(), YIELDING, at(9.0, END)]),
    Row(E, "whose settings nobody told", [YIELDING, STEPS[1], at(9.0, END)]),
    Row(
        E,
        "lost",
        [joined(), YIELDING, told(Transition.LEASE_LOST), at(0.1, END)],
        "a handler of a-1 ends 0.100 s after its lease was lost",
    ),
    Row(E, "another is lost", [joined(), YIELDING, told(Transition.LEASE_LOST, TWO), at(0.1, END)]),
    Row(
        E,
        "a later delivery is lost",
        [joined(), YIELDING, *verb("release", told(Transition.LEASE_LOST)), at(0.1, END)],
    ),
    Row(E, "nobody's is lost", [joined(), told(Transition.LEASE_LOST)]),
    Row(E, "drained", [joined(), YIELDING, at(0.5, STEPS[1]), LEAVING, at(1.5, END)]),
    Row(
        E,
        "drained for too long",
        [joined(), YIELDING, at(0.5, STEPS[1]), at(1.6, END)],
        "a handler of a-1 ends 0.100 s after drain_timeout was over",
    ),
    Row(
        E,
        "closed",
        [joined(), YIELDING, attrs.evolve(LEAVING, detail="aclose"), STEPS[1], at(0.1, END)],
        "a handler of a-1 ends 0.100 s after it was left: aclose",
    ),
    Row(
        E,
        "closed, and settled before",
        [joined(), YIELDING, *verb("ack"), attrs.evolve(LEAVING, detail="aclose"), at(0.1, END)],
    ),
    Row(
        E,
        "closed, and renewed before",
        [joined(), YIELDING, *verb("renew"), attrs.evolve(LEAVING, detail="aclose"), at(0.1, END)],
        "a handler of a-1 ends 0.100 s after it was left: aclose",
    ),
    Row(
        E,
        "acked on arrival, and closed",
        [attrs.evolve(LEAVING, detail="aclose"), at(0.1, YIELDING), at(0.1, CANCELLED)],
    ),
    # 14
    Row(leaks.Leaks, "nothing", [joined(), START, END, LEFT], finish=places()),
    Row(
        leaks.Leaks,
        "a task",
        [say(What.LEAKED, detail="a task")],
        "web.1 left a task behind",
    ),
    Row(leaks.Leaks, "a handler", [joined(), START, LEFT], "handlers of a-1 still run: 1-0"),
    Row(
        leaks.Leaks,
        "an entry",
        [joined(), LEFT],
        "a-1 is gone, and still a consumer with 1 entries",
        look=places((ONE, A), holders=[A]),
    ),
    Row(
        leaks.Leaks,
        "not given back",
        [joined(), fault(What.REPLY_LOST), LEFT],
        finish=places((ONE, A), holders=[A]),
    ),
    # 15
    Row(progress.Progress, "all", [joined()], finish=places((ONE, DONE), (TWO, DEAD))),
    Row(
        progress.Progress,
        "one is left",
        [joined()],
        "orders/billing has not finished everything: 2-0 in ~due",
        finish=places((ONE, DONE), (TWO, DUE)),
    ),
    Row(
        progress.Progress,
        "some are left",
        [joined()],
        "orders/billing has not finished everything: 2 in work",
        finish=figures(1, work=2, done=0),
    ),
    # 16
    Row(batches.Batches, "in order", [published(ONE, batch=1), published(TWO, batch=1)]),
    Row(batches.Batches, "two batches", [published(TWO, batch=1), published(ONE, batch=2)]),
    Row(
        batches.Batches,
        "swapped",
        [published(TWO, "m1", batch=1), published(ONE, "m2", batch=1)],
        "'m2' stands behind 'm1' in its batch, and not in the stream (2-0)",
    ),
    Row(
        batches.Batches,
        "stored earlier",
        [published(TWO, batch=1), published(ONE, batch=1, detail="once")],
    ),
    # 18
    Row(
        reserved.Reserved,
        "in its place",
        [joined()],
        finish=places((ONE, DONE), letters=[letter()]),
    ),
    Row(
        reserved.Reserved,
        "forged",
        [joined()],
        "1-0 in 'orders' says of itself that it was buried",
        finish=places((ONE, DONE), record=letter()),
    ),
    # 19
    Row(
        errors.Errors,
        "told",
        [FAILED, say(What.ERROR, ONE, scope=Scope.HANDLER, detail="ValueError: no"), LEFT],
    ),
    Row(
        errors.Errors,
        "untold",
        [FAILED, LEFT],
        "a handler raised ValueError: no at 0.000 s, and nobody was told",
    ),
    Row(
        errors.Errors,
        "another type",
        [FAILED, say(What.ERROR, ONE, scope=Scope.HANDLER, detail="RuntimeError")],
        "a handler raised ValueError: no, and the observer is told RuntimeError",
    ),
    # 20
    Row(rate.Rate, "slow", [say(What.COMMAND, time=0.02 * number) for number in range(200)]),
    Row(
        rate.Rate,
        "hot",
        [say(What.COMMAND, time=0.01 * number) for number in range(200)],
        "a-1 sent 61 commands within a second, and 60 are allowed",
    ),
    # 8
    Row(order.Order, "one after another", [ordered(), first(ONE), END, first(TWO)]),
    Row(
        order.Order,
        "back",
        [ordered(), first(TWO), say(What.FAILED, TWO, attempt=1), first(ONE)],
        "1-0 starts after 2-0, which has the same key",
    ),
    Row(
        order.Order,
        "sent back",
        [ordered(), first(TWO), say(What.FAILED, TWO, attempt=1), REDRIVEN, first(ONE)],
    ),
    Row(
        order.Order,
        "beside",
        [ordered(), first(ONE), first(TWO)],
        "2-0 starts while a-1 runs 1-0, which has the same key",
    ),
    Row(order.Order, "of other keys", [ordered(), first(ONE), first(TWO, key="bob")]),
    Row(order.Order, "without keys", [ordered(), first(ONE, key=""), first(TWO, key="")]),
    Row(order.Order, "not in order", [joined(), first(TWO), first(ONE)]),
    Row(
        order.Order,
        "the first one is dead",
        [ordered(), first(ONE), say(What.DIED, consumer=""), first(TWO, consumer=B)],
    ),
    Row(
        order.Order,
        "leased elsewhere",
        [ordered(), member(), GIVEN, first(ONE), first(TWO, consumer=B, time=0.9)],
        "2-0 starts while a-1 runs 1-0, which has the same key",
    ),
    Row(
        order.Order,
        "the lease is over",
        [ordered(), member(), GIVEN, first(ONE), first(TWO, consumer=B, time=1.1)],
    ),
    Row(
        order.Order,
        "beside another one that is not witnessed",
        [ordered(), first(ONE), first(TWO, consumer=B)],
        "2-0 starts while a-1 runs 1-0, which has the same key",
    ),
    Row(
        order.Order,
        "told of its loss",
        [ordered(), first(ONE), told(Transition.LEASE_LOST), first(TWO, consumer=B)],
    ),
    Row(
        rate.Rate,
        "busy",
        [BEGUN, *(say(What.COMMAND, time=0.01 * number) for number in range(68))],
    ),
    # Transactions
    Row(
        effects.Effects,
        "with the ack",
        [TRANSACTS, member(), COMMITTED, *verb("commit")],
        look=outputs("a 0 2", "a 1 2"),
    ),
    Row(effects.Effects, "none, and none", [TRANSACTS, member(), ACKED], look=outputs()),
    Row(effects.Effects, "no transactions", [joined(), COMMITTED], look=outputs("a 0 2")),
    Row(
        effects.Effects,
        "before the ack",
        [TRANSACTS, member(), GIVEN],
        "1-0 has outputs, and was not acked with them in 'billing'",
        look=outputs("a 0 2", "a 1 2"),
    ),
    Row(
        effects.Effects,
        "with an ack of another",
        [TRANSACTS, member(), ACKED],
        "1-0 has outputs, and was not acked with them",
        look=outputs("a 0 2", "a 1 2"),
    ),
    Row(
        effects.Effects,
        "missing",
        [TRANSACTS, member(), COMMITTED],
        "1-0 was acked with 2 outputs, and none is there",
        look=outputs(),
    ),
    Row(
        effects.Effects,
        "a part",
        [TRANSACTS, member(), COMMITTED],
        "1-0 has outputs [0] of 2",
        look=outputs("a 0 2"),
    ),
    Row(
        effects.Effects,
        "out of order",
        [TRANSACTS, COMMITTED],
        "1-0 has outputs [1, 0] of 2",
        look=outputs("a 1 2", "a 0 2"),
    ),
    Row(
        effects.Effects,
        "twice by one",
        [TRANSACTS, COMMITTED],
        "1-0 has its outputs in 'billing' more than once",
        look=outputs("a 0 1", "a 0 1"),
    ),
    Row(
        effects.Effects,
        "once by each of two",
        [TRANSACTS, COMMITTED],
        "1-0 has its outputs in 'billing' more than once",
        look=outputs("a 0 1", "b 0 1"),
    ),
    Row(
        effects.Effects,
        "told, and it was not",
        [TRANSACTS, member(), GIVEN, *verb("commit")],
        "1-0 is told to be committed, and nobody has finished it",
    ),
    Row(effects.Effects, "finished by another", [TRANSACTS, member(), BURIED, *verb("commit")]),
    Row(effects.Effects, "another verb", [TRANSACTS, member(), *verb("renew")]),
    Row(effects.Effects, "unseen", [TRANSACTS, *verb("commit")]),
    Row(
        effects.Effects,
        "a new group",
        [TRANSACTS, member(), COMMITTED, DESTROYED, *verb("commit")],
        look=outputs("a 0 2", "a 1 2", "b 0 2"),
    ),
    Row(
        effects.Effects,
        "outputs of a new topic",
        [TRANSACTS, COMMITTED, attrs.evolve(fault(What.TOPIC_DELETED), topic="orders")],
        look=outputs("a 0 1", "b 0 1"),
    ),
    Row(
        effects.Effects,
        "outputs that were deleted",
        [TRANSACTS, COMMITTED, attrs.evolve(fault(What.DELETED, TWO), topic=OUTPUTS)],
        look=outputs(),
    ),
    Row(effects.Effects, "counted", [TRANSACTS, COMMITTED], look=output_figures(2)),
    Row(
        effects.Effects,
        "counted, and too few",
        [TRANSACTS, COMMITTED],
        "1 outputs are there, and 2 were acked with them",
        look=output_figures(1),
    ),
    # 0 and 6: what is taken in
    Row(
        pauses.Pauses,
        "resumed",
        [joined(), HALTED, CONTINUED, *commands("read", 1.0), START],
    ),
    Row(pauses.Pauses, "looks", [joined(), HALTED, *commands("look", 1.0)]),
    Row(pauses.Pauses, "acked before", [joined(config=RECEIVING), HALTED, START]),
    Row(pauses.Pauses, "starts", [joined(), HALTED, START], "starts at a-1, which is paused"),
    Row(
        pauses.Pauses,
        "claims",
        [joined(), HALTED, *commands("take_over", 1.0)],
        "a-1 is paused, and asks for more",
    ),
    Row(sizes.Sizes, "no bound", [joined(), GIVEN_TEN, BEGUN, *commands("read", 1.0)]),
    Row(
        sizes.Sizes,
        "less",
        [
            joined(config=attrs.evolve(CONFIG, max_in_flight_bytes=11)),
            *(GIVEN_TEN, BEGUN, *commands("read", 1.0)),
        ],
    ),
    Row(
        sizes.Sizes,
        "another topic has an entry of that id",
        [
            joined(config=TEN),
            attrs.evolve(GIVEN_TEN, size=9),
            attrs.evolve(GIVEN_TEN, topic="b", consumer="b-1"),
            *(BEGUN, *commands("read", 1.0)),
        ],
    ),
    Row(
        sizes.Sizes,
        "enough",
        [
            *(joined(config=TEN), GIVEN, GIVEN_TEN, BEGUN, *commands("look", 1.0)),
            *(told(Transition.ACKED), *commands("read", 1.0)),
        ],
    ),
    Row(
        sizes.Sizes,
        "too much",
        [joined(config=TEN), GIVEN_TEN, BEGUN, *commands("read", 1.0)],
        "a-1 holds 10 bytes of 10, and asks for more",
    ),
    # 10: everything fails
    Row(outages.Outages, "two in a row", [joined(config=WARY), *FELL, OUTAGE]),
    Row(
        outages.Outages,
        "one entry",
        [joined(config=WARY), FELL[0], FELL[0], OUTAGE],
        "1 entries failed in a row, and failure_threshold is 2",
    ),
    Row(
        outages.Outages,
        "not in a row",
        [joined(config=WARY), FELL[0], END, FELL[1], OUTAGE],
        "1 entries failed in a row",
    ),
    Row(
        outages.Outages,
        "settled by hand",
        [
            joined(config=WARY),
            FELL[0],
            asks("retry"),
            END,
            FELL[1],
            OUTAGE,
            FELL[0],
            told(Transition.RETRIED),
            OVER,
        ],
    ),
    Row(
        outages.Outages,
        "counted",
        [joined(config=WARY), *FELL, OUTAGE, FELL[0], told(Transition.RETRIED)],
        "failed in an outage, and that counts",
    ),
    Row(
        outages.Outages,
        "exhausted",
        [
            joined(config=WARY),
            *FELL,
            OUTAGE,
            FELL[0],
            told(Transition.DEAD_LETTERED, cause=DeathCause.EXHAUSTED),
        ],
        "failed in an outage, and that counts",
    ),
    Row(
        outages.Outages,
        "over",
        [joined(config=WARY), *FELL, OUTAGE, OVER, FELL[0], told(Transition.RETRIED)],
    ),
    Row(
        outages.Outages,
        "in turn",
        [
            joined(config=WARY),
            *FELL,
            OUTAGE,
            at(1, BEGUN),
            at(1, RELEASED),
            at(2, GIVEN),
            at(2, BEGUN),
            at(2, fault(What.FAULT)),
            at(2, say(What.ERROR, scope=Scope.READ)),
        ],
    ),
    Row(
        outages.Outages,
        "the same again, and the other one is a suspect",
        [
            *(joined(config=WARY), *FELL, OUTAGE, at_server(What.RELEASED, TWO), at(1, BEGUN)),
            *(at(1.5, at_server(What.SET_APART, TWO)), at(2, BEGUN)),
        ],
    ),
    Row(
        outages.Outages,
        "the same again",
        [
            joined(config=WARY),
            *FELL,
            OUTAGE,
            at_server(What.RELEASED, TWO),
            at(1, BEGUN),
            at(2, BEGUN),
        ],
        "is tried again, and",
    ),
    Row(T0, "complete", [PAIRED, BATCHES, *batch(0.0, ONE, TWO)]),
    Row(T0, "in time", [PAIRED, BATCHES, *batch(0.0, ONE, after=0.5)]),
    Row(T0, "it lay there", [PAIRED, attrs.evolve(BATCHES, time=2.0), *batch(0.0, ONE, after=2.5)]),
    Row(T0, "a handler of many", [PAIRED, *batch(0.0, ONE, TWO)]),
    Row(
        T0,
        "too many for its handler",
        [joined(), *batch(0.0, ONE, TWO)],
        "a batch has 2 deliveries, and 1 are allowed",
    ),
    Row(
        T0,
        "a handler that waits",
        [PAIRED, *batch(0.0, ONE, after=0.1)],
        "a batch waited for 0.100 s, and may for 0 s",
    ),
    Row(
        T0,
        "too large",
        [PAIRED, attrs.evolve(BATCHES, count=1), *batch(0.0, ONE, TWO)],
        "a batch has 2 deliveries, and 1 are allowed",
    ),
    Row(
        T0,
        "too late",
        [PAIRED, BATCHES, *batch(0.0, ONE, after=0.6)],
        "a batch waited for 0.600 s, and may for 0.5 s",
    ),
    Row(T0, "stood still", [PAIRED, BATCHES, fault(What.PAUSED), *batch(0.0, ONE, after=0.6)]),
    Row(
        T0,
        "too early",
        [PAIRED, BATCHES, *batch(0.0, ONE, after=0.1)],
        "a batch of 1 is there after 0.100 s: 2 would be complete, or 0.5 s",
    ),
    Row(
        T0,
        "a suspect",
        [PAIRED, BATCHES, told(Transition.SUSPECTED, delivery=None), *batch(0.0, ONE, after=0.1)],
    ),
    Row(T0, "tried again as it asked", [*batch(0.0, ONE), *verb("retry"), END, RETRIED]),
    Row(T0, "failed", [*batch(0.0, ONE), FAILED, RETRIED]),
    Row(T0, "left open too long", [joined(config=TIMED), *batch(0.0, ONE), END, RETRIED]),
    Row(
        T0,
        "another one's failure",
        [*batch(0.0, ONE), *verb("renew"), END, RETRIED],
        "its handler returned with 1-0, among others, and it is retried",
    ),
    Row(
        outages.Outages,
        "told twice",
        [*FELL, OUTAGE, OUTAGE],
        "what goes on is told to begin again",
    ),
    Row(S, "sent back", [member(), BURIED, REDRIVEN, GIVEN, START]),
    Row(S, "a copy", [member(), BURIED, COPIED, GIVEN], "1-0 is given again"),
    Row(A3, "sent back", [GIVEN, at_server(What.GIVEN, ONE, 2), REDRIVEN, GIVEN]),
    Row(
        A3,
        "goes on when sent back",
        [GIVEN, REDRIVEN, at_server(What.GIVEN, ONE, 2)],
        "attempt 2 of 1-0 should be 1",
    ),
    Row(D, "dead again", [member(), BURIED, REDRIVEN, BURIED]),
    Row(
        P,
        "sent back and lost",
        [published(ONE), OPENED, ACKED, REDRIVEN],
        "counts",
        quiet=places((ONE, DONE)),
    ),
    Row(P0, "sent back", [PAIRED, REDRIVEN, at(0.01, GIVEN)]),
    Row(
        P0,
        "sent back and late",
        [PAIRED, REDRIVEN, at(0.4, GIVEN)],
        "1-0 is due since 0.000 s, and a-1 is free",
    ),
    Row(
        hand_over.HandOver,
        "sent back and late",
        [PAIRED, REDRIVEN, *commands("read", 9.0)],
        "was given back at",
    ),
    Row(
        own_groups.OwnGroups,
        "a copy",
        [SENT, published(ONE), COPIED, attrs.evolve(START, entry_id=TWO)],
    ),
    Row(
        own_groups.OwnGroups,
        "two for one copy",
        [
            SENT,
            published(ONE),
            COPIED,
            *(attrs.evolve(START, entry_id=EntryId(it)) for it in (2, 3)),
        ],
        "'m1' has 3 entries, and was published 2 times",
    ),
    Row(W, "for another group", [COPIED, told(Transition.ACKED, TWO)]),
    Row(reserved.Reserved, "a copy", [COPIED], finish=places((ONE, DONE), record=letter())),
    Row(R0, "dead", [member(), BURIED], quiet=places(letters=[letter()])),
    Row(R0, "kept", [member(), BURIED], finish=places((ONE, DEAD))),
    Row(R0, "nowhere", [member(), BURIED], "1-0 is dead, and lies nowhere", quiet=places()),
    Row(R0, "deleted", [member(), BURIED, fault(What.DELETED, ONE)], quiet=places()),
    Row(R0, "it went with its group", [attrs.evolve(BURIED, group=OWN)], quiet=places()),
    Row(R0, "unseen", [member(), BURIED], quiet=figures()),
    Row(R0, "destroyed", [member(), BURIED, DESTROYED], quiet=places()),
    Row(R0, "sent back", [member(), BURIED, REDRIVEN], quiet=places((ONE, FREE))),
    Row(
        R0,
        "twice",
        [member(), BURIED, REDRIVEN, REDRIVEN],
        "1-0 is sent back, and was not dead",
    ),
    Row(R0, "of a group that nobody watches", [REDRIVEN]),
    Row(R0, "history", [member(), *AGAIN], quiet=places(letters=[letter() + letter()[1:]])),
    Row(
        R0,
        "no history",
        [member(), *AGAIN],
        "1-0 was given up 2 times, and its dead letter tells of 1",
        quiet=places(letters=[letter()]),
    ),
    Row(
        R0,
        "a copy for us",
        [member(), BURIED, COPIED, attrs.evolve(START, entry_id=TWO)],
        quiet=places((TWO, DONE), record=(*letter(), (ONLY, b"billing"))),
    ),
    Row(
        R0,
        "a copy for others",
        [member(), BURIED, COPIED, attrs.evolve(START, entry_id=TWO)],
        "2-0 is a copy for b'audit', and 'billing' started it",
        quiet=places((TWO, DONE), record=(*letter(), (ONLY, b"audit"))),
    ),
    # 0: everybody gets everything
    Row(
        fan_out.FanOut,
        "a whole life",
        [
            *(published(ONE), own(What.BEGUN, ONE, seconds=1.0), FANNED, published(TWO, "m2")),
            *(own(What.GIVEN, TWO), own(What.KEPT, time=0.5, seconds=1.0), OTHER),
            own(What.ACKED, TWO),
        ],
        look=own_places(),
        quiet=own_places(),
    ),
    Row(
        fan_out.FanOut,
        "somebody else's",
        [
            *(say(What.PUBLISHED), own(What.KEPT), own(What.GIVEN, ONE)),
            *(own(What.ACKED, ONE), COMPETES),
        ],
    ),
    Row(
        fan_out.FanOut,
        "passed over",
        [own(What.BEGUN, ONE), own(What.GIVEN, TWO), own(What.NO_EFFECT, TWO, detail="retry: no")],
        "2-0 counts as done in '~fan-a-1': nobody finished it",
        quiet=own_places(),
    ),
    Row(
        fan_out.FanOut,
        "acked when its group was gone",
        [own(What.BEGUN, ONE), own(What.GIVEN, TWO), own(What.NO_EFFECT, TWO, detail="ack: lost")],
        quiet=own_places(),
    ),
    Row(
        fan_out.FanOut,
        "held",
        [own(What.BEGUN, ONE), own(What.GIVEN, TWO)],
        quiet=own_places(A),
    ),
    Row(fan_out.FanOut, "unknown", look=own_places(), quiet=own_places()),
    Row(
        fan_out.FanOut,
        "the past",
        [published(ONE), own(What.BEGUN, ZERO, seconds=1.0), FANNED],
        "begins after 0-0, and not with what is new",
    ),
    Row(
        fan_out.FanOut,
        "the past is wanted",
        [published(ONE), own(What.BEGUN, ZERO, seconds=1.0), attrs.evolve(FANNED, config=OLD)],
    ),
    Row(
        fan_out.FanOut,
        "missed",
        [own(What.BEGUN, ZERO, seconds=1.0), FANNED, own(What.GIVEN, TWO)],
        "1-0 was never given to '~fan-a-1'",
        quiet=own_places(),
    ),
    Row(
        fan_out.FanOut,
        "missed, by what was confirmed",
        [own(What.BEGUN, ZERO, seconds=1.0), FANNED, published(ONE), own(What.GIVEN, TWO)],
        "1-0 was never given to '~fan-a-1'",
        quiet=own_figures(),
    ),
    Row(
        fan_out.FanOut,
        "deleted before",
        [own(What.BEGUN, ZERO, seconds=1.0), FANNED, published(ONE), fault(What.DELETED, ONE)],
        quiet=own_figures(),
    ),
    Row(
        fan_out.FanOut,
        "begins anew",
        [own(What.BEGUN, ONE, seconds=1.0), own(What.BEGUN, ONE, time=1.5, seconds=1.0)],
    ),
    Row(
        fan_out.FanOut,
        "removed while it was kept",
        [
            *(own(What.BEGUN, ONE, seconds=1.0), own(What.KEPT, time=0.5, seconds=1.0)),
            own(What.BEGUN, ONE, time=1.4, seconds=1.0),
        ],
        "'~fan-a-1' was removed, and is kept until 1.500 s",
    ),
    Row(
        fan_out.FanOut,
        "destroyed while it was kept",
        [
            *(own(What.BEGUN, ONE, seconds=1.0), say(What.GROUP_DESTROYED, group=OWN)),
            own(What.BEGUN, ONE, time=0.1, seconds=1.0),
        ],
    ),
    Row(
        fan_out.FanOut,
        "of a topic that was deleted",
        [
            *(published(TWO), own(What.BEGUN, ONE, seconds=1.0)),
            attrs.evolve(fault(What.TOPIC_DELETED), group=""),
            *(own(What.BEGUN, ZERO, time=0.1, seconds=1.0), FANNED),
        ],
    ),
    Row(
        fan_out.FanOut,
        "kept by nobody",
        [own(What.BEGUN, ONE, seconds=1.0), OTHER, OTHER, attrs.evolve(OTHER, topic="bills")],
        "'~fan-a-1' is there, and was kept until 1.000 s",
        look=own_places(),
    ),
    Row(
        fan_out.FanOut,
        "kept again",
        [own(What.BEGUN, ONE, seconds=1.0), OTHER, own(What.KEPT, time=2.0, seconds=1.0), OTHER],
        look=own_places(),
    ),
    Row(
        fan_out.FanOut,
        "left",
        [own(What.BEGUN, ONE, seconds=1.0), FANNED, attrs.evolve(LEFT, group=OWN)],
        "'~fan-a-1' is there, and its subscription was left",
        finish=own_places(),
    ),
    Row(
        fan_out.FanOut,
        "left while something was wrong",
        [own(What.BEGUN, ONE), fault(What.FAULT), attrs.evolve(LEFT, group=OWN)],
        finish=own_places(),
    ),
    # 17
    Row(
        retained.Retained,
        "finished by all",
        [joined(config=TIDY), member(), ACKED, REMOVED, REMOVED],
        finish=places((TWO, DONE)),
    ),
    Row(
        retained.Retained,
        "in a dead-letter topic",
        [joined(config=TIDY), member(), BURIED, REMOVED],
    ),
    Row(
        retained.Retained,
        "too old",
        [joined(config=TIDY), ACKED, attrs.evolve(REMOVED, count=0, seconds=9.5)],
    ),
    Row(
        retained.Retained,
        "a private group that nobody kept",
        [joined(config=TIDY), *KEPT, attrs.evolve(REMOVED, time=1.5)],
    ),
    Row(
        retained.Retained,
        "a private group that goes",
        [
            *(joined(config=TIDY), *KEPT),
            *(told(Transition.DRAINING, delivery=None, group=OWN), REMOVED),
        ],
    ),
    Row(
        retained.Retained,
        "a private group that is renewed while it goes",
        [
            *(joined(config=TIDY), told(Transition.DRAINING, delivery=None, group=OWN)),
            *(*KEPT, attrs.evolve(REMOVED, time=0.5)),
        ],
    ),
    Row(
        retained.Retained,
        "a private group that begins behind it",
        [joined(config=TIDY), *KEPT, own(What.BEGUN, ONE, seconds=1.0), REMOVED],
    ),
    Row(
        retained.Retained,
        "a private group that is kept",
        [joined(config=TIDY), *KEPT, attrs.evolve(REMOVED, time=0.5)],
        "1-0 is removed, and ~fan-a-1 has not finished it",
    ),
    Row(retained.Retained, "declared", [joined(config=LOSSY), member(), REMOVED]),
    Row(
        retained.Retained,
        "nobody sees which",
        [joined(config=TIDY), member(), attrs.evolve(REMOVED, entry_id=None)],
        finish=figures(3),
    ),
    Row(
        retained.Retained,
        "of a deleted topic",
        [joined(config=TIDY), member(), fault(What.TOPIC_DELETED), REMOVED],
        finish=places((ONE, DONE), (TWO, DONE)),
    ),
    Row(
        retained.Retained,
        "unfinished behind",
        [joined(config=TIDY)],
        finish=places((ONE, DEAD), (TWO, DONE), (EntryId(3), DONE)),
    ),
    Row(
        retained.Retained,
        "bounded by age alone",
        [joined(config=attrs.evolve(CONFIG, retention=Retention(max_age=9.0)))],
        finish=places((ONE, DONE), (TWO, DONE)),
    ),
    Row(
        retained.Retained,
        "unfinished",
        [joined(config=TIDY), member(), REMOVED],
        "1-0 is removed, and billing has not finished it",
    ),
    Row(
        retained.Retained,
        "kept as dead",
        [joined(config=KEEPING_DEAD), member(), BURIED, REMOVED],
        "1-0 is removed, and billing has not finished it",
    ),
    Row(
        retained.Retained,
        "unfinished by another",
        [
            *(joined(config=TIDY), member(), ACKED),
            *(attrs.evolve(member(B), group="shipping"), REMOVED),
        ],
        "1-0 is removed, and shipping has not finished it",
    ),
    Row(
        retained.Retained,
        "within its bounds",
        [joined(config=TIDY), ACKED, attrs.evolve(REMOVED, count=0)],
        "1-0 is removed, and is within Retention(",
    ),
    Row(
        retained.Retained,
        "nobody wants it",
        [joined(), ACKED, REMOVED],
        "billing removes entries, and has no retention",
    ),
    Row(
        retained.Retained,
        "one too many is left",
        [joined(config=TIDY)],
        "all have finished 1-0, and billing has not removed it",
        finish=places((ONE, DONE), (TWO, DONE)),
    ),
    Row(
        retained.Retained,
        "declared, and settled by whoever has it",
        [joined(config=LOSSY), member(), GIVEN, REMOVED, ACKED],
        finish=places((TWO, DONE)),
    ),
    Row(
        retained.Retained,
        "declared, and told",
        [
            *(joined(config=LOSSY), member(), GIVEN, REMOVED),
            *(at_server(What.DROPPED, ONE), told(Transition.VANISHED)),
        ],
        finish=places((TWO, DONE)),
    ),
    Row(
        retained.Retained,
        "declared, and something went wrong",
        [joined(config=LOSSY), member(), GIVEN, REMOVED, fault(What.FAULT)],
        finish=places((TWO, DONE)),
    ),
    Row(
        retained.Retained,
        "declared, where the dead are kept",
        [joined(config=LOSSY_KEEPING), member(), GIVEN, BURIED, REMOVED],
        finish=places((TWO, DONE)),
    ),
    Row(
        retained.Retained,
        "declared, and within its bounds",
        [joined(config=LOSSY), member(), attrs.evolve(REMOVED, count=0)],
        "1-0 is removed, and is within Retention(",
    ),
    Row(
        retained.Retained,
        "declared, and not told",
        [joined(config=LOSSY), member(), GIVEN, REMOVED, at_server(What.DROPPED, ONE)],
        "1-0 is removed, and billing was told of no end",
        finish=places((TWO, DONE)),
    ),
    Row(
        retained.Retained,
        "declared, and one too many is left",
        [joined(config=LOSSY)],
        "1-0, and billing has not removed it",
        finish=places((ONE, DEAD), (TWO, DONE)),
    ),
    Row(
        tenure.Tenure,
        "what a retention removed needs no lease",
        [*HELD_ALONE, REMOVED, attrs.evolve(END, time=1.5)],
    ),
    Row(
        tenure.Tenure,
        "what it removed is not seen",
        [*HELD_ALONE, attrs.evolve(REMOVED, entry_id=None), attrs.evolve(END, time=1.5)],
        "a handler of a-1 ends 0.500 s after its lease",
    ),
    Row(
        leases.Leases,
        "what a retention removed nobody holds",
        [member(), member(B), GIVEN, REMOVED, at_server(What.GIVEN, ONE, consumer=B)],
    ),
    Row(
        leases.Leases,
        "a retention removed something",
        [
            *(member(), member(B), GIVEN, attrs.evolve(REMOVED, entry_id=None)),
            at_server(What.GIVEN, ONE, consumer=B),
        ],
        "1-0 is given while a-1 has it",
    ),
    # 4
    Row(expiry.Expiry, "in time", [EXPIRING, attrs.evolve(START, time=0.9, expires=1.0)]),
    Row(expiry.Expiry, "never", [published(ONE), START]),
    Row(
        expiry.Expiry,
        "dead",
        [
            *(EXPIRING, published(TWO, "m2"), joined(), BEGUN, EXPIRED),
            at_server(What.BURIED, ONE, time=1.0, cause=DeathCause.EXPIRED),
            *(DEAD_LETTER, attrs.evolve(told(Transition.ACKED), delivery=2)),
        ],
    ),
    Row(
        expiry.Expiry,
        "acked, where the dead have no topic",
        [
            *(EXPIRING, joined(config=KEEPING_DEAD), BEGUN, EXPIRED),
            told(Transition.ACKED, cause=DeathCause.EXPIRED),
        ],
    ),
    Row(
        expiry.Expiry,
        "not confirmed",
        [EXPIRING, joined(), BEGUN, EXPIRED, told(Transition.UNCONFIRMED)],
    ),
    Row(
        expiry.Expiry,
        "acked on arrival",
        [EXPIRING, joined(config=RECEIVING), BEGUN, told(Transition.ACKED), EXPIRED],
    ),
    Row(
        expiry.Expiry,
        "of a topic that was deleted",
        [
            *(
                published(ONE),
                attrs.evolve(published(ONE), entry_id=None),
                fault(What.TOPIC_DELETED),
            ),
            *(EXPIRED, attrs.evolve(EXPIRED, delivery=None), told(Transition.EXPIRED, TWO)),
        ],
    ),
    Row(
        expiry.Expiry,
        "too late",
        [EXPIRING, attrs.evolve(START, time=1.1, expires=1.0)],
        "1-0 ('m1') starts at 1.100 s, and has expired at 1.000 s",
    ),
    Row(
        expiry.Expiry,
        "buried too early",
        [EXPIRING, BURIED, at_server(What.BURIED, ONE, time=0.9, cause=DeathCause.EXPIRED)],
        "1-0 is given up as expired, and expires at 1.000 s",
    ),
    Row(
        expiry.Expiry,
        "told without a reason",
        [published(ONE), EXPIRED],
        "1-0 is given up as expired, and expires never",
    ),
    Row(
        expiry.Expiry,
        "tried again",
        [EXPIRING, joined(), BEGUN, EXPIRED, told(Transition.RETRIED)],
        "1-0 has expired, and is kept for later",
    ),
    Row(
        expiry.Expiry,
        "rejected",
        [EXPIRING, joined(), EXPIRED, attrs.evolve(DEAD_LETTER, cause=DeathCause.REJECTED)],
        "1-0 has expired, and is dead for another reason",
    ),
    Row(
        expiry.Expiry,
        "acked",
        [EXPIRING, joined(), EXPIRED, told(Transition.ACKED)],
        "1-0 has expired, and is in no dead-letter topic",
    ),
    # 0
    *(
        Row(
            promptness.Promptness,
            f"what is new, {name}",
            [*before, published(ONE), at(0.05, GIVEN)],
            says,
        )
        for name, before, says in (
            ("and nobody is there", [], ""),
            ("while nobody is free", [joined(), member(), BEGUN], ""),
            ("after a fault", [joined(), member(), fault(What.FAULT)], ""),
            ("where an order is kept", [ordered(), member()], ""),
            (
                "that waits for company",
                [joined(), member()],
                "1-0 is there since 0.000 s, and somebody is free since 0.000 s",
            ),
        )
    ),
    Row(
        promptness.Promptness,
        "what is new, and under an id that nobody was told",
        [joined(), member(), attrs.evolve(published(ONE), entry_id=None), at(0.05, GIVEN)],
    ),
    Row(
        promptness.Promptness,
        "what is new, where entries may vanish",
        [joined(config=LOSSY), member(), published(ONE), at(0.05, GIVEN)],
    ),
    Row(
        together.Together,
        "the first of which expired when it began",
        [
            *(joined(), say(What.BATCHING, batch=1, count=2, seconds=1.0)),
            *(at(0.5, BEGUN), at(1.0, told(Transition.EXPIRED, TWO))),
            say(What.BATCHED, ONE, time=1.0, delivery=1, batch=1, count=1),
        ],
    ),
    Row(P, "removed when finished", [published(ONE), REMOVED], look=places()),
    Row(
        P,
        "removed, and counted",
        [published(ONE), attrs.evolve(REMOVED, entry_id=None, count=1)],
        look=figures(0),
    ),
]


def _judge(row: Row) -> None:
    judge = Judge([row.rule])
    for line in row.lines:
        judge.hear(line)
    steps: list[tuple[Callable[[Places], None], Places | None]] = [
        (judge.look, row.look),
        (judge.quiet, row.quiet),
        (judge.finish, row.finish),
    ]
    for step, seen in steps:
        if seen is not None:
            step(seen)


@pytest.mark.parametrize("row", ROWS, ids=lambda row: f"{row.rule.number}-{row.name}")
def test_an_invariant_holds_or_breaks(row: Row) -> None:
    if not row.says:
        _judge(row)
        return
    with pytest.raises(InvariantBroken) as caught:
        _judge(row)
    broken = caught.value
    assert row.says in broken.words
    assert (broken.number, broken.name) == (row.rule.number, row.rule.name)
    assert str(broken).startswith(f"invariant {row.rule.number}, {row.rule.name}: ")


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.name)
def test_each_rule_can_hold_and_can_break(rule: type[Rule]) -> None:
    found = {bool(row.says) for row in ROWS if row.rule is rule}
    assert found == {True, False}


def test_where_time_is_real_a_lease_may_be_lost_by_being_slow() -> None:
    judge = Judge([leases.Leases], punctual=False)
    for line in (joined(), BEGUN, told(Transition.LEASE_LOST)):
        judge.hear(line)


def test_what_each_rule_allows_the_others_allow_too() -> None:
    """A judge with all rules hears a whole life."""
    judge = Judge()
    life = [
        *(PUBLISHING, published(ONE), say(What.OPENING, config=CONFIG), member(), STEPS[0]),
        *(joined(), GIVEN, BEGUN, told(Transition.STARTED), START, END),
        *(told(Transition.FINISHED), ACKED, told(Transition.ACKED), LEAVING, STEPS[1], CLOSED),
        LEFT,
    ]
    for line in life:
        judge.hear(line)
    judge.quiet(places((ONE, DONE)))
    judge.finish(places((ONE, DONE)))
    assert judge.rule(lives.Lives).told(A) == 1


def test_the_manual_has_a_row_for_each_rule() -> None:
    """The table says the number, the class, what it is seen by and what weakens it."""
    text = Path(inspect.getfile(Judge)).parents[3] / "docs" / "invariants.rst"
    manual = " ".join(text.read_text().split())
    for rule in RULES:
        row = f"* - {rule.number} - {rule.name} -"
        assert row in manual
        _, _, rest = manual.partition(row)
        cells = rest.partition("* - ")[0]
        assert f"``{rule.__name__}``" in cells
        for words in rule.seen_by, rule.weakened_by:
            assert words in cells
