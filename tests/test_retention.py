"""Retention: what every group has finished goes, and nothing else unless that is declared."""

from __future__ import annotations

import attrs
import cattrs
import pytest
import trio

from tests.harness import open_world
from tests.redis_world import command
from trio_bus import EntryId, Retention, SubscriptionConfig, ValidationError
from trio_bus._backend import (
    Ack,
    Bury,
    Death,
    DeathCause,
    Membership,
    Release,
    Retry,
    Settlement,
    StreamBackend,
)
from trio_bus._redis import RedisBackend
from trio_bus._settled import Settled

pytestmark = pytest.mark.every_server

US = Membership(
    topic="{orders}",
    group="billing",
    consumer="us",
    lease=60.0,
    max_attempt=3,
    retention=Retention(max_length=0),
)
THEM = attrs.evolve(US, group="shipping", consumer="them")
TABLES = cattrs.Converter(detailed_validation=False)
BEGINNING = EntryId(0)
DEATH = Death(DeathCause.REJECTED, "", "no such customer")


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({}, "max_age: None, and max_length: None: nothing would be removed"),
        ({"max_age": -1}, "max_age: -1 is not at least 0"),
        ({"max_age": float("inf")}, "max_age: inf is not at least 0"),
        ({"max_age": "1"}, "max_age: '1' is not a number"),
        ({"max_length": -1}, "max_length: -1 is not at least 0"),
        ({"max_length": 1.5}, "max_length: 1.5 is not a whole number"),
        ({"max_length": True}, "max_length: True is not a whole number"),
        ({"max_length": 1, "finished": 1}, "finished: 1 is not of type bool"),
        ({"max_length": 0, "finished": False}, "max_length: 0 with finished=False would remove"),
        ({"max_age": 0.0, "finished": False}, "max_age: 0 with finished=False would remove"),
        ({"max_len": 7}, "retention: 'max_len' is no setting of it"),
    ],
)
def test_bad_bounds_are_refused_by_name(settings: dict[str, object], words: str) -> None:
    """From a table as well; and what is no table."""
    with pytest.raises(ValidationError, match=words):
        TABLES.structure(
            {"topic": "orders", "group": "billing", "retention": settings}, SubscriptionConfig
        )


def test_it_is_read_from_a_table() -> None:
    """As it stands there."""
    table = {"topic": "orders", "group": "billing", "retention": {"max_age": 3600}}
    assert TABLES.structure(table, SubscriptionConfig).retention == Retention(max_age=3600)
    with pytest.raises(ValidationError, match="retention: 3600 is not of type Retention"):
        TABLES.structure({**table, "retention": 3600}, SubscriptionConfig)


async def begin(backend: StreamBackend, count: int, *groups: str) -> list[EntryId]:
    """Make groups, and append so many records."""
    for group in groups or ("billing",):
        await backend.create_group("{orders}", group, BEGINNING)
    results = await backend.append("{orders}", [((b"n", b"%d" % n),) for n in range(count)])
    return [it for it in results if isinstance(it, EntryId)]


async def left(backend: StreamBackend) -> tuple[int, EntryId | None]:
    """Say how many entries there are, and which is the oldest."""
    info = await backend.info("{orders}")
    return info.length, info.oldest


async def test_what_all_groups_finished_goes(backend_url: str) -> None:
    """Not what one of them has not read, or has not settled."""
    async with (
        open_world(backend_url) as world,
        world.backend.join(US) as us,
        world.backend.join(THEM) as them,
    ):
        ids = await begin(world.backend, 4, "billing", "shipping")
        ours = await us.read(4, 0)
        await us.settle([Ack(it.receipt) for it in ours])
        assert (await us.look()).trimmed == 0, "shipping has read nothing"
        theirs = await them.read(3, 0)
        await them.settle([Ack(theirs[0].receipt), Ack(theirs[2].receipt)])
        assert (await us.look()).trimmed == 1
        assert await left(world.backend) == (3, ids[1])
        await them.settle([Ack(theirs[1].receipt)])
        assert (await us.look()).trimmed == 2
        assert await left(world.backend) == (1, ids[3])


