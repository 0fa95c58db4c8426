"""Settings: what a subscription, a publish and a bus can be told.

All of them are checked when they are made, and can be made by ``cattrs.structure`` from a table of
a TOML file. Durations are in seconds.
"""

from collections.abc import Callable, Mapping
from enum import Enum, unique
from typing import Annotated, TypeVar, cast

import attrs
import cattrs

from . import _checks as checks
from ._codec import Codec
from ._credentials import CredentialProvider
from ._decision import Decision
from ._entry_id import EntryId
from ._envelope import EnvelopeCodec
from ._errors import ValidationError
from ._fields import FieldsCodec
from ._headers import NO_HEADERS, Headers, check_headers
from ._names import check_consumer, check_group, check_topic, shown
from ._observer import LoggingObserver, Observer

_RETRY_SETTINGS = {"max_retry", "retry_backoff", "retry_on", "reject_on", "on_failure"}

CONSUMER_SUFFIX_BYTES = 40
"""What is kept free at the end of a consumer's name for what makes it unique."""


@unique
class AckMode(Enum):
    """When an entry counts as done."""

    AUTO_ON_HANDLER_SUCCESS = "auto_on_handler_success"
    """When its handler returns: at least once. A handler that raises is started again."""
    AUTO_ON_RECEIVE = "auto_on_receive"
    """Before its handler starts: at most once. What a handler raises is only observed."""
    MANUAL = "manual"
    """When its delivery is settled. A handler that raises is started again."""


@unique
class StartPosition(Enum):
    """Where in its topic a new group begins."""

    OLDEST = "oldest"
    """With the oldest entry that the topic retains."""
    NEWEST = "newest"
    """With what is published from now on."""


@unique
class Confirmation(Enum):
    """When a publish has succeeded."""

    ACCEPTED = "accepted"
    """When the server has answered."""
    PERSISTED = "persisted"
    """When the append-only file of the server, with the message in it, is on its disk."""


@unique
class Guarantee(Enum):
    """How often a message that was published is stored."""

    AT_LEAST_ONCE = "at_least_once"
    """Once; if it is published again after an error, perhaps once more."""
    EXACTLY_ONCE = "exactly_once"
    """Once, however often it is published within ``dedup_window``; and once is persisted."""


def _as_is(value: object, _: object) -> object:
    """Keep what a table says, so that our validators see it and nothing is bent to fit."""
    return value


def _start_from_table(value: object, _: object) -> object:
    if not isinstance(value, str):
        return value
    named = {position.value: position for position in StartPosition}
    try:
        return named.get(value) or EntryId.parse(value)
    except ValidationError as error:
        raise ValidationError(
            f"start: {shown(value)} is not 'oldest', 'newest' or an entry id"
        ) from error


def _member_of(kind: type[Enum]) -> Callable[[object, object], object]:
    """Read a member of an enum by its value; what is none is left to the validator."""
    named = {str(member.value): member for member in kind}

    def read(value: object, _: object) -> object:
        return named.get(value, value) if isinstance(value, str) else value

    return read


def _backoff_from_table(value: object, _: object) -> object:
    if not isinstance(value, Mapping):
        return value
    try:
        return _strict.structure(value, Backoff)
    except cattrs.errors.ForbiddenExtraKeysError as error:
        unknown = ", ".join(sorted(error.extra_fields))
        raise ValidationError(f"retry_backoff: {shown(unknown)} is no setting of it") from error


def _codec_from_table(value: object, _: object) -> object:
    named: dict[str, type[Codec]] = {"fields": FieldsCodec, "envelope": EnvelopeCodec}
    if not isinstance(value, str) or value not in named:
        raise ValidationError(f"codec: {shown(value)} is not 'fields' or 'envelope'")
    return named[value]()


def _only_in_code(name: str) -> Callable[[object, object], object]:
    def refuse(value: object, _: object) -> object:
        raise ValidationError(f"{name}: {shown(value)}: this can only be set in code")

    return refuse


