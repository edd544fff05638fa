"""The broker: each trade call's codes, and what quotes do to orders."""

from typing import Any

import pytest

from gateway.sim.broker import AccountTerms, Broker
from gateway.sim.codes import Code
from gateway.sim.orders import EventKind, Order, OrderType, Reason
from gateway.sim.symbols import SymbolSpec, make_symbol, pair

BID, ASK = 1.12000, 1.12012
MONDAY_NOON_S = 4 * 86_400 + 43_200
NIGHT_S = 86_400
EURUSD = pair("EURUSD", 5, 1.12, 12, stop_level=20, swap_long=-6.0, commission_per_lot=7.0)


def make_broker(spec: SymbolSpec = EURUSD, **terms: Any) -> Broker:
    """Return a broker with one symbol at 1.12000/1.12012 on a Monday noon."""
    broker = Broker((spec,), AccountTerms(**terms), deposit=10_000.0, time_s=MONDAY_NOON_S)
    broker.set_quote(spec.name, BID, ASK, MONDAY_NOON_S)
    return broker


def buy(broker: Broker, lots: float = 1.0, **more: Any) -> int:
    """Buy at the ask and return the ticket."""
    ticket, code = broker.order_send("EURUSD", OrderType.BUY, lots, ASK, 3, **more)
    assert code == Code.NO_ERROR
    return ticket


def place(broker: Broker, kind: OrderType, price: float, **more: Any) -> int:
    """Place a pending order and return the ticket."""
    ticket, code = broker.order_send("EURUSD", kind, 1.0, price, 0, **more)
    assert code == Code.NO_ERROR
    return ticket


def found(broker: Broker, ticket: int) -> Order:
    """Return an order that must exist."""
    order = broker.find(ticket)
    assert order is not None
    return order


def test_market_order_opens_at_the_ask() -> None:
    """A buy is filled at the current ask, whatever price within the slippage was asked for."""
    broker = make_broker()
    ticket, _ = broker.order_send("EURUSD", OrderType.BUY, 1.0, ASK - 0.00002, 3)

    assert found(broker, ticket).open_price == ASK


REFUSALS: list[tuple[str, dict[str, Any], Code]] = [
    ("an unknown symbol", {"symbol": "NOPE"}, Code.UNKNOWN_SYMBOL),
    ("an order type that does not exist", {"order_type": 6}, Code.INVALID_PARAMETER),
    ("no lots", {"lots": 0.0}, Code.INVALID_PARAMETER),
    ("lots off step", {"lots": 0.015}, Code.INVALID_VOLUME),
    ("too few lots", {"lots": 0.001}, Code.INVALID_VOLUME),
    ("too many lots", {"lots": 101.0}, Code.INVALID_VOLUME),
    ("no price", {"price": 0.0}, Code.INVALID_PRICE_PARAMETER),
    ("a price between two ticks", {"price": ASK + 0.000004}, Code.INVALID_PRICE),
    ("a price beyond the slippage", {"price": ASK + 0.00004}, Code.REQUOTE),
    ("a stop-loss on the wrong side", {"stop_loss": 1.13}, Code.INVALID_STOPS),
    ("a stop-loss within the stop level", {"stop_loss": BID - 0.00019}, Code.INVALID_STOPS),
    ("a take-profit on the wrong side", {"take_profit": 1.11}, Code.INVALID_STOPS),
    ("a negative stop", {"stop_loss": -1.0}, Code.INVALID_PRICE_PARAMETER),
    (
        "a buy limit above the market",
        {"order_type": OrderType.BUY_LIMIT, "price": 1.13},
        Code.INVALID_STOPS,
    ),
    (
        "a sell stop too close to the market",
        {"order_type": OrderType.SELL_STOP, "price": BID - 0.0001},
        Code.INVALID_STOPS,
    ),
    (
        "an expiry in the past",
        {"order_type": OrderType.BUY_LIMIT, "price": 1.11, "expiration_s": MONDAY_NOON_S},
        Code.INVALID_TRADE_PARAMETERS,
    ),
    (
        "an expiry on a market order",
        {"expiration_s": MONDAY_NOON_S + 9},
        Code.INVALID_TRADE_PARAMETERS,
    ),
    ("more than the free margin", {"lots": 9.0}, Code.NOT_ENOUGH_MONEY),
]


@pytest.mark.parametrize(
    ("change", "code"),
    [(change, code) for _, change, code in REFUSALS],
    ids=[name.replace(" ", "_") for name, _, _ in REFUSALS],
)
def test_order_send_refuses(change: dict[str, Any], code: Code) -> None:
    """Each thing wrong with an order has MetaTrader's code, and no order comes of it."""
    broker = make_broker()
    order: dict[str, Any] = {"symbol": "EURUSD", "order_type": 0, "lots": 1.0, "price": ASK}

    assert (-1, code) == broker.order_send(**(order | {"slippage": 3} | change))
    assert not broker.orders


