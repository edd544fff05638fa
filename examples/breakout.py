"""A strategy in thirty lines: buy a new high, with an id that makes it one order, whatever happens.

python examples/breakout.py EURUSD
"""

import asyncio
import sys

from gateway.client import Mt4Client, NoAnswer, Outcome


async def breakout(mt4: Mt4Client, symbol: str, *, ticks: int = 20, lots: float = 0.01) -> str:
    """Watch some prices, buy when the next is above them all, and say what came of it."""
    high, seen = 0.0, 0
    async for tick in mt4.ticks(symbol):
        if tick.missed:
            print(f"{tick.missed} prices were missed: beginning anew")
            high, seen = 0.0, 0
        if seen >= ticks and tick.bid > high:
            break
        high, seen = max(high, tick.bid), seen + 1
    id_ = f"breakout-{symbol}-{tick.time_ms}"
    try:
        order = await mt4.order_send(symbol, "BUY", lots, sl_points=200, id_=id_)
    except NoAnswer:
        return f"nobody knows yet: ask outcome_of({id_!r}) before trading on"
    if order.outcome is Outcome.UNKNOWN:
        return "unknown: stop opening, look at the orders, ask for help"
    if not order.succeeded:
        return f"{order.outcome}: {(order.error or {}).get('message')}"
    warning = f", but {order.warning}" if order.warning else ""
    return f"bought at {order.response['open_price']}, ticket {order.response['ticket']}{warning}"


async def main() -> None:
    """Run it against the demo: `make demo` in another terminal."""
    async with await Mt4Client.connect(client="breakout") as mt4:
        print(await breakout(mt4, sys.argv[1] if len(sys.argv) > 1 else "EURUSD"))


if __name__ == "__main__":
    asyncio.run(main())
