"""The catalogue: every action, its effect, its lane, its parameters, and who can do it.

The one source for validation, help texts, AsyncAPI and docs/actions.md. Parameters are typed
strictly and by the names of the existing server's API; what the existing server would quietly
correct is refused here. An action that is not listed is not forwarded.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from enum import IntEnum
from typing import Annotated, Any, ClassVar, Self

import msgpack
from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    ValidationError,
    model_validator,
)

from gateway.core.evidence import COMMENT_LEFT
from gateway.core.messages import Dialect, Effect, Json, Lane
from gateway.errors import InvalidCommand

BOTH = frozenset(Dialect)
BRIDGE_ONLY = frozenset({Dialect.BRIDGE})


class OrderType(IntEnum):
    """MT4's trade operations, by the numbers of the wire."""

    OP_BUY = 0
    OP_SELL = 1
    OP_BUYLIMIT = 2
    OP_SELLLIMIT = 3
    OP_BUYSTOP = 4
    OP_SELLSTOP = 5


_ORDER_TYPE_NAMES = {
    spelling: int(kind)
    for kind in OrderType
    for spelling in (kind.name, kind.name.removeprefix("OP_"))
}


def _order_type(value: object) -> object:
    """Accept a number 0 to 5 or a name, with or without `OP_`, in any case."""
    if isinstance(value, str) and value.upper() in _ORDER_TYPE_NAMES:
        return _ORDER_TYPE_NAMES[value.upper()]
    if type(value) is int and 0 <= value <= 5:  # noqa: PLR2004 - MT4's six operations
        return value
    raise ValueError("must be 0 to 5 or one of BUY, SELL, BUYLIMIT, SELLLIMIT, BUYSTOP, SELLSTOP")


def _ascii_text(value: object) -> object:
    if isinstance(value, str) and not (value.isascii() and value.isprintable()):
        raise ValueError("must be printable ASCII")
    return value


def _token_free(value: object) -> object:
    if isinstance(value, str) and value.startswith("~"):
        raise ValueError("must not begin with '~', which marks the gateway's token")
    return value


OrderKind = Annotated[int, BeforeValidator(_order_type)]
Symbol = Annotated[str, Field(min_length=1, max_length=32), BeforeValidator(_ascii_text)]
Ticket = Annotated[int, Field(gt=0, le=2**31 - 1)]
Lots = Annotated[float, Field(gt=0, le=1e6, allow_inf_nan=False)]
Price = Annotated[float, Field(gt=0, le=1e9, allow_inf_nan=False)]
Stop = Annotated[
    float, Field(ge=0, le=1e9, allow_inf_nan=False), AfterValidator(lambda value: value + 0.0)
]
"""A price, or 0 for none; -0.0 is 0.0."""
Points = Annotated[int, Field(gt=0, le=10_000_000)]
Slippage = Annotated[int, Field(ge=0, le=1_000_000)]
Comment = Annotated[
    str,
    Field(max_length=COMMENT_LEFT),
    BeforeValidator(_ascii_text),
    BeforeValidator(_token_free),
]


class Parameters(BaseModel):
    """What all parameter models share: strict types, no unknown names."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)

    bridge_only: ClassVar[frozenset[str]] = frozenset()
    """Parameters that the existing server would ignore; there they are denied."""


class NoParameters(Parameters):
    """None."""


class SymbolNames(Parameters):
    """Names of symbols."""

    names: Annotated[list[Symbol], Field(min_length=1, max_length=1000)]


class OneSymbol(Parameters):
    """One symbol."""

    symbol: Symbol


class OneTicket(Parameters):
    """One order."""

    ticket: Ticket


class _WithStops(Parameters):
    sl: Stop | None = Field(None, description="Stop loss, a price.")
    sl_points: Points | None = Field(None, description="Stop loss, points from the market.")
    tp: Stop | None = Field(None, description="Take profit, a price.")
    tp_points: Points | None = Field(None, description="Take profit, points from the market.")

    @model_validator(mode="after")
    def _absolute_or_relative(self) -> Self:
        for name in ("sl", "tp"):
            if getattr(self, name) is not None and getattr(self, f"{name}_points") is not None:
                raise ValueError(f"{name} and {name}_points exclude each other")
        return self


class OrderSend(_WithStops):
    """A market or pending order."""

    bridge_only: ClassVar = frozenset({"magic_number", "expiration"})

    symbol: Symbol
    order_type: OrderKind = Field(description="0 to 5, or BUY, SELL, BUYLIMIT, SELLLIMIT, ...")
    lots: Lots
    comment: Comment = Field("", description="What follows the gateway's token.")
    price: Price | None = Field(None, description="Needed for a pending order.")
    slippage: Slippage | None = Field(None, description="Points; the terminal has a default.")
    magic_number: Annotated[int, Field(ge=-(2**31), le=2**31 - 1)] | None = None
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

    ticket: Ticket
    price: Price | None = Field(None, description="Pending orders only.")
    expiration: Annotated[int, Field(ge=0, le=2**31 - 1)] | None = None

    @model_validator(mode="after")
    def _changes_something(self) -> Self:
        if not self.model_dump(exclude={"ticket"}, exclude_none=True):
            raise ValueError("nothing to change: give price, sl, sl_points, tp or tp_points")
        return self


class OrderClose(Parameters):
    """A close, whole or in part."""

    ticket: Ticket
    lots: Lots | None = Field(None, description="Less than the order's for a partial close.")
    price: Price | None = None
    slippage: Slippage | None = None


class OrderDelete(Parameters):
    """A pending order's end."""

    ticket: Ticket
    close_if_opened: bool | None = Field(
        None, description="Close it if it has become a position meanwhile."
    )


