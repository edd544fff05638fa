"""Random policies and trades: nothing passes that an evaluation written apart denies.

`MT4GW_POLICY_EXAMPLES=10000` tries as many; by default it is a few hundred.
"""

from __future__ import annotations

import os
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from gateway.actions import ACTIONS, digest_of
from gateway.core.messages import Command, CommandId, Effect
from gateway.policy import Known, OpenOrders, Passed, intent_of, needs, order_of, refusal
from gateway.policy_settings import Policy
from gateway.symbols import Quote
from tests.units.policy_reference import Body, token, verdicts

EXAMPLES = int(os.environ.get("MT4GW_POLICY_EXAMPLES", "200"))

CLIENTS = ["a", "b"]
SYMBOLS = ["EURUSD", "USDJPY"]
NUMBERS = [0, 7, 8]
HOURS = ["mon-fri 07:00-17:30", "wed 00:00-12:30", "sat-sun 00:00-24:00", "fri 12:00-12:01"]
TRADES = [action.name for action in ACTIONS.values() if action.effect is Effect.TRADE]
LOTS = st.integers(1, 30).map(lambda steps: steps / 10)
PRICE = st.sampled_from([0.9, 0.95, 1.0, 1.05, 1.1, 1.2])
SECONDS = st.integers(0, 130).map(float)


def some(values: list[Any]) -> st.SearchStrategy[list[Any]]:
    """Choose some of a few, in any order."""
    return st.lists(st.sampled_from(values), max_size=len(values), unique=True)


RULES: dict[str, st.SearchStrategy[Any]] = {
    "actions": some(TRADES),
    "symbols": some(SYMBOLS),
    "sides": some(["buy", "sell"]),
    "max_lots_per_order": LOTS,
    "max_open_lots": LOTS,
    "max_open_orders": st.integers(1, 4),
    "max_orders_per_minute": st.integers(1, 4),
    "price_collar_percent": st.sampled_from([1.0, 5.0, 10.0]),
    "duplicate_window_s": st.sampled_from([5.0, 60.0, 120.0]),
    "trading_hours": some(HOURS),
}


def odds(draw: st.DrawFn, of_ten: int) -> bool:
    """Say yes so often."""
    return draw(st.integers(1, 10)) <= of_ten


@st.composite
def limits(draw: st.DrawFn) -> Body:
    """Make one rule, rarely two: of many, one hides what another overlooks."""
    names = [draw(st.sampled_from([*RULES, "magic_numbers"])) for _ in range(1 + odds(draw, 2))]
    rules: Body = {name: draw(RULES[name]) for name in names if name in RULES}
    is_counted = not {"max_open_lots", "max_open_orders"}.isdisjoint(rules)
    if is_counted or "magic_numbers" in names:
        rules["magic_numbers"] = NUMBERS if odds(draw, 5) else [draw(st.sampled_from(NUMBERS))]
    return rules


@st.composite
def policies(draw: st.DrawFn) -> Body:
    """Make a policy, as in a file: rules for all, or for clients, rarely for both."""
    for_all = odds(draw, 6)
    policy = draw(limits()) if for_all else {}
    clients = draw(some(CLIENTS)) if not for_all or odds(draw, 1) else []
    policy["trading"] = draw(st.integers(0, 19)) > 0
    policy["clients"] = {name: draw(limits()) for name in clients}
    return policy


def optional(draw: st.DrawFn, **values: st.SearchStrategy[Any]) -> Body:
    """Choose some of the parameters."""
    return {name: draw(value) for name, value in values.items() if draw(st.booleans())}


@st.composite
def trades(draw: st.DrawFn) -> tuple[str, str, Body]:
    """Make a trade: client, action, parameters."""
    client = draw(st.sampled_from(CLIENTS))
    action = "DO_ORDER_SEND" if odds(draw, 6) else draw(st.sampled_from(TRADES))
    number = st.sampled_from(NUMBERS)
    symbol = st.sampled_from(SYMBOLS)
    params: Body
    match action:
        case "DO_ORDER_SEND":
            params = {"symbol": draw(symbol), "order_type": draw(st.integers(0, 5))}
            params |= {"lots": draw(LOTS)} | optional(draw, price=PRICE, magic_number=number)
            params |= optional(draw, comment=st.sampled_from(["", "again"]))
        case "DO_CLOSE_ALL":
            params = optional(draw, symbol=symbol, magic_number=number)
        case "DO_ORDER_MODIFY":
            params = {"ticket": 5} | optional(draw, price=PRICE, sl=PRICE)
        case _:
            params = {"ticket": 5} | optional(draw, price=PRICE)
    return client, action, params


