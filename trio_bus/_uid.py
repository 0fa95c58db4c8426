"""Names for messages."""

from __future__ import annotations

import os
import random

# Seeded by the system. It asks the system once and not for each message, which takes longer than
# all the rest of making one; and it is our own, so that a program that seeds ``random`` for itself
# does not give the same names twice. Names are unique, not secret.
_generator = random.Random()  # noqa: S311
os.register_at_fork(after_in_child=_generator.seed)


def new_uid() -> str:
    """Return a name of 32 hexadecimal digits that no other message has."""
    return _generator.getrandbits(128).to_bytes(16, "big").hex()
