"""Faults that no suite of random examples can see, and why."""

from __future__ import annotations

APART: dict[str, str] = {}
"""By the name of the fault."""
