"""What is written out for speed does the same as what it stands for, also where it seldom goes."""

# pyright: reportPrivateUsage=false
# The ways are private, and what they work on stands in for what is large.

from __future__ import annotations

from datetime import UTC, datetime
from functools import partial
from types import SimpleNamespace
from typing import TYPE_CHECKING, cast

import attrs
import pytest
import trio
from msgspec.structs import replace
from trio.testing import MockClock, wait_all_tasks_blocked

from trio_bus import (
    BusClosed,
    BusError,
    EntryId,
    MemoryBackend,
    Message,
    RemoteError,
    Scope,
    SerializationError,
    Unsupported,
    ValidationError,
    open_bus,
)
from trio_bus._fields import FieldsCodec
from trio_bus._look import Look
from trio_bus._names import GOOD_TOPICS, check_topic
from trio_bus._redis.appending import pack_append
from trio_bus._redis.portion import Portion
from trio_bus._redis.reader import Reader
from trio_bus._redis.replies import read_entries
from trio_bus._redis.resp import pack
from trio_bus._redis.strays import Holdings
from trio_bus._settling import Settling
from trio_bus._subscription.backoff import Pause
from trio_bus._subscription.core import Core
from trio_bus._subscription.flusher import Flusher
from trio_bus._subscription.succession import Succession
from trio_bus._timestamp import read_written
from trio_bus.abc import Ack, Entry, Receipt, Release, Settled
from trio_bus.testing._backend_conformance._machine import _administrator
from trio_bus.testing._backend_conformance._matching import Matcher
from trio_bus.testing._backend_conformance._pairs import Pairs
from trio_bus.testing._trims import _stepwise

if TYPE_CHECKING:
    from trio_bus._backend import GroupMember, StreamBackend
    from trio_bus._holding import Holding
    from trio_bus._redis.group import Group
    from trio_bus._redis.link import Link
    from trio_bus._redis.owed import Owed
    from trio_bus._redis.reader import _Connection
    from trio_bus._redis.resp import Reply


class Blob(bytes):
    """Bytes of the user's own."""


def test_a_payload_may_be_of_a_kind_of_bytes() -> None:
    assert Message("orders", Blob(b"x")).payload == b"x"


def test_a_payload_is_bytes() -> None:
    with pytest.raises(ValidationError, match="payload: 'text' is not bytes"):
        Message("orders", cast("bytes", "text"))


class _Order(Message):
    """A message of somebody's own, which has room for more."""

    note = "mine"


def test_a_message_cannot_be_changed_however_it_was_made() -> None:
    made = Message("orders", b"7", key="k", headers={"a": "b"})
    own = _Order("orders", b"7", key="k", headers={"a": "b"}, uid=made.uid)
    assert type(made) is Message
    assert type(own) is _Order
    assert attrs.astuple(made)[:6] == attrs.astuple(own)[:6]
    for message in (made, own, attrs.evolve(made)):
        with pytest.raises(attrs.exceptions.FrozenInstanceError):
            message.key = "other"  # type: ignore[misc]  # that it is refused is what we test


def test_many_topics_are_checked_and_few_remembered() -> None:
    for number in range(2500):
        assert check_topic(f"topic-{number}") == f"topic-{number}"
        assert len(GOOD_TOPICS) <= 1024
    assert Message("topic-0").topic == check_topic("topic-0") == "topic-0"


def test_few_names_of_fields_are_remembered_and_all_are_written() -> None:
    record = tuple((b"name-%d" % number, bytes(number)) for number in range(100))
    long = ((bytes(5000), b""), (b"data", bytes(5000)))
    for _ in range(2):
        for fields in (record, long):
            words = [word for field in fields for word in field]
            assert pack_append("orders", fields) == pack(("XADD", "orders", "*", *words))


async def test_a_closed_bus_publishes_nothing() -> None:
    async with open_bus("memory:") as bus:
        bus.close()
        with pytest.raises(BusClosed):
            await bus.publish(Message("orders"))


def test_a_backend_is_its_own_administrator_if_it_can_be() -> None:
    nobody, somebody = cast("StreamBackend", object()), MemoryBackend()
    assert _administrator(nobody, None) is None
    assert _administrator(somebody, None) is somebody
    assert _administrator(nobody, lambda _: somebody) is somebody


def test_an_entry_without_values_is_no_entry() -> None:
    with pytest.raises(Unsupported):
        read_entries([[b"orders", [[b"1-0", [b"ce_id", None]]]]])


