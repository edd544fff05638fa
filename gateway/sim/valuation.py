"""What orders are worth: conversion between currencies, profit and margin."""

from collections.abc import Iterable, Mapping

from gateway.sim.orders import Order, Quote
from gateway.sim.symbols import SymbolSpec

CENTS = 2
"""Account money is kept to two decimals, as the broker's server keeps it."""


def conversion_rate(
    source: str, target: str, specs: Iterable[SymbolSpec], quotes: Mapping[str, Quote]
) -> float:
    """Return how much one unit of `source` is worth in `target`, at current bid prices.

    Without a quoted pair of the two currencies the rate is 1: a replay of a single symbol shall
    run without the rest of the market, at the price of wrong money (never of wrong prices).
    """
    if source == target:
        return 1.0
    for spec in specs:
        quote = quotes.get(spec.name)
        if quote is None:
            continue
        if (spec.base_currency, spec.profit_currency) == (source, target):
            return quote.bid
        if (spec.base_currency, spec.profit_currency) == (target, source):
            return 1.0 / quote.bid
    return 1.0


def profit_at(order: Order, spec: SymbolSpec, price: float, rate: float) -> float:
    """Return the profit of a position closed at `price`, account currency, to the cent."""
    move = (price - order.open_price) * order.order_type.sign
    return round(move * spec.contract_size * order.lots * rate, CENTS)


def margin_for(spec: SymbolSpec, lots: float, price: float, leverage: int, rate: float) -> float:
    """Return the margin that a position binds, account currency, to the cent."""
    return round(spec.contract_size * lots * price * rate / leverage, CENTS)
