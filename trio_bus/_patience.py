"""How long a consumer that owns nothing may be idle before the others remove it."""

from ._backend import Membership


def patience(membership: Membership) -> float:
    """Return seconds: two leases, or two ticks where those are longer: who looks is not idle."""
    return max(2 * membership.lease, 4 * membership.tend_every)
