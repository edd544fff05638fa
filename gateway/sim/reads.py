"""The reading actions, which both dialects share."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from gateway.sim import properties as known
from gateway.sim.codes import Code
from gateway.sim.indicators import INDICATORS, run_indicator
from gateway.sim.params import Params
from gateway.sim.platform import Platform
from gateway.sim.signals import SIGNALS
from gateway.sim.symbols import SymbolSpec
from gateway.sim.wire import Body, Json, Refused, failure, failure_code, order_record, success

_RETRY_MS = 100


@dataclass(frozen=True, slots=True)
class Answer:
    """Hold a reply and for how long the program is busy before it can give it."""

    body: Body
    busy_ms: int = 0


Read = Callable[[Platform, Params], Answer]


def get_account_info(platform: Platform, _params: Params) -> Answer:
    """Answer GET_ACCOUNT_INFO."""
    return Answer(success(account_record(platform)))


def account_record(platform: Platform) -> Body:
    """Return the account's identity, keys in the order of the wire."""
    terms = platform.broker.terms
    return {
        "login": terms.login,
        "trade_mode": terms.trade_mode,
        "name": terms.name,
        "server": terms.server,
        "currency": terms.currency,
        "company": terms.company,
    }


def get_account_integer(platform: Platform, params: Params) -> Answer:
    """Answer GET_ACCOUNT_INFO_INTEGER."""
    number = _property_number(params, known.ACCOUNT_INTEGERS, "account integer")
    return Answer(success(known.account_integer(platform, number)))


def get_account_double(platform: Platform, params: Params) -> Answer:
    """Answer GET_ACCOUNT_INFO_DOUBLE."""
    number = _property_number(params, known.ACCOUNT_DOUBLES, "account double")
    return Answer(success(known.account_double(platform, number)))


def get_symbols(platform: Platform, _params: Params) -> Answer:
    """Answer GET_SYMBOLS: every symbol of the broker, in the Market Watch or not."""
    return Answer(success(list(platform.broker.specs)))


def get_symbol_info(platform: Platform, params: Params) -> Answer:
    """Answer GET_SYMBOL_INFO; one unknown name fails the whole request."""
    records: Body = {}
    for name in params.texts("names"):
        spec = platform.select(name)
        records[name] = {
            "name": name,
            "point": spec.point,
            "digits": spec.digits,
            "volume_min": spec.lot_min,
            "volume_step": spec.lot_step,
            "volume_max": spec.lot_max,
            "trade_contract_size": spec.contract_size,
            "trade_tick_value": known.tick_value(platform.broker, spec),
            "trade_tick_size": spec.point,
            "trade_stops_level": spec.stop_level,
            "trade_freeze_level": spec.freeze_level,
        }
    return Answer(success(records))


def get_market_info(platform: Platform, params: Params) -> Answer:
    """Answer GET_SYMBOL_MARKET_INFO."""
    symbol, name = params.text("symbol"), params.text("property")
    spec = platform.select(symbol)
    value = known.MARKET_INFO.get(name)
    if value is None:
        raise Refused(failure(f"Unrecognized market info property: {name}"))
    return Answer(success(float(value(platform, spec, platform.quote(symbol)))))


def get_symbol_integer(platform: Platform, params: Params) -> Answer:
    """Answer GET_SYMBOL_INFO_INTEGER."""
    return _symbol_property(
        platform, params, known.SYMBOL_INTEGERS, "symbol integer", known.symbol_integer
    )


def get_symbol_double(platform: Platform, params: Params) -> Answer:
    """Answer GET_SYMBOL_INFO_DOUBLE."""
    return _symbol_property(
        platform, params, known.SYMBOL_DOUBLES, "symbol double", known.symbol_double
    )


def get_symbol_string(platform: Platform, params: Params) -> Answer:
    """Answer GET_SYMBOL_INFO_STRING."""
    return _symbol_property(
        platform, params, known.SYMBOL_STRINGS, "symbol string", known.symbol_string
    )


def get_symbol_tick(platform: Platform, params: Params) -> Answer:
    """Answer GET_SYMBOL_TICK; without a quote there is nothing but a code."""
    symbol = params.text("symbol")
    platform.select(symbol)
    quote = platform.broker.quotes.get(symbol)
    if quote is None:
        raise Refused(failure_code(platform.take_last_error()))
    return Answer(
        success(
            {
                "time": quote.time_s,
                "bid": quote.bid,
                "ask": quote.ask,
                "last": 0.0,
                "volume": 0,
            }
        )
    )


