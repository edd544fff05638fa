"""A tick: the noun, and its bytes on the line and on the bus (docs/protocol.md)."""

from __future__ import annotations

import math
from enum import StrEnum
from typing import Annotated, Literal

import msgspec

from gateway.errors import RemoteProtocolError
from gateway.fields import LONGEST_SYMBOL


class TickMode(StrEnum):
    """Whether each quote change is seen (`event`) or the price is looked at now and then."""

    EVENT = "event"
    SAMPLED = "sampled"


class Tick(
    msgspec.Struct,
    frozen=True,
    gc=False,
    rename={"time_ms": "time", "broker_time_s": "broker_time"},
):
    """One quote.

    Attributes:
        seq: Counts per symbol, +1 each, so that a gap is visible.
        symbol: Stands in the subject, whose length NATS limits.
        time_ms: UTC, milliseconds since 1970.
        broker_time_s: The broker's clock, no zone.
        ask: None where the source knows one price only (pipe, text mode).
    """

    seq: int
    symbol: Annotated[str, msgspec.Meta(min_length=1, max_length=LONGEST_SYMBOL)]
    time_ms: int
    broker_time_s: int
    bid: float
    ask: float | None
    last: float
    volume: float
    mode: TickMode


_read = msgspec.msgpack.Decoder(Tick).decode


def decode_tick(packed: bytes) -> Tick:
    """Read a tick as the terminal publishes it, every key checked.

    Raises:
        RemoteProtocolError: A key is missing or of a wrong type, the symbol has no length that
            a symbol has, or a price is not finite.
    """
    try:
        tick = _read(packed)
    except (msgspec.MsgspecError, UnicodeDecodeError) as exc:
        raise RemoteProtocolError(f"bad tick: {exc}") from exc
    if not math.isfinite(tick.bid) or not (tick.ask is None or math.isfinite(tick.ask)):
        raise RemoteProtocolError(f"bad tick: bid {tick.bid}, ask {tick.ask}, not finite")
    return tick


def encode_tick(tick: Tick, encoding: Literal["msgpack", "json"]) -> bytes:
    """Write a tick, `seq` first."""
    return msgspec.msgpack.encode(tick) if encoding == "msgpack" else msgspec.json.encode(tick)
