"""Which exchange a command has: by what it does, and who is asked."""

from __future__ import annotations

from gateway.core.exchange import Exchange, ReadExchange, Rules
from gateway.core.ledger_trade import LedgerTrade
from gateway.core.messages import Command, Dialect
from gateway.core.search_trade import SearchTrade


def exchange_for(command: Command, dialect: Dialect | None, rules: Rules) -> Exchange:
    """Make the exchange of a command."""
    if not command.is_trade:
        return ReadExchange(command, rules)
    if dialect is Dialect.METATRADER4_SERVER:
        return SearchTrade(command, rules)
    return LedgerTrade(command, rules)
