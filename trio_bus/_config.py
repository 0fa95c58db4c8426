"""Settings of a subscription.

All of them are checked when they are made, and can be made by ``cattrs.structure`` from a table of
a TOML file. Durations are in seconds.
"""

from collections.abc import Callable, Sequence
from typing import Annotated, Self, TypeVar, cast

import attrs
import cattrs

from . import _checks as checks
from ._backoff import Backoff, backoff_from_table
from ._decision import Decision
from ._entry_id import EntryId
from ._errors import ValidationError
from ._modes import AckMode, BalanceMode, OrderingMode, StartPosition
from ._names import check_consumer, check_group, check_topic, private_group, shown
from ._retention import Retention, retention_from_table
from ._tables import Count, Seconds, Text, member_of, only_in_code, raw, start_from_table

_RETRY_SETTINGS = {
    *("max_retry", "retry_backoff", "retry_on", "reject_on", "on_failure", "failure_threshold"),
}

CONSUMER_SUFFIX_BYTES = 40
"""What is kept free at the end of a consumer's name for what makes it unique."""

MAX_PARKED = 10_000
"""How many entries wait for their key, if nobody says otherwise."""

_T = TypeVar("_T")
_ErrorTypes = tuple[type[Exception], ...]
OnFailure = Callable[[Exception, int], Decision | None]

_DEFAULT_BACKOFF = Backoff()
_DEFAULT_EXPIRY = 300.0
_TICKS_PER_EXPIRY = 4


def _error_types(value: type[Exception] | tuple[type[Exception], ...]) -> _ErrorTypes:
    return (value,) if isinstance(value, type) else value


def _check_start(_: object, field: "attrs.Attribute[_T]", value: _T) -> None:
    if isinstance(value, EntryId):
        if not all(type(part) is int and 0 <= part < 2**64 for part in value):
            raise ValidationError(f"{field.name}: {shown(tuple(value))} is not an entry id")
    elif value is not None and not isinstance(value, StartPosition):
        raise ValidationError(
            f"{field.name}: {shown(value)} is not a StartPosition, an EntryId or None"
        )


def _topic(value: str) -> str:
    return check_topic(value)


def _group(value: str) -> str:
    return value if value == "" else check_group(value)


def _consumer(value: str) -> str:
    return check_consumer(value, reserve=CONSUMER_SUFFIX_BYTES)


def _dead_letter_topic(value: str | None) -> str | None:
    return None if value is None else check_topic(value, "dead_letter_topic")


def _output_topics(value: Sequence[str]) -> tuple[str, ...]:
    if not isinstance(value, list | tuple):
        raise ValidationError(f"output_topics: {shown(value)} is not a list of topics")
    topics = tuple(check_topic(topic, "output_topics") for topic in value)
    for place, topic in enumerate(topics):
        if topic in topics[:place]:
            raise ValidationError(f"output_topics: {shown(topic)} stands there twice")
    return topics


def _default_retry(config: "SubscriptionConfig") -> int:
    return 0 if config.balance_mode is BalanceMode.FAN_OUT else 3


