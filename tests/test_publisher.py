"""Publishing that fails: what is tried again, for how long, and what is said; in virtual time."""

from __future__ import annotations

from collections.abc import Sequence

import attrs
import pytest
import trio
import trio.testing
from trio.testing import MockClock

from tests.faults import FlakyBackend
from tests.harness import Recorder
from trio_bus import (
    Bus,
    BusClosed,
    BusError,
    BusOptions,
    Confirmation,
    ConnectionLost,
    EntryId,
    FieldsCodec,
    Guarantee,
    MemoryBackend,
    Message,
    NotPersisted,
    OutcomeUnknown,
    PublishError,
    PublishOptions,
    RemoteError,
    Scope,
    Unsupported,
    ValidationError,
    WrongType,
    open_bus,
)
from trio_bus._fields import DATA
from trio_bus._publisher import TRANSIENT
from trio_bus.abc import Once, Record
from trio_bus.testing import Done

PERSISTED = PublishOptions(confirmation=Confirmation.PERSISTED)
ONCE = PublishOptions(confirmation=Confirmation.PERSISTED, guarantee=Guarantee.EXACTLY_ONCE)


@attrs.define
class Desk:
    """A bus, and what its observer heard."""

    bus: Bus
    recorder: Recorder

    @property
    def heard(self) -> list[type[BaseException]]:
        """The errors that the observer heard; all of them of publishing."""
        assert {event.scope for event in self.recorder.errors} <= {Scope.PUBLISH}
        assert {event.topic for event in self.recorder.errors} <= {"orders", "others"}
        return [type(event.error) for event in self.recorder.errors]

    async def length(self, topic: str = "orders") -> int:
        """Count the entries."""
        return (await self.bus.info(topic)).length


def desk(
    backend: FlakyBackend, *, publish_timeout: float = 30.0, dedup_window: float = 120.0
) -> Desk:
    """Make a bus on that backend."""
    recorder = Recorder()
    options = BusOptions(
        observer=recorder, publish_timeout=publish_timeout, dedup_window=dedup_window
    )
    return Desk(Bus(backend, options), recorder)


def plain(payload: bytes = b"", topic: str = "orders") -> Message:
    """Make a message without an idempotency key."""
    return Message(topic, payload)


def keyed(key: str = "a", payload: bytes = b"", topic: str = "orders") -> Message:
    """Make a message with one."""
    return Message(topic, payload, idempotency_key=key)


class Script(FlakyBackend):
    """A backend that answers appends as a test wrote down: a store, or an error, for each record.

    None stands for what the memory backend answers; an error is raised after storing if it is an
    `OutcomeUnknown`. Past the end of the script, everything is stored.
    """

    def __init__(self, rounds: list[list[Exception | None]]) -> None:
        super().__init__()
        self.rounds = rounds
        self.sent: list[list[bytes]] = []

    async def append(
        self, topic: str, records: Sequence[Record], once: Sequence[Once | None] = ()
    ) -> list[EntryId | Exception]:
        """Follow the script."""
        self.sent.append([dict(record).get(DATA, b"") for record in records])
        answers = self.rounds.pop(0) if self.rounds else [None] * len(records)
        how = once or (None,) * len(records)
        found: list[EntryId | Exception] = []
        for record, one, answer in zip(records, how, answers, strict=True):
            if answer is None or isinstance(answer, OutcomeUnknown):
                found += await self.inner.append(topic, [record], [one])
            if isinstance(answer, Exception):
                found[-1 if isinstance(answer, OutcomeUnknown) else len(found) :] = [answer]
        return found


class Slow(FlakyBackend):
    """A backend that waits for a connection, and gets none."""

    async def append(
        self, topic: str, records: Sequence[Record], once: Sequence[Once | None] = ()
    ) -> list[EntryId | Exception]:
        """Fail, late."""
        await trio.sleep(10)
        self.fail("append", ConnectionLost("no connection for 10 s"))
        return await FlakyBackend.append(self, topic, records, once)


