"""What a simulated world is made of."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from enum import Enum, unique

import attrs

from trio_bus._checks import count, methods, one_of, optional, seconds
from trio_bus._codec import Codec
from trio_bus._delivery import Delivery
from trio_bus._fields import FieldsCodec
from trio_bus._modes import AckMode, OrderingMode
from trio_bus._retention import Retention

from .faults import Trouble
from .handling import Handling
from .limits import each, group, numbers, some


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
    LARGEST = "largest"
    """As large as its consumers allow."""


Numbers = tuple[int, int]
"""The least and the most, both included."""

_codec = methods("encode", "decode", "max_record_bytes")
_OPERATIONS = (
    *("read", "read", "take_over", "take_over", "settle", "settle", "renew", "renew", "look"),
    *("take_booked", "booking", "create_group", "forget", "recover"),
)
"""What matters most, more often."""
_WELL_BEHAVED = (Handling.SUCCEED, Handling.SUCCEED, Handling.FAIL, Handling.REJECT)


@attrs.frozen(kw_only=True)
class Scenario:
    """What there is in a world, and what can happen in it: the choices that a seed makes.

    A sequence is chosen from evenly: what stands in it twice is chosen twice as often. Durations
    are in seconds of virtual time.

    Raises:
      ValidationError: there is nothing to choose from, or something that cannot be.
    """

    name: str = attrs.field(validator=one_of(str))
    about: str = ""
    """What it is good for, in a line."""
    messages: Numbers = attrs.field(default=(1, 3), validator=numbers(0))
    """How many are published."""
    forms: tuple[Form, ...] = attrs.field(default=(Form.PUBLISH,), validator=some(one_of(Form)))
    """How they are published."""
    largest: tuple[int, ...] = attrs.field(default=(200,), validator=some(count(10)))
    """The payload that consumers allow, in bytes."""
    codecs: tuple[Codec, ...] = attrs.field(default=(FieldsCodec(),), validator=some(_codec))
    """How messages look on the server."""
    publishers: int = attrs.field(default=1, validator=count(1))
    """Processes that publish."""
    groups: tuple[str, ...] = attrs.field(default=("billing",), validator=some(group))
    """Each of them handles every message."""
    fan_outs: tuple[str, ...] = attrs.field(default=(), validator=each(group))
    """Which of them fan out: each of their consumers handles every message."""
    fan_out_expiries: tuple[float, ...] = attrs.field(
        default=(300.0,), validator=some(seconds(above=True))
    )
    consumers: Numbers = attrs.field(default=(1, 2), validator=numbers(1))
    """Processes in each group."""
    reclaim_intervals: tuple[float, ...] = attrs.field(
        default=(0.1, 0.25), validator=some(seconds(above=True))
    )
    block_timeouts: tuple[float, ...] = attrs.field(
        default=(2.0,), validator=some(seconds(above=True))
    )
    max_in_flight: tuple[int, ...] = attrs.field(default=(1, 2), validator=some(count(1)))
    max_in_flight_bytes: tuple[int | None, ...] = attrs.field(
        default=(None,), validator=some(optional(count(1)))
    )
    max_pending_acks: tuple[int | None, ...] = attrs.field(
        default=(None,), validator=some(optional(count(1)))
    )
    max_retry: tuple[int, ...] = attrs.field(default=(1, 3), validator=some(count(0)))
    leases: tuple[float, ...] = attrs.field(default=(0.5, 1.0), validator=some(seconds(0.1)))
    """See ``claim_idle_timeout``."""
    retentions: tuple[Retention | None, ...] = attrs.field(
        default=(None,), validator=some(optional(one_of(Retention)))
    )
    """What a group removes from the topic."""
    failure_thresholds: tuple[int | None, ...] = attrs.field(
        default=(None,), validator=some(optional(count(2)))
    )
    outages: tuple[float, ...] = attrs.field(default=(), validator=each(seconds()))
    """How long the database of all handlers is down, from some moment on: they fail then."""
    poison: Numbers | None = attrs.field(default=None, validator=optional(numbers(0)))
    """How many messages fail whenever they are handled, whatever ``handlings`` says."""
    handler_timeouts: tuple[float | None, ...] = attrs.field(
        default=(None,), validator=some(optional(seconds()))
    )
    drain_timeouts: tuple[float, ...] = attrs.field(default=(0.0, 1.0), validator=some(seconds()))
    ack_modes: tuple[AckMode, ...] = attrs.field(
        default=(AckMode.AUTO_ON_HANDLER_SUCCESS,), validator=some(one_of(AckMode))
    )
    ordering_modes: tuple[OrderingMode, ...] = attrs.field(
        default=(OrderingMode.NONE,), validator=some(one_of(OrderingMode))
    )
    max_parked: tuple[int, ...] = attrs.field(default=(10_000,), validator=some(count(1)))
    """With `OrderingMode.KEY`."""
    keys: tuple[str, ...] = attrs.field(default=("",), validator=some(one_of(str)))
    """Of what is published; empty for none."""
    pulling: tuple[bool, ...] = attrs.field(default=(False,), validator=some(one_of(bool)))
    """Whether a program iterates over its deliveries; it settles them itself then (MANUAL)."""
    batching: tuple[bool, ...] = attrs.field(default=(False,), validator=some(one_of(bool)))
    """Whether deliveries are handled together, in batches."""
    max_waits: tuple[float, ...] = attrs.field(default=(0.0,), validator=some(seconds()))
    """How long a batch may wait, of a program that iterates over batches."""
    burying: tuple[bool, ...] = attrs.field(default=(True,), validator=some(one_of(bool)))
    """Whether there is a dead-letter topic."""
    handlings: tuple[Handling, ...] = attrs.field(
        default=_WELL_BEHAVED, validator=some(one_of(Handling))
    )
    """What handlers do."""
    handler: Callable[[Delivery], Awaitable[None]] | None = None
    """A handler of your own; it is called instead of all that ``handlings`` says."""
    steps: Numbers = attrs.field(default=(1, 2), validator=numbers(1))
    """How many starts of a message are made up; the last one repeats."""
    longest: float = attrs.field(default=0.3, validator=seconds())
    """How long a handler takes at most that does not take long on purpose."""
    stays: tuple[float, ...] = attrs.field(default=(60.0,), validator=some(seconds(above=True)))
    """How long a consumer stays before it is left and opened again."""
    pauses: tuple[float, ...] = attrs.field(default=(), validator=each(seconds(above=True)))
    """After how long a consumer is paused, for how long it is, and so on; none: it never is."""
    redrives: Numbers = attrs.field(default=(0, 0), validator=numbers(0))
    """How often an operator sends back what is dead."""
    latencies: tuple[float, ...] = attrs.field(default=(0.0,), validator=some(seconds()))
    """How long an operation is on its way at most, and as long on its way back."""
    troubles: tuple[Trouble, ...] = attrs.field(default=(), validator=each(one_of(Trouble)))
    """Which faults there are."""
    operations: tuple[str, ...] = attrs.field(default=_OPERATIONS, validator=some(one_of(str)))
    """What faults hit that hit a consumer: what it asks the server for, such as ``renew``."""
    faults: Numbers = attrs.field(default=(0, 3), validator=numbers(0))
    """How many of them."""
    seconds: float = attrs.field(default=3.0, validator=seconds())
    """How long publishing and faults go on; then everything heals."""
