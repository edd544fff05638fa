"""MT4's enumerations, as names and numbers. Pure data.

Sources: MQL4 Reference, "Account Properties", "Symbol Properties" (MarketInfo and SymbolInfo),
"Chart Timeframes", "Technical Indicators" (the argument lists); the existing server reads a
property by its name (`EnumToString`) or by its number, and indicator arguments by position.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum


def _numbered(table: str) -> dict[str, int]:
    words = table.split()
    return dict(zip(words[::2], map(int, words[1::2]), strict=True))


ACCOUNT_INTEGERS: Mapping[str, int] = _numbered("""
    ACCOUNT_LOGIN 0 ACCOUNT_TRADE_MODE 32 ACCOUNT_TRADE_ALLOWED 33 ACCOUNT_TRADE_EXPERT 34
    ACCOUNT_LEVERAGE 35 ACCOUNT_MARGIN_SO_MODE 44 ACCOUNT_LIMIT_ORDERS 47
""")
"""ENUM_ACCOUNT_INFO_INTEGER."""

ACCOUNT_DOUBLES: Mapping[str, int] = _numbered("""
    ACCOUNT_BALANCE 37 ACCOUNT_CREDIT 38 ACCOUNT_PROFIT 39 ACCOUNT_EQUITY 40 ACCOUNT_MARGIN 41
    ACCOUNT_MARGIN_FREE 42 ACCOUNT_FREEMARGIN 42 ACCOUNT_MARGIN_LEVEL 43
    ACCOUNT_MARGIN_SO_CALL 45 ACCOUNT_MARGIN_SO_SO 46 ACCOUNT_MARGIN_INITIAL 48
    ACCOUNT_MARGIN_MAINTENANCE 49 ACCOUNT_ASSETS 50 ACCOUNT_LIABILITIES 51
    ACCOUNT_COMMISSION_BLOCKED 52
""")
"""ENUM_ACCOUNT_INFO_DOUBLE; ACCOUNT_FREEMARGIN is the older name of 42."""

SYMBOL_INTEGERS: Mapping[str, int] = _numbered("""
    SYMBOL_SELECT 0 SYMBOL_VOLUME 10 SYMBOL_VOLUMEHIGH 11 SYMBOL_VOLUMELOW 12 SYMBOL_TIME 15
    SYMBOL_DIGITS 17 SYMBOL_SPREAD 18 SYMBOL_TRADE_CALC_MODE 29 SYMBOL_TRADE_MODE 30
    SYMBOL_TRADE_STOPS_LEVEL 31 SYMBOL_TRADE_FREEZE_LEVEL 32 SYMBOL_TRADE_EXEMODE 33
    SYMBOL_SWAP_MODE 37 SYMBOL_SWAP_ROLLOVER3DAYS 40 SYMBOL_SPREAD_FLOAT 41
    SYMBOL_EXPIRATION_MODE 49 SYMBOL_FILLING_MODE 50 SYMBOL_START_TIME 51
    SYMBOL_EXPIRATION_TIME 52 SYMBOL_SESSION_DEALS 56 SYMBOL_SESSION_BUY_ORDERS 60
    SYMBOL_SESSION_SELL_ORDERS 62 SYMBOL_ORDER_MODE 71 SYMBOL_VISIBLE 76