@pytest.mark.parametrize("code", sorted(TRANSIENT))
async def test_refusals_that_heal_are_tried_again(
    autojump_clock: MockClock, flaky: FlakyBackend, code: str
) -> None:
    """They come before anything is done; each is heard of once."""
    here = desk(flaky)
    flaky.fail("append", *[RemoteError(f"{code} not now")] * 3)
    await here.bus.publish(plain())
    assert here.heard == [RemoteError] * 3
    assert await here.length() == 1


@pytest.mark.parametrize(
    "error",
    [RemoteError("OOM full"), WrongType("WRONGTYPE no"), RemoteError("ERR what"), Unsupported("E")],
    ids=str,
)
async def test_other_refusals_are_raised_at_once(
    autojump_clock: MockClock, flaky: FlakyBackend, error: BusError
) -> None:
    """With or without a key."""
    here = desk(flaky)
    for message in plain(), keyed():
        flaky.fail("append", error)
        with pytest.raises(type(error)):
            await here.bus.publish(message)
    assert here.heard == [type(error)] * 2
    assert trio.current_time() == 0
    assert await here.length() == 0


async def test_no_connection_is_waited_for(autojump_clock: MockClock, flaky: FlakyBackend) -> None:
    """Nothing was sent, so that a key is not needed."""
    here = desk(flaky)
    flaky.fail("append", *[ConnectionLost("down")] * 5)
    await here.bus.publish(plain())
    assert await here.length() == 1
    assert here.heard == [ConnectionLost] * 5


@pytest.mark.parametrize("done", [Done.NOTHING, Done.EVERYTHING])
async def test_an_unknown_outcome_is_tried_again_only_with_a_key(
    autojump_clock: MockClock, flaky: FlakyBackend, done: Done
) -> None:
    """Without one it is raised at once; with one it is stored once, whatever had happened."""
    here = desk(flaky)
    flaky.fail("append", OutcomeUnknown("no answer"), done=done)
    with pytest.raises(OutcomeUnknown):
        await here.bus.publish(plain())
    assert await here.length() == (done is Done.EVERYTHING)
    assert trio.current_time() == 0
    before = await here.length()
    flaky.fail("append", *[OutcomeUnknown("no answer")] * 3, done=done)
    first = await here.bus.publish(keyed())
    assert await here.bus.publish(keyed()) == first
    assert await here.length() == before + 1
    assert here.heard == [OutcomeUnknown] * 4


@pytest.mark.parametrize("timeout", [0.0, 0.5, 30.0])
async def test_time_is_up_after_publish_timeout(
    autojump_clock: MockClock, flaky: FlakyBackend, timeout: float
) -> None:
    """The last error is raised; the last attempt is made when the time is up, 0 means one."""
    here = desk(flaky, publish_timeout=timeout)
    flaky.fail("append", *[ConnectionLost("down")] * 1000)
    with pytest.raises(ConnectionLost, match="down") as caught:
        await here.bus.publish(plain())
    assert type(caught.value) is ConnectionLost
    assert trio.current_time() == pytest.approx(timeout)
    calls = flaky.calls["append"]
    assert calls == 1 if not timeout else 1 < calls < 100
    assert here.heard == [ConnectionLost] * calls
    assert here.recorder.errors[-1].error is caught.value


async def test_attempts_that_take_long_use_up_the_time(
    autojump_clock: MockClock, flaky: FlakyBackend
) -> None:
    """No attempt begins past it."""
    here = desk(Slow(), publish_timeout=25)
    with pytest.raises(ConnectionLost):
        await here.bus.publish(plain())
    assert 30 <= trio.current_time() <= 35 + 1e-6
    start = trio.current_time()
    outcome = await here.bus.publish_batch([plain(topic=t) for t in ("orders", "others")])
    assert [type(result) for result in outcome.results] == [ConnectionLost] * 2
    assert outcome.results[0] is not outcome.results[1]
    assert trio.current_time() - start < 50


