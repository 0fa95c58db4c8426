"""The conformance suite of backends. It needs the extra ``testing``."""

from ._administrator import Administrator as Administrator
from ._suite import BackendConformanceTest as BackendConformanceTest
from ._suite import backend_conformance as backend_conformance
from ._verdict import ContractBroken as ContractBroken
