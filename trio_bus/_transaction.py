"""Outputs that become visible together with the ack of the delivery that they come from."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, final

import attrs
import trio

from ._backend import Commit
from ._codec import record_bytes
from ._errors import DeliveryFinalized, ValidationError
from ._options import PublishOptions

if TYPE_CHECKING:
    from ._holding import Holding
    from ._message import Message
    from ._once import Append

MAX_OUTPUTS = 1000
"""Messages of one transaction: a server does nothing else while it appends them."""
MAX_OUTPUT_BYTES = 64 * 1024 * 1024
"""Of all records of one transaction: they travel in one command."""

_PLAIN = PublishOptions()


@final
@attrs.define(eq=False, repr=False)
class Transaction:
    """What is published in here becomes visible with the ack of its delivery, or not at all.

    Made by `Delivery.transaction`.
    """

    _holding: Holding
    _outputs: list[Append] = attrs.field(factory=list["Append"], init=False)
    _bytes: int = attrs.field(default=0, init=False)
    _over: bool = attrs.field(default=False, init=False)

    async def publish(self, message: Message, options: PublishOptions = _PLAIN) -> None:
        """Check a message, and keep it until the block is left. Nobody sees it before.

        The order in each stream is the order of these calls. One with an ``idempotency_key`` is
        stored once within ``dedup_window``, as by `Bus.publish`.

        Raises:
          ValidationError: the message breaks a rule, is too large, or goes to a topic that is not
            among ``output_topics``; PERSISTED is asked for; or it is more than 1,000 messages, or
            64 MiB, together.
          DeliveryFinalized: the block was left.
        """
        await trio.lowlevel.checkpoint()
        if self._over:
            raise DeliveryFinalized(f"the transaction of {self._holding.entry.id} is over")
        output = self._holding.context.outputs.output(message, options)
        size = self._bytes + record_bytes(output.record)
        if len(self._outputs) == MAX_OUTPUTS:
            raise ValidationError(f"transaction: more than {MAX_OUTPUTS:,} messages")
        if size > MAX_OUTPUT_BYTES:
            raise ValidationError(f"transaction: {size:,} bytes, at most {MAX_OUTPUT_BYTES:,}")
        self._outputs.append(output)
        self._bytes = size

    def end(self) -> Commit:
        """Take nothing more; return what commits all of it."""
        self._over = True
        return Commit(self._holding.receipt, tuple(self._outputs))

    def __repr__(self) -> str:
        state = "over" if self._over else "open"
        return f"<Transaction of {self._holding.entry.id}: {len(self._outputs)} messages, {state}>"


@asynccontextmanager
@trio.lowlevel.enable_ki_protection
async def transact(holding: Holding) -> AsyncGenerator[Transaction, None]:
    """Run a block as a transaction of a delivery; see `Delivery.transaction`."""
    await trio.lowlevel.checkpoint()
    holding.check_open()
    if holding.transacting:
        raise trio.BusyResourceError("this delivery has a transaction that is not over")
    transaction, holding.transacting = Transaction(holding), True
    try:
        yield transaction
    finally:
        holding.transacting = False
        commit = transaction.end()
    await holding.context.keeper.submit(holding, commit).confirmed()
