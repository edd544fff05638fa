"""What a client wants: orders, changes and closes of them, and some of it twice."""

from __future__ import annotations

import random
import time
from dataclasses import replace

from tests.chaos.history import Asked, Body

REPEAT, OTHER_BODY = 0.12, 0.03
REMEMBERED = 150
SHORT, LONG = (0.4, 1.5), (3.0, 12.0)
"""Deadlines, seconds from now; one in eight is short."""

SYMBOLS = ("EURUSD", "GBPUSD", "USDJPY")
FAR_BELOW = {"EURUSD": 1.0, "GBPUSD": 1.1, "USDJPY": 130.0}
"""Prices that the random walk does not reach within a run: nothing fills or stops by itself."""

FAR_ABOVE = {"EURUSD": 1.3, "GBPUSD": 1.5, "USDJPY": 170.0}


class Wishes:
    """Decide what to ask next; what was learned decides what can be closed."""

    def __init__(self, client: str, chance: random.Random, earlier: list[Asked]) -> None:
        self._client = client
        self._chance = chance
        self._recent = earlier[-REMEMBERED:]
        self._positions: dict[int, str] = {}
        self._pendings: dict[int, str] = {}

    def next(self, number: int, via: str) -> Asked:
        """Return the next wish, or an earlier one again."""
        dice = self._chance.random()
        if self._recent and dice < REPEAT + OTHER_BODY:
            ask = self._again(number, via, is_other=dice < OTHER_BODY)
            if ask is not None:
                return ask
        action, params = self._choose()
        ask = Asked(
            time.time_ns(),
            f"{self._client}/c{number}-{self._chance.getrandbits(32):08x}",
            number,
            via,
            "first",
            action,
            params,
            self._deadline_ns(),
        )
        self._recent = [*self._recent[-REMEMBERED:], ask]
        return ask

    def _again(self, number: int, via: str, *, is_other: bool) -> Asked | None:
        """Return an earlier wish: as it was, with a new deadline, or with another body."""
        earlier = self._chance.choice(self._recent)
        again = replace(earlier, at_ns=time.time_ns(), number=number, via=via, body="same")
        if is_other:
            if earlier.action != "DO_ORDER_SEND":
                return None
            params = earlier.params | {"lots": 0.02}
            # Not by the library: unanswered, it asks by the id, and hears of the earlier wish.
            via = "raw" if via == "trade" else via
            return replace(
                again, via=via, body="other", params=params, deadline_ns=self._deadline_ns()
            )
        if earlier.deadline_ns < time.time_ns() or self._chance.random() < 0.5:
            return replace(again, deadline_ns=self._deadline_ns())
        return again

    def _deadline_ns(self) -> int:
        least_s, most_s = SHORT if self._chance.random() < 1 / 8 else LONG
        return time.time_ns() + int(self._chance.uniform(least_s, most_s) * 1e9)

    def _choose(self) -> tuple[str, Body]:
        dice = self._chance.random()
        if dice < 0.10 and self._positions | self._pendings:
            return self._modify()
        if dice < 0.30 and self._positions:
            ticket = self._chance.choice(list(self._positions))
            del self._positions[ticket]
            return "DO_ORDER_CLOSE", {"ticket": ticket}
        if dice < 0.38 and self._pendings:
            ticket = self._chance.choice(list(self._pendings))
            del self._pendings[ticket]
            return "DO_ORDER_DELETE", {"ticket": ticket}
        return "DO_ORDER_SEND", self._order(is_pending=dice > 0.85)

    def _modify(self) -> tuple[str, Body]:
        tickets = self._positions | self._pendings
        ticket = self._chance.choice(list(tickets))
        price = FAR_ABOVE[tickets[ticket]] + self._chance.randrange(1, 1000) / 1000
        return "DO_ORDER_MODIFY", {"ticket": ticket, "tp": round(price, 3)}

    def _order(self, *, is_pending: bool) -> Body:
        symbol = self._chance.choice(SYMBOLS)
        order: Body = {"symbol": symbol, "order_type": "BUY", "lots": 0.01}
        if is_pending:
            price = round(FAR_BELOW[symbol] - self._chance.randrange(1000) / 10_000, 3)
            return order | {"order_type": "BUYLIMIT", "price": price}
        return order

    def learn(self, result: Body) -> None:
        """Take a new order into account."""
        order = result["response"]
        if result["action"] == "DO_ORDER_SEND" and result["outcome"] == "succeeded":
            is_pending = order["order_type"] not in (0, "BUY", "OP_BUY")
            known = self._pendings if is_pending else self._positions
            known[order["ticket"]] = order["symbol"]
