"""What the transactions of a subscription may publish."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, final

import attrs

from ._errors import ValidationError
from ._modes import Confirmation
from ._names import shown
from ._once import MAX_ONCE_FIELDS, Append

if TYPE_CHECKING:
    from ._message import Message
    from ._options import PublishOptions

    Prepare = Callable[[Message, PublishOptions], Append]


@final
@attrs.frozen
class Outputs:
    """The topics that were declared, and how a message becomes a record."""

    topics: tuple[str, ...]
    prepare: Prepare
    """Checks and encodes, as every publish does."""

    def output(self, message: Message, options: PublishOptions) -> Append:
        """Return what is to be appended.

        Raises:
          ValidationError: the message breaks a rule, or may not be published in a transaction.
          SerializationError: the codec cannot express it.
        """
        if message.topic not in self.topics:
            raise ValidationError(
                f"topic: {shown(message.topic)} is not among the output_topics {shown(self.topics)}"
            )
        if options.confirmation is Confirmation.PERSISTED:
            raise ValidationError("confirmation: a transaction cannot wait for PERSISTED")
        output = self.prepare(message, options)
        fields = len(output.record)
        if fields > MAX_ONCE_FIELDS:
            raise ValidationError(
                f"record: {fields:,} fields; in a transaction, at most {MAX_ONCE_FIELDS:,}"
            )
        return output
