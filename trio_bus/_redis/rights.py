"""The rights that a user needs on the server, and how to find out that one is missing."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterator

from trio_bus._errors import PermissionDenied
from trio_bus._names import own_key

from .link import Link
from .resp import Command, ErrorReply, Reply
from .schedule import wake_channel

PUBLISHING = ("xadd",)
"""What publishing a message without an idempotency key needs."""

SUBSCRIBING = (
    *("eval", "evalsha", "time", "xadd", "xack", "xclaim", "xdel", "xlen", "xpending", "xrange"),
    *("xreadgroup", "xgroup|create", "xgroup|delconsumer", "xinfo|consumers", "xinfo|groups"),
    "xgroup|destroy",
    *("zadd", "zcard", "zrangebyscore", "zrem", "zscore", "publish"),
    *("del", "get", "set", "pexpire", "pttl", "hdel", "hexists", "hget", "hincrby", "hset"),
)
"""What everything else needs besides: subscriptions, keys, schedules, `Bus.info`."""

OPTIONAL = ("client|unblock", "client|kill", "info", "subscribe", "waitaof")
"""What makes things faster, or safer against faults; on servers that know it ``client|setinfo``."""

REDRIVING = ("hrandfield",)
"""What `Bus.redrive` uses besides, to forget the history of what is finished; it can do without."""

RETAINING = ("xtrim",)
"""What a subscription with a ``retention`` needs besides."""

ORDERING = ("xread",)
"""What a subscription with `OrderingMode.KEY` needs besides, to wait for what is new."""

_NOBODY = "~nobody"  # no group can be called so
_UNKNOWN_SHA = "0" * 40


async def check_subscribing(link: Link, topic: str) -> bool:
    """Find out, without changing anything, whether this user may do what a member does.

    Returns:
      Whether it may wake others: where it may not, other users of its group may not either.

    Raises:
      PermissionDenied: it may not; the text names the rules that are missing.
      ConnectionLost: nobody could be asked.
    """
    probes = dict(_probes(topic))
    waking = ("PUBLISH", wake_channel(topic), f"0 {_NOBODY}")
    *replies, woken = await link.call_many([*probes.values(), waking])
    refused = {
        rule: reply
        for rule, reply in zip(probes, replies, strict=True)
        if isinstance(reply, ErrorReply) and reply.code == "NOPERM"
    }
    if refused:
        rules = " ".join(f"+{rule}" for rule in refused)
        first = next(iter(refused.values())).text
        raise PermissionDenied(f"NOPERM a subscription to {topic!a} needs {rules} ({first[7:]})")
    return not isinstance(woken, ErrorReply)


async def probe_rights(ask: Callable[[list[Command]], Awaitable[list[Reply]]]) -> tuple[str, ...]:
    """Return the rules that this user lacks, whatever topics it may use; nothing is changed."""
    probes = dict(_probes("trio_bus:doctor"))
    replies = await ask(list(probes.values()))
    return tuple(
        rule for rule, reply in zip(probes, replies, strict=True) if _is_rule_missing(reply)
    )


def _is_rule_missing(reply: Reply) -> bool:
    """Tell a command that is forbidden from a key that is: each has its text on every server."""
    if not isinstance(reply, ErrorReply) or reply.code != "NOPERM":
        return False
    return "to run the" in reply.text


def _probes(topic: str) -> Iterator[tuple[str, Command]]:
    """Yield for each rule a command that is well-formed and does nothing.

    Servers look at rights after they have counted arguments, and before they do anything.
    """
    own = own_key(topic, "due", _NOBODY)
    yield "xadd", ("XADD", topic, "NOMKSTREAM", "0-0", "f", "v")  # an id that none can have
    yield "xreadgroup", ("XREADGROUP", "GROUP", _NOBODY, "c", "COUNT", 1, "STREAMS", topic, ">")
    yield "xpending", ("XPENDING", topic, _NOBODY, "-", "+", 1)
    yield "xclaim", ("XCLAIM", topic, _NOBODY, "c", 0, "0-1", "JUSTID")
    yield "xack", ("XACK", topic, _NOBODY, "0-1")
    yield "xrange", ("XRANGE", topic, "0-1", "0-1")
    yield "xgroup|create", ("XGROUP", "CREATE", topic, _NOBODY, "no id")
    yield "xgroup|destroy", ("XGROUP", "DESTROY", topic, _NOBODY)
    yield "xgroup|delconsumer", ("XGROUP", "DELCONSUMER", topic, _NOBODY, "c")
    yield "xinfo|consumers", ("XINFO", "CONSUMERS", topic, _NOBODY)
    yield "evalsha", ("EVALSHA", _UNKNOWN_SHA, 0)
    yield "eval", ("EVAL", "?", 0)  # it does not compile, and is not kept
    yield "time", ("TIME",)
    yield "zadd", ("ZADD", own, "XX", 0, "m")
    yield "zcard", ("ZCARD", own)
    yield "zrangebyscore", ("ZRANGEBYSCORE", own, 0, 0)
    yield "zrem", ("ZREM", own, "m")
    yield "zscore", ("ZSCORE", own, "m")
    yield "del", ("DEL", own)
    yield "hget", ("HGET", own, "f")
    yield "hdel", ("HDEL", own, "f")
    yield "hset", ("HSET", own, "f", "v", "a field without a value")
    yield "pexpire", ("PEXPIRE", own, 1)
