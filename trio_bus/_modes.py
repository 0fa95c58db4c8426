"""The ways in which messages are published, read and acknowledged."""

from enum import Enum, unique


@unique
class AckMode(Enum):
    """When an entry counts as done."""

    AUTO_ON_HANDLER_SUCCESS = "auto_on_handler_success"
    """When its handler returns: at least once. A handler that raises is started again."""
    AUTO_ON_RECEIVE = "auto_on_receive"
    """Before its handler starts: at most once. What a handler raises is only observed."""
    MANUAL = "manual"
    """When its delivery is settled. A handler that raises is started again."""


@unique
class BalanceMode(Enum):
    """Who gets a message."""

    COMPETING = "competing"
    """One of the consumers that name the same group."""
    FAN_OUT = "fan_out"
    """Every subscription: each has a group of its own, which goes when it goes."""


@unique
class StartPosition(Enum):
    """Where in its topic a new group begins."""

    OLDEST = "oldest"
    """With the oldest entry that the topic retains."""
    NEWEST = "newest"
    """With what is published from now on."""


@unique
class Confirmation(Enum):
    """When a publish has succeeded."""

    ACCEPTED = "accepted"
    """When the server has answered."""
    PERSISTED = "persisted"
    """When the append-only file of the server, with the message in it, is on its disk."""


@unique
class Guarantee(Enum):
    """How often a message that was published is stored."""

    AT_LEAST_ONCE = "at_least_once"
    """Once; if it is published again after an error, perhaps once more."""
    EXACTLY_ONCE = "exactly_once"
    """Once, however often it is published within ``dedup_window``; and once is persisted."""


@unique
class OrderingMode(Enum):
    """In which order a group starts its messages."""

    NONE = "none"
    """As they come: any consumer takes what is next."""
    KEY = "key"
    """Of each key one at a time, in the order of the stream; one consumer is active at a time."""