def calm(quiet_for: float) -> Look:
    """Return what a look says that finds nothing."""
    return Look(claimable=False, quiet_for=quiet_for)


def test_a_look_that_promises_more_quiet_than_there_is_is_told() -> None:
    matcher = Matcher(Pairs(), "orders", 0.01)
    assert matcher.difference(calm(1.0), calm(0.5)) is None
    told = matcher.difference(calm(1.0), calm(2.0))
    assert told == "quiet_for is 2.0, not 1.0"


async def test_who_looks_step_by_step_can_be_cancelled(autojump_clock: MockClock) -> None:
    async def look() -> Look:
        await trio.sleep_forever()
        raise AssertionError("nobody wakes it")

    steps: list[int] = []
    with trio.move_on_after(1.0) as patience:
        await _stepwise(look(), lambda: steps.append(1))
    assert patience.cancelled_caught
    assert steps


async def test_many_may_wait_until_all_is_settled() -> None:
    ended: list[object] = []

    async def wait() -> None:
        await flusher.wait_empty()
        ended.append("waiter")

    def report(scope: Scope, _: BusError, __: Receipt | None) -> None:
        ended.append(scope)

    nobody = cast("GroupMember", None)
    flusher = Flusher(nobody, 1, Pause(lambda: 1.0), report, ended.append)
    settling = SimpleNamespace(over=False, abandon=partial(ended.insert, 0))
    flusher.put(cast("Settling", settling))
    async with trio.open_nursery() as nursery:
        nursery.start_soon(wait)
        nursery.start_soon(wait)
        await wait_all_tasks_blocked()
        assert not ended
        flusher.abandon(BusError("the end"))
    assert [str(it) for it in ended[:1]] == ["the end"]
    assert ended[1:] == [[settling], "waiter", "waiter"]


async def test_a_read_that_was_not_sent_is_withdrawn() -> None:
    withdrawn: list[object] = []
    owed = SimpleNamespace(written=None, arrived=False)
    pipeline = SimpleNamespace(abandon=withdrawn.append)
    connection = cast("_Connection", SimpleNamespace(pipeline=pipeline))
    await Reader._end(cast("Reader", None), connection, cast("Owed", owed), 0.0)
    assert withdrawn == [owed]


@attrs.define(eq=False)
class Held:
    """A delivery of an entry, as far as those know it that it is held by."""

    entry: object
    receipt: int = 1
    size: int = 1
    settling: object = None
    settlement: object = None
    predecessor: Held | None = None
    successor: Held | None = None
    open: bool = True
    done: bool = False
    at_risk: bool = False


def two_of_one_entry(log: list[object]) -> tuple[Succession, Held, Held]:
    """Return two deliveries of one entry, of which the second waits for the first."""
    entry = SimpleNamespace(id=EntryId(1))
    first, second = (cast("Holding", Held(entry)) for _ in range(2))
    succession = Succession(lambda _: None, log.append, log.append)
    assert succession.add([first]) == [first]
    assert succession.add([second]) == []
    return succession, cast("Held", first), cast("Held", second)


@pytest.mark.parametrize("turned", [False, True])
def test_two_deliveries_of_one_entry_may_end_together(*, turned: bool) -> None:
    """Nothing of them is left, and nothing starts."""
    log: list[object] = []
    succession, first, second = two_of_one_entry(log)
    second.open = False
    both = cast("list[Holding]", [second, first] if turned else [first, second])
    succession.drop(both)
    assert EntryId(1) not in succession
    assert list(succession.latest()) == []
    assert not log


def test_an_entry_is_not_over_while_another_delivery_of_it_is_held() -> None:
    log: list[object] = []
    succession, first, second = two_of_one_entry(log)
    dropped, sizes = list[object](), list[object]()
    core = SimpleNamespace(
        holdings={first: None, second: None},
        valve=SimpleNamespace(drop=sizes.append),
        succession=succession,
        held=SimpleNamespace(value=2),
        on_dropped=dropped.append,
    )
    Core._drop(cast("Core", core), cast("Holding", first))
    assert log == [[second]]
    assert not dropped
    Core._drop(cast("Core", core), cast("Holding", second))
    assert dropped == [second]
    assert sizes == [1, 1]


ONE = EntryId(1, 2)
RECORD = ((b"name", b"value"),)


def are_equal(one: object, other: object) -> bool:
    """Say so, if all that asks agrees."""
    equal = one == other
    assert (one != other) is not equal
    assert not equal or hash(one) == hash(other)
    return equal


