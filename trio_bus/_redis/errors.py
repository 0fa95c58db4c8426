"""From what the server refuses to what we raise."""

from __future__ import annotations

import re

from trio_bus._errors import (
    AuthenticationFailed,
    GroupMissing,
    PermissionDenied,
    RemoteError,
    Unsupported,
    WrongType,
)

from .resp import ErrorReply

_CLASSES: dict[str, type[RemoteError]] = {
    "NOAUTH": AuthenticationFailed,
    "WRONGPASS": AuthenticationFailed,
    "NOPERM": PermissionDenied,
    "WRONGTYPE": WrongType,
    "NOGROUP": GroupMissing,
}

_DEMOTED = {"READONLY", "MASTERDOWN"}

# Redis 6.2 hides the code of an error that a script met behind the place where it met it.
_HIDDEN = re.compile(
    r"^(ERR Error running script .*?|@user_script: ?\d+): -?(?P<text>[A-Z]{2,} .*)$", re.DOTALL
)
_UNKNOWN = re.compile(r"^ERR unknown (command|subcommand)", re.IGNORECASE)
# A script that meets a missing right says so in the text of an ERR on some servers.
_FORBIDDEN = re.compile(
    r"^ERR (Error running script .*?: )?(The user executing the script|ACL failure in script)"
)


def uncover(reply: ErrorReply) -> ErrorReply:
    """Return the error that a script met, where the server wrapped it."""
    hidden = _HIDDEN.match(reply.text)
    return ErrorReply(hidden["text"]) if hidden else reply


def is_demotion(reply: ErrorReply) -> bool:
    """Say whether this is the answer of a replica: the primary is somewhere else now."""
    return uncover(reply).code in _DEMOTED


def to_exception(reply: ErrorReply) -> RemoteError:
    """Return a new exception for a refusal; its class is chosen by the code."""
    plain = uncover(reply)
    if _UNKNOWN.match(plain.text):
        return Unsupported(plain.text)
    if _FORBIDDEN.match(plain.text):
        return PermissionDenied(plain.text)
    return _CLASSES.get(plain.code, RemoteError)(plain.text)
