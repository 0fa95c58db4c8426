"""A durable event bus for trio, on Redis Streams (Redis and Valkey).

The layers, from the bottom up; imports point down:

- values: ``_errors _entry_id _names _headers _message _dead_letter _decision``
- settings: ``_modes _tables _backoff _retention _options _config``
- typed payloads: ``_misfit _structure _alternatives _writing _shape _shapes _events``
- contracts: ``_backend _codec _observer``, published again in `trio_bus.abc`
- backends: ``_memory`` (a fake stream in pure code, and waiting) and ``_redis``
- one entry: ``_settling _outputs _holding _transaction _delivery``, or many: ``_batch``
- publishing: ``_encoded _gate _publisher _scheduler _dead_letters _bus``
- one subscription: ``_subscription``
- opening: ``_embedded _connect``; on top: ``_cli`` and `trio_bus.testing`
"""

from ._backend import DeathCause
from ._backoff import Backoff
from ._batch import Batch
from ._bus import BatchOutcome, Bus
from ._config import SubscriptionConfig
from ._connect import open_bus
from ._dead_letter import DeadLetter
from ._dead_letters import DeadLetters, DeadMessage, RedriveOutcome, RedriveResult
from ._decision import Decision
from ._delivery import Delivery, DeliveryState
from ._embedded import EmbeddedServer, open_embedded
from ._entry_id import EntryId
from ._envelope import EnvelopeCodec
from ._errors import (
    AuthenticationFailed,
    BusClosed,
    BusError,
    ConnectionLost,
    DeliveryFinalized,
    EmbeddedServerError,
    ErrorGroup,
    EventInvalid,
    GroupMissing,
    HandlerTimeout,
    LeaseLost,
    NotPersisted,
    OutcomeUnknown,
    Oversized,
    PermissionDenied,
    PublishError,
    RemoteError,
    SerializationError,
    SubscriptionError,
    TlsFailed,
    Unsupported,
    ValidationError,
    WrongType,
)
from ._events import EventType, EventUnion
from ._fields import FieldsCodec
from ._graves import Redriven
from ._headers import Headers
from ._info import ConsumerInfo, GroupInfo, TopicInfo
from ._memory import MemoryBackend
from ._message import BAGGAGE, TRACEPARENT, TRACESTATE, Message
from ._modes import (
    AckMode,
    BalanceMode,
    Confirmation,
    Guarantee,
    OrderingMode,
    StartPosition,
)
from ._observer import ErrorEvent, Event, LoggingObserver, Scope, Transition, TransitionEvent
from ._options import BusOptions, PublishOptions
from ._redis import RedisBackend, open_redis
from ._retention import Retention
from ._schedule_id import ScheduleId
from ._subscription import (
    PullSubscription,
    Subscription,
    SubscriptionState,
    SubscriptionStatistics,
    open_subscription,
    run_subscription,
)
from ._transaction import Transaction

__all__ = [
    "BAGGAGE",
    "TRACEPARENT",
    "TRACESTATE",
    "AckMode",
    "AuthenticationFailed",
    "Backoff",
    "BalanceMode",
    "Batch",
    "BatchOutcome",
    "Bus",
    "BusClosed",
    "BusError",
    "BusOptions",
    "Confirmation",
    "ConnectionLost",
    "ConsumerInfo",
    "DeadLetter",
    "DeadLetters",
    "DeadMessage",
    "DeathCause",
    "Decision",
    "Delivery",
    "DeliveryFinalized",
    "DeliveryState",
    "EmbeddedServer",
    "EmbeddedServerError",
    "EntryId",
    "EnvelopeCodec",
    "ErrorEvent",
    "ErrorGroup",
    "Event",
    "EventInvalid",
    "EventType",
    "EventUnion",
    "FieldsCodec",
    "GroupInfo",
    "GroupMissing",
    "Guarantee",
    "HandlerTimeout",
    "Headers",
    "LeaseLost",
    "LoggingObserver",
    "MemoryBackend",
    "Message",
    "NotPersisted",
    "OrderingMode",
    "OutcomeUnknown",
    "Oversized",
    "PermissionDenied",
    "PublishError",
    "PublishOptions",
    "PullSubscription",
    "RedisBackend",
    "RedriveOutcome",
    "RedriveResult",
    "Redriven",
    "RemoteError",
    "Retention",
    "ScheduleId",
    "Scope",
    "SerializationError",
    "StartPosition",
    "Subscription",
    "SubscriptionConfig",
    "SubscriptionError",
    "SubscriptionState",
    "SubscriptionStatistics",
    "TlsFailed",
    "TopicInfo",
    "Transaction",
    "Transition",
    "TransitionEvent",
    "Unsupported",
    "ValidationError",
    "WrongType",
    "open_bus",
    "open_embedded",
    "open_redis",
    "open_subscription",
    "run_subscription",
]

# Tracebacks and reprs speak of ``trio_bus.Message``, which is where users find it.
for _public in [globals()[name] for name in __all__]:
    if callable(_public):
        _public.__module__ = __name__
