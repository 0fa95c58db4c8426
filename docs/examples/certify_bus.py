"""A backend that stores everything twice meets the suite."""

from collections.abc import AsyncGenerator, Sequence
from contextlib import asynccontextmanager

from hypothesis import Phase, settings

from trio_bus import EntryId, MemoryBackend
from trio_bus.abc import Once, Record
from trio_bus.testing import InvariantBroken, bus_conformance


class StutteringBackend(MemoryBackend):
    """It was meant to be very sure."""

    async def append(
        self, topic: str, records: Sequence[Record], once: Sequence[Once | None] = ()
    ) -> list[EntryId | Exception]:
        await super().append(topic, records, once)
        return await super().append(topic, records, once)


@asynccontextmanager
async def open_my_backend() -> AsyncGenerator[StutteringBackend]:
    yield StutteringBackend()


TestMyBus = bus_conformance(open_my_backend, virtual_time=True)  # pytest and unittest find it
TestMyBus.settings = settings(
    TestMyBus.settings, derandomize=True, database=None, phases=[Phase.generate]
)


def main() -> None:
    try:
        TestMyBus("test_random_programs").debug()
    except InvariantBroken as broken:
        print(f"invariant {broken.number}, {broken.name}, does not hold")


if __name__ == "__main__":
    main()
