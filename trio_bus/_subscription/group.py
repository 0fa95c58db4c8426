"""Makes sure that the group of a subscription exists."""

from __future__ import annotations

from typing import TYPE_CHECKING

import attrs

from trio_bus._config import SubscriptionConfig
from trio_bus._entry_id import EntryId
from trio_bus._errors import BusError
from trio_bus._modes import BalanceMode, StartPosition
from trio_bus._observer import Scope, Transition

from .progress import Progress

if TYPE_CHECKING:
    from trio_bus._backend import StreamBackend

    from .core import Core


def first_id(config: SubscriptionConfig) -> EntryId | None:
    """Return the id after which a new group begins; None: after the newest entry."""
    if isinstance(config.start, EntryId):
        return config.start
    start = config.start
    if start is None and config.balance_mode is BalanceMode.FAN_OUT:
        start = StartPosition.NEWEST
    return None if start is StartPosition.NEWEST else EntryId(0, 0)


async def open_group(backend: StreamBackend, config: SubscriptionConfig, consumer: str) -> Progress:
    """Make sure that the group exists; return how far it has come."""
    group, first = config.group_of(consumer), first_id(config)
    if config.balance_mode is BalanceMode.COMPETING:
        await backend.create_group(config.topic, group, first)
        return Progress(None)
    begin = await backend.create_private(config.topic, group, first, config.fan_out_expiry)
    return Progress(EntryId(0, 0) if begin is None else begin)


@attrs.frozen
class Group:
    """The group of one subscription, for its service tasks."""

    _backend: StreamBackend
    _core: Core

    async def recreate(self) -> None:
        """Create a group that has vanished; a failure is told and left for later.

        It begins at ``start``; where it is our own, behind what we have finished.
        """
        try:
            new = await self._create()
        except BusError as error:
            self._core.report(Scope.READ, error)
            return
        if new:
            self._core.notifier.transition(Transition.GROUP_RECREATED)

    async def _create(self) -> bool:
        config, name = self._core.config, self._core.group
        progress = self._core.history.progress
        progress.missed(self._core.member.take_unseen())
        position = progress.position
        if position is None:
            return await self._backend.create_group(config.topic, name, first_id(config))
        begin = await self._backend.create_private(
            config.topic, name, position, config.fan_out_expiry
        )
        if begin is not None:
            progress.began_anew(begin)
        return begin is not None