def test_stop_at_exactly_the_stop_level_is_accepted() -> None:
    """The stop level is the least distance allowed, not the first one refused."""
    assert buy(make_broker(), stop_loss=BID - 0.0002) > 0


def test_closed_market_refuses_every_call() -> None:
    """132 comes from sending, modifying, closing and deleting alike."""
    broker = make_broker()
    position, pending = buy(broker), place(broker, OrderType.BUY_LIMIT, 1.1)
    broker.is_open = False

    answers = [
        broker.order_send("EURUSD", OrderType.BUY, 1.0, ASK, 3)[1],
        broker.order_modify(position, ASK, 1.1, 0.0)[1],
        broker.order_close(position, 1.0, BID, 3)[1],
        broker.order_delete(pending)[1],
    ]
    assert [Code.MARKET_CLOSED] * 4 == answers


def test_disabled_account_refuses() -> None:
    """133 comes before anything about the market."""
    broker = make_broker()
    broker.is_trading_enabled = False

    assert (-1, Code.TRADE_DISABLED) == broker.order_send("EURUSD", 0, 1.0, ASK, 3)


def test_symbol_without_a_quote_is_off_quotes() -> None:
    """136 until the first price has come."""
    broker = Broker((EURUSD,))

    assert (-1, Code.OFF_QUOTES) == broker.order_send("EURUSD", 0, 1.0, ASK, 3)


def test_too_many_orders_are_refused() -> None:
    """148 when the account's limit is reached."""
    broker = make_broker(max_orders=1)
    buy(broker, 0.1)

    assert (-1, Code.TOO_MANY_ORDERS) == broker.order_send("EURUSD", 0, 0.1, ASK, 3)


def test_comment_is_cut_to_31_bytes() -> None:
    """The trade record has no room for more, and no character is cut in half."""
    broker = make_broker()

    assert found(broker, buy(broker, comment="x" * 30 + "é")).comment == "x" * 30


def test_commission_is_charged_when_the_position_opens() -> None:
    """It stands on the order and in the open result."""
    broker = make_broker()

    assert found(broker, buy(broker)).commission == -7.0
    assert broker.profit == -12.0 - 7.0


def test_unchanged_modification_is_code_1() -> None:
    """The server answers 'no result' when everything holds already."""
    broker = make_broker()
    ticket = buy(broker, stop_loss=1.1)

    assert (False, Code.NO_RESULT) == broker.order_modify(ticket, 0.0, 1.1, 0.0)


def test_price_of_a_position_cannot_be_modified() -> None:
    """A price given for a market order is ignored."""
    broker = make_broker()
    ticket = buy(broker)
    broker.order_modify(ticket, 1.0, 1.1, 0.0)

    assert found(broker, ticket).open_price == ASK


def test_modification_checks_stops_of_a_pending_order_against_its_price() -> None:
    """A stop between the market and the pending price is on the wrong side."""
    broker = make_broker()
    ticket = place(broker, OrderType.BUY_LIMIT, 1.11)

    assert (False, Code.INVALID_STOPS) == broker.order_modify(ticket, 1.11, 1.115, 0.0)
    assert (True, Code.NO_ERROR) == broker.order_modify(ticket, 1.11, 1.105, 0.0)


@pytest.mark.parametrize("call", ["modify", "close", "delete"])
def test_closed_ticket_is_invalid(call: str) -> None:
    """4108 whether the ticket is closed or never was."""
    broker = make_broker()
    ticket = buy(broker)
    broker.order_close(ticket, 1.0, BID, 3)
    answers = {
        "modify": lambda number: broker.order_modify(number, 0.0, 1.1, 0.0),
        "close": lambda number: broker.order_close(number, 1.0, BID, 3),
        "delete": broker.order_delete,
    }

    assert (False, Code.INVALID_TICKET) == answers[call](ticket)
    assert (False, Code.INVALID_TICKET) == answers[call](4711)


def test_pending_order_cannot_be_closed_nor_a_position_deleted() -> None:
    """Each has its own call."""
    broker = make_broker()
    position, pending = buy(broker), place(broker, OrderType.BUY_LIMIT, 1.1)

    assert (False, Code.INVALID_TICKET) == broker.order_close(pending, 1.0, BID, 3)
    assert (False, Code.INVALID_TICKET) == broker.order_delete(position)


