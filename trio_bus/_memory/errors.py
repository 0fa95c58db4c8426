"""A refusal, in the server's own words."""

from __future__ import annotations


class StreamError(Exception):
    """The server would answer with this error. The text begins with its code."""

    @property
    def code(self) -> str:
        """The first word: ``ERR``, ``NOGROUP``, ``WRONGTYPE``, ``BUSYGROUP``."""
        return str(self).partition(" ")[0]


def wrong_type() -> StreamError:
    """Make the error for a key of another type."""
    return StreamError("WRONGTYPE Operation against a key holding the wrong kind of value")


def no_group(key: str, group: str) -> StreamError:
    """Make the error of XPENDING, XCLAIM and XAUTOCLAIM."""
    return StreamError(f"NOGROUP No such key '{key}' or consumer group '{group}'")


def no_group_to_read(key: str, group: str) -> StreamError:
    """Make the error of XREADGROUP."""
    return StreamError(f"{no_group(key, group)} in XREADGROUP with GROUP option")


def no_group_for_key(key: str, group: str) -> StreamError:
    """Make the error of XGROUP and XINFO."""
    return StreamError(f"NOGROUP No such consumer group '{group}' for key name '{key}'")


def meaningless(start: str) -> StreamError:
    """Make the error of XREADGROUP for an id that only XREAD knows."""
    return StreamError(
        f"ERR The {start} ID is meaningless in the context of XREADGROUP: you want to read the"
        " history of this consumer by specifying a proper ID, or use the > ID to get new messages."
        f" The {start} ID would just return an empty result set."
    )
