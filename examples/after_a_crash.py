"""A program that may die at any moment: it finds out about its trades before it makes new ones.

python examples/after_a_crash.py mybot.trades
"""

import asyncio
import sys
from pathlib import Path

from gateway.client import CommandResult, Mt4Client


async def begin(file: Path, servers: str = "nats://127.0.0.1:4222") -> Mt4Client:
    """Connect with a memory; report what an earlier life had begun and not seen the end of."""
    mt4 = await Mt4Client.connect(servers, client="careful", remember=file)
    for id_, outcome in (await mt4.recover()).items():
        if isinstance(outcome, CommandResult):
            print(f"{id_}: {outcome.outcome} {outcome.response or ''}")
        else:
            print(f"{id_}: {outcome}; not trading {id_} again before its deadline is over")
    return mt4


async def main() -> None:
    """Trade once, with its id on the disk before it leaves."""
    file = Path(sys.argv[1] if len(sys.argv) > 1 else "careful.trades")
    async with await begin(file) as mt4:
        print(await mt4.order_send("EURUSD", "BUY", 0.01))


if __name__ == "__main__":
    asyncio.run(main())
