"""A delivery whose verbs are somebody else's."""

# pyright: reportPrivateUsage=false
# Two deliveries of one holding are one and the same.

from __future__ import annotations

from contextlib import AbstractAsyncContextManager
from typing import Protocol

import attrs

from trio_bus._decision import Reason
from trio_bus._delivery import Delivery
from trio_bus._transaction import Transaction


class Verbs(Protocol):
    """What a handler calls, as a `Delivery` has it."""

    async def ack(self) -> None:
        """See `Delivery.ack`."""
        ...

    async def retry(self, reason: Reason, delay: float | None = None) -> None:
        """See `Delivery.retry`."""
        ...

    async def reject(self, reason: Reason) -> None:
        """See `Delivery.reject`."""
        ...

    async def release(self, delay: float | None = None) -> None:
        """See `Delivery.release`."""
        ...

    async def renew(self) -> None:
        """See `Delivery.renew`."""
        ...

    def transaction(self) -> AbstractAsyncContextManager[Transaction]:
        """See `Delivery.transaction`."""
        ...


def stand_in(delivery: Delivery, verbs: Verbs) -> Delivery:
    """Return the same delivery, with these verbs."""
    return StandIn(delivery._holding, verbs)  # noqa: SLF001 - see above


@attrs.define(eq=False, repr=False)
class StandIn(Delivery):  # type: ignore[misc]  # final for users; only we stand in for one
    """A delivery like any other, with verbs of its own."""

    _verbs: Verbs

    async def ack(self) -> None:
        """Hand it on."""
        await self._verbs.ack()

    async def retry(self, reason: Reason, delay: float | None = None) -> None:
        """Hand it on."""
        await self._verbs.retry(reason, delay)

    async def reject(self, reason: Reason) -> None:
        """Hand it on."""
        await self._verbs.reject(reason)

    async def release(self, delay: float | None = None) -> None:
        """Hand it on."""
        await self._verbs.release(delay)

    async def renew(self) -> None:
        """Hand it on."""
        await self._verbs.renew()

    def transaction(self) -> AbstractAsyncContextManager[Transaction]:
        """Hand it on."""
        return self._verbs.transaction()
