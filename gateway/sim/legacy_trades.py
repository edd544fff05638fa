"""The existing server's four trades: rounded, nudged, and sent in two steps.

An order goes out without stops and gets them by a second call. Between the two the position is
unprotected, and if the second fails the reply is an error although the order is open.
"""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from gateway.sim.bridge_trades import TWO_STOP_LOSSES, TWO_TAKE_PROFITS
from gateway.sim.codes import Code
from gateway.sim.desk import Desk
from gateway.sim.orders import Order, OrderType, Quote
from gateway.sim.params import LenientParams
from gateway.sim.platform import Platform
from gateway.sim.reads import found_order
from gateway.sim.symbols import SymbolSpec
from gateway.sim.wire import Body, Refused, failure, failure_code, success

_LEAST_DISTANCE_POINTS = 3


class ProgramDied(Exception):  # noqa: N818  # an event of the simulated program
    """Say that a division by zero has ended the MQL4 program: its port stays silent."""


def order_send(platform: Platform, desk: Desk, params: LenientParams) -> Body:
    """Answer DO_ORDER_SEND: open without stops, then try to set them."""
    _require(params, "symbol", "order_type", "lots", "comment")
    _refuse_double_stops(params)
    symbol, order_type = params.text("symbol"), params.integer("order_type")
    spec = platform.select(symbol)
    if order_type not in range(OrderType.BUY, OrderType.BALANCE):
        raise Refused(failure(f"Invalid trade operation: {order_type}"))
    kind = OrderType(order_type)
    if kind.is_pending and not params.has("price"):
        raise Refused(failure('Cannot place a pending order without the "price" parameter.'))
    quote = platform.quote(symbol)
    price = params.number("price", on_tick(spec, quote.opening(kind)))
    slippage = params.integer("slippage", _slippage(spec, quote))
    ticket, code = desk.call(
        platform.broker.order_send,
        symbol,
        kind,
        on_lot_step(spec, params.number("lots")),
        on_tick(spec, price),
        slippage,
        comment=params.text("comment"),
    )
    if ticket < 0:
        raise Refused(failure_code(code, "Failed to send order."))
    order = platform.broker.find(ticket)
    if order is None:
        message = f"Order # {ticket} was created, but is not found in the Trades or Account History"
        raise Refused(failure(f"{message} tabs."))
    stops_code = _modify_nudged(platform, desk, order, params, price=0.0)
    if stops_code is not None:
        raise Refused(failure_code(stops_code, "Order was created, but failed to set sl/tp."))
    return success(found_order(platform, ticket))


def order_modify(platform: Platform, desk: Desk, params: LenientParams) -> Body:
    """Answer DO_ORDER_MODIFY; with nothing to change it succeeds, with nothing new it is code 1."""
    _require(params, "ticket")
    _refuse_double_stops(params)
    order = _selected(platform, params)
    code = _modify_nudged(platform, desk, order, params, params.number("price", 0.0))
    if code is not None:
        raise Refused(failure_code(code, f"Failed to modify order # {order.ticket}."))
    return success(found_order(platform, order.ticket))


def order_close(platform: Platform, desk: Desk, params: LenientParams) -> Body:
    """Answer DO_ORDER_CLOSE; after a partial close the new ticket is not told."""
    _require(params, "ticket")
    order = _selected(platform, params)
    lots = params.number("lots", order.lots)
    return _close(platform, desk, order, lots, params)


def order_delete(platform: Platform, desk: Desk, params: LenientParams) -> Body:
    """Answer DO_ORDER_DELETE; any string for `close_if_opened` means yes."""
    _require(params, "ticket")
    order = _selected(platform, params)
    is_deleted, code = desk.call(platform.broker.order_delete, order.ticket)
    if is_deleted:
        return success(f"Deleted pending order # {order.ticket}.")
    is_position = not order.order_type.is_pending
    if code == Code.INVALID_TICKET and is_position and params.flag("close_if_opened"):
        return _close(platform, desk, order, order.lots, LenientParams({}))
    raise Refused(failure_code(code, f"Failed to delete order # {order.ticket}."))


LEGACY_TRADES: Mapping[str, Callable[[Platform, Desk, LenientParams], Body]] = {
    "DO_ORDER_SEND": order_send,
    "DO_ORDER_MODIFY": order_modify,
    "DO_ORDER_CLOSE": order_close,
    "DO_ORDER_DELETE": order_delete,
}
"""The 4 trading actions of the existing server."""


def on_tick(spec: SymbolSpec, price: float) -> float:
    """Round a price to the tick, leaving the noise of the multiplication in.

    Raises:
        ProgramDied: The tick size is 0.
    """
    return _round_half_away(_divided(price, spec.point)) * spec.point


def on_lot_step(spec: SymbolSpec, lots: float) -> float:
    """Round lots to the nearest step and raise them to the minimum, whatever was asked for.

    Raises:
        ProgramDied: The lot step is 0.
    """
    return max(_round_half_away(_divided(lots, spec.lot_step)) * spec.lot_step, spec.lot_min)


