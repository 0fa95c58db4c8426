"""The faults of the ancestor that must not come back, as the design lists them."""

from __future__ import annotations

from .ends import CLOSING, CONNECTING
from .entries import CLAIMING, RETRYING
from .promises import TELLING, TESTING

ANCESTOR = (*CLAIMING, *RETRYING, *CONNECTING, *CLOSING, *TELLING, *TESTING)
"""In the words of the design; what it says in one breath of many faults is cut."""
