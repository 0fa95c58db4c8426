"""The line that certifies a backend, or says what is wrong with it."""

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager

from hypothesis import settings

from trio_bus import MemoryBackend
from trio_bus.testing import ContractBroken, backend_conformance


class HopefulBackend(MemoryBackend):
    """It never says that a message went out before it could be cancelled."""

    async def cancel_scheduled(self, topic: str, uid: str) -> bool:
        await super().cancel_scheduled(topic, uid)
        return True


@asynccontextmanager
async def open_my_backend() -> AsyncGenerator[HopefulBackend]:
    yield HopefulBackend()


TestMyBackend = backend_conformance(open_my_backend, virtual_time=True)
TestMyBackend.settings = settings(
    TestMyBackend.settings, stateful_step_count=5, derandomize=True, database=None
)


def main() -> None:
    try:
        TestMyBackend("runTest").debug()  # pytest and unittest find it by themselves
    except ContractBroken as broken:
        print(broken)


if __name__ == "__main__":
    main()
