"""Records to packed commands, and the answers to them to ids: appending without its waits."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from functools import lru_cache

from trio_bus._backend import Record
from trio_bus._entry_id import EntryId
from trio_bus._errors import ConnectionLost
from trio_bus._once import Once, too_many_fields

from .errors import to_exception
from .once import pack_once
from .pipeline import Owed
from .replies import as_entry_id, new_entry_id
from .resp import ErrorReply, Reply

_MOST = 1000
_LARGEST = 1024 * 1024


Refused = list[tuple[int, Exception]]
"""Where among the records of a chunk those stand that cannot be sent, and why."""

Chunk = tuple[bytes, int, Refused]
"""Packed commands, how many they are, and what is answered without the server."""

_NONE: Refused = []


def chunks(
    topic: str, records: Sequence[Record], once: Sequence[Once | None] = ()
) -> Iterable[Chunk]:
    """Pack the records; a chunk ends when it is large in number or in bytes."""
    return _many_chunks(topic, records, once) if once else _plain_chunks(topic, records)


def pack_append(topic: str, record: Record) -> bytes:
    """Pack an XADD in a third of the time of `pack`, by writing equal parts only once."""
    parts: list[bytes] = []
    _add(parts, topic, record)
    return b"".join(parts)


def _add(parts: list[bytes], topic: str, record: Record) -> int:
    """Add what an XADD is made of; return how many bytes its fields are."""
    parts.append(_opening(topic, len(record)))
    size = 0
    for name, value in record:
        length = len(value)
        try:  # costs nothing where it is there
            head = _HEADS[name][length]
        except KeyError:
            head = _write_head(name, length)
        parts.append(head)
        parts.append(value)
        size += len(head) + length
    parts.append(b"\r\n")
    return size


@lru_cache(maxsize=1024)
def _opening(topic: str, fields: int) -> bytes:
    """Return an XADD up to its fields, without the last line end."""
    name = topic.encode()
    return b"*%d\r\n$4\r\nXADD\r\n$%d\r\n%b\r\n$1\r\n*" % (3 + 2 * fields, len(name), name)


_HEADS: dict[bytes, dict[int, bytes]] = {}
"""What stands before a value, by the name of its field and by its length: the first ones met."""
_MOST_NAMES = 32
_LONGEST = 4096


def _write_head(name: bytes, length: int) -> bytes:
    head = b"\r\n$%d\r\n%b\r\n$%d\r\n" % (len(name), name, length)
    is_kept = length <= _LONGEST and len(name) <= _LONGEST
    if is_kept and (name in _HEADS or len(_HEADS) < _MOST_NAMES):
        _HEADS.setdefault(name, {})[length] = head
    return head


def _plain_chunks(topic: str, records: Sequence[Record]) -> Iterator[Chunk]:
    parts: list[bytes] = []  # of all commands of a chunk: they are put together once
    count = size = 0
    for record in records:
        begin = len(parts)
        more = _add(parts, topic, record)
        if count and (count == _MOST or size + more > _LARGEST):
            yield b"".join(parts[:begin]), count, _NONE
            del parts[:begin]
            count = size = 0
        count += 1
        size += more
    if count:
        yield b"".join(parts), count, _NONE


def _many_chunks(
    topic: str, records: Sequence[Record], once: Sequence[Once | None]
) -> Iterator[Chunk]:
    packed: list[bytes] = []
    refused: Refused = []
    size = 0
    for record, how in zip(records, once, strict=True):
        if how is not None and (error := too_many_fields(record)):
            refused.append((len(packed) + len(refused), error))
            continue
        command = pack(topic, record, how)
        if packed and (len(packed) == _MOST or size + len(command) > _LARGEST):
            yield b"".join(packed), len(packed), refused
            packed, refused, size = [], [], 0
        packed.append(command)
        size += len(command)
    yield b"".join(packed), len(packed), refused


def pack(topic: str, record: Record, once: Once | None, *, write_again: bool = False) -> bytes:
    """Pack what appends one record; see `pack_once`."""
    if once is None:
        return pack_append(topic, record)
    return pack_once(topic, record, once, write_again=write_again)


def results(owed: Owed, refused: Refused = _NONE) -> list[EntryId | Exception]:
    """Return an id, or an error of its own, for each record of a chunk that *owed* carried."""
    found: list[EntryId | Exception] = []
    last, ms = b"", 0  # many of a batch are stored in the same millisecond
    for answer in owed.answers():
        if type(answer) is bytes:  # as nearly all are, and `as_entry_id` reads one
            time, _, seq = answer.partition(b"-")
            if time != last:
                last, ms = time, int(time)
            found.append(new_entry_id(EntryId, (ms, int(seq))))
        else:
            found.append(result_of(answer))
    for at, error in refused:
        found.insert(at, error)
    return found


def result_of(answer: Reply | ConnectionLost) -> EntryId | Exception:
    """Return the id, or the error, that one answer means."""
    if type(answer) is bytes:  # nearly always
        return as_entry_id(answer)
    if isinstance(answer, ConnectionLost):
        return answer
    if isinstance(answer, ErrorReply):
        return to_exception(answer)
    return as_entry_id(answer)


def result(owed: Owed) -> EntryId | Exception:
    """Return the id, or the error, of the one record that *owed* carried."""
    if owed.cause is None:
        return result_of(owed.replies[0])
    return owed.lost()


def unsent(count: int, cause: BaseException | None) -> list[EntryId | Exception]:
    """Return an exception for each record that was not sent."""
    return [not_sent(cause) for _ in range(count)]


def not_sent(cause: BaseException | None) -> ConnectionLost:
    """Return a new exception for something that was not sent."""
    error = ConnectionLost(f"the connection was lost before this was sent: {cause}")
    error.__cause__ = cause
    return error
