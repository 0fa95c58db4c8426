"""Every call of the Redis backend, with the connection cut at every byte of every reply.

Nothing is lost, misrouted or left behind: see `check_accounts`.
"""

from __future__ import annotations

import inspect
import itertools
from collections.abc import Iterator, Sequence

import attrs
import pytest
import trio

from tests.cut_rows import ROWS, WHOLE, Cut, Outcome, Row
from tests.cut_world import World, opened
from tests.redis_world import options
from trio_bus._errors import BusError
from trio_bus._redis import RedisBackend, open_redis
from trio_bus._redis.member import RedisMember
from trio_bus.testing import Act, Exchange, FaultProxy, open_fault_proxy

pytestmark = pytest.mark.long

LANES = 12
"""Worlds at a time: most of a run is waiting to connect again."""
GREETINGS = {"HELLO", "INFO"}
"""Their long replies are cut at the first bytes, and at every 23rd of the rest."""
_EDGE, _STEP = 24, 23
_numbers = itertools.count()


@attrs.frozen
class Run:
    """One cut of one call."""

    row: Row
    cut: Cut
    act: Act


def test_every_public_call_has_a_row() -> None:
    """A new method is not forgotten."""
    # Those end the connection themselves, or wait and send nothing.
    ends = {"aclose", "close", "woken"}
    calls = {
        name
        for kind in (RedisBackend, RedisMember)
        for name, _ in inspect.getmembers(kind, inspect.isfunction)
        if not name.startswith("_")
    }
    assert {row.method for row in ROWS} == calls - ends


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row.name)
@pytest.mark.guards("a retry is not one step")
async def test_a_connection_cut_at_any_byte_loses_nothing(row: Row, server_url: str) -> None:
    """Cut or reset; before the server has the command, and at every byte of the reply to it."""
    async with open_redis(server_url, options()) as direct:
        exchanges = await _measure(row, server_url, direct)
        runs = list(_runs(row, exchanges))
        waiting = iter(runs)

        async def work() -> None:
            async with open_fault_proxy(server_url) as proxy:
                for run in waiting:
                    await _cut(run, proxy, direct)

        async with trio.open_nursery() as nursery:
            for _ in range(min(LANES, len(runs))):
                nursery.start_soon(work)


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row.name)
async def test_replies_that_come_byte_by_byte_are_the_same(row: Row, server_url: str) -> None:
    """How the network packs a reply changes nothing."""
    async with open_redis(server_url, options()) as direct, open_fault_proxy(server_url) as proxy:
        await _run_uncut(row, proxy, direct)
        proxy.piece_size = 1
        await _run_uncut(row, proxy, direct)


async def _measure(row: Row, url: str, direct: RedisBackend) -> Sequence[Exchange]:
    """Learn what the call exchanges on a server that knows the scripts."""
    async with open_fault_proxy(url) as proxy:
        await _run_uncut(row, proxy, direct)
        return await _run_uncut(row, proxy, direct)


async def _run_uncut(row: Row, proxy: FaultProxy, direct: RedisBackend) -> Sequence[Exchange]:
    with trio.fail_after(20):
        async with opened(proxy, direct, _topic(), row.lease) as world:
            await row.prepare(world)
            with proxy.recording() as exchanges:
                outcome = await _call(row, world)
            cut = Cut(max(0, len(exchanges) - 1), WHOLE, tuple(exchanges))
            await row.judge(world, outcome, cut)
            return exchanges


async def _call(row: Row, world: World) -> Outcome:
    try:
        return Outcome(await row.call(world))
    except BusError as error:
        return Outcome(None, error)


def _topic() -> str:
    """Return a new name, always of the same length."""
    return f"{{t{next(_numbers):06}}}"


def _runs(row: Row, exchanges: Sequence[Exchange]) -> Iterator[Run]:
    for number, cut in enumerate(_cuts(exchanges)):
        acts = (Act.CUT, Act.RESET)
        for act in acts if row.both_ways or cut.after in {None, WHOLE} else [acts[number % 2]]:
            yield Run(row, cut, act)


def _cuts(exchanges: Sequence[Exchange]) -> Iterator[Cut]:
    known = tuple(exchanges)
    for command, exchange in enumerate(exchanges):
        yield Cut(command, None, known)
        for after in _offsets(exchange):
            yield Cut(command, after, known)


def _offsets(exchange: Exchange) -> Iterator[int]:
    length = exchange.reply_bytes
    if exchange.command in GREETINGS:
        yield from range(min(length, _EDGE))
        yield from range(_EDGE, length, _STEP)
        yield length - 1
    else:
        yield from range(length)
    yield WHOLE


async def _cut(run: Run, proxy: FaultProxy, direct: RedisBackend) -> None:
    """Make the call with its cut, and look at everything afterwards."""
    row, cut = run.row, run.cut
    try:
        with trio.fail_after(20):
            async with opened(proxy, direct, _topic(), row.lease) as world:
                await row.prepare(world)
                if cut.after is None:
                    fault = proxy.before_command(act=run.act, skip=cut.command)
                else:
                    fault = proxy.in_reply(act=run.act, skip=cut.command, after=cut.after)
                outcome = await _call(row, world)
                await fault.wait_happened()
                await row.judge(world, outcome, cut)
    except BaseException as error:
        error.add_note(f"{row.name}: {run.act} before or in {cut}")
        raise
