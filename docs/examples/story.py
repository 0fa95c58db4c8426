"""A handler that hands everything on to somebody else, and what the simulator says of it."""

from trio_bus import Delivery
from trio_bus.testing import Scenario, SimulationFailed, simulate


async def handle(delivery: Delivery) -> None:
    await delivery.release(delay=2.0)


HANDED_ON = Scenario(name="handed on", messages=(1, 1), consumers=(1, 1), handler=handle)


def main() -> None:
    try:
        simulate(HANDED_ON, seed=0)
    except SimulationFailed as failed:
        lines = str(failed).splitlines()
        print(*lines[:22], "       ...", *lines[-5:], sep="\n")


if __name__ == "__main__":
    main()
