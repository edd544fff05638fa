"""The properties that MQL4 programs ask for by name or number.

Numbers from the MQL4 Reference, "Account Properties", "Symbol Properties" and "MarketInfo".
"""

from collections.abc import Callable, Mapping

from gateway.sim.broker import Broker
from gateway.sim.orders import Quote
from gateway.sim.platform import Platform
from gateway.sim.symbols import SymbolSpec

AccountProperty = Callable[[Broker], float]
SymbolProperty = Callable[[Platform, SymbolSpec, Quote], float]

ACCOUNT_INTEGERS: Mapping[str, int] = {
    "ACCOUNT_LOGIN": 0,
    "ACCOUNT_TRADE_MODE": 32,
    "ACCOUNT_TRADE_ALLOWED": 33,
    "ACCOUNT_TRADE_EXPERT": 34,
    "ACCOUNT_LEVERAGE": 35,
    "ACCOUNT_MARGIN_SO_MODE": 44,
    "ACCOUNT_LIMIT_ORDERS": 47,
}
ACCOUNT_DOUBLES: Mapping[str, int] = {
    "ACCOUNT_BALANCE": 37,
    "ACCOUNT_CREDIT": 38,
    "ACCOUNT_PROFIT": 39,
    "ACCOUNT_EQUITY": 40,
    "ACCOUNT_MARGIN": 41,
    "ACCOUNT_MARGIN_FREE": 42,
    "ACCOUNT_FREEMARGIN": 42,
    "ACCOUNT_MARGIN_LEVEL": 43,
    "ACCOUNT_MARGIN_SO_CALL": 45,
    "ACCOUNT_MARGIN_SO_SO": 46,
    "ACCOUNT_MARGIN_INITIAL": 48,
    "ACCOUNT_MARGIN_MAINTENANCE": 49,
    "ACCOUNT_ASSETS": 50,
    "ACCOUNT_LIABILITIES": 51,
    "ACCOUNT_COMMISSION_BLOCKED": 52,
}
SYMBOL_INTEGERS: Mapping[str, int] = {
    "SYMBOL_SELECT": 0,
    "SYMBOL_TIME": 15,
    "SYMBOL_DIGITS": 17,
    "SYMBOL_SPREAD": 18,
    "SYMBOL_SPREAD_FLOAT": 41,
    "SYMBOL_TRADE_CALC_MODE": 29,
    "SYMBOL_TRADE_MODE": 30,
    "SYMBOL_TRADE_STOPS_LEVEL": 31,
    "SYMBOL_TRADE_FREEZE_LEVEL": 32,
    "SYMBOL_TRADE_EXEMODE": 33,
    "SYMBOL_SWAP_MODE": 37,
    "SYMBOL_SWAP_ROLLOVER3DAYS": 40,
}
SYMBOL_DOUBLES: Mapping[str, int] = {
    "SYMBOL_BID": 1,
    "SYMBOL_ASK": 4,
    "SYMBOL_LAST": 7,
    "SYMBOL_POINT": 16,
    "SYMBOL_TRADE_TICK_VALUE": 26,
    "SYMBOL_TRADE_TICK_SIZE": 27,
    "SYMBOL_TRADE_CONTRACT_SIZE": 28,
    "SYMBOL_VOLUME_MIN": 34,
    "SYMBOL_VOLUME_MAX": 35,
    "SYMBOL_VOLUME_STEP": 36,
    "SYMBOL_SWAP_LONG": 38,
    "SYMBOL_SWAP_SHORT": 39,
}
SYMBOL_STRINGS: Mapping[str, int] = {
    "SYMBOL_DESCRIPTION": 20,
    "SYMBOL_PATH": 21,
    "SYMBOL_CURRENCY_BASE": 22,
    "SYMBOL_CURRENCY_PROFIT": 23,
    "SYMBOL_CURRENCY_MARGIN": 24,
}

