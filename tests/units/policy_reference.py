"""The policy once more, written apart from the program's: plain dictionaries, no shared helper.

It says which rules forbid a trade, and which of them cannot be judged for want of knowledge. Slow
and literal on purpose.
"""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

Body = dict[str, Any]
Trade = tuple[str, str, Body]
"""Client, action, parameters."""

WEEK = ["mon", "tue", "wed", "thu", "fri", "sat", "sun"]
LEAST = 1e-9
BESIDE = {"comment": None, "slippage": None}
"""What does not make another order of the same."""


def verdicts(policy: Body, trade: Trade, state: Body) -> Iterator[str]:
    """Name each rule that forbids a trade, with `?` before those that cannot be judged.

    Args:
        policy: As in the file.
        trade: What is asked for.
        state: `now_s`, `utc_s`, `order`, `open`, `asked_s`, `bid`, `ask`, `passed`; None for
            what is not known. Orders as the terminal tells them.
    """
    if not policy.get("trading", False):
        yield "policy.trading"
    client, clients = trade[0], policy.get("clients", {})
    if clients and client not in clients:
        yield "policy.clients"
    yield from _layer("policy", policy, None, trade, state)
    if client in clients:
        yield from _layer(f"policy.clients.{client}", clients[client], client, trade, state)


def _layer(  # noqa: PLR0912 - one rule after the other
    path: str, rules: Body, owner: str | None, trade: Trade, state: Body
) -> Iterator[str]:
    _, action, params = trade
    opens = action == "DO_ORDER_SEND"
    by_ticket = action in ("DO_ORDER_MODIFY", "DO_ORDER_CLOSE", "DO_ORDER_DELETE")
    moves = action == "DO_ORDER_MODIFY" and "price" in params
    order = state["order"]

    if rules.get("actions") and action not in rules["actions"]:
        yield f"{path}.actions"
    if rules.get("symbols"):
        if by_ticket and order is None:
            yield f"?{path}.symbols"
        elif (order["symbol"] if by_ticket else params.get("symbol")) not in rules["symbols"]:
            yield f"{path}.symbols"
    if rules.get("magic_numbers"):
        if by_ticket and order is None:
            yield f"?{path}.magic_numbers"
        elif by_ticket:
            if order["magic_number"] not in rules["magic_numbers"]:
                yield f"{path}.magic_numbers"
        elif params.get("magic_number", 0 if opens else None) not in rules["magic_numbers"]:
            yield f"{path}.magic_numbers"
    sides, most_lots = rules.get("sides"), rules.get("max_lots_per_order")
    if opens and sides and ["buy", "sell"][params["order_type"] % 2] not in sides:
        yield f"{path}.sides"
    if opens and most_lots is not None and params["lots"] - most_lots > LEAST:
        yield f"{path}.max_lots_per_order"
    lines = rules.get("trading_hours")
    if (opens or moves) and lines and not any(_is_open(line, state["utc_s"]) for line in lines):
        yield f"{path}.trading_hours"
    if (opens or moves) and "price" in params and rules.get("price_collar_percent") is not None:
        if state["bid"] is None or (moves and order is None):
            yield f"?{path}.price_collar_percent"
        else:
            kind = params["order_type"] if opens else order["order_type"]
            market = state["bid"] if kind % 2 else state["ask"]
            if abs(params["price"] / market - 1) * 100 > rules["price_collar_percent"] + LEAST:
                yield f"{path}.price_collar_percent"
    if opens:
        yield from _pace(path, rules, owner, trade, state)
        yield from _exposure(path, rules, owner, params["lots"], state)


def _pace(path: str, rules: Body, owner: str | None, trade: Trade, state: Body) -> Iterator[str]:
    """Judge a new order by those shortly before it."""
    client, _, params = trade
    window_s, most = rules.get("duplicate_window_s"), rules.get("max_orders_per_minute")
    counted = 0
    for one in state["passed"]:
        age_s = state["now_s"] - one["at_s"]
        is_same = one["client"] == client and one["params"] | BESIDE == params | BESIDE
        if window_s is not None and is_same and one["fate"] != "nothing" and age_s < window_s:
            yield f"{path}.duplicate_window_s"
        if age_s < 60 and owner in (None, one["client"]):
            counted += 1
    if most is not None and counted + 1 > most:
        yield f"{path}.max_orders_per_minute"


def _exposure(
    path: str, rules: Body, owner: str | None, wanted: float, state: Body
) -> Iterator[str]:
    """Judge a new order by what is open, and may be."""
    most_orders, most_lots = rules.get("max_open_orders"), rules.get("max_open_lots")
    if most_orders is None and most_lots is None:
        return
    if state["open"] is None:
        if most_orders is not None:
            yield f"?{path}.max_open_orders"
        if most_lots is not None:
            yield f"?{path}.max_open_lots"
        return
    numbers = rules.get("magic_numbers") or []
    lots = [
        order["lots"]
        for order in state["open"]
        if owner is None or order["magic_number"] in numbers
    ]
    for one in state["passed"]:
        is_mine = owner is None or one["client"] == owner or one["magic_number"] in numbers
        is_seen = any(order["comment"].startswith(one["token"]) for order in state["open"])
        is_over = one["ended_s"] is not None and one["ended_s"] < state["asked_s"]
        if is_mine and one["fate"] != "nothing" and not is_seen and not is_over:
            lots.append(one["lots"])
    if most_orders is not None and len(lots) + 1 > most_orders:
        yield f"{path}.max_open_orders"
    if most_lots is not None and sum(lots) + wanted - most_lots > LEAST:
        yield f"{path}.max_open_lots"


def _is_open(line: str, utc_s: float) -> bool:
    now = datetime.fromtimestamp(utc_s, UTC)
    days, hours = line.split()
    first, last = days.split("-") if "-" in days else (days, days)
    begin, end = hours.split("-")
    if now.weekday() not in range(WEEK.index(first), WEEK.index(last) + 1):
        return False
    return begin <= now.strftime("%H:%M") < end


def token(client: str, id_: str) -> str:
    """Write a command's token as docs/safety.md has it."""
    digest = hashlib.blake2b(f"{client}/{id_}".encode(), digest_size=8).digest()
    return "~" + base64.b32encode(digest).decode().rstrip("=")
