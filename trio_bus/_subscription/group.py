"""Makes sure that the group of a subscription exists."""

from __future__ import annotations

from typing import TYPE_CHECKING

import attrs

from trio_bus._config import SubscriptionConfig
from trio_bus._entry_id import EntryId
from trio_bus._errors import BusError
from trio_bus._modes import StartPosition
from trio_bus._observer import Scope, Transition

if TYPE_CHECKING:
    from trio_bus._backend import StreamBackend

    from .core import Core


def first_id(config: SubscriptionConfig) -> EntryId | None:
    """Return the id after which a new group begins; None: after the newest entry."""
    if isinstance(config.start, EntryId):
        return config.start
    return None if config.start is StartPosition.NEWEST else EntryId(0, 0)


@attrs.frozen
class Group:
    """The group of one subscription, for its service tasks."""

    _backend: StreamBackend
    _core: Core

    async def recreate(self) -> None:
        """Create a group that has vanished, at ``start``; a failure is told and left for later."""
        config = self._core.config
        try:
            new = await self._backend.create_group(config.topic, config.group, first_id(config))
        except BusError as error:
            self._core.report(Scope.READ, error)
            return
        if new:
            self._core.notifier.transition(Transition.GROUP_RECREATED)
