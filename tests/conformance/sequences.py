"""Random days: steps that are the same for every terminal, drawn by a seed."""

from __future__ import annotations

import random
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from tests.conformance.broker import Mishap
from tests.mql4host.client import token

Body = dict[str, Any]
SYMBOLS = ("EURUSD", "EURUSD", "EURUSD", "USDJPY", "#AAPL", "GOLD spot", "EURUSD.m", "NOPE")
CODES = (
    0,
    1,
    2,
    4,
    6,
    128,
    129,
    130,
    133,
    134,
    135,
    136,
    138,
    142,
    145,
    146,
    148,
    4108,
    4112,
    5000,
)
READS: tuple[tuple[str, Body], ...] = (
    ("GET_ORDERS", {}),
    ("GET_HISTORICAL_ORDERS", {}),
    ("GET_ACCOUNT_INFO", {}),
    ("GET_ACCOUNT_INFO_DOUBLE", {"property_name": "ACCOUNT_EQUITY"}),
    ("GET_ACCOUNT_INFO_DOUBLE", {"property_name": "ACCOUNT_FREEMARGIN"}),
    ("GET_ACCOUNT_INFO_INTEGER", {"property_name": "ACCOUNT_LEVERAGE"}),
    ("GET_SYMBOL_INFO", {"names": ["EURUSD", "#AAPL"]}),
    ("GET_SYMBOL_TICK", {"symbol": "EURUSD"}),
    ("GET_SYMBOL_MARKET_INFO", {"symbol": "USDJPY", "property": "MODE_SPREAD"}),
    ("GET_SYMBOL_INFO_DOUBLE", {"symbol": "EURUSD", "property_name": "SYMBOL_BID"}),
    ("GET_OHLCV", {"symbol": "EURUSD", "timeframe": 1, "limit": 5, "timeout": 1000}),
    ("RUN_INDICATOR", {"indicator": "iMA", "argv": ["EURUSD", 1, 14, 0, 0, 0, 0], "timeout": 1000}),
    ("PING", {}),
    ("GET_SERVER_TIME", {}),
    ("HELLO", {}),
)


@dataclass(frozen=True, slots=True)
class Step:
    """Do one thing to a terminal.

    Attributes:
        kind: `ask`, `quote`, `arrange`, `switch`, `clock`, `kill`, `arrive` or `claim`.
        name: The command's name, the call, the switch, or the symbol.
        request: Of an `ask`: the request without the bridge's keys; `keys` replace some of them.
        numbers: What else it takes.
    """

    kind: str
    name: str = ""
    request: Body = field(default_factory=dict)
    keys: Body = field(default_factory=dict)
    numbers: tuple[float, ...] = ()


