"""Commits on servers: one atomic step, whatever is refused, lost or asked again."""

from __future__ import annotations

import attrs
import pytest
import trio
from msgspec.structs import replace

from tests.harness import Recorder, config
from tests.redis_world import GROUP, THEM, TOPIC, US, command, joined, options, publish
from trio_bus import (
    Bus,
    BusOptions,
    EntryId,
    LeaseLost,
    MemoryBackend,
    Message,
    RedisBackend,
    Transition,
    WrongType,
    open_bus,
    open_subscription,
)
from trio_bus.abc import (
    Append,
    Commit,
    GroupMember,
    Membership,
    Once,
    Receipt,
    Settled,
    StreamBackend,
)
from trio_bus.testing import Act, open_fault_proxy

pytestmark = pytest.mark.every_server

OUT, LOG = "{orders}.out", "{orders}.log"
RECORD = ((b"data", b"x"),)
OUTPUTS = (
    Append(OUT, RECORD, Once("k", 60.0)),
    Append(OUT, RECORD),
    Append(OUT, RECORD, Once("k", 60.0)),
    Append(LOG, RECORD),
)


async def lengths(backend: StreamBackend) -> tuple[int, int]:
    """Count what there is."""
    return (await backend.info(OUT)).length, (await backend.info(LOG)).length


async def hold(backend: RedisBackend, member: GroupMember) -> Receipt:
    """Publish an entry, and get it."""
    await publish(backend, 1)
    (entry,) = await member.read(1, 0)
    return entry.receipt


async def test_it_answers_what_became_of_it(backend: RedisBackend) -> None:
    """Done; finished before; never ours; another delivery; deleted; without a group."""
    async with joined(backend, US) as us, joined(backend, THEM) as them:
        receipt = await hold(backend, us)
        later = replace(receipt, attempt=2)
        assert await them.settle([Commit(receipt, OUTPUTS)]) == [Settled.LOST]
        assert await us.settle([Commit(later, OUTPUTS)]) == [Settled.LOST]
        assert await lengths(backend) == (0, 0)
        assert await us.settle([Commit(receipt, OUTPUTS)]) == [Settled.DONE]
        assert await lengths(backend) == (2, 1)
        assert await us.settle([Commit(receipt, OUTPUTS)]) == [Settled.FINISHED]
        await command(backend, "XDEL", TOPIC, str(receipt.id))
        assert await us.settle([Commit(receipt, OUTPUTS)]) == [Settled.ABSENT]
        await command(backend, "XGROUP", "DESTROY", TOPIC, GROUP)
        assert await us.settle([Commit(receipt, OUTPUTS)]) == [Settled.LOST]
        await command(backend, "SET", TOPIC, "no stream")
        (refusal,) = await us.settle([Commit(receipt, OUTPUTS)])
        assert isinstance(refusal, WrongType)
    assert await lengths(backend) == (2, 1)


@pytest.mark.parametrize("refused", [0, 1])
async def test_a_refusal_leaves_no_trace(backend: RedisBackend, refused: int) -> None:
    """The outputs before it are taken back, with their marks; the entry stays ours."""
    broken = LOG if not refused else "{orders}.odd"
    outputs = (*OUTPUTS[:2], Append(broken, RECORD, Once("l", 60.0)))
    mark = "trio_bus:{orders}:12:{orders}.odd:4:once:1:l"
    async with joined(backend, US) as us:
        receipt = await hold(backend, us)
        if refused:
            await command(backend, "XADD", mark, "*", "a", "b")
        else:
            await command(backend, "SET", broken, "no stream")
        (refusal,) = await us.settle([Commit(receipt, outputs)])
        assert isinstance(refusal, WrongType)
        assert (await backend.info(OUT)).length == 0
        assert (await backend.info(TOPIC)).groups[0].pending == 1
        await command(backend, "DEL", mark if refused else broken)
        assert await us.settle([Commit(receipt, outputs)]) == [Settled.DONE]
    assert (await backend.info(OUT)).length == 2


async def test_one_that_cannot_be_marked_is_not_kept(backend: RedisBackend) -> None:
    """A user who may not write marks."""
    async with joined(backend, US) as us:
        receipt = await hold(backend, us)
        await command(backend, "ACL", "SETUSER", "default", "-set")
        (refusal,) = await us.settle([Commit(receipt, (*OUTPUTS[1:2], *OUTPUTS[:1]))])
        await command(backend, "ACL", "SETUSER", "default", "+set")
        assert isinstance(refusal, Exception)
        assert await lengths(backend) == (0, 0)
        assert await us.settle([Commit(receipt, OUTPUTS)]) == [Settled.DONE]
    assert await lengths(backend) == (2, 1)


