"""Who may do what. Pure: the command and the state in, a refusal or nothing out.

A fresh gateway only reads: trades are denied until the operator switches them on.
"""

from __future__ import annotations

from dataclasses import dataclass

from gateway.config import Policy
from gateway.core.messages import Cause, Command, Lane, Source


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


def refusal(command: Command, policy: Policy) -> Cause | None:
    """Say which rule forbids the command, with the value that broke it; None when none does."""
    if not command.is_trade:
        return None
    if not policy.trading:
        return _forbidden("trading is off: set policy.trading = true to trade through this gateway")
    client = command.key.client
    if policy.clients and client not in policy.clients:
        return _forbidden(f"client {client!r} is not in policy.clients")
    symbol = command.params.get("symbol")
    if policy.symbols and symbol is not None and symbol not in policy.symbols:
        return _forbidden(f"symbol {symbol!r} is not in policy.symbols")
    if policy.symbols and symbol is None and command.action == "DO_CLOSE_ALL":
        return _forbidden(
            "symbol: missing; it would close positions of every symbol, and policy.symbols lists "
            f"those that may be traded: name one of {', '.join(policy.symbols)}"
        )
    lots = command.params.get("lots", 0.0)
    is_opening = command.action == "DO_ORDER_SEND"
    if is_opening and policy.maximum_lots is not None and lots > policy.maximum_lots:
        return _forbidden(f"lots {lots:g} is above policy.maximum_lots {policy.maximum_lots:g}")
    return None


def _forbidden(message: str) -> Cause:
    return Cause(Source.GATEWAY, 403, "FORBIDDEN", message)
