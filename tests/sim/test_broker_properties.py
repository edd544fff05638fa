"""What holds for the broker whatever is traded."""

import math
from collections import Counter

from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from gateway.sim.broker import AccountTerms, Broker
from gateway.sim.codes import Code
from gateway.sim.orders import OrderType
from gateway.sim.symbols import pair

SPEC = pair("EURUSD", 5, 1.12, 12, swap_long=-6.0, swap_short=2.0, commission_per_lot=7.0)
lots = st.integers(1, 300).map(lambda hundredths: hundredths / 100)
points = st.integers(-400, 400)


class TradingDay(RuleBasedStateMachine):
    """Trade, move the market and let time pass in any order."""

    def __init__(self) -> None:
        super().__init__()
        self.broker = Broker((SPEC,), AccountTerms(stop_out_percent=30.0), deposit=20_000.0)
        self.bid_points = 112_000
        self.time_s = 1_000_000
        self.opened_lots: Counter[int] = Counter()
        self.move(0, 1)

    @rule(step=points, seconds=st.integers(1, 90_000))
    def move(self, step: int, seconds: int) -> None:
        """Set the next quote."""
        self.bid_points = max(50_000, self.bid_points + step)
        self.time_s += seconds
        bid, ask = self.bid_points / 1e5, (self.bid_points + 12) / 1e5
        self.broker.set_quote("EURUSD", bid, ask, self.time_s)

    @rule(kind=st.sampled_from(OrderType), size=lots, loss=points, gain=points, away=points)
    def send(self, kind: OrderType, size: float, loss: int, gain: int, away: int) -> None:
        """Send any order, reasonable or not."""
        price = self.bid_points + (12 if kind.is_buying else 0)
        price += away if kind.is_pending else 0
        self.broker.order_send(
            "EURUSD",
            kind,
            size,
            price / 1e5,
            5,
            stop_loss=(price + loss) / 1e5 if loss else 0.0,
            take_profit=(price + gain) / 1e5 if gain else 0.0,
        )

    @rule(size=lots, pick=st.integers(0, 99))
    def close(self, size: float, pick: int) -> None:
        """Close any order, wholly or in part."""
        if self.broker.orders:
            ticket = list(self.broker.orders)[pick % len(self.broker.orders)]
            order = self.broker.view(self.broker.orders[ticket])
            self.broker.order_close(ticket, min(size, order.lots), order.close_price, 0)

    @rule(pick=st.integers(0, 99))
    def delete(self, pick: int) -> None:
        """Delete any order."""
        if self.broker.orders:
            self.broker.order_delete(list(self.broker.orders)[pick % len(self.broker.orders)])

    @invariant()
    def balance_is_the_sum_of_the_history(self) -> None:
        """Money comes from nowhere and goes nowhere."""
        booked = math.fsum(order.result for order in self.broker.history)
        assert math.isclose(self.broker.balance, booked, abs_tol=0.01)

    @invariant()
    def margin_is_never_negative(self) -> None:
        """And is there only while positions are."""
        has_positions = any(o.order_type.is_market for o in self.broker.orders.values())
        assert self.broker.margin > 0 if has_positions else self.broker.margin == 0

    @invariant()
    def equity_is_balance_and_open_profit(self) -> None:
        """To the cent."""
        expected = self.broker.balance + self.broker.profit
        assert math.isclose(self.broker.equity, expected, abs_tol=0.005)

    @invariant()
    def every_ticket_is_in_one_place(self) -> None:
        """An order is open or closed, once."""
        tickets = [*self.broker.orders, *(order.ticket for order in self.broker.history)]
        assert len(set(tickets)) == len(tickets)


TradingDay.TestCase.settings = settings(max_examples=30, stateful_step_count=40)
test_trading_day = TradingDay.TestCase


@given(parts=st.lists(st.integers(1, 40), min_size=1, max_size=12))
@settings(max_examples=60)
def test_partial_closes_add_up(parts: list[int]) -> None:
    """Lots, commission and profit of the parts are those of the whole."""
    broker = Broker((SPEC,), deposit=1_000_000.0)
    broker.set_quote("EURUSD", 1.12, 1.12012, 1)
    whole = sum(parts) / 100
    ticket, _ = broker.order_send("EURUSD", OrderType.BUY, whole, 1.12012, 0)
    for hundredths in parts:
        _, code = broker.order_close(ticket, hundredths / 100, 1.12, 0)
        assert code == Code.NO_ERROR
        ticket = next(iter(broker.orders), 0)
    closed = broker.history[1:]

    assert not broker.orders
    assert math.isclose(whole, math.fsum(order.lots for order in closed), abs_tol=1e-9)
    commission = math.fsum(order.commission for order in closed)
    assert math.isclose(-round(7.0 * whole, 2), commission, abs_tol=0.001)
