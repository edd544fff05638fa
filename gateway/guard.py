"""The policy at work: look up what its rules have to know, and remember what was let through.

`policy.py` judges. An order that is let through counts at once, before it is seen among the open
orders; so two that come together cannot both use the last of a limit. What earlier gateways let
through is read from the journal.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections import deque
from collections.abc import Awaitable, Callable, Iterable
from dataclasses import dataclass, field, replace

from gateway.core.messages import Cause, Command, CommandId, Outcome
from gateway.events import by_ticket
from gateway.policy import (
    Fact,
    Known,
    OpenOrders,
    Order,
    Passed,
    first_refusal,
    intent_of,
    needs,
    order_of,
    refusal,
)
from gateway.policy_settings import PolicyInForce
from gateway.screening import Ask, Unknown
from gateway.symbols import Quote

log = logging.getLogger(__name__)

NEVER_SENT = frozenset({Outcome.DENIED})
PROVED_IDLE = frozenset({Outcome.REJECTED, Outcome.EXPIRED})
"""Outcomes that say that no order was opened."""

STALE_LOOK_S = 60.0
"""A look at the open orders that began so long ago is none: what has ended since is forgotten."""

AskPrice = Callable[[str, float], Awaitable[Quote]]


@dataclass(frozen=True, slots=True)
class Facts:
    """What was looked up for one trade."""

    order: Order | None = None
    open_orders: OpenOrders | None = None
    price: Quote | None = None


NO_FACTS = Facts()


@dataclass(slots=True)
class _Memory:
    """The orders that were let through: those under way, and those that have ended lately."""

    under_way: dict[CommandId, Passed] = field(default_factory=dict)
    ended: deque[Passed] = field(default_factory=deque)

    def forget(self, before_s: float) -> None:
        while self.ended and (self.ended[0].ended_s or 0.0) < before_s:
            self.ended.popleft()


class Guard:
    """Judge trades by the policy in force.

    Args:
        policy: The policy in force.
        ask: Reads from the terminal.
        ask_price: Tells the market's price of a symbol.
    """

    def __init__(self, policy: PolicyInForce, ask: Ask, ask_price: AskPrice) -> None:
        self._policy = policy
        self._ask = ask
        self._ask_price = ask_price
        self._memory = _Memory()

    def first_look(self, command: Command) -> Cause | None:
        """Say what forbids a command for certain, without asking anybody."""
        return first_refusal(command, self._policy.current, time.time())

    def has_to_ask(self, command: Command) -> bool:
        """Tell whether the terminal has to be asked before the command can be judged."""
        return bool(needs(command, self._policy.current) - {Fact.PASSED})

    async def look_up(self, command: Command, until_s: float) -> Facts:
        """Ask the terminal for what the rules have to know; what cannot be had stays out.

        Args:
            command: The trade.
            until_s: When the look-ups are given up, monotonic.
        """
        wanted = needs(command, self._policy.current)
        order = open_orders = price = None
        try:
            async with asyncio.timeout(until_s - time.monotonic()):
                if Fact.ORDER in wanted:
                    order = await self._order(command.params["ticket"], until_s)
                if Fact.PRICE in wanted:
                    symbol = order.symbol if order else command.params.get("symbol")
                    price = await self._ask_price(symbol, until_s) if symbol else None
                if Fact.OPEN_ORDERS in wanted:
                    open_orders = await self._open_orders(until_s)
        except (TimeoutError, Unknown) as exc:
            log.info("policy_look_up_failed id=%s cause=%r", command.key, exc)
        return Facts(order, open_orders, price)

    async def _order(self, ticket: int, until_s: float) -> Order | None:
        result = await self._ask("GET_ORDER", {"ticket": ticket}, until_s)
        is_told = result.outcome is Outcome.SUCCEEDED
        return order_of(result.conclusion.response) if is_told else None

    async def _open_orders(self, until_s: float) -> OpenOrders | None:
        asked_s = time.monotonic()
        result = await self._ask("GET_ORDERS", {}, until_s)
        told = by_ticket(result.conclusion.response)
        if result.outcome is not Outcome.SUCCEEDED or told is None:
            return None
        read = [order_of(order) for order in told.values()]
        orders = tuple(order for order in read if order is not None)
        return OpenOrders(asked_s, orders) if len(orders) == len(read) else None

    def admit(self, command: Command, facts: Facts = NO_FACTS) -> Cause | None:
        """Judge a command; what is let through counts from now on, until `ended`."""
        now_s, policy = time.monotonic(), self._policy.current
        self._memory.forget(now_s - max(policy.memory_s, STALE_LOOK_S))
        seen = facts.open_orders
        known = Known(
            now_s=now_s,
            utc_s=time.time(),
            order=facts.order,
            open_orders=seen if seen and now_s - seen.asked_s < STALE_LOOK_S else None,
            price=facts.price,
            passed=[*self._memory.ended, *self._memory.under_way.values()]
            if Fact.PASSED in needs(command, policy)
            else None,
        )
        cause = refusal(command, policy, known)
        if cause is None and command.action == "DO_ORDER_SEND":
            self._memory.under_way[command.key] = passed(command, now_s)
        return cause

    def ended(self, key: CommandId, outcome: Outcome) -> None:
        """Note how a command ended; one of unknown fate stays under way until it is proved."""
        if outcome is Outcome.UNKNOWN:
            return
        one = self._memory.under_way.pop(key, None)
        if one is not None and outcome not in NEVER_SENT:
            has_run = outcome not in PROVED_IDLE
            ended = replace(one, ended_s=time.monotonic(), may_have_run=has_run)
            self._memory.ended.append(ended)

    def inherit(self, commands: Iterable[Command]) -> None:
        """Remember what earlier gateways let through and whose end they did not see."""
        for command in commands:
            if command.action == "DO_ORDER_SEND":
                self._memory.under_way[command.key] = passed(command, command.received_s)

    def recall(self, ended: Iterable[tuple[Command, Outcome]]) -> None:
        """Remember what earlier gateways let through lately, and how it ended."""
        for command, outcome in ended:
            if command.key not in self._memory.under_way:
                self.inherit([command])
                self.ended(command.key, outcome)

    def forget(self, key: CommandId) -> None:
        """Give up on a command of unknown fate: it is watched no more."""
        self._memory.under_way.pop(key, None)


def passed(command: Command, at_s: float) -> Passed:
    """Note an order that is let through."""
    return Passed(
        key=command.key,
        intent=intent_of(command),
        lots=command.params["lots"],
        magic_number=command.params.get("magic_number", 0),
        at_s=at_s,
    )
