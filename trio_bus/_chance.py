"""All that is left to chance here: jitter, and the ends of names."""

from __future__ import annotations

import os
import random
from collections.abc import Generator
from contextlib import contextmanager

Chance = random.Random
"""Where numbers come from; made of a seed, the same ones each time."""

# Seeded by the system. It asks the system once and not for each number, which takes longer than
# all the rest of making a message; and it is our own, so that a program that seeds ``random`` for
# itself does not give the same names twice. Names are unique, not secret.
chance: Chance = Chance()
os.register_at_fork(after_in_child=chance.seed)


@contextmanager
def chance_of(seed: int) -> Generator[None, None, None]:
    """Let *seed* decide inside the block, and go on afterwards as if nothing had been."""
    before = chance.getstate()
    chance.seed(seed)
    try:
        yield
    finally:
        chance.setstate(before)
