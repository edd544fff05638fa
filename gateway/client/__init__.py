"""What programs on the bus import to trade and to read prices.

async with await Mt4Client.connect(client="mybot") as mt4:
    order = await mt4.order_send("EURUSD", "BUY", 0.1)
    async for tick in mt4.ticks("EURUSD"):
        ...

Without `await`, as in a notebook: `Mt4`.
"""

from gateway.client.client import Mt4Client
from gateway.client.errors import (
    ClientError,
    NoAnswer,
    NobodyListens,
    NotConnected,
    NotPermitted,
    NotStored,
)
from gateway.client.messages import CommandResult, TickMessage
from gateway.client.sync import Mt4
from gateway.core.messages import Outcome

__all__ = [
    "ClientError",
    "CommandResult",
    "Mt4",
    "Mt4Client",
    "NoAnswer",
    "NobodyListens",
    "NotConnected",
    "NotPermitted",
    "NotStored",
    "Outcome",
    "TickMessage",
]
