"""Names for messages."""

from __future__ import annotations

from ._chance import chance


def new_uid() -> str:
    """Return a name of 32 hexadecimal digits that no other message has."""
    return chance.getrandbits(128).to_bytes(16, "big").hex()
