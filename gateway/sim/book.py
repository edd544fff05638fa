"""The broker's book: the account's orders and money, and how they are kept."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

from gateway.sim.orders import (
    EventKind,
    Order,
    OrderEvent,
    OrderType,
    Quote,
    Reason,
    tag_comment,
)
from gateway.sim.symbols import STANDARD_SYMBOLS, SymbolSpec
from gateway.sim.valuation import CENTS, conversion_rate, margin_for, profit_at

FIRST_TICKET = 1001


@dataclass(frozen=True, slots=True)
class AccountTerms:
    """Describe the account; `stop_out_percent` 0 means no stop out, `max_orders` 0 no limit."""

    login: int = 5001234
    name: str = "Simulated Trader"
    server: str = "Simulator-Demo"
    company: str = "Simulated Broker"
    currency: str = "USD"
    leverage: int = 100
    trade_mode: int = 0
    stop_out_percent: float = 0.0
    max_orders: int = 0


class Book:
    """Keep one account at one broker.

    Attributes:
        specs: The symbols by name, in the broker's order.
        quotes: The last quote per symbol.
        orders: Open positions and pending orders by ticket, oldest first.
        history: Closed orders and balance entries, oldest first.
        balance: Account currency.
        now_s: The broker's clock: the latest time it was told, seconds.
        is_open: Whether the market is open (else 132).
        is_trading_enabled: Whether the account may trade (else 133).
    """

    def __init__(
        self,
        symbols: Sequence[SymbolSpec] = STANDARD_SYMBOLS,
        terms: AccountTerms | None = None,
        *,
        deposit: float = 10_000.0,
        time_s: int = 0,
    ) -> None:
        self.specs = {spec.name: spec for spec in symbols}
        self.terms = terms or AccountTerms()
        self.quotes: dict[str, Quote] = {}
        self.orders: dict[int, Order] = {}
        self.history: list[Order] = []
        self.balance = 0.0
        self.now_s = time_s
        self.is_open = True
        self.is_trading_enabled = True
        self.next_ticket = FIRST_TICKET
        self._events: list[OrderEvent] = []
        self.deposit(deposit)

    # --- money --------------------------------------------------------------------------

    @property
    def profit(self) -> float:
        """Return the open result of all positions, swap and commission included."""
        return round(sum((self.view(order).result for order in self._positions()), 0.0), CENTS)

    @property
    def equity(self) -> float:
        """Return balance plus open result, account currency."""
        return round(self.balance + self.profit, CENTS)

    @property
    def margin(self) -> float:
        """Return the margin that all positions bind, account currency."""
        return round(sum((self.margin_of(order) for order in self._positions()), 0.0), CENTS)

    @property
    def free_margin(self) -> float:
        """Return equity less margin, account currency."""
        return round(self.equity - self.margin, CENTS)

    @property
    def margin_level(self) -> float:
        """Return equity in percent of margin; 0 without positions, as MetaTrader does."""
        return 100.0 * self.equity / self.margin if self.margin else 0.0

    def margin_of(self, order: Order) -> float:
        """Return the margin that a position binds, account currency."""
        spec = self.specs[order.symbol]
        rate = self.rate(spec)
        return margin_for(spec, order.lots, order.open_price, self.terms.leverage, rate)

    def rate(self, spec: SymbolSpec) -> float:
        """Return the worth of the symbol's profit currency in the account's."""
        return conversion_rate(
            spec.profit_currency, self.terms.currency, self.specs.values(), self.quotes
        )

    def deposit(self, amount: float) -> int:
        """Book a deposit (a withdrawal if negative) and return its ticket in the history."""
        entry = Order(
            self._take_ticket(),
            symbol="",
            order_type=OrderType.BALANCE,
            lots=0.0,
            open_price=0.0,
            open_time_s=self.now_s,
            close_time_s=self.now_s,
            profit=amount,
            comment="Deposit" if amount >= 0 else "Withdrawal",
        )
        self._book(entry)
        return entry.ticket

    # --- looking at orders --------------------------------------------------------------

    def find(self, ticket: int) -> Order | None:
        """Return the order with this ticket, open or closed, as a terminal shows it."""
        if ticket in self.orders:
            return self.view(self.orders[ticket])
        return next((order for order in self.history if order.ticket == ticket), None)

    def view(self, order: Order) -> Order:
        """Return an open order with its current closing price and profit."""
        quote = self.quotes.get(order.symbol)
        if quote is None:
            return order
        if not order.order_type.is_market:
            return replace(order, close_price=quote.opening(order.order_type))
        price = quote.closing(order.order_type)
        spec = self.specs[order.symbol]
        profit = profit_at(order, spec, price, self.rate(spec))
        return replace(order, close_price=price, profit=profit)

    def find_by_comment(self, start: str) -> list[Order]:
        """Return open, then closed orders whose comment begins with `start`, newest first."""
        open_orders = [self.view(order) for order in self.orders.values()]
        orders = [*reversed(open_orders), *reversed(self.history)]
        return [order for order in orders if order.comment.startswith(start)]

    @property
    def has_events(self) -> bool:
        """Tell whether something happened to orders since `take_events`."""
        return bool(self._events)

    def take_events(self) -> list[OrderEvent]:
        """Return what happened to orders since the last call, in order."""
        events, self._events = self._events, []
        return events

    # --- keeping orders -----------------------------------------------------------------

    def _positions(self) -> Iterable[Order]:
        return (order for order in self.orders.values() if order.order_type.is_market)

    def _take_ticket(self) -> int:
        ticket, self.next_ticket = self.next_ticket, self.next_ticket + 1
        return ticket

    def _put(self, order: Order, kind: EventKind, reason: Reason) -> None:
        self.orders[order.ticket] = order
        self._tell(kind, reason, order)

    def _tell(
        self, kind: EventKind, reason: Reason, order: Order, previous_ticket: int | None = None
    ) -> None:
        shown = order if order.close_time_s else self.view(order)
        self._events.append(OrderEvent(kind, reason, shown, previous_ticket))

    def _book(self, closed: Order) -> None:
        self.history.append(closed)
        self.balance = round(self.balance + closed.result, CENTS)

    def _closed_at(self, order: Order, price: float) -> Order:
        spec = self.specs[order.symbol]
        profit = profit_at(order, spec, price, self.rate(spec))
        return replace(order, close_price=price, close_time_s=self.now_s, profit=profit)

    def _close(self, order: Order, price: float, reason: Reason, tail: str = "") -> None:
        comment = tag_comment(order.comment, tail) if tail else order.comment
        closed = replace(self._closed_at(order, price), comment=comment)
        del self.orders[order.ticket]
        self._book(closed)
        self._tell(EventKind.CLOSED, reason, closed)

    def _close_part(self, order: Order, lots: float, rest: float, price: float) -> None:
        share = lots / order.lots
        swap, commission = round(order.swap * share, CENTS), round(order.commission * share, CENTS)
        remainder = replace(
            order,
            ticket=self._take_ticket(),
            lots=rest,
            comment=f"from #{order.ticket}",
            swap=round(order.swap - swap, CENTS),
            commission=round(order.commission - commission, CENTS),
        )
        part = replace(
            order,
            lots=lots,
            comment=f"to #{remainder.ticket}",
            swap=swap,
            commission=commission,
        )
        del self.orders[order.ticket]
        self._book(self._closed_at(part, price))
        self.orders[remainder.ticket] = remainder
        self._tell(EventKind.PARTIALLY_CLOSED, Reason.REQUEST, remainder, order.ticket)

    def _remove_pending(self, order: Order, reason: Reason) -> None:
        quote = self.quotes.get(order.symbol)
        price = quote.opening(order.order_type) if quote else 0.0
        deleted = replace(order, close_price=price, close_time_s=self.now_s)
        del self.orders[order.ticket]
        self._book(deleted)
        self._tell(EventKind.DELETED, reason, deleted)

    def _with_commission(self, spec: SymbolSpec, order: Order) -> Order:
        return replace(order, commission=round(0.0 - spec.commission_per_lot * order.lots, CENTS))

    def _needed(self, spec: SymbolSpec, kind: OrderType, lots: float) -> float:
        price = self.quotes[spec.name].opening(kind)
        margin = margin_for(spec, lots, price, self.terms.leverage, self.rate(spec))
        return margin + spec.commission_per_lot * lots
