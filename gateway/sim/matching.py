"""What a quote does to orders: pending ones fill or expire, positions stop, margins run out."""

from dataclasses import replace

from gateway.sim.book import Book
from gateway.sim.nights import charged_nights
from gateway.sim.orders import EventKind, Order, OrderType, Quote, Reason, tag_comment
from gateway.sim.symbols import SymbolSpec
from gateway.sim.valuation import CENTS


class Matching(Book):
    """Move the market over the orders in the book."""

    def set_quote(self, symbol: str, bid: float, ask: float, time_s: int) -> None:
        """Take a quote, then fill, stop and expire what it touches.

        Args:
            symbol: One of `specs` (KeyError otherwise).
            bid: Price, quote currency.
            ask: Price, quote currency.
            time_s: Broker's clock; a time before `now_s` does not turn it back.
        """
        spec = self.specs[symbol]
        self.quotes[symbol] = quote = Quote(bid, ask, time_s)
        self.advance_to(time_s)
        for order in [order for order in self.orders.values() if order.symbol == symbol]:
            if order.order_type.is_pending:
                self._fill_if_reached(spec, quote, order)
            else:
                self._stop_if_reached(spec, quote, order)
        self._stop_out()

    def advance_to(self, time_s: int) -> None:
        """Move the broker's clock forward: charge swaps for the nights passed, expire orders."""
        if time_s <= self.now_s:
            return
        nights = charged_nights(self.now_s, time_s) if self.orders else 0
        self.now_s = time_s
        for order in list(self.orders.values()):
            if nights and order.order_type.is_market:
                self._charge_swap(order, nights)
            elif order.order_type.is_pending and 0 < order.expiration_s <= time_s:
                expired = replace(order, comment=tag_comment(order.comment, "[expiration]"))
                self._remove_pending(expired, Reason.EXPIRED)

    def _charge_swap(self, order: Order, nights: int) -> None:
        spec = self.specs[order.symbol]
        rate = spec.swap_long if order.order_type.is_buying else spec.swap_short
        swap = round(order.swap + rate * order.lots * nights, CENTS)
        self.orders[order.ticket] = replace(order, swap=swap)

    def _fill_if_reached(self, spec: SymbolSpec, quote: Quote, order: Order) -> None:
        kind = order.order_type
        market = spec.to_points(quote.opening(kind))
        beyond = (market - spec.to_points(order.open_price)) * kind.sign
        is_limit = kind in (OrderType.BUY_LIMIT, OrderType.SELL_LIMIT)
        if (beyond > 0) if is_limit else (beyond < 0):
            return
        position_kind = OrderType.BUY if kind.is_buying else OrderType.SELL
        if self._needed(spec, position_kind, order.lots) > self.free_margin:
            broke = replace(order, comment=tag_comment(order.comment, "[no money]"))
            self._remove_pending(broke, Reason.UNKNOWN)
            return
        # A limit never fills worse than asked, a stop fills wherever the market has gone.
        price = order.open_price if is_limit else spec.rounded(quote.opening(kind))
        position = replace(
            order,
            order_type=position_kind,
            open_price=price,
            open_time_s=self.now_s,
            expiration_s=0,
        )
        self._put(self._with_commission(spec, position), EventKind.FILLED, Reason.REQUEST)

    def _stop_if_reached(self, spec: SymbolSpec, quote: Quote, order: Order) -> None:
        sign = order.order_type.sign
        market = spec.to_points(quote.closing(order.order_type))
        if order.stop_loss and (market - spec.to_points(order.stop_loss)) * sign <= 0:
            price = spec.rounded(quote.closing(order.order_type))
            self._close(order, price, Reason.STOP_LOSS, "[sl]")
        elif order.take_profit and (market - spec.to_points(order.take_profit)) * sign >= 0:
            self._close(order, order.take_profit, Reason.TAKE_PROFIT, "[tp]")

    def _stop_out(self) -> None:
        while (
            self.terms.stop_out_percent
            and 0 < self.margin
            and (self.margin_level < self.terms.stop_out_percent)
        ):
            worst = min(self._positions(), key=lambda order: self.view(order).result)
            price = self.quotes[worst.symbol].closing(worst.order_type)
            self._close(worst, price, Reason.STOP_OUT, "[so]")
