"""Dead letters, as an operator handles them: listed, sent back into one group, once."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Collection

import pytest
import trio

from tests.faults import FlakyBackend
from trio_bus import (
    Bus,
    BusClosed,
    ConnectionLost,
    DeadMessage,
    DeathCause,
    Delivery,
    EntryId,
    MemoryBackend,
    Message,
    OutcomeUnknown,
    Redriven,
    RedriveOutcome,
    RemoteError,
    SubscriptionConfig,
    ValidationError,
    open_bus,
    open_subscription,
)
from trio_bus._backend import Bury, Death, Membership, Record, Retry, StreamBackend
from trio_bus._graves import Grave
from trio_bus.testing import Done

DEAD = "{orders}.dead"
KEPT = SubscriptionConfig("orders", "billing", max_retry=0)
MOVED = SubscriptionConfig("orders", "billing", max_retry=0, dead_letter_topic=DEAD)
AUDIT = SubscriptionConfig("orders", "audit")
HURRY = 0.3
PATIENCE = 20.0


@pytest.fixture
async def bus(backend_url: str) -> AsyncGenerator[Bus]:
    """Give a bus of each kind."""
    async with open_bus(backend_url) as bus:
        yield bus


async def fail(delivery: Delivery) -> None:
    """Fail as the payload says."""
    kind = {b"key": KeyError, b"os": OSError}.get(delivery.message.payload, ValueError)
    raise kind(delivery.message.payload.decode())


async def kill(bus: Bus, config: SubscriptionConfig, many: int) -> None:
    """Let a group give up so many entries."""
    async with open_subscription(bus, config, fail) as subscription:
        with trio.fail_after(PATIENCE):
            while subscription.statistics().rejected < many:
                await trio.sleep(0.005)


async def dead(bus: Bus, config: SubscriptionConfig, *payloads: bytes) -> list[DeadMessage]:
    """Publish, let the group give all up, and list them."""
    await bus.backend.create_group("orders", "audit", EntryId(0, 0))
    for payload in payloads:
        await bus.publish(Message("orders", payload))
    await kill(bus, config, len(payloads))
    return await listed(bus, config.dead_letter_topic or "orders")


async def listed(bus: Bus, topic: str, group: str | None = None) -> list[DeadMessage]:
    """List them."""
    return [message async for message in bus.dead_letters(topic, group=group)]


async def seen(bus: Bus, config: SubscriptionConfig, many: int) -> list[tuple[bytes, int]]:
    """Return what a group gets now, with the attempts: so many, and no more."""
    got: list[tuple[bytes, int]] = []

    async def note(delivery: Delivery) -> None:
        got.append((delivery.message.payload, delivery.state.attempt))

    async with open_subscription(bus, config, note) as subscription:
        with trio.fail_after(PATIENCE):
            while len(got) < many:
                await trio.sleep(0.005)
            await subscription.wait_idle()
        await trio.sleep(HURRY)
    return sorted(got)


def results(outcome: RedriveOutcome) -> list[object]:
    """Return what became of each."""
    return [it.result for it in outcome.results]


@pytest.mark.parametrize("config", [KEPT, MOVED], ids=["kept", "moved"])
async def test_it_is_listed_with_all_that_is_known(bus: Bus, config: SubscriptionConfig) -> None:
    """Wherever it lies."""
    (message,) = await dead(bus, config, b"order 7")
    letter = message.dead_letter
    assert message.message is not None
    assert message.message.payload == b"order 7"
    assert message.error is None
    assert message.history == ()
    assert message.dead_letter_topic == config.dead_letter_topic
    assert (letter.topic, letter.group, letter.attempts) == ("orders", "billing", 1)
    assert (letter.cause, letter.error_type) == (DeathCause.EXHAUSTED, "ValueError")
    assert "order 7" in letter.error_text
    assert (message.id == letter.entry_id) == (config is KEPT)


@pytest.mark.parametrize("config", [KEPT, MOVED], ids=["kept", "moved"])
async def test_it_goes_back_into_its_group_alone(bus: Bus, config: SubscriptionConfig) -> None:
    """With attempts that begin anew; and once, however often it is asked for."""
    (message,) = await dead(bus, config, b"order 7")
    topic = config.dead_letter_topic or "orders"
    assert await seen(bus, AUDIT, 1) == [(b"order 7", 1)]
    trial = await bus.redrive(topic, everything=True, dry_run=True)
    assert results(trial) == [None]
    outcome = await bus.redrive(topic, ids=[message.id])
    assert results(outcome) == [Redriven.DONE]
    assert (outcome.redriven, outcome.missing) == (1, ())
    assert await bus.redrive(topic, ids=[message.id]) == RedriveOutcome((), (message.id,))
    assert await listed(bus, topic) == []
    assert await seen(bus, AUDIT, 0) == []
    assert await seen(bus, config, 1) == [(b"order 7", 1)]
    assert await seen(bus, config, 0) == []


@pytest.mark.parametrize("first", [KEPT, MOVED], ids=["kept", "moved"])
@pytest.mark.parametrize("then", [KEPT, MOVED], ids=["kept", "moved"])
async def test_its_history_is_kept(
    bus: Bus, first: SubscriptionConfig, then: SubscriptionConfig
) -> None:
    """When it dies again, wherever it lies then; its own bytes stay what they were."""
    (before,) = await dead(bus, first, b"order 7")
    await bus.redrive(first.dead_letter_topic or "orders", everything=True)
    await kill(bus, then, 1)
    (message,) = await listed(bus, then.dead_letter_topic or "orders")
    assert message.history == (before.dead_letter,)
    assert message.record == before.record
    assert message.dead_letter.attempts == 1
    assert message.dead_letter.last_received >= before.dead_letter.last_received


@pytest.mark.parametrize("config", [KEPT, MOVED], ids=["kept", "moved"])
async def test_a_waiting_subscription_is_woken(bus: Bus, config: SubscriptionConfig) -> None:
    """It does not wait for a tick."""
    await dead(bus, config, b"order 7")
    got = trio.Event()

    async def note(delivery: Delivery) -> None:
        assert delivery.state.attempt == 1
        got.set()

    async with open_subscription(bus, config, note):
        await trio.sleep(0.1)
        await bus.redrive(config.dead_letter_topic or "orders", everything=True)
        with trio.fail_after(PATIENCE):
            await got.wait()


@pytest.mark.parametrize("config", [KEPT, MOVED], ids=["kept", "moved"])
async def test_they_are_chosen_by_the_type_of_their_error(
    bus: Bus, config: SubscriptionConfig
) -> None:
    """The others stay."""
    await dead(bus, config, b"key", b"os", b"else")
    topic = config.dead_letter_topic or "orders"
    outcome = await bus.redrive(topic, error_type="KeyError")
    assert [it.dead_letter.error_type for it in outcome.results] == ["KeyError"]
    assert {it.message and it.message.payload for it in await listed(bus, topic)} == {
        b"os",
        b"else",
    }
    assert await seen(bus, config, 1) == [(b"key", 1)]


@pytest.mark.parametrize("config", [KEPT, MOVED], ids=["kept", "moved"])
async def test_one_group_is_chosen(bus: Bus, config: SubscriptionConfig) -> None:
    """What others gave up stays."""
    await dead(bus, config, b"order 7")
    topic = config.dead_letter_topic or "orders"
    assert await listed(bus, topic, "audit") == []
    assert await bus.redrive(topic, everything=True, group="audit") == RedriveOutcome(())
    assert len(await listed(bus, topic, "billing")) == 1


@pytest.mark.parametrize("config", [KEPT, MOVED], ids=["kept", "moved"])
async def test_what_cannot_be_decoded_keeps_its_bytes(bus: Bus, config: SubscriptionConfig) -> None:
    """And is sent back like any other."""
    record: Record = ((b"what", b"\xff\x00"), (b"is", b"this"))
    await bus.backend.append("orders", [record])
    await kill(bus, config, 1)
    topic = config.dead_letter_topic or "orders"
    (message,) = await listed(bus, topic)
    assert message.message is None
    assert message.error is not None
    assert message.record == record
    assert message.dead_letter.cause is DeathCause.UNDECODABLE
    assert (await bus.redrive(topic, everything=True)).redriven == 1
    await kill(bus, config, 1)
    (again,) = await listed(bus, topic)
    assert (again.record, len(again.history)) == (record, 1)


async def test_what_was_found_over_the_limit_is_listed(bus: Bus) -> None:
    """Buried by whoever took over."""
    member = Membership(topic="orders", group="billing", consumer="us", lease=60.0, max_attempt=1)
    await bus.backend.create_group("orders", "billing", None)
    await bus.publish(Message("orders", b"order 7"))
    async with bus.backend.join(member) as us:
        (entry,) = await us.read(1, 1.0)
        await us.settle([Retry(entry.receipt)])
        assert (await us.take_over(1)).buried
    (message,) = await listed(bus, "orders")
    assert message.dead_letter.error_type == "trio_bus.AttemptsExhausted"


async def test_many_are_read_in_portions(bus: Bus) -> None:
    """Kept by the group, and in a topic with other entries."""
    await dead(bus, KEPT, *[b"%d" % number for number in range(205)])
    messages = await listed(bus, "orders")
    assert [it.message and int(it.message.payload) for it in messages] == list(range(205))
    outcome = await bus.redrive("orders", everything=True)
    assert outcome.redriven == 205
    await kill(bus, MOVED, 205)
    await bus.publish(Message(DEAD, b"no dead letter"))
    assert len(await listed(bus, DEAD)) == 205
    assert (await bus.redrive(DEAD, everything=True)).redriven == 205
    assert len(await seen(bus, MOVED, 205)) == 205


async def test_large_ones_come_in_small_portions(bus: Bus) -> None:
    """A portion ends after a mebibyte."""
    large = [bytes([number]) * 600_000 for number in range(4)]
    for config in (KEPT, MOVED):
        assert len(await dead(bus, config, *large)) == 4
        assert (
            await bus.redrive(config.dead_letter_topic or "orders", everything=True)
        ).redriven == 4
        assert len(await seen(bus, config, 4)) == 4


async def bury(backend: StreamBackend, dead_letter_topic: str | None) -> EntryId:
    """Let a member give up one entry."""
    await backend.create_group("orders", "billing", None)
    (entry_id,) = await backend.append("orders", [((b"a", b"b"),)])
    assert isinstance(entry_id, EntryId)
    member = Membership(
        topic="orders",
        group="billing",
        consumer="us",
        lease=60.0,
        max_attempt=3,
        dead_letter_topic=dead_letter_topic,
    )
    async with backend.join(member) as us:
        (entry,) = await us.read(1, 1.0)
        await us.settle([Bury(entry.receipt, Death(DeathCause.REJECTED, "t", "x"))])
    return entry_id


async def graves(bus: Bus, topic: str) -> list[Grave]:
    """Return where they lie."""
    return [
        Grave(
            it.dead_letter.topic,
            it.dead_letter.group,
            it.dead_letter.entry_id,
            it.dead_letter_topic,
            it.id,
        )
        async for it in bus.dead_letters(topic)
    ]


@pytest.mark.parametrize("lies_in", [None, DEAD], ids=["kept", "moved"])
async def test_it_is_given_back_once(bus: Bus, lies_in: str | None) -> None:
    """To a second call it is lost, also within one."""
    await bury(bus.backend, lies_in)
    (grave,) = await graves(bus, lies_in or "orders")
    assert await bus.backend.redrive([grave, grave]) == [Redriven.DONE, Redriven.LOST]
    assert await bus.backend.redrive([grave]) == [Redriven.LOST]


async def delete(bus: Bus, topic: str, entry_id: EntryId) -> None:
    """Delete an entry, as an administrator does."""
    if isinstance(bus.backend, MemoryBackend):
        bus.backend.delete_entry(topic, entry_id)
    else:
        from tests.servers import command  # noqa: PLC0415

        assert bus.url is not None
        command(bus.url, f"XDEL {topic} {entry_id}")


async def destroy_group(bus: Bus, topic: str, group: str) -> None:
    """Remove a group, as an administrator does."""
    if isinstance(bus.backend, MemoryBackend):
        bus.backend.destroy_group(topic, group)
    else:
        from tests.servers import command  # noqa: PLC0415

        assert bus.url is not None
        command(bus.url, f"XGROUP DESTROY {topic} {group}")


async def test_what_a_group_kept_is_gone_with_its_entry(bus: Bus) -> None:
    """There is nothing left to send back."""
    entry_id = await bury(bus.backend, None)
    (grave,) = await graves(bus, "orders")
    await delete(bus, "orders", entry_id)
    assert await listed(bus, "orders") == []
    assert await bus.backend.redrive([grave]) == [Redriven.GONE]
    (group,) = (await bus.info("orders")).groups
    assert group.dead == 0


async def test_a_dead_letter_outlives_its_entry(bus: Bus) -> None:
    """A copy goes back, into the group that failed alone, as often as it dies."""
    (message,) = await dead(bus, MOVED, b"order 7")
    assert await seen(bus, AUDIT, 1) == [(b"order 7", 1)]
    for times in (1, 2):
        (letter,) = await listed(bus, DEAD)
        assert (letter.record, len(letter.history)) == (message.record, times - 1)
        await delete(bus, "orders", letter.dead_letter.entry_id)
        outcome = await bus.redrive(DEAD, everything=True)
        assert (results(outcome), outcome.redriven) == ([Redriven.COPIED], 1)
        assert await bus.redrive(DEAD, everything=True) == RedriveOutcome(())
        assert await seen(bus, AUDIT, 0) == []
        await kill(bus, MOVED, 1)
    (letter,) = await listed(bus, DEAD)
    assert [it.attempts for it in letter.history] == [1, 1]
    assert (await bus.redrive(DEAD, everything=True)).redriven == 1
    assert await seen(bus, MOVED, 1) == [(b"order 7", 1)]
    assert await seen(bus, AUDIT, 0) == []


async def test_a_copy_says_what_it_died_of(bus: Bus) -> None:
    """To its handler; and whoever reads the dead-letter topic gets it when it dies again."""
    (message,) = await dead(bus, MOVED, b"order 7")
    await delete(bus, "orders", message.dead_letter.entry_id)
    await bus.redrive(DEAD, everything=True)
    async with open_subscription(bus, MOVED) as deliveries:
        with trio.fail_after(PATIENCE):
            delivery = await deliveries.receive()
        assert delivery.dead_letter == message.dead_letter
        await delivery.reject("again")
    assert await seen(bus, SubscriptionConfig(DEAD, "support"), 1) == [(b"order 7", 1)]


@pytest.mark.parametrize("lies_in", [None, DEAD], ids=["kept", "moved"])
async def test_a_missing_group_gets_nothing(bus: Bus, lies_in: str | None) -> None:
    """And the dead letter stays."""
    await bury(bus.backend, lies_in)
    (grave,) = await graves(bus, lies_in or "orders")
    missing = Grave("orders", "nobody", grave.entry_id, lies_in, grave.id)
    elsewhere = Grave("nowhere", "billing", grave.entry_id, lies_in, grave.id)
    both = await bus.backend.redrive([missing, elsewhere])
    assert both == [Redriven.GROUP_MISSING, Redriven.GROUP_MISSING]
    assert len(await listed(bus, lies_in or "orders")) == 1
    assert await bus.backend.buried("orders", "nobody", None) == ([], None)
    assert await bus.backend.buried("nowhere", None, None) == ([], None)


async def test_it_is_compared_with_what_the_topic_holds(bus: Bus) -> None:
    """What is no dead letter of that entry gives nothing back."""
    await bury(bus.backend, DEAD)
    (grave,) = await graves(bus, DEAD)
    (other,) = await bus.backend.append("orders", [((b"c", b"d"),)])
    (plain,) = await bus.backend.append(DEAD, [((b"a", b"b"),)])
    assert isinstance(other, EntryId)
    assert isinstance(plain, EntryId)
    wrong = [
        Grave("orders", "billing", other, DEAD, grave.id),
        Grave("orders", "billing", grave.entry_id, DEAD, plain),
        Grave("orders", "billing", grave.entry_id, "elsewhere", plain),
    ]
    assert await bus.backend.redrive(wrong) == [Redriven.GONE, Redriven.GONE, Redriven.LOST]


async def test_what_the_group_has_not_finished_is_not_given_twice(bus: Bus) -> None:
    """Pending again, or not yet delivered: its dead letter stays."""
    await bury(bus.backend, DEAD)
    (grave,) = await graves(bus, DEAD)
    record = (await bus.backend.buried(DEAD, None, None))[0][0][1]
    (copy,) = await bus.backend.append(DEAD, [record])
    assert isinstance(copy, EntryId)
    second = Grave("orders", "billing", grave.entry_id, DEAD, copy)
    assert await bus.backend.redrive([grave, second]) == [Redriven.DONE, Redriven.UNFINISHED]
    await destroy_group(bus, "orders", "billing")
    await bus.backend.create_group("orders", "billing", EntryId(0, 0))
    assert await bus.backend.redrive([second]) == [Redriven.UNFINISHED]
    assert len(await listed(bus, DEAD)) == 1


async def test_each_refusal_is_its_own(bus: Bus) -> None:
    """A key of another kind."""
    await bury(bus.backend, None)
    (grave,) = await graves(bus, "orders")
    if isinstance(bus.backend, MemoryBackend):
        pytest.skip("memory holds nothing else")
    from tests.servers import command  # noqa: PLC0415

    assert bus.url is not None
    command(bus.url, "SET text x")
    wrong = Grave("text", "billing", grave.entry_id)
    fine, refusal = await bus.backend.redrive([grave, wrong])
    assert fine is Redriven.DONE
    assert isinstance(refusal, RemoteError)
    with pytest.raises(RemoteError):
        await bus.backend.buried("text", "billing", None)
    with pytest.raises(RemoteError):
        await bus.backend.buried("text", None, None)


@pytest.mark.parametrize(
    "choice",
    [{}, {"ids": [], "everything": True}, {"error_type": "x", "everything": True}],
)
async def test_one_choice_has_to_be_made(choice: dict[str, Collection[EntryId]]) -> None:
    """Not none, not two."""
    async with open_bus("memory:") as bus:
        with pytest.raises(ValidationError, match="give one of"):
            await bus.redrive("orders", **choice)  # type: ignore[arg-type]
        for topic, group in (("", None), ("orders", "~dead")):
            with pytest.raises(ValidationError):
                bus.dead_letters(topic, group=group)
        with pytest.raises(ValidationError, match="error_type"):
            await bus.redrive("orders", error_type="\ud800")
        letters = bus.dead_letters("orders")
        walk = aiter(letters)
        assert aiter(walk) is walk
    with pytest.raises(BusClosed):
        await anext(walk)
    with pytest.raises(BusClosed):
        bus.dead_letters("orders")


@pytest.mark.parametrize(
    ("ids", "named"),
    [
        ("1-0", "'1-0' is no collection"),
        (b"1-0", "b'1-0' is no collection"),
        (5, "5 is no collection"),
        (["1-0"], "'1-0' is no EntryId"),
        ([EntryId(1), 2], "2 is no EntryId"),
    ],
)
async def test_what_is_no_id_is_refused(ids: object, named: str) -> None:
    """It is not taken for one that is not there."""
    async with open_bus("memory:") as bus:
        with pytest.raises(ValidationError, match=f"^ids: {named}"):
            await bus.redrive("orders", ids=ids)  # type: ignore[arg-type]


@pytest.mark.parametrize("done", Done)
@pytest.mark.parametrize("config", [KEPT, MOVED], ids=["kept", "moved"])
async def test_what_was_cut_off_is_done_again(config: SubscriptionConfig, done: Done) -> None:
    """Nothing is lost then, and nothing comes twice."""
    flaky = FlakyBackend()
    bus = Bus(flaky)
    topic = config.dead_letter_topic or "orders"
    await dead(bus, config, b"1", b"2", b"3", b"4")
    error = ConnectionLost("gone") if done is Done.NOTHING else OutcomeUnknown("gone")
    flaky.fail("redrive", error, done=done)
    with pytest.raises(ConnectionLost):
        await bus.redrive(topic, everything=True)
    again = await bus.redrive(topic, everything=True)
    assert again.redriven == {Done.NOTHING: 4, Done.HALF: 2, Done.EVERYTHING: 0}[done]
    assert await seen(bus, config, 4) == [(b"1", 1), (b"2", 1), (b"3", 1), (b"4", 1)]
