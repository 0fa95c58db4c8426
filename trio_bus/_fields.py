"""The codec we use by default: one field of the stream for each attribute of CloudEvents.

The names are those of the Kafka binding of CloudEvents in binary mode. The payload is the value of
``data``, byte for byte; headers are one JSON object; an attribute without a value has no field.
"""

from collections.abc import Callable, Iterator
from datetime import datetime
from functools import lru_cache
from itertools import combinations
from operator import itemgetter
from typing import Final, TypeVar

import msgspec

from ._backend import Record
from ._codec import ALLOWANCE
from ._errors import SerializationError
from ._flat import Words, flat, pairs
from ._headers import NO_HEADERS, Headers
from ._message import Message, plain, restored
from ._names import shown
from ._timestamp import format_timestamp, parse_timestamp, read_written

SPEC_VERSION: Final = b"ce_specversion"
UID: Final = b"ce_id"
SOURCE: Final = b"ce_source"
KIND: Final = b"ce_type"
TIME: Final = b"ce_time"
TOPIC: Final = b"ce_topic"
KEY: Final = b"ce_partitionkey"
CONTENT_TYPE: Final = b"content-type"
EVENT_VERSION: Final = b"ce_eventversion"
IDEMPOTENCY_KEY: Final = b"ce_idempotencykey"
EXPIRY_TIME: Final = b"ce_expirytime"
TRACE_UID: Final = b"ce_traceuid"
CORRELATION_UID: Final = b"ce_correlationuid"
HEADERS: Final = b"headers"
DATA: Final = b"data"

_KNOWN = frozenset(
    {
        SPEC_VERSION,
        UID,
        SOURCE,
        KIND,
        TIME,
        TOPIC,
        KEY,
        CONTENT_TYPE,
        EVENT_VERSION,
        IDEMPOTENCY_KEY,
        EXPIRY_TIME,
        TRACE_UID,
        CORRELATION_UID,
        HEADERS,
        DATA,
    }
)
_TEXTS = _KNOWN - {SPEC_VERSION, HEADERS, DATA}
_ORDER = (SPEC_VERSION, UID, SOURCE, KIND, TIME, TOPIC, KEY, DATA)
"""How we write what nearly all have, where it has a value."""
_OPTIONAL = (SOURCE, KIND, KEY)
_PICKED = (TOPIC, DATA, KEY, KIND, SOURCE, UID, TIME, SPEC_VERSION)
_SPEC = (SPEC_VERSION, b"1.0")
_SHORT = 8 * 1024
"""Characters, of up to four bytes each, which are much less than `ALLOWANCE`."""
_T = TypeVar("_T")
_read_headers = msgspec.json.Decoder(dict[str, str]).decode
_write_json = msgspec.json.Encoder().encode


class FieldsCodec:
    """Writes each attribute of a message to a field of its own, and the payload as it is.

    An empty ``key``, ``kind`` or ``source`` has no field, nor has an optional attribute that is
    None; an optional one that is empty has an empty field. Unknown fields are ignored.
    """

    __slots__ = ()

    def encode(self, message: Message, /) -> Record:  # noqa: C901 - a branch for each attribute
        """Write a message."""
        fields = [_SPEC, (UID, message.uid.encode())]
        if message.source:
            fields.append((SOURCE, message.source.encode()))
        if message.kind:
            fields.append((KIND, message.kind.encode()))
        fields.append((TIME, format_timestamp(message.occurred_at).encode()))
        fields.append(_topic_field(message.topic))
        if message.key:
            fields.append((KEY, message.key.encode()))
        # Without a call for each of them: nearly always all are missing.
        if message.content_type is not None:
            fields.append((CONTENT_TYPE, message.content_type.encode()))
        if message.event_version is not None:
            fields.append((EVENT_VERSION, message.event_version.encode()))
        if message.idempotency_key is not None:
            fields.append((IDEMPOTENCY_KEY, message.idempotency_key.encode()))
        if message.trace_uid is not None:
            fields.append((TRACE_UID, message.trace_uid.encode()))
        if message.correlation_uid is not None:
            fields.append((CORRELATION_UID, message.correlation_uid.encode()))
        if message.expires_at is not None:
            fields.append((EXPIRY_TIME, format_timestamp(message.expires_at).encode()))
        if message.headers is not NO_HEADERS and message.headers:
            fields.append((HEADERS, _write_json(message.headers.as_dict())))
        fields.append((DATA, message.payload))
        return tuple(fields)

    def decode(self, record: Record, /) -> Message:
        """Read a message.

        Raises:
          SerializationError: ``ce_id``, ``ce_time``, ``ce_topic`` or ``data`` is missing, a known
            field is there twice, or a value is not what it should be.
        """
        return self.decode_flat(flat(record))

    def decode_flat(self, words: Words, /) -> Message:
        """Do what `decode` does with a record whose names and values stand in turn."""
        pick = _PICKS.get(words[::2])
        if pick is not None:
            # A third of the time of what `_read` takes, which says what is wrong.
            topic, data, key, kind, source, uid, time, version = pick((*words[1::2], b""))
            try:
                if version == b"1.0":
                    return plain(
                        topic.decode(),
                        data,
                        key.decode(),
                        kind.decode(),
                        source.decode(),
                        uid.decode(),
                        read_written(time),
                    )
            except ValueError:
                pass
        return _read(pairs(words))

    def max_record_bytes(self, max_payload_bytes: int, /) -> int:
        """Allow the payload, which is written as it is, and 64 KiB for the rest."""
        return max_payload_bytes + ALLOWANCE


