"""What is let through while looks, orders and results overtake each other."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from gateway.actions import digest_of
from gateway.core.evidence import token_of
from gateway.core.messages import Cause, Command, CommandId, Conclusion, Json, Outcome, Result
from gateway.guard import STALE_LOOK_S, Facts, Guard
from gateway.policy import OpenOrders, Order
from gateway.policy_settings import Policy, PolicyInForce
from gateway.symbols import Quote
from tests.core.virtual_loop import Clock
from tests.units.test_policy import command

EXAMPLES = int(os.environ.get("MT4GW_POLICY_EXAMPLES", "200")) // 2
MOST_ORDERS, MOST_LOTS, MOST_PER_MINUTE = 3, 0.6, 6
RULES = Policy(
    trading=True,
    max_open_orders=MOST_ORDERS,
    max_open_lots=MOST_LOTS,
    max_orders_per_minute=MOST_PER_MINUTE,
)


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    """Put a clock of our own under the guard."""
    clock = Clock()
    clock.now_s = 0.0
    monkeypatch.setattr("gateway.guard.time", clock)
    return clock


async def no_answer(action: str, params: dict[str, Json], until_s: float) -> Result:
    """Fail to read: the terminal says nothing."""
    raise TimeoutError


async def no_price(symbol: str, until_s: float) -> Quote:
    """Fail to read."""
    raise TimeoutError


def order(number: int, lots: float) -> Command:
    """Ask for an order like no other."""
    params: dict[str, Any] = {"symbol": "EURUSD", "order_type": 0, "lots": lots}
    params["comment"] = str(number)
    made = command("DO_ORDER_SEND", **params)
    return Command(
        **{name: getattr(made, name) for name in made.__slots__ if name not in ("key", "digest")},
        key=CommandId("me", str(number)),
        digest=digest_of("DO_ORDER_SEND", params),
    )


@dataclass
class Market:
    """A guard, a broker, and commands at every stage of their way."""

    clock: Clock
    guard: Guard = field(init=False)
    asked: dict[CommandId, tuple[Command, float]] = field(default_factory=dict)
    looked: dict[CommandId, tuple[Command, OpenOrders]] = field(default_factory=dict)
    sent: dict[CommandId, Command] = field(default_factory=dict)
    latent: dict[CommandId, Command] = field(default_factory=dict)
    opened: dict[CommandId, Order] = field(default_factory=dict)
    unfinished: set[CommandId] = field(default_factory=set)
    admitted_s: list[float] = field(default_factory=list)
    count: int = 0

    def __post_init__(self) -> None:
        self.guard = Guard(PolicyInForce(RULES), no_answer, no_price)

    def moves(self) -> dict[str, Callable[[int], None]]:
        """Name what may happen next."""
        moves: dict[str, Callable[[int], None]] = {"wait": self.wait, "ask": self.ask}
        for name, subjects in (
            ("look", self.asked),
            ("admit", self.looked),
            ("open", self.sent),
            ("refuse", self.sent),
            ("lose", self.sent),
            ("appear", self.latent),
            ("finish", self.unfinished),
            ("close", self.opened),
        ):
            if subjects:
                moves[name] = getattr(self, name)
        return moves

    def wait(self, dice: int) -> None:
        self.clock.now_s += dice % 30

    def ask(self, dice: int) -> None:
        self.count += 1
        wanted = order(self.count, (1 + dice % 3) / 10)
        self.asked[wanted.key] = wanted, self.clock.monotonic()

    def look(self, dice: int) -> None:
        wanted, asked_s = self.asked.pop(_one(self.asked, dice))
        seen = OpenOrders(asked_s, tuple(self.opened.values()))
        self.looked[wanted.key] = wanted, seen

    def admit(self, dice: int) -> None:
        wanted, seen = self.looked.pop(_one(self.looked, dice))
        if self.guard.admit(wanted, Facts(open_orders=seen)) is None:
            self.sent[wanted.key] = wanted
            self.admitted_s.append(self.clock.monotonic())

    def open(self, dice: int) -> None:
        self._open(self.sent.pop(_one(self.sent, dice)))

    def _open(self, wanted: Command) -> None:
        lots, token = wanted.params["lots"], token_of(wanted.key)
        self.opened[wanted.key] = Order("EURUSD", 0, lots, 0, token)
        self.unfinished.add(wanted.key)

    def finish(self, dice: int) -> None:
        key = _one(sorted(self.unfinished, key=str), dice)
        self.unfinished.discard(key)
        self.guard.ended(key, Outcome.SUCCEEDED)

    def refuse(self, dice: int) -> None:
        key = _one(self.sent, dice)
        del self.sent[key]
        self.guard.ended(key, [Outcome.REJECTED, Outcome.EXPIRED][dice % 2])

    def lose(self, dice: int) -> None:
        key = _one(self.sent, dice)
        self.latent[key] = self.sent.pop(key)
        self.guard.ended(key, Outcome.UNKNOWN)

    def appear(self, dice: int) -> None:
        self._open(self.latent.pop(_one(self.latent, dice)))

    def close(self, dice: int) -> None:
        del self.opened[_one(self.opened, dice)]

    def check(self) -> None:
        """Every limit holds, whatever nobody has seen yet."""
        assert len(self.opened) <= MOST_ORDERS
        assert sum(one.lots for one in self.opened.values()) <= MOST_LOTS + 1e-9
        now_s = self.clock.monotonic()
        assert sum(at_s > now_s - 60 for at_s in self.admitted_s) <= MOST_PER_MINUTE


def _one(keys: object, dice: int) -> CommandId:
    listed = list(keys)  # type: ignore[call-overload] # a dictionary or a list of ids
    chosen: CommandId = listed[dice % len(listed)]
    return chosen


@pytest.mark.timeout(60 + EXAMPLES // 10)
@settings(
    max_examples=EXAMPLES,
    deadline=None,
    derandomize=True,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
@given(dice=st.lists(st.tuples(st.integers(0, 99), st.integers(0, 99)), min_size=60, max_size=90))
def test_limits_hold_whatever_overtakes_what(clock: Clock, dice: list[tuple[int, int]]) -> None:
    """Orders that are asked for, looked at, sent, lost and found in any order stay within them."""
    clock.now_s = 0.0
    market = Market(clock)
    for which, how in dice:
        moves = market.moves()
        moves[list(moves)[which % len(moves)]](how)
        clock.now_s += 0.5
        market.check()


def seen_now(clock: Clock) -> Facts:
    """Look at an account without orders."""
    return Facts(open_orders=OpenOrders(clock.monotonic(), ()))


def guard_of(**rules: Json) -> Guard:
    """Make a guard."""
    return Guard(PolicyInForce(Policy(trading=True, **rules)), no_answer, no_price)


def reason(cause: Cause | None) -> str:
    """Return why something was denied; empty if it was not."""
    return cause.message if cause else ""


def test_two_at_once_share_one_limit(clock: Clock) -> None:
    """The second one counts the first, though nobody has seen it yet."""
    guard, facts = guard_of(max_open_lots=1.0), seen_now(clock)

    assert "" == reason(guard.admit(order(1, 0.6), facts))
    assert "1.2 lots would be open" in reason(guard.admit(order(2, 0.6), facts))
    guard.ended(CommandId("me", "1"), Outcome.REJECTED)
    assert "" == reason(guard.admit(order(2, 0.6), facts))


def test_unknown_counts_until_it_is_proved(clock: Clock) -> None:
    """It may have opened an order that shows up later."""
    guard, key = guard_of(max_open_orders=1), CommandId("me", "1")

    assert guard.admit(order(1, 0.1), seen_now(clock)) is None
    guard.ended(key, Outcome.UNKNOWN)
    clock.now_s += 3600
    assert "2 orders would be open" in reason(guard.admit(order(2, 0.1), seen_now(clock)))
    guard.ended(key, Outcome.EXPIRED)
    assert guard.admit(order(2, 0.1), seen_now(clock)) is None


def test_old_look_is_none(clock: Clock) -> None:
    """What has ended since may be forgotten."""
    guard, facts = guard_of(max_open_orders=1), seen_now(clock)
    clock.now_s += STALE_LOOK_S

    assert "the open orders could not be read" in reason(guard.admit(order(1, 0.1), facts))


def test_earlier_gateways_count(clock: Clock) -> None:
    """What they sent is under way, or was sent within the minute."""
    clock.now_s += 100
    early = order(1, 0.1)  # received at 1000 s of this clock
    for method, outcome in (("inherit", None), ("recall", Outcome.REJECTED)):
        clock.now_s = 1010.0
        guard = guard_of(max_orders_per_minute=1)
        if outcome is None:
            guard.inherit([early])
        else:
            guard.recall([(early, outcome)])

        assert "sent within 60 s" in reason(guard.admit(order(2, 0.1))), method
        clock.now_s += 50
        assert guard.admit(order(3, 0.1)) is None


async def test_look_that_fails_denies() -> None:
    """A limit that cannot be judged denies, and the reason is told."""
    guard = guard_of(max_open_orders=1)
    wanted = order(1, 0.1)
    until_s = asyncio.get_running_loop().time() + 1
    cause = guard.admit(wanted, await guard.look_up(wanted, until_s))

    assert cause is not None
    assert (503, "STATE_UNKNOWN") == (cause.code, cause.name)
    assert cause.message.startswith("policy.max_open_orders cannot be judged: the open orders")


@pytest.mark.parametrize(
    "response", ["text", [1], [{"ticket": 1, "order_type": 0}], [{"ticket": 1}], {"a": 1}]
)
async def test_orders_that_cannot_be_read_deny(response: Json) -> None:
    """A list of which one entry is odd is not relied on."""

    async def ask(action: str, params: dict[str, Json], until_s: float) -> Result:
        conclusion = Conclusion(Outcome.SUCCEEDED, response=response)
        return Result(CommandId("gateway", "1"), "t", action, conclusion, 0.0, 0.0, 0.0, 0.0)

    guard = Guard(PolicyInForce(Policy(trading=True, max_open_orders=9)), ask, no_price)
    wanted = order(1, 0.1)
    facts = await guard.look_up(wanted, asyncio.get_running_loop().time() + 1)

    assert facts.open_orders is None
    assert guard.admit(wanted, facts) is not None
