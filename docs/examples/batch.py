"""Publish many messages in one round trip; each has a result of its own."""

import trio

from trio_bus import BusOptions, EntryId, Message, PublishOptions, ValidationError, open_bus


async def main() -> None:
    messages = [Message("orders", b"order 7"), Message("orders", b"x" * 2000)]
    async with open_bus("memory:", BusOptions(max_payload_bytes=1000)) as bus:
        outcome = await bus.publish_batch(messages, PublishOptions(metadata={"shop": "Seattle"}))
        for message, result in zip(messages, outcome.results, strict=True):
            stored = "stored" if isinstance(result, EntryId) else type(result).__name__
            print(len(message.payload), "bytes:", stored)
        try:
            outcome.raise_errors()
        except* ValidationError as group:
            print(len(group.exceptions), "was refused")


if __name__ == "__main__":
    trio.run(main)
