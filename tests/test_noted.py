"""A setting that nobody looks at does nothing: the simulator finds it."""

from __future__ import annotations

import attrs
import pytest

from trio_bus import OrderingMode, Scope, SubscriptionConfig, Transition
from trio_bus.testing import SCENARIOS, SimulationFailed, simulate
from trio_bus.testing._line import Line, What
from trio_bus.testing._simulation.noted import Noted, groups_that_failed


def test_a_setting_that_nobody_looks_at_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Noted, "unread", ["a_new_one", "another"])
    with pytest.raises(SimulationFailed) as caught:
        simulate(SCENARIOS["lossy"], 0)
    words = "no subscription of billing looks at a_new_one, another"
    assert caught.value.invariant is not None
    assert caught.value.invariant.words == words


def test_who_has_retried_nothing_has_had_no_reason_to_look_at_each_setting() -> None:
    told = Line(time=0.0, actor="web", what=What.TOLD, group="billing", consumer="a", attempt=1)
    failed = attrs.evolve(told, what=What.ERROR, scope=Scope.HANDLER)
    retried = attrs.evolve(told, transition=Transition.RETRIED)
    assert groups_that_failed([retried]) == set()
    assert groups_that_failed([failed, attrs.evolve(retried, attempt=2)]) == set()
    asked = attrs.evolve(told, what=What.VERB)
    assert groups_that_failed([asked, failed, retried]) == set()
    assert groups_that_failed([failed, retried]) == {"billing"}


def test_settings_note_what_is_looked_at_and_are_the_same() -> None:
    noted = Noted(SubscriptionConfig("orders", "billing", max_in_flight=3))
    expected = {field.name for field in attrs.fields(SubscriptionConfig)}
    assert set(noted.unread) == expected - {"fan_out_expiry", "max_parked"}
    assert noted.config.max_in_flight == 3
    assert noted.config.pending_ack_limit == 6
    left = set(noted.unread)
    assert not left & {"max_in_flight", "max_pending_acks"}
    assert "max_retry" in left


def test_a_setting_of_a_mode_has_an_effect_in_that_mode() -> None:
    expected = {field.name for field in attrs.fields(SubscriptionConfig)}
    assert set(Noted(SubscriptionConfig.fan_out("orders")).unread) == expected - {"max_parked"}
    ordered = SubscriptionConfig("orders", "billing", ordering_mode=OrderingMode.KEY)
    assert set(Noted(ordered).unread) == expected - {"fan_out_expiry"}
