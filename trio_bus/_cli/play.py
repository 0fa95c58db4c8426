"""One run of the demo, from the start of its server to the end."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AsyncExitStack
from datetime import UTC, datetime
from typing import Protocol, final

import trio

from trio_bus._backend import Membership, Record
from trio_bus._bus import Bus
from trio_bus._config import SubscriptionConfig
from trio_bus._connect import open_bus
from trio_bus._dead_letter import dead_letter_of
from trio_bus._delivery import Delivery
from trio_bus._entry_id import EntryId
from trio_bus._message import Message
from trio_bus._one_error import one_error
from trio_bus._options import BusOptions
from trio_bus._subscription import open_subscription
from trio_bus._trio_util import AsyncValue

from .tally import Tally
from .verdict import DeadReading, Outcome
from .victim import Victim, open_victim
from .weather import Expected
from .work import (
    ALERTS,
    CLIMATE,
    DEAD_LETTERS,
    IN_FLIGHT,
    LEASE,
    READINGS,
    RESULTS,
    WORKER,
    Errors,
    config,
    handler,
)

CORRUPT: Record = ((b"data", b"2014/13/\xff\xfe,not a reading"),)
"""What neither group can decode."""

_RATE = 400
"""Readings per second: slow enough to watch."""
_SECONDS = {CLIMATE: 0.06, ALERTS: 0.01}
"""How long the handlers take in this process."""
_WORKER_SHARE = 200
"""How many readings the worker has handled when it is killed."""
_PATIENCE = 60.0
"""Seconds after which what is missing counts as lost."""


class Stage(Protocol):
    """Where the play is seen."""

    def note(self, text: str) -> None:
        """Say what happened."""
        ...

    def move(self, name: str, done: int) -> None:
        """Set the bar of that name."""
        ...

    async def draw(
        self,
        total: int,
        *names: str,
        task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED,
    ) -> None:
        """Show a bar for each name, and go on until cancelled."""
        ...


@final
class Play:
    """Publishes, handles, kills and sums up."""

    def __init__(self, stage: Stage, expected: Expected) -> None:
        self._stage = stage
        self._lines = expected.lines
        self._tally = Tally()
        self._results = AsyncValue(0)
        self._published = 0
        self._held = 0
        self._killed_at: float | None = None

    async def run(self) -> Outcome:
        """Do it all; return what it came to, complete or not."""
        options = BusOptions(observer=Errors(self._stage.note))
        async with open_bus("embedded:", options) as bus:
            self._stage.note("started a Valkey server, on a socket in a temporary directory")
            with trio.move_on_after(_PATIENCE):
                await self._replay(bus)
            return Outcome(
                published=self._published,
                tally=self._tally,
                held=self._held,
                dead=await _dead_readings(bus),
                left=await _left(bus),
            )

    async def _replay(self, bus: Bus) -> None:
        """Open what takes part; leave when everything is there."""
        async with AsyncExitStack() as stack:
            enter = stack.enter_async_context
            await enter(open_subscription(bus, SubscriptionConfig(RESULTS, "demo"), self._count))
            for group, seconds in _SECONDS.items():
                work = handler(bus, group, "demo", seconds)
                await enter(open_subscription(bus, config(group, "demo"), work))
            victim = await enter(open_victim(bus))
            await victim.wait_joined()
            self._stage.note(f"group {ALERTS}: {IN_FLIGHT} in flight in this process")
            self._stage.note(
                f"group {CLIMATE}: {IN_FLIGHT} in flight here, {IN_FLIGHT} in process {victim.pid}"
            )
            await self._act(bus, victim)

    async def _act(self, bus: Bus, victim: Victim) -> None:
        with one_error():
            async with trio.open_nursery() as nursery:
                await nursery.start(self._stage.draw, len(self._lines), "published", *_SECONDS)
                nursery.start_soon(self._kill, victim)
                await self._publish(bus)
                await self._until(lambda: self._tally.is_complete(len(self._lines)))
                await _wait_dead_letters(bus)
                nursery.cancel_scope.cancel("there is nothing more to see")

    async def _publish(self, bus: Bus) -> None:
        """Replay the file, a line an event; one corrupt record is among them."""
        begin = trio.current_time()
        for number, line in enumerate(self._lines):
            if number == len(self._lines) // 2:
                await bus.backend.append(READINGS, [CORRUPT])
            await bus.publish(_event(line))
            self._published += 1
            self._stage.move("published", self._published)
            await trio.sleep_until(begin + number / _RATE)

    async def _kill(self, victim: Victim) -> None:
        await self._until(lambda: self._tally.by_worker.get(WORKER, 0) >= _WORKER_SHARE)
        self._held = await victim.kill_holding()
        self._killed_at = trio.current_time()
        self._stage.note(f"killed process {victim.pid} (kill -9): it held {self._held} entries")

    async def _count(self, delivery: Delivery) -> None:
        """Sum up a result."""
        redelivered = self._tally.redelivered[CLIMATE]
        none_before = not redelivered
        self._tally.add(delivery.message)
        if self._killed_at is not None and none_before and redelivered:
            seconds = trio.current_time() - self._killed_at
            self._stage.note(
                f"its lease ran out: they were taken over {seconds:.1f} s after the kill"
            )
        for group, handled in self._tally.handled.items():
            self._stage.move(group, len(handled))
        self._results.value += 1

    async def _until(self, condition: Callable[[], bool]) -> None:
        """Wait for what the next result may bring."""
        await self._results.wait_value(lambda _: condition())


def _event(line: str) -> Message:
    date = line.partition(",")[0]
    return Message(
        READINGS,
        line.encode(),
        uid=date,
        kind="daily-reading",
        source="seattle-weather.csv",
        occurred_at=datetime.strptime(date, "%Y/%m/%d").replace(tzinfo=UTC),
        content_type="text/csv",
    )


async def _wait_dead_letters(bus: Bus) -> None:
    while (await bus.info(DEAD_LETTERS)).length < len(_SECONDS):  # noqa: ASYNC110 - it is elsewhere
        await trio.sleep(0.02)


async def _dead_readings(bus: Bus) -> tuple[DeadReading, ...]:
    """Read the dead-letter topic as records: what is there cannot be decoded."""
    await bus.backend.create_group(DEAD_LETTERS, "demo", EntryId(0, 0))
    membership = Membership(
        topic=DEAD_LETTERS, group="demo", consumer="demo", lease=LEASE, max_attempt=1
    )
    async with bus.backend.join(membership) as member:
        entries = await member.read(100, 0.1)
    dead: list[DeadReading] = []
    for entry in entries:
        context = dead_letter_of(entry.record)
        if context is not None:
            unchanged = entry.record[: len(CORRUPT)] == CORRUPT
            dead.append(DeadReading(context.group, context.attempts, unchanged))
    return tuple(dead)


async def _left(bus: Bus) -> int:
    """Count what the groups have not finished."""
    groups = (await bus.info(READINGS)).groups
    return sum(
        group.pending + group.released + group.delayed + group.dead + (group.lag or 0)
        for group in groups
    )
