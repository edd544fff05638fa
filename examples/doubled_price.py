"""Answer the MQL4 example `DoubledPrice`: twice the number asked for, over NATS."""

import asyncio
import json
import sys

import nats
from nats.aio.msg import Msg


async def double(question: Msg) -> None:
    """Answer one question."""
    await question.respond(json.dumps(2 * json.loads(question.data)).encode())


async def main(url: str = "nats://127.0.0.1:4222", terminal: str = "demo") -> None:
    """Answer until the process is ended."""
    async with await nats.connect(url) as connection:
        await connection.subscribe(f"mt4.{terminal}.call.double", cb=double)
        await asyncio.Event().wait()


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))
