"""Who may do what, as a table."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import pytest
from pydantic import ValidationError

from gateway.actions import ACTIONS, digest_of
from gateway.core.evidence import token_of
from gateway.core.messages import Command, CommandId, Effect, Json, Lane
from gateway.policy import Halt, Known, OpenOrders, Order, Passed, first_refusal, halted, refusal
from gateway.policy_settings import Policy, PolicyInForce, TradeName, flattened
from gateway.symbols import Quote

NOW_S = 1000.0
UTC_S = datetime(2026, 3, 4, 12, 30, tzinfo=UTC).timestamp()  # a Wednesday


def command(action: str = "DO_ORDER_SEND", client: str = "me", **params: Json) -> Command:
    """Make a command; only what the policy looks at matters."""
    known = ACTIONS[action]
    return Command(
        key=CommandId(client, "1"),
        asker=client,
        action=action,
        effect=known.effect,
        lane=known.lane,
        params=params,
        digest=digest_of(action, params) if known.effect is Effect.TRADE else "",
        received_s=NOW_S,
        received_at_s=UTC_S,
        deadline_s=NOW_S + 10,
    )


ORDER: dict[str, Json] = {"symbol": "EURUSD", "order_type": 0, "lots": 0.5, "magic_number": 7}
SEND = command(**ORDER)
CLOSE = command("DO_ORDER_CLOSE", ticket=5)
THEIRS = Order("USDJPY", 1, 0.5, 9)
"""The order of the ticket that is closed, and an order that is open."""


def sent(id_: str = "0", *, client: str = "me", **more: Any) -> Passed:
    """Make an order that was let through ten seconds ago and is under way."""
    one = Passed(CommandId(client, id_), SEND.digest, 0.5, 7, at_s=NOW_S - 10)
    return replace(one, **more)


def known(*seen: Order, passed: tuple[Passed, ...] = (), **more: Any) -> Known:
    """Make what is known: the open orders, asked for now, and what was let through."""
    everything: dict[str, Any] = {
        "order": THEIRS,
        "open_orders": OpenOrders(NOW_S, seen),
        "price": Quote(1.0, 1.1),
        "passed": passed,
    }
    return Known(NOW_S, UTC_S, **(everything | more))


SEEN = Order("EURUSD", 0, 0.5, 7, token_of(CommandId("me", "0")))
FREE = known()

TABLE: list[tuple[str, dict[str, Any], Command, Known, str | None]] = [
    ("trading is off", {"trading": False}, SEND, FREE, "trading is off"),
    ("a read", {"trading": False}, command("GET_ORDERS"), FREE, None),
    ("no rule", {}, SEND, FREE, None),
    # ---- grants: every trade
    ("client", {"clients": {"bot": {}}}, SEND, FREE, "client 'me' is not listed"),
    ("client closes", {"clients": {"bot": {}}}, CLOSE, FREE, "client 'me' is not listed"),
    ("own client", {"clients": {"me": {}}}, SEND, FREE, None),
    ("action", {"actions": ["DO_ORDER_SEND"]}, CLOSE, FREE, "policy.actions = DO_ORDER_SEND"),
    ("own action", {"actions": ["DO_ORDER_SEND"]}, SEND, FREE, None),
    ("symbol", {"symbols": ["USDJPY"]}, SEND, FREE, "symbol 'EURUSD' is not allowed"),
    ("own symbol", {"symbols": ["EURUSD"]}, SEND, FREE, None),
    ("symbol of a ticket", {"symbols": ["EURUSD"]}, CLOSE, FREE, "symbol 'USDJPY' is not"),
    ("own symbol of a ticket", {"symbols": ["USDJPY"]}, CLOSE, FREE, None),
    ("symbol of no ticket", {"symbols": ["USDJPY"]}, CLOSE, known(order=None), "the order of the"),
    ("all symbols", {"symbols": ["EURUSD"]}, command("DO_CLOSE_ALL"), known(order=None), "missing"),
    (
        "all of a symbol",
        {"symbols": ["EURUSD"]},
        command("DO_CLOSE_ALL", symbol="EURUSD"),
        known(order=None),
        None,
    ),
    ("magic number", {"magic_numbers": [1, 2]}, SEND, known(order=None), "magic_number 7 is not"),
    ("own magic number", {"magic_numbers": [7]}, SEND, known(order=None), None),
    (
        "magic number left out",
        {"magic_numbers": [7]},
        command(symbol="EURUSD", order_type=0, lots=0.1),
        known(order=None),
        "magic_number 0 is not allowed; policy.magic_numbers = 7",
    ),
    ("magic number of a ticket", {"magic_numbers": [7]}, CLOSE, FREE, "magic_number 9 is not"),
    ("own one of a ticket", {"magic_numbers": [9]}, CLOSE, FREE, None),
    ("all numbers", {"magic_numbers": [9]}, command("DO_CLOSE_ALL"), known(order=None), "missing"),
    # ---- limits: new risk only
    ("side", {"sides": ["sell"]}, SEND, FREE, "side buy is not allowed; policy.sides = sell"),
    ("own side", {"sides": ["buy"]}, SEND, FREE, None),
    ("pending side", {"sides": ["buy"]}, command(**ORDER | {"order_type": 5}), FREE, "side sell"),
    ("lots", {"max_lots_per_order": 0.4}, SEND, FREE, "policy.max_lots_per_order = 0.4"),
    ("just the lots", {"max_lots_per_order": 0.5}, SEND, FREE, None),
    (
        "a large close",
        {"max_lots_per_order": 0.1, "max_open_lots": 0.1, "sides": ["sell"], "max_open_orders": 1},
        command("DO_ORDER_CLOSE", ticket=1, lots=5.0),
        known(THEIRS, SEEN),
        None,
    ),
    ("open lots", {"max_open_lots": 0.9}, SEND, known(SEEN), "1 lots would be open"),
    ("just the open lots", {"max_open_lots": 1.0}, SEND, known(SEEN), None),
    ("open orders", {"max_open_orders": 2}, SEND, known(SEEN, THEIRS), "3 orders would be open"),
    ("just the open orders", {"max_open_orders": 3}, SEND, known(SEEN, THEIRS), None),
    ("unread orders", {"max_open_orders": 9}, SEND, known(open_orders=None), "the open orders"),
    ("one under way", {"max_open_orders": 1}, SEND, known(passed=(sent(),)), "2 orders would"),
    ("one under way, seen", {"max_open_orders": 2}, SEND, known(SEEN, passed=(sent(),)), None),
    (
        "ended since the look",
        {"max_open_orders": 1},
        SEND,
        known(passed=(sent(ended_s=NOW_S + 1),)),
        "2 orders would be open",
    ),
    (
        "ended before the look",
        {"max_open_orders": 1},
        SEND,
        known(passed=(sent(ended_s=NOW_S - 1),)),
        None,
    ),
    (
        "refused since the look",
        {"max_open_orders": 1},
        SEND,
        known(passed=(sent(ended_s=NOW_S + 1, may_have_run=False),)),
        None,
    ),
    (
        "own open orders",
        {"clients": {"me": {"max_open_orders": 1, "magic_numbers": [7]}}},
        SEND,
        known(THEIRS, passed=(sent(client="other", magic_number=9),), order=None),
        None,
    ),
    (
        "own open lots",
        {"clients": {"me": {"max_open_lots": 0.6, "magic_numbers": [7]}}},
        SEND,
        known(SEEN, THEIRS, order=None),
        "1 lots would be open; policy.clients.me.max_open_lots = 0.6",
    ),
    ("rate", {"max_orders_per_minute": 1}, SEND, known(passed=(sent(),)), "sent within 60 s"),
    (
        "refused ones count for the rate",
        {"max_orders_per_minute": 1},
        SEND,
        known(passed=(sent(ended_s=NOW_S - 9, may_have_run=False),)),
        "policy.max_orders_per_minute = 1",
    ),
    (
        "a minute ago",
        {"max_orders_per_minute": 1},
        SEND,
        known(passed=(sent(at_s=NOW_S - 60),)),
        None,
    ),
    (
        "rate of others",
        {"clients": {"me": {"max_orders_per_minute": 1}}},
        SEND,
        known(passed=(sent(client="other"),)),
        None,
    ),
    ("duplicate", {"duplicate_window_s": 30}, SEND, known(passed=(sent(),)), "as id '0'"),
    ("old duplicate", {"duplicate_window_s": 10}, SEND, known(passed=(sent(),)), None),
    (
        "duplicate with another comment",
        {"duplicate_window_s": 30},
        command(**ORDER, comment="again", slippage=3),
        known(passed=(sent(),)),
        "as id '0'",
    ),
    (
        "duplicate of another client",
        {"duplicate_window_s": 30},
        SEND,
        known(passed=(sent(client="other"),)),
        None,
    ),
    ("another order", {"duplicate_window_s": 30}, SEND, known(passed=(sent(intent="x"),)), None),
    (
        "duplicate of a refused one",
        {"duplicate_window_s": 30},
        SEND,
        known(passed=(sent(may_have_run=False, ended_s=NOW_S),)),
        None,
    ),
    (
        "collar of a buy",
        {"price_collar_percent": 10},
        command(**ORDER | {"order_type": 2, "price": 0.98}),
        known(order=None),
        "price 0.98 is 10.9 % from the market's 1.1; policy.price_collar_percent = 10",
    ),
    (
        "within the collar of a sell",
        {"price_collar_percent": 10},
        command(**ORDER | {"order_type": 3, "price": 1.1}),
        known(order=None),
        None,
    ),
    ("collar without a price", {"price_collar_percent": 10}, SEND, known(price=None), None),
    (
        "collar without a market",
        {"price_collar_percent": 10},
        command(**ORDER | {"price": 1.0}),
        known(price=None),
        "policy.price_collar_percent cannot be judged: the market's price",
    ),
    (
        "a pending order is moved",
        {"price_collar_percent": 10},
        command("DO_ORDER_MODIFY", ticket=5, price=2.0),
        FREE,
        "100 % from the market's 1;",
    ),
    (
        "stops are moved",
        {"price_collar_percent": 1},
        command("DO_ORDER_MODIFY", sl=9.0),
        FREE,
        None,
    ),
    ("within hours", {"trading_hours": ["mon-fri 12:30-12:31"]}, SEND, FREE, None),
    ("after hours", {"trading_hours": ["mon-fri 12:00-12:30"]}, SEND, FREE, "wed 12:30 UTC is"),
    ("another day", {"trading_hours": ["thu-sun 00:00-24:00"]}, SEND, FREE, "outside of trading"),
    (
        "moved after hours",
        {"trading_hours": ["sun 00:00-24:00"]},
        command("DO_ORDER_MODIFY", ticket=5, price=1.0),
        FREE,
        "policy.trading_hours = sun 00:00-24:00",
    ),
    ("closed after hours", {"trading_hours": ["sun 00:00-24:00"]}, CLOSE, FREE, None),
    # ---- both layers hold
    (
        "for all, though less for one",
        {"max_lots_per_order": 0.4, "clients": {"me": {"max_lots_per_order": 9}}},
        SEND,
        FREE,
        "policy.max_lots_per_order = 0.4",
    ),
    (
        "for one, though more for all",
        {"max_lots_per_order": 9, "clients": {"me": {"max_lots_per_order": 0.4}}},
        SEND,
        FREE,
        "lots 0.5 are too many for one order; policy.clients.me.max_lots_per_order = 0.4",
    ),
]


@pytest.mark.parametrize(
    ("rules", "wanted", "state", "part"),
    [pytest.param(*row[1:], id=row[0]) for row in TABLE],
)
def test_policy(rules: dict[str, Any], wanted: Command, state: Known, part: str | None) -> None:
    """Each rule says which value broke it, and which rule that was."""
    cause = refusal(wanted, Policy.model_validate({"trading": True} | rules), state)

    if part is None:
        assert cause is None
    else:
        assert cause is not None
        assert part in cause.message
        assert (503 if "cannot be judged" in cause.message else 403) == cause.code


@pytest.mark.parametrize(
    ("rules", "wanted", "state", "part"),
    [pytest.param(*row[1:], id=row[0]) for row in TABLE],
)
def test_first_look_denies_nothing_that_may_pass(
    rules: dict[str, Any], wanted: Command, state: Known, part: str | None
) -> None:
    """What is denied before anything is looked up is denied after it as well."""
    policy = Policy.model_validate({"trading": True} | rules)
    at_once = first_refusal(wanted, policy, UTC_S)

    assert at_once is None or part is not None


def test_every_trade_can_be_named() -> None:
    """The catalogue's trades are what `actions` may list."""
    trades = [action.name for action in ACTIONS.values() if action.effect is Effect.TRADE]

    assert sorted(trades) == sorted(TradeName.__args__)  # type: ignore[attr-defined]


