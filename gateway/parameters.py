"""What each action takes: typed strictly, by the names of the existing server's API.

What the existing server would quietly coerce, round or ignore is refused here.
"""

from __future__ import annotations

from collections.abc import Mapping
from enum import IntEnum
from typing import Annotated, Any, ClassVar, Literal, Self

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    WithJsonSchema,
    model_validator,
)

from gateway import mt4_enums
from gateway.core.evidence import COMMENT_LEFT
from gateway.core.messages import Json
from gateway.mt4_enums import Argument, ArgumentKind

OURS = frozenset({"raw", "allow_nudge"})
"""Parameters that tell the gateway something and never reach the terminal. They are not part
of a command's digest: they change neither what runs nor what is recorded."""

SHORTEST_WORK_MS = 100
"""The existing server tries `timeout / 100` times: below it, not once."""

LONGEST_WORK_MS = 30_000
"""The terminal answers nobody else meanwhile, trades neither. Loading history takes seconds."""

MOST_BARS = 5_000
"""A bar is some 150 bytes of JSON, and NATS takes 1 MB by default."""


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


def _timeframe(value: object) -> object:
    """Accept minutes or a name, `M1` to `MN1`, with or without `PERIOD_`, in any case."""
    if isinstance(value, str):
        minutes = mt4_enums.TIMEFRAMES.get(value.upper().removeprefix("PERIOD_"))
        if minutes is not None:
            return minutes
    if type(value) is int and value in mt4_enums.TIMEFRAMES.values():
        return value
    known = ", ".join(f"{name} ({minutes})" for name, minutes in mt4_enums.TIMEFRAMES.items())
    raise ValueError(f"must be one of {known}")


def _printable_text(value: object) -> object:
    if isinstance(value, str) and not value.isprintable():
        raise ValueError("must be printable")
    return value


OrderKind = Annotated[int, BeforeValidator(_order_type)]
LONGEST_SYMBOL = 32
LARGEST_ARGUMENT = 1e6
Symbol = Annotated[
    str, Field(min_length=1, max_length=LONGEST_SYMBOL), BeforeValidator(_ascii_text)
]
Ticket = Annotated[int, Field(gt=0, le=2**31 - 1)]
Lots = Annotated[float, Field(gt=0, le=1e6, allow_inf_nan=False)]
Price = Annotated[float, Field(gt=0, le=1e9, allow_inf_nan=False)]
Stop = Annotated[
    float, Field(ge=0, le=1e9, allow_inf_nan=False), AfterValidator(lambda value: value + 0.0)
]
"""A price, or 0 for none; -0.0 is 0.0."""
Points = Annotated[int, Field(gt=0, le=10_000_000)]
Slippage = Annotated[int, Field(ge=0, le=1_000_000)]
Timeframe = Annotated[int, BeforeValidator(_timeframe)]
WorkTime = Annotated[int, Field(ge=SHORTEST_WORK_MS, le=LONGEST_WORK_MS)]
MagicNumber = Annotated[int, Field(ge=-(2**31), le=2**31 - 1)]
SignalName = Annotated[str, Field(min_length=1, max_length=128), BeforeValidator(_printable_text)]
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

    example: ClassVar[dict[str, Json]] = {}
    """A body that passes the validation."""

    raw: bool = Field(
        False, description="Also give the terminal's own response, unchanged, as `raw`."
    )


class NoParameters(Parameters):
    """None."""


class SymbolNames(Parameters):
    """Names of symbols."""

    example: ClassVar = {"names": ["EURUSD", "GBPUSD"]}

    names: Annotated[list[Symbol], Field(min_length=1, max_length=1000)]


class TickSymbols(Parameters):
    """Names of symbols whose ticks are meant."""

    example: ClassVar = {"symbols": ["EURUSD", "GBPUSD"]}

    symbols: Annotated[list[Symbol], Field(min_length=1, max_length=1000)] = Field(
        description="Names of symbols."
    )