def is_short(message: Message) -> bool:
    """Tell whether its record is certainly small enough, if its payload is."""
    return (
        message.headers is NO_HEADERS
        and len(message.uid) + len(message.key) + len(message.kind) + len(message.source) < _SHORT
        and message.content_type is None
        and message.event_version is None
        and message.idempotency_key is None
        and message.expires_at is None
        and message.trace_uid is None
        and message.correlation_uid is None
    )


def write_short(message: Message) -> Record:
    """Do what `FieldsCodec.encode` does where it `is_short`, in less time."""
    if message.source or message.kind or message.key:
        return FieldsCodec().encode(message)
    return (
        _SPEC,
        (UID, message.uid.encode()),
        (TIME, format_timestamp(message.occurred_at).encode()),
        _topic_field(message.topic),
        (DATA, message.payload),
    )


def _picks() -> Iterator[tuple[tuple[bytes, ...], Callable[[Words], Words]]]:
    """Yield what may be written where nothing is rare, and what picks the values of it.

    The last value stands for those that are not there.
    """
    for count in range(len(_OPTIONAL) + 1):
        for missing in combinations(_OPTIONAL, count):
            names = [name for name in _ORDER if name not in missing]
            places = [names.index(it) if it in names else -1 for it in _PICKED]
            yield tuple(names), itemgetter(*places)


_PICKS = dict(_picks())


def _read(record: Record) -> Message:
    fields = dict(record)
    if len(fields) != len(record):
        _refuse_duplicates(record)
    if fields.get(SPEC_VERSION, b"1.0") != b"1.0":
        raise SerializationError(f"ce_specversion: {shown(fields[SPEC_VERSION])} is not 1.0")
    texts = _texts(fields)
    optional = texts.get
    return restored(
        topic=_required(texts, TOPIC),
        payload=_required(fields, DATA),
        uid=_required(texts, UID),
        occurred_at=parse_timestamp(_required(texts, TIME)),
        key=optional(KEY, ""),
        kind=optional(KIND, ""),
        source=optional(SOURCE, ""),
        headers=_headers(fields.get(HEADERS)),
        content_type=optional(CONTENT_TYPE),
        event_version=optional(EVENT_VERSION),
        idempotency_key=optional(IDEMPOTENCY_KEY),
        expires_at=_time(optional(EXPIRY_TIME)),
        trace_uid=optional(TRACE_UID),
        correlation_uid=optional(CORRELATION_UID),
    )


@lru_cache(maxsize=1024)  # few topics have many messages
def _topic_field(topic: str) -> tuple[bytes, bytes]:
    return TOPIC, topic.encode()


def _refuse_duplicates(record: Record) -> None:
    seen: set[bytes] = set()
    for name, _ in record:
        if name in seen and name in _KNOWN:
            raise SerializationError(f"field {shown(name)} is there twice")
        seen.add(name)


def _required(fields: dict[bytes, _T], name: bytes) -> _T:
    value = fields.get(name)
    if value is None:
        raise SerializationError(f"field {shown(name)} is missing")
    return value


def _texts(fields: dict[bytes, bytes]) -> dict[bytes, str]:
    """Return those that are text."""
    try:
        return {name: value.decode() for name, value in fields.items() if name in _TEXTS}
    except UnicodeDecodeError as error:
        name = next(it for it, value in fields.items() if it in _TEXTS and value == error.object)
        raise SerializationError(f"field {shown(name)}: {error}") from error


def _time(text: str | None) -> datetime | None:
    return None if text is None else parse_timestamp(text)


def _headers(value: bytes | None) -> Headers:
    if value is None:
        return NO_HEADERS
    try:
        return Headers(_read_headers(value))
    except (msgspec.MsgspecError, ValueError, RecursionError) as error:
        raise SerializationError(f"field 'headers': {error}") from error
