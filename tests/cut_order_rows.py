"""Calls of the Redis backend that keep an order, and what they owe when the connection is cut."""

# pyright: reportPrivateUsage=false
# Whether the link is back is known only inside.

from __future__ import annotations

from typing import cast

from tests.cut_rows import Cut, Outcome, Row, hold_three, nothing, raised
from tests.cut_world import OLDEST, World, check_accounts, ids, membership_of
from trio_bus._entry_id import EntryId
from trio_bus._ordering import Queue, Start


async def become_active(world: World) -> int:
    """Be active, with a new token."""
    await world.backend._link.wait_connected()
    token = await world.member.lead(None)
    assert token is not None
    return token


async def be_active(world: World) -> None:
    world.token = await become_active(world)


async def ask_for_the_lead(world: World) -> object:
    return await world.member.lead(None)


async def keep_the_lead(world: World) -> object:
    return await world.member.lead(world.token)


async def judge_lead(world: World, outcome: Outcome, cut: Cut) -> None:
    """Whoever asks again is active, and has a newer token."""
    told = 0 if raised(outcome, cut) else outcome.result
    assert isinstance(told, int)
    assert await become_active(world) > told
    await check_accounts(world)


async def judge_kept(world: World, outcome: Outcome, cut: Cut) -> None:
    """It is the same token, told or not."""
    assert raised(outcome, cut) or outcome.result == world.token
    await world.backend._link.wait_connected()
    assert await world.member.lead(world.token) == world.token
    await check_accounts(world)


async def give_up_lead(world: World) -> object:
    await world.member.give_up_lead()
    return None


async def judge_given_up(world: World, outcome: Outcome, cut: Cut) -> None:
    """Somebody else can be active then, unless the server never heard of it."""
    raised(outcome, cut)
    async with world.direct.join(membership_of(world.topic, "them", 60)) as them:
        assert (await them.lead(None) is None) == cut.is_not_executed
    await check_accounts(world)


async def survey(world: World) -> object:
    return await world.member.survey(None, 10)


async def judge_survey(world: World, outcome: Outcome, cut: Cut) -> None:
    """All is told, or nothing; and nothing changes."""
    if not raised(outcome, cut):
        found = cast("Queue", outcome.result)
        assert [it.id for it in found.entries] == ids(world.entries)
    assert await check_accounts(world) == dict.fromkeys(ids(world.entries), 1)


async def three_are_new(world: World) -> None:
    await be_active(world)
    await world.add(3)


async def draw(world: World) -> object:
    return await world.member.draw(world.token, 10)


async def judge_drawn(world: World, outcome: Outcome, cut: Cut) -> None:
    """A survey of the next term finds what was moved; nothing was counted."""
    there = [at for at, _ in await world.stored()]
    if not raised(outcome, cut):
        assert [it.id for it in cast("Queue", outcome.result).entries] == there
    token = await become_active(world)
    found = await world.member.survey(None, 10)
    rest = await world.member.draw(token, 10)
    assert rest is not None
    assert [it.id for it in (*found.entries, *rest.entries)] == there
    await start_all(world, token, there)
    assert await check_accounts(world) == dict.fromkeys(there, 1)


async def three_wait_for_their_key(world: World) -> None:
    await three_are_new(world)
    await world.member.draw(world.token, 10)


async def start(world: World) -> object:
    return await world.member.start(world.token, [at for at, _ in await world.stored()])


async def judge_started(world: World, outcome: Outcome, cut: Cut) -> None:
    """What was started and not told is given back, uncounted, and starts in the next term."""
    there = [at for at, _ in await world.stored()]
    if not raised(outcome, cut):
        taken = cast("Start", outcome.result).taken
        assert [(it.id, it.attempt) for it in taken.entries] == [(at, 1) for at in there]
    await start_all(world, await become_active(world), there)
    assert await check_accounts(world) == dict.fromkeys(there, 1)


async def start_all(world: World, token: int, there: list[EntryId]) -> None:
    """Start what can be started; lost replies have made the portions smaller."""
    for entry_id in there:
        assert await world.member.start(token, [entry_id]) is not None


async def wait_for_growth(world: World) -> object:
    await world.member.grown(OLDEST, 5)
    return None


async def wait_in_vain(world: World) -> object:
    await world.member.grown(world.entries[-1].id, 0.001)
    return None


async def judge_growth(world: World, outcome: Outcome, cut: Cut) -> None:
    """It tells nothing, and changes nothing."""
    raised(outcome, cut)
    assert await check_accounts(world) == dict.fromkeys(ids(world.entries), 1)


ORDER_ROWS = [
    Row("lead", "nobody does", nothing, ask_for_the_lead, judge_lead),
    Row("lead", "still", be_active, keep_the_lead, judge_kept),
    Row("give_up_lead", "of ours", be_active, give_up_lead, judge_given_up),
    Row("survey", "three", hold_three, survey, judge_survey),
    Row("draw", "three", three_are_new, draw, judge_drawn),
    Row("start", "three", three_wait_for_their_key, start, judge_started),
    Row("grown", "long ago", hold_three, wait_for_growth, judge_growth),
    Row("grown", "not yet", hold_three, wait_in_vain, judge_growth, both_ways=False),
]