def _credentials_from_table(_: object, __: object) -> object:
    # Without the value: it may be a password.
    raise ValidationError("credential_provider: this can only be set in code")


# Inside a table of ours there is no converter of the caller's: a misspelt name is always refused.
_strict = cattrs.Converter(forbid_extra_keys=True, detailed_validation=False)
_raw = cattrs.override(struct_hook=_as_is)
_Text = Annotated[str, _raw]
_Count = Annotated[int, _raw]
_Seconds = Annotated[float, _raw]
_T = TypeVar("_T")
_ErrorTypes = tuple[type[Exception], ...]
OnFailure = Callable[[Exception, int], Decision | None]


@attrs.frozen
class Backoff:
    """How long to wait before an entry is started again.

    The n-th failure waits ``first * factor ** (n - 1)`` seconds, at most ``cap``, less a random
    part of up to ``jitter`` of it: with ``jitter=1.0`` anything from 0 to all of it (so that
    what failed together does not come back together), with ``jitter=0.0`` exactly that long.
    """

    first: _Seconds = attrs.field(default=0.1, validator=checks.seconds())
    """At least 0."""
    factor: _Seconds = attrs.field(default=2.0, validator=checks.number(1.0, 1e9))
    """At least 1."""
    cap: _Seconds = attrs.field(default=300.0, validator=checks.seconds())
    """At least 0."""
    jitter: _Seconds = attrs.field(default=1.0, validator=checks.number(0.0, 1.0))
    """From 0 to 1."""

    def delay_after(self, attempt: int, random: Callable[[], float]) -> float:
        """Choose the seconds to wait after a failed attempt.

        Args:
          attempt: Which attempt failed; the first one is 1.
          random: Gives numbers from 0 to 1, like ``random.random``.
        """
        return self._longest(attempt) * (1.0 - self.jitter * random())

    def _longest(self, attempt: int) -> float:
        if self.first == 0.0:
            return 0.0
        try:
            return min(self.cap, self.first * float(self.factor) ** (attempt - 1))
        except OverflowError:
            return self.cap


_DEFAULT_BACKOFF = Backoff()


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
    return check_group(value)


def _consumer(value: str) -> str:
    return check_consumer(value, reserve=CONSUMER_SUFFIX_BYTES)


def _dead_letter_topic(value: str | None) -> str | None:
    return None if value is None else check_topic(value, "dead_letter_topic")