def _close(
    platform: Platform, desk: Desk, order: Order, lots: float, params: LenientParams
) -> Body:
    spec = _spec_of(platform, order)
    quote = platform.quote(order.symbol)
    price = on_tick(spec, params.number("price", quote.closing(order.order_type)))
    slippage = params.integer("slippage", _slippage(spec, quote))
    is_closed, code = desk.call(
        platform.broker.order_close, order.ticket, on_lot_step(spec, lots), price, slippage
    )
    if not is_closed:
        raise Refused(failure_code(code, f"Failed to close order # {order.ticket}."))
    return success(f"Closed order # {order.ticket}")


def _modify_nudged(
    platform: Platform, desk: Desk, order: Order, params: LenientParams, price: float
) -> int | None:
    """Return the code of a modification that failed, None if it is done or there is none."""
    asked = _AskedStops(
        params.number("sl", 0.0),
        params.number("tp", 0.0),
        params.integer("sl_points", 0),
        params.integer("tp_points", 0),
    )
    moves_price = order.order_type.is_pending and price != 0.0
    if not moves_price and not asked.any:
        return None
    spec = _spec_of(platform, order)
    quote = platform.quote(order.symbol)
    nudge = _Nudge(spec, quote, order.order_type)
    new_price = on_tick(spec, nudge.pending_price(price)) if moves_price else order.open_price
    stop_loss, take_profit = nudge.stops(asked, order, new_price)
    # The expiry is not passed on, which clears it.
    is_modified, code = desk.call(
        platform.broker.order_modify, order.ticket, new_price, stop_loss, take_profit
    )
    return None if is_modified else code


@dataclass(frozen=True, slots=True)
class _AskedStops:
    """What was asked for; 0 is "not given", so that a stop can never be taken away."""

    stop_loss: float
    take_profit: float
    stop_loss_points: int
    take_profit_points: int

    @property
    def any(self) -> bool:
        return any(
            (self.stop_loss, self.take_profit, self.stop_loss_points, self.take_profit_points)
        )


@dataclass(frozen=True, slots=True)
class _Nudge:
    """Move what is too close, or on the wrong side, to the least distance from the market."""

    spec: SymbolSpec
    quote: Quote
    kind: OrderType

    @property
    def least_points(self) -> int:
        return max(self.spec.stop_level, self.spec.freeze_level + 1, _LEAST_DISTANCE_POINTS)

    def pending_price(self, price: float) -> float:
        away = self.least_points * self.spec.point
        market = self.quote.opening(self.kind)
        if self.kind in (OrderType.SELL_LIMIT, OrderType.BUY_STOP):
            return max(market + away, price)
        return min(market - away, price)

    def stops(self, asked: _AskedStops, order: Order, price: float) -> tuple[float, float]:
        """Return stop-loss and take-profit; the other side's market price is the reference."""
        reference = self.quote.closing(self.kind) if self.kind.is_market else price
        loss_side, profit_side = -self.kind.sign, self.kind.sign
        stop_loss = self._stop(
            asked.stop_loss, asked.stop_loss_points, reference, loss_side, order.stop_loss
        )
        take_profit = self._stop(
            asked.take_profit, asked.take_profit_points, reference, profit_side, order.take_profit
        )
        return stop_loss, take_profit

    def _stop(
        self, asked: float, asked_points: int, reference: float, side: int, current: float
    ) -> float:
        least = self.least_points * self.spec.point
        if asked_points:
            points = max(asked_points, self.least_points)
            return on_tick(self.spec, reference + side * points * self.spec.point)
        if asked:
            too_close = (asked - reference) * side < least
            return on_tick(self.spec, reference + side * least if too_close else asked)
        return current


def _selected(platform: Platform, params: LenientParams) -> Order:
    # Selecting by ticket ignores the pool, so a closed order is found too, and the trade call
    # on it fails with 4108 instead of "not found".
    ticket = params.integer("ticket")
    order = platform.broker.find(ticket)
    if order is None:
        raise Refused(failure(f"Order # {ticket} not found."))
    return order


def _spec_of(platform: Platform, order: Order) -> SymbolSpec:
    spec = platform.broker.specs.get(order.symbol)
    if spec is None:  # a balance entry has no symbol, so every MarketInfo is 0
        raise ProgramDied
    return spec


def _slippage(spec: SymbolSpec, quote: Quote) -> int:
    return int(_divided(2.0 * abs(quote.ask - quote.bid), spec.point))


def _divided(dividend: float, divisor: float) -> float:
    if divisor == 0:
        raise ProgramDied
    return dividend / divisor


def _round_half_away(value: float) -> float:
    if not math.isfinite(value):
        return value
    return math.copysign(math.floor(abs(value) + 0.5), value)


def _require(params: LenientParams, *keys: str) -> None:
    for key in keys:
        if not params.has(key):
            raise Refused(failure(f'Missing "{key}" param.'))


def _refuse_double_stops(params: LenientParams) -> None:
    if params.has("sl") and params.has("sl_points"):
        raise Refused(failure(TWO_STOP_LOSSES))
    if params.has("tp") and params.has("tp_points"):
        raise Refused(failure(TWO_TAKE_PROFITS))
