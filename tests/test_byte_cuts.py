"""Every call of the Redis backend, with the connection cut before and in every reply.

Nothing is lost, misrouted or left behind: see `check_accounts`. With
``--hypothesis-profile=thorough`` every byte of a reply is tried; else its ends, and every 7th byte
between, or every 61st on a server that is not the one that we bring along: where in a reply the
connection ends is the business of the reader alone, and that is the same for all servers.
"""

from __future__ import annotations

import inspect
import itertools
from collections.abc import Iterator, Sequence

import attrs
import pytest
import trio

from tests import cut_rows
from tests.cut_order_rows import ORDER_ROWS
from tests.cut_rows import WHOLE, Cut, Outcome, Row
from tests.cut_world import World, opened
from tests.profiles import times
from tests.redis_world import options
from tests.server_kinds import ORDINARY
from trio_bus._errors import BusError
from trio_bus._redis import RedisBackend, open_redis
from trio_bus._redis.member import RedisMember
from trio_bus.testing import Act, Exchange, FaultProxy, open_fault_proxy

pytestmark = [pytest.mark.bulk, pytest.mark.any_python, pytest.mark.any_server]

ROWS = [*cut_rows.ROWS, *ORDER_ROWS]
LANES = 12
"""Worlds at a time: most of a run is waiting to connect again."""
GREETINGS = {"HELLO", "INFO"}
"""Their long replies are cut at the first bytes, and at every 23rd of the rest."""
_numbers = itertools.count()


@attrs.frozen
class Sweep:
    """Which bytes of a reply are tried."""

    edge: int
    """So many at both ends."""
    step: int
    """Of those between, one in so many."""
    both_ways: bool
    """Whether each is cut in order and reset, where a row asks for it; else they take turns."""

    def offsets(self, length: int) -> list[int]:
        """Choose among so many bytes."""
        ends = {*range(min(length, self.edge)), *range(max(0, length - self.edge), length)}
        return sorted({*ends, *range(self.edge, length, self.step)})


ALL = Sweep(24, 1, both_ways=True)
SOME = Sweep(2, 7, both_ways=False)
FEW = Sweep(1, 61, both_ways=False)


def sweep_of(kind: str) -> Sweep:
    """Return how much is tried on this server."""
    if times() > 1:
        return ALL
    return SOME if kind == ORDINARY[0] else FEW


@attrs.frozen
class Run:
    """One cut of one call."""

    row: Row
    cut: Cut
    act: Act


def test_every_public_call_has_a_row() -> None:
    """A new method is not forgotten."""
    # Those end the connection themselves, or send nothing.
    ends = {"aclose", "close", "woken", "take_unseen"}
    calls = {
        name
        for kind in (RedisBackend, RedisMember)
        for name, _ in inspect.getmembers(kind, inspect.isfunction)
        if not name.startswith("_")
    }
    assert {row.method for row in ROWS} == calls - ends


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row.name)
@pytest.mark.guards("a retry is not one step")
async def test_a_connection_cut_at_any_byte_loses_nothing(
    row: Row, server_kind: str, server_url: str
) -> None:
    """Cut or reset; before the server has the command, and within and after the reply to it."""
    async with open_redis(server_url, options()) as direct:
        exchanges = await _measure(row, server_url, direct)
        runs = list(_runs(row, exchanges, sweep_of(server_kind)))
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
        async with opened(proxy, direct, _topic(), row.lease, row.retention) as world:
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


def _runs(row: Row, exchanges: Sequence[Exchange], sweep: Sweep) -> Iterator[Run]:
    for number, cut in enumerate(_cuts(exchanges, sweep)):
        acts = (Act.CUT, Act.RESET)
        both = cut.after in {None, WHOLE} or (row.both_ways and sweep.both_ways)
        for act in acts if both else [acts[number % 2]]:
            yield Run(row, cut, act)


def _cuts(exchanges: Sequence[Exchange], sweep: Sweep) -> Iterator[Cut]:
    known = tuple(exchanges)
    for command, exchange in enumerate(exchanges):
        yield Cut(command, None, known)
        for after in _offsets(exchange, sweep):
            yield Cut(command, after, known)


def _offsets(exchange: Exchange, sweep: Sweep) -> Iterator[int]:
    greets = exchange.command in GREETINGS
    yield from (attrs.evolve(sweep, step=max(sweep.step, 23)) if greets else sweep).offsets(
        exchange.reply_bytes
    )
    yield WHOLE


async def _cut(run: Run, proxy: FaultProxy, direct: RedisBackend) -> None:
    """Make the call with its cut, and look at everything afterwards."""
    row, cut = run.row, run.cut
    try:
        with trio.fail_after(20):
            async with opened(proxy, direct, _topic(), row.lease, row.retention) as world:
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
