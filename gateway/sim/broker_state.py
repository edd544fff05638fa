"""The broker's state as a file, so that orders outlive a killed simulator."""

import json
import os
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

from gateway.sim.broker import Broker
from gateway.sim.orders import Order, OrderType, Quote


def save_broker(broker: Broker, path: Path) -> None:
    """Write the broker's state; a reader finds the old or the new one whole, never a part."""
    state = {
        "balance": broker.balance,
        "now_s": broker.now_s,
        "next_ticket": broker.next_ticket,
        "orders": [asdict(order) for order in broker.orders.values()],
        "history": [asdict(order) for order in broker.history],
        "quotes": {name: asdict(quote) for name, quote in broker.quotes.items()},
    }
    unfinished = path.with_name(path.name + ".new")
    unfinished.write_text(json.dumps(state), encoding="utf-8")
    os.replace(unfinished, path)  # noqa: PTH105  # atomic on Windows too, which Path.rename is not


def load_broker(broker: Broker, path: Path) -> bool:
    """Put a saved state into a broker of the same symbols.

    Returns:
        False if there is no file.

    Raises:
        ValueError: The file is not a broker's state.
    """
    if not path.exists():
        return False
    try:
        state: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
        orders = [_order(fields) for fields in state["orders"]]
        broker.history = [_order(fields) for fields in state["history"]]
        broker.quotes = {name: Quote(**fields) for name, fields in state["quotes"].items()}
        broker.balance = float(state["balance"])
        broker.now_s = int(state["now_s"])
        broker.next_ticket = int(state["next_ticket"])
    except (KeyError, TypeError) as error:
        raise ValueError(f"{path} is not a broker's state: {error}") from error
    broker.orders = {order.ticket: order for order in orders}
    return True


def _order(fields: Mapping[str, Any]) -> Order:
    return Order(**{**fields, "order_type": OrderType(fields["order_type"])})
