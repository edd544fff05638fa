"""`mt4-gateway doctor --terminal`: a walk through what only a live terminal can show.

It sees what a client of a running gateway sees. What a person must do is a finding of level `do`,
said before the walk waits for its effect. Orders are sent on demo accounts only, and only with
leave.
"""

from __future__ import annotations

import asyncio
import statistics
import time
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

from gateway.client import CommandResult, Mt4Client, NoAnswer, NotConnected
from gateway.core.messages import Dialect, Json
from gateway.doctor import Finding, examine_clock

TRADE_NOT_ALLOWED = 4109
DEMO_TRADE_MODE = 0
ROUND_TRIPS = 10
STOP_POINTS = 200
"""How far the test order's stop is away, at least; brokers' own least distance may be more."""

MayTrade = Callable[[str], Awaitable[bool]]
"""Asks a person whether the order that the question names may be sent."""


@dataclass(frozen=True, slots=True)
class Patience:
    """Say how long to look.

    Attributes:
        watch_s: How long ticks are counted.
        hand_s: How long a person has for one step.
        poll_s: How often the gateway is asked meanwhile.
    """

    watch_s: float = 10.0
    hand_s: float = 180.0
    poll_s: float = 0.2


async def walk(
    client: Mt4Client,
    may_trade: MayTrade,
    *,
    symbol: str | None = None,
    patience: Patience | None = None,
) -> AsyncIterator[Finding]:
    """Take one step after the other; the last finding is the verdict.

    Args:
        client: Connected to the gateway's NATS.
        may_trade: Asked once, before the first order.
        symbol: What the test order buys; the one with most ticks if none is given.
        patience: How long each step may take.
    """
    levels: Counter[str] = Counter()
    try:
        async for finding in _Walk(client, may_trade, symbol, patience or Patience()).steps():
            levels[finding.level] += 1
            yield finding
    except (NoAnswer, NotConnected) as exc:
        levels["failed"] += 1
        yield Finding("failed", str(exc), "is the gateway running? mt4-gateway status")
    yield _verdict(levels)


def _verdict(levels: Counter[str]) -> Finding:
    if levels["failed"]:
        cure = "put right what failed above, and walk again"
        return Finding("failed", f"verdict: {levels['failed']} steps failed", cure)
    if levels["warning"]:
        what = f"verdict: nothing failed, {levels['warning']} steps were skipped or need a look"
        return Finding("warning", what, "docs/mql4.md says what each step is for")
    return Finding("ok", "verdict: this terminal does what the gateway relies on")


