"""Mistakes that are easily made in the life of a subscription, and must be noticed."""

from __future__ import annotations

from .fault import Fault

_SUBSCRIPTION = "trio_bus/_subscription"
_REDIS = "trio_bus/_redis"
_MEMORY = "trio_bus/_memory"
_SCRIPTS = "trio_bus/_redis/scripts"

LIFE: tuple[Fault, ...] = ()
"""Mistakes that nobody has made yet."""