@st.composite
def orders(draw: st.DrawFn) -> Body:
    """Make an order as a terminal tells it, perhaps one that the gateway has sent."""
    comment = draw(st.sampled_from(["", "by hand", *(token("a", str(n)) + "x" for n in range(4))]))
    return {
        "symbol": draw(st.sampled_from(SYMBOLS)),
        "order_type": draw(st.integers(0, 5)),
        "lots": draw(LOTS),
        "magic_number": draw(st.sampled_from(NUMBERS)),
        "comment": comment,
    }


@st.composite
def passed(draw: st.DrawFn, trade: tuple[str, str, Body], number: int) -> Body:
    """Make an order that was let through before, perhaps the same as the trade."""
    params = dict(trade[2]) if trade[1] == "DO_ORDER_SEND" and draw(st.booleans()) else {}
    params |= optional(draw, comment=st.sampled_from(["", "once more"])) if params else {}
    params = params or {"symbol": "EURUSD", "order_type": 0, "lots": draw(LOTS), "price": 1.0}
    client = draw(st.sampled_from(CLIENTS))
    age_s = draw(SECONDS)
    ended_s = 1000 - age_s + draw(SECONDS) if draw(st.booleans()) else None
    fate = draw(st.sampled_from(["ran", "nothing"])) if ended_s is not None else "open"
    return {
        "client": client,
        "id": str(number),
        "token": token(client, str(number)),
        "params": params,
        "lots": params["lots"],
        "magic_number": params.get("magic_number", 0),
        "at_s": 1000 - age_s,
        "ended_s": ended_s,
        "fate": fate,
    }


@st.composite
def situations(draw: st.DrawFn) -> tuple[Body, tuple[str, str, Body], Body]:
    """Make a policy, a trade, and what is known."""
    trade = draw(trades())
    is_priced, is_read = odds(draw, 9), odds(draw, 9)
    minute = draw(st.sampled_from([0, 419, 420, 719, 720, 721, 749, 750, 1049, 1050, 1439]))
    midnight_s = 1_771_977_600 + 86_400 * draw(st.integers(0, 6))
    state = {
        "now_s": 1000.0,
        "utc_s": midnight_s + minute * 60.0 + draw(st.integers(0, 59)),
        "order": draw(orders()) if odds(draw, 8) else None,
        "open": draw(st.lists(orders(), max_size=3)) if is_read else None,
        "asked_s": 1000 - draw(SECONDS),
        "bid": 1.0 if is_priced else None,
        "ask": 1.01 if is_priced else None,
        "passed": [draw(passed(trade, number)) for number in range(draw(st.integers(0, 4)))],
    }
    return draw(policies()), trade, state


def command_of(client: str, action: str, params: Body) -> Command:
    """Make the command of a trade."""
    return Command(
        key=CommandId(client, "new"),
        asker=client,
        action=action,
        effect=Effect.TRADE,
        lane=ACTIONS[action].lane,
        params=params,
        digest=digest_of(action, params),
        received_s=1000.0,
        received_at_s=0.0,
        deadline_s=1010.0,
    )


def known_of(state: Body) -> Known:
    """Say the same state in the program's words."""
    seen = None
    if state["open"] is not None:
        read = tuple(order for order in map(order_of, state["open"]) if order is not None)
        assert len(read) == len(state["open"])
        seen = OpenOrders(state["asked_s"], read)
    return Known(
        state["now_s"],
        state["utc_s"],
        order=order_of(state["order"]),
        open_orders=seen,
        price=Quote(state["bid"], state["ask"]) if state["bid"] else None,
        passed=[
            Passed(
                CommandId(one["client"], one["id"]),
                intent_of(command_of(one["client"], "DO_ORDER_SEND", one["params"])),
                one["lots"],
                one["magic_number"],
                one["at_s"],
                one["ended_s"],
                one["fate"] != "nothing",
            )
            for one in state["passed"]
        ],
    )


@pytest.mark.timeout(60 + EXAMPLES // 10)
@settings(
    max_examples=EXAMPLES,
    deadline=None,
    derandomize=True,
    suppress_health_check=[HealthCheck.too_slow],
)
@given(situations())
def test_policy_is_what_the_reference_says(
    situation: tuple[Body, tuple[str, str, Body], Body],
) -> None:
    """It denies what the reference denies, for one of its reasons, and nothing else."""
    rules, trade, state = situation
    broken = set(verdicts(rules, trade, state))
    policy, command = Policy.model_validate(rules), command_of(*trade)
    cause = refusal(command, policy, known_of(state))

    if cause is None:
        assert set() == broken
    elif cause.code == 503:
        path = cause.message.split(" ")[0]
        assert f"?{path}" in broken
        assert needs(command, policy)
    elif "trading is off" in cause.message:
        assert "policy.trading" in broken
    elif "is not listed" in cause.message:
        assert "policy.clients" in broken
    else:
        assert cause.message.rpartition("; ")[2].split(" = ")[0] in broken
