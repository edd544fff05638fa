"""The broker's trading rules: each function answers with the code that MetaTrader would give."""

from gateway.sim.codes import Code
from gateway.sim.orders import Order, OrderType, Quote
from gateway.sim.symbols import SymbolSpec

_LOTS_NOISE = 1e-6


def volume_error(spec: SymbolSpec, lots: float) -> Code:
    """Check an order's size: 4051 for nothing to trade, 131 outside limits or off step."""
    if lots <= 0:
        return Code.INVALID_PARAMETER
    steps = lots / spec.lot_step
    on_step = abs(steps - round(steps)) < _LOTS_NOISE
    within = spec.lot_min - _LOTS_NOISE <= lots <= spec.lot_max + _LOTS_NOISE
    return Code.NO_ERROR if on_step and within else Code.INVALID_VOLUME


def market_price_error(spec: SymbolSpec, market: float, price: float, slippage: int) -> Code:
    """Check the price of a deal: 4107 none, 129 off tick, 138 further off than the slippage."""
    if price <= 0:
        return Code.INVALID_PRICE_PARAMETER
    if not spec.is_on_tick(price):
        return Code.INVALID_PRICE
    moved_points = abs(spec.to_points(price) - spec.to_points(market))
    return Code.REQUOTE if moved_points > slippage else Code.NO_ERROR


def pending_price_error(
    spec: SymbolSpec, quote: Quote, order_type: OrderType, price: float
) -> Code:
    """Check a pending price: 4107 none, 129 off tick, 130 wrong side or within the stop level."""
    if price <= 0:
        return Code.INVALID_PRICE_PARAMETER
    if not spec.is_on_tick(price):
        return Code.INVALID_PRICE
    is_above_market = order_type in (OrderType.SELL_LIMIT, OrderType.BUY_STOP)
    beyond = spec.to_points(price) - spec.to_points(quote.opening(order_type))
    distance = beyond if is_above_market else -beyond
    return Code.NO_ERROR if distance >= max(spec.stop_level, 1) else Code.INVALID_STOPS


def stops_error(
    spec: SymbolSpec,
    order_type: OrderType,
    reference: float,
    stop_loss: float,
    take_profit: float,
) -> Code:
    """Check stops against the price they protect: 4107 negative, 130 wrong side or too close.

    Args:
        spec: The symbol.
        order_type: Its side decides which side of the reference is losing.
        reference: The closing price of a position, the open price of a pending order.
        stop_loss: Price, 0 for none.
        take_profit: Price, 0 for none.
    """
    if stop_loss < 0 or take_profit < 0:
        return Code.INVALID_PRICE_PARAMETER
    least = max(spec.stop_level, 1)
    for price, side in ((stop_loss, -1), (take_profit, 1)):
        if not price:
            continue
        distance = (spec.to_points(price) - spec.to_points(reference)) * side * order_type.sign
        if distance < least or not spec.is_on_tick(price):
            return Code.INVALID_STOPS
    return Code.NO_ERROR


def freeze_error(spec: SymbolSpec, quote: Quote, order: Order) -> Code:
    """Check that no price of the order is so near the market that it is frozen (145)."""
    if spec.freeze_level <= 0:
        return Code.NO_ERROR
    if order.order_type.is_pending:
        market, prices = quote.opening(order.order_type), [order.open_price]
    else:
        market = quote.closing(order.order_type)
        prices = [price for price in (order.stop_loss, order.take_profit) if price]
    near = (abs(spec.to_points(price) - spec.to_points(market)) for price in prices)
    frozen = any(distance <= spec.freeze_level for distance in near)
    return Code.MODIFY_DENIED if frozen else Code.NO_ERROR