def test_receipts_of_one_delivery_are_equal_whatever_a_backend_adds() -> None:
    one, other = Receipt(ONE, 1), Receipt(ONE, 1, delivery=7, suspect=True)
    assert are_equal(one, other)
    assert not are_equal(one, Receipt(ONE, 2))
    assert not are_equal(one, Ack(one))
    assert are_equal(Ack(one, 5.0), Ack(other))
    assert not are_equal(Ack(one), Release(one))


def test_entries_are_equal_if_the_server_says_the_same_of_them() -> None:
    one, other = Entry(ONE, RECORD), Entry(ONE, RECORD, delivery=7, size=9)
    assert are_equal(one, other)
    assert not are_equal(one, Entry(ONE, RECORD, suspect=True))
    assert not are_equal(one, one.receipt)


def test_an_entry_is_the_same_however_its_fields_are_given() -> None:
    words = tuple(word for field in RECORD for word in field)
    one, other = Entry(ONE, RECORD), Entry(ONE, (), words=words)
    assert are_equal(one, other)
    assert one.record == other.record == RECORD
    assert one.flat == other.flat == words


def test_a_changed_copy_of_an_entry_has_the_record_that_is_given() -> None:
    entry = Entry(ONE, (), words=(b"other", b"value"))
    changed = replace(entry, record=RECORD)
    assert changed.record == RECORD
    assert changed.flat == Entry(ONE, RECORD).flat
    assert not are_equal(changed, entry)
    assert replace(entry, attempt=2).record == ((b"other", b"value"),)


def test_a_settling_says_of_what_and_how_it_ended() -> None:
    settling = Settling(Release(Receipt(ONE, 1)), cast("Holding", None), since=0.0)
    settling.end(Settled.GONE)
    assert repr(settling).endswith("Settled.GONE>")
    assert "Release(receipt=Receipt(" in repr(settling)


def test_a_later_delivery_is_still_held_when_an_earlier_one_is_settled() -> None:
    link = cast("Link", SimpleNamespace(current=None))
    held = Holdings(cast("Group", None), link, Portion())
    held.note([first := Entry(ONE, RECORD, delivery=0)])
    (second,) = held.add([Entry(ONE, RECORD)])
    held.remove_settled([Ack(first.receipt)], [Settled.DONE])
    assert held.known == {ONE: 1}
    held.remove_settled([Ack(second.receipt)], [RemoteError("ERR no")])
    assert held.known == {ONE: 1}
    held.remove_settled([Ack(second.receipt)], [Settled.DONE])
    assert held.known == {}


def test_what_others_write_is_an_instant_all_the_same() -> None:
    when = datetime(2024, 5, 6, 7, 8, 9, 120000, tzinfo=UTC)
    for text in ("2024-05-06T07:08:09.120Z", "2024-05-06t07:08:09.12+00:00"):
        fields = (
            (b"ce_id", b"1"),
            (b"ce_topic", b"t"),
            (b"data", b""),
            (b"ce_time", text.encode()),
        )
        assert FieldsCodec().decode(fields).occurred_at == when


def test_an_hour_that_no_day_has_is_refused() -> None:
    with pytest.raises(ValueError, match="by others"):
        read_written(b"2024-05-06T24:00:00Z")


@pytest.mark.parametrize(
    ("name", "value"),
    [("version", b"2.0"), ("uid", b"\xff"), ("time", b"noon"), ("time", b"2024-02-30T00:00:00Z")],
)
def test_what_has_the_usual_fields_may_be_wrong_all_the_same(name: str, value: bytes) -> None:
    usual = {"version": b"1.0", "uid": b"1", "time": b"2024-05-06T07:08:09Z"}
    version, uid, time = {**usual, name: value}.values()
    record = (
        *((b"ce_specversion", version), (b"ce_id", uid)),
        *((b"ce_time", time), (b"ce_topic", b"t"), (b"data", b"")),
    )
    with pytest.raises(SerializationError):
        FieldsCodec().decode(record)


@pytest.mark.parametrize("row", [[b"1-0", [b"name"]], [b"1-0", {b"n": b"v"}], [b"1-0"], None])
def test_an_odd_row_is_no_entry(row: Reply) -> None:
    with pytest.raises((Unsupported, ValueError)):
        read_entries([[b"orders", [[b"1-0", [b"n", b"v"]], row]]])