@dataclass(frozen=True, slots=True)
class Action:
    """One line of the catalogue.

    Attributes:
        lane: Which queue it waits in.
        dialects: Which terminals know it.
    """

    name: str
    effect: Effect
    lane: Lane
    parameters: type[Parameters]
    help: str
    dialects: frozenset[Dialect] = BOTH

    def validate(self, params: Mapping[str, Json]) -> dict[str, Json]:
        """Check the parameters and return them canonically, without absent ones.

        Raises:
            InvalidCommand: Naming each field, its value, and what would be right.
        """
        try:
            model = self.parameters.model_validate(params)
        except ValidationError as exc:
            raise InvalidCommand([_explain(error) for error in exc.errors()]) from exc
        return model.model_dump(exclude_none=True)

    def refuse_for(self, dialect: Dialect, params: Mapping[str, Json]) -> str | None:
        """Say why a terminal of this dialect cannot do it; None when it can."""
        if dialect not in self.dialects:
            return f"{self.name} needs a terminal of dialect {', '.join(sorted(self.dialects))}"
        if dialect is Dialect.BRIDGE:
            return None
        if unknown := sorted(params.keys() & self.parameters.bridge_only):
            return f"the existing server ignores {', '.join(unknown)}: needs dialect bridge"
        if zero := [name for name in ("sl", "tp") if params.get(name) == 0]:
            return f"the existing server cannot remove {', '.join(zero)}: needs dialect bridge"
        return None


def digest_of(action: str, params: Mapping[str, Json]) -> str:
    """Return 32 hex digits over an action and its canonical parameters."""
    canonical: bytes = msgpack.packb([action, sorted(params.items())])
    return hashlib.blake2b(canonical, digest_size=16).hexdigest()


def _explain(error: Any) -> str:
    path = ".".join(str(part) for part in error["loc"])
    text = str(error["msg"]).removeprefix("Value error, ")
    match error["type"]:
        case "extra_forbidden":
            return f"{path}: unknown parameter"
        case "missing":
            return f"{path}: missing"
        case _ if not path:
            return text
        case _:
            return f"{path}: {text} (got {_short(error['input'])})"


def _short(value: object, limit: int = 60) -> str:
    text = repr(value)
    return text if len(text) <= limit else text[:limit] + "..."


def _query(name: str, parameters: type[Parameters], help_: str, lane: Lane = Lane.READ) -> Action:
    return Action(name, Effect.QUERY, lane, parameters, help_)


def _trade(name: str, parameters: type[Parameters], help_: str, lane: Lane = Lane.TRADE) -> Action:
    return Action(name, Effect.TRADE, lane, parameters, help_)


ACTIONS: dict[str, Action] = {
    action.name: action
    for action in (
        _query("GET_ACCOUNT_INFO", NoParameters, "Login, name, server, currency, company."),
        _query("GET_SYMBOLS", NoParameters, "Names of all symbols of the broker."),
        _query("GET_SYMBOL_INFO", SymbolNames, "Digits, lot limits and steps, stop levels."),
        _query("GET_SYMBOL_TICK", OneSymbol, "The last quote of a symbol."),
        _query("GET_ORDER", OneTicket, "One order: open, pending or closed."),
        _query("GET_ORDERS", NoParameters, "Open and pending orders."),
        _query("GET_HISTORICAL_ORDERS", NoParameters, "What the Account History tab holds."),
        _trade("DO_ORDER_SEND", OrderSend, "Open a position or place a pending order."),
        _trade("DO_ORDER_MODIFY", OrderModify, "Change stops, or a pending order's price."),
        _trade("DO_ORDER_CLOSE", OrderClose, "Close a position, whole or in part.", Lane.REDUCE),
        _trade("DO_ORDER_DELETE", OrderDelete, "Delete a pending order.", Lane.REDUCE),
    )
}
