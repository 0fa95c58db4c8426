"""An operator in a process of its own: ``python -m tests.redriving_process URL TOPIC``.

Sends everything back that lies in that topic, again and again, each in a call of its own. It waits
for a byte before each, and prints a line then, so that it can be killed in the middle.
"""

from __future__ import annotations

import sys

import trio

from trio_bus import open_bus


async def main(url: str, topic: str) -> None:
    """Send back until killed."""
    async with open_bus(url) as bus:
        while True:
            async for message in bus.dead_letters(topic):
                sys.stdin.buffer.read(1)
                print(message.id, flush=True)
                await bus.redrive(topic, ids=[message.id])


if __name__ == "__main__":
    trio.run(main, sys.argv[1], sys.argv[2])
