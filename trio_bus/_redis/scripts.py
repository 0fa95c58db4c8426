"""The scripts: what must be atomic on the server, called by hash and loaded when it is missing."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from functools import cache
from importlib.resources import files

import attrs

from trio_bus._dead_letter import CONTEXT, ONLY
from trio_bus._errors import ConnectionLost, OutcomeUnknown
from trio_bus._names import ABANDONED, DEAD, DUE, FREE, KEY, SUSPECT
from trio_bus._once import MAX_ONCE_FIELDS

from .link import Link
from .resp import Argument, Command, ErrorReply, Reply

DONE, LOST, GONE, ABSENT, UNFINISHED, GROUP_MISSING, FINISHED, COPIED = 1, 0, 2, 3, 4, 5, 6, 7
"""What a script that settles, or sends back, answers for one entry."""

_MAX_FIELDS = 2 * MAX_ONCE_FIELDS
"""Names and values of one entry: Lua passes about 8,000 arguments, and the context comes to it."""

_LAST_NUMBER = 2**64 - 1
_NUMBER_DIGITS = 16
"""A number of Lua is exact up to 2**53."""


@attrs.frozen
class Script:
    """One script, with what all of them share in front."""

    text: str
    sha: str


@cache
def script(name: str) -> Script:
    """Return the script of that name from the package."""
    folder = files(__package__ or "") / "scripts"
    parts = [
        _constants(),
        *((folder / part).read_text("utf-8") for part in ("_lib.lua", *_parts_of(name))),
    ]
    text = "\n".join(parts)
    # The server names scripts by this hash; it protects nothing.
    return Script(text, hashlib.sha1(text.encode(), usedforsecurity=False).hexdigest())


def _parts_of(name: str) -> tuple[str, ...]:
    return ("_retain.lua", "_tend.lua", "look.lua") if name == "look" else (f"{name}.lua",)


def _constants() -> str:
    """Write down, for Lua, the names that Python owns."""
    context = ", ".join(f"'{name.decode()}'" for name in CONTEXT)
    return (
        f"local FREE, DUE, ABANDONED = '{FREE}', '{DUE}', '{ABANDONED}'\n"
        f"local SUSPECT, DEAD, KEY = '{SUSPECT}', '{DEAD}', '{KEY}'\n"
        f"local DONE, LOST, GONE, ABSENT = {DONE}, {LOST}, {GONE}, {ABSENT}\n"
        f"local UNFINISHED, GROUP_MISSING, COPIED = {UNFINISHED}, {GROUP_MISSING}, {COPIED}\n"
        f"local FINISHED = {FINISHED}\n"
        f"local ONLY = '{ONLY.decode()}'\n"
        f"local MAX_FIELDS = {_MAX_FIELDS}\n"
        f"local LAST_NUMBER = '{_LAST_NUMBER}'\n"
        f"local NUMBER_DIGITS = {_NUMBER_DIGITS}\n"
        f"local CONTEXT = {{{context}}}"
    )


@attrs.frozen
class ScriptCall:
    """One call of a script. *keys* names every key that it touches."""

    name: str
    keys: Sequence[str]
    arguments: Sequence[Argument]

    def by_hash(self) -> Command:
        """Return the command for a server that knows the script."""
        return ("EVALSHA", script(self.name).sha, len(self.keys), *self.keys, *self.arguments)

    def by_text(self) -> Command:
        """Return the command that works anyway; the server knows the script afterwards."""
        return ("EVAL", script(self.name).text, len(self.keys), *self.keys, *self.arguments)


async def run(link: Link, call: ScriptCall) -> Reply:
    """Run one script and return its reply; a refusal is returned too."""
    return (await run_many(link, [call]))[0]


async def run_many(link: Link, calls: Sequence[ScriptCall]) -> list[Reply]:
    """Run scripts in one write, each atomic for itself; return a reply for each.

    Those that the server does not know (it was restarted, or flushed) are sent again with their
    text, in the order given. Nothing is done twice: an unknown script has done nothing.
    """
    replies = await link.call_many([call.by_hash() for call in calls])
    unknown = [at for at, reply in enumerate(replies) if _is_unknown(reply)]
    if unknown:
        try:
            again = await link.call_many([calls[at].by_text() for at in unknown])
        except ConnectionLost as error:
            if len(unknown) == len(calls):
                raise
            raise OutcomeUnknown("the connection was lost after some of this was done") from error
        for at, reply in zip(unknown, again, strict=True):
            replies[at] = reply
    return replies


def _is_unknown(reply: Reply) -> bool:
    return isinstance(reply, ErrorReply) and reply.code == "NOSCRIPT"
