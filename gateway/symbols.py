"""A symbol's own rules, and what they say of a trade. Pure.

Prices are in quote currency, distances in points, lots in lots. Each problem names the field,
its value, and the nearest values that would be right.

Source: docs/existing-server.md, "Order logic"; MQL4 Book, "Requirements and Limitations in
Making Trades" (stop and freeze level).
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from gateway.core.evidence import NEVER, PENDING_TYPES
from gateway.core.messages import Dialect, Json

NUDGED_WITHIN_POINTS = 3
"""MIN_POINT_DISTANCE of the existing server: nearer stops are moved away to this distance."""

BUYING = frozenset({0, 2, 4})
ABOVE_MARKET = frozenset({3, 4})
"""SELLLIMIT and BUYSTOP wait above the market, BUYLIMIT and SELLSTOP below it."""

NOISE = 1e-4
"""Of a step: what floating-point arithmetic leaves, and nobody can have meant."""


LEAST, MOST = 1e-12, 1e12
"""What no broker's sizes are beyond."""


@dataclass(frozen=True, slots=True)
class Quote:
    """The market's two prices."""

    bid: float
    ask: float


@dataclass(frozen=True, slots=True)
class SymbolRules:
    """What the broker's contract specification says of one symbol."""

    name: str
    digits: int
    point: float
    tick_size: float
    lot_min: float
    lot_step: float
    lot_max: float
    stop_level: int
    freeze_level: int

    def least_points(self, dialect: Dialect) -> int:
        """Return how far stops must be away so that nothing refuses or moves them."""
        if dialect is Dialect.BRIDGE:
            return max(self.stop_level, 1)
        return max(self.stop_level, self.freeze_level + 1, NUDGED_WITHIN_POINTS)

    def distance(self, points: int) -> float:
        """Return a distance in price, rounded up to whole ticks."""
        return math.ceil(points * self.point / self.tick_size - NOISE) * self.tick_size

    def written(self, price: float) -> str:
        """Write a price with the symbol's digits."""
        return f"{price:.{self.digits}f}"


def read_rules(symbol: str, response: Json) -> SymbolRules | None:
    """Read one symbol of the answer to `GET_SYMBOL_INFO`; None when it cannot be relied on.

    A size of 0 means that the terminal has no data of the symbol yet. The existing server would
    divide by it, which ends its program.
    """
    said = response.get(symbol) if isinstance(response, dict) else None
    if not isinstance(said, dict):
        return None
    sizes = ("point", "trade_tick_size", "volume_min", "volume_step", "volume_max")
    levels = ("digits", "trade_stops_level", "trade_freeze_level")
    if not all(_is_number(said.get(key)) and LEAST < said[key] < MOST for key in sizes):
        return None
    if not all(_is_number(said.get(key)) and 0 <= said[key] < 2**31 for key in levels):
        return None
    return SymbolRules(
        name=symbol,
        digits=min(int(said["digits"]), 15),
        point=said["point"],
        tick_size=said["trade_tick_size"],
        lot_min=said["volume_min"],
        lot_step=said["volume_step"],
        lot_max=said["volume_max"],
        stop_level=int(said["trade_stops_level"]),
        freeze_level=int(said["trade_freeze_level"]),
    )


def read_quote(response: Json) -> Quote | None:
    """Read the answer to `GET_SYMBOL_TICK`; None when it cannot be relied on."""
    if not isinstance(response, dict):
        return None
    bid, ask = response.get("bid", 0), response.get("ask", 0)
    if _is_number(bid) and _is_number(ask) and 0 < bid <= ask:
        return Quote(float(bid), float(ask))
    return None


def _is_number(value: Json) -> bool:
    return type(value) in (int, float) and math.isfinite(value)


@dataclass(frozen=True, slots=True)
class Findings:
    """What the rules say of one trade.

    Attributes:
        problems: Why it must not be forwarded, one line per field.
        notes: What the terminal will change about it, which the client has allowed.
    """

    problems: list[str]
    notes: list[str]


