"""The door between messages and records, with codecs of the user's own."""

from __future__ import annotations

from datetime import UTC, datetime

import attrs
import pytest

from trio_bus import (
    Bus,
    BusOptions,
    MemoryBackend,
    Message,
    SerializationError,
    ValidationError,
)
from trio_bus._codec import ALLOWANCE
from trio_bus._encoded import Encoded
from trio_bus._fields import FieldsCodec
from trio_bus._gate import Gate
from trio_bus._message import restored
from trio_bus._names import GOOD_TOPICS
from trio_bus.abc import Record


@attrs.define
class Odd:
    """A codec that says what a test wants."""

    record: Record | Exception

    def encode(self, _: Message, /) -> Record:
        if isinstance(self.record, Exception):
            raise self.record
        return self.record

    def decode(self, record: Record, /) -> Message:
        return FieldsCodec().decode(record)

    def max_record_bytes(self, max_payload_bytes: int, /) -> int:
        return max_payload_bytes + ALLOWANCE


@pytest.mark.parametrize(
    ("record", "kind", "words"),
    [
        (RuntimeError("oops"), SerializationError, r"the codec raised RuntimeError\('oops'\)"),
        (SerializationError("no such type"), SerializationError, "^no such type$"),
        (((b"a", bytes(ALLOWANCE + 1001)),), ValidationError, "^message: "),
    ],
)
async def test_what_a_codec_does_wrong_is_told(
    record: Record | Exception, kind: type[Exception], words: str
) -> None:
    """Nothing is stored."""
    backend = MemoryBackend()
    bus = Bus(backend, BusOptions(codec=Odd(record), max_payload_bytes=1000))
    with pytest.raises(kind, match=words):
        await bus.publish(Message("orders", b"7"))
    assert (await backend.info("orders")).length == 0


PLAIN = Message("orders", b"7", uid="u", occurred_at=datetime(2026, 1, 2, tzinfo=UTC))


@pytest.mark.parametrize(
    ("middle", "is_later"),
    [
        (PLAIN, True),
        (attrs.evolve(PLAIN, key="k"), True),
        (attrs.evolve(PLAIN, kind="k", source="s"), True),
        (attrs.evolve(PLAIN, key="k" * 9000), False),
        (attrs.evolve(PLAIN, headers={"a": "b"}), False),
        (attrs.evolve(PLAIN, content_type="text/plain"), False),
        (attrs.evolve(PLAIN, event_version="1"), False),
        (attrs.evolve(PLAIN, idempotency_key="k"), False),
        (attrs.evolve(PLAIN, expires_at=PLAIN.occurred_at), False),
        (attrs.evolve(PLAIN, trace_uid="t"), False),
        (attrs.evolve(PLAIN, correlation_uid="c"), False),
    ],
)
def test_what_can_be_encoded_for_certain_is_encoded_later(
    middle: Message, *, is_later: bool
) -> None:
    """The records are the same, whichever way they are made, and however they are asked for."""
    messages = [PLAIN, middle, attrs.evolve(PLAIN, payload=b"8")]
    expected = [FieldsCodec().encode(message) for message in messages]
    records = Gate(FieldsCodec(), 1000).encode_all(messages)
    assert isinstance(records, Encoded) is is_later
    assert list(records) == expected
    assert list(records[1:]) == expected[1:]
    assert list(reversed(records)) == expected[::-1]
    assert records[1] == expected[1]
    assert len(records) == 3
    messages.clear()
    assert len(records) == 3


def test_all_are_checked_before_one_is_encoded() -> None:
    gate = Gate(FieldsCodec(), 10)
    with pytest.raises(ValidationError, match=r"^payload: 11 bytes, max_payload_bytes is 10$"):
        gate.encode_all([PLAIN, attrs.evolve(PLAIN, payload=bytes(11))])
    GOOD_TOPICS.discard("orders")
    assert not isinstance(gate.encode_all([PLAIN]), Encoded)
    with pytest.raises(ValidationError, match=r"^topic: 'or ders"):
        gate.encode_all(
            [restored(topic="or ders\n", payload=b"", uid="u", occurred_at=PLAIN.occurred_at)]
        )


def test_what_another_codec_writes_is_written_before_it_is_sent() -> None:
    """It may raise."""
    record = ((b"a", b"b"),)
    assert Gate(Odd(record), 10).encode_all([PLAIN, PLAIN]) == [record, record]