""")
"""ENUM_SYMBOL_INFO_INTEGER; MT4 answers 0 for those that only MT5 fills."""

SYMBOL_DOUBLES: Mapping[str, int] = _numbered("""
    SYMBOL_BID 1 SYMBOL_BIDHIGH 2 SYMBOL_BIDLOW 3 SYMBOL_ASK 4 SYMBOL_ASKHIGH 5 SYMBOL_ASKLOW 6
    SYMBOL_LAST 7 SYMBOL_LASTHIGH 8 SYMBOL_LASTLOW 9 SYMBOL_POINT 16 SYMBOL_TRADE_TICK_VALUE 26
    SYMBOL_TRADE_TICK_SIZE 27 SYMBOL_TRADE_CONTRACT_SIZE 28 SYMBOL_VOLUME_MIN 34
    SYMBOL_VOLUME_MAX 35 SYMBOL_VOLUME_STEP 36 SYMBOL_SWAP_LONG 38 SYMBOL_SWAP_SHORT 39
    SYMBOL_MARGIN_INITIAL 42 SYMBOL_MARGIN_MAINTENANCE 43 SYMBOL_MARGIN_LONG 44
    SYMBOL_MARGIN_SHORT 45 SYMBOL_MARGIN_LIMIT 46 SYMBOL_MARGIN_STOP 47
    SYMBOL_MARGIN_STOPLIMIT 48 SYMBOL_TRADE_TICK_VALUE_PROFIT 53
    SYMBOL_TRADE_TICK_VALUE_LOSS 54 SYMBOL_VOLUME_LIMIT 55 SYMBOL_SESSION_VOLUME 57
    SYMBOL_SESSION_TURNOVER 58 SYMBOL_SESSION_INTEREST 59 SYMBOL_SESSION_BUY_ORDERS_VOLUME 61
    SYMBOL_SESSION_SELL_ORDERS_VOLUME 63 SYMBOL_SESSION_OPEN 64 SYMBOL_SESSION_CLOSE 65
    SYMBOL_SESSION_AW 66 SYMBOL_SESSION_PRICE_SETTLEMENT 67
    SYMBOL_SESSION_PRICE_LIMIT_MIN 68 SYMBOL_SESSION_PRICE_LIMIT_MAX 69
""")
"""ENUM_SYMBOL_INFO_DOUBLE."""

SYMBOL_STRINGS: Mapping[str, int] = _numbered("""
    SYMBOL_DESCRIPTION 20 SYMBOL_PATH 21 SYMBOL_CURRENCY_BASE 22 SYMBOL_CURRENCY_PROFIT 23
    SYMBOL_CURRENCY_MARGIN 24
""")
"""ENUM_SYMBOL_INFO_STRING."""

MARKET_INFO: Mapping[str, int] = _numbered("""
    MODE_LOW 1 MODE_HIGH 2 MODE_TIME 5 MODE_BID 9 MODE_ASK 10 MODE_POINT 11 MODE_DIGITS 12
    MODE_SPREAD 13 MODE_STOPLEVEL 14 MODE_LOTSIZE 15 MODE_TICKVALUE 16 MODE_TICKSIZE 17
    MODE_SWAPLONG 18 MODE_SWAPSHORT 19 MODE_STARTING 20 MODE_EXPIRATION 21 MODE_TRADEALLOWED 22
    MODE_MINLOT 23 MODE_LOTSTEP 24 MODE_MAXLOT 25 MODE_SWAPTYPE 26 MODE_PROFITCALCMODE 27
    MODE_MARGINCALCMODE 28 MODE_MARGININIT 29 MODE_MARGINMAINTENANCE 30 MODE_MARGINHEDGED 31
    MODE_MARGINREQUIRED 32 MODE_FREEZELEVEL 33 MODE_CLOSEBY_ALLOWED 34
