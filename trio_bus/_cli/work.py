"""The two groups of the demo, and what their handlers do."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

import trio

from trio_bus._bus import Bus
from trio_bus._config import SubscriptionConfig
from trio_bus._delivery import Delivery
from trio_bus._message import Message
from trio_bus._observer import ErrorEvent, Scope, TransitionEvent

from .weather import Reading

READINGS = "weather"
RESULTS = "weather-results"
DEAD_LETTERS = "{weather}.dead"
CLIMATE = "climate"
ALERTS = "alerts"
WORKER = "worker"
"""The process that is killed."""

STORM = "storm-warning"
IN_FLIGHT = 16
LEASE = 1.0
"""Seconds after which the entries of a killed process are taken over."""

Handler = Callable[[Delivery], Awaitable[None]]


def config(group: str, consumer: str) -> SubscriptionConfig:
    """Say how a consumer of the readings works."""
    return SubscriptionConfig(
        READINGS,
        group,
        consumer=consumer,
        max_in_flight=IN_FLIGHT,
        claim_idle_timeout=LEASE,
        reclaim_interval=0.2,
        dead_letter_topic=DEAD_LETTERS,
    )


def handler(bus: Bus, group: str, worker: str, seconds: float) -> Handler:
    """Return a handler of *group* that takes so long and says that *worker* did it."""
    works = {CLIMATE: _mean, ALERTS: _alert}
    work = works[group]

    async def handle(delivery: Delivery) -> None:
        """Publish what comes of a reading; only then return, which acks it."""
        message = delivery.message
        kind, text = work(Reading.parse(message.payload.decode()))
        await trio.sleep(seconds)
        result = Message(
            RESULTS,
            text.encode(),
            # The same for every delivery, so that handling twice counts once.
            uid=f"{group}:{message.uid}",
            kind=kind,
            key=group,
            source=worker,
            correlation_uid=message.uid,
            headers={"attempt": str(delivery.state.attempt)},
        )
        await bus.publish(result)

    return handle


def _mean(reading: Reading) -> tuple[str, str]:
    return "mean-temperature", str(reading.mean)


def _alert(reading: Reading) -> tuple[str, str]:
    return (STORM, reading.storm) if reading.storm else ("no-storm", "")


class Errors:
    """An observer that hands on what nobody planned: the corrupt record is planned."""

    def __init__(self, tell: Callable[[str], None]) -> None:
        self._tell = tell

    def on_error(self, event: ErrorEvent, /) -> None:
        """Hand it on as text."""
        if event.scope is not Scope.DECODE:
            self._tell(f"{event.scope.value}: {event.error}")

    def on_transition(self, event: TransitionEvent, /) -> None:
        """The results tell of these."""
