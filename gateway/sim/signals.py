"""The trading signals that the simulated terminal lists."""

from collections.abc import Mapping

from gateway.sim.wire import Body


def _signal(number: int, name: str, gain: float) -> Body:
    return {
        "author_login": f"author{number}",
        "broker": "Simulated Broker",
        "broker_server": "Simulator-Demo",
        "name": name,
        "currency": "USD",
        "date_published": 1_577_836_800,
        "date_started": 1_577_836_800,
        "id": number,
        "leverage": 100,
        "pips": 1_234,
        "rating": number,
        "subscribers": 10 * number,
        "trades": 100 * number,
        "trade_mode": 0,
        "balance": 10_000.0,
        "equity": 10_050.0,
        "gain": gain,
        "max_drawdown": 12.5,
        "price": 0.0,
        "roi": gain,
    }


SIGNALS: Mapping[str, Body] = {
    "Alpha Trend": _signal(1, "Alpha Trend", 42.0),
    'Grid "Pro"': _signal(2, 'Grid "Pro"', -3.5),
}
"""Signals by name; the second's quotes break the JSON of the existing server, which uses names
as keys and does not escape keys."""
