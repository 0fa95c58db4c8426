"""A process of ``trio-bus simulate``: it reads orders, and answers each when it is carried out."""

from __future__ import annotations

import sys

import msgspec

from trio_bus.testing import SCENARIOS, SimulationFailed, simulate

from .simulate_work import Answer, Order


def carry_out(order: Order) -> Answer:
    """Run its seeds, up to the first that fails."""
    scenario = SCENARIOS[order.scenario]
    seconds = 0.0
    for runs in range(order.count):
        try:
            seconds += simulate(scenario, order.first_seed + runs).seconds
        except SimulationFailed as failed:
            return Answer(runs + 1, seconds, str(failed))
    return Answer(order.count, seconds)


if __name__ == "__main__":
    for line in sys.stdin:
        answer = carry_out(msgspec.json.decode(line, type=Order))
        print(msgspec.json.encode(answer).decode(), flush=True)
