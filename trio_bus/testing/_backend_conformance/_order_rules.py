"""The rules of the state machine that are about the order of keys."""

from __future__ import annotations

import abc
from collections.abc import Sequence

from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, rule

from ._cast import PLAYERS, Who
from ._ordering import Ordering
from ._picks import Pick

_players = st.sampled_from(PLAYERS)
_counts = st.integers(1, 4)
_which = st.integers(0, 3)
_moments = st.sampled_from((None, None, None, 1, 2, 3))
_picks = st.builds(
    Pick,
    word=st.sampled_from(("release", "retry", "ack", "bury")),
    delay=st.sampled_from((0.0, 1.5, 6.0)),
)
_happenings = st.sampled_from(
    ("an append", "a cancellation", "an append and a cancellation", "nothing")
)


class OrderRules(RuleBasedStateMachine):
    """What a member does where one is active, and keeps the order."""

    ordering: Ordering

    @abc.abstractmethod
    def who(self, drawn: Who) -> Who:
        """Return who does it."""

    @rule(who=_players, which=st.none() | _which, own=st.booleans(), cancel=_moments)
    def lead(self, who: Who, which: int | None, own: bool, cancel: int | None) -> None:  # noqa: FBT001 - drawn
        """Become active; or stay it, with a token that is known."""
        who, token = self.who(who), None
        chosen = None if which is None else self.ordering.known(who, which, own=own)
        if chosen is not None:
            who, token = chosen
        self.ordering.lead(who, token, cancel)

    @rule(who=_players, rival=_players, cancel=_moments)
    def give_up_lead(self, who: Who, rival: Who, cancel: int | None) -> None:
        """Give the lead up, and let another one ask for it."""
        who = self.who(who)
        self.ordering.give_up_lead(who, cancel)
        self.ordering.lead(Who(*who.place, rival.consumer), None, None)

    @rule(who=_players, count=_counts)
    def survey(self, who: Who, count: int) -> None:
        self.ordering.survey(self.who(who), count)

    @rule(who=_players, which=_which, own=st.booleans(), count=_counts, cancel=_moments)
    def draw(self, who: Who, which: int, own: bool, count: int, cancel: int | None) -> None:  # noqa: FBT001 - drawn
        chosen = self.ordering.known(self.who(who), which, own=own)
        if chosen is not None:
            self.ordering.draw(*chosen, count, cancel)

    @rule(
        who=_players,
        which=_which,
        own=st.booleans(),
        entries=st.lists(st.integers(0, 5), min_size=1, max_size=4),
        alone=st.booleans(),
        cancel=_moments,
    )
    def start(  # noqa: PLR0917 - drawn
        self,
        who: Who,
        which: int,
        own: bool,  # noqa: FBT001 - drawn
        entries: Sequence[int],
        alone: bool,  # noqa: FBT001 - drawn
        cancel: int | None,
    ) -> None:
        chosen = self.ordering.known(self.who(who), which, own=own)
        if chosen is not None:
            self.ordering.start(*chosen, entries, alone=alone, cancel=cancel)

    @rule(who=_players, then=_happenings)
    def wait_to_grow(self, who: Who, then: str) -> None:
        self.ordering.wait_to_grow(self.who(who), then)

    @rule(who=_players, count=_counts, picks=st.lists(_picks, max_size=3), rival=_players)
    def keep_the_order(self, who: Who, count: int, picks: Sequence[Pick], rival: Who) -> None:
        """Keep it for a while, and let another one go on."""
        who = self.who(who)
        self.ordering.keep(who, count, picks, Who(*who.place, rival.consumer))

    @rule(who=_players, times=st.integers(1, 3))
    def lose_in_order(self, who: Who, times: int) -> None:
        """Lose what was started so often."""
        self.ordering.lose(self.who(who), times)