def needs_quote(params: Mapping[str, Json], order_type: int) -> bool:
    """Tell whether the market's prices decide on this trade."""
    is_pending = order_type in PENDING_TYPES
    stops = {"sl", "tp", "sl_points", "tp_points"}
    return "price" in params if is_pending else bool(params.keys() & stops)


class TradeCheck:
    """One trade against the rules of its symbol.

    Args:
        quote: Needed where `needs_quote` says so.
        order: The order that a modify or close is about; None for a new one.
    """

    def __init__(
        self,
        params: Mapping[str, Json],
        rules: SymbolRules,
        quote: Quote | None,
        dialect: Dialect,
        *,
        order_type: int,
        order: Mapping[str, Json] | None = None,
        allow_nudge: bool = False,
    ) -> None:
        self._params = params
        self._rules = rules
        self._quote = quote
        self._dialect = dialect
        self._type = order_type
        self._order = order
        self._is_pending = order_type in PENDING_TYPES
        # Only the existing server moves anything; elsewhere the broker would refuse it.
        self._nudges = allow_nudge and dialect is Dialect.METATRADER4_SERVER
        self._problems: list[str] = []
        self._notes: list[str] = []

    def send(self) -> Findings:
        """Check a new order."""
        self._lots()
        self._on_tick("price")
        self._in_ticks("slippage")
        if self._is_pending:
            self._pending_price(max(self._rules.stop_level, 1), can_nudge=False)
        self._stops()
        return Findings(self._problems, self._notes)

    def modify(self) -> Findings:
        """Check a change of an open order."""
        if not self._is_pending and "price" in self._params:
            price = self._params["price"]
            self._problems.append(
                f"price: {price:.10g} cannot be set, the order is a position already"
            )
        self._on_tick("price")
        if self._is_pending and "price" in self._params:
            self._pending_price(self._rules.least_points(self._dialect), can_nudge=True)
        self._stops()
        self._expiration()
        return Findings(self._problems, self._notes)

    def close(self) -> Findings:
        """Check a close that names lots or a price."""
        self._lots()
        self._on_tick("price")
        self._in_ticks("slippage")
        held = self._order.get("lots", 0.0) if self._order else 0.0
        lots = self._params.get("lots")
        if lots is not None and _is_number(held) and lots > held + NOISE * self._rules.lot_step:
            self._problems.append(f"lots: {lots:g} is more than the order's {held:g}")
        return Findings(self._problems, self._notes)

    # ---- one rule each ------------------------------------------------------------------

    def _lots(self) -> None:
        lots, rules = self._params.get("lots"), self._rules
        if lots is None:
            return
        steps = lots / rules.lot_step
        within = rules.lot_min * (1 - 1e-9) <= lots <= rules.lot_max * (1 + 1e-9)
        if within and _is_whole(steps):
            return
        around = (math.floor(steps + NOISE), math.ceil(steps - NOISE))
        right = sorted(
            {
                round(min(max(count * rules.lot_step, rules.lot_min), rules.lot_max), 8)
                for count in around
            }
        )
        self._problems.append(
            f"lots: {lots:g} must be {rules.lot_min:g} to {rules.lot_max:g} in steps of "
            f"{rules.lot_step:g} for {rules.name}; nearest: {_listed(f'{lot:g}' for lot in right)}"
        )

    def _on_tick(self, name: str) -> None:
        """Insist on whole ticks: the existing server would round, the broker might refuse."""
        price, rules = self._params.get(name), self._rules
        if not price:
            return
        ticks = price / rules.tick_size
        if _is_whole(ticks) and ticks > NOISE:
            return
        right = (max(math.floor(ticks), 1) * rules.tick_size, math.ceil(ticks) * rules.tick_size)
        self._problems.append(
            f"{name}: {price!r} is no multiple of {rules.name}'s tick size {rules.tick_size:g}; "
            f"nearest: {_listed(map(rules.written, right))}"
        )

    def _in_ticks(self, name: str) -> None:
        """Insist on points that make whole ticks: the existing server would round them."""
        points, rules = self._params.get(name), self._rules
        per_tick = rules.tick_size / rules.point
        if points is None or _is_whole(points / per_tick):
            return
        right = {math.floor(points / per_tick) * per_tick, math.ceil(points / per_tick) * per_tick}
        self._problems.append(
            f"{name}: {points} points are no whole ticks of {per_tick:g} points; "
            f"nearest: {_listed(f'{value:g}' for value in sorted(right))}"
        )

    def _pending_price(self, points: int, *, can_nudge: bool) -> None:
        price, quote = self._params.get("price"), self._quote
        if price is None or quote is None:
            return
        side = 1 if self._type in ABOVE_MARKET else -1
        self._apart("price", self._opening(quote), side, points, can_nudge=can_nudge)

    def _stops(self) -> None:
        points = self._rules.least_points(self._dialect)
        buying = 1 if self._type in BUYING else -1
        for name, side in (("sl", -buying), ("tp", buying)):
            self._on_tick(name)
            self._in_ticks(f"{name}_points")
            self._far_enough(f"{name}_points", points)
            reference = self._reference()
            if reference is None:
                continue
            if side < 0:
                self._above_zero(f"{name}_points", reference)
            if self._params.get(name):
                self._apart(name, reference, side, points, can_nudge=True)

    def _reference(self) -> tuple[float, str] | None:
        """Return the price that stops are measured from, with its name."""
        if self._is_pending:
            price = self._params.get("price", self._order and self._order.get("open_price"))
            return (float(price), "the order's price") if _is_number(price) else None
        quote = self._quote
        if quote is None:
            return None
        return (quote.bid, "bid") if self._type in BUYING else (quote.ask, "ask")

    def _opening(self, quote: Quote) -> tuple[float, str]:
        return (quote.ask, "ask") if self._type in BUYING else (quote.bid, "bid")

    def _far_enough(self, name: str, least: int) -> None:
        points = self._params.get(name)
        if points is None or points >= least:
            return
        if self._nudges:
            self._notes.append(f"{name}: {points} asked for, {least} set by the terminal")
        else:
            self._problems.append(
                f"{name}: {points} is below the least distance of {least} points for "
                f"{self._rules.name}; nearest: {least}"
            )

    def _above_zero(self, name: str, reference: tuple[float, str]) -> None:
        """Refuse points that lead below zero: the existing server opens first and fails then."""
        points, (market, market_name) = self._params.get(name), reference
        most = math.ceil(market / self._rules.point - NOISE) - 1
        if points is not None and points > most:
            self._problems.append(
                f"{name}: {points} below {market_name} {self._rules.written(market)} of "
                f"{self._rules.name} is no price; at most {most}"
            )

    def _apart(
        self, name: str, other: tuple[float, str], side: int, points: int, *, can_nudge: bool
    ) -> None:
        """Insist that a price is on its side of another, and far enough away."""
        rules, price, (market, market_name) = self._rules, self._params[name], other
        if (price - market) * side >= rules.distance(points) - NOISE * rules.point:
            return
        limit = market + side * rules.distance(points)
        # Whole ticks, away from the market.
        limit = side * math.ceil(side * limit / rules.tick_size - NOISE) * rules.tick_size
        if can_nudge and self._nudges:
            self._notes.append(
                f"{name}: {rules.written(price)} asked for, about {rules.written(limit)} set by "
                f"the terminal"
            )
            return
        direction = "at least" if side > 0 else "at most"
        unit = "point" if points == 1 else "points"
        self._problems.append(
            f"{name}: {rules.written(price)} must be {direction} {rules.written(limit)}, "
            f"{points} {unit} from {market_name} {rules.written(market)} of {rules.name}"
        )

    def _expiration(self) -> None:
        """Mind that the existing server takes a pending order's expiration away."""
        expires = self._order.get("expiration") if self._order else None
        if self._dialect is Dialect.BRIDGE or not self._is_pending or expires in (None, "", NEVER):
            return
        if self._nudges:
            self._notes.append(f"expiration: {expires} was taken away by the terminal")
        else:
            self._problems.append(
                f"expiration: the existing server would take this order's away ({expires}); "
                f"allow it with allow_nudge"
            )


def _is_whole(count: float) -> bool:
    return abs(count - round(count)) < NOISE


def _listed(values: Iterable[str]) -> str:
    return " or ".join(dict.fromkeys(values))
