"""The dead entries in memory: reading them, and sending them back."""

from __future__ import annotations

from itertools import islice

from trio_bus._backend import Buried, Death, DeathCause, Receipt, Record
from trio_bus._dead_letter import ONLY, TOPIC, context_fields, encode_text, ends_with_context
from trio_bus._entry_id import EntryId
from trio_bus._graves import Grave, Redriven
from trio_bus._names import DEAD, FREE

from .custody import move
from .group import Group
from .ids import MAX_ID, MIN_ID, following
from .store import Store
from .stream import Stream
from .stream_commands import xadd

_ROWS = 100
_UNKNOWN = Death(DeathCause.EXHAUSTED, "", "")


def buried(
    store: Store, topic: str, group: str | None, after: EntryId | None
) -> tuple[list[Buried], EntryId | None]:
    """Read some dead ones; see `StreamBackend.buried`.

    Raises:
      StreamError: WRONGTYPE.
    """
    stream = store.find_stream(topic)
    start = MIN_ID if after is None else following(after)
    if stream is None or start is None:
        return [], None
    if group is None:
        looked_at = stream.range(start, MAX_ID, _ROWS)
        found = [(it, stream.entries[it]) for it in looked_at]
        rows = [(it, record) for it, record in found if any(name == TOPIC for name, _ in record)]
    else:
        looked_at, rows = _kept(topic, stream, group, start)
    return rows, looked_at[-1] if len(looked_at) == _ROWS else None


def redrive(store: Store, grave: Grave, now_ms: int) -> Redriven:
    """Send one back; see `StreamBackend.redrive`.

    Raises:
      StreamError: WRONGTYPE.
    """
    found = store.find_group(grave.topic, grave.group)
    if found is None:
        return Redriven.GROUP_MISSING
    if grave.lies_in is None:
        return _from_group(*found, grave.entry_id, now_ms)
    letters = store.find_stream(grave.lies_in)
    if letters is None or grave.id is None:
        return Redriven.LOST
    record = letters.entries.get(grave.id)
    if record is None:
        return Redriven.LOST
    result = _from_topic(store, record, grave, now_ms)
    if result in {Redriven.DONE, Redriven.COPIED}:
        letters.delete(grave.id)
    return result


def _kept(
    topic: str, stream: Stream, name: str, start: EntryId
) -> tuple[list[EntryId], list[Buried]]:
    group = stream.groups.get(name)
    if group is None or DEAD not in group.consumers:
        return [], []
    dead = group.consumers[DEAD].pending
    looked_at = list(islice(dead.ids(start, MAX_ID), _ROWS))
    rows: list[Buried] = []
    for entry_id in looked_at:
        body = stream.entries.get(entry_id)
        if body is not None:
            held = dead[entry_id]
            receipt = Receipt(entry_id, held.count)
            unknown = context_fields(topic, name, receipt, held.delivered_ms, _UNKNOWN)
            rows.append((entry_id, body + group.notes.get(entry_id, unknown)))
    return looked_at, rows


def _from_group(stream: Stream, group: Group, entry_id: EntryId, now_ms: int) -> Redriven:
    held = group.pending.get(entry_id)
    if held is None or held.consumer.name != DEAD:
        return Redriven.LOST
    if entry_id not in stream.entries:
        group.acknowledge(entry_id)
        group.notes.pop(entry_id, None)
        return Redriven.GONE
    move(group, entry_id, FREE, 0, now_ms)
    return Redriven.DONE


def _from_topic(store: Store, record: Record, grave: Grave, now_ms: int) -> Redriven:
    if not ends_with_context(record, grave.topic, grave.group, grave.entry_id):
        return Redriven.GONE
    stream, group = store.need_group(grave.topic, grave.group)
    original = stream.entries.get(grave.entry_id)
    if original is None or record[: len(original)] != original:
        only = (ONLY, encode_text(grave.group))
        xadd(store, grave.topic, "*", (*record, only), now_ms)
        return Redriven.COPIED
    if group.pending.get(grave.entry_id) or grave.entry_id > group.last_delivered:
        return Redriven.UNFINISHED
    group.notes[grave.entry_id] = record[len(original) :]
    move(group, grave.entry_id, FREE, 0, now_ms)
    return Redriven.DONE
