"""The catalogue: every action, its effect, its lane, its parameters, and who can do it.

The one source for validation, help texts, AsyncAPI and docs/actions.md. An action that is not
listed is not forwarded.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import msgpack
from pydantic import ValidationError

from gateway.core.messages import Dialect, Effect, Json, Lane
from gateway.errors import InvalidCommand
from gateway.fields import short
from gateway.parameters import (
    OURS,
    AccountDouble,
    AccountInteger,
    Bars,
    Indicator,
    MarketInfo,
    NoParameters,
    OneSymbol,
    OneTicket,
    Parameters,
    SignalNames,
    SymbolDouble,
    SymbolInteger,
    SymbolNames,
    SymbolText,
    TickSymbols,
)
from gateway.trade_parameters import CloseAll, OrderClose, OrderDelete, OrderModify, OrderSend

BOTH = frozenset(Dialect)
BRIDGE_ONLY = frozenset({Dialect.BRIDGE})


@dataclass(frozen=True, slots=True)
class Action:
    """One line of the catalogue.

    Attributes:
        lane: Which queue it waits in.
        dialects: Which terminals know it.
    """

    name: str
    effect: Effect
    lane: Lane
    parameters: type[Parameters]
    help: str
    dialects: frozenset[Dialect] = BOTH

    def validate(self, params: Mapping[str, Json]) -> dict[str, Json]:
        """Check the parameters and return what is forwarded: canonical, without absent ones.

        `OURS` are checked, too, but left out.

        Raises:
            InvalidCommand: Naming each field, its value, and what would be right.
        """
        try:
            model = self.parameters.model_validate(params)
        except ValidationError as exc:
            raise InvalidCommand([_explain(error) for error in exc.errors()]) from exc
        return model.model_dump(exclude_none=True, exclude=set(OURS))

    def work_s(self, params: Mapping[str, Json]) -> float:
        """Say how long the terminal may rightly take beyond a round trip."""
        return float(params.get("timeout", 0)) / 1000

    def refuse_for(self, dialect: Dialect, params: Mapping[str, Json]) -> str | None:
        """Say why a terminal of this dialect cannot do it; None when it can."""
        if dialect not in self.dialects:
            return f"{self.name} needs a terminal of dialect {', '.join(sorted(self.dialects))}"
        if dialect is Dialect.BRIDGE:
            return None
        if unknown := sorted(params.keys() & self.parameters.bridge_only):
            return f"the existing server ignores {', '.join(unknown)}: needs dialect bridge"
        if zero := [name for name in ("sl", "tp") if params.get(name) == 0]:
            return f"the existing server cannot remove {', '.join(zero)}: needs dialect bridge"
        if self.parameters is SignalNames:
            # It writes names as keys without escaping them: the reply would be no JSON.
            unwritable = [name for name in params["names"] if '"' in name or "\\" in name]
            if unwritable:
                return f"names: the existing server cannot write {unwritable}: needs dialect bridge"
        return None


def digest_of(action: str, params: Mapping[str, Json]) -> str:
    """Return 32 hex digits over an action and its canonical parameters."""
    canonical: bytes = msgpack.packb([action, sorted(params.items())])
    return hashlib.blake2b(canonical, digest_size=16).hexdigest()


def _explain(error: Any) -> str:
    path = ".".join(str(part) for part in error["loc"])
    text = str(error["msg"]).removeprefix("Value error, ")
    match error["type"]:
        case "extra_forbidden":
            return f"{path}: unknown parameter"
        case "missing":
            return f"{path}: missing"
        case _ if not path:
            return text
        case _:
            return f"{path}: {text} (got {short(error['input'])})"


def _query(name: str, parameters: type[Parameters], help_: str, lane: Lane = Lane.READ) -> Action:
    return Action(name, Effect.QUERY, lane, parameters, help_)


def _trade(name: str, parameters: type[Parameters], help_: str, lane: Lane = Lane.TRADE) -> Action:
    return Action(name, Effect.TRADE, lane, parameters, help_)


def _bridge(action: Action) -> Action:
    return replace(action, dialects=BRIDGE_ONLY)


ACTIONS: dict[str, Action] = {
    action.name: action
    for action in (
        _query("GET_ACCOUNT_INFO", NoParameters, "Login, name, server, currency, company."),
        _query("GET_ACCOUNT_INFO_INTEGER", AccountInteger, "A property of the account, integer."),
        _query("GET_ACCOUNT_INFO_DOUBLE", AccountDouble, "A property of the account, number."),
        _query("GET_SYMBOLS", NoParameters, "Names of all symbols of the broker."),
        _query("GET_SYMBOL_INFO", SymbolNames, "Digits, lot limits and steps, stop levels."),
        _query("GET_SYMBOL_MARKET_INFO", MarketInfo, "A value of MQL4's `MarketInfo`."),
        _query("GET_SYMBOL_INFO_INTEGER", SymbolInteger, "A property of a symbol, integer."),
        _query("GET_SYMBOL_INFO_DOUBLE", SymbolDouble, "A property of a symbol, number."),
        _query("GET_SYMBOL_INFO_STRING", SymbolText, "A property of a symbol, text."),
        _query("GET_SYMBOL_TICK", OneSymbol, "The last quote of a symbol."),
        _query("GET_OHLCV", Bars, "Bars, oldest first, broker's clock.", Lane.POLL),
        _query("GET_SIGNALS", NoParameters, "Names of the trading signals on offer."),
        _query("GET_SIGNAL_INFO", SignalNames, "Trading signals: author, gain, drawdown, price."),
        _query("RUN_INDICATOR", Indicator, "One value of a built-in indicator.", Lane.POLL),
        _query("GET_ORDER", OneTicket, "One order: open, pending or closed."),
        _query("GET_ORDERS", NoParameters, "Open and pending orders."),
        _query("GET_HISTORICAL_ORDERS", NoParameters, "What the Account History tab holds."),
        _trade("DO_ORDER_SEND", OrderSend, "Open a position or place a pending order."),
        _trade("DO_ORDER_MODIFY", OrderModify, "Change stops, or a pending order's price."),
        _trade("DO_ORDER_CLOSE", OrderClose, "Close a position, whole or in part.", Lane.REDUCE),
        _trade("DO_ORDER_DELETE", OrderDelete, "Delete a pending order.", Lane.REDUCE),
        _bridge(_trade("DO_CLOSE_ALL", CloseAll, "Close all positions that fit.", Lane.REDUCE)),
        _bridge(_query("GET_SERVER_TIME", NoParameters, "The broker's clock, and ours.")),
        _bridge(_query("GET_TERMINAL_INFO", NoParameters, "Build, permissions, ping.")),
        _bridge(_query("SUBSCRIBE_TICKS", TickSymbols, "Have ticks of these published, too.")),
        _bridge(_query("UNSUBSCRIBE_TICKS", TickSymbols, "Have no ticks of these published.")),
    )
}
"""The nouns: what moves through the gateway, by name; docs/actions.md is written from it."""
