"""What a tick costs a server, with few and with many entries pending, in microseconds.

``python -m tests.tick_costs [KIND] [ENTRIES]`` prints it for a server of that kind, see
`server_kinds`. `test_tick_costs` holds what must not grow.
Last comes the part of a core that an idle subscription takes meanwhile.
"""

from __future__ import annotations

import re
import statistics
import sys
import time
from collections.abc import Awaitable, Callable
from functools import partial

import attrs
import trio

from tests.redis_world import GROUP, TOPIC, US, command, opened, publish, receipts
from tests.servers import run_server
from trio_bus._backend import GroupMember, Receipt, Release
from trio_bus._bus import Bus
from trio_bus._config import SubscriptionConfig
from trio_bus._delivery import Delivery
from trio_bus._names import ABANDONED, DUE, FREE, own_key
from trio_bus._redis import RedisBackend
from trio_bus._redis.replies import as_text
from trio_bus._subscription import open_subscription

FEW, MANY = 300, 300_000
HOUR = 3600.0
ROUNDS = 25
OURS = 16
"""Entries that we hold: as many as a subscription does, unless it is told otherwise."""
PLACES = {
    "delayed": DUE,
    "released": FREE,
    "abandoned": ABANDONED,
    "held by one": "other",
    "left by a dead one": "dead",
}
"""Where entries are: what it is called here, and whose they are."""
_BATCH = 5_000
_FILL = """
local stream, due, group, consumer = KEYS[1], KEYS[2], ARGV[1], ARGV[2]
for _ = 1, ARGV[3] do
  redis.call('XADD', stream, '*', 'n', '1')
end
local read = redis.call(
  'XREADGROUP', 'GROUP', group, consumer, 'COUNT', ARGV[3], 'STREAMS', stream, '>')
if ARGV[4] ~= '' then
  for _, entry in ipairs(read[1][2]) do
    redis.call('ZADD', due, ARGV[4], entry[1])
  end
end
"""

Costs = dict[str, float]
"""Medians in microseconds, by what was done."""


async def fill(backend: RedisBackend, count: int, consumer: str) -> None:
    """Let a consumer have so many entries; those of ``~due`` are due in the far future."""
    due = "9000000000000" if consumer == DUE else ""
    keys = (TOPIC, own_key(TOPIC, "due", GROUP))
    for at in range(0, count, _BATCH):
        size = min(_BATCH, count - at)
        await command(backend, "EVAL", _FILL, 2, *keys, GROUP, consumer, size, due)


async def spent(backend: RedisBackend) -> int:
    """Return the microseconds that scripts have taken until now."""
    stats = as_text(await command(backend, "INFO", "commandstats"))
    return sum(int(usec) for usec in re.findall(r"cmdstat_eval\w*:calls=\d+,usec=(\d+)", stats))


@attrs.frozen
class Meter:
    """Measures what a script takes on a server."""

    backend: RedisBackend

    async def once(self, act: Callable[[], Awaitable[object]]) -> int:
        """Return the microseconds of one call."""
        before = await spent(self.backend)
        await act()
        return await spent(self.backend) - before

    async def median(self, act: Callable[[], Awaitable[object]]) -> float:
        """Return the median of many calls; the first one may load the script."""
        await act()
        return statistics.median([await self.once(act) for _ in range(ROUNDS)])


async def measure(url: str, count: int, consumer: str) -> Costs:
    """Measure on an empty server, with so many entries in one place besides our own."""
    tending = attrs.evolve(US, lease=0.001 if consumer == "dead" else HOUR)
    ticking = attrs.evolve(tending, consumer="idle", tend_every=HOUR)
    async with (
        opened(url) as backend,
        backend.join(tending) as us,
        backend.join(ticking) as idle,
    ):
        meter = Meter(backend)
        await publish(backend, OURS)
        ours = receipts(await us.read(OURS, 5))
        await us.settle([Release(it) for it in ours])
        ours = receipts((await us.take_over(OURS)).entries)  # the scripts are known now
        await us.renew(ours)
        await fill(backend, count, consumer)
        costs = {"part": await _parts(meter, us)} if consumer in {"other", "dead"} else {}
        costs["tend"] = await meter.median(us.look)
        costs["look"] = await meter.median(idle.look)
        return costs | await _moves(meter, us, ours)


async def _parts(meter: Meter, member: GroupMember) -> float:
    """Return the median of looks that have to begin anew, at 100 leases each; then finish."""
    costs: list[int] = []
    for _ in range(ROUNDS):
        await command(meter.backend, "DEL", own_key(TOPIC, "tending", GROUP))
        costs.append(await meter.once(member.look))
    while (await member.look()).due_in == 0:
        pass
    return statistics.median(costs)


async def _moves(meter: Meter, member: GroupMember, ours: list[Receipt]) -> Costs:
    """Renew, give back and take over, many times."""
    renew, give_back, take_over = list[int](), list[int](), list[int]()
    for _ in range(ROUNDS):
        renew.append(await meter.once(partial(member.renew, ours)))
        give_back.append(await meter.once(partial(member.settle, [Release(it) for it in ours])))
        before = await spent(meter.backend)
        ours = receipts((await member.take_over(OURS)).entries)
        take_over.append(await spent(meter.backend) - before)
        assert len(ours) == OURS
    taken = {"renew": renew, "give back": give_back, "take over": take_over}
    return {name: statistics.median(costs) for name, costs in taken.items()}


async def idle_share(url: str, count: int, seconds: float) -> float:
    """Return the part of a core that a subscription takes while so many wait for their retry."""
    async with opened(url) as backend:
        await fill(backend, count, DUE)
        async with open_subscription(Bus(backend), SubscriptionConfig(TOPIC, GROUP), _finish):
            await trio.sleep(1)  # what it does when it is opened is not idling
            before = time.process_time()
            await trio.sleep(seconds)
            return (time.process_time() - before) / seconds


async def _finish(_: Delivery) -> None:
    """Handle one: nothing is to be done."""


def shown(costs: Costs) -> str:
    """Write costs in one line."""
    return ", ".join(f"{name} {cost:.0f}" for name, cost in costs.items()) + " us"


def main(kind: str = "valkey-9.1", most: str = str(MANY)) -> None:
    """Print what each step costs with few and with many entries pending."""
    for place, consumer in PLACES.items():
        for count in (FEW, int(most)):
            with run_server(kind) as url:
                costs = trio.run(measure, url, count, consumer)
            print(f"{count:,} {place}: {shown(costs)}")
    with run_server(kind) as url:
        share = trio.run(idle_share, url, int(most), 30.0)
    print(f"an idle subscription, {int(most):,} delayed: {share:.2%} of a core")


if __name__ == "__main__":
    main(*sys.argv[1:3])
