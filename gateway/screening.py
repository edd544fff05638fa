"""Trades against their symbol's rules, before they are queued.

The rules are read from the terminal in the gateway's own name and kept for a while; a new
session of the terminal makes them void. A trade whose rules cannot be had is denied: a limit
that cannot be evaluated denies. It is never delayed past its deadline for it. Plain closes and
deletes are not screened: nothing of them could be wrong, and they lessen the risk.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from weakref import WeakValueDictionary

from gateway.core.evidence import NEVER
from gateway.core.messages import (
    Cause,
    Command,
    Dialect,
    Json,
    Outcome,
    Result,
    Source,
)
from gateway.symbols import (
    Findings,
    Quote,
    SymbolRules,
    TradeCheck,
    needs_quote,
    read_quote,
    read_rules,
)
from gateway.tick import Tick

RULES_ARE_KEPT_S = 60.0
"""Brokers change stop levels around news; a minute costs one small read per symbol."""

QUOTE_IS_FRESH_S = 2.0
"""An older tick is not relied on: the price is asked for."""

SCREENED = frozenset({"DO_ORDER_SEND", "DO_ORDER_MODIFY"})

Ask = Callable[[str, dict[str, Json], float], Awaitable[Result]]
"""Reads from the terminal: action, parameters, the time until which (monotonic)."""


@dataclass(frozen=True, slots=True)
class Screened:
    """The verdict on one trade. `cause` is None when it may be queued."""

    cause: Cause | None = None
    notes: tuple[str, ...] = ()


class Unknown(Exception):  # noqa: N818 - what is asked for is not known
    """Nobody could say; or the terminal has said no, for the reason in `cause`."""

    def __init__(self, what: str, cause: Cause | None = None) -> None:
        super().__init__(what)
        self.cause = cause


class Screening:
    """The rules of the symbols that are traded, and the check of a trade against them.

    Attributes:
        newest: The last tick per symbol, where the terminal tells ticks.
    """

    def __init__(self, ask: Ask) -> None:
        self.newest: Mapping[str, Tick] = {}
        self._ask = ask
        self._rules: dict[str, tuple[SymbolRules, float]] = {}
        self._asking: WeakValueDictionary[str, asyncio.Lock] = WeakValueDictionary()

    def forget(self) -> None:
        """Forget all rules: the terminal, or its session, is another."""
        self._rules.clear()

    def concerns(self, command: Command) -> bool:
        """Tell whether a command is screened."""
        if command.action in SCREENED:
            return True
        return command.action == "DO_ORDER_CLOSE" and bool(
            command.params.keys() & {"lots", "price", "slippage"}
        )

    async def screen(
        self,
        command: Command,
        dialect: Callable[[], Dialect | None],
        *,
        allow_nudge: bool,
        until_s: float,
    ) -> Screened:
        """Look up what is needed and check the trade.

        Args:
            command: One that `concerns` names.
            dialect: Of the terminal that is there when the look-ups are done.
            allow_nudge: The client takes what the existing server makes of its stops.
            until_s: When the look-ups are given up, monotonic.
        """
        try:
            async with asyncio.timeout(until_s - time.monotonic()):
                findings = await self._findings(
                    command, dialect, allow_nudge=allow_nudge, until_s=until_s
                )
        except TimeoutError:
            message = "symbol rules unknown: the terminal did not tell them in time"
            return Screened(Cause(Source.GATEWAY, 503, "RULES_UNKNOWN", message))
        except Unknown as exc:
            return Screened(exc.cause or Cause(Source.GATEWAY, 503, "RULES_UNKNOWN", str(exc)))
        if findings.problems:
            message = "; ".join(findings.problems)
            return Screened(Cause(Source.GATEWAY, 400, "INVALID", message))
        return Screened(notes=tuple(findings.notes))

    async def _findings(
        self,
        command: Command,
        dialect: Callable[[], Dialect | None],
        *,
        allow_nudge: bool,
        until_s: float,
    ) -> Findings:
        params = command.params
        order: Mapping[str, Json] | None = None
        if command.action == "DO_ORDER_SEND":
            symbol, order_type = params["symbol"], params["order_type"]
        else:
            order = await self._order(params["ticket"], until_s)
            if order is None:
                return Findings([], [])  # the terminal says so itself, with its code
            symbol, order_type = order["symbol"], order["order_type"]
        rules = await self._rules_of(symbol, until_s)
        quote = await self.quote(symbol, until_s) if needs_quote(params, order_type) else None
        spoken = dialect()
        if spoken is None:
            raise Unknown("the terminal went away while the symbol's rules were looked up")
        check = TradeCheck(
            params,
            rules,
            quote,
            spoken,
            order_type=order_type,
            order=order,
            allow_nudge=allow_nudge,
        )
        match command.action:
            case "DO_ORDER_SEND":
                return check.send()
            case "DO_ORDER_MODIFY":
                return check.modify()
            case _:
                return check.close()

    # ---- look-ups -----------------------------------------------------------------------

    async def _order(self, ticket: int, until_s: float) -> Mapping[str, Json] | None:
        """Read the order; None when there is no open one with this ticket."""
        result = await self._ask("GET_ORDER", {"ticket": ticket}, until_s)
        if result.outcome is Outcome.REJECTED:
            return None
        order = result.conclusion.response
        if (
            not isinstance(order, dict)
            or not isinstance(order.get("symbol"), str)
            or type(order.get("order_type")) is not int
        ):
            raise Unknown(f"the order {ticket} could not be looked up: {result.outcome}")
        return order if order.get("close_time") in (None, NEVER) else None

    async def _rules_of(self, symbol: str, until_s: float) -> SymbolRules:
        lock = self._asking.get(symbol)
        if lock is None:
            lock = self._asking[symbol] = asyncio.Lock()
        async with lock:  # whoever comes second finds what the first has read
            known = self._rules.get(symbol)
            if known is not None and time.monotonic() < known[1] + RULES_ARE_KEPT_S:
                return known[0]
            result = await self._ask("GET_SYMBOL_INFO", {"names": [symbol]}, until_s)
            if result.outcome is Outcome.REJECTED and result.conclusion.cause is not None:
                said = result.conclusion.cause.message
                message = f"symbol: the terminal has no {symbol!r}: {said}"
                raise Unknown(message, Cause(Source.GATEWAY, 400, "INVALID", message))
            rules = read_rules(symbol, result.conclusion.response)
            if rules is None:
                raise Unknown(
                    f"symbol rules unknown: the terminal gave no usable sizes and levels of "
                    f"{symbol!r} in time ({result.outcome})"
                )
            self._rules[symbol] = rules, time.monotonic()
            return rules

    async def quote(self, symbol: str, until_s: float) -> Quote:
        """Return the market's prices: of a fresh tick, or asked for.

        Raises:
            Unknown: They could not be had.
        """
        tick, quote = self.newest.get(symbol), None
        if tick is not None and 0 <= time.time() - tick.time_ms / 1000 < QUOTE_IS_FRESH_S:
            quote = read_quote({"bid": tick.bid, "ask": tick.ask})
        if quote is not None:
            return quote
        result = await self._ask("GET_SYMBOL_TICK", {"symbol": symbol}, until_s)
        quote = read_quote(result.conclusion.response)
        if quote is None:
            raise Unknown(f"the price of {symbol!r} could not be had: {result.outcome}")
        return quote
