"""How hard Hypothesis looks. Importing this registers the profiles and loads ``quick``.

``--hypothesis-profile=thorough`` on the command line is applied after it, and wins.
"""

from __future__ import annotations

from hypothesis import settings

# No deadlines: the first example of a run may import, compile or start a server.
settings.register_profile("quick", deadline=None, max_examples=60, stateful_step_count=30)
settings.register_profile("thorough", deadline=None, max_examples=2000, stateful_step_count=60)
settings.load_profile("quick")


def times() -> int:
    """Return how many times as much as with ``quick`` is asked for: 1 with ``quick`` itself."""
    return max(1, settings().max_examples // settings.get_profile("quick").max_examples)
