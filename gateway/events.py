"""What happened to orders, told from two looks at them: for a terminal that publishes nothing.

`differences` is pure: the lists before and now, events out, in the shape of docs/protocol.md,
"The publishing socket". `OrderWatch` looks every now and then. What begins and ends between two
looks is told from the history, late but whole; who caused it cannot be told.
"""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable, Iterable, Iterator, Mapping
from enum import StrEnum

from gateway.core.evidence import PENDING_TYPES
from gateway.core.messages import Json, Outcome, Result

Order = Mapping[str, Json]
Orders = Mapping[int, Order]

POSITION_TYPES = frozenset({0, 1})
_SUCCESSOR = re.compile(r"\bto #(\d{1,10})")
_PREDECESSOR = re.compile(r"\bfrom #(\d{1,10})")


class Event(StrEnum):
    """What happened to an order."""

    OPENED = "opened"
    MODIFIED = "modified"
    PARTIALLY_CLOSED = "partially_closed"
    CLOSED = "closed"
    DELETED = "deleted"
    FILLED = "filled"


_REASONS = (("[sl]", "stop_loss"), ("[tp]", "take_profit"), ("[expiration]", "expired"))
"""What the broker writes at the end of a comment; `[so]` is a broker's fashion, not MT4's."""


def differences(
    before: Orders, now: Orders, history: Orders, known: Iterable[int]
) -> list[dict[str, Json]]:
    """Tell what happened between two looks, the oldest ticket first.

    Args:
        before: Open and pending orders by ticket at the earlier look.
        now: The same at this one.
        history: Closed orders by ticket, read after `now`.
        known: Tickets of the history at the earlier look.
    """
    seen = frozenset(known)
    heirs = _heirs(now, history)
    # An heir is not opened: it is what a partial close has left.
    inherited = {heir for ticket in before.keys() - now.keys() for heir in _line(ticket, heirs)}
    events: list[dict[str, Json]] = []
    for ticket in sorted(before.keys() | now.keys() | (history.keys() - seen)):
        if ticket in inherited:
            continue
        if ticket in before and ticket in now:
            events += _changed(before[ticket], now[ticket])
        elif ticket in before:
            events += _gone(before[ticket], ticket, now, history, heirs)
        elif ticket in now:
            events.append(_event(Event.OPENED, now[ticket]))
        elif _is_trade(history[ticket]):
            events += _passed(history[ticket])
    return events


def _event(
    event: Event, order: Order, reason: str = "unknown", previous_ticket: int | None = None
) -> dict[str, Json]:
    return {
        "event": str(event),
        "reason": reason,
        "order": dict(order),
        "previous_ticket": previous_ticket,
    }


def _changed(old: Order, new: Order) -> Iterator[dict[str, Json]]:
    if old["order_type"] in PENDING_TYPES and new["order_type"] in POSITION_TYPES:
        yield _event(Event.FILLED, new)
        names = ["sl", "tp"]
    elif new["order_type"] in PENDING_TYPES:
        names = ["sl", "tp", "open_price", "expiration"]
    else:
        names = ["sl", "tp"]
    if any(old.get(name) != new.get(name) for name in names):
        yield _event(Event.MODIFIED, new)


def _gone(
    old: Order, ticket: int, now: Orders, history: Orders, heirs: Mapping[int, int]
) -> Iterator[dict[str, Json]]:
    """Tell of an order that is no longer open."""
    line = list(_line(ticket, heirs))
    last = line[-1] if line else ticket
    end = now.get(last) or history.get(last) or old
    was_pending = old["order_type"] in PENDING_TYPES
    if was_pending and end["order_type"] in PENDING_TYPES:
        yield _event(Event.DELETED, end, _reason(end))
        return
    if was_pending:
        yield _event(Event.FILLED, history.get(ticket, end))
    if line:
        yield _event(Event.PARTIALLY_CLOSED, end, previous_ticket=ticket)
    if last not in now:
        yield _event(Event.CLOSED, end, _reason(end))


def _passed(order: Order) -> Iterator[dict[str, Json]]:
    """Tell of an order that came and went between two looks."""
    yield _event(Event.OPENED, order)
    is_pending = order["order_type"] in PENDING_TYPES
    yield _event(Event.DELETED if is_pending else Event.CLOSED, order, _reason(order))


def _reason(order: Order) -> str:
    comment = str(order.get("comment") or "")
    return next((reason for tail, reason in _REASONS if comment.endswith(tail)), "unknown")


