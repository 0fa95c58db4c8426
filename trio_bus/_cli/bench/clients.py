"""Who is measured by ``trio-bus bench``, as data."""

from __future__ import annotations

from importlib.util import find_spec

import attrs

from .works import Kind, Work

_MOVING = frozenset({Kind.PUBLISH, Kind.CONSUME, Kind.BATCHES, Kind.LATENCY})
_SINGLE = frozenset({Kind.PUBLISH, Kind.CONSUME, Kind.LATENCY})


@attrs.frozen(kw_only=True)
class Client:
    """One who does the work: a program that `serve` runs, in a process of its own."""

    name: str
    program: str
    """The module, inside of this package."""
    kinds: frozenset[Kind]
    needs: str | None = None
    """The package without which it cannot run."""
    share: float = 1.0
    """Of the messages that others get: it is so slow."""

    @property
    def is_installed(self) -> bool:
        """Whether it can run here."""
        return self.needs is None or find_spec(self.needs) is not None

    def order(self, work: Work) -> Work:
        """Return what it is asked for."""
        return work if work.kind is Kind.LATENCY else work.scaled(self.share)

    def does(self, work: Work) -> bool:
        """Say whether it can be asked for that."""
        return work.kind in self.kinds


OURS = Client(name="trio_bus", program="ours", kinds=frozenset(Kind))
FLOOR = Client(
    name="floor", program="floor", kinds=frozenset({Kind.PUBLISH, Kind.CONSUME, Kind.BATCHES})
)
"""A bare socket that blocks, and hiredis."""
TRIO_FLOOR = Client(name="trio floor", program="trio_floor", kinds=_SINGLE)
"""The same on bare trio sockets: tasks share one connection, and handlers are tasks."""
PEERS = (
    Client(name="redis.asyncio", program="peers.redis_asyncio", kinds=_MOVING, share=0.25),
    Client(
        name="redis.asyncio, one connection",
        program="peers.redis_single",
        kinds=frozenset({Kind.PUBLISH}),
        share=0.25,
    ),
    Client(name="coredis", program="peers.coredis", kinds=_MOVING, needs="coredis", share=0.25),
    Client(name="streaq", program="peers.streaq", kinds=_SINGLE, needs="streaq", share=0.05),
    Client(
        name="FastStream",
        program="peers.faststream",
        kinds=_MOVING,
        needs="faststream",
        share=0.1,
    ),
    Client(name="taskiq", program="peers.taskiq", kinds=_SINGLE, needs="taskiq_redis", share=0.05),
)
