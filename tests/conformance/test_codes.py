"""What each code of a trade call proves, for all four calls (docs/protocol.md, "Codes")."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from tests.conformance.broker import Mishap
from tests.conformance.peers import Peer, PeerName
from tests.mql4host.client import Body, BridgeClient, token

NOT_NOW = {135, 136, 138, 146}
REJECTED = {
    *(3, 5, 7, 8, 64, 65, 140, 141, 144, 145, 4051),
    *range(129, 135),
    *range(147, 151),
    *range(4060, 4113),
}
CODES = (*range(10), 64, 65, *range(128, 152), 4050, 4051, 4059, 4060, 4106, 4112, 4113, 5000)
REQUESTS: dict[str, Body] = {
    "OrderSend": {"action": "DO_ORDER_SEND", "symbol": "EURUSD", "order_type": 0, "lots": 0.1},
    "OrderModify": {"action": "DO_ORDER_MODIFY", "sl": 1.1},
    "OrderClose": {"action": "DO_ORDER_CLOSE"},
    "OrderDelete": {"action": "DO_ORDER_DELETE"},
}


def expected_state(call: str, code: int) -> str:
    """Return what the page says."""
    if call == "OrderModify" and code == 1:
        return "done"
    if code in NOT_NOW:
        return "not_now"
    return "rejected" if code in REJECTED else "in_doubt"


@pytest.mark.parametrize("call", REQUESTS)
@pytest.mark.parametrize("name", [PeerName.SIM, PeerName.MQL4])
def test_each_code_proves_what_the_page_says(
    name: PeerName, call: str, make_peer: Callable[[PeerName], Peer]
) -> None:
    """The call fails with the code and nothing has run; the ledger tells the same again."""
    with make_peer(name) as peer, BridgeClient(peer.endpoint) as client:
        client.claim()
        kind = 2 if call == "OrderDelete" else 0
        ticket, failed = peer.broker.order_send("EURUSD", kind, 0.1, 1.1 if kind else 1.12132, 10)
        assert not failed
        states: dict[int, tuple[object, ...]] = {}
        for code in CODES:
            peer.broker.arrange(call, Mishap.REFUSE, code)
            command = f"c{code}"
            own = (
                {"comment": token(f"test/{command}")} if call == "OrderSend" else {"ticket": ticket}
            )
            reply = client.trade(REQUESTS[call]["action"], command, **{**REQUESTS[call], **own})
            again = client.resolve(command)
            assert (reply["state"], reply.get("error_code")) == (
                again["state"],
                again.get("error_code"),
            )
            states[code] = (reply["state"], reply.get("error_code"))

        assert {
            code: (state := expected_state(call, code), None if state == "done" else code)
            for code in CODES
        } == states
        assert 1 == len(peer.broker.orders)
