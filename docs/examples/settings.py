"""Read the settings of a bus and of a subscription from a TOML file."""

import tomllib
from pathlib import Path

import cattrs
import trio

from trio_bus import BusOptions, SubscriptionConfig, open_bus, open_subscription

SETTINGS = Path(__file__).with_name("settings.toml")
# A misspelt name is an error, and errors come one at a time, as themselves.
structure = cattrs.Converter(forbid_extra_keys=True, detailed_validation=False).structure


async def main() -> None:
    table = tomllib.loads(SETTINGS.read_text())
    options = structure(table["bus"], BusOptions)
    config = structure(table["billing"], SubscriptionConfig)
    async with open_bus(table["url"], options) as bus, open_subscription(bus, config):
        print(config.retry_backoff)
        print("at most", config.max_in_flight, "at a time")


if __name__ == "__main__":
    trio.run(main)
