"""Who may do what. Pure: a command and what is known in, a refusal or nothing out.

A fresh gateway only reads: trades are denied until the operator switches them on. Each rule of
`policy_settings.Limits` is one line of `RULES`; it holds for all together, and once more for the
client. A rule that cannot be judged, for what it needs is not known, denies.

*Grants* say whose trade it may be, and concern every trade: actions, symbols, magic numbers.
*Limits* stop new risk, and concern only what can add to it: a new order, and a pending order that
is moved. Closing and deleting is never too much, too often or too late.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import StrEnum
from functools import lru_cache
from typing import Any

from gateway.actions import digest_of
from gateway.core.evidence import TOKEN_LENGTH, token_of
from gateway.core.messages import Cause, Command, CommandId, Json, Lane, Source
from gateway.policy_settings import DAYS, MINUTE_S, Limits, Policy, Window, read_window
from gateway.symbols import Quote

BUY_TYPES = frozenset({0, 2, 4})
NOISE = 1e-9
"""What floating-point sums leave, and nobody can have meant: of lots, and of a percentage."""

SAID_BESIDE = frozenset({"comment", "slippage"})
"""Parameters that an order may be repeated with another value of, and be the same."""

TICKET_ACTIONS = frozenset({"DO_ORDER_MODIFY", "DO_ORDER_CLOSE", "DO_ORDER_DELETE"})


@dataclass(frozen=True, slots=True)
class Halt:
    """An operator has stopped trading."""

    reason: str
    at_s: float


def halted(command: Command, policy: Policy, halt: Halt | None) -> Cause | None:
    """Say that trading is halted, if that concerns the command."""
    if halt is None or not command.is_trade:
        return None
    if policy.halt_allows_reducing and command.lane is Lane.REDUCE:
        return None
    return Cause(Source.GATEWAY, 423, "HALTED", f"trading is halted: {halt.reason}")


# ---- what has to be known -----------------------------------------------------------------------


class Fact(StrEnum):
    """What a rule may have to know, in words."""

    ORDER = "the order of the ticket"
    OPEN_ORDERS = "the open orders"
    PRICE = "the market's price"
    PASSED = "what was let through"


@dataclass(frozen=True, slots=True)
class Order:
    """One order of the account, as far as rules look at it.

    Attributes:
        token: What its comment begins with; that of a command if the gateway sent it.
    """

    symbol: str
    order_type: int
    lots: float
    magic_number: int
    token: str = ""


@dataclass(frozen=True, slots=True)
class OpenOrders:
    """All open and pending orders, as the terminal told them after `asked_s` (monotonic)."""

    asked_s: float
    orders: tuple[Order, ...]


@dataclass(frozen=True, slots=True)
class Passed:
    """An order that was let through.

    Attributes:
        intent: See `intent_of`.
        at_s: When, on the monotonic clock.
        ended_s: When its result was known; None while it is not, or is `unknown`.
        may_have_run: Not proved to have opened nothing.
    """

    key: CommandId
    intent: str
    lots: float
    magic_number: int
    at_s: float
    ended_s: float | None = None
    may_have_run: bool = True


@dataclass(frozen=True, slots=True)
class Known:
    """What is known when a trade is judged; None where it is not.

    Attributes:
        now_s: On the monotonic clock.
        utc_s: Seconds since 1970.
        order: That of the command's ticket, open or closed.
        price: Of the symbol it is about.
        passed: Orders let through, as far back as `Policy.memory_s`, and all under way.
    """

    now_s: float
    utc_s: float
    order: Order | None = None
    open_orders: OpenOrders | None = None
    price: Quote | None = None
    passed: Sequence[Passed] | None = None

    @property
    def facts(self) -> frozenset[Fact]:
        """List what is known."""
        values = {
            Fact.ORDER: self.order,
            Fact.OPEN_ORDERS: self.open_orders,
            Fact.PRICE: self.price,
            Fact.PASSED: self.passed,
        }
        return frozenset(fact for fact, value in values.items() if value is not None)


# ---- the verdict --------------------------------------------------------------------------------


def needs(command: Command, policy: Policy) -> frozenset[Fact]:
    """Say what has to be known to judge a command."""
    if not command.is_trade:
        return frozenset()
    layers = policy.layers(command.key.client)
    return frozenset(
        fact for _, limits in layers for rule in _in_force(limits) for fact in rule.needs(command)
    )


def first_refusal(command: Command, policy: Policy, utc_s: float) -> Cause | None:
    """Say what forbids a command whatever else is known; not yet that it may pass."""
    return _verdict(command, policy, Known(0.0, utc_s), only_certain=True)


def refusal(command: Command, policy: Policy, known: Known) -> Cause | None:
    """Say which rule forbids the command, with the value that broke it; None when none does.

    A rule that needs what is not known denies (503, `STATE_UNKNOWN`).
    """
    return _verdict(command, policy, known, only_certain=False)


def _verdict(command: Command, policy: Policy, known: Known, *, only_certain: bool) -> Cause | None:
    if not command.is_trade:
        return None
    if not policy.trading:
        return _forbidden("trading is off: set policy.trading = true to trade through this gateway")
    client = command.key.client
    if policy.clients and client not in policy.clients:
        # Whom else it lists is not told to a stranger.
        return _forbidden(f"client {client!r} is not listed in policy.clients")
    for path, limits in policy.layers(client):
        scope = Scope(client, frozenset(limits.magic_numbers)) if limits is not policy else ALL
        for rule in _in_force(limits):
            value = getattr(limits, rule.name)
            if missing := rule.needs(command) - known.facts:
                if only_certain:
                    continue
                return _unknown(f"{path}.{rule.name}", missing)
            if (reason := rule.judge(Case(command, known, scope), value)) is not None:
                return _forbidden(f"{reason}; {path}.{rule.name} = {_shown(value)}")
    return None


def _forbidden(message: str) -> Cause:
    return Cause(Source.GATEWAY, 403, "FORBIDDEN", message)


def _unknown(path: str, missing: Iterable[Fact]) -> Cause:
    what = " and ".join(sorted(missing))
    message = f"{path} cannot be judged: {what} could not be read, so nothing was sent"
    return Cause(Source.GATEWAY, 503, "STATE_UNKNOWN", message)


def _shown(value: Any) -> str:
    return ", ".join(map(str, value)) if isinstance(value, tuple) else f"{value:g}"


# ---- the rules ----------------------------------------------------------------------------------

Value = Any  # a rule's own, as `Limits` types it


@dataclass(frozen=True, slots=True)
class Scope:
    """Whose orders count: all, or those of one client, told apart by their magic numbers."""

    client: str | None = None
    magic_numbers: frozenset[int] | None = None

    def has(self, magic_number: int, client: str | None = None) -> bool:
        """Tell whether an order counts here."""
        if self.magic_numbers is None:
            return True
        return magic_number in self.magic_numbers or (client is not None and client == self.client)


ALL = Scope()


@dataclass(frozen=True, slots=True)
class Case:
    """One trade before one rule."""

    command: Command
    known: Known
    scope: Scope

    @property
    def params(self) -> Mapping[str, Json]:
        """What is asked for."""
        return self.command.params

    @property
    def is_new(self) -> bool:
        """Tell whether it is about an order that does not exist yet."""
        return self.command.action == "DO_ORDER_SEND"

    @property
    def order(self) -> Order | None:
        """The order that exists and that it is about."""
        return self.known.order if self.command.action in TICKET_ACTIONS else None

    @property
    def order_type(self) -> int | None:
        """The type of the order it is about, new or there."""
        if self.is_new:
            return int(self.params["order_type"])
        return self.order.order_type if self.order else None


def _is_new(command: Command) -> bool:
    return command.action == "DO_ORDER_SEND"


def _adds_risk(command: Command) -> bool:
    """Tell a new order, or a pending one that is moved, from what can only lessen the risk."""
    return _is_new(command) or (command.action == "DO_ORDER_MODIFY" and "price" in command.params)


def _nothing(_: Command) -> frozenset[Fact]:
    return frozenset()


def _the_order(command: Command) -> frozenset[Fact]:
    return frozenset({Fact.ORDER}) if command.action in TICKET_ACTIONS else frozenset()


def _the_price(command: Command) -> frozenset[Fact]:
    if not (_adds_risk(command) and "price" in command.params):
        return frozenset()
    return frozenset({Fact.PRICE}) | _the_order(command)


def _for_new(*facts: Fact) -> Callable[[Command], frozenset[Fact]]:
    return lambda command: frozenset(facts) if _is_new(command) else frozenset()


def _action(case: Case, allowed: Sequence[str]) -> str | None:
    action = case.command.action
    return None if action in allowed else f"{action} is not allowed"


def _symbol(case: Case, allowed: Sequence[str]) -> str | None:
    order = case.order
    symbol = order.symbol if order is not None else case.params.get("symbol")
    if symbol is None:
        return "symbol: missing; it would close positions of every symbol"
    return None if symbol in allowed else f"symbol {symbol!r} is not allowed"


def _magic_number(case: Case, allowed: Sequence[int]) -> str | None:
    order = case.order
    number = order.magic_number if order is not None else case.params.get("magic_number")
    if number is None and not case.is_new:
        return "magic_number: missing; it would close positions of every number"
    number = number or 0  # as the terminal writes it into an order that is sent without
    return None if number in allowed else f"magic_number {number} is not allowed"


def _side(case: Case, allowed: Sequence[str]) -> str | None:
    if not case.is_new:
        return None
    side = "buy" if case.order_type in BUY_TYPES else "sell"
    return None if side in allowed else f"side {side} is not allowed"


def _lots(case: Case, most: float) -> str | None:
    if not case.is_new or case.params["lots"] <= most + NOISE:
        return None
    return f"lots {case.params['lots']:g} are too many for one order"


def _open_lots(case: Case, most: float) -> str | None:
    if not case.is_new:
        return None
    lots = sum(_open(case)) + case.params["lots"]
    return None if lots <= most + NOISE else f"{lots:g} lots would be open"


def _open_orders(case: Case, most: int) -> str | None:
    if not case.is_new:
        return None
    count = len(_open(case)) + 1
    return None if count <= most else f"{count} orders would be open"


def _open(case: Case) -> list[float]:
    """List the lots of all orders that are open, or may be by the time this one is.

    An order that was let through is counted where it can be seen. Where it cannot, it counts
    unless its result was known before the terminal was asked: then it was seen, or has gone.
    """
    seen = case.known.open_orders
    assert seen is not None
    assert case.known.passed is not None
    lots = [order.lots for order in seen.orders if case.scope.has(order.magic_number)]
    tokens = {order.token for order in seen.orders}
    lots += [
        one.lots
        for one in case.known.passed
        if one.may_have_run
        and (one.ended_s is None or one.ended_s >= seen.asked_s)
        and case.scope.has(one.magic_number, one.key.client)
        and token_of(one.key) not in tokens
    ]
    return lots


def _rate(case: Case, most: int) -> str | None:
    if not case.is_new:
        return None
    assert case.known.passed is not None
    since_s = case.known.now_s - MINUTE_S
    count = sum(
        one.at_s > since_s
        for one in case.known.passed
        if case.scope is ALL or one.key.client == case.scope.client
    )
    return None if count < most else f"{count} orders were sent within {MINUTE_S:g} s"


def _duplicate(case: Case, window_s: float) -> str | None:
    if not case.is_new:
        return None
    assert case.known.passed is not None
    intent = intent_of(case.command)
    for one in case.known.passed:
        age_s = case.known.now_s - one.at_s
        if (
            one.may_have_run
            and age_s < window_s
            and one.key.client == case.command.key.client
            and one.intent == intent
        ):
            return f"the same order was sent {age_s:.1f} s ago as id {one.key.id!r}"
    return None


def _collar(case: Case, percent: float) -> str | None:
    market, asked = case.known.price, case.params.get("price")
    if market is None or asked is None or not _adds_risk(case.command):
        return None
    reference = market.ask if case.order_type in BUY_TYPES else market.bid
    away = 100 * abs(asked - reference) / reference
    if away <= percent + NOISE:
        return None
    return f"price {asked:.10g} is {away:.3g} % from the market's {reference:.10g}"


def _hours(case: Case, hours: tuple[str, ...]) -> str | None:
    if not _adds_risk(case.command):
        return None
    moment = datetime.fromtimestamp(case.known.utc_s, UTC)
    minute = moment.hour * 60 + moment.minute
    if any(_covers(window, moment.weekday(), minute) for window in _windows(hours)):
        return None
    return f"{DAYS[moment.weekday()]} {moment:%H:%M} UTC is outside of trading hours"


@lru_cache(maxsize=64)
def _windows(hours: tuple[str, ...]) -> tuple[Window, ...]:
    return tuple(map(read_window, hours))


def _covers(window: Window, day: int, minute: int) -> bool:
    is_day = window.first_day <= day <= window.last_day
    return is_day and window.begin_minute <= minute < window.end_minute


@dataclass(frozen=True, slots=True)
class Rule:
    """One rule: its name in the configuration, what it has to know, and its judgement."""

    name: str
    needs: Callable[[Command], frozenset[Fact]]
    judge: Callable[[Case, Value], str | None]


RULES = (
    Rule("actions", _nothing, _action),
    Rule("symbols", _the_order, _symbol),
    Rule("magic_numbers", _the_order, _magic_number),
    Rule("sides", _nothing, _side),
    Rule("max_lots_per_order", _nothing, _lots),
    Rule("trading_hours", _nothing, _hours),
    Rule("price_collar_percent", _the_price, _collar),
    Rule("duplicate_window_s", _for_new(Fact.PASSED), _duplicate),
    Rule("max_orders_per_minute", _for_new(Fact.PASSED), _rate),
    Rule("max_open_orders", _for_new(Fact.OPEN_ORDERS, Fact.PASSED), _open_orders),
    Rule("max_open_lots", _for_new(Fact.OPEN_ORDERS, Fact.PASSED), _open_lots),
)
"""In the order in which they are judged: what needs to know least comes first."""


def _in_force(limits: Limits) -> list[Rule]:
    return [rule for rule in RULES if getattr(limits, rule.name) not in (None, ())]


def intent_of(command: Command) -> str:
    """Tell orders apart by what they do: a comment does not make another one of the same."""
    said = {key: value for key, value in command.params.items() if key not in SAID_BESIDE}
    return digest_of(command.action, said)


def order_of(said: Json) -> Order | None:
    """Read one order as a terminal tells it; None when it cannot be relied on."""
    if not isinstance(said, dict):
        return None
    symbol, kind, number = said.get("symbol"), said.get("order_type"), said.get("magic_number")
    lots = said.get("lots", -1)
    if not isinstance(symbol, str) or type(kind) is not int or type(number) is not int:
        return None
    if type(lots) not in (int, float) or not 0 <= lots < float("inf"):
        return None
    comment = said.get("comment")
    token = comment[:TOKEN_LENGTH] if isinstance(comment, str) else ""
    return Order(symbol, kind, float(lots), number, token)
