"""Every error that trio_bus raises on purpose, in one tree."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Self

if TYPE_CHECKING:
    from ._entry_id import EntryId


class BusError(Exception):
    """Base of everything trio_bus raises on purpose."""


class ValidationError(BusError, ValueError):
    """You passed a value that cannot work; nothing was sent, nothing changed.

    The text names the field and the value. It is a `ValueError` too.
    """


class SerializationError(BusError, ValueError):
    """A record cannot be decoded to a message, or a message not encoded to a record.

    A subscription that reads such a record never shows it to a handler: the record goes to the
    dead-letter topic with its bytes, and the observer hears of it.
    """


class Oversized(SerializationError):
    """A record is larger than ``max_payload_bytes`` allows; it was not decoded."""


class EventInvalid(SerializationError):
    """A message is not the event that an `EventType` was to read from it.

    The text names what is wrong: the kind, the version, or the path in the payload, as in
    ``$.items[2].price: 'x' is not a number``. A delivery whose handler lets this out is rejected at
    once, since the next attempt would read the same; it is retried where ``retry_on`` names this
    very class.
    """


class BusClosed(BusError):
    """*Your* code left ``open_bus`` or ``open_subscription`` before this call."""


class ConnectionLost(BusError):
    """The server, or the path to it, went away. ``__cause__`` says how.

    The command was not executed, or executing it again does no harm. A publish that raises this
    (and not `OutcomeUnknown`) was tried for ``publish_timeout``, and nothing of it is stored.
    """


class TlsFailed(BusError):
    """TLS cannot be agreed on, and waiting does not heal it: the text says which side refuses what.

    The certificate is not trusted, is of another host or has expired; the server does not accept
    ours; or one side does not speak TLS at all.
    """


class OutcomeUnknown(ConnectionLost):
    """The connection was lost after the command was sent and before its reply came.

    A publish that raises this **may have been stored**. One with an ``idempotency_key`` has been
    tried again for ``publish_timeout`` before: publishing it once more within ``dedup_window``
    stores no second one. One without was not: publish the same message again if a duplicate is
    better than a loss; consumers can tell duplicates apart by ``uid``.
    """


class NotPersisted(BusError):
    """A message is stored, and is not known to be on as many disks as ``PERSISTED`` asked for.

    It is in its stream, under ``entry_id``, and will be handled; but it may be lost if its server
    is. Publishing it again would store it a second time, unless it has an ``idempotency_key``: then
    that waits for the copies anew. ``__cause__`` says it where the wait itself failed; nothing is
    known about copies then, and both numbers are 0.
    """

    def __init__(self, entry_id: EntryId, local: int, replicas: int, wanted: int) -> None:
        super().__init__(
            f"stored as {entry_id}, but not persisted in time: it is on the disks of {local} of 1"
            f" servers and {replicas} of {wanted} replicas"
        )
        self.entry_id: EntryId = entry_id
        """Where it is stored."""
        self.local: int = local
        """On how many disks of its own server it is: 0 or 1."""
        self.replicas: int = replicas
        """On the disks of how many replicas it is."""
        self.wanted: int = wanted
        """How many replicas were asked for."""


class RemoteError(BusError):
    """The server refused a command. ``code`` is the first word of its answer.

    Its subclasses are the refusals that deserve an answer of their own.
    """

    def __init__(self, message: str) -> None:
        super().__init__(message)
        self.code: str = message.partition(" ")[0]


class GroupMissing(RemoteError):
    """The stream or its consumer group is gone (flushed, deleted, or lost in a failover).

    A subscription heals this by itself: it creates the group again at ``start``.
    """


class AuthenticationFailed(RemoteError):
    """The server does not accept these credentials, or demands some."""


class PermissionDenied(RemoteError):
    """The server's access rules forbid this user a command or a key."""


class WrongType(RemoteError):
    """The key of this topic holds something that is not a stream."""


class Unsupported(RemoteError):
    """The server is too old, or lacks a command that is needed; the text names its version."""


class DeliveryFinalized(BusError):
    """This delivery was settled before; a delivery is settled once."""


class LeaseLost(BusError):
    """The entry is no longer ours: its lease ran out and another consumer took it over.

    What this consumer did with it stands beside what the other one does; nothing was settled.
    """


class HandlerTimeout(BusError):
    """A handler ran longer than ``handler_timeout`` and was ended; this counts as a failure."""


class EmbeddedServerError(BusError):
    """The embedded server cannot start, or its directory is in use by another one."""


class InternalError(BusError):
    """A promise inside trio_bus was broken. Please report it."""


class ErrorGroup(BusError, ExceptionGroup[Exception]):
    """Base of the groups that trio_bus raises; every original is inside, with its own type."""

    def derive(self, errors: Sequence[Exception], /) -> Self:  # type: ignore[override]  # the base is generic over what it derives; ours keeps its class
        """Keep the class when ``except*`` or ``split`` takes some members out."""
        return type(self)(self.message, errors)


class PublishError(ErrorGroup):
    """Some messages of a batch were not stored: one member for each of them."""


class SubscriptionError(ErrorGroup):
    """Settlements that the server had not confirmed when the subscription ended.

    What they were for may be delivered again.
    """