class _Walk:
    def __init__(
        self, client: Mt4Client, may_trade: MayTrade, symbol: str | None, patience: Patience
    ) -> None:
        self._client = client
        self._ask_person = may_trade
        self._symbol = symbol
        self._patience = patience
        self._is_demo = False
        self._may_trade = False

    async def steps(self) -> AsyncIterator[Finding]:
        terminal = await self._terminal()
        if terminal["link"] != "up" or terminal["dialect"] != Dialect.BRIDGE:
            what = f"terminal link {terminal['link']}, dialect {terminal['dialect']}"
            cure = "this walk is for our MQL4 programs: attach them; see mql4/README.md"
            yield Finding("failed", what, cure)
            return
        for step in (
            self._greeting,
            self._round_trips,
            self._ticks,
            self._order,
            self._permission,
            self._connection,
            self._restart,
        ):
            async for finding in step():
                yield finding

    # ---- what can be seen from here -----------------------------------------------------

    async def _greeting(self) -> AsyncIterator[Finding]:
        terminal = await self._terminal()
        if terminal["epoch"]:
            what = f"greeted: session {terminal['session']}, epoch {terminal['epoch']}"
            yield Finding("ok", what)
        else:
            cure = "the gateway may not trade: look for `safe mode` in the Experts log"
            yield Finding("failed", "the terminal has issued no epoch", cure)
        account = await self._read("GET_ACCOUNT_INFO")
        self._is_demo = account.get("trade_mode") == DEMO_TRADE_MODE
        kind = "demo" if self._is_demo else "NOT a demo account: no order will be sent"
        name = f"{account['login']} at {account['server']}, {account['name']}"
        yield Finding("ok" if self._is_demo else "warning", f"account {name} ({kind})")
        for key, cure in (
            ("connected", "log in to MT4"),
            ("trade_allowed", "switch AutoTrading on, and allow live trading in the program"),
        ):
            level = "ok" if terminal[key] else "failed"
            yield Finding(level, f"{key}: {terminal[key]}", "" if terminal[key] else cure)
        offset_s = (await self._read("GET_SERVER_TIME"))["broker_offset_s"]
        if offset_s is None:
            yield Finding("warning", "the broker's clock is not known yet", "wait for a few ticks")
        else:
            yield examine_clock(offset_s)

    async def _round_trips(self) -> AsyncIterator[Finding]:
        took_ms = []
        for _ in range(ROUND_TRIPS):
            started_s = time.perf_counter()
            await self._read("GET_ACCOUNT_INFO")
            took_ms.append(1000 * (time.perf_counter() - started_s))
        middle, worst = statistics.median(took_ms), max(took_ms)
        what = f"a read takes {middle:.1f} ms, {worst:.1f} ms at worst of {ROUND_TRIPS}"
        yield Finding("ok", what)

    async def _ticks(self) -> AsyncIterator[Finding]:
        counts: Counter[str] = Counter()
        missed = 0
        with suppress(TimeoutError):
            async with asyncio.timeout(self._patience.watch_s):
                async for tick in self._client.ticks():
                    counts[tick.symbol] += 1
                    missed += tick.missed
        what = f"{counts.total()} ticks of {len(counts)} symbols in {self._patience.watch_s:g} s"
        if not counts:
            cure = "is the market open, GatewayTicks attached, the symbol in the Market Watch?"
            yield Finding("failed", what, cure)
            return
        self._symbol = self._symbol or counts.most_common(1)[0][0]
        if missed:
            cure = "is the terminal's computer busy? see docs/mql4.md, an hour of ticks"
            yield Finding("warning", f"{what}, {missed} missed", cure)
        else:
            yield Finding("ok", f"{what}, none missed")

    async def _order(self) -> AsyncIterator[Finding]:
        if not self._is_demo or self._symbol is None:
            why = "no demo account" if not self._is_demo else "no ticks"
            yield Finding("warning", f"order step skipped: {why}", "walk again on a demo account")
            return
        rules = (await self._read("GET_SYMBOL_INFO", {"names": [self._symbol]}))[self._symbol]
        lots = float(rules["volume_min"])
        what = f"buy {lots:g} lots of {self._symbol} on the demo account and close them at once"
        self._may_trade = await self._ask_person(what)
        if not self._may_trade:
            yield Finding("warning", f"order step skipped: not allowed to {what}", "use --yes")
            return
        points = max(STOP_POINTS, 3 * int(rules["trade_stops_level"]))
        sent = await self._client.order_send(self._symbol, "BUY", lots, sl_points=points)
        if not sent.succeeded:
            yield Finding("failed", _said("buying", sent), "look for the order in the terminal")
            return
        order = sent.response
        ticket = order["ticket"]
        what = f"order {ticket}: opened with stop {order['sl']:g} in {_took_ms(sent):.0f} ms"
        is_marked = str(order["comment"]).startswith("~") and order["sl"] > 0
        level, cure = ("ok", "") if is_marked else ("failed", "its stop or its token is missing")
        yield Finding(level, what, cure)
        yield await self._closed(ticket)

    async def _closed(self, ticket: int) -> Finding:
        cure = f"close order {ticket} by hand"
        try:
            result = await self._client.order_close(ticket)
            is_open = ticket in [order["ticket"] for order in await self._client.orders()]
        except (NoAnswer, NotConnected) as exc:
            return Finding("failed", f"order {ticket} may still be open: {exc}", cure)
        if is_open or not result.succeeded:
            return Finding("failed", _said(f"closing order {ticket}", result), cure)
        return Finding("ok", f"order {ticket}: closed in {_took_ms(result):.0f} ms")

    # ---- what a person does, and we see -------------------------------------------------

    async def _permission(self) -> AsyncIterator[Finding]:
        yield Finding("do", "switch AutoTrading off in MT4")
        if not await self._comes(lambda terminal: terminal["trade_allowed"] is False):
            yield self._not_seen("AutoTrading off")
            return
        yield Finding("ok", "the gateway sees that trading is forbidden")
        if self._may_trade and self._symbol is not None:
            async for finding in self._forbidden_order(self._symbol):
                yield finding
        yield Finding("do", "switch AutoTrading on again")
        yield await self._seen("trading is allowed", lambda terminal: terminal["trade_allowed"])

    async def _forbidden_order(self, symbol: str) -> AsyncIterator[Finding]:
        rules = (await self._read("GET_SYMBOL_INFO", {"names": [symbol]}))[symbol]
        result = await self._client.order_send(symbol, "BUY", float(rules["volume_min"]))
        if result.error is not None and result.error["code"] == TRADE_NOT_ALLOWED:
            yield Finding("ok", f"an order is rejected with {TRADE_NOT_ALLOWED}")
            return
        cure = f"expected {TRADE_NOT_ALLOWED}; look into the terminal for an order"
        yield Finding("failed", _said("an order while trading is forbidden", result), cure)
        if result.succeeded:
            yield await self._closed(result.response["ticket"])

    async def _connection(self) -> AsyncIterator[Finding]:
        yield Finding("do", "take the broker away from the terminal: unplug its network")
        if not await self._comes(lambda terminal: terminal["connected"] is False):
            yield self._not_seen("the lost connection")
            return
        yield Finding("ok", "the gateway sees that the broker is away")
        yield Finding("do", "plug it in again")
        yield await self._seen("the broker is back", lambda terminal: terminal["connected"])

    async def _restart(self) -> AsyncIterator[Finding]:
        before = await self._terminal()
        yield Finding("do", "end terminal.exe in the Task Manager, and start MT4 again")

        def is_back(terminal: Mapping[str, Any]) -> bool:
            is_new = terminal["session"] not in (None, before["session"])
            return bool(is_new and terminal["link"] == "up" and terminal["epoch"])

        if not await self._comes(is_back):
            yield self._not_seen("another session of the terminal")
            return
        after = await self._terminal()
        what = f"greeted again: session {after['session']}, epoch {after['epoch']}"
        yield Finding("ok", what)

    async def _seen(self, what: str, holds: Callable[[Mapping[str, Any]], Any]) -> Finding:
        return Finding("ok", what) if await self._comes(holds) else self._not_seen(what)

    def _not_seen(self, what: str) -> Finding:
        waited = f"skipped: {what} was not seen within {self._patience.hand_s:g} s"
        return Finding("warning", waited, "walk again, or wait longer with --wait")

    async def _comes(self, holds: Callable[[Mapping[str, Any]], Any]) -> bool:
        """Wait until the gateway says of its terminal what we wait for."""
        until_s = time.monotonic() + self._patience.hand_s
        while time.monotonic() < until_s:
            with suppress(NoAnswer, NotConnected):  # NATS may have been on the same cable
                if holds(await self._terminal()):
                    return True
            await asyncio.sleep(self._patience.poll_s)
        return False

    # ---- asking -------------------------------------------------------------------------

    async def _terminal(self) -> dict[str, Any]:
        said: dict[str, Any] = await self._client.status()
        return dict(said["terminal"])

    async def _read(self, action: str, params: Mapping[str, Json] | None = None) -> Any:
        result = await self._client.query(action, params)
        if not result.succeeded:
            raise NoAnswer(result.id, _said(action, result))
        return result.response


def _said(what: str, result: CommandResult) -> str:
    why = result.error["message"] if result.error else "?"
    return f"{what}: {result.outcome}, {why}"


def _took_ms(result: CommandResult) -> float:
    return 1000 * float(str(result.body["channel_s"]))