@attrs.frozen
class SubscriptionConfig:
    """What a subscription reads, how much at a time, and what it does with failures."""

    topic: Text = attrs.field(converter=_topic)
    """What to read."""
    group: Text = attrs.field(default="", converter=_group)
    """Whom to share the work with: each group handles every entry once. FAN_OUT names none."""
    consumer: Text = attrs.field(default="consumer", kw_only=True, converter=_consumer)
    """How the name of this consumer begins, at most 216 UTF-8 bytes; a random end is added."""
    start: Annotated[
        StartPosition | EntryId | None, cattrs.override(struct_hook=start_from_table)
    ] = attrs.field(default=None, kw_only=True, validator=_check_start)
    """Where a new group begins; an entry id means after that entry.

    None means OLDEST, and NEWEST with FAN_OUT.
    """
    ack_mode: Annotated[AckMode | None, cattrs.override(struct_hook=member_of(AckMode))] = (
        attrs.field(default=None, kw_only=True, validator=checks.optional(checks.one_of(AckMode)))
    )
    """When an entry is done. None: AUTO_ON_HANDLER_SUCCESS with a handler, MANUAL without."""
    balance_mode: Annotated[BalanceMode, cattrs.override(struct_hook=member_of(BalanceMode))] = (
        attrs.field(
            default=BalanceMode.COMPETING, kw_only=True, validator=checks.one_of(BalanceMode)
        )
    )
    """Who gets a message: one of those that name the group, or every subscription."""
    fan_out_expiry: Seconds = attrs.field(
        default=_DEFAULT_EXPIRY, kw_only=True, validator=checks.seconds(0.1)
    )
    """How long the own group of a FAN_OUT subscription outlives the last sign of its life.

    At least ``claim_idle_timeout``, and four times ``reclaim_interval``.
    """
    max_in_flight: Count = attrs.field(default=16, kw_only=True, validator=checks.count(1))
    """How many deliveries may be handled at a time; at least 1."""
    max_in_flight_bytes: Annotated[int | None, raw] = attrs.field(
        default=None, kw_only=True, validator=checks.optional(checks.count(1))
    )
    """While records of so many bytes are held nothing more is read; at least 1. None: no bound.

    One read, or one claim, may go beyond it: what it brings is known when it is there."""
    max_pending_acks: Annotated[int | None, raw] = attrs.field(
        default=None, kw_only=True, validator=checks.optional(checks.count(1))
    )
    """How many settlements may wait to be confirmed; at least 1. See `pending_ack_limit`."""
    max_retry: Count = attrs.field(
        default=attrs.Factory(_default_retry, takes_self=True),
        kw_only=True,
        validator=checks.count(0),
    )
    """How often a failed entry is started again before it is dead-lettered; at least 0.

    Unless it is given: 3, and 0 with FAN_OUT.
    """
    retry_backoff: Annotated[Backoff, cattrs.override(struct_hook=backoff_from_table)] = (
        attrs.field(default=_DEFAULT_BACKOFF, kw_only=True, validator=checks.one_of(Backoff))
    )
    """How long a failed entry waits before it is started again."""
    retry_on: Annotated[_ErrorTypes, cattrs.override(struct_hook=only_in_code("retry_on"))] = (
        attrs.field(
            default=(Exception,),
            kw_only=True,
            converter=_error_types,
            validator=checks.error_types,
        )
    )
    """Which errors of a handler are worth another attempt; others reject. One type will do.

    `EventInvalid` is worth one only where it is named itself: its bases do not count.
    """
    reject_on: Annotated[_ErrorTypes, cattrs.override(struct_hook=only_in_code("reject_on"))] = (
        attrs.field(default=(), kw_only=True, converter=_error_types, validator=checks.error_types)
    )
    """Which errors of a handler reject at once, whatever ``retry_on`` says."""
    on_failure: Annotated[
        OnFailure | None, cattrs.override(struct_hook=only_in_code("on_failure"))
    ] = attrs.field(default=None, kw_only=True, validator=checks.optional(checks.plain_function))
    """Asked first, with the error and the attempt that failed, 1 or more; must not block.

    What it returns is done, a retry at the limit excepted; None leaves it to the two above. What it
    raises is told to the observer (`Scope.POLICY`), and leaves it to them as well.
    """
    failure_threshold: Annotated[int | None, raw] = attrs.field(
        default=None, kw_only=True, validator=checks.optional(checks.count(2))
    )
    """After so many distinct entries that failed in a row it is an outage; at least 2.

    While it lasts reading pauses, failures that would be retried are handed back uncounted, and one
    entry at a time is tried. None: failures count, however many there are."""
    dead_letter_topic: Annotated[str | None, raw] = attrs.field(
        default=None, kw_only=True, converter=_dead_letter_topic
    )
    """Where given-up entries go; not ``topic``. None keeps them in the group, out of the way."""
    handler_timeout: Annotated[float | None, raw] = attrs.field(
        default=None, kw_only=True, validator=checks.optional(checks.seconds(endless=True))
    )
    """How long a handler may take; at least 0. None means as long as it likes."""
    claim_idle_timeout: Seconds = attrs.field(
        default=60.0, kw_only=True, validator=checks.seconds(0.1)
    )
    """The lease: how long an entry stays ours without a sign of life; at least 0.1."""
    reclaim_interval: Seconds = attrs.field(
        default=0.5, kw_only=True, validator=checks.seconds(above=True)
    )
    """How often to look for entries that nobody owns; above 0. A consumer that hears wake-ups
    looks less often while it knows that there are none: once a lease, and every 30 s at least.
    """
    block_timeout: Seconds = attrs.field(
        default=2.0, kw_only=True, validator=checks.seconds(above=True, endless=True)
    )
    """How long one read waits on the server, and at most a quarter of the lease; above 0."""
    ack_batch_size: Count = attrs.field(default=256, kw_only=True, validator=checks.count(1))
    """How many settlements go to the server at once; at least 1."""
    drain_timeout: Seconds = attrs.field(
        default=30.0, kw_only=True, validator=checks.seconds(endless=True)
    )
    """How long started handlers may run on when the subscription is left; at least 0."""
    shutdown_timeout: Seconds = attrs.field(default=5.0, kw_only=True, validator=checks.seconds())
    """How long to wait, at the end, for settlements to be confirmed; at least 0."""
    retention: Annotated[Retention | None, cattrs.override(struct_hook=retention_from_table)] = (
        attrs.field(default=None, kw_only=True, validator=checks.optional(checks.one_of(Retention)))
    )
    """What is removed from the topic, by whichever of its members looks, at most once in ten
    ``reclaim_interval``. None: this group removes nothing."""
    output_topics: Annotated[tuple[str, ...], raw] = attrs.field(
        default=(), kw_only=True, converter=_output_topics
    )
    """Where `Delivery.transaction` may publish. Each shares a slot with ``topic``, which may be one
    of them: opening checks it.
    """
    ordering_mode: Annotated[OrderingMode, cattrs.override(struct_hook=member_of(OrderingMode))] = (
        attrs.field(default=OrderingMode.NONE, kw_only=True, validator=checks.one_of(OrderingMode))
    )
    """Whether messages of one key are started one after another, in the order of the stream."""
    max_parked: Count = attrs.field(default=MAX_PARKED, kw_only=True, validator=checks.count(1))
    """How many entries may wait for their key before nothing more is read; at least 1."""

    def __attrs_post_init__(self) -> None:
        if self.dead_letter_topic == self.topic:
            raise ValidationError(f"dead_letter_topic: {shown(self.topic)} is the topic itself")
        if self.ack_mode is AckMode.AUTO_ON_RECEIVE:
            self._refuse_retries()
            if self.output_topics:
                raise ValidationError(
                    f"output_topics: {shown(self.output_topics)} has no effect with AUTO_ON_RECEIVE"
                )
            self._refuse_order()
        if self.ordering_mode is OrderingMode.NONE and self.max_parked != MAX_PARKED:
            raise ValidationError(
                f"max_parked: {shown(self.max_parked)} has no effect without OrderingMode.KEY"
            )
        if self.balance_mode is BalanceMode.FAN_OUT:
            self._check_fan_out()
        else:
            self._check_competing()

    @classmethod
    def fan_out(cls, topic: str) -> Self:
        """Return the settings of a subscription that gets every message, from now on.

        For other settings, ``attrs.evolve`` it, or give ``balance_mode`` to the constructor.

        Raises:
          ValidationError: that is no topic.
        """
        return cls(topic, balance_mode=BalanceMode.FAN_OUT)

    def group_of(self, consumer: str) -> str:
        """Return the group that the consumer of that name is in: ``group``, or one of its own."""
        return self.group or private_group(consumer)

    @property
    def pending_ack_limit(self) -> int:
        """``max_pending_acks``, or twice ``max_in_flight`` where that is None."""
        if self.max_pending_acks is None:
            return 2 * self.max_in_flight
        return self.max_pending_acks

    @property
    def max_attempt(self) -> int:
        """How often an entry may be delivered (once, and once for each retry)."""
        return self.max_retry + 1

    def _refuse_order(self) -> None:
        """What was acked has no lease, which would keep the next of its key from starting."""
        if self.ordering_mode is OrderingMode.KEY:
            raise ValidationError(
                f"ordering_mode: {self.ordering_mode} cannot be kept with AUTO_ON_RECEIVE"
            )

    def _refuse_retries(self) -> None:
        """Nothing is left to retry once it was acked: a setting about it is a misunderstanding."""
        for field in attrs.fields(type(self)):
            if field.name not in _RETRY_SETTINGS:
                continue
            value = cast("object", getattr(self, field.name))
            usual = _default_retry(self) if field.name == "max_retry" else field.default
            if value != usual:
                raise ValidationError(
                    f"{field.name}: {shown(value)} has no effect with AUTO_ON_RECEIVE"
                )

    def _check_competing(self) -> None:
        check_group(self.group)
        if self.fan_out_expiry != _DEFAULT_EXPIRY:
            raise ValidationError(
                f"fan_out_expiry: {self.fan_out_expiry} has no effect with COMPETING"
            )

    def _check_fan_out(self) -> None:
        if self.group:
            raise ValidationError(
                f"group: {shown(self.group)}: with FAN_OUT each subscription has its own"
            )
        if self.ordering_mode is OrderingMode.KEY:
            raise ValidationError(
                f"ordering_mode: {self.ordering_mode} is for groups that share the work; with"
                " FAN_OUT max_in_flight=1 keeps the order"
            )
        least = max(self.claim_idle_timeout, _TICKS_PER_EXPIRY * self.reclaim_interval)
        if self.fan_out_expiry < least:
            raise ValidationError(
                f"fan_out_expiry: {self.fan_out_expiry} is not at least {least}: the greater of"
                " claim_idle_timeout and four times reclaim_interval"
            )
