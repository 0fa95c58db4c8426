"""What becomes of a delivery is what its handler decided."""

from __future__ import annotations

from trio_bus._backend import DeathCause
from trio_bus._modes import AckMode
from trio_bus._observer import Transition
from trio_bus.testing._line import Line, What

from .rule import Ears, Key, Rule, each, key_of
from .scene import Scene
from .turns import ENDED

_NOBODY_ASKED = {Transition.LEASE_LOST, Transition.VANISHED, Transition.UNCONFIRMED}
"""How a delivery may end whatever its handler wants."""
_OUTCOMES: dict[str, set[Transition]] = {
    "ack": {Transition.ACKED},
    "commit": {Transition.ACKED},
    "retry": {Transition.RETRIED, Transition.DEAD_LETTERED},
    "reject": {Transition.DEAD_LETTERED},
    "release": {Transition.RELEASED},
}
"""What each verb may lead to; its name may be followed by more words."""
_ENDS = (
    *(Transition.ACKED, Transition.RETRIED, Transition.DEAD_LETTERED, Transition.RELEASED),
    *_NOBODY_ASKED,
)
_Mine = tuple[str, Key]


class Decisions(Rule):
    """What becomes of a delivery is what its handler decided, and nothing before that.

    While a handler runs nothing but a verb that it calls settles its delivery, and that leads to
    what the verb says. Nothing is acked whose handler neither returned nor asked for it, but with
    AUTO_ON_RECEIVE, and what has expired. What the server did is not told to be lost.
    """

    number = 0
    name = "decisions"
    seen_by = "starts and ends of handlers, the verbs they call, and what observers are told"
    weakened_by = "nothing"

    def __init__(self, scene: Scene) -> None:
        super().__init__(scene)
        self._running: dict[tuple[str, int | None], Line] = {}
        self._verbs: dict[_Mine, set[str]] = {}
        self._returned: set[_Mine] = set()
        self._ends: dict[_Mine, Line] = {}
        self._begun: set[_Mine] = set()
        self._done: dict[_Mine, Line] = {}
        self._given: dict[_Mine, int | None] = {}
        self._shared: dict[_Mine, int | None] = {}

    def hears(self) -> Ears:
        """Listen to what handlers do, and to how deliveries end."""
        return {
            Transition.STARTED: self._hear_start,
            What.STARTED: self._hear_beginning,
            Transition.FINISHED: self._hear_finish,
            What.VERB: self._hear_verb,
            What.VERB_DONE: self._hear_answer,
            **each(ENDED, self._hear_return),
            **each(_ENDS, self._hear_end),
            **each((What.ACKED, What.RETRIED, What.RELEASED, What.BURIED), self._hear_done),
            What.GIVEN: self._hear_given,
        }

    def _hear_start(self, line: Line) -> None:
        mine = (line.consumer, key_of(line))
        self._running[line.consumer, line.delivery] = line
        self._verbs.pop(mine, None)
        if not self._is_acked_on_arrival(line):
            self._ends.pop(mine, None)  # that of an earlier delivery to the same one
        self._returned.discard(mine)
        self._begun.discard(mine)

    def _hear_beginning(self, line: Line) -> None:
        self._begun.add((line.consumer, key_of(line)))

    def _hear_finish(self, line: Line) -> None:
        self._running.pop((line.consumer, line.delivery), None)

    def _hear_verb(self, line: Line) -> None:
        verb = line.detail.partition(" ")[0]
        if verb in _OUTCOMES:
            self._verbs.setdefault((line.consumer, key_of(line)), set()).add(verb)

    def _hear_return(self, line: Line) -> None:
        if line.what is What.SUCCEEDED:
            self._returned.add((line.consumer, key_of(line)))

    def _hear_end(self, line: Line) -> None:
        if line.entry_id is None:
            return
        mine = (line.consumer, key_of(line))
        if line.transition in _NOBODY_ASKED:
            self._check_loss(mine, line)
            return
        self._ends[mine] = line
        verbs = self._verbs.get(mine, set[str]())
        early = self._is_acked_on_arrival(line)
        runs = (line.consumer, line.delivery) in self._running
        # A program that iterates may be cancelled between getting it and entering its block.
        never_began = line.transition is Transition.RELEASED and mine not in self._begun
        if runs and not never_began and not verbs and not early:
            self.broken(
                f"{line.entry_id} is settled while its handler runs, which did not ask", line
            )
        expired = line.cause is DeathCause.EXPIRED
        wanted = early or expired or verbs & {"ack", "commit"} or mine in self._returned
        # What others have to handle, see `Redrives`, is acked unseen.
        wanted = wanted or (line.topic in self.scene.copied and mine not in self._begun)
        if line.transition is Transition.ACKED and not wanted:
            self.broken(
                f"{line.entry_id} is acked, and its handler neither returned nor asked", line
            )

    def _is_acked_on_arrival(self, line: Line) -> bool:
        config = self.scene.consumer(line.consumer).config
        config = config or self.scene.configs.get((line.topic, line.group))
        return config is not None and config.ack_mode is AckMode.AUTO_ON_RECEIVE

    def _hear_done(self, line: Line) -> None:
        if line.cause is not DeathCause.EXHAUSTED:  # that may be a take-over, also from oneself
            self._done[line.consumer, key_of(line)] = line

    def _hear_given(self, line: Line) -> None:
        mine = (line.consumer, key_of(line))
        self._done.pop(mine, None)
        if mine in self._given and self._given[mine] == line.attempt:
            self._shared[mine] = line.attempt  # what settles one of them may hit the other
        self._given[mine] = line.attempt

    def _check_loss(self, mine: _Mine, line: Line) -> None:
        done = self._done.get(mine)
        if line.transition is Transition.UNCONFIRMED or done is None:
            return
        if done.attempt == line.attempt != self._shared.get(mine):
            assert line.transition is not None
            words = f"{line.entry_id} is told {line.transition.value}, and for {line.consumer}"
            self.broken(f"{words} the server {done.what.value} it at {done.time:.3f} s", line)

    def _hear_answer(self, line: Line) -> None:
        outcomes = _OUTCOMES.get(line.detail.partition(" ")[0])
        end = self._ends.get((line.consumer, key_of(line)))
        if outcomes is None or end is None or end.attempt != line.attempt:
            return
        cause = {"retry": DeathCause.EXHAUSTED, "reject": DeathCause.REJECTED}
        assert end.transition is not None
        verb = line.detail.partition(" ")[0]
        died = end.transition is Transition.DEAD_LETTERED
        if end.transition not in outcomes or (died and end.cause is not cause[verb]):
            self.broken(f"{line.entry_id}: {verb} led to {end.transition.value}", line)
