"""The broker: quotes in, MQL4's trade calls in, orders and money out.

Pure: no clock (the time of the last quote is the time), no I/O, no randomness. Every trade call
answers with a result and the code that `GetLastError` would hold.
"""

from dataclasses import replace

from gateway.sim import rules
from gateway.sim.book import AccountTerms
from gateway.sim.codes import Code
from gateway.sim.matching import Matching
from gateway.sim.orders import EventKind, Order, OrderType, Reason, clip_comment
from gateway.sim.symbols import SymbolSpec

__all__ = ["AccountTerms", "Broker"]


_LAST_SECOND = 32_535_215_999
"""MQL4's last datetime, the end of the year 3000."""

_GREATEST = 1e12


def _are_usable(*numbers: float) -> bool:
    return all(abs(number) < _GREATEST for number in numbers)  # false of NaN and infinity


class Broker(Matching):
    """Answer MQL4's four trade calls on one account (see `Book` for what can be read)."""

    def order_send(
        self,
        symbol: str,
        order_type: int,
        lots: float,
        price: float,
        slippage: int,
        *,
        stop_loss: float = 0.0,
        take_profit: float = 0.0,
        comment: str = "",
        magic_number: int = 0,
        expiration_s: int = 0,
    ) -> tuple[int, Code]:
        """Open a position or place a pending order, as MQL4's `OrderSend`.

        Args:
            symbol: Name.
            order_type: 0 to 5.
            lots: Size, on the symbol's lot step.
            price: Ask for buying, bid for selling, or the pending price; on tick.
            slippage: Greatest accepted distance from the market, points.
            stop_loss: Price, 0 for none.
            take_profit: Price, 0 for none.
            comment: Cut to 31 bytes.
            magic_number: The program's mark, 32-bit signed.
            expiration_s: Broker seconds, 0 for never; pending orders only.

        Returns:
            Ticket and 0, or -1 and MetaTrader's code.
        """
        spec = self.specs.get(symbol)
        if spec is None:
            return -1, Code.UNKNOWN_SYMBOL
        is_known = order_type in range(OrderType.BUY, OrderType.BALANCE)
        if not is_known or not _are_usable(lots, price, stop_loss, take_profit):
            return -1, Code.INVALID_PARAMETER
        kind = OrderType(order_type)
        error = (
            rules.volume_error(spec, lots)
            or self._trading_error(spec)
            or self._price_error(spec, kind, price, slippage)
            or rules.stops_error(
                spec, kind, self._stops_reference(spec, kind, price), stop_loss, take_profit
            )
            or self._expiration_error(kind, expiration_s)
            or self._account_error(spec, kind, lots)
        )
        if error:
            return -1, error
        order = Order(
            self._take_ticket(),
            symbol,
            kind,
            lots=round(lots, 8),
            open_price=spec.rounded(price),
            open_time_s=self.now_s,
            stop_loss=spec.rounded(stop_loss),
            take_profit=spec.rounded(take_profit),
            comment=clip_comment(comment),
            magic_number=magic_number,
            expiration_s=expiration_s,
        )
        if kind.is_market:
            market_price = spec.rounded(self.quotes[symbol].opening(kind))
            order = self._with_commission(spec, replace(order, open_price=market_price))
        self._put(order, EventKind.OPENED, Reason.REQUEST)
        return order.ticket, Code.NO_ERROR

    def order_modify(
        self,
        ticket: int,
        price: float,
        stop_loss: float,
        take_profit: float,
        expiration_s: int = 0,
    ) -> tuple[bool, Code]:
        """Change stops, and a pending order's price and expiry, as MQL4's `OrderModify`.

        Returns:
            True and 0, or False and a code: 1 if everything holds already, 4108 unknown or closed
            ticket, 130 wrong stops, 145 frozen, 129, 132, 133, 3.
        """
        order = self.orders.get(ticket)
        if order is None:
            return False, Code.INVALID_TICKET
        if not _are_usable(price, stop_loss, take_profit):
            return False, Code.INVALID_PARAMETER
        spec = self.specs[order.symbol]
        changed = replace(
            order, stop_loss=spec.rounded(stop_loss), take_profit=spec.rounded(take_profit)
        )
        if order.order_type.is_pending:
            changed = replace(changed, open_price=spec.rounded(price), expiration_s=expiration_s)
        if changed == order:
            return False, Code.NO_RESULT
        error = (
            self._trading_error(spec)
            or rules.freeze_error(spec, self.quotes[order.symbol], order)
            or self._modification_error(spec, changed)
        )
        if error:
            return False, error
        self._put(changed, EventKind.MODIFIED, Reason.REQUEST)
        return True, Code.NO_ERROR

    def order_close(
        self, ticket: int, lots: float, price: float, slippage: int
    ) -> tuple[bool, Code]:
        """Close a position or a part of it, as MQL4's `OrderClose`.

        A partial close closes the ticket with the lots given (comment `to #N`) and leaves the
        rest under a new ticket (comment `from #N`), as MetaTrader's server does.

        Returns:
            True and 0, or False and a code: 4108 unknown, closed or pending, 131 lots, 138 price
            beyond the slippage, 145 frozen, 129, 132, 133, 4051, 4107.
        """
        order = self.orders.get(ticket)
        if order is None or not order.order_type.is_market:
            return False, Code.INVALID_TICKET
        if not _are_usable(lots, price):
            return False, Code.INVALID_PARAMETER
        spec = self.specs[order.symbol]
        error = (
            self._closing_volume_error(spec, order, lots)
            or self._trading_error(spec)
            or rules.freeze_error(spec, self.quotes[order.symbol], order)
            or rules.market_price_error(
                spec, self.quotes[order.symbol].closing(order.order_type), price, slippage
            )
        )
        if error:
            return False, error
        market_price = spec.rounded(self.quotes[order.symbol].closing(order.order_type))
        rest = round(order.lots - lots, 8)
        if rest > 0:
            self._close_part(order, round(lots, 8), rest, market_price)
        else:
            self._close(order, market_price, Reason.REQUEST)
        return True, Code.NO_ERROR

    def order_delete(self, ticket: int) -> tuple[bool, Code]:
        """Delete a pending order, as MQL4's `OrderDelete`.

        Returns:
            True and 0, or False and a code: 4108 if it is not pending, 145 frozen, 132, 133.
        """
        order = self.orders.get(ticket)
        if order is None or not order.order_type.is_pending:
            return False, Code.INVALID_TICKET
        spec = self.specs[order.symbol]
        error = self._trading_error(spec) or rules.freeze_error(
            spec, self.quotes[order.symbol], order
        )
        if error:
            return False, error
        self._remove_pending(order, Reason.REQUEST)
        return True, Code.NO_ERROR

    # --- why a call is refused --------------------------------------------------------------

    def _trading_error(self, spec: SymbolSpec) -> Code:
        if not self.is_trading_enabled:
            return Code.TRADE_DISABLED
        if not self.is_open:
            return Code.MARKET_CLOSED
        has_prices = spec.name in self.quotes and spec.point > 0
        return Code.NO_ERROR if has_prices else Code.OFF_QUOTES

    def _price_error(self, spec: SymbolSpec, kind: OrderType, price: float, slippage: int) -> Code:
        quote = self.quotes[spec.name]
        if kind.is_pending:
            return rules.pending_price_error(spec, quote, kind, price)
        return rules.market_price_error(spec, quote.opening(kind), price, slippage)

    def _stops_reference(self, spec: SymbolSpec, kind: OrderType, price: float) -> float:
        return price if kind.is_pending else self.quotes[spec.name].closing(kind)

    def _modification_error(self, spec: SymbolSpec, changed: Order) -> Code:
        kind = changed.order_type
        reference = self._stops_reference(spec, kind, changed.open_price)
        error = Code.NO_ERROR
        if kind.is_pending:
            error = self._price_error(spec, kind, changed.open_price, 0) or self._expiration_error(
                kind, changed.expiration_s
            )
        return error or rules.stops_error(
            spec, kind, reference, changed.stop_loss, changed.take_profit
        )

    def _expiration_error(self, kind: OrderType, expiration_s: int) -> Code:
        if not expiration_s:
            return Code.NO_ERROR
        is_usable = kind.is_pending and self.now_s < expiration_s < _LAST_SECOND
        return Code.NO_ERROR if is_usable else Code.INVALID_TRADE_PARAMETERS

    def _account_error(self, spec: SymbolSpec, kind: OrderType, lots: float) -> Code:
        if self.terms.max_orders and len(self.orders) >= self.terms.max_orders:
            return Code.TOO_MANY_ORDERS
        if kind.is_market and self._needed(spec, kind, lots) > self.free_margin:
            return Code.NOT_ENOUGH_MONEY
        return Code.NO_ERROR

    def _closing_volume_error(self, spec: SymbolSpec, order: Order, lots: float) -> Code:
        rest = round(order.lots - lots, 8)
        if rest < 0 or 0 < rest < spec.lot_min:
            return Code.INVALID_VOLUME
        return rules.volume_error(spec, lots)