class Day:
    """Draw steps; the tickets that exist are told by whoever runs them."""

    def __init__(self, seed: int) -> None:
        self._chance = random.Random(seed)
        self._count = 0
        self._names: list[str] = []
        self._bid = 1.1212
        self.tickets: list[int] = []

    def steps(self, count: int) -> Iterator[Step]:
        """Return so many steps."""
        draws = (
            (self._send, 30),
            (self._change, 24),
            (self._again, 12),
            (self._close_all, 2),
            (self._read, 14),
            (self._quote, 20),
            (self._arrange, 8),
            (self._switch, 3),
            (self._clock, 2),
            (self._kill, 1),
            (self._stale, 3),
        )
        drawers = [draw for draw, _ in draws]
        weights = [weight for _, weight in draws]
        for _ in range(count):
            yield from self._chance.choices(drawers, weights)[0]()

    def _new_name(self) -> str:
        self._count += 1
        self._names.append(f"n{self._count}")
        return self._names[-1]

    def _one_of(self, *values: Any) -> Any:
        return self._chance.choice(values)

    def _send(self) -> Iterator[Step]:
        name = self._new_name()
        kind = self._one_of(0, 0, 0, 1, 1, 2, 3, 4, 5, 6)
        request: Body = {
            "action": "DO_ORDER_SEND",
            "symbol": self._chance.choice(SYMBOLS),
            "order_type": kind,
            "lots": self._one_of(0.1, 0.1, 0.01, 0.3, 1, 1.0, 0.015, 0, -1.0, 1000.0, 0.125),
            "comment": token(f"test/{name}") + self._one_of("", " hello", ' "quoted"\\', " é€", ""),
        }
        near = round(self._bid + self._chance.randint(-200, 200) / 100_000, 5)
        optional: Body = {
            "price": self._one_of(near, near, near, 0, 1.2, None),
            "slippage": self._one_of(0, 10, 100, None, -1),
            "sl": self._one_of(near, round(near - 0.01, 5), 0, 1.123456789),
            "tp": self._one_of(near, round(near + 0.01, 5), 0, None),
            "sl_points": self._one_of(100, 0, 1, -50),
            "tp_points": self._one_of(100, 0, 1, -50),
            "magic_number": self._one_of(0, 7, -7, 2**31 - 1, None),
            "expiration": self._one_of(0, 1_600_100_000, 1, None),
        }
        request |= self._some(optional, 0.25, always=("price",) if kind > 1 else ())
        yield Step("ask", name, request, self._told())

    def _told(self) -> Body:
        """Return how far the gateway's journal has come, where the frame says so."""
        return self._some({"journal": self._chance.randrange(1000)}, 0.3)

    def _some(self, optional: Body, share: float, always: tuple[str, ...] = ()) -> Body:
        return {
            key: value
            for key, value in optional.items()
            if key in always or self._chance.random() < share
        }

    def _ticket(self) -> int:
        if self.tickets and self._chance.random() < 0.95:
            return self._chance.choice(self.tickets[-8:])
        return int(self._one_of(99, 0, -1))

    def _change(self) -> Iterator[Step]:
        near = round(self._bid + self._chance.randint(-300, 300) / 100_000, 5)
        action = self._one_of(
            "DO_ORDER_MODIFY", "DO_ORDER_MODIFY", "DO_ORDER_CLOSE", "DO_ORDER_DELETE"
        )
        optional: Body = {
            "DO_ORDER_MODIFY": {
                "price": near,
                "sl": self._one_of(near, round(near - 0.01, 5), 0),
                "tp": self._one_of(near, round(near + 0.01, 5), 0),
                "sl_points": self._one_of(100, 250, 0),
                "tp_points": self._one_of(100, 250, 0),
                "expiration": self._one_of(1_600_200_000, 0, None),
            },
            "DO_ORDER_CLOSE": {
                "lots": self._one_of(0.01, 0.1, 0.05, 5.0, 0),
                "price": self._one_of(near, self._bid),
                "slippage": self._one_of(0, 5, 500),
            },
            "DO_ORDER_DELETE": {"close_if_opened": self._one_of(True, False)},
        }[action]
        request = {"action": action, "ticket": self._ticket()} | self._some(optional, 0.35)
        yield Step("ask", self._new_name(), request, self._told())

    def _again(self) -> Iterator[Step]:
        if not self._names:
            return
        name = self._chance.choice(self._names[-10:])
        keys: Body = {"attempt": self._one_of(1, 1, 2, 2, 3)} | self._told()
        if self._chance.random() < 0.1:
            keys["digest"] = "0" * 32
        if self._chance.random() < 0.1:
            keys["not_after"] = 0
        yield Step("ask", name, {"action": "RESOLVE"}, keys)

    def _close_all(self) -> Iterator[Step]:
        optional: Body = {
            "symbol": self._chance.choice(SYMBOLS),
            "magic_number": self._one_of(0, 7),
            "side": self._one_of("buy", "sell", "up"),
        }
        request = {"action": "DO_CLOSE_ALL"} | self._some(optional, 0.5)
        yield Step("ask", self._new_name(), request)

    def _stale(self) -> Iterator[Step]:
        wrong: Body = self._one_of(
            {"session": "s0"},
            {"epoch": 0},
            {"epoch": 10**6},
            {"seq": 0},
            {"ledger": "other"},
            {"not_after": -1},
            {"attempt": 0},
            {"attempt": "1"},
            {"digest": "A" * 32},
            {"digest": ""},
            {"id": "a"},
            {"id": "/a"},
            {"id": "a/"},
            {"session": None},
            {"session": "s0", "journal": 10**6},
            {"journal": -1},
            {"journal": "1"},
        )
        name = self._new_name()
        request = {
            "action": self._one_of("DO_ORDER_SEND", "RESOLVE"),
            "symbol": "EURUSD",
            "order_type": 0,
            "lots": 0.1,
            "comment": token(f"test/{name}"),
        }
        yield Step("ask", name, request, wrong)

    def _read(self) -> Iterator[Step]:
        action, parameters = self._chance.choice(
            (*READS, ("GET_ORDER", {"ticket": self._ticket()}))
        )
        yield Step("read", "", {"action": action, **parameters})

    def _quote(self) -> Iterator[Step]:
        self._bid = round(self._bid + self._chance.gauss(0, 60) / 100_000, 5)
        yield Step("quote", "EURUSD", numbers=(self._bid, round(self._bid + 0.00012, 5)))

    def _arrange(self) -> Iterator[Step]:
        call = self._one_of("OrderSend", "OrderSend", "OrderModify", "OrderClose", "OrderDelete")
        mishap = self._one_of(
            Mishap.REFUSE, Mishap.REFUSE, Mishap.AMBIGUOUS, Mishap.LATENT, Mishap.DIE_BEFORE,
            Mishap.DIE_AFTER,
        )  # fmt: skip
        yield Step("arrange", call, {"mishap": mishap}, numbers=(self._chance.choice(CODES),))
        if mishap is Mishap.LATENT:
            yield from self._change() if call != "OrderSend" else self._send()
            yield Step("arrive")

    def _switch(self) -> Iterator[Step]:
        switch = self._one_of("is_connected", "is_trade_allowed", "is_context_busy", "is_open")
        usual = switch != "is_context_busy"
        yield Step("switch", switch, numbers=(not usual,))
        yield from self._send()
        yield from self._change()
        yield Step("read", "", {"action": "PING"})
        yield Step("switch", switch, numbers=(usual,))

    def _clock(self) -> Iterator[Step]:
        yield Step("clock", numbers=(self._one_of(1000, 60_000),))

    def _kill(self) -> Iterator[Step]:
        yield Step("kill")
