"""The price loop: quotes into the broker, and ticks, events and heartbeats out."""

import asyncio
import time
from collections.abc import Callable, Iterator

from gateway.sim.bars import BarStore
from gateway.sim.broker import Broker
from gateway.sim.publisher import Publisher
from gateway.sim.quotes import TimedQuote
from gateway.sim.wire import Body

_BURST = 100
"""So many ticks that are due at once are sent before others get a turn."""


class Feed:
    """Move the market and tell subscribers."""

    def __init__(
        self,
        broker: Broker,
        bars: BarStore,
        publisher: Publisher | None,
        *,
        broker_offset_s: int,
        subscribed: set[str],
        moving: asyncio.Event,
        save: Callable[[], None],
    ) -> None:
        """Connect the loop.

        Args:
            broker: Takes the quotes.
            bars: Takes them too.
            publisher: Where ticks go; None in a dialect without.
            broker_offset_s: Broker's clock minus UTC.
            subscribed: Whose ticks are published.
            moving: Cleared while the terminal is frozen.
            save: Called when a quote has changed orders.
        """
        self._broker = broker
        self._bars = bars
        self._publisher = publisher
        self._broker_offset_s = broker_offset_s
        self._subscribed = subscribed
        self._moving = moving
        self._save = save
        self._last_account: Body = {}

    async def run(self, quotes: Iterator[TimedQuote], *, waits_for_subscriber: bool) -> None:
        """Send quotes when they are due, until there are no more."""
        if waits_for_subscriber and self._publisher is not None:
            await self._publisher.has_tick_subscriber.wait()
        loop = asyncio.get_running_loop()
        start_s: float | None = None
        for number, quote in enumerate(quotes):
            if start_s is None:
                start_s = loop.time() - quote.offset_s
            await self._wait_until(start_s + quote.offset_s, number)
            await self._moving.wait()
            await self.take(quote)

    async def take(self, quote: TimedQuote) -> None:
        """Give one quote to the broker, then publish it and what it has done to orders."""
        utc_ms = time.time_ns() // 1_000_000 if quote.utc_ms is None else quote.utc_ms
        broker_time_s = utc_ms // 1000 + self._broker_offset_s
        self._broker.set_quote(quote.symbol, quote.bid, quote.ask, broker_time_s)
        self._bars.add(quote.symbol, quote.bid, broker_time_s)
        if self._publisher is not None and quote.symbol in self._subscribed:
            await self._publisher.tick(
                quote.symbol,
                quote.bid,
                quote.ask,
                utc_ms=utc_ms,
                broker_time_s=broker_time_s,
                volume=quote.volume,
            )
        if self._broker.has_events:
            self._save()
            await self.publish_changes()

    async def publish_changes(self) -> None:
        """Publish what has happened to orders since the last time, and the money if it did."""
        events = self._broker.take_events()
        if self._publisher is None:
            return
        for event in events:
            await self._publisher.order(event)
        if events:
            await self._publish_account()

    async def beat(self, interval_s: float, heartbeat: Callable[[], Body]) -> None:
        """Publish a heartbeat and, if it has changed, the account, until cancelled."""
        if self._publisher is None:
            return
        while True:
            await self._moving.wait()
            await self._publisher.heartbeat(heartbeat())
            await self.publish_changes()
            await self._publish_account()
            await asyncio.sleep(interval_s)

    async def _publish_account(self) -> None:
        broker = self._broker
        account: Body = {
            "balance": broker.balance,
            "equity": broker.equity,
            "margin": broker.margin,
            "free_margin": broker.free_margin,
            "profit": broker.profit,
            "currency": broker.terms.currency,
        }
        if self._publisher is not None and account != self._last_account:
            self._last_account = account
            await self._publisher.account(account)

    async def _wait_until(self, due_s: float, number: int) -> None:
        remaining_s = due_s - asyncio.get_running_loop().time()
        if remaining_s > 0:
            await asyncio.sleep(remaining_s)
        elif number % _BURST == 0:
            await asyncio.sleep(0)
