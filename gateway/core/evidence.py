"""What the orders of the existing server can prove about a trade whose reply is missing.

An opened order carries its command's token at the front of its comment. A close, delete or
modify is found by its ticket: its effect is there, or it is not. A difference between two
lists is never proof: other programs and people trade too.
"""

from __future__ import annotations

import base64
import hashlib
import math
from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from gateway.core.messages import Command, CommandId, Json, Reply, Verdict

TOKEN_LENGTH = 14
COMMENT_LENGTH = 31
COMMENT_LEFT = COMMENT_LENGTH - TOKEN_LENGTH
"""What a client's own comment may be long; docs/protocol.md, `token`."""

NEVER = "1970.01.01 00:00:00"
PENDING_TYPES = frozenset({2, 3, 4, 5})


def token_of(key: CommandId) -> str:
    """Return the 14 characters that mark a command's order at the broker."""
    digest = hashlib.blake2b(str(key).encode(), digest_size=8).digest()
    return "~" + base64.b32encode(digest).decode().rstrip("=")


@dataclass(frozen=True, slots=True)
class Found:
    """The trade's effect is there."""

    response: Json
    warning: str | None = None


class Search(ABC):
    """One look at the orders, one query after the other."""

    @abstractmethod
    def query(self) -> tuple[str, Mapping[str, Json]]:
        """Return the action and parameters of the next read."""

    @abstractmethod
    def is_answered_by(self, reply: Reply) -> bool:
        """Tell whether a reply answers the last query; if not, it is asked again."""

    @abstractmethod
    def consider(self, reply: Reply) -> Found | None:
        """Take in the answer to the last query."""

    @property
    @abstractmethod
    def is_over(self) -> bool:
        """Tell whether every query has been considered."""


class OrderSearch(Search):
    """Look for a token. Open orders twice: one may move to the history between two reads."""

    def __init__(self, command: Command) -> None:
        self._token = token_of(command.key)
        self._wanted = command.params
        self._queries = ["GET_ORDERS", "GET_HISTORICAL_ORDERS", "GET_ORDERS"]

    def query(self) -> tuple[str, Mapping[str, Json]]:
        """Return the next list to read."""
        return self._queries[0], {}

    def is_answered_by(self, reply: Reply) -> bool:
        """Want a list; `{}`, an empty one, comes without a response."""
        is_list = reply.response is None or isinstance(reply.response, list)
        return reply.verdict is Verdict.DONE and is_list

    def consider(self, reply: Reply) -> Found | None:
        """Look for the token at the front of each comment."""
        self._queries.pop(0)
        orders = [order for order in reply.response or [] if self._is_ours(order)]
        if not orders:
            return None
        order = min(orders, key=lambda order: order["ticket"])
        return Found(order, "; ".join(self._oddities(order, orders)) or None)

    def _oddities(self, order: Json, orders: list[Json]) -> Iterator[str]:
        """Say what is not as it was asked for: that server sets stops in a second call."""
        if len(orders) > 1:
            tickets = sorted(order["ticket"] for order in orders)
            yield f"{len(tickets)} orders carry its token: {tickets}"
        for name in ("sl", "tp"):
            is_wanted = name in self._wanted or f"{name}_points" in self._wanted
            if is_wanted and not order.get(name):
                yield f"the {name} that was asked for is not set"

    def _is_ours(self, order: Json) -> bool:
        return (
            isinstance(order, dict)
            and type(order.get("ticket")) is int
            and str(order.get("comment")).startswith(self._token)
        )

    @property
    def is_over(self) -> bool:
        """Tell whether all three lists have been read."""
        return not self._queries


class TicketSearch(Search):
    """Look whether a close, delete or modify has had its effect on its order."""

    def __init__(self, command: Command) -> None:
        self._command = command
        self._asked = False

    def query(self) -> tuple[str, Mapping[str, Json]]:
        """Read the order itself."""
        return "GET_ORDER", {"ticket": self._command.params["ticket"]}

    def is_answered_by(self, reply: Reply) -> bool:
        """Want the order, or that there is none."""
        return reply.verdict is Verdict.REJECTED or (
            reply.verdict is Verdict.DONE and isinstance(reply.response, dict)
        )

    def consider(self, reply: Reply) -> Found | None:
        """Compare the order with what was asked for."""
        self._asked = True
        order = reply.response
        if reply.verdict is not Verdict.DONE or not isinstance(order, dict):
            return None
        if not _has_effect(self._command, order):
            return None
        return Found(order, "its effect is there; by whose hand cannot be told")

    @property
    def is_over(self) -> bool:
        """Tell whether the order has been read."""
        return self._asked


def search_for(command: Command) -> Search:
    """Choose the search that can find this trade's effect."""
    if command.action == "DO_ORDER_SEND":
        return OrderSearch(command)
    return TicketSearch(command)


def _has_effect(command: Command, order: Mapping[str, Json]) -> bool:
    wanted = command.params
    if command.action == "DO_ORDER_MODIFY":
        names = {"price": "open_price", "sl": "sl", "tp": "tp"}
        absolute = {names[name]: value for name, value in wanted.items() if name in names}
        relative = wanted.keys() & {"sl_points", "tp_points"}
        return bool(absolute) and not relative and _all_close(absolute, order)
    is_closed = order.get("close_time") not in (None, NEVER)
    if command.action == "DO_ORDER_DELETE" and not wanted.get("close_if_opened"):
        # A filled and closed order was not deleted: a deleted one is still of a pending type.
        kind = order.get("order_type")
        return is_closed and type(kind) is int and kind in PENDING_TYPES
    if is_closed and "lots" in wanted:
        return _all_close({"lots": wanted["lots"]}, order)
    return is_closed


def _all_close(wanted: Mapping[str, float], order: Mapping[str, Json]) -> bool:
    return all(
        isinstance(order.get(name), int | float)
        and math.isclose(float(order[name]), value, rel_tol=0.0, abs_tol=5e-9)
        for name, value in wanted.items()
    )
