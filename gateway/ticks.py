"""Flow 2: a tick from the terminal, counted and checked, to its subject on the bus.

Ticks come in batches, as many as one wake-up of the line's feed found, or one by one from
polling. A gap in `seq` is counted, never hidden. While the bus is slow or away the newest tick
per symbol is kept and the rest is counted as conflated: a stale price is worse than none.
"""

from __future__ import annotations

import asyncio
import logging
import math
import time
from collections.abc import Callable, Mapping
from typing import Literal

import msgpack

from gateway.core.messages import Json
from gateway.errors import RemoteProtocolError
from gateway.metrics import Metrics, TickCounts
from gateway.tick import Tick, TickMode, decode_tick, encode_tick

log = logging.getLogger(__name__)

TICK_TOPIC = b"tick."
RETRY_S = 0.005
"""How often kept ticks are offered again to a slow bus: they are late by that at most."""

PublishTicks = Callable[[list[tuple[str, bytes]]], bool]
"""Publishes bodies, each on its symbol's subject; False when the bus cannot take any now."""

HeardEvent = Callable[[str, Mapping[str, Json]], None]
"""Takes a topic other than a tick's, and its map."""


class Ticks:
    """The whole tick path.

    Args:
        publish: Hands a batch of bodies to the bus.
        heard: Takes what else the terminal publishes: heartbeats and events.
    """

    def __init__(
        self,
        encoding: Literal["msgpack", "json"],
        publish: PublishTicks,
        heard: HeardEvent,
        metrics: Metrics,
    ) -> None:
        self.newest: dict[str, Tick] = {}
        self._encoding = encoding
        self._publish = publish
        self._heard = heard
        self._metrics = metrics
        self._counts: dict[str, TickCounts] = {}
        self._kept: dict[str, bytes] = {}
        self._retry: asyncio.TimerHandle | None = None

    def receive(self, messages: list[tuple[bytes, bytes]]) -> None:
        """Take in one batch from the terminal's publishing socket."""
        started_s = time.perf_counter()
        batch, is_packed = [], self._encoding == "msgpack"
        for topic, payload in messages:
            try:
                if topic.startswith(TICK_TOPIC):
                    tick = decode_tick(payload)
                    self._count(tick)
                    body = payload if is_packed else encode_tick(tick, self._encoding)
                    batch.append((tick.symbol, body))
                else:
                    self._heard(topic.decode(), _decode_map(payload))
            except (RemoteProtocolError, UnicodeDecodeError) as exc:
                self._metrics.reply_discarded("malformed")
                log.warning("published_malformed topic=%r cause=%s", topic[:40], exc)
        self._forward(batch)
        self._metrics.tick_forwarded((time.perf_counter() - started_s) / len(messages))

    def polled(self, symbol: str, quote: Mapping[str, Json], time_ms: int) -> None:
        """Take in one answer of `GET_SYMBOL_TICK`; an unchanged one is no tick."""
        before = self.newest.get(symbol)
        try:
            tick = Tick(
                seq=before.seq + 1 if before else 1,
                symbol=symbol,
                time_ms=time_ms,
                broker_time_s=int(quote["time"]),
                bid=_price(quote["bid"]),
                ask=_price(quote["ask"]),
                last=float(quote.get("last") or 0.0),
                volume=float(quote.get("volume") or 0.0),
                mode=TickMode.SAMPLED,
            )
        except (KeyError, TypeError, ValueError) as exc:
            self._metrics.reply_discarded("malformed")
            log.warning("tick_malformed symbol=%r cause=%s", symbol, exc)
            return
        if before is not None and _same_quote(before, tick):
            return
        self._count(tick)
        self._forward([(symbol, encode_tick(tick, self._encoding))])

    def _count(self, tick: Tick) -> None:
        symbol = tick.symbol
        counts = self._counts.get(symbol)
        if counts is None:
            counts = self._counts[symbol] = self._metrics.ticks_of(symbol)
        counts.received += 1
        counts.last_at_s = tick.time_ms / 1000
        before = self.newest.get(symbol)
        if before is not None and tick.seq > before.seq + 1:
            counts.missed += tick.seq - before.seq - 1
        self.newest[symbol] = tick

    def close(self) -> None:
        """Keep nothing for a bus that is closed."""
        self._kept.clear()
        if self._retry is not None:
            self._retry.cancel()

    def _forward(self, batch: list[tuple[str, bytes]]) -> None:
        """Hand a batch to the bus, or keep the newest of each symbol until it takes it."""
        if batch and not self._kept and self._publish(batch):
            self._published(batch)
        elif batch:
            self._keep(batch)

    def _published(self, batch: list[tuple[str, bytes]]) -> None:
        for symbol, _ in batch:
            self._counts[symbol].published += 1

    def _keep(self, batch: list[tuple[str, bytes]]) -> None:
        for symbol, body in batch:
            if symbol in self._kept:
                self._counts[symbol].conflated += 1
            self._kept[symbol] = body
        if self._retry is None:
            self._retry = asyncio.get_running_loop().call_later(RETRY_S, self._offer_kept)

    def _offer_kept(self) -> None:
        """Offer what is kept; only then may newer ticks follow."""
        self._retry = None
        batch = list(self._kept.items())
        if self._publish(batch):
            self._published(batch)
            self._kept.clear()
        else:
            self._retry = asyncio.get_running_loop().call_later(RETRY_S, self._offer_kept)


def _decode_map(payload: bytes) -> Mapping[str, Json]:
    try:
        value = msgpack.unpackb(payload)
    except (ValueError, msgpack.UnpackException) as exc:
        raise RemoteProtocolError(f"not msgpack: {exc}") from exc
    if not isinstance(value, dict):
        raise RemoteProtocolError(f"not a map but {type(value).__name__}")
    return value


def _price(value: Json) -> float:
    price = float(value)
    if not math.isfinite(price):
        raise ValueError(f"price {value!r} is not finite")
    return price


def _same_quote(one: Tick, other: Tick) -> bool:
    return (one.bid, one.ask, one.last, one.broker_time_s, one.volume) == (
        other.bid,
        other.ask,
        other.last,
        other.broker_time_s,
        other.volume,
    )
