"""What a simulated world is made of."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from enum import Enum, unique

import attrs

from trio_bus._config import AckMode
from trio_bus._delivery import Delivery

from .faults import Trouble
from .handling import Handling


@unique
class Form(Enum):
    """One way in which messages get into a topic."""

    PUBLISH = "publish"
    BATCH = "batch"
    """Three at once."""
    NOWAIT = "nowait"
    """Without waiting for the answer."""
    KEYED = "keyed"
    """Twice, with one idempotency key."""
    SCHEDULED = "scheduled"
    CANCELLED = "cancelled"
    """Scheduled, and taken out of the schedule again, perhaps too late."""
    EXPIRING = "expiring"
    """With an ``expires_at`` that may be over when it comes."""
    OVERSIZED = "oversized"
    """Larger than its consumers allow."""
    FOREIGN = "foreign"
    """By somebody else: no message can be made of it."""


Numbers = tuple[int, int]
"""The least and the most, both included."""

_WELL_BEHAVED = (Handling.SUCCEED, Handling.SUCCEED, Handling.FAIL, Handling.REJECT)


@attrs.frozen(kw_only=True)
class Scenario:
    """What there is in a world, and what can happen in it: the choices that a seed makes.

    A sequence is chosen from evenly: what stands in it twice is chosen twice as often. Durations
    are in seconds of virtual time.
    """

    name: str
    about: str = ""
    """What it is good for, in a line."""
    messages: Numbers = (1, 3)
    """How many are published."""
    forms: tuple[Form, ...] = (Form.PUBLISH,)
    """How they are published."""
    publishers: int = 1
    """Processes that publish."""
    groups: tuple[str, ...] = ("billing",)
    """Each of them handles every message."""
    consumers: Numbers = (1, 2)
    """Processes in each group."""
    max_in_flight: tuple[int, ...] = (1, 2)
    max_pending_acks: tuple[int | None, ...] = (None,)
    max_retry: tuple[int, ...] = (1, 3)
    leases: tuple[float, ...] = (0.5, 1.0)
    """See ``claim_idle_timeout``."""
    handler_timeouts: tuple[float | None, ...] = (None,)
    drain_timeouts: tuple[float, ...] = (0.0, 1.0)
    ack_modes: tuple[AckMode, ...] = (AckMode.AUTO_ON_HANDLER_SUCCESS,)
    pulling: tuple[bool, ...] = (False,)
    """Whether a program iterates over its deliveries; it settles them itself then (MANUAL)."""
    burying: tuple[bool, ...] = (True,)
    """Whether there is a dead-letter topic."""
    handlings: tuple[Handling, ...] = _WELL_BEHAVED
    """What handlers do."""
    handler: Callable[[Delivery], Awaitable[None]] | None = None
    """A handler of your own; it is called instead of all that ``handlings`` says."""
    steps: Numbers = (1, 2)
    """How many starts of a message are made up; the last one repeats."""
    longest: float = 0.3
    """How long a handler takes at most that does not take long on purpose."""
    stays: tuple[float, ...] = (60.0,)
    """How long a consumer stays before it is left and opened again."""
    latencies: tuple[float, ...] = (0.0,)
    """How long an operation is on its way at most, and as long on its way back."""
    troubles: tuple[Trouble, ...] = ()
    """Which faults there are."""
    faults: Numbers = (0, 3)
    """How many of them."""
    seconds: float = 3.0
    """How long publishing and faults go on; then everything heals."""