async def test_the_last_pause_ends_at_the_timeout_whenever_it_began(
    autojump_clock: MockClock, flaky: FlakyBackend
) -> None:
    """A rest that rounding left over would be waited for again and again, without end."""
    here = desk(flaky, publish_timeout=2.0)
    for n in range(300):
        await trio.sleep(1 / (n + 3))
        flaky.fail("append", *[ConnectionLost("down")] * 1000)
        with pytest.raises(ConnectionLost):
            await here.bus.publish(plain())
        flaky.heal()


async def test_many_topics_without_a_connection_do_not_take_many_times_as_long(
    autojump_clock: MockClock,
) -> None:
    """Once the time is up, the rest is not tried; each message has an error of its own."""
    bus = Bus(Slow(), BusOptions(observer=Recorder(), publish_timeout=0))
    outcome = await bus.publish_batch([plain(topic=f"t{n}") for n in range(100)])
    assert {type(result) for result in outcome.results} == {ConnectionLost}
    assert len(set(map(id, outcome.results))) == 100
    assert trio.current_time() == 10


async def test_a_key_is_not_used_past_its_window(
    autojump_clock: MockClock, flaky: FlakyBackend
) -> None:
    """An attempt that might store it a second time is not made."""
    here = desk(flaky, dedup_window=2.0)
    flaky.fail("append", *[OutcomeUnknown("no answer")] * 1000, done=Done.EVERYTHING)
    with pytest.raises(OutcomeUnknown):
        await here.bus.publish(keyed())
    assert trio.current_time() < 2.0
    assert await here.length() == 1
    flaky.heal()
    # Also where an attempt in between met something else.
    flaky.fail("append", OutcomeUnknown("no answer"), done=Done.EVERYTHING)
    flaky.fail("append", *[ConnectionLost("down")] * 1000)
    with pytest.raises(OutcomeUnknown):
        await here.bus.publish(keyed("b"))
    assert await here.length() == 2


@pytest.mark.parametrize("last", [RemoteError("OOM full"), ConnectionLost("down")], ids=str)
async def test_what_may_have_happened_is_not_denied_later(
    autojump_clock: MockClock, flaky: FlakyBackend, last: BusError
) -> None:
    """A later refusal says nothing about the first attempt: it may be stored, and here it is."""
    here = desk(flaky, publish_timeout=1.0)
    flaky.fail("append", OutcomeUnknown("no answer"), done=Done.EVERYTHING)
    flaky.fail("append", *[last] * 1000)
    with pytest.raises(OutcomeUnknown, match=str(last)) as caught:
        await here.bus.publish(keyed())
    assert type(caught.value.__cause__) is type(last)
    assert await here.length() == 1
    assert here.heard[0] is OutcomeUnknown
    assert here.heard[-1] is OutcomeUnknown
    assert len(here.heard) == flaky.calls["append"]


async def test_cancelled_between_two_attempts_nothing_more_is_sent(
    autojump_clock: MockClock, flaky: FlakyBackend
) -> None:
    """Neither of one message nor of a batch; the bus goes on."""
    here = desk(flaky)
    for publish in (
        lambda: here.bus.publish(keyed()),
        lambda: here.bus.publish_batch([keyed("x"), plain()]),
    ):
        flaky.fail("append", ConnectionLost("down"))
        with trio.CancelScope() as scope:
            async with trio.open_nursery() as nursery:

                async def run() -> None:
                    await publish()  # noqa: B023 - it ends within the loop

                nursery.start_soon(run)
                with trio.CancelScope(shield=True):
                    await trio.testing.wait_all_tasks_blocked()
                nursery.cancel_scope.cancel()
        assert not scope.cancelled_caught
        await trio.sleep(60)
        assert await here.length() == 0
    assert flaky.calls["append"] == 2
    await here.bus.publish(plain())


