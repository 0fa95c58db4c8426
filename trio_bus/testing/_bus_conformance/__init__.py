"""The conformance suite of whole subscriptions. It needs the extra ``testing``."""

from .suite import BusConformanceTest as BusConformanceTest
from .suite import bus_conformance as bus_conformance
