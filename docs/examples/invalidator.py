"""Each web process has a cache of its own; a change of a user empties that place in all of them."""

import attrs
import trio

from trio_bus import (
    AckMode,
    Bus,
    Delivery,
    MemoryBackend,
    Message,
    SubscriptionConfig,
    open_subscription,
)

INVALIDATION = attrs.evolve(SubscriptionConfig.fan_out("users"), ack_mode=AckMode.AUTO_ON_RECEIVE)


class WebProcess:
    """What one process knows of users, as long as nobody changes them."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.cache = {b"ada": "Ada", b"bob": "Bob"}

    async def forget(self, delivery: Delivery) -> None:
        """Drop what has changed; the next request looks it up."""
        self.cache.pop(delivery.message.payload, None)
        await trio.lowlevel.checkpoint()

    async def serve(
        self, bus: Bus, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED
    ) -> None:
        async with open_subscription(bus, INVALIDATION, self.forget):
            task_status.started()
            await trio.sleep_forever()


async def main() -> None:
    streams = MemoryBackend()  # in earnest: a bus of its own for each, on one server
    processes = [WebProcess(name) for name in ("web-1", "web-2", "web-3")]
    async with trio.open_nursery() as nursery:
        for process in processes:
            await nursery.start(process.serve, Bus(streams))
        bus = Bus(streams)
        await bus.publish(Message("users", b"ada"))
        while any(b"ada" in process.cache for process in processes):
            await trio.sleep(0.01)
        for process in processes:
            print(process.name, "knows", ", ".join(process.cache.values()))
        groups = (await bus.info("users")).groups
        print(sum(group.is_private for group in groups), "private groups")
        nursery.cancel_scope.cancel("the web is closed")
    print(len((await bus.info("users")).groups), "groups when all have left")


if __name__ == "__main__":
    trio.run(main)
