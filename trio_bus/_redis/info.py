"""What the server knows of a topic."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import attrs

from trio_bus._entry_id import EntryId
from trio_bus._info import ConsumerInfo, GroupInfo, TopicInfo
from trio_bus._names import ABANDONED, DEAD, DUE, FREE, KEY, RESERVED_CONSUMERS, SUSPECT

from . import scripts
from .errors import to_exception
from .link import Link
from .replies import as_entry_id, as_int, as_list, as_map, as_row, as_text, checked
from .resp import Argument, ErrorReply, Reply
from .schedule import schedule_keys
from .scripts import ScriptCall


async def topic_info(link: Link, topic: str) -> TopicInfo:
    """Ask for length, groups and consumers; a topic that does not exist is empty.

    The answers are not of one moment: a group may go while we ask, and is left out then.

    Raises:
      WrongType: the key of this topic holds something else.
    """
    length, listed = await link.call_many([("XLEN", topic), ("XINFO", "GROUPS", topic)])
    exists = as_int(length) > 0 or not _is_missing_key(listed)
    groups = [as_map(group) for group in as_list(listed)] if exists else []
    oldest, scheduled, unfinished = await _ask_oldest(link, topic, groups)
    # The bytes as they came: a foreign group may have a name that is not text.
    asked = [("XINFO", "CONSUMERS", topic, _name(group)) for group in groups]
    replies = await link.call_many(asked)
    infos = [
        attrs.evolve(_group_info(group, reply, as_int(length)), oldest=first)
        for group, reply, first in zip(groups, replies, unfinished, strict=True)
        if not _is_gone(reply)
    ]
    return TopicInfo(topic, as_int(length), tuple(infos), oldest, scheduled)


async def _ask_oldest(
    link: Link, topic: str, groups: Sequence[Mapping[bytes, Reply]]
) -> tuple[EntryId | None, int, list[EntryId | None]]:
    """Return the oldest entry, how many are scheduled, and what each group has not finished."""
    arguments: list[Argument] = []
    for group in groups:
        arguments += [_name(group), str(as_entry_id(group[b"last-delivered-id"]))]
    call = ScriptCall("oldest", (topic, schedule_keys(topic)[0]), arguments)
    oldest, scheduled, unfinished = as_row(checked(await scripts.run(link, call)), 3)
    return _id(oldest), as_int(scheduled), [_id(reply) for reply in as_list(unfinished)]


def _id(reply: Reply) -> EntryId | None:
    return as_entry_id(reply) if reply else None


def _name(group: Mapping[bytes, Reply]) -> bytes:
    name = group[b"name"]
    return name if isinstance(name, bytes) else b""


def _is_missing_key(reply: Reply) -> bool:
    return isinstance(reply, ErrorReply) and reply.text.startswith("ERR no such key")


def _is_gone(reply: Reply) -> bool:
    if not isinstance(reply, ErrorReply):
        return False
    if reply.code == "NOGROUP" or _is_missing_key(reply):
        return True
    raise to_exception(reply)


def _group_info(group: Mapping[bytes, Reply], reply: Reply, length: int) -> GroupInfo:
    consumers = [_consumer_info(as_map(consumer)) for consumer in as_list(reply)]
    consumers.sort(key=lambda consumer: consumer.name)
    held = {consumer.name: consumer.pending for consumer in consumers}
    members = tuple(it for it in consumers if it.name not in RESERVED_CONSUMERS)
    lag = group.get(b"lag")  # Redis 6.2 does not tell, others not always
    return GroupInfo(
        name=as_text(group[b"name"]),
        last_delivered=as_entry_id(group[b"last-delivered-id"]),
        # What was trimmed unread, servers go on counting.
        lag=min(lag, length) if isinstance(lag, int) else None,
        pending=sum(member.pending for member in members),
        released=held.get(FREE, 0) + held.get(ABANDONED, 0),
        delayed=held.get(DUE, 0),
        dead=held.get(DEAD, 0),
        consumers=members,
        suspects=held.get(SUSPECT, 0),
        parked=held.get(KEY, 0),
    )


def _consumer_info(consumer: Mapping[bytes, Reply]) -> ConsumerInfo:
    idle_ms = as_int(consumer[b"idle"])
    return ConsumerInfo(as_text(consumer[b"name"]), as_int(consumer[b"pending"]), idle_ms / 1000)