async def test_a_private_group_that_nobody_keeps_holds_back_one_look_more(backend_url: str) -> None:
    """It is removed by the look that finds it, behind everything else."""
    async with open_world(backend_url) as world, world.backend.join(US) as us:
        await begin(world.backend, 2)
        await world.backend.create_private("{orders}", "~fan-them", BEGINNING, 0.0)
        await us.settle([Ack(it.receipt) for it in await us.read(2, 0)])
        looks = [await us.look() for _ in range(2)]
        assert [look.trimmed for look in looks] == [0, 2]
        assert looks[0].quiet_for == 0


@pytest.mark.parametrize("word", ["release", "delay", "retry", "bury"])
async def test_what_waits_anywhere_is_not_finished(backend_url: str, word: str) -> None:
    """Released, delayed, or kept as dead: it stays, and is given when its time has come."""
    async with open_world(backend_url) as world, world.backend.join(US) as us:
        ids = await begin(world.backend, 3)
        first, second, third = await us.read(3, 0)
        words: dict[str, Settlement] = {
            "release": Release(second.receipt),
            "delay": Release(second.receipt, 30.0),
            "retry": Retry(second.receipt, 30.0),
            "bury": Bury(second.receipt, DEATH),
        }
        await us.settle([Ack(first.receipt), words[word], Ack(third.receipt)])
        assert (await us.look()).trimmed == 1
        assert await left(world.backend) == (2, ids[1])
        if word == "release":
            (again,) = (await us.take_over(1)).entries
            assert await us.settle([Ack(again.receipt)]) == [Settled.DONE]
            assert (await us.look()).trimmed == 2


@pytest.mark.parametrize("kept", [0, 1])
async def test_what_is_dead_and_deleted_holds_nothing_back(backend_url: str, kept: int) -> None:
    """Nobody can list it, or send it back; behind it, what is dead and there does."""
    async with open_world(backend_url) as world, world.backend.join(US) as us:
        ids = await begin(world.backend, 5)
        read = await us.read(5, 0)
        dead, others = read[: 2 + kept], read[2 + kept :]
        await us.settle([Bury(it.receipt, DEATH) for it in dead])
        await us.settle([Ack(it.receipt) for it in others])
        assert (await us.look()).trimmed == 0
        for entry_id in ids[:2]:
            world.delete_entry(entry_id, "{orders}")
        await us.look()
        assert await left(world.backend) == ((3, ids[2]) if kept else (0, None))


async def test_what_is_within_the_bounds_stays(backend_url: str) -> None:
    """So many of the newest, and what is younger; it goes that is beyond either."""
    retention = Retention(max_length=3, max_age=2.0)
    async with (
        open_world(backend_url) as world,
        world.backend.join(attrs.evolve(US, retention=retention)) as us,
    ):
        await begin(world.backend, 5)
        await us.settle([Ack(it.receipt) for it in await us.read(5, 0)])
        assert ((await us.look()).trimmed, (await us.look()).trimmed) == (2, 0)
        await trio.sleep(2.1)
        assert (await us.look()).trimmed == 3
        assert await left(world.backend) == (0, None)


async def test_a_declared_loss_takes_what_is_unfinished(backend_url: str) -> None:
    """What is pending is told to be gone; what was not read is skipped."""
    retention = Retention(max_length=1, finished=False)
    async with (
        open_world(backend_url) as world,
        world.backend.join(attrs.evolve(US, retention=retention)) as us,
    ):
        ids = await begin(world.backend, 4)
        (held,) = await us.read(1, 0)
        assert (await us.look()).trimmed == 3
        assert await us.renew([held.receipt]) == {ids[0]: Settled.GONE}
        assert [it.id for it in await us.read(4, 0)] == ids[3:]