@attrs.frozen
class SubscriptionConfig:
    """What a subscription reads, how much at a time, and what it does with failures."""

    topic: _Text = attrs.field(converter=_topic)
    """What to read."""
    group: _Text = attrs.field(converter=_group)
    """Whom to share the work with: each group handles every entry once."""
    consumer: _Text = attrs.field(default="consumer", kw_only=True, converter=_consumer)
    """How the name of this consumer begins, at most 216 UTF-8 bytes; a random end is added."""
    start: Annotated[
        StartPosition | EntryId | None, cattrs.override(struct_hook=_start_from_table)
    ] = attrs.field(default=None, kw_only=True, validator=_check_start)
    """Where a new group begins; an entry id means after that entry. None means OLDEST."""
    ack_mode: Annotated[AckMode | None, cattrs.override(struct_hook=_member_of(AckMode))] = (
        attrs.field(default=None, kw_only=True, validator=checks.optional(checks.one_of(AckMode)))
    )
    """When an entry is done. None: AUTO_ON_HANDLER_SUCCESS with a handler, MANUAL without."""
    max_in_flight: _Count = attrs.field(default=16, kw_only=True, validator=checks.count(1))
    """How many deliveries may be handled at a time; at least 1."""
    max_pending_acks: Annotated[int | None, _raw] = attrs.field(
        default=None, kw_only=True, validator=checks.optional(checks.count(1))
    )
    """How many settlements may wait to be confirmed; at least 1. See `pending_ack_limit`."""
    max_retry: _Count = attrs.field(default=3, kw_only=True, validator=checks.count(0))
    """How often a failed entry is started again before it is dead-lettered; at least 0."""
    retry_backoff: Annotated[Backoff, cattrs.override(struct_hook=_backoff_from_table)] = (
        attrs.field(default=_DEFAULT_BACKOFF, kw_only=True, validator=checks.one_of(Backoff))
    )
    """How long a failed entry waits before it is started again."""
    retry_on: Annotated[_ErrorTypes, cattrs.override(struct_hook=_only_in_code("retry_on"))] = (
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
    reject_on: Annotated[_ErrorTypes, cattrs.override(struct_hook=_only_in_code("reject_on"))] = (
        attrs.field(default=(), kw_only=True, converter=_error_types, validator=checks.error_types)
    )
    """Which errors of a handler reject at once, whatever ``retry_on`` says."""
    on_failure: Annotated[
        OnFailure | None, cattrs.override(struct_hook=_only_in_code("on_failure"))
    ] = attrs.field(default=None, kw_only=True, validator=checks.optional(checks.plain_function))
    """Asked first, with the error and the attempt that failed, 1 or more; must not block.

    What it returns is done, a retry at the limit excepted; None leaves it to the two above. What it
    raises is told to the observer (`Scope.POLICY`), and leaves it to them as well.
    """
    dead_letter_topic: Annotated[str | None, _raw] = attrs.field(
        default=None, kw_only=True, converter=_dead_letter_topic
    )
    """Where given-up entries go; not ``topic``. None keeps them in the group, out of the way."""
    handler_timeout: Annotated[float | None, _raw] = attrs.field(
        default=None, kw_only=True, validator=checks.optional(checks.seconds(endless=True))
    )
    """How long a handler may take; at least 0. None means as long as it likes."""
    claim_idle_timeout: _Seconds = attrs.field(
        default=60.0, kw_only=True, validator=checks.seconds(0.1)
    )
    """The lease: how long an entry stays ours without a sign of life; at least 0.1."""
    reclaim_interval: _Seconds = attrs.field(
        default=0.5, kw_only=True, validator=checks.seconds(above=True)
    )
    """How often to look for entries that nobody owns; above 0."""
    block_timeout: _Seconds = attrs.field(
        default=2.0, kw_only=True, validator=checks.seconds(above=True, endless=True)
    )
    """How long one read waits on the server, and at most a quarter of the lease; above 0."""
    ack_batch_size: _Count = attrs.field(default=256, kw_only=True, validator=checks.count(1))
    """How many settlements go to the server at once; at least 1."""
    drain_timeout: _Seconds = attrs.field(
        default=30.0, kw_only=True, validator=checks.seconds(endless=True)
    )
    """How long started handlers may run on when the subscription is left; at least 0."""
    shutdown_timeout: _Seconds = attrs.field(default=5.0, kw_only=True, validator=checks.seconds())
    """How long to wait, at the end, for settlements to be confirmed; at least 0."""

    def __attrs_post_init__(self) -> None:
        if self.dead_letter_topic == self.topic:
            raise ValidationError(f"dead_letter_topic: {shown(self.topic)} is the topic itself")
        if self.ack_mode is AckMode.AUTO_ON_RECEIVE:
            self._refuse_retries()

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

    def _refuse_retries(self) -> None:
        """Nothing is left to retry once it was acked: a setting about it is a misunderstanding."""
        for field in attrs.fields(type(self)):
            if field.name not in _RETRY_SETTINGS:
                continue
            value = cast("object", getattr(self, field.name))
            if value != field.default:
                raise ValidationError(
                    f"{field.name}: {shown(value)} has no effect with AUTO_ON_RECEIVE"
                )


def _headers(value: Mapping[str, str]) -> Headers:
    headers = check_headers(value, "metadata")
    for name in headers:
        if name.lower() == "idempotency-key":  # all messages but the first would be duplicates
            raise ValidationError(f"metadata: {shown(name)} would be the same for every message")
    return headers


@attrs.frozen
class PublishOptions:
    """How to publish."""

    metadata: Annotated[Headers, _raw] = attrs.field(default=NO_HEADERS, converter=_headers)
    """Headers for every message that is published with these options; its own ones win."""
    confirmation: Annotated[Confirmation, cattrs.override(struct_hook=_member_of(Confirmation))] = (
        attrs.field(
            default=Confirmation.ACCEPTED, kw_only=True, validator=checks.one_of(Confirmation)
        )
    )
    """When the publish has succeeded."""
    guarantee: Annotated[Guarantee, cattrs.override(struct_hook=_member_of(Guarantee))] = (
        attrs.field(
            default=Guarantee.AT_LEAST_ONCE, kw_only=True, validator=checks.one_of(Guarantee)
        )
    )
    """EXACTLY_ONCE needs PERSISTED, and messages with an ``idempotency_key``."""
    replicas: _Count = attrs.field(default=0, kw_only=True, validator=checks.count(0))
    """With PERSISTED: how many replicas must have it on disk as well."""

    def __attrs_post_init__(self) -> None:
        if self.confirmation is Confirmation.PERSISTED:
            return
        if self.guarantee is Guarantee.EXACTLY_ONCE:
            raise ValidationError("guarantee: EXACTLY_ONCE needs confirmation=PERSISTED")
        if self.replicas:
            raise ValidationError(f"replicas: {self.replicas} has no effect without PERSISTED")


@attrs.frozen(kw_only=True)
class BusOptions:
    """How a bus reaches its server, and what it carries."""

    max_payload_bytes: _Count = attrs.field(default=4 * 1024 * 1024, validator=checks.count(0))
    """Larger payloads are refused when published, and dead-lettered when received."""
    codec: Annotated[Codec, cattrs.override(struct_hook=_codec_from_table)] = attrs.field(
        factory=FieldsCodec,
        validator=checks.methods("encode", "decode", "max_record_bytes"),
    )
    """How messages look on the server. In a table: ``"fields"`` or ``"envelope"``."""
    observer: Annotated[Observer, cattrs.override(struct_hook=_only_in_code("observer"))] = (
        attrs.field(factory=LoggingObserver, validator=checks.methods("on_error", "on_transition"))
    )
    """Who hears of errors and transitions."""
    connect_timeout: _Seconds = attrs.field(default=10.0, validator=checks.seconds(endless=True))
    """How long opening may take until the server has answered; at least 0."""
    command_timeout: _Seconds = attrs.field(default=10.0, validator=checks.seconds(endless=True))
    """How long a command may take before its connection is given up; at least 0.

    And how long a publish waits for disks with PERSISTED.
    """
    publish_timeout: _Seconds = attrs.field(default=30.0, validator=checks.seconds(endless=True))
    """For how long a publish that failed is tried again; at least 0, which is a single attempt.

    No attempt begins later; one that has begun may take as long as a command may.
    """
    dedup_window: _Seconds = attrs.field(default=120.0, validator=checks.seconds(above=True))
    """For how long an idempotency key is remembered; above 0. Longer than publishing may take."""
    insecure_tls: Annotated[bool, _raw] = attrs.field(default=False, validator=checks.one_of(bool))
    """True accepts any certificate of the server: for tests only."""
    credential_provider: Annotated[
        CredentialProvider | None, cattrs.override(struct_hook=_credentials_from_table)
    ] = attrs.field(default=None, repr=False, validator=checks.optional(checks.credential_provider))
    """Who gives user and password, asked anew for each connection; the URL must have none then.

    Like all that is code it cannot come from a table. See `trio_bus.abc.CredentialProvider`.
    """