def _heirs(now: Orders, history: Orders) -> dict[int, int]:
    """Map a partially closed ticket to the one that holds its remainder."""
    heirs: dict[int, int] = {}
    for ticket, order in history.items():
        if match := _SUCCESSOR.search(str(order.get("comment") or "")):
            heirs[ticket] = int(match[1])
    for ticket, order in [*history.items(), *now.items()]:
        if match := _PREDECESSOR.search(str(order.get("comment") or "")):
            heirs[int(match[1])] = ticket
    return {old: new for old, new in heirs.items() if new > old and (new in now or new in history)}


def _line(ticket: int, heirs: Mapping[int, int]) -> Iterator[int]:
    """Follow a ticket to what is left of it; each heir is younger, so this ends."""
    while (heir := heirs.get(ticket)) is not None:
        yield heir
        ticket = heir


def _is_trade(order: Order) -> bool:
    return order["order_type"] in POSITION_TYPES | PENDING_TYPES


def by_ticket(orders: Json) -> dict[int, Order] | None:
    """Read a list of orders; None when it is none."""
    if orders is None:
        return {}  # the existing server leaves an empty list out
    if not isinstance(orders, list):
        return None
    read: dict[int, Order] = {}
    for order in orders:
        if not isinstance(order, dict):
            return None
        if type(order.get("ticket")) is not int or type(order.get("order_type")) is not int:
            return None
        read[order["ticket"]] = order
    return read


# ---- looking ----------------------------------------------------------------------------

ACCOUNT = {
    "balance": "ACCOUNT_BALANCE",
    "equity": "ACCOUNT_EQUITY",
    "margin": "ACCOUNT_MARGIN",
    "free_margin": "ACCOUNT_MARGIN_FREE",
    "profit": "ACCOUNT_PROFIT",
}
"""The keys of an account event, and the properties that hold them."""

Ask = Callable[[str, dict[str, Json]], Awaitable[Result]]
Publish = Callable[[str, dict[str, Json]], None]


class OrderWatch:
    """Look at the orders and the account again and again, and publish what is different.

    The history is read only when an order has gone or the balance has changed: it is long, and
    the terminal serves nobody else while it writes it.

    Args:
        ask: Reads from the terminal.
        publish: Takes the kind, `order` or `account`, and the event.
    """

    def __init__(self, ask: Ask, publish: Publish) -> None:
        self._ask = ask
        self._publish = publish
        self._login: Json = None
        self._orders: dict[int, Order] | None = None
        self._known: frozenset[int] = frozenset()
        self._account: dict[str, Json] = {}

    async def look(self) -> None:
        """Look once. What cannot be read now is told at a later look; nothing is lost."""
        who = await self._read("GET_ACCOUNT_INFO", {})
        if not isinstance(who, dict):
            return
        if who.get("login") != self._login:
            self._login, self._orders, self._account = who.get("login"), None, {}
        account = await self._read_account(who.get("currency"))
        if account is None:
            return
        orders = by_ticket(await self._read("GET_ORDERS", {}, missing=False))
        if orders is None:
            return
        if await self._tell_orders(orders, account["balance"]) and account != self._account:
            self._account = account
            self._publish("account", account)

    async def _tell_orders(self, orders: dict[int, Order], balance: Json) -> bool:
        """Publish what happened to orders; False when it could not be found out."""
        before = self._orders
        has_ended = before is None or bool(before.keys() - orders.keys())
        history: dict[int, Order] = {}
        if has_ended or balance != self._account.get("balance"):
            read = by_ticket(await self._read("GET_HISTORICAL_ORDERS", {}, missing=False))
            if read is None:
                return False
            history = read
        if before is not None:
            for event in differences(before, orders, history, self._known):
                self._publish("order", event)
        self._orders = orders
        if history:
            self._known = frozenset(history)
        return True

    async def _read_account(self, currency: Json) -> dict[str, Json] | None:
        account: dict[str, Json] = {}
        for key, name in ACCOUNT.items():
            value = await self._read("GET_ACCOUNT_INFO_DOUBLE", {"property_name": name})
            if type(value) not in (int, float):
                return None
            account[key] = value
        return account | {"currency": currency or ""}

    async def _read(self, action: str, params: dict[str, Json], *, missing: Json = None) -> Json:
        """Read one response; `missing` where there is none to be had."""
        result = await self._ask(action, params)
        return result.conclusion.response if result.outcome is Outcome.SUCCEEDED else missing
