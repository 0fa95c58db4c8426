"""The conformance suite of whole subscriptions. It needs the extra ``testing``."""

from .suite import BusConformanceTest as BusConformanceTest
from .suite import bus_conformance as bus_conformance

# Users find them here: see ``trio_bus/__init__.py``.
for _public in (BusConformanceTest, bus_conformance):
    _public.__module__ = "trio_bus.testing"
