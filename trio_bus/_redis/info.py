"""What the server knows of a topic."""

from __future__ import annotations

from collections.abc import Mapping

from trio_bus._info import ConsumerInfo, GroupInfo, TopicInfo
from trio_bus._names import ABANDONED, DEAD, DUE, FREE, RESERVED_CONSUMERS, SUSPECT

from .errors import to_exception
from .link import Link
from .replies import as_entry_id, as_int, as_list, as_map, as_text
from .resp import ErrorReply, Reply


async def topic_info(link: Link, topic: str) -> TopicInfo:
    """Ask for length, groups and consumers; a topic that does not exist is empty.

    The answers are not of one moment: a group may go while we ask, and is left out then.

    Raises:
      WrongType: the key of this topic holds something else.
    """
    length, listed = await link.call_many([("XLEN", topic), ("XINFO", "GROUPS", topic)])
    if as_int(length) == 0 and _is_missing_key(listed):
        return TopicInfo(topic, 0, ())
    groups = [as_map(group) for group in as_list(listed)]
    # The bytes as they came: a foreign group may have a name that is not text.
    asked = [("XINFO", "CONSUMERS", topic, _name(group)) for group in groups]
    replies = await link.call_many(asked)
    infos = [
        _group_info(group, reply)
        for group, reply in zip(groups, replies, strict=True)
        if not _is_gone(reply)
    ]
    return TopicInfo(topic, as_int(length), tuple(infos))


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


def _group_info(group: Mapping[bytes, Reply], reply: Reply) -> GroupInfo:
    consumers = [_consumer_info(as_map(consumer)) for consumer in as_list(reply)]
    consumers.sort(key=lambda consumer: consumer.name)
    held = {consumer.name: consumer.pending for consumer in consumers}
    members = tuple(it for it in consumers if it.name not in RESERVED_CONSUMERS)
    lag = group.get(b"lag")  # Redis 6.2 does not tell, others not always
    return GroupInfo(
        name=as_text(group[b"name"]),
        last_delivered=as_entry_id(group[b"last-delivered-id"]),
        lag=lag if isinstance(lag, int) else None,
        pending=sum(member.pending for member in members),
        released=held.get(FREE, 0) + held.get(ABANDONED, 0),
        delayed=held.get(DUE, 0),
        dead=held.get(DEAD, 0),
        consumers=members,
        suspects=held.get(SUSPECT, 0),
    )


def _consumer_info(consumer: Mapping[bytes, Reply]) -> ConsumerInfo:
    idle_ms = as_int(consumer[b"idle"])
    return ConsumerInfo(as_text(consumer[b"name"]), as_int(consumer[b"pending"]), idle_ms / 1000)
