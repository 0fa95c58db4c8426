"""Headers that claim what only the server knows: nobody may believe them."""

from __future__ import annotations

FORGED = {"attempt": "9"}
"""Of messages that the suites publish."""