_ACCOUNT_INTEGER_VALUES: Mapping[int, Callable[[Platform], int]] = {
    0: lambda platform: platform.broker.terms.login,
    32: lambda platform: platform.broker.terms.trade_mode,
    33: lambda platform: int(platform.broker.is_trading_enabled),
    34: lambda platform: int(platform.is_trade_allowed),
    35: lambda platform: platform.broker.terms.leverage,
    47: lambda platform: platform.broker.terms.max_orders,
}
_ACCOUNT_DOUBLE_VALUES: Mapping[int, AccountProperty] = {
    37: lambda broker: broker.balance,
    39: lambda broker: broker.profit,
    40: lambda broker: broker.equity,
    41: lambda broker: broker.margin,
    42: lambda broker: broker.free_margin,
    43: lambda broker: broker.margin_level,
    46: lambda broker: broker.terms.stop_out_percent,
}
_SYMBOL_INTEGER_VALUES: Mapping[int, SymbolProperty] = {
    0: lambda platform, spec, _: spec.name in platform.market_watch,
    15: lambda _, __, quote: quote.time_s,
    17: lambda _, spec, __: spec.digits,
    18: lambda _, spec, quote: spec.to_points(quote.ask - quote.bid),
    30: lambda platform, _, __: 4 if platform.broker.is_open else 0,
    31: lambda _, spec, __: spec.stop_level,
    32: lambda _, spec, __: spec.freeze_level,
    40: lambda _, __, ___: 3,
    41: lambda _, __, ___: 1,
}
_SYMBOL_DOUBLE_VALUES: Mapping[int, SymbolProperty] = {
    1: lambda _, __, quote: quote.bid,
    4: lambda _, __, quote: quote.ask,
    16: lambda _, spec, __: spec.point,
    26: lambda platform, spec, _: tick_value(platform.broker, spec),
    27: lambda _, spec, __: spec.point,
    28: lambda _, spec, __: spec.contract_size,
    34: lambda _, spec, __: spec.lot_min,
    35: lambda _, spec, __: spec.lot_max,
    36: lambda _, spec, __: spec.lot_step,
    38: lambda _, spec, __: spec.swap_long,
    39: lambda _, spec, __: spec.swap_short,
}
MARKET_INFO: Mapping[str, SymbolProperty] = {
    "MODE_LOW": lambda _, __, quote: quote.bid,
    "MODE_HIGH": lambda _, __, quote: quote.bid,
    "MODE_TIME": lambda _, __, quote: quote.time_s,
    "MODE_BID": lambda _, __, quote: quote.bid,
    "MODE_ASK": lambda _, __, quote: quote.ask,
    "MODE_POINT": lambda _, spec, __: spec.point,
    "MODE_DIGITS": lambda _, spec, __: spec.digits,
    "MODE_SPREAD": lambda _, spec, quote: spec.to_points(quote.ask - quote.bid),
    "MODE_STOPLEVEL": lambda _, spec, __: spec.stop_level,
    "MODE_LOTSIZE": lambda _, spec, __: spec.contract_size,
    "MODE_TICKVALUE": lambda platform, spec, _: tick_value(platform.broker, spec),
    "MODE_TICKSIZE": lambda _, spec, __: spec.point,
    "MODE_SWAPLONG": lambda _, spec, __: spec.swap_long,
    "MODE_SWAPSHORT": lambda _, spec, __: spec.swap_short,
    "MODE_STARTING": lambda _, __, ___: 0,
    "MODE_EXPIRATION": lambda _, __, ___: 0,
    "MODE_TRADEALLOWED": lambda platform, _, __: int(platform.broker.is_open),
    "MODE_MINLOT": lambda _, spec, __: spec.lot_min,
    "MODE_LOTSTEP": lambda _, spec, __: spec.lot_step,
    "MODE_MAXLOT": lambda _, spec, __: spec.lot_max,
    "MODE_SWAPTYPE": lambda _, __, ___: 1,
    "MODE_PROFITCALCMODE": lambda _, __, ___: 0,
    "MODE_MARGINCALCMODE": lambda _, __, ___: 0,
    "MODE_MARGININIT": lambda _, __, ___: 0,
    "MODE_MARGINMAINTENANCE": lambda _, __, ___: 0,
    "MODE_MARGINHEDGED": lambda _, __, ___: 0,
    "MODE_MARGINREQUIRED": lambda platform, spec, quote: round(
        tick_value(platform.broker, spec)
        * (quote.ask / spec.point)
        / platform.broker.terms.leverage,
        2,
    ),
    "MODE_FREEZELEVEL": lambda _, spec, __: spec.freeze_level,
    "MODE_CLOSEBY_ALLOWED": lambda _, __, ___: 0,
}


def account_integer(platform: Platform, number: int) -> int:
    """Return `AccountInfoInteger`; a number that does not exist is 0, as there."""
    value = _ACCOUNT_INTEGER_VALUES.get(number)
    return value(platform) if value else 0


def account_double(platform: Platform, number: int) -> float:
    """Return `AccountInfoDouble`; a number that does not exist is 0, as there."""
    value = _ACCOUNT_DOUBLE_VALUES.get(number)
    return float(value(platform.broker)) if value else 0.0


def symbol_integer(platform: Platform, spec: SymbolSpec, number: int) -> int | None:
    """Return `SymbolInfoInteger`, None if there is no such property."""
    if number not in SYMBOL_INTEGERS.values():
        return None
    value = _SYMBOL_INTEGER_VALUES.get(number)
    return int(value(platform, spec, platform.quote(spec.name))) if value else 0


def symbol_double(platform: Platform, spec: SymbolSpec, number: int) -> float | None:
    """Return `SymbolInfoDouble`, None if there is no such property."""
    if number not in SYMBOL_DOUBLES.values():
        return None
    value = _SYMBOL_DOUBLE_VALUES.get(number)
    return float(value(platform, spec, platform.quote(spec.name))) if value else 0.0


def symbol_string(_platform: Platform, spec: SymbolSpec, number: int) -> str | None:
    """Return `SymbolInfoString`, None if there is no such property."""
    texts = {
        20: "",
        21: f"Simulated\\{spec.name}",
        22: spec.base_currency,
        23: spec.profit_currency,
        24: spec.base_currency,
    }
    return texts.get(number)


def tick_value(broker: Broker, spec: SymbolSpec) -> float:
    """Return what one point of one lot is worth, account currency."""
    return spec.contract_size * spec.point * broker.rate(spec)
