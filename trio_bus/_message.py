"""Messages: what is published, and what a handler gets to see."""

from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from typing import TYPE_CHECKING, cast

import attrs

from ._errors import ValidationError
from ._headers import NO_HEADERS, Headers, check_headers, refuse_reserved
from ._names import GOOD_TOPICS, check_text, check_topic, shown
from ._uid import new_uid
from ._wall import wall

_NOTHING = ""

TRACEPARENT = "traceparent"
"""The W3C header that says which trace, and which span of it, a message belongs to."""
TRACESTATE = "tracestate"
"""The W3C header with what tracing vendors add to `TRACEPARENT`."""
BAGGAGE = "baggage"
"""The W3C header with what an application passes along a trace."""


@attrs.frozen(init=False, weakref_slot=False)
class Message:
    """One event. It cannot be changed; ``attrs.evolve`` makes a changed copy.

    Everything is checked when a message is made. Three headers have fields of their own:
    ``content-type``, ``event-version`` and ``idempotency-key`` fill the field of that name where
    it is None.
    """

    topic: str
    """Where it is published."""
    payload: bytes
    """What it says; trio_bus never looks inside."""
    key: str
    """What it is about, like a customer's number; empty if it has no key."""
    kind: str
    """What happened, like ``order-paid``."""
    source: str
    """Who says so."""
    uid: str
    """Its name: unique, and the same in every delivery and copy. Tell duplicates apart by it."""
    occurred_at: datetime
    """When it happened, in UTC."""
    headers: Headers
    """More text beside the payload."""
    content_type: str | None
    """The media type of the payload."""
    event_version: str | None
    """The version of the payload's schema."""
    idempotency_key: str | None
    """What two publishes of one event have in common: it is stored once in ``dedup_window``."""
    expires_at: datetime | None
    """When it is of no more use, in UTC."""
    trace_uid: str | None
    """The trace that it belongs to."""
    correlation_uid: str | None
    """What it answers, or belongs together with."""

    def __init__(
        self,
        topic: str,
        payload: bytes = b"",
        *,
        key: str = _NOTHING,
        kind: str = _NOTHING,
        source: str = _NOTHING,
        uid: str | None = None,
        occurred_at: datetime | None = None,
        headers: Mapping[str, str] = NO_HEADERS,
        content_type: str | None = None,
        event_version: str | None = None,
        idempotency_key: str | None = None,
        expires_at: datetime | None = None,
        trace_uid: str | None = None,
        correlation_uid: str | None = None,
    ) -> None:
        """Make a message.

        Args:
          topic: At most 1,024 UTF-8 bytes, not blank, without control characters.
          payload: Bytes and nothing that can change; `bytes` copies a bytearray.
          key: Any text.
          kind: Any text.
          source: Any text.
          uid: Not empty; a random one is made if it is not given.
          occurred_at: With a time zone, and converted to UTC; now if it is not given.
          headers: Copied. Names that trio_bus writes itself are refused: ``retry-attempt``,
            ``retry-reason``, ``x-original-topic``, ``dead-letter-...`` and ``trio-bus-...``.
          content_type: Any text.
          event_version: Any text.
          idempotency_key: Any text.
          expires_at: With a time zone, and converted to UTC.
          trace_uid: Any text.
          correlation_uid: Any text.

        Raises:
          ValidationError: the text names the field and the value.
        """
        checked = NO_HEADERS
        if headers is not NO_HEADERS:
            checked = check_headers(headers)
            content_type = _or_header(content_type, "content-type", checked)
            event_version = _or_header(event_version, "event-version", checked)
            idempotency_key = _or_header(idempotency_key, "idempotency-key", checked)
        # By position and without a call for what is not given: every publish makes a message.
        fill = _fill if type(self) is Message else Message.__attrs_init__
        fill(
            self,
            topic if type(topic) is str and topic in GOOD_TOPICS else check_topic(topic),
            payload if type(payload) is bytes else _check_payload(payload),
            key if key is _NOTHING else check_text(key, "key"),
            kind if kind is _NOTHING else check_text(kind, "kind"),
            source if source is _NOTHING else check_text(source, "source"),
            new_uid() if uid is None else _check_uid(uid),
            wall.now() if occurred_at is None else _check_time(occurred_at, "occurred_at"),
            checked,
            None if content_type is None else check_text(content_type, "content_type"),
            None if event_version is None else check_text(event_version, "event_version"),
            None if idempotency_key is None else check_text(idempotency_key, "idempotency_key"),
            None if expires_at is None else _check_time(expires_at, "expires_at"),
            None if trace_uid is None else check_text(trace_uid, "trace_uid"),
            None if correlation_uid is None else check_text(correlation_uid, "correlation_uid"),
        )

    if TYPE_CHECKING:

        def __attrs_init__(  # noqa: PLR0917 - see where it is called
            self,
            topic: str,
            payload: bytes,
            key: str,
            kind: str,
            source: str,
            uid: str,
            occurred_at: datetime,
            headers: Headers,
            content_type: str | None,
            event_version: str | None,
            idempotency_key: str | None,
            expires_at: datetime | None,
            trace_uid: str | None,
            correlation_uid: str | None,
        ) -> None: ...