@pytest.mark.parametrize("when", ["before", "after", "within"])
async def test_cut_while_it_commits(server_url: str, when: str) -> None:
    """Whether the answer or the command is lost: the outputs are there, once."""
    recorder = Recorder()
    # (No other script is called in that time.)
    settings = attrs.evolve(config(), output_topics=(OUT,), reclaim_interval=30.0)
    opts = attrs.evolve(options(), observer=recorder)
    async with open_fault_proxy(server_url) as proxy, open_bus(server_url) as direct:
        async with (
            open_bus(proxy.url, opts) as bus,
            open_subscription(bus, settings) as deliveries,
        ):
            await direct.publish(Message("orders", b"1"))
            delivery = await deliveries.receive()
            await trio.sleep(0.1)
            async with delivery.transaction() as tx:
                await tx.publish(Message(OUT, b"1"))
                if when == "before":
                    fault = proxy.before_command("EVALSHA", Act.CUT)
                else:
                    fault = proxy.in_reply("EVALSHA", Act.CUT, after=2 * (when == "within"))
            await fault.wait_happened()
        assert (await direct.info(OUT)).length == 1
        assert (await direct.info("orders")).groups[0].pending == 0
    assert len(recorder.ids(Transition.ACKED)) == 1


async def find_abandoned(bus: Bus, lease: float) -> None:
    """Find what has not been renewed for so long, for whoever takes it."""
    brief = Membership(
        topic="orders", group="billing", consumer="brief", lease=lease, max_attempt=9
    )
    async with bus.backend.join(brief) as tender:
        with trio.fail_after(20):
            while not (await tender.look()).claimable:
                await trio.sleep(0.05)


async def test_stopped_for_longer_than_its_lease(server_url: str) -> None:
    """Its commit finds that it is not the owner any more: only the other one publishes."""
    settings = attrs.evolve(config(), output_topics=(OUT,), claim_idle_timeout=0.3)
    patient = attrs.evolve(settings, claim_idle_timeout=60.0)
    async with open_fault_proxy(server_url) as proxy, open_bus(server_url) as direct:
        quiet = BusOptions(observer=Recorder())
        async with (
            open_bus(proxy.url, quiet) as bus,
            open_subscription(bus, settings) as deliveries,
        ):
            await direct.publish(Message("orders", b"1"))
            delivery = await deliveries.receive()
            proxy.before_command("EVALSHA", Act.STALL)
            async with open_subscription(direct, patient) as theirs:
                await find_abandoned(direct, 0.3)
                other = await theirs.receive()
                proxy.resume()
                with pytest.raises(LeaseLost):
                    async with delivery.transaction() as tx:
                        await tx.publish(Message(OUT, b"ours"))
                async with other.transaction() as tx:
                    await tx.publish(Message(OUT, b"theirs"))
        assert (await direct.info(OUT)).length == 1


async def test_a_reader_that_waits_gets_the_outputs_at_once(backend: RedisBackend) -> None:
    """As if they had been published."""
    reader = attrs.evolve(US, topic=OUT, consumer="reader")
    await backend.create_group(OUT, GROUP, EntryId(0))
    async with joined(backend, US) as us, joined(backend, reader) as there:
        receipt = await hold(backend, us)
        got: list[int] = []

        async def read() -> None:
            with trio.fail_after(5):
                got.append(len(await there.read(10, 60.0)))

        async with trio.open_nursery() as nursery:
            nursery.start_soon(read)
            await trio.sleep(0.05)
            await us.settle([Commit(receipt, OUTPUTS)])
    assert got == [2]


async def test_memory_takes_back_what_was_marked() -> None:
    """A key of an output that was taken back is free."""
    backend = MemoryBackend()
    await backend.create_group(TOPIC, GROUP, EntryId(0))
    backend.use_up(LOG)
    async with backend.join(US) as us:
        await backend.append(TOPIC, [RECORD])
        (entry,) = await us.read(1, 0)
        (refusal,) = await us.settle([Commit(entry.receipt, OUTPUTS)])
        assert isinstance(refusal, Exception)
        assert (await backend.info(OUT)).length == 0
        (added,) = await backend.append(OUT, [RECORD], [Once("k", 60.0)])
        assert isinstance(added, EntryId)
        assert (await backend.info(OUT)).length == 1
