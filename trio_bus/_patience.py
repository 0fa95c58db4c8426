"""How long a consumer may give no sign of life."""

import math

from ._backend import Membership

LOOKS_PER_EXPIRY = 4
"""How often a private group is kept, at least, before it would be over."""


def patience(membership: Membership) -> float:
    """Return after how many seconds the others remove a consumer that owns nothing.

    Two leases, or two ticks where those are longer: who looks is not idle, and looks once a lease.
    """
    return max(2 * membership.lease, 4 * membership.tend_every)


def longest_quiet(membership: Membership) -> float:
    """Return for how many seconds nobody has to look, at most, to keep a private group."""
    return math.inf if membership.expiry is None else membership.expiry / LOOKS_PER_EXPIRY