async def test_a_topic_is_left_alone_for_a_while(backend_url: str) -> None:
    """By every member with the same retention; not by those that have another one."""
    seldom = attrs.evolve(US, retain_every=30.0)
    other = attrs.evolve(seldom, retention=Retention(max_length=1), consumer="other")
    async with (
        open_world(backend_url) as world,
        world.backend.join(seldom) as us,
        world.backend.join(attrs.evolve(seldom, group="shipping")) as them,
        world.backend.join(other) as others,
    ):
        await begin(world.backend, 3, "billing", "shipping")
        for member in (us, them):
            await member.settle([Ack(it.receipt) for it in await member.read(1, 0)])
        assert ((await us.look()).trimmed, (await them.look()).trimmed) == (1, 0)
        for member in (us, them):
            await member.settle([Ack(it.receipt) for it in await member.read(3, 0)])
        assert [(await it.look()).trimmed for it in (us, them, others)] == [0, 0, 1]


@pytest.mark.parametrize("retention", [Retention(max_length=0), Retention(max_age=0)])
async def test_much_goes_in_parts(backend: RedisBackend, retention: Retention) -> None:
    """No look takes long; the next one follows at once."""
    us_too = attrs.evolve(US, retention=retention, retain_every=30.0)
    async with backend.join(us_too) as us:
        await begin(backend, 1)
        fill = "for n = 1, 25050 do redis.call('XADD', KEYS[1], '*', 'n', n) end"
        await command(backend, "EVAL", fill, 1, "{orders}")
        await command(backend, "XGROUP", "SETID", "{orders}", "billing", "$")
        await trio.sleep(0.01)
        look = await us.look()
        assert (look.due_in, 0 < look.trimmed <= 11000) == (0, True)
        trimmed, looks = look.trimmed, 1
        while look.due_in == 0:
            look = await us.look()
            trimmed, looks = trimmed + look.trimmed, looks + 1
        assert (trimmed, await left(backend)) == (25051, (0, None))
        assert looks <= 130


async def test_a_loss_that_is_declared_is_cut_in_parts_too(backend: RedisBackend) -> None:
    """By its length."""
    retention = Retention(max_length=70, finished=False)
    async with backend.join(attrs.evolve(US, retention=retention)) as us:
        await begin(backend, 1)
        fill = "for n = 1, 12000 do redis.call('XADD', KEYS[1], '*', 'n', n) end"
        await command(backend, "EVAL", fill, 1, "{orders}")
        assert [(await us.look()).trimmed for _ in range(3)] == [10000, 1931, 0]
        assert (await left(backend))[0] == 70


@pytest.mark.parametrize(
    "last", ["7-9", "7-1999", f"7-{2**64 - 1}", f"9-{2**64 - 1}", f"{2**64 - 1}-{2**64 - 1}"]
)
async def test_ids_are_counted_on_as_servers_do(backend: RedisBackend, last: str) -> None:
    """Behind the last one that was delivered begins what was not."""
    async with backend.join(US) as us:
        await backend.create_group("{orders}", "billing", BEGINNING)
        await command(backend, "XADD", "{orders}", "1-1", "n", "1")
        await command(backend, "XADD", "{orders}", last, "n", "2")
        await us.settle([Ack(it.receipt) for it in await us.read(2, 0)])
        is_greatest = last.startswith("1844")
        assert (await us.look()).trimmed == 1 + (not is_greatest)


async def test_a_large_entry_is_not_looked_at_with_others(backend: RedisBackend) -> None:
    """Counting stops where it has read a lot."""
    async with backend.join(US) as us:
        await backend.create_group("{orders}", "billing", BEGINNING)
        await backend.append("{orders}", [((b"n", bytes(700_000)),) for _ in range(5)])
        await us.settle([Ack(it.receipt) for it in await us.read(5, 0)])
        looks = [await us.look() for _ in range(3)]
        assert [(it.trimmed, it.due_in) for it in looks] == [(3, 0), (2, None), (0, None)]
