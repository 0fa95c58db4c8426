"""One line of a journal: who did what, and when."""

from __future__ import annotations

from enum import Enum, unique

import attrs

from trio_bus._backend import DeathCause
from trio_bus._config import SubscriptionConfig
from trio_bus._entry_id import EntryId
from trio_bus._observer import Scope, Transition


@unique
class What(Enum):
    """What a line is about. The value is how the story says it."""

    # What programs do.
    PUBLISHING = "publishes"
    PUBLISHED = "has published"
    REFUSED = "is refused to publish"
    UNKNOWN = "cannot know whether it published"
    SCHEDULING = "schedules"
    SCHEDULED = "has scheduled"
    CANCELLED_SCHEDULED = "has cancelled in time"
    OPENING = "opens a subscription"
    MEMBER = "is a member"
    JOINED = "has its subscription"
    HALTED = "pauses its subscription"
    CONTINUED = "resumes its subscription"
    LEAVING = "leaves its subscription"
    LEFT = "has left its subscription"
    STARTED = "starts the handler"
    SUCCEEDED = "handler returns"
    FAILED = "handler fails"
    CANCELLED = "handler is cancelled"
    BATCHING = "asks for batches"
    BATCHED = "gets it in a batch"
    VERB = "calls"
    VERB_DONE = "is answered"
    VERB_FAILED = "is told no"
    # What they are told.
    TOLD = "is told"
    ERROR = "is told of an error"
    # What reaches the server, and what becomes of it there.
    COMMAND = "asks the server"
    APPENDED = "appends"
    GIVEN = "gives"
    RENEWED = "renews the lease"
    ACKED = "marks as done"
    RETRIED = "keeps for a retry"
    RELEASED = "takes back"
    BURIED = "buries"
    DROPPED = "finds gone"
    SET_APART = "sets apart as a suspect"
    BOOKED = "keeps a suspect for its turn"
    UNBOOKED = "keeps a suspect no more"
    NO_EFFECT = "refuses to settle"
    REDRIVEN = "sends back what was dead"
    COPIED = "appends a copy of what was dead"
    BEGUN = "begins a private group"
    KEPT = "keeps a private group"
    CALM = "sees nothing to come"
    RETAINED = "removes what is finished"
    # What goes wrong, on purpose.
    DIED = "dies"
    PAUSED = "stands still"
    RESUMED = "goes on"
    DELETED = "an entry is deleted"
    TRIMMED = "a stream is trimmed"
    GROUP_DESTROYED = "a group is destroyed"
    TOPIC_DELETED = "a topic is deleted"
    CLOCK_STEPPED = "the clock of the server is moved"
    SERVER_STOPPED = "the server stops"
    SERVER_STARTED = "the server is back"
    REPLY_LOST = "an answer is lost"
    FAULT = "something goes wrong"
    # Where the run is.
    HEALED = "nothing goes wrong any more"
    QUIET = "nothing is under way"
    LEAKED = "something is left"
    OVER = "the run is over"
    NOTE = "note"


FAULTS = frozenset(
    {
        *(What.DIED, What.PAUSED, What.DELETED, What.TRIMMED, What.GROUP_DESTROYED),
        *(What.TOPIC_DELETED, What.CLOCK_STEPPED, What.SERVER_STOPPED, What.REPLY_LOST),
        What.FAULT,
    }
)
"""What somebody made go wrong: the story marks it, and it weakens invariants."""

Pairs = tuple[tuple[str, object], ...]
"""Names, each with its value."""

SERVER = "server"
"""The actor of what the server does."""
WORLD = "world"
"""The actor of faults that hit no one process, and of what is said of the whole run."""


@attrs.frozen(kw_only=True)
class Line:
    """Who did what, when, and to which entry. What does not belong to it is empty, or None.

    The text of a line is the same in every run of the same seed: it has no object addresses.
    """

    time: float
    """Seconds since the run began, by its own clock."""
    actor: str
    """The process, by a name that no other life of it has; or ``server``, or ``world``."""
    what: What
    topic: str = ""
    group: str = ""
    consumer: str = ""
    entry_id: EntryId | None = None
    attempt: int | None = None
    """Which delivery of the entry it is; of MEMBER: how many there may be."""
    delivery: int | None = None
    """The number of the delivery at its consumer, as an observer is told."""
    label: str = ""
    """What tells the message from all others of the run."""
    detail: str = ""
    """Words; for VERB and COMMAND the name of what is called."""
    transition: Transition | None = None
    """Of TOLD."""
    cause: DeathCause | None = None
    """Of what was given up."""
    scope: Scope | None = None
    """Of ERROR."""
    seconds: float | None = None
    """A delay, a lease, an expiry, how far a clock was moved: what belongs to ``what``."""
    batch: int | None = None
    """Of a message that was published with others, and of BATCHED: the number of the batch."""
    size: int | None = None
    """Bytes: of PUBLISHING and what comes of it, those of the payload; of JOINED, how many there
    may be; of GIVEN, those of the record."""
    yields: bool = False
    """Of STARTED: whether the handler is known to end at once when it is cancelled."""
    count: int | None = None
    """Of COMMAND: how many entries it is about, or may bring; of ACKED: how many outputs of a
    transaction were appended with it; of BATCHING and BATCHED: how many may be, and are, in one; of
    RETAINED, how many entries there are behind it, or how many were removed."""
    key: str = ""
    """Of STARTED: the key of the message. Not told."""
    expires: float | None = None
    """Of what is published, and of STARTED: when the message expires, by the clock of the run. Not
    told."""
    config: SubscriptionConfig | None = None
    """Of OPENING, JOINED, LEAVING and LEFT."""
    asked: Pairs = ()
    """Of OPENING: the settings that were given, by name, as they were given."""
    headers: Pairs = ()
    """Of what is published, what has to arrive; of STARTED, what has arrived. Not told."""

    @property
    def subject(self) -> What | Transition:
        """Return what a rule listens for: the transition of what an observer was told, or what."""
        return self.what if self.transition is None else self.transition

    def __str__(self) -> str:
        """Say it in words, without the time and the actor."""
        return " ".join(word for word in self._words() if word)

    def _words(self) -> tuple[str, ...]:
        numbers = (
            self.label and repr(self.label),
            "" if self.entry_id is None else str(self.entry_id),
            "" if self.attempt is None else f"attempt {self.attempt}",
            "" if self.delivery is None else f"delivery {self.delivery}",
            "" if self.count is None else f"{self.count} of them",
        )
        told = (
            "" if self.transition is None else self.transition.value,
            "" if self.scope is None else f"while doing {self.scope.value}",
            "" if self.cause is None else f"because {self.cause.value}",
        )
        where = (
            "/".join(part for part in (self.topic, self.group, self.consumer) if part),
            "" if self.batch is None else f"batch {self.batch}",
            "" if self.seconds is None else f"{self.seconds:g} s",
        )
        return (self.what.value, *told, *numbers, *where, self.detail)
