"""How Hypothesis looks where nobody says otherwise."""

from __future__ import annotations

from hypothesis import HealthCheck, Phase, settings

_PHASES = tuple(phase for phase in Phase if phase is not Phase.explain)
"""To explain a program takes six times as long as to find it and to make it short."""


def patient_settings() -> settings:
    """Return settings for programs that take their time."""
    return settings(deadline=None, suppress_health_check=[HealthCheck.too_slow], phases=_PHASES)
