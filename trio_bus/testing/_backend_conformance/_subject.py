"""What is tested, and how."""

from __future__ import annotations

from collections.abc import Callable

import attrs

from trio_bus._backend import StreamBackend

from ._administrator import Administrator
from ._tally import Tally
from ._world import OpenBackend

FindAdministrator = Callable[[StreamBackend], Administrator]


@attrs.frozen
class Subject:
    """See `backend_conformance`."""

    open_backend: OpenBackend
    administrator: FindAdministrator | None
    virtual_time: bool
    lease: float
    tally: Tally
