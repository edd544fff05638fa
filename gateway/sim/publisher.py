"""What a terminal publishes: ticks, heartbeats, order and account events; and the socket for it."""

import asyncio
from abc import ABC, abstractmethod
from typing import Any

import msgpack
import zmq
import zmq.asyncio

from gateway.sim.channel import attach
from gateway.sim.options import SimCurve
from gateway.sim.orders import OrderEvent
from gateway.sim.wire import Body, order_record

HIGH_WATER_MARK = 100_000
_SUBSCRIBED = 1


class Publisher(ABC):
    """Publish to whoever listens.

    Attributes:
        endpoint: Where, None where that is no address of its own.
        has_tick_subscriber: Set once somebody listens to ticks.
    """

    endpoint: str | None

    def __init__(self) -> None:
        """Begin to count."""
        self.has_tick_subscriber = asyncio.Event()
        self._seqs: dict[str, int] = {}

    @abstractmethod
    async def run(self) -> None:
        """Do what has to be done beside publishing, until cancelled."""

    @abstractmethod
    async def _send(self, topic: str, body: Body) -> None: ...

    @abstractmethod
    def close(self) -> None:
        """Stop."""

    async def tick(
        self,
        symbol: str,
        bid: float,
        ask: float,
        *,
        utc_ms: int,
        broker_time_s: int,
        volume: int = 0,
    ) -> None:
        """Publish one tick under the symbol's next number."""
        seq = self._seqs[symbol] = self._seqs.get(symbol, 0) + 1
        await self._send(
            f"tick.{symbol}",
            {
                "seq": seq,
                "symbol": symbol,
                "time": utc_ms,
                "broker_time": broker_time_s,
                "bid": bid,
                "ask": ask,
                "last": 0.0,
                "volume": volume,
                "mode": "event",
            },
        )

    def skip(self, symbol: str) -> None:
        """Count a tick that is not published, so that the gap shows."""
        self._seqs[symbol] = self._seqs.get(symbol, 0) + 1

    async def heartbeat(self, body: Body) -> None:
        """Publish a sign of life."""
        await self._send("heartbeat", body)

    async def account(self, body: Body) -> None:
        """Publish the account's money."""
        await self._send("account", body)

    async def order(self, event: OrderEvent) -> None:
        """Publish what happened to an order."""
        record = order_record(event.order).items()
        await self._send(
            "order",
            {
                "event": event.kind.value,
                "reason": event.reason.value,
                # As in replies, where an empty string is null.
                "order": {key: None if value == "" else value for key, value in record},
                "previous_ticket": event.previous_ticket,
            },
        )


class SocketPublisher(Publisher):
    """Publish two frames, topic and msgpack map.

    The socket is XPUB, which to a subscriber is PUB, because it tells who has subscribed to what:
    a replay starts when somebody listens, and loses nothing.
    """

    def __init__(
        self,
        context: "zmq.asyncio.Context",
        endpoint: str,
        *,
        drops_nothing: bool = False,
        connects: bool = False,
        curve: SimCurve | None = None,
    ) -> None:
        """Bind or connect.

        Args:
            context: Where the socket lives.
            endpoint: Such as `tcp://127.0.0.1:28283`.
            drops_nothing: Wait for a slow subscriber instead of dropping what it does not take.
            connects: Connect to a gateway that binds.
            curve: Keys, to encrypt.
        """
        super().__init__()
        self._socket: Any = context.socket(zmq.XPUB)
        self._socket.linger = 0
        self._socket.sndhwm = HIGH_WATER_MARK
        if drops_nothing:
            self._socket.setsockopt(zmq.XPUB_NODROP, 1)
        self.endpoint = attach(self._socket, endpoint, connects=connects, curve=curve)

    async def run(self) -> None:
        """Note the first subscriber of ticks; runs until cancelled."""
        while True:
            frame: bytes = await self._socket.recv()
            topic = frame[1:]
            wants_ticks = topic.startswith(b"tick.") or b"tick.".startswith(topic)
            if frame[:1] == bytes([_SUBSCRIBED]) and wants_ticks:
                self.has_tick_subscriber.set()

    async def _send(self, topic: str, body: Body) -> None:
        await self._socket.send_multipart([topic.encode(), msgpack.packb(body)])

    def close(self) -> None:
        """Close the socket."""
        self._socket.close(linger=0)
