"""A delivery as a line of JSON. Pure."""

from __future__ import annotations

import base64
import json
import re

from trio_bus._dead_letter import DeadLetter
from trio_bus._delivery import Delivery
from trio_bus._message import Message

# JSON may carry these as they are, but a terminal obeys some and line readers split at others.
_UNPRINTABLE = re.compile("[\x7f-\x9f\u2028\u2029\ud800-\udfff]")


def json_line(delivery: Delivery) -> bytes:
    """Return one JSON object and a newline, in UTF-8.

    Attributes that a message need not have (``expires_at``, ``dead_letter``...) are there when it
    has them. A payload that is not UTF-8 is called ``payload_base64``.
    """
    fields: dict[str, object] = {
        "entry_id": str(delivery.entry_id),
        "attempt": delivery.state.attempt,
        **_message(delivery.message),
    }
    if delivery.dead_letter is not None:
        fields["dead_letter"] = _dead_letter(delivery.dead_letter)
    fields.update(_payload(delivery.message.payload))
    text = json.dumps(fields, ensure_ascii=False, separators=(",", ":"))
    return f"{_UNPRINTABLE.sub(_escaped, text)}\n".encode()


def _message(message: Message) -> dict[str, object]:
    expires_at = message.expires_at
    optional = {
        "event_version": message.event_version,
        "idempotency_key": message.idempotency_key,
        "expires_at": None if expires_at is None else expires_at.isoformat(),
        "trace_uid": message.trace_uid,
        "correlation_uid": message.correlation_uid,
    }
    return {
        "topic": message.topic,
        "key": message.key,
        "kind": message.kind,
        "source": message.source,
        "uid": message.uid,
        "occurred_at": message.occurred_at.isoformat(),
        "headers": dict(message.headers),
        "content_type": message.content_type,
        **{name: value for name, value in optional.items() if value is not None},
    }


def _dead_letter(context: DeadLetter) -> dict[str, object]:
    return {
        "topic": context.topic,
        "group": context.group,
        "entry_id": str(context.entry_id),
        "attempts": context.attempts,
        "first_received": context.first_received.isoformat(),
        "last_received": context.last_received.isoformat(),
        "cause": context.cause.value,
        "error_type": context.error_type,
        "error_text": context.error_text,
    }


def _payload(payload: bytes) -> dict[str, str]:
    try:
        return {"payload": payload.decode()}
    except UnicodeDecodeError:
        return {"payload_base64": base64.b64encode(payload).decode()}


def _escaped(match: re.Match[str]) -> str:
    return f"\\u{ord(match[0]):04x}"
