"""Whatever arrives, both dialects answer and go on."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from gateway.sim.decision import TRADES
from gateway.sim.reads import READS
from tests.sim.programs import TOKEN, Bridge, Legacy

ACTIONS = sorted(TRADES | READS.keys() | {"HELLO", "RESOLVE", "SUBSCRIBE_TICKS"})
ODD: list[Any] = ["EURUSD", "GOLD spot", "", "1", TOKEN, "iMA", "1e999", 1e300, 10**400, 1001, 1002]
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.sampled_from(ODD),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=2),
    max_leaves=4,
)
KEYS = [
    *("symbol", "order_type", "lots", "comment", "price", "slippage", "sl", "tp", "sl_points"),
    *("tp_points", "magic_number", "expiration", "ticket", "close_if_opened", "names", "side"),
    *("timeframe", "limit", "timeout", "indicator", "argv", "property_id", "property_name"),
    *("symbols", "property", "claim", "journal"),
]
# A sound order with a few odd values in it comes further than nonsense alone.
ORDER = {"symbol": "EURUSD", "order_type": 2, "lots": 0.1, "price": 1.1, "comment": TOKEN}
PARAMS = st.dictionaries(st.sampled_from(KEYS), VALUES, max_size=4).map(lambda odd: ORDER | odd)
NO_TEXT = VALUES.filter(lambda value: not isinstance(value, str))
NO_INTEGER = VALUES.filter(lambda value: not isinstance(value, int) or isinstance(value, bool))
WRONG_KEY = st.tuples(st.sampled_from(["id", "digest", "session", "ledger"]), NO_TEXT) | st.tuples(
    st.sampled_from(["attempt", "epoch", "seq", "not_after", "journal"]), NO_INTEGER
)
ENOUGH = settings(
    max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)


@pytest.fixture
def bridge(tmp_path: Path) -> Iterator[Bridge]:
    """Run a bridge that a gateway has claimed."""
    bridge = Bridge(tmp_path / "ledger.txt")
    yield bridge
    bridge.ledger.close()


@given(text=st.text(alphabet='{}[]":,.-+eEtfn019 \\uÄ€\0', max_size=60))
@ENOUGH
def test_existing_server_answers_any_text(text: str) -> None:
    """With an error or a value, never with an exception."""
    assert Legacy().raw(text)


@given(action=st.sampled_from(ACTIONS), params=PARAMS)
@ENOUGH
def test_existing_server_answers_any_parameters(action: str, params: dict[str, Any]) -> None:
    """Coerced to whatever they become."""
    server = Legacy()
    server.buy()

    assert server.raw(json.dumps({"action": action, **params}))


@given(action=st.sampled_from(ACTIONS), params=PARAMS)
@ENOUGH
def test_bridge_answers_any_parameters(bridge: Bridge, action: str, params: dict[str, Any]) -> None:
    """With bridge keys in order, so that the parameters are looked at."""
    assert bridge.frame(**(params | {"action": action, "id": f"me/{bridge.seq}"}))


@given(wrong=WRONG_KEY)
@ENOUGH
def test_bridge_trades_only_when_every_key_fits(bridge: Bridge, wrong: tuple[str, Any]) -> None:
    """A key of a wrong type never leads to an order, however sound the order is."""
    key, value = wrong
    request = ORDER | {"action": "DO_ORDER_SEND", "id": f"me/{bridge.seq}"}
    reply = bridge.frame(**(request | {key: value}))

    assert reply["error_message"]
    assert bridge.orders == 0
