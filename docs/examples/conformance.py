"""A backend that somebody wrote, and the line that certifies it, or says what is wrong."""

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager

import attrs
from hypothesis import settings

from trio_bus import MemoryBackend
from trio_bus.abc import GroupMember, Membership
from trio_bus.testing import ContractBroken, backend_conformance


class HastyBackend(MemoryBackend):
    """Takes entries over from whoever has them: it ignores leases."""

    @asynccontextmanager
    async def join(self, membership: Membership) -> AsyncGenerator[GroupMember]:
        async with super().join(attrs.evolve(membership, lease=0.0)) as member:
            yield member


@asynccontextmanager
async def open_hasty() -> AsyncGenerator[HastyBackend]:
    yield HastyBackend()


TestHasty = backend_conformance(open_hasty, virtual_time=True)
TestHasty.settings = settings(derandomize=True, deadline=None)


if __name__ == "__main__":
    try:
        TestHasty("runTest").debug()  # pytest and unittest find it by themselves
    except ContractBroken as broken:
        print(broken)