async def test_a_bus_that_is_closed_meanwhile_tries_no_more(
    autojump_clock: MockClock, flaky: FlakyBackend
) -> None:
    """It says so."""
    here = desk(flaky)
    flaky.fail("append", *[ConnectionLost("down")] * 100)
    async with trio.open_nursery() as nursery:

        async def close() -> None:
            await trio.sleep(1)
            here.bus.close()

        nursery.start_soon(close)
        with pytest.raises(BusClosed):
            await here.bus.publish(plain())


OK = None
LOST, REFUSED = ConnectionLost("down"), RemoteError("BUSY not now")
UNKNOWN, NEVER = OutcomeUnknown("no answer"), WrongType("WRONGTYPE no")


@pytest.mark.parametrize(
    ("keys", "first", "second"),
    [
        # What stands behind the last one that is stored.
        ("---", [OK, LOST, LOST], [b"1", b"2"]),
        ("---", [LOST, LOST, LOST], [b"0", b"1", b"2"]),
        ("---", [REFUSED, OK, REFUSED], [b"2"]),
        ("aaa", [REFUSED, OK, REFUSED], [b"2"]),
        # What may be stored counts as stored, and only a key lets it be tried again.
        ("---", [REFUSED, UNKNOWN, LOST], [b"2"]),
        ("-b-", [REFUSED, UNKNOWN, LOST], [b"1", b"2"]),
        ("ab-", [UNKNOWN, UNKNOWN, LOST], [b"0", b"1", b"2"]),
        ("a--", [UNKNOWN, UNKNOWN, LOST], [b"0", b"2"]),
        # What cannot be stored stands in nobody's way.
        ("---", [LOST, NEVER, LOST], [b"0", b"2"]),
        ("---", [NEVER, OK, NEVER], None),
        ("---", [UNKNOWN, UNKNOWN, UNKNOWN], None),
    ],
)
async def test_a_batch_is_tried_again_in_its_order(
    autojump_clock: MockClock,
    keys: str,
    first: list[Exception | None],
    second: list[bytes] | None,
) -> None:
    """Nothing is sent again that would overtake; each result is its own."""
    backend = Script(rounds=[list(map(_anew, first))])
    here = desk(backend)
    batch = [
        plain(b"%d" % place) if key == "-" else keyed(f"{key}{place}", b"%d" % place)
        for place, key in enumerate(keys)
    ]
    outcome = await here.bus.publish_batch(batch)
    assert backend.sent[1:] == ([] if second is None else [second])
    for place, (result, answer) in enumerate(zip(outcome.results, first, strict=True)):
        good = answer is None or (second is not None and b"%d" % place in second)
        assert isinstance(result, EntryId) is good, (place, result)
        if not good and isinstance(answer, Exception):
            assert type(result) is type(answer)
    stored = [result for result in outcome.results if isinstance(result, EntryId)]
    assert stored == sorted(set(stored))


def _anew(answer: Exception | None, /) -> Exception | None:
    return type(answer)(*answer.args) if isinstance(answer, Exception) else answer


async def test_the_observer_hears_of_each_attempt_of_a_batch_once(
    autojump_clock: MockClock, flaky: FlakyBackend
) -> None:
    """Once for a topic where it is tried again, and of each message in the end."""
    here = desk(flaky, publish_timeout=0.0)
    flaky.fail("append", *[ConnectionLost("down")] * 2)
    outcome = await here.bus.publish_batch([plain(), plain(), plain(topic="others")])
    assert here.heard == [ConnectionLost] * 3
    with pytest.raises(PublishError):
        outcome.raise_errors()
    here = desk(flaky)
    flaky.heal()
    flaky.fail("append", *[ConnectionLost("down")] * 4)
    batch = [plain(), plain(), plain(topic="others"), plain(topic="others")]
    (await here.bus.publish_batch(batch)).raise_errors()
    assert [event.topic for event in here.recorder.errors] == ["orders", "others"] * 2


