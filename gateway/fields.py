"""The types of single parameters: strict, bounded, with MT4's names beside its numbers."""

from __future__ import annotations

from enum import IntEnum
from typing import Annotated

from pydantic import AfterValidator, BeforeValidator, Field, WithJsonSchema

from gateway import mt4_enums
from gateway.core.evidence import COMMENT_LEFT

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
    # Not `upper` alone: it makes an S of the long s, and nobody has written SELL then.
    if isinstance(value, str) and value.isascii() and value.upper() in _ORDER_TYPE_NAMES:
        return _ORDER_TYPE_NAMES[value.upper()]
    if type(value) is int and 0 <= value <= 5:  # noqa: PLR2004 - MT4's six operations
        return value
    raise ValueError("must be 0 to 5 or one of BUY, SELL, BUYLIMIT, SELLLIMIT, BUYSTOP, SELLSTOP")


def ascii_text(value: object) -> object:
    """Refuse what MT4's 8-bit texts could not carry unchanged."""
    if isinstance(value, str) and not (value.isascii() and value.isprintable()):
        raise ValueError("must be printable ASCII")
    return value


def _token_free(value: object) -> object:
    if isinstance(value, str) and value.startswith("~"):
        raise ValueError("must not begin with '~', which marks the gateway's token")
    return value


def timeframe(value: object) -> object:
    """Accept minutes or a name, `M1` to `MN1`, with or without `PERIOD_`, in any case."""
    if isinstance(value, str) and value.isascii():
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


OrderKind = Annotated[
    int,
    BeforeValidator(_order_type),
    WithJsonSchema(
        {
            "anyOf": [
                {"type": "integer", "minimum": 0, "maximum": 5},
                {"type": "string", "enum": list(_ORDER_TYPE_NAMES)},
            ]
        }
    ),
]
LONGEST_SYMBOL = 32
LARGEST_ARGUMENT = 1e6
Symbol = Annotated[str, Field(min_length=1, max_length=LONGEST_SYMBOL), BeforeValidator(ascii_text)]
Ticket = Annotated[int, Field(gt=0, le=2**31 - 1)]
Lots = Annotated[float, Field(gt=0, le=1e6, allow_inf_nan=False)]
Price = Annotated[float, Field(gt=0, le=1e9, allow_inf_nan=False)]
Stop = Annotated[
    float, Field(ge=0, le=1e9, allow_inf_nan=False), AfterValidator(lambda value: value + 0.0)
]
"""A price, or 0 for none; -0.0 is 0.0."""
Points = Annotated[int, Field(gt=0, le=10_000_000)]
Slippage = Annotated[int, Field(ge=0, le=1_000_000)]
Timeframe = Annotated[
    int,
    BeforeValidator(timeframe),
    WithJsonSchema(
        {
            "anyOf": [
                {"type": "integer", "enum": list(mt4_enums.TIMEFRAMES.values())},
                {"type": "string", "enum": list(mt4_enums.TIMEFRAMES)},
            ]
        }
    ),
]
WorkTime = Annotated[int, Field(ge=SHORTEST_WORK_MS, le=LONGEST_WORK_MS)]
MagicNumber = Annotated[int, Field(ge=-(2**31), le=2**31 - 1)]
SignalName = Annotated[str, Field(min_length=1, max_length=128), BeforeValidator(_printable_text)]
Comment = Annotated[
    str,
    Field(max_length=COMMENT_LEFT),
    BeforeValidator(ascii_text),
    BeforeValidator(_token_free),
]


def short(value: object, limit: int = 60) -> str:
    """Write a value for a message, not at any length."""
    text = repr(value)
    return text if len(text) <= limit else text[:limit] + "..."
