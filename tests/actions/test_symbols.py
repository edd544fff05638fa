"""What passes the check is what the existing server leaves as it is."""

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.core.messages import Dialect
from gateway.sim.legacy_trades import _AskedStops, _Nudge, on_lot_step, on_tick
from gateway.sim.orders import Order, OrderType
from gateway.sim.orders import Quote as SimQuote
from gateway.sim.symbols import STANDARD_SYMBOLS, SymbolSpec
from gateway.symbols import Quote, SymbolRules, TradeCheck, needs_quote, read_quote, read_rules

EXISTING = Dialect.METATRADER4_SERVER


def said(spec: SymbolSpec) -> dict[str, Any]:
    """Answer GET_SYMBOL_INFO."""
    return {
        "name": spec.name,
        "point": spec.point,
        "digits": spec.digits,
        "volume_min": spec.lot_min,
        "volume_step": spec.lot_step,
        "volume_max": spec.lot_max,
        "trade_tick_size": spec.point,
        "trade_stops_level": spec.stop_level,
        "trade_freeze_level": spec.freeze_level,
    }


def rules_of(spec: SymbolSpec) -> SymbolRules:
    """Read them as the gateway does."""
    rules = read_rules(spec.name, {spec.name: said(spec)})
    assert rules is not None
    return rules


def problems(spec: SymbolSpec, quote: SimQuote, kind: OrderType, params: Any) -> list[str]:
    """Check a change, as it is made at the existing server."""
    check = TradeCheck(
        params,
        rules_of(spec),
        Quote(quote.bid, quote.ask),
        EXISTING,
        order_type=kind,
        order={"open_price": params.get("price")},
    )
    return check.modify().problems


@st.composite
def modifications(draw: st.DrawFn) -> tuple[SymbolSpec, SimQuote, OrderType, dict[str, float]]:
    """Draw a symbol, a market near its opening price, and stops around it, on tick or off."""
    spec = draw(st.sampled_from(STANDARD_SYMBOLS))
    bid_points = round(spec.opening_bid / spec.point) + draw(st.integers(-500, 500))
    spread = draw(st.integers(0, 40))
    bid = round(bid_points * spec.point, spec.digits)
    ask = round((bid_points + spread) * spec.point, spec.digits)
    kind = OrderType(draw(st.integers(0, 5)))

    def price() -> float:
        points = bid_points + draw(st.integers(-60, 60)) + draw(st.sampled_from((0, 0, 0, 0.4)))
        return round(points * spec.point, spec.digits + 1)

    names = draw(st.sets(st.sampled_from(("sl", "tp", "sl_points", "tp_points")), min_size=1))
    params: dict[str, float] = {
        name: draw(st.integers(1, 60)) if name.endswith("points") else price() for name in names
    }
    if kind.is_pending:
        params["price"] = price()
    return spec, SimQuote(bid, ask, 0), kind, params


@settings(max_examples=400)
@given(modifications())
def test_what_passes_is_not_nudged(
    drawn: tuple[SymbolSpec, SimQuote, OrderType, dict[str, float]],
) -> None:
    """The existing server's own arithmetic changes nothing that the check lets through."""
    spec, quote, kind, params = drawn
    if problems(spec, quote, kind, params):
        return
    nudge = _Nudge(spec, quote, kind)
    price = params.get("price", 0.0)
    nudged_price = on_tick(spec, nudge.pending_price(price)) if kind.is_pending else price
    order = Order(1, spec.name, kind, 1.0, price, 0)
    asked = _AskedStops(params.get("sl", 0.0), params.get("tp", 0.0), 0, 0)
    stops = nudge.stops(asked, order, nudged_price)

    assert nudged_price == pytest.approx(price, abs=spec.point * 1e-3)
    for wanted, given_ in zip((asked.stop_loss, asked.take_profit), stops, strict=True):
        assert given_ == pytest.approx(wanted, abs=spec.point * 1e-3)
    for name in ("sl_points", "tp_points"):
        assert params.get(name, 10**6) >= nudge.least_points


@settings(max_examples=200)
@given(st.sampled_from(STANDARD_SYMBOLS), st.floats(1e-4, 200.0))
def test_lots_that_pass_are_not_rounded(spec: SymbolSpec, lots: float) -> None:
    """Neither up to the minimum nor to a step; and what is named as nearest passes."""
    check = TradeCheck({"lots": lots}, rules_of(spec), None, EXISTING, order_type=0)
    found = check.send().problems
    if not found:
        assert on_lot_step(spec, lots) == pytest.approx(lots, abs=spec.lot_step * 1e-3)
        assert lots <= spec.lot_max * (1 + 1e-9)
        return
    for nearest in found[0].rpartition("nearest: ")[2].split(" or "):
        again = TradeCheck({"lots": float(nearest)}, rules_of(spec), None, EXISTING, order_type=0)

        assert [] == again.send().problems


@pytest.mark.parametrize("key", sorted(said(STANDARD_SYMBOLS[0]).keys() - {"name"}))
@pytest.mark.parametrize("value", [None, "1", True, float("inf"), -1, 1e300])
def test_rules_that_make_no_sense_are_unknown(key: str, value: object) -> None:
    """A limit that cannot be evaluated is none to rely on."""
    spec = STANDARD_SYMBOLS[0]

    assert read_rules(spec.name, {spec.name: said(spec) | {key: value}}) is None


@pytest.mark.parametrize(
    "said", [None, [], {}, {"bid": 1.0}, {"bid": 2.0, "ask": 1.0}, {"bid": 0.0, "ask": 0.0}]
)
def test_quote_that_makes_no_sense_is_none(said: object) -> None:
    """Sides of a market without prices are not told."""
    assert read_quote(said) is None


@pytest.mark.parametrize(
    ("kind", "name", "points", "passes"),
    [
        (OrderType.BUY, "sl_points", 111_999, True),
        (OrderType.BUY, "sl_points", 112_100, False),
        (OrderType.BUY, "tp_points", 112_100, True),
        (OrderType.SELL, "tp_points", 112_100, False),
        (OrderType.SELL, "sl_points", 112_100, True),
    ],
)
def test_points_do_not_lead_below_zero(
    kind: OrderType, name: str, points: int, passes: bool
) -> None:
    """The existing server would open the order and then fail to set the stop."""
    rules = rules_of(STANDARD_SYMBOLS[0])
    params = {"lots": 0.1, name: points}
    found = TradeCheck(params, rules, Quote(1.12, 1.1201), EXISTING, order_type=kind).send()

    assert needs_quote(params, kind)
    assert passes == (not found.problems), found.problems


def test_tick_of_several_points_is_minded() -> None:
    """A future with a tick of 25 points: prices, points and slippage come in whole ticks."""
    future = {"point": 0.01, "trade_tick_size": 0.25, "digits": 2}
    rules = read_rules("ES", {"ES": said(STANDARD_SYMBOLS[0]) | future})
    assert rules is not None
    params = {"lots": 1.0, "price": 4000.30, "slippage": 30, "sl_points": 60, "tp_points": 50}
    found = TradeCheck(params, rules, Quote(4000.0, 4000.25), EXISTING, order_type=0).send()

    assert 3 == len(found.problems)
    for part in ("nearest: 4000.25 or 4000.50", "nearest: 25 or 50", "nearest: 50 or 75"):
        assert part in "; ".join(found.problems)