@pytest.mark.parametrize(
    "text", ["mon 10:00-09:00", "fri-mon 00:00-24:00", "12:00-13:00", "mon 9-10"]
)
def test_hours_that_make_no_sense_are_refused(text: str) -> None:
    """What ends before it begins would never be open."""
    with pytest.raises(ValidationError):
        Policy(trading_hours=(text,))


def test_limit_on_open_orders_needs_to_tell_whose_they_are() -> None:
    """Without magic numbers a client's orders are not known from others."""
    with pytest.raises(ValidationError, match=r"clients\.me\.max_open_lots needs .*magic_numbers"):
        Policy.model_validate({"clients": {"me": {"max_open_lots": 1}}})


def test_changes_are_listed() -> None:
    """Whoever reloads is told what is different now."""
    policy = PolicyInForce(Policy(trading=True, symbols=("EURUSD",)))
    changes = policy.take(
        Policy.model_validate(
            {"trading": True, "clients": {"me": {"max_open_orders": 2, "magic_numbers": [1]}}}
        )
    )

    assert [
        "policy.clients.me: none -> listed",
        "policy.clients.me.magic_numbers: none -> [1]",
        "policy.clients.me.max_open_orders: none -> 2",
        "policy.symbols: ['EURUSD'] -> none",
    ] == changes
    assert "policy.symbols" not in flattened(policy.current)


def test_halt_may_leave_closing_allowed() -> None:
    """An operator's halt concerns all trades, or those that add risk."""
    halt = Halt("the broker looks odd", UTC_S)

    assert Lane.REDUCE is CLOSE.lane
    for policy, denied in ((Policy(), True), (Policy(halt_allows_reducing=True), False)):
        assert denied == (halted(CLOSE, policy, halt) is not None)
        assert halted(SEND, policy, halt) is not None
        assert halted(command("GET_ORDERS"), policy, halt) is None