""")
"""The request identifiers of `MarketInfo`."""

TIMEFRAMES: Mapping[str, int] = _numbered(
    "M1 1 M5 5 M15 15 M30 30 H1 60 H4 240 D1 1440 W1 10080 MN1 43200"
)
"""ENUM_TIMEFRAMES as far as MT4 has history for them; minutes."""

ORDER_TYPES: Mapping[int, str] = {
    0: "OP_BUY",
    1: "OP_SELL",
    2: "OP_BUYLIMIT",
    3: "OP_SELLLIMIT",
    4: "OP_BUYSTOP",
    5: "OP_SELLSTOP",
    6: "OP_BALANCE",
    7: "OP_CREDIT",
}
"""Trade operations. 6 and 7 stand in the history only; some brokers write 8, without a name."""


class ArgumentKind(StrEnum):
    """What one argument of an indicator may be."""

    SYMBOL = "a symbol"
    TIMEFRAME = "a timeframe"
    COUNT = "an integer from 1"
    OFFSET = "an integer"
    SHIFT = "an integer from 0"
    POSITIVE = "a number above 0"
    METHOD = "a moving average's method, 0 to 3"
    PRICE = "an applied price, 0 to 6"
    PRICE_FIELD = "a price field, 0 or 1"
    LINE = "a line"


@dataclass(frozen=True, slots=True)
class Argument:
    """One argument of an indicator. `least` and `most` are inclusive."""

    name: str
    kind: ArgumentKind
    least: int | None = None
    most: int | None = None

    @property
    def text(self) -> str:
        """Say what is expected, for a person."""
        return f"line {self.least} to {self.most}" if self.kind is ArgumentKind.LINE else self.kind


_LIMITS: Mapping[ArgumentKind, tuple[int | None, int | None]] = {
    ArgumentKind.COUNT: (1, 100_000),
    ArgumentKind.OFFSET: (-100_000, 100_000),
    ArgumentKind.SHIFT: (0, 1_000_000),
    ArgumentKind.METHOD: (0, 3),
    ArgumentKind.PRICE: (0, 6),
    ArgumentKind.PRICE_FIELD: (0, 1),
}
_KINDS: Mapping[str, ArgumentKind] = {
    "deviation": ArgumentKind.POSITIVE,
    "step": ArgumentKind.POSITIVE,
    "maximum": ArgumentKind.POSITIVE,
    "price_field": ArgumentKind.PRICE_FIELD,
    "shift": ArgumentKind.SHIFT,
}
_ENDINGS: Mapping[str, ArgumentKind] = {
    "_period": ArgumentKind.COUNT,
    "_shift": ArgumentKind.OFFSET,
    "_method": ArgumentKind.METHOD,
    "applied_price": ArgumentKind.PRICE,
}
_ALLIGATOR = "jaw_period jaw_shift teeth_period teeth_shift lips_period lips_shift ma_method"
_SIGNATURES = f"""
iAC
iAD
iADX          adx_period applied_price line:0-2
iAlligator    {_ALLIGATOR} applied_price line:1-3
iAO
iATR          atr_period
iBearsPower   bears_period applied_price
iBands        bands_period deviation bands_shift applied_price line:0-2
iBullsPower   bulls_period applied_price
iCCI          cci_period applied_price
iDeMarker     demarker_period
iEnvelopes    ma_period ma_method ma_shift applied_price deviation line:0-2
iForce        force_period ma_method applied_price
iFractals     line:1-2
iGator        {_ALLIGATOR} applied_price line:1-2
iIchimoku     tenkan_period kijun_period senkou_period line:1-5
iBWMFI
iMomentum     momentum_period applied_price
iMFI          mfi_period
iMA           ma_period ma_shift ma_method applied_price
iOsMA         fast_period slow_period signal_period applied_price
iMACD         fast_period slow_period signal_period applied_price line:0-1
iOBV          applied_price
iSAR          step maximum
iRSI          rsi_period applied_price
iRVI          rvi_period line:0-1
iStdDev       ma_period ma_shift ma_method applied_price
iStochastic   k_period d_period slowing_period ma_method price_field line:0-1
iWPR          wpr_period
"""


def _argument(word: str) -> Argument:
    name, _, lines = word.partition(":")
    if lines:
        least, _, most = lines.partition("-")
        return Argument(name, ArgumentKind.LINE, int(least), int(most))
    kind = _KINDS.get(name) or next(
        kind for ending, kind in _ENDINGS.items() if name.endswith(ending)
    )
    return Argument(name, kind, *_LIMITS.get(kind, (None, None)))


def _signature(words: list[str]) -> tuple[Argument, ...]:
    """Every built-in begins with symbol and timeframe and ends with the shift."""
    return (
        Argument("symbol", ArgumentKind.SYMBOL),
        Argument("timeframe", ArgumentKind.TIMEFRAME),
        *map(_argument, words),
        _argument("shift"),
    )


INDICATORS: Mapping[str, tuple[Argument, ...]] = {
    line.split()[0]: _signature(line.split()[1:]) for line in _SIGNATURES.strip().splitlines()
}
"""The 29 built-in indicators with their arguments, in the order of `argv`."""

REFUSED_INDICATORS: Mapping[str, str] = {
    "iCustom": "the terminal's protocol has no way to name a program and its inputs",
} | dict.fromkeys(
    (
        "iBandsOnArray",
        "iCCIOnArray",
        "iEnvelopesOnArray",
        "iMAOnArray",
        "iMomentumOnArray",
        "iRSIOnArray",
        "iStdDevOnArray",
    ),
    "an array cannot be passed to the terminal",
)
"""Names that MQL4 knows and the existing server answers with "not recognized", and why."""
