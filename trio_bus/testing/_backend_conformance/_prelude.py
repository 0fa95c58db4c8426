"""What has happened before a program begins: random steps get to some states too rarely."""

from __future__ import annotations

from ._cast import Who
from ._consuming import Consuming
from ._publishing import Publishing
from ._world import World

PRELUDES = ("nothing", "held", "abandoned", "set apart")
"""Each goes further than the one before it."""

_X, _Y = Who("a", "g", "x"), Who("a", "g", "y")
_LOST = 5.0
"""Units: longer than a lease."""


def play(prelude: str, world: World, publishing: Publishing, consuming: Consuming) -> None:
    """Let entries be held, lose their owner, lose it again and be set apart."""
    far = PRELUDES.index(prelude)
    if far >= 1:
        consuming.read(_X, 1, None)  # nothing yet: whatever has to be opened first is open then
        publishing.append("a", (None,) * 4, 0.0, None)
        consuming.read(_X, 3, None)
    if far >= 2:
        world.sleep(_LOST * world.shape.unit)
        consuming.look(_Y)
    if far >= 3:
        consuming.take_over(_Y, 3, None, book=False)
        world.sleep(_LOST * world.shape.unit)
        consuming.look(_X)
        consuming.take_over(_X, 1, None, book=True)