def test_frozen_order_cannot_be_changed() -> None:
    """145 while the market is within the freeze level of the order's stop."""
    broker = make_broker(pair("EURUSD", 5, 1.12, 12, freeze_level=50))
    ticket = buy(broker, stop_loss=BID - 0.0004)

    assert (False, Code.MODIFY_DENIED) == broker.order_modify(ticket, 0.0, 1.1, 0.0)
    assert (False, Code.MODIFY_DENIED) == broker.order_close(ticket, 1.0, BID, 3)


def test_close_books_profit_into_the_balance() -> None:
    """Price move times contract times lots, commission off."""
    broker = make_broker()
    ticket = buy(broker)
    broker.set_quote("EURUSD", 1.13012, 1.13024, MONDAY_NOON_S + 1)
    broker.order_close(ticket, 1.0, 1.13012, 3)

    assert broker.balance == 10_000.0 + 1_000.0 - 7.0


def test_close_beyond_slippage_is_a_requote() -> None:
    """138 leaves the position open."""
    broker = make_broker()
    ticket = buy(broker)

    assert (False, Code.REQUOTE) == broker.order_close(ticket, 1.0, BID - 0.0001, 3)
    assert ticket in broker.orders


def test_partial_close_moves_the_rest_to_a_new_ticket() -> None:
    """The old ticket is closed with the part, the new one points back to it."""
    broker = make_broker()
    ticket = buy(broker, comment="~token", magic_number=7)
    broker.order_close(ticket, 0.3, BID, 3)
    (rest,) = broker.orders.values()
    part = found(broker, ticket)

    assert (rest.lots, rest.comment, rest.magic_number) == (0.7, f"from #{ticket}", 7)
    assert (part.lots, part.comment) == (0.3, f"to #{rest.ticket}")


@pytest.mark.parametrize("lots", [1.01, 0.995])
def test_close_of_impossible_lots_is_refused(lots: float) -> None:
    """131 for more than there is, and for leaving less than the minimum."""
    broker = make_broker()
    ticket = buy(broker)

    assert (False, Code.INVALID_VOLUME) == broker.order_close(ticket, lots, BID, 3)


def test_stop_loss_closes_at_the_market() -> None:
    """A gap beyond the stop is the trader's loss; the comment's end says what happened."""
    broker = make_broker()
    ticket = buy(broker, stop_loss=1.119, comment="~token")
    broker.set_quote("EURUSD", 1.117, 1.1172, MONDAY_NOON_S + 1)
    closed = found(broker, ticket)

    assert (closed.close_price, closed.comment) == (1.117, "~token[sl]")
    assert broker.take_events()[-1].reason is Reason.STOP_LOSS


def test_take_profit_closes_at_its_own_price() -> None:
    """A gap beyond the target is not the trader's gain."""
    broker = make_broker()
    ticket = buy(broker, take_profit=1.125)
    broker.set_quote("EURUSD", 1.13, 1.1302, MONDAY_NOON_S + 1)

    assert found(broker, ticket).close_price == 1.125
    assert broker.take_events()[-1].reason is Reason.TAKE_PROFIT


def test_sell_is_stopped_by_the_ask() -> None:
    """A short position closes at the ask, so the ask triggers its stop."""
    broker = make_broker()
    ticket, _ = broker.order_send("EURUSD", OrderType.SELL, 1.0, BID, 3, stop_loss=1.121)
    broker.set_quote("EURUSD", 1.1209, 1.121, MONDAY_NOON_S + 1)

    assert found(broker, ticket).close_time_s == MONDAY_NOON_S + 1


def test_tag_keeps_the_beginning_of_a_full_comment() -> None:
    """The broker overwrites the end, so a token at the front survives."""
    broker = make_broker()
    ticket = buy(broker, stop_loss=1.119, comment="~" + "t" * 30)
    broker.set_quote("EURUSD", 1.117, 1.1172, MONDAY_NOON_S + 1)

    assert found(broker, ticket).comment == "~" + "t" * 26 + "[sl]"


FILLS = [
    (OrderType.BUY_LIMIT, 1.115, (1.1140, 1.1149), 1.115, OrderType.BUY),
    (OrderType.BUY_STOP, 1.125, (1.1259, 1.1260), 1.126, OrderType.BUY),
    (OrderType.SELL_LIMIT, 1.125, (1.1259, 1.1260), 1.125, OrderType.SELL),
    (OrderType.SELL_STOP, 1.115, (1.1140, 1.1149), 1.114, OrderType.SELL),
]


