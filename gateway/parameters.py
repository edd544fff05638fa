"""What each reading action takes: typed strictly, by the names of the existing server's API.

What the existing server would quietly coerce, round or ignore is refused here.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, ClassVar, Self

from pydantic import BaseModel, ConfigDict, FailFast, Field, WithJsonSchema, model_validator

from gateway import mt4_enums
from gateway.core.messages import Json
from gateway.fields import (
    LARGEST_ARGUMENT,
    LONGEST_SYMBOL,
    MOST_BARS,
    SignalName,
    Symbol,
    Ticket,
    Timeframe,
    WorkTime,
    ascii_text,
    short,
    timeframe,
)
from gateway.mt4_enums import Argument, ArgumentKind

OURS = frozenset({"raw", "allow_nudge"})
"""Parameters that tell the gateway something and never reach the terminal. They are not part
of a command's digest: they change neither what runs nor what is recorded."""


class Parameters(BaseModel):
    """What all parameter models share: strict types, no unknown names."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, defer_build=True)

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

    names: Annotated[list[Symbol], FailFast(), Field(min_length=1, max_length=1000)]


class TickSymbols(Parameters):
    """Names of symbols whose ticks are meant."""

    example: ClassVar = {"symbols": ["EURUSD", "GBPUSD"]}

    symbols: Annotated[list[Symbol], FailFast(), Field(min_length=1, max_length=1000)] = Field(
        description="Names of symbols."
    )


class SignalNames(Parameters):
    """Names of trading signals."""

    example: ClassVar = {"names": ["Alpha Trend"]}

    names: Annotated[list[SignalName], FailFast(), Field(min_length=1, max_length=100)] = Field(
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
            return ascii_text(value)
        case ArgumentKind.TIMEFRAME:
            return timeframe(value)
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
