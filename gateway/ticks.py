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

import msgpack

from gateway.core.messages import Json, Tick, TickMode
from gateway.envelope import Encoding, encode, tick_body
from gateway.errors import RemoteProtocolError
from gateway.metrics import Metrics

log = logging.getLogger(__name__)

TICK_TOPIC = b"tick."
RETRY_S = 0.05
"""How often kept ticks are offered again to a slow bus."""

PublishTick = Callable[[str, bytes], bool]
"""Publishes one body on a symbol's subject; False when the bus cannot take it now."""

HeardEvent = Callable[[str, Mapping[str, Json]], None]
"""Takes a topic other than a tick's, and its map."""


class Ticks:
    """The whole tick path.

    Args:
        publish: Hands a body to the bus.
        heard: Takes what else the terminal publishes: heartbeats and events.
    """

    def __init__(
        self, encoding: Encoding, publish: PublishTick, heard: HeardEvent, metrics: Metrics
    ) -> None:
        self.newest: dict[str, Tick] = {}
        self._encoding = encoding
        self._publish = publish
        self._heard = heard
        self._metrics = metrics
        self._kept: dict[str, bytes] = {}
        self._retry: asyncio.TimerHandle | None = None

    def receive(self, messages: list[tuple[bytes, bytes]]) -> None:
        """Take in one batch from the terminal's publishing socket."""
        started_s = time.perf_counter()
        for topic, payload in messages:
            try:
                if topic.startswith(TICK_TOPIC):
                    self._forward(_decode_tick(payload), payload)
                else:
                    self._heard(topic.decode(), _decode_map(payload))
            except (RemoteProtocolError, UnicodeDecodeError) as exc:
                self._metrics.reply_discarded("malformed")
                log.warning("published_malformed topic=%r cause=%s", topic[:40], exc)
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
        self._forward(tick, encode(tick_body(tick), Encoding.MSGPACK))

    def _forward(self, tick: Tick, packed: bytes) -> None:
        symbol = tick.symbol
        self._metrics.ticks_received(symbol)
        self._metrics.tick_seen(symbol, tick.time_ms / 1000)
        before = self.newest.get(symbol)
        if before is not None and tick.seq > before.seq + 1:
            self._metrics.ticks_missed(symbol, tick.seq - before.seq - 1)
        self.newest[symbol] = tick
        body = (
            packed
            if self._encoding is Encoding.MSGPACK
            else encode(tick_body(tick), self._encoding)
        )
        if symbol not in self._kept and self._publish(symbol, body):
            self._metrics.ticks_published(symbol)
        else:
            self._keep(symbol, body)

    def _keep(self, symbol: str, body: bytes) -> None:
        """Hold the newest body of a symbol until the bus takes it."""
        if symbol in self._kept:
            self._metrics.ticks_conflated(symbol)
        self._kept[symbol] = body
        if self._retry is None:
            self._retry = asyncio.get_running_loop().call_later(RETRY_S, self._offer_kept)

    def _offer_kept(self) -> None:
        self._retry = None
        for symbol in list(self._kept):
            if not self._publish(symbol, self._kept[symbol]):
                self._retry = asyncio.get_running_loop().call_later(RETRY_S, self._offer_kept)
                return
            del self._kept[symbol]
            self._metrics.ticks_published(symbol)


def _decode_map(payload: bytes) -> Mapping[str, Json]:
    try:
        value = msgpack.unpackb(payload)
    except (ValueError, msgpack.UnpackException) as exc:
        raise RemoteProtocolError(f"not msgpack: {exc}") from exc
    if not isinstance(value, dict):
        raise RemoteProtocolError(f"not a map but {type(value).__name__}")
    return value


def _decode_tick(payload: bytes) -> Tick:
    """Read a tick as the terminal publishes it (docs/protocol.md).

    Raises:
        RemoteProtocolError: A key is missing or of a wrong type, or a price is not finite.
    """
    said = _decode_map(payload)
    try:
        return Tick(
            seq=int(said["seq"]),
            symbol=str(said["symbol"]),
            time_ms=int(said["time"]),
            broker_time_s=int(said["broker_time"]),
            bid=_price(said["bid"]),
            ask=None if said["ask"] is None else _price(said["ask"]),
            last=float(said["last"]),
            volume=float(said["volume"]),
            mode=TickMode(said["mode"]),
        )
    except (KeyError, TypeError, ValueError) as exc:
        raise RemoteProtocolError(f"bad tick: {exc!r}") from exc


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
