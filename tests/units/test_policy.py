"""Who may do what, as a table."""

from typing import Any

import pytest

from gateway.config import Policy
from gateway.core.messages import Command, CommandId, Effect, Json, Lane
from gateway.policy import refusal


def command(action: str = "DO_ORDER_SEND", client: str = "me", **params: Json) -> Command:
    """Make a command; only what the policy looks at matters."""
    effect = Effect.TRADE if action.startswith("DO_") else Effect.QUERY
    return Command(
        key=CommandId(client, "1"),
        asker=client,
        action=action,
        effect=effect,
        lane=Lane.TRADE,
        params=params,
        digest="",
        received_s=0.0,
        received_at_s=0.0,
        deadline_s=1.0,
    )


ORDER: dict[str, Json] = {"symbol": "EURUSD", "lots": 0.5}


@pytest.mark.parametrize(
    ("rules", "wanted", "part"),
    [
        ({}, command(**ORDER), "trading is off"),
        ({"trading": True}, command(**ORDER), None),
        ({}, command("GET_ORDERS"), None),
        ({"trading": True, "clients": ("bot",)}, command(**ORDER), "'me' is not in"),
        ({"trading": True, "clients": ("me",)}, command(**ORDER), None),
        ({"trading": True, "symbols": ("USDJPY",)}, command(**ORDER), "'EURUSD' is not in"),
        ({"trading": True, "symbols": ("EURUSD",)}, command(**ORDER), None),
        ({"trading": True, "symbols": ("EURUSD",)}, command("DO_CLOSE_ALL"), "symbol: missing"),
        (
            {"trading": True, "symbols": ("EURUSD",)},
            command("DO_CLOSE_ALL", symbol="USDJPY"),
            "'USDJPY' is not in",
        ),
        ({"trading": True, "symbols": ("EURUSD",)}, command("DO_CLOSE_ALL", symbol="EURUSD"), None),
        ({"trading": True}, command("DO_CLOSE_ALL"), None),
        ({"trading": True, "maximum_lots": 0.4}, command(**ORDER), "0.5 is above"),
        ({"trading": True, "maximum_lots": 0.5}, command(**ORDER), None),
        (
            {"trading": True, "maximum_lots": 0.1},
            command("DO_ORDER_CLOSE", ticket=1, lots=5.0),
            None,
        ),
    ],
)
def test_policy(rules: dict[str, Any], wanted: Command, part: str | None) -> None:
    """Each rule says which value broke it; closing is never too large."""
    cause = refusal(wanted, Policy(**rules))

    if part is None:
        assert cause is None
    else:
        assert cause is not None
        assert part in cause.message
        assert 403 == cause.code