class _Draft(Message):
    """A message that can still be filled: it has no guard.

    Python lets an object become one of another class, if both have the same slots.
    """

    __slots__ = ()
    __setattr__ = object.__setattr__
    __delattr__ = object.__delattr__


# As an assignment does it, which a message refuses.
_set_class = cast("Callable[[object, type], None]", getattr(vars(object)["__class__"], "__set__"))  # noqa: B009 - its type is unknown


if TYPE_CHECKING:
    _fill = Message.__attrs_init__
else:

    def _fill(  # noqa: PLR0917 - see where it is called
        message: Message,
        topic: str,
        payload: bytes,
        key: str,
        kind: str,
        source: str,
        uid: str,
        occurred_at: datetime,
        headers: Headers,
        content_type: str | None,
        event_version: str | None,
        idempotency_key: str | None,
        expires_at: datetime | None,
        trace_uid: str | None,
        correlation_uid: str | None,
    ) -> None:
        """Fill a new message, while it is a draft."""
        if type(message) is Message:
            _set_class(message, _Draft)
        message.topic = topic
        message.payload = payload
        message.key = key
        message.kind = kind
        message.source = source
        message.uid = uid
        message.occurred_at = occurred_at
        message.headers = headers
        message.content_type = content_type
        message.event_version = event_version
        message.idempotency_key = idempotency_key
        message.expires_at = expires_at
        message.trace_uid = trace_uid
        message.correlation_uid = correlation_uid
        message.__class__ = Message


def plain(  # noqa: PLR0917 - by position, as each message that is read is made
    topic: str, payload: bytes, key: str, kind: str, source: str, uid: str, occurred_at: datetime
) -> Message:
    """Do what `restored` does where there is nothing else, in less time."""
    message = _Draft.__new__(_Draft)
    _fill(
        message, topic, payload, key, kind, source, uid, occurred_at, NO_HEADERS,
        None, None, None, None, None, None,
    )  # fmt: skip
    return message


def restored(
    *,
    topic: str,
    payload: bytes,
    uid: str,
    occurred_at: datetime,
    key: str = "",
    kind: str = "",
    source: str = "",
    headers: Headers = NO_HEADERS,
    content_type: str | None = None,
    event_version: str | None = None,
    idempotency_key: str | None = None,
    expires_at: datetime | None = None,
    trace_uid: str | None = None,
    correlation_uid: str | None = None,
) -> Message:
    """Make a message from what was on the wire, without a check.

    Others may have written what we would refuse, a topic of 2,000 bytes or a reserved header, and
    it has to be handled. The headers that have fields of their own fill them, as in `Message`.
    Values must have the declared types, and instants must be in UTC.
    """
    if headers is not NO_HEADERS:
        content_type = _or_header(content_type, "content-type", headers)
        event_version = _or_header(event_version, "event-version", headers)
        idempotency_key = _or_header(idempotency_key, "idempotency-key", headers)
    message = _Draft.__new__(_Draft)
    _fill(
        message,
        topic,
        payload,
        key,
        kind,
        source,
        uid,
        occurred_at,
        headers,
        content_type,
        event_version,
        idempotency_key,
        expires_at,
        trace_uid,
        correlation_uid,
    )
    return message


def check_publishable(message: Message) -> None:
    """Check a message that may have come from the wire before it is published again.

    Raises:
      ValidationError: its topic or one of its headers is not ours to publish.
    """
    check_topic(message.topic)
    if message.headers is not NO_HEADERS:
        refuse_reserved(message.headers)


def _check_payload(payload: object) -> bytes:
    if not isinstance(payload, bytes):
        raise ValidationError(f"payload: {shown(payload)} is not bytes")
    return payload


def _check_uid(uid: object) -> str:
    text = check_text(uid, "uid")
    if not text:
        raise ValidationError("uid: '' is empty")
    return text


def _or_header(text: str | None, name: str, headers: Headers) -> str | None:
    return headers.get(name) if text is None else text


def _check_time(value: object, field: str) -> datetime:
    if not isinstance(value, datetime):
        raise ValidationError(f"{field}: {shown(value)} is not a datetime")
    if value.utcoffset() is None:
        raise ValidationError(f"{field}: {shown(value)} has no time zone")
    try:
        utc = value.astimezone(UTC)
    except OverflowError as error:
        raise ValidationError(f"{field}: {shown(value)} in UTC is not in 1 to 9999") from error
    if type(utc) is datetime:
        return utc
    # A subclass may print itself in its own way, and the codecs print.
    return datetime.combine(utc.date(), utc.time(), UTC)