@pytest.mark.guards("a batch shares one key")
async def test_duplicates_within_a_batch(autojump_clock: MockClock, flaky: FlakyBackend) -> None:
    """Both results are the first id; the same key in another topic is another key."""
    here = desk(flaky)
    batch = [keyed("a"), plain(), keyed("a"), keyed("a", topic="others"), keyed("b")]
    outcome = await here.bus.publish_batch(batch)
    outcome.raise_errors()
    one, two, three, other, four = outcome.results
    assert one == three
    assert len({one, two, four}) == 3
    assert (await here.length(), await here.length("others")) == (3, 1)
    assert isinstance(other, EntryId)


async def test_the_same_message_published_twice_is_stored_once(backend_url: str) -> None:
    """By whichever process, alone or in a batch, with or without waiting: the first id."""
    async with open_bus(backend_url) as bus:
        other = Bus(bus.backend)
        first = await bus.publish(keyed("a", b"one"))
        assert await other.publish(keyed("a", b"two")) == first
        outcome = await other.publish_batch([keyed("b"), keyed("a"), plain(), keyed("b")])
        outcome.raise_errors()
        one, two, three, four = outcome.results
        assert two == first
        assert one == four != three
        bus.publish_nowait(keyed("a"))
        await bus.publish(plain())
        assert (await bus.info("orders")).length == 4


async def test_a_key_is_remembered_for_dedup_window(
    autojump_clock: MockClock, flaky: FlakyBackend
) -> None:
    """Not longer."""
    here = desk(flaky, dedup_window=5.0)
    first = await here.bus.publish(keyed())
    await trio.sleep(4.9)
    assert await here.bus.publish(keyed()) == first
    await trio.sleep(0.2)
    assert await here.bus.publish(keyed()) > first


async def test_an_empty_key_is_refused(flaky: FlakyBackend) -> None:
    """It would make duplicates of all messages whose key was forgotten."""
    here = desk(flaky)
    with pytest.raises(ValidationError, match=r"^idempotency_key: ''"):
        await here.bus.publish(keyed(""))
    outcome = await here.bus.publish_batch([keyed(""), plain()])
    assert isinstance(outcome.results[0], ValidationError)
    assert isinstance(outcome.results[1], EntryId)
    with pytest.raises(ValidationError, match=r"^idempotency_key: ''"):
        here.bus.publish_nowait(keyed(""))


async def test_a_key_and_thousands_of_fields_are_refused(flaky: FlakyBackend) -> None:
    """Before anything is sent; without the key they are stored. Our codecs write few fields."""

    class Wide(FieldsCodec):
        def encode(self, message: Message, /) -> Record:
            return (*super().encode(message), *[(b"f", b"")] * 3500)

    recorder = Recorder()
    bus = Bus(flaky, BusOptions(observer=recorder, codec=Wide()))
    await bus.publish(plain())
    with pytest.raises(ValidationError, match="at most 3,500"):
        await bus.publish(keyed())
    assert flaky.calls == {"append": 1}
    assert recorder.errors == []


async def test_exactly_once_needs_a_key(flaky: FlakyBackend) -> None:
    """Each message for itself."""
    here = desk(flaky)
    with pytest.raises(ValidationError, match=r"^idempotency_key: None: EXACTLY_ONCE"):
        await here.bus.publish(plain(), ONCE)
    outcome = await here.bus.publish_batch([plain(), keyed()], ONCE)
    assert isinstance(outcome.results[0], ValidationError)
    assert isinstance(outcome.results[1], EntryId)
    assert flaky.calls == {"append_persisted": 1}


async def test_persisted_goes_out_once_for_all_topics(flaky: FlakyBackend) -> None:
    """One wait for a batch."""
    here = desk(flaky)
    batch = [keyed("a"), plain(topic="others"), keyed("a"), plain()]
    (await here.bus.publish_batch(batch, PERSISTED)).raise_errors()
    assert flaky.calls == {"append_persisted": 1}
    assert (await here.length(), await here.length("others")) == (2, 1)


