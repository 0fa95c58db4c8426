"""The order in which trio runs tasks that could all run, chosen by a seed."""

from __future__ import annotations

import random
from collections.abc import Generator
from contextlib import contextmanager
from importlib import import_module
from types import ModuleType

from trio_bus._errors import InternalError

_FLAG = "_ALLOW_DETERMINISTIC_SCHEDULING"
_CHOOSER = "_r"


@contextmanager
def schedule_of(seed: int) -> Generator[None, None, None]:
    """Let *seed* decide, inside the block, which of several ready tasks trio runs first.

    Of each batch of tasks that can run trio takes one after the other. Their order is that of their
    creation, shuffled by *seed*: it does not depend on hashes or addresses. Afterwards trio chooses
    as before, and goes on as if nothing had been.

    Raises:
      InternalError: trio has no such switch any more.
    """
    core, chooser = _insides_of_trio()
    switch: object = getattr(core, _FLAG)
    before = chooser.getstate()
    setattr(core, _FLAG, True)
    chooser.seed(seed)
    try:
        yield
    finally:
        chooser.setstate(before)
        setattr(core, _FLAG, switch)


def _insides_of_trio() -> tuple[ModuleType, random.Random]:
    """Return where the two private names stand; this is the only place that knows them."""
    core = import_module("trio._core._run")
    chooser: object = getattr(core, _CHOOSER, None)
    if not hasattr(core, _FLAG) or not isinstance(chooser, random.Random):
        raise InternalError(f"trio._core._run has no {_FLAG} and {_CHOOSER}: it chooses otherwise")
    return core, chooser
