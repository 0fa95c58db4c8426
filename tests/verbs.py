"""The verbs of a delivery, by name."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

from trio_bus import Delivery

SETTLING: dict[str, Callable[[Delivery], Awaitable[None]]] = {
    "ack": lambda delivery: delivery.ack(),
    "retry": lambda delivery: delivery.retry("again"),
    "reject": lambda delivery: delivery.reject("bad"),
    "release": lambda delivery: delivery.release(),
}
VERBS: dict[str, Callable[[Delivery], Awaitable[None]]] = {
    **SETTLING,
    "renew": lambda delivery: delivery.renew(),
}
