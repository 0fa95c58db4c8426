"""trio_bus itself, measured."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

import trio

from . import ours_consuming, ours_lasting, ours_publishing
from .order import Figures, Order
from .program import serve
from .works import Kind

_DOINGS: dict[Kind, Callable[[Order], Awaitable[Figures]]] = {
    Kind.PUBLISH: ours_publishing.publish,
    Kind.CONSUME: ours_consuming.consume,
    Kind.BATCHES: ours_consuming.consume_batches,
    Kind.LATENCY: ours_consuming.latency,
    Kind.SUBSCRIPTIONS: ours_consuming.subscriptions,
    Kind.BACKLOG: ours_lasting.backlog,
    Kind.IDLE: ours_lasting.idle,
    Kind.LIFE: ours_lasting.life,
}


def measure(order: Order) -> Figures:
    """Do what is asked on a new bus."""
    return trio.run(_DOINGS[order.work.kind], order)


if __name__ == "__main__":
    serve(measure)