@pytest.mark.parametrize(("kind", "price", "quote", "filled_at", "position"), FILLS)
def test_pending_order_fills(
    kind: OrderType,
    price: float,
    quote: tuple[float, float],
    filled_at: float,
    position: OrderType,
) -> None:
    """Limits fill at their price, stops at the market; the ticket stays."""
    broker = make_broker()
    ticket = place(broker, kind, price)
    broker.set_quote("EURUSD", *quote, MONDAY_NOON_S + 1)
    order = found(broker, ticket)

    assert (order.order_type, order.open_price) == (position, filled_at)
    assert broker.take_events()[-1].kind is EventKind.FILLED


def test_pending_order_waits_for_its_price() -> None:
    """One point away is not there."""
    broker = make_broker()
    ticket = place(broker, OrderType.BUY_LIMIT, 1.115)
    broker.set_quote("EURUSD", 1.1149, 1.11501, MONDAY_NOON_S + 1)

    assert found(broker, ticket).order_type is OrderType.BUY_LIMIT


def test_pending_order_without_money_is_deleted() -> None:
    """The margin is checked when it fills."""
    broker = make_broker()
    ticket, _ = broker.order_send("EURUSD", OrderType.BUY_LIMIT, 50.0, 1.115, 0)
    broker.set_quote("EURUSD", 1.1140, 1.1141, MONDAY_NOON_S + 1)

    assert not broker.orders
    assert found(broker, ticket).comment == "[no money]"


def test_pending_order_expires() -> None:
    """At its second it goes into the history, and the event says why."""
    broker = make_broker()
    expires_s = MONDAY_NOON_S + 60
    ticket = place(broker, OrderType.BUY_LIMIT, 1.11, expiration_s=expires_s, comment="~token")
    broker.advance_to(expires_s - 1)
    assert ticket in broker.orders
    broker.advance_to(expires_s)

    assert found(broker, ticket).comment == "~token[expiration]"
    assert broker.take_events()[-1].reason is Reason.EXPIRED


@pytest.mark.parametrize(("days", "nights"), [(1, 1), (2, 2), (3, 5), (5, 7), (7, 7)])
def test_swap_is_charged_for_nights(days: int, nights: int) -> None:
    """From Monday: one each night, three from Wednesday to Thursday, none over the weekend."""
    broker = make_broker()
    ticket = buy(broker, 0.5)
    broker.advance_to(MONDAY_NOON_S + days * NIGHT_S)

    assert found(broker, ticket).swap == -6.0 * 0.5 * nights


def test_stop_out_closes_the_worst_position() -> None:
    """One position at a time, until the margin level is back."""
    broker = make_broker(stop_out_percent=50.0)
    small, large = buy(broker, 1.0), buy(broker, 5.0)
    broker.set_quote("EURUSD", 1.1055, 1.1056, MONDAY_NOON_S + 1)

    assert [small] == list(broker.orders)
    assert found(broker, large).comment == "[so]"
    assert broker.take_events()[-1].reason is Reason.STOP_OUT


def test_deposit_stands_in_the_history() -> None:
    """A balance entry has type 6 and no symbol."""
    (entry,) = make_broker().history

    assert (entry.order_type, entry.symbol, entry.profit) == (OrderType.BALANCE, "", 10_000.0)


def test_profit_in_another_currency_is_converted() -> None:
    """A yen profit is divided by the dollar's price in yen."""
    usdjpy = pair("USDJPY", 3, 100.0, 10)
    broker = Broker((usdjpy,))
    broker.set_quote("USDJPY", 100.0, 100.01, 1)
    ticket, _ = broker.order_send("USDJPY", OrderType.SELL, 1.0, 100.0, 0)
    broker.set_quote("USDJPY", 79.99, 80.0, 2)
    broker.order_close(ticket, 1.0, 80.0, 0)

    assert broker.balance == 35_003.13  # 10,000 and 2,000,000 yen at 79.99


def test_order_is_found_by_the_beginning_of_its_comment() -> None:
    """Open and closed ones alike."""
    broker = make_broker()
    first, second = buy(broker, 0.1, comment="~one a"), buy(broker, 0.1, comment="~one b")
    broker.order_close(first, 0.1, BID, 3)

    assert [second, first] == [order.ticket for order in broker.find_by_comment("~one")]


def test_clock_does_not_go_back() -> None:
    """A late quote is taken, its time is not."""
    broker = make_broker()
    broker.set_quote("EURUSD", 1.1, 1.1001, MONDAY_NOON_S - 5)

    assert broker.now_s == MONDAY_NOON_S


def test_symbol_without_a_point_cannot_be_traded() -> None:
    """A symbol that has just been selected has no data yet."""
    empty = make_symbol("NEW", 2, "USD", 1.0, 1, point=0.0)
    broker = Broker((empty,))
    broker.set_quote("NEW", 1.0, 1.01, 1)

    assert (-1, Code.OFF_QUOTES) == broker.order_send("NEW", 0, 1.0, 1.01, 3)
