"""What each trade takes: as `parameters.py`, with stops, prices and lots."""

from __future__ import annotations

from typing import Annotated, ClassVar, Literal, Self

from pydantic import Field, model_validator

from gateway.fields import (
    Comment,
    Lots,
    MagicNumber,
    OrderKind,
    OrderType,
    Points,
    Price,
    Slippage,
    Stop,
    Symbol,
    Ticket,
)
from gateway.parameters import OURS, Parameters


class _WithStops(Parameters):
    sl: Stop | None = Field(None, description="Stop loss, a price.")
    sl_points: Points | None = Field(None, description="Stop loss, points from the market.")
    tp: Stop | None = Field(None, description="Take profit, a price.")
    tp_points: Points | None = Field(None, description="Take profit, points from the market.")
    allow_nudge: bool = Field(
        False,
        description="Existing server: let it move a stop that is too close or on the wrong side "
        "to the least distance, or drop an expiration; the result then warns of it.",
    )

    @model_validator(mode="after")
    def _absolute_or_relative(self) -> Self:
        for name in ("sl", "tp"):
            if getattr(self, name) is not None and getattr(self, f"{name}_points") is not None:
                raise ValueError(f"{name} and {name}_points exclude each other")
        return self


class OrderSend(_WithStops):
    """A market or pending order."""

    bridge_only: ClassVar = frozenset({"magic_number", "expiration"})
    example: ClassVar = {"symbol": "EURUSD", "order_type": "BUY", "lots": 0.1, "sl_points": 200}

    symbol: Symbol
    order_type: OrderKind = Field(description="0 to 5, or BUY, SELL, BUYLIMIT, SELLLIMIT, ...")
    lots: Lots
    comment: Comment = Field("", description="What follows the gateway's token.")
    price: Price | None = Field(None, description="Needed for a pending order.")
    slippage: Slippage | None = Field(None, description="Points; the terminal has a default.")
    magic_number: MagicNumber | None = Field(None, description="Marks the orders of a strategy.")
    expiration: Annotated[int, Field(gt=0, le=2**31 - 1)] | None = Field(
        None, description="Broker's clock, seconds; pending orders only."
    )

    @model_validator(mode="after")
    def _pending_has_price(self) -> Self:
        is_pending = self.order_type >= OrderType.OP_BUYLIMIT
        if is_pending and self.price is None:
            raise ValueError("price is needed for a pending order")
        if self.expiration is not None and not is_pending:
            raise ValueError("expiration is for pending orders only")
        for name in ("sl", "tp"):
            if getattr(self, name) == 0:
                raise ValueError(f"{name} 0 is no price; leave it out for none")
        return self


class OrderModify(_WithStops):
    """A change of stops, or of a pending order's price."""

    bridge_only: ClassVar = frozenset({"expiration"})
    example: ClassVar = {"ticket": 1001, "sl": 1.115, "tp": 1.135}

    ticket: Ticket
    price: Price | None = Field(None, description="Pending orders only.")
    expiration: Annotated[int, Field(ge=0, le=2**31 - 1)] | None = None

    @model_validator(mode="after")
    def _changes_something(self) -> Self:
        if not self.model_dump(exclude={"ticket"} | OURS, exclude_none=True):
            raise ValueError("nothing to change: give price, sl, sl_points, tp or tp_points")
        return self


class OrderClose(Parameters):
    """A close, whole or in part."""

    example: ClassVar = {"ticket": 1001}

    ticket: Ticket
    lots: Lots | None = Field(None, description="Less than the order's for a partial close.")
    price: Price | None = None
    slippage: Slippage | None = None


class OrderDelete(Parameters):
    """A pending order's end."""

    example: ClassVar = {"ticket": 1001}

    ticket: Ticket
    close_if_opened: bool | None = Field(
        None, description="Close it if it has become a position meanwhile."
    )


class CloseAll(Parameters):
    """Which positions are closed: all that fit every part that is given."""

    example: ClassVar = {"symbol": "EURUSD", "side": "buy"}

    symbol: Symbol | None = Field(None, description="Only those of this symbol.")
    magic_number: MagicNumber | None = Field(None, description="Only those with this number.")
    side: Literal["buy", "sell"] | None = Field(None, description="Only those of this side.")
