"""A consumer of the group ``climate`` as a process of its own: the one that the demo kills.

It ends when its standard input does, so that it never outlives the demo.
"""

from __future__ import annotations

import sys

import trio

from trio_bus._connect import open_bus
from trio_bus._options import BusOptions
from trio_bus._subscription import open_subscription

from .pipes import read_some
from .work import CLIMATE, WORKER, Errors, config, handler

_SECONDS = 0.08


async def main(url: str) -> None:
    """Work until standard input ends."""
    with trio.CancelScope() as scope:
        options = BusOptions(observer=Errors(lambda _: None), command_timeout=1.0)
        async with open_bus(url, options) as bus, trio.open_nursery() as nursery:
            nursery.start_soon(_end_with_parent, scope)
            work = handler(bus, CLIMATE, WORKER, _SECONDS)
            async with open_subscription(bus, config(CLIMATE, WORKER), work):
                await trio.sleep_forever()


async def _end_with_parent(scope: trio.CancelScope) -> None:
    while await read_some(0):
        pass
    scope.cancel("the demo has ended")


if __name__ == "__main__":
    trio.run(main, sys.argv[1])
