"""Every fault that can be put back."""

from __future__ import annotations

from .ancestor import ANCESTOR
from .life import LIFE

FAULTS = (*ANCESTOR, *LIFE)
