"""Measuring any library: what is asked of all is the same."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import cast

import attrs

from trio_bus._cli.bench.floor import Floor, open_floor
from trio_bus._cli.bench.meter import Meter, Tally, now, quantiles
from trio_bus._cli.bench.order import Figures, Order, number_of
from trio_bus._cli.bench.program import Wrong, serve
from trio_bus._cli.bench.works import Kind

from .library import Library, Loop, Open

_PORTION = 500
_CHECKS = 500
_PAUSE = 0.01


def main(open_library: Open, loop: Loop) -> None:
    """Answer orders until there are no more."""
    serve(partial(measure, open_library, loop))


def measure(open_library: Open, loop: Loop, order: Order) -> Figures:
    """Do what is asked with a library that is opened for it."""
    with open_floor(order.url) as plain:
        driver = _Driver(order, loop, Floor(plain))
        doings = {
            Kind.PUBLISH: driver.publish,
            Kind.CONSUME: driver.consume,
            Kind.BATCHES: driver.consume,
            Kind.LATENCY: driver.latency,
        }

        async def run() -> Figures:
            async with open_library(order) as library:
                return await doings[order.work.kind](library)

        return loop.run(run)


@attrs.frozen
class _Driver:
    order: Order
    loop: Loop
    floor: Floor

    async def publish(self, library: Library) -> Figures:
        work = self.order.work
        payload = self.order.payload()

        async def repeat() -> None:
            for _ in range(work.turns):
                if work.batch == 1:
                    await library.publish(payload)
                else:
                    await library.publish_many([payload] * work.batch)

        await self.loop.together([partial(library.publish, payload)] * work.width)  # it connects
        meter = Meter()
        meter.start()
        await self.loop.together([repeat] * work.width)
        meter.stop()
        self._check_length(library, work.published + work.width)
        return meter.figures(work.published)

    async def consume(self, library: Library) -> Figures:
        work = self.order.work
        done = self.loop.event()
        tally = Tally(work.count, done.set)

        async def handle(payloads: Sequence[bytes]) -> None:
            tally.count(len(payloads))

        for first in range(0, work.count, _PORTION):
            count = min(_PORTION, work.count - first)
            await library.publish_many([self.order.payload()] * count)
        async with library.consuming(work.width, work.batch, handle):
            await self.loop.in_time(done.wait())
            await self._check_acked(library)
        return tally.figures()

    async def latency(self, library: Library) -> Figures:
        work = self.order.work
        sent = [0.0] * work.count
        took: list[float] = []
        done = self.loop.event()

        async def handle(payloads: Sequence[bytes]) -> None:
            (payload,) = payloads
            took.append(now() - sent[number_of(payload)])
            if len(took) == work.count:
                done.set()

        async def send(number: int) -> None:
            payload = self.order.payload(number)
            sent[number] = now()
            await library.publish(payload)

        async with library.consuming(work.width, 1, handle):
            await self.loop.at_rate(work.rate, work.count, send)
            await self.loop.in_time(done.wait())
            await self._check_acked(library)
        return quantiles(took)

    def _check_length(self, library: Library, expected: int) -> None:
        found = cast("int", self.floor.call("XLEN", library.stream))
        if found != expected:
            raise Wrong(f"{found:,} messages were stored, of {expected:,}")

    async def _check_acked(self, library: Library) -> None:
        """Wait a moment: the last acks may be on their way."""
        for _ in range(_CHECKS):
            if not self._pending(library):
                return
            await self.loop.sleep(_PAUSE)
        raise Wrong(f"{self._pending(library):,} messages were handled and not acked")

    def _pending(self, library: Library) -> int:
        reply = self.floor.call("XPENDING", library.stream, library.group)
        return cast("list[int]", reply)[0]
