"""Scheduling: records that wait on the server until they are due."""

from __future__ import annotations

import math
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

from trio_bus._backend import Record
from trio_bus._names import own_key
from trio_bus._schedulable import check_schedulable

from . import scripts
from .link import Link
from .replies import as_int, as_text, checked
from .scripts import ScriptCall

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MILLISECOND = timedelta(milliseconds=1)
_NO_DELAY = -1


def wake_channel(topic: str) -> str:
    """Name the channel on which the members of all groups of a topic are woken."""
    return own_key(topic, "wake", "")


def schedule_keys(topic: str) -> tuple[str, str]:
    """Name the schedule, a sorted set, and the hash with the records of what is in it."""
    return own_key(topic, "schedule", ""), own_key(topic, "scheduled", "")


def scheduling(
    topic: str, record: Record, uid: str, when: float | datetime, once: float | None
) -> ScriptCall:
    """Return the call that puts a record into the schedule; see `StreamBackend.schedule`."""
    check_schedulable(record)
    keys: tuple[str, ...] = schedule_keys(topic)
    window_ms = 0 if once is None else math.ceil(once * 1000)
    if window_ms > 0:
        keys += _markers(topic, uid)
    packed = b"".join(_packed(record))
    return ScriptCall("schedule", keys, (wake_channel(topic), uid, *_due(when), packed, window_ms))


async def schedule(link: Link, call: ScriptCall) -> str:
    """Schedule, and return the uid that is scheduled."""
    return as_text(checked(await scripts.run(link, call)))


async def cancel(link: Link, topic: str, uid: str) -> bool:
    """Take a record out of the schedule; see `StreamBackend.cancel_scheduled`."""
    call = ScriptCall("cancel", (*schedule_keys(topic), *_markers(topic, uid)), (uid,))
    return as_int(await scripts.run(link, call)) == 1


def _markers(topic: str, uid: str) -> tuple[str, ...]:
    """Name the marker of what may be scheduled only once; nothing for a uid without one."""
    _, dash, mark = uid.rpartition("-")
    return (own_key(topic, "schedule-once", mark),) if dash else ()


def _due(when: float | datetime) -> tuple[int, int]:
    """Return the delay and the instant for the script, in milliseconds; one of them counts."""
    if isinstance(when, datetime):
        return _NO_DELAY, max(0, -((_EPOCH - when) // _MILLISECOND))
    return math.ceil(when * 1000), 0


def _packed(record: Record) -> Iterator[bytes]:
    """Write each name and value as length, colon, bytes: the form that the scripts read."""
    for field in record:
        for part in field:
            yield b"%d:%b" % (len(part), part)
