"""The promises of trio_bus, as checks of what happened in a run."""

from __future__ import annotations

from .broken import InvariantBroken
from .judge import RULES, Judge
from .lives import Lives, figures_of
from .rule import Rule

__all__ = ["RULES", "InvariantBroken", "Judge", "Lives", "Rule", "figures_of"]
