"""Settings that note which of them anybody looks at: one that nobody reads does nothing."""

from __future__ import annotations

from collections.abc import Iterable
from typing import cast

import attrs

from trio_bus._config import SubscriptionConfig
from trio_bus._modes import BalanceMode, OrderingMode
from trio_bus._observer import Scope, Transition
from trio_bus.testing._line import Line, What


class Noted:
    """The settings of one group, as its subscriptions get them."""

    def __init__(self, config: SubscriptionConfig) -> None:
        competes = config.balance_mode is BalanceMode.COMPETING
        self._without_effect = {"fan_out_expiry"} if competes else set[str]()
        if config.ordering_mode is OrderingMode.NONE:
            self._without_effect.add("max_parked")
        self._looked_at: set[str] = set()
        self.config: SubscriptionConfig = _noting(config, self._looked_at)
        """Equal in each setting; what is looked at is noted."""

    @property
    def unread(self) -> list[str]:
        """The settings that nobody has looked at, though they would have an effect."""
        names = [field.name for field in attrs.fields(SubscriptionConfig)]
        return [it for it in names if it not in self._looked_at | self._without_effect]


def _noting(config: SubscriptionConfig, looked_at: set[str]) -> SubscriptionConfig:
    class Noting(SubscriptionConfig):
        def __getattribute__(self, name: str) -> object:
            looked_at.add(name)
            return cast("object", super().__getattribute__(name))

    fields = attrs.fields(SubscriptionConfig)
    noting = Noting(**{field.name: getattr(config, field.name) for field in fields})
    looked_at.clear()  # it was looked at to be checked
    return noting


def groups_that_failed(lines: Iterable[Line]) -> set[str]:
    """Return the groups in which a handler failed and was to try again, as the settings say.

    Whoever lived through that has had a reason to look at each of them.
    """
    failed: set[object] = set()
    asked: set[object] = set()
    found: set[str] = set()
    for line in lines:
        delivery = (line.consumer, line.entry_id, line.attempt)
        if line.what is What.VERB:
            asked.add(delivery)
        elif line.what is What.ERROR and line.scope is Scope.HANDLER:
            failed.add(delivery)
        elif line.transition is Transition.RETRIED and delivery in failed and delivery not in asked:
            found.add(line.group)
    return found
