"""Asking a server what there is to be judged. Nothing here changes anything."""

from __future__ import annotations

from collections.abc import Sequence

import attrs
import trio

from trio_bus._wall import wall

from .address import Address
from .connecting import Capability, Session, connect
from .diagnosis import Told
from .replies import as_list, as_text
from .resp import Command, ErrorReply, Reply, pack_all
from .rights import probe_rights
from .transport import FAILURES, Attempt
from .wire import Wire

_SETTINGS = (
    *("appendfsync", "save", "maxmemory", "maxmemory-policy", "maxmemory-clients", "maxclients"),
    *("min-replicas-to-write", "client-output-buffer-limit", "timeout", "proto-max-bulk-len"),
)
# One by one: 6.2 takes one name at a time. Never all of them: passwords are settings too.
_QUESTIONS: tuple[Command, ...] = (
    *(("INFO",), ("ACL", "WHOAMI")),
    *(("CONFIG", "GET", name) for name in _SETTINGS),
)
_PROBES: dict[str, Command] = {
    "client|kill": ("CLIENT", "KILL", "ID", 0),  # no client has this number
    "waitaof": ("WAITAOF", 1, 0, 1),  # nothing was written: there is nothing to wait for
}
_CHANNEL = "trio_bus:doctor"


@attrs.frozen
class Examination:
    """What a server told, and what it can do."""

    told: Told
    capabilities: frozenset[str]


async def examine(address: Address, timeout: float) -> Examination:
    """Connect and ask, in at most twice *timeout* seconds; a replica will do.

    Raises:
      BusError: see `connect`; or the connection was lost meanwhile.
    """
    session = await connect(address, timeout, any_role=True)
    attempt = Attempt(address, doing="the questions")
    try:
        with trio.fail_after(timeout):
            return await _ask(session)
    except trio.TooSlowError:
        failure = attempt.late(timeout)
    except FAILURES as error:
        failure = attempt.failed(error)
    finally:
        await session.wire.aclose()
    raise failure


async def _ask(session: Session) -> Examination:
    wire, server = session.wire, session.server
    info, user, *settings = await wire.exchange(list(_QUESTIONS))
    skew = await _skew(wire)
    missing = await probe_rights(wire.exchange)
    tried = await _try_optional(wire)
    may = {rule: not _forbidden(reply) for rule, reply in tried.items()}
    may["info"] = not isinstance(info, ErrorReply)
    may["client|unblock"] = Capability.UNBLOCK in server.capabilities
    may["subscribe"] = await _may_subscribe(wire)
    refused = {"INFO": info, "CONFIG": settings[0], "ACL WHOAMI": user}
    told = Told(
        name=server.name,
        version=server.version,
        mode=server.mode,
        role=server.role,
        info=_parse_info(info),
        config=_parse_config(settings),
        user=as_text(user) if isinstance(user, bytes) else None,
        skew=skew,
        missing=missing,
        lacking=tuple(sorted(rule for rule, allowed in may.items() if not allowed)),
        refused=tuple(what for what, reply in refused.items() if isinstance(reply, ErrorReply)),
    )
    able = {rule for rule, allowed in may.items() if allowed}
    if isinstance(tried["waitaof"], ErrorReply):  # unknown here, or there is no such file
        able.discard("waitaof")
    scripts = {"evalsha"} if Capability.SCRIPTS in server.capabilities else set[str]()
    return Examination(told, frozenset(able | scripts))


async def _try_optional(wire: Wire) -> dict[str, Reply]:
    replies = await wire.exchange(list(_PROBES.values()))
    return dict(zip(_PROBES, replies, strict=True))


def _forbidden(reply: Reply) -> bool:
    return isinstance(reply, ErrorReply) and reply.code == "NOPERM"


async def _skew(wire: Wire) -> float:
    """Return by how much the clocks differ at least: the answer was on its way for a while."""
    asked = wall.now().timestamp()
    (reply,) = await wire.exchange([("TIME",)])
    answered = wall.now().timestamp()
    if isinstance(reply, ErrorReply):
        return 0.0  # the rule is among those that are missing
    seconds, microseconds = (int(as_text(part)) for part in as_list(reply))
    there = seconds + microseconds / 1e6
    return max(there - answered, 0.0) or min(there - asked, 0.0)


async def _may_subscribe(wire: Wire) -> bool:
    """Ask last: the answer to SUBSCRIBE is a push, which answers no command, or a refusal."""
    pushes: list[list[Reply]] = []
    wire.parser.on_push = pushes.append
    await wire.send(pack_all([("SUBSCRIBE", _CHANNEL)]))
    replies: list[Reply] = []
    while not pushes and not replies:
        replies = await wire.receive()
    return not any(_forbidden(reply) for reply in replies)


def _parse_info(reply: Reply) -> dict[str, str]:
    if not isinstance(reply, bytes):
        return {}
    lines = reply.decode("utf-8", "backslashreplace").splitlines()
    pairs = (line.partition(":") for line in lines if line and not line.startswith("#"))
    return {name: value for name, _, value in pairs}


def _parse_config(settings: Sequence[Reply]) -> dict[str, str]:
    found: dict[str, str] = {}
    for reply in settings:
        if isinstance(reply, dict):  # empty for what this server does not know
            found |= {as_text(name): as_text(value) for name, value in reply.items()}
    return found