async def test_a_message_without_a_key_that_is_not_persisted_is_not_added_again(
    autojump_clock: MockClock, flaky: FlakyBackend
) -> None:
    """The error has its id, and the numbers."""
    here = desk(flaky)
    flaky.fail("append_persisted", NotPersisted(EntryId(0), 1, 2, 3))
    options = attrs.evolve(PERSISTED, replicas=3)
    with pytest.raises(NotPersisted, match="1 of 1 servers and 2 of 3 replicas") as caught:
        await here.bus.publish(plain(), options)
    error = caught.value
    assert (error.local, error.replicas, error.wanted) == (1, 2, 3)
    assert error.entry_id > EntryId(0)
    assert trio.current_time() == 0
    assert await here.length() == 1
    assert here.heard == [NotPersisted]


async def test_a_message_with_a_key_waits_again(
    autojump_clock: MockClock, flaky: FlakyBackend
) -> None:
    """Within the time; what is raised in the end knows the id, also after another error."""
    here = desk(flaky, publish_timeout=2.0)
    missing = NotPersisted(EntryId(0), 1, 0, 1)
    flaky.fail("append_persisted", missing, missing)
    first = await here.bus.publish(keyed(), ONCE)
    assert await here.length() == 1
    flaky.fail("append_persisted", OutcomeUnknown("no answer"), missing)
    flaky.fail("append_persisted", *[OutcomeUnknown("no answer")] * 1000)
    with pytest.raises(NotPersisted) as caught:
        await here.bus.publish(keyed(), ONCE)
    assert caught.value.entry_id == first
    assert isinstance(caught.value.__cause__, OutcomeUnknown)
    flaky.heal()
    flaky.fail("append_persisted", missing, Unsupported("ERR appendonly is off now"))
    with pytest.raises(NotPersisted) as caught:
        await here.bus.publish(keyed(), ONCE)
    assert isinstance(caught.value.__cause__, Unsupported)
    assert await here.length() == 1


async def test_memory_persists_nothing_and_says_so() -> None:
    """Nothing is stored then."""
    recorder = Recorder()
    bus = Bus(MemoryBackend(), BusOptions(observer=recorder))
    with pytest.raises(Unsupported, match="memory: persists nothing"):
        await bus.publish(plain(), PERSISTED)
    outcome = await bus.publish_batch([plain(), keyed()], PERSISTED)
    assert [type(result) for result in outcome.results] == [Unsupported] * 2
    assert (await bus.info("orders")).length == 0


async def test_nowait_in_memory(flaky: FlakyBackend) -> None:
    """Stored at once, once with a key; a refusal goes to the observer alone."""
    recorder = Recorder()
    bus = Bus(MemoryBackend(), BusOptions(observer=recorder))
    for message in plain(b"1"), keyed(), keyed(), plain(b"2"):
        bus.publish_nowait(message)
    assert (await bus.info("orders")).length == 3
    assert recorder.errors == []
    flaky.fail("append_nowait", WrongType("WRONGTYPE no"))
    Bus(flaky, BusOptions(observer=recorder)).publish_nowait(plain())
    (event,) = recorder.errors
    assert (event.scope, event.topic, type(event.error)) == (Scope.PUBLISH, "orders", WrongType)


async def test_nowait_refuses_what_it_cannot_do(flaky: FlakyBackend) -> None:
    """At once."""
    here = desk(flaky)
    with pytest.raises(ValidationError, match=r"^confirmation: publish_nowait"):
        here.bus.publish_nowait(keyed(), ONCE)
    with pytest.raises(ValidationError, match=r"^payload: "):
        here.bus.publish_nowait(Message("orders", bytes(5 * 1024 * 1024)))
    here.bus.close()
    with pytest.raises(BusClosed):
        here.bus.publish_nowait(plain())
    assert await flaky.inner.info("orders") is not None