class SignalNames(Parameters):
    """Names of trading signals."""

    example: ClassVar = {"names": ["Alpha Trend"]}

    names: Annotated[list[SignalName], Field(min_length=1, max_length=100)] = Field(
        description="Names of trading signals, as `GET_SIGNALS` gives them."
    )


class OneSymbol(Parameters):
    """One symbol."""

    example: ClassVar = {"symbol": "EURUSD"}

    symbol: Symbol


class OneTicket(Parameters):
    """One order."""

    example: ClassVar = {"ticket": 1001}

    ticket: Ticket


class _Property(Parameters):
    """A property by its name or its number in one of MT4's enumerations."""

    numbers: ClassVar[Mapping[str, int]]
    enumeration: ClassVar[str]

    property_name: str | None = Field(None, description="Its name; or give `property_id`.")
    property_id: int | None = Field(None, description="Its number; or give `property_name`.")

    @model_validator(mode="after")
    def _is_known(self) -> Self:
        if (self.property_name is None) == (self.property_id is None):
            raise ValueError("give either property_name or property_id")
        if self.property_name is not None and self.property_name not in self.numbers:
            known = ", ".join(self.numbers)
            raise ValueError(
                f"property_name: {short(self.property_name)} is not in {self.enumeration}: {known}"
            )
        if self.property_id is not None and self.property_id not in self.numbers.values():
            known = ", ".join(f"{number} ({name})" for name, number in self.numbers.items())
            raise ValueError(
                f"property_id: {self.property_id} is not in {self.enumeration}: {known}"
            )
        return self


class AccountInteger(_Property):
    """A property of the account, an integer."""

    numbers: ClassVar = mt4_enums.ACCOUNT_INTEGERS
    enumeration: ClassVar = "ENUM_ACCOUNT_INFO_INTEGER"
    example: ClassVar = {"property_name": "ACCOUNT_LEVERAGE"}


class AccountDouble(_Property):
    """A property of the account, a number."""

    numbers: ClassVar = mt4_enums.ACCOUNT_DOUBLES
    enumeration: ClassVar = "ENUM_ACCOUNT_INFO_DOUBLE"
    example: ClassVar = {"property_name": "ACCOUNT_EQUITY"}


class SymbolInteger(_Property):
    """A property of a symbol, an integer."""

    numbers: ClassVar = mt4_enums.SYMBOL_INTEGERS
    enumeration: ClassVar = "ENUM_SYMBOL_INFO_INTEGER"
    example: ClassVar = {"symbol": "EURUSD", "property_name": "SYMBOL_SPREAD"}

    symbol: Symbol


class SymbolDouble(_Property):
    """A property of a symbol, a number."""

    numbers: ClassVar = mt4_enums.SYMBOL_DOUBLES
    enumeration: ClassVar = "ENUM_SYMBOL_INFO_DOUBLE"
    example: ClassVar = {"symbol": "EURUSD", "property_name": "SYMBOL_SWAP_LONG"}

    symbol: Symbol


class SymbolText(_Property):
    """A property of a symbol, a text."""

    numbers: ClassVar = mt4_enums.SYMBOL_STRINGS
    enumeration: ClassVar = "ENUM_SYMBOL_INFO_STRING"
    example: ClassVar = {"symbol": "EURUSD", "property_name": "SYMBOL_CURRENCY_BASE"}

    symbol: Symbol


class MarketInfo(Parameters):
    """A value of MQL4's `MarketInfo`."""

    example: ClassVar = {"symbol": "EURUSD", "property": "MODE_SPREAD"}

    symbol: Symbol
    property: str = Field(description="A name of MQL4's `MarketInfo`, `MODE_SPREAD`.")

    @model_validator(mode="after")
    def _is_known(self) -> Self:
        if self.property not in mt4_enums.MARKET_INFO:
            known = ", ".join(mt4_enums.MARKET_INFO)
            raise ValueError(f"property: {short(self.property)} is no value of MarketInfo: {known}")
        return self


