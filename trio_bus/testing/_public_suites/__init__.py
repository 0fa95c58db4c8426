"""The tests of public suites, as far as they apply, for any backend."""

from __future__ import annotations

from .dapr import DAPR
from .stage import Stage as Stage
from .stage import Test as Test
from .watermill import WATERMILL
from .wolverine import WOLVERINE

PUBLIC_SUITES: dict[str, tuple[Test, ...]] = {
    "watermill": WATERMILL,
    "dapr": DAPR,
    "wolverine": WOLVERINE,
}
"""By the system whose suite it is."""
