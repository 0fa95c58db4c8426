"""Tell errors apart by who is to blame."""

import trio

from trio_bus import (
    BusClosed,
    BusError,
    BusOptions,
    ConnectionLost,
    Message,
    ValidationError,
    open_bus,
)


async def main() -> None:
    try:
        Message(" ")
    except ValidationError as error:  # you: the text names the field and the value
        print("refused,", error)
    try:
        async with open_bus("redis://localhost:1", BusOptions(connect_timeout=0.2)):
            pass
    except ConnectionLost:  # the world
        print("no server there")
    async with open_bus("memory:") as bus:
        pass
    try:
        await bus.publish(Message("orders"))
    except BusError as error:  # the base of them all
        print("left too early:", isinstance(error, BusClosed))


if __name__ == "__main__":
    trio.run(main)
