"""The door between messages and records, with codecs of the user's own."""

from __future__ import annotations

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
from trio_bus._fields import FieldsCodec
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
