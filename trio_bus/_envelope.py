"""The codec that the Rust and Go family of this bus understands.

A record has one field, ``message``: compact JSON, ``{"message": {...}}``, the payload in base64.
We write what that family writes, byte for byte, and read what it reads, with four differences:

- ``"headers": null``, which Go writes for an empty map, is read as no headers;
- envelopes and messages written as positional arrays are refused;
- instants are read as `trio_bus._timestamp` says;
- JSON that nests deeper than Python can follow (about a thousand levels) is refused.
"""

import binascii
import json
from collections.abc import Iterable
from datetime import datetime
from typing import NoReturn, cast

import msgspec

from ._backend import Record
from ._codec import ALLOWANCE
from ._errors import SerializationError
from ._headers import NO_HEADERS, Headers
from ._message import Message, restored
from ._names import shown
from ._timestamp import format_timestamp, parse_timestamp

_FIELD = b"message"


class _Body(msgspec.Struct, omit_defaults=True, gc=False):
    """The order of the fields is the order on the wire."""

    uid: str
    topic: str
    key: str
    kind: str
    source: str
    occurred_at: str
    headers: dict[str, str]
    payload: bytes
    content_type: str | None = None
    event_version: str | None = None
    idempotency_key: str | None = None
    expires_at: str | None = None
    trace_uid: str | None = None
    correlation_uid: str | None = None


class _Envelope(msgspec.Struct, gc=False):
    message: _Body


# What an object becomes when it is read: its items in order, duplicates kept.
_Items = tuple[tuple[str, object], ...]

_ENVELOPE_KEYS = frozenset(_Envelope.__struct_fields__)
_BODY_KEYS = frozenset(_Body.__struct_fields__)


class EnvelopeCodec:
    """Writes one JSON field, as the Rust and Go family of this bus does."""

    __slots__ = ()

    def encode(self, message: Message, /) -> Record:
        """Write a message."""
        body = _Body(
            uid=message.uid,
            topic=message.topic,
            key=message.key,
            kind=message.kind,
            source=message.source,
            occurred_at=format_timestamp(message.occurred_at),
            headers=message.headers.as_dict(),
            payload=message.payload,
            content_type=message.content_type,
            event_version=message.event_version,
            idempotency_key=message.idempotency_key,
            expires_at=(
                None if message.expires_at is None else format_timestamp(message.expires_at)
            ),
            trace_uid=message.trace_uid,
            correlation_uid=message.correlation_uid,
        )
        return ((_FIELD, msgspec.json.encode(_Envelope(body))),)

    def decode(self, record: Record, /) -> Message:
        """Read a message.

        Raises:
          SerializationError: the field ``message`` is missing, or there twice, or holds what the
            Rust family refuses.
        """
        values = [value for name, value in record if name == _FIELD]
        if len(values) != 1:
            raise SerializationError(f"the record has {len(values)} fields 'message', not 1")
        envelope = _object(_parse(values[0]), "envelope", _ENVELOPE_KEYS)
        body = _object(_required(envelope, "message"), "message", _BODY_KEYS)
        return restored(
            topic=_text(body, "topic"),
            payload=_payload(_text(body, "payload")),
            uid=_text(body, "uid"),
            occurred_at=parse_timestamp(_text(body, "occurred_at")),
            key=_text(body, "key"),
            kind=_text(body, "kind"),
            source=_text(body, "source"),
            headers=_headers(_required(body, "headers")),
            content_type=_optional_text(body, "content_type"),
            event_version=_optional_text(body, "event_version"),
            idempotency_key=_optional_text(body, "idempotency_key"),
            expires_at=_optional_time(body, "expires_at"),
            trace_uid=_optional_text(body, "trace_uid"),
            correlation_uid=_optional_text(body, "correlation_uid"),
        )

    def max_record_bytes(self, max_payload_bytes: int, /) -> int:
        """Allow the payload, a third longer in base64, and 64 KiB for the rest."""
        return (max_payload_bytes + 2) // 3 * 4 + ALLOWANCE


def _refuse_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is not JSON")


# Numbers only occur in what we ignore: floats take thousands of digits without a complaint.
_decoder = json.JSONDecoder(
    object_pairs_hook=tuple, parse_int=float, parse_constant=_refuse_constant
)


def _parse(raw: bytes) -> object:
    try:
        parsed: object = _decoder.decode(raw.decode())
    except (ValueError, RecursionError) as error:
        raise SerializationError(f"field 'message': {error}") from error
    return parsed


def _object(value: object, name: str, known: frozenset[str]) -> dict[str, object]:
    """Return the known fields of an object; the others are left out."""
    fields: dict[str, object] = {}
    for key, item in _items(value, name):
        if key not in known:
            _check_unicode(key, name)
        elif key in fields:
            raise SerializationError(f"{name}: field {key!r} is there twice")
        else:
            fields[key] = item
    return fields


def _items(value: object, name: str) -> Iterable[tuple[str, object]]:
    if not isinstance(value, tuple):
        raise SerializationError(f"{name}: {shown(value)} is not an object")
    return cast("_Items", value)


def _required(fields: dict[str, object], name: str) -> object:
    if name not in fields:
        raise SerializationError(f"field {name!r} is missing")
    return fields[name]


def _text(fields: dict[str, object], name: str) -> str:
    return _check_unicode(_required(fields, name), name)


def _optional_text(fields: dict[str, object], name: str) -> str | None:
    value = fields.get(name)
    return None if value is None else _check_unicode(value, name)


def _optional_time(fields: dict[str, object], name: str) -> datetime | None:
    text = _optional_text(fields, name)
    return None if text is None else parse_timestamp(text)


def _check_unicode(value: object, name: str) -> str:
    if not isinstance(value, str):
        raise SerializationError(f"{name}: {shown(value)} is not text")
    if not value.isascii():
        try:
            value.encode()
        except UnicodeEncodeError as error:
            raise SerializationError(f"{name}: {shown(value)} is not valid Unicode") from error
    return value


def _headers(value: object) -> Headers:
    if value is None:
        return NO_HEADERS
    items = {
        _check_unicode(name, "headers"): _check_unicode(text, "headers")
        for name, text in _items(value, "headers")
    }
    return Headers(items) if items else NO_HEADERS


def _payload(text: str) -> bytes:
    try:
        payload = binascii.a2b_base64(text, strict_mode=True)
    except ValueError as error:
        raise SerializationError(f"payload: {error}") from error
    # Strict mode lets bits pass that belong to no byte.
    if (
        text.endswith("=")
        and binascii.b2a_base64(payload[-(len(payload) % 3) :], newline=False) != text[-4:].encode()
    ):
        raise SerializationError("payload: bits are left over at the end of the base64 text")
    return payload
