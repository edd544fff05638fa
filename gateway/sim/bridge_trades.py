"""The bridge's trades: parameters checked before anything is written down, then one call each.

Nothing is rounded, nudged or guessed: what does not fit is refused by the check or the broker.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from gateway.sim.codes import Code, Verdict, verdict
from gateway.sim.desk import Desk
from gateway.sim.frames import State, is_token
from gateway.sim.orders import Order, OrderType
from gateway.sim.params import Params
from gateway.sim.platform import Platform
from gateway.sim.symbols import SymbolSpec
from gateway.sim.wire import Body, Refused, failure, failure_code, order_record, success

NEGATIVE_SLIPPAGE = 'Param "slippage" is negative.'
NEGATIVE_EXPIRATION = 'Param "expiration" is negative.'
NOT_PENDING = 'Only a pending order can have an "expiration" parameter.'
TWO_STOP_LOSSES = (
    "Stop-loss cannot be both relative (sl_points) and absolute (sl).  Specify one or the other."
)
TWO_TAKE_PROFITS = (
    "Take-profit cannot be both relative (tp_points) and absolute (tp).  Specify one or the other."
)
_STATES = {
    Verdict.NOT_NOW: State.NOT_NOW,
    Verdict.REJECTED: State.REJECTED,
    Verdict.IN_DOUBT: State.IN_DOUBT,
}


@dataclass(frozen=True, slots=True)
class TradeResult:
    """Hold what is known after a trade call, and the reply without the bridge's keys.

    Attributes:
        state: What is known.
        body: The reply.
        tickets: The orders whose fate is in doubt.
    """

    state: State
    body: Body
    tickets: tuple[int, ...] = ()


Trade = Callable[[Desk], TradeResult]
"""A trade whose parameters are in order; calling it makes the one trade call."""


def plan_trade(platform: Platform, action: str, params: Params, *, is_plain: bool = False) -> Trade:
    """Check a trade's parameters and return the trade, ready to be made.

    Args:
        platform: What can be asked.
        action: The trade.
        params: The request's.
        is_plain: It comes from a client of the existing server: its comments have no token, and
            its negative slippage is the default.

    Raises:
        Refused: A parameter is missing, of a wrong type, or does not fit; nothing ran.
    """
    return _PLANS[action](platform, params, is_plain)


def result_of_code(code: int, message: str) -> TradeResult:
    """Return what a failed trade call proves, as a reply."""
    return TradeResult(_STATES[verdict(code)], failure_code(code, message))


def _plan_send(platform: Platform, params: Params, is_plain: bool) -> Trade:
    symbol, order_type = params.text("symbol"), params.integer("order_type")
    lots, comment = params.number("lots"), params.text("comment")
    magic_number = params.integer("magic_number", 0)
    expiration_s = params.integer("expiration", 0)
    _refuse_double_stops(params)
    spec = platform.select(symbol)
    if order_type not in range(OrderType.BUY, OrderType.BALANCE):
        raise Refused(failure(f"Invalid trade operation: {order_type}"))
    kind = OrderType(order_type)
    if kind.is_pending and not params.has("price"):
        raise Refused(failure('Cannot place a pending order without the "price" parameter.'))
    if expiration_s and not kind.is_pending:
        raise Refused(failure(NOT_PENDING))
    if not is_plain and not is_token(comment):
        raise Refused(failure('Param "comment" does not begin with a token.'))
    asked_price = params.number("price", 0.0)
    asked_slippage = _asked_slippage(params, is_plain)
    slippage = default_slippage(platform, spec) if asked_slippage is None else asked_slippage
    stops = Stops.read(params)

    def send(desk: Desk) -> TradeResult:
        quote = platform.quote(symbol)
        price = asked_price or quote.opening(kind)
        reference = price if kind.is_pending else quote.closing(kind)
        stop_loss, take_profit = stops.prices(spec, kind, reference, 0.0, 0.0)
        ticket, code = desk.call(
            platform.broker.order_send,
            symbol,
            kind,
            lots,
            price,
            slippage,
            stop_loss=stop_loss,
            take_profit=take_profit,
            comment=comment,
            magic_number=magic_number,
            expiration_s=expiration_s,
        )
        order = platform.broker.find(ticket) if ticket > 0 else None
        if order is None:
            return result_of_code(code, "Failed to send order.")
        return TradeResult(State.DONE, success(order_record(order)))

    return send


def _plan_modify(platform: Platform, params: Params, _is_plain: bool) -> Trade:
    order = _known_order(platform, params)
    _refuse_double_stops(params)
    asked_price = params.number("price", 0.0)
    stops = Stops.read(params)
    expiration_s = _changed_expiration_s(params, order)

    def modify(desk: Desk) -> TradeResult:
        if order.symbol not in platform.broker.specs:  # a balance entry is an order, too
            message = f"Failed to modify order # {order.ticket}."
            return result_of_code(Code.INVALID_TICKET, message)
        kind, spec = order.order_type, platform.broker.specs[order.symbol]
        price = asked_price if asked_price and kind.is_pending else order.open_price
        reference = price if kind.is_pending else platform.quote(order.symbol).closing(kind)
        stop_loss, take_profit = stops.prices(
            spec, kind, reference, order.stop_loss, order.take_profit
        )
        is_modified, code = desk.call(
            platform.broker.order_modify,
            order.ticket,
            price,
            stop_loss,
            take_profit,
            expiration_s,
        )
        # Code 1: nothing to change, so what was asked for holds already.
        if not is_modified and code != Code.NO_RESULT:
            return result_of_code(code, f"Failed to modify order # {order.ticket}.")
        return TradeResult(State.DONE, success(_record(platform, order)))

    return modify


def _plan_close(platform: Platform, params: Params, is_plain: bool) -> Trade:
    order = _known_order(platform, params)
    lots = params.number("lots", order.lots)
    asked_price = params.number("price", 0.0)
    slippage = _asked_slippage(params, is_plain)
    return lambda desk: close_order(
        platform, desk, order, lots, price=asked_price, slippage=slippage
    )


def close_order(
    platform: Platform,
    desk: Desk,
    order: Order,
    lots: float,
    *,
    price: float = 0.0,
    slippage: int | None = None,
) -> TradeResult:
    """Close a position, at the market unless a price is given."""
    spec = platform.broker.specs.get(order.symbol)
    if spec is not None:
        price = price or platform.quote(order.symbol).closing(order.order_type)
        slippage = default_slippage(platform, spec) if slippage is None else slippage
    is_closed, code = desk.call(
        platform.broker.order_close, order.ticket, lots, price, slippage or 0
    )
    if not is_closed:
        return result_of_code(code, f"Failed to close order # {order.ticket}.")
    return TradeResult(State.DONE, success(f"Closed order # {order.ticket}"))


def _plan_delete(platform: Platform, params: Params, _is_plain: bool) -> Trade:
    order = _known_order(platform, params)
    close_if_opened = params.flag("close_if_opened")

    def delete(desk: Desk) -> TradeResult:
        if close_if_opened and order.order_type.is_market and not order.close_time_s:
            return close_order(platform, desk, order, order.lots)
        is_deleted, code = desk.call(platform.broker.order_delete, order.ticket)
        if not is_deleted:
            return result_of_code(code, f"Failed to delete order # {order.ticket}.")
        return TradeResult(State.DONE, success(f"Deleted pending order # {order.ticket}."))

    return delete


_PLANS: Mapping[str, Callable[[Platform, Params, bool], Trade]] = {
    "DO_ORDER_SEND": _plan_send,
    "DO_ORDER_MODIFY": _plan_modify,
    "DO_ORDER_CLOSE": _plan_close,
    "DO_ORDER_DELETE": _plan_delete,
}
SINGLE_TRADES = frozenset(_PLANS)
"""The trades that make one trade call."""


@dataclass(frozen=True, slots=True)
class Stops:
    """Hold the stops asked for: None keeps what is there, a price of 0 takes it away."""

    stop_loss: float | None
    take_profit: float | None
    stop_loss_points: int | None
    take_profit_points: int | None

    @classmethod
    def read(cls, params: Params) -> "Stops":
        """Read `sl`, `tp`, `sl_points` and `tp_points`."""
        return cls(
            params.number("sl") if params.has("sl") else None,
            params.number("tp") if params.has("tp") else None,
            params.integer("sl_points") if params.has("sl_points") else None,
            params.integer("tp_points") if params.has("tp_points") else None,
        )

    def prices(
        self,
        spec: SymbolSpec,
        kind: OrderType,
        reference: float,
        stop_loss: float,
        take_profit: float,
    ) -> tuple[float, float]:
        """Return stop-loss and take-profit as prices.

        Args:
            spec: The symbol.
            kind: The order's type; its side decides where points are counted to.
            reference: What points are counted from: the closing price, or the pending price.
            stop_loss: The price to keep if none is asked for.
            take_profit: The price to keep if none is asked for.
        """
        if self.stop_loss_points is not None:
            away = self.stop_loss_points * spec.point * kind.sign
            stop_loss = spec.rounded(reference - away)
        elif self.stop_loss is not None:
            stop_loss = self.stop_loss
        if self.take_profit_points is not None:
            away = self.take_profit_points * spec.point * kind.sign
            take_profit = spec.rounded(reference + away)
        elif self.take_profit is not None:
            take_profit = self.take_profit
        return stop_loss, take_profit


def default_slippage(platform: Platform, spec: SymbolSpec) -> int:
    """Return twice the current spread, points, as the existing server does."""
    quote = platform.quote(spec.name)
    return spec.to_points(2.0 * abs(quote.ask - quote.bid))


def _known_order(platform: Platform, params: Params) -> Order:
    ticket = params.integer("ticket")
    order = platform.broker.find(ticket)
    if order is None:
        raise Refused(failure(f"Order # {ticket} not found."))
    return order


def _asked_slippage(params: Params, is_plain: bool) -> int | None:
    slippage = params.integer("slippage", -1)
    if slippage < 0 and params.has("slippage") and not is_plain:
        raise Refused(failure(NEGATIVE_SLIPPAGE))
    return slippage if slippage >= 0 else None


def _changed_expiration_s(params: Params, order: Order) -> int:
    """Return the expiry that a modify sets: the one given, 0 for none, else the order's own."""
    expiration_s = params.integer("expiration", order.expiration_s)
    if params.has("expiration") and not order.order_type.is_pending:
        raise Refused(failure(NOT_PENDING))
    if expiration_s < 0:
        raise Refused(failure(NEGATIVE_EXPIRATION))
    return expiration_s


def _record(platform: Platform, order: Order) -> Body:
    return order_record(platform.broker.find(order.ticket) or order)


def _refuse_double_stops(params: Params) -> None:
    if params.has("sl") and params.has("sl_points"):
        raise Refused(failure(TWO_STOP_LOSSES))
    if params.has("tp") and params.has("tp_points"):
        raise Refused(failure(TWO_TAKE_PROFITS))