def get_ohlcv(platform: Platform, params: Params) -> Answer:
    """Answer GET_OHLCV; history that does not exist keeps the program busy for the timeout."""
    symbol = params.text("symbol")
    timeframe_min, limit = params.integer("timeframe"), params.integer("limit")
    timeout_ms = params.integer("timeout")
    platform.select(symbol)
    tries = timeout_ms // _RETRY_MS
    bars = platform.bars.bars(symbol, timeframe_min, limit) if tries > 0 else None
    if bars is None:
        return Answer(failure("Timed out waiting for OHLCV data."), max(tries, 0) * _RETRY_MS)
    return Answer(
        success(
            [
                {
                    "time": bar.time_s,
                    "open": bar.open,
                    "high": bar.high,
                    "low": bar.low,
                    "close": bar.close,
                    "tick_volume": bar.tick_volume,
                }
                for bar in bars
            ]
        )
    )


def get_signals(_platform: Platform, _params: Params) -> Answer:
    """Answer GET_SIGNALS."""
    return Answer(success(list(SIGNALS)))


def get_signal_info(_platform: Platform, params: Params) -> Answer:
    """Answer GET_SIGNAL_INFO; one unknown name fails the whole request."""
    names = params.texts("names")
    missing = [name for name in names if name not in SIGNALS]
    if missing:
        listed = ",".join(f'"{name}"' for name in missing)
        raise Refused(failure(f"Signals not found: [{listed}]"))
    return Answer(success({name: SIGNALS[name] for name in SIGNALS if name in names}))


def get_order(platform: Platform, params: Params) -> Answer:
    """Answer GET_ORDER: open, pending or closed."""
    return Answer(success(found_order(platform, params.integer("ticket"))))


def found_order(platform: Platform, ticket: int) -> Body:
    """Return the record of an order; one that is not found leaves its code behind."""
    order = platform.broker.find(ticket)
    if order is None:
        platform.last_error = Code.INVALID_TICKET
        message = f"Order # {ticket} is not found in the Trades or Account History tabs."
        raise Refused(failure(message))
    return order_record(order)


def get_orders(platform: Platform, _params: Params) -> Answer:
    """Answer GET_ORDERS, the newest first."""
    orders = [platform.broker.view(order) for order in platform.broker.orders.values()]
    return Answer(success([order_record(order) for order in reversed(orders)]))


def get_historical_orders(platform: Platform, _params: Params) -> Answer:
    """Answer GET_HISTORICAL_ORDERS, balance entries included, the newest first."""
    return Answer(success([order_record(order) for order in reversed(platform.broker.history)]))


def get_indicator(platform: Platform, params: Params) -> Answer:
    """Answer RUN_INDICATOR."""
    name, arguments = params.text("indicator"), params.items("argv")
    if params.integer("timeout") < _RETRY_MS:
        raise Refused(failure("Timed out waiting for indicator data to load."))
    if name not in INDICATORS:
        raise Refused(failure(f"Indicator not recognized: {name}."))
    return Answer(success(run_indicator(platform.bars, name, arguments)))


READS: Mapping[str, Read] = {
    "GET_ACCOUNT_INFO": get_account_info,
    "GET_ACCOUNT_INFO_INTEGER": get_account_integer,
    "GET_ACCOUNT_INFO_DOUBLE": get_account_double,
    "GET_SYMBOLS": get_symbols,
    "GET_SYMBOL_INFO": get_symbol_info,
    "GET_SYMBOL_MARKET_INFO": get_market_info,
    "GET_SYMBOL_INFO_INTEGER": get_symbol_integer,
    "GET_SYMBOL_INFO_DOUBLE": get_symbol_double,
    "GET_SYMBOL_INFO_STRING": get_symbol_string,
    "GET_SYMBOL_TICK": get_symbol_tick,
    "GET_OHLCV": get_ohlcv,
    "GET_SIGNALS": get_signals,
    "GET_SIGNAL_INFO": get_signal_info,
    "RUN_INDICATOR": get_indicator,
    "GET_ORDER": get_order,
    "GET_ORDERS": get_orders,
    "GET_HISTORICAL_ORDERS": get_historical_orders,
}
"""The 17 reading actions of the existing server."""


def _property_number(params: Params, names: Mapping[str, int], what: str) -> int:
    if params.has("property_name"):
        name = params.text("property_name")
        if name not in names:
            raise Refused(failure(f"Unrecognized {what} property: {name}"))
        return names[name]
    if params.has("property_id"):
        return params.integer("property_id")
    raise Refused(failure('Must include either "property_name" or "property_id" param.'))


def _symbol_property(
    platform: Platform,
    params: Params,
    names: Mapping[str, int],
    what: str,
    value: Callable[[Platform, SymbolSpec, int], Json],
) -> Answer:
    symbol = params.text("symbol")
    number = _property_number(params, names, what)
    # No SymbolSelect here: a symbol outside the Market Watch fails, as it does there.
    if symbol not in platform.market_watch:
        raise Refused(failure_code(Code.UNKNOWN_SYMBOL))
    found = value(platform, platform.broker.specs[symbol], number)
    if found is None:
        raise Refused(failure_code(Code.INVALID_PARAMETER))
    return Answer(success(found))
