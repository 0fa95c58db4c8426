"""The order in which trio runs tasks that could all run, chosen by a seed."""

from __future__ import annotations

import random
from importlib import import_module

import pytest


def seed_schedule(patch: pytest.MonkeyPatch, seed: int) -> None:
    """Let trio run ready tasks in an order that *seed* decides, until *patch* is undone."""
    core = import_module("trio._core._run")
    patch.setattr(core, "_ALLOW_DETERMINISTIC_SCHEDULING", True)  # an error if there is none
    chooser: object = getattr(core, "_r", None)
    assert isinstance(chooser, random.Random), "trio chooses in another way now"
    chooser.seed(seed)
