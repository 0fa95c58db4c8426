"""redis.asyncio, with one connection that all tasks share."""

from .driver import main
from .on_asyncio import LOOP
from .redis_asyncio import open_single

if __name__ == "__main__":
    main(open_single, LOOP)
