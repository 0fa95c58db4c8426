"""The only door between messages and records."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, final

from ._codec import Codec, is_oversized, record_bytes
from ._encoded import Encoded
from ._errors import Oversized, SerializationError, ValidationError
from ._fields import FieldsCodec, is_short, write_short
from ._flat import flat, pairs
from ._headers import NO_HEADERS
from ._message import Message, check_publishable
from ._names import GOOD_TOPICS

if TYPE_CHECKING:
    from ._backend import Record
    from ._flat import Words


@final
class Gate:
    """Encodes and decodes within a limit, so that what passes out passes in.

    ``max_payload_bytes`` bounds the payload, and the codec says how large a record with such a
    payload may be. Both are checked both ways, the record's size before anything is decoded.
    """

    __slots__ = ("_codec", "_is_ours", "_max_payload_bytes", "_max_record_bytes", "_read")

    def __init__(self, codec: Codec, max_payload_bytes: int) -> None:
        self._codec = codec
        self._is_ours = type(codec) is FieldsCodec
        # Of our own codec we know that it need not have pairs.
        self._read = codec.decode_flat if type(codec) is FieldsCodec else self._read_pairs
        self._max_payload_bytes = max_payload_bytes
        self._max_record_bytes = codec.max_record_bytes(max_payload_bytes)

    def encode(self, message: Message) -> Record:
        """Return the record of a message.

        Raises:
          ValidationError: the message breaks a rule, or is too large.
          SerializationError: the codec cannot express it.
        """
        if (
            self._is_ours
            and is_short(message)
            and message.topic in GOOD_TOPICS
            and len(message.payload) <= self._max_payload_bytes
        ):
            return write_short(message)
        if message.headers is not NO_HEADERS or message.topic not in GOOD_TOPICS:
            check_publishable(message)
        if len(message.payload) > self._max_payload_bytes:
            raise ValidationError(self._too_much(message))
        try:
            record = self._codec.encode(message)
        except SerializationError:
            raise
        except Exception as error:  # a broken codec must not bring a subscription down
            raise SerializationError(f"the codec raised {error!r}") from error
        if record_bytes(record) > self._max_record_bytes:
            raise ValidationError(f"message: {self._too_long(record)}")
        return record

    def encode_all(self, messages: Sequence[Message]) -> Sequence[Record]:
        """Check all, and return their records: made when they are asked for, if none can fail.

        Raises:
          ValidationError: a message breaks a rule, or is too large.
          SerializationError: the codec cannot express one.
        """
        largest = self._max_payload_bytes
        if self._is_ours and all(
            is_short(message) and message.topic in GOOD_TOPICS and len(message.payload) <= largest
            for message in messages
        ):
            return Encoded(write_short, messages)
        return [self.encode(message) for message in messages]

    def decode(self, record: Record) -> Message:
        """Return the message of a record; see `decode_flat`."""
        return self.decode_flat(flat(record))

    def decode_flat(self, words: Words, size: int = 0) -> Message:
        """Return the message of a flat record; *size* is its `record_bytes`, where that is known.

        Raises:
          Oversized: the record, or its payload, is too large.
          SerializationError: the codec cannot read it.
        """
        limit = self._max_record_bytes
        if not 0 < size <= limit and is_oversized(pairs(words), limit):
            raise Oversized(f"record: {self._too_long(pairs(words))}")
        try:
            message = self._read(words)
        except SerializationError:
            raise
        except Exception as error:  # a broken codec must not bring a subscription down
            raise SerializationError(f"the codec raised {error!r}") from error
        if len(message.payload) > self._max_payload_bytes:
            raise Oversized(self._too_much(message))
        return message

    def _read_pairs(self, words: Words) -> Message:
        return self._codec.decode(pairs(words))

    def _too_much(self, message: Message) -> str:
        size = len(message.payload)
        return f"payload: {size} bytes, max_payload_bytes is {self._max_payload_bytes}"

    def _too_long(self, record: Record) -> str:
        return f"{record_bytes(record)} bytes when encoded, at most {self._max_record_bytes}"