class Bars(Parameters):
    """Price history."""

    example: ClassVar = {"symbol": "EURUSD", "timeframe": "M15", "limit": 100, "timeout": 5000}

    symbol: Symbol
    timeframe: Timeframe = Field(description="Minutes, 1 to 43200, or a name, `M1` to `MN1`.")
    limit: Annotated[int, Field(ge=1, le=MOST_BARS)] = Field(
        description="How many bars, counted back from now."
    )
    timeout: WorkTime = Field(
        description="How long the terminal may take to load them, in milliseconds; it answers "
        "nobody else meanwhile."
    )


class Indicator(Parameters):
    """One value of a built-in indicator."""

    example: ClassVar = {
        "indicator": "iMA",
        "argv": ["EURUSD", "H1", 14, 0, 0, 0, 0],
        "timeout": 5000,
    }

    indicator: str = Field(description="One of the 29 built-in ones: `iMA`, `iRSI`, ...")
    argv: Annotated[
        list[Any],
        WithJsonSchema(
            {"type": "array", "items": {"anyOf": [{"type": "string"}, {"type": "number"}]}}
        ),
    ] = Field(
        description="Its arguments in the order of the MQL4 Reference: symbol, timeframe, ..."
    )
    timeout: WorkTime = Field(
        description="How long the terminal may take to load its history, in milliseconds; it "
        "answers nobody else meanwhile."
    )

    @model_validator(mode="before")
    @classmethod
    def _arguments_fit(cls, said: Any) -> Any:
        """Check `argv` against the indicator's own list, and write timeframes as minutes."""
        indicator, argv = said.get("indicator"), said.get("argv")
        if not isinstance(indicator, str) or not isinstance(argv, list):
            return said  # told by the fields' own types
        return {**said, "argv": _arguments(indicator, argv)}


def _arguments(indicator: str, argv: list[Json]) -> list[Json]:
    if (reason := mt4_enums.REFUSED_INDICATORS.get(indicator)) is not None:
        raise ValueError(f"indicator: {indicator} cannot be run: {reason}")
    expected = mt4_enums.INDICATORS.get(indicator)
    if expected is None:
        known = ", ".join(mt4_enums.INDICATORS)
        raise ValueError(f"indicator: {short(indicator)} is unknown; known: {known}")
    names = ", ".join(argument.name for argument in expected)
    if len(argv) != len(expected):
        raise ValueError(f"argv: {indicator} takes {len(expected)} ({names}), not {len(argv)}")
    values: list[Json] = []
    problems: list[str] = []
    for index, (argument, value) in enumerate(zip(expected, argv, strict=True)):
        try:
            values.append(_argument_value(argument, value))
        except ValueError as exc:
            problems.append(f"argv[{index}] {argument.name}: {exc} (got {short(value)})")
    if problems:
        raise ValueError("; ".join(problems))
    return values


def _argument_value(argument: Argument, value: Json) -> Json:
    match argument.kind:
        case ArgumentKind.SYMBOL:
            if not isinstance(value, str) or not 0 < len(value) <= LONGEST_SYMBOL:
                raise ValueError("must be the name of a symbol")
            return _ascii_text(value)
        case ArgumentKind.TIMEFRAME:
            return _timeframe(value)
        case ArgumentKind.POSITIVE:
            if type(value) not in (int, float) or not 0 < value <= LARGEST_ARGUMENT:
                raise ValueError(f"must be a number above 0, at most {LARGEST_ARGUMENT:g}")
            return float(value)
        case _:
            assert argument.least is not None
            assert argument.most is not None
            if type(value) is not int or not argument.least <= value <= argument.most:
                raise ValueError(f"must be {argument.text}, {argument.least} to {argument.most}")
            return value


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


def short(value: object, limit: int = 60) -> str:
    """Write a value for a message, not at any length."""
    text = repr(value)
    return text if len(text) <= limit else text[:limit] + "..."
