"""The bridge's trades: strict parameters, stops in the first call, closing many at once."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from gateway.sim.wire import broker_time_text
from tests.sim.programs import NOW_S, TOKEN, Bridge


@pytest.fixture
def bridge(tmp_path: Path) -> Iterator[Bridge]:
    """Run a bridge that a gateway has claimed."""
    bridge = Bridge(tmp_path / "ledger.txt")
    yield bridge
    bridge.ledger.close()


def opened(bridge: Bridge, number: int = 1, **change: Any) -> int:
    """Open a position and return its ticket."""
    reply = bridge.send(id=f"me/open{number}", **change)
    assert reply["state"] == "done", reply
    return int(reply["response"]["ticket"])


def trade(bridge: Bridge, action: str, **params: Any) -> dict[str, Any]:
    """Make a trade under an id of its own."""
    return bridge.frame(action=action, id=f"me/{action}-{bridge.seq}", **params)


def test_stops_go_into_the_first_call(bridge: Bridge) -> None:
    """The position is never unprotected: one call at the broker, stops in the reply."""
    reply = bridge.send(sl=1.119, tp=1.13)

    assert (1.119, 1.13) == (reply["response"]["sl"], reply["response"]["tp"])
    assert ["order_send"] == [record["call"] for record in bridge.truth.of("executed")]


@pytest.mark.parametrize(
    ("order_type", "stop_loss", "take_profit"), [(0, 1.1182, 1.1242), (1, 1.12432, 1.11832)]
)
def test_points_are_counted_from_the_closing_price(
    bridge: Bridge, order_type: int, stop_loss: float, take_profit: float
) -> None:
    """Bid for a buy, ask for a sell, as in the existing server."""
    record = bridge.send(order_type=order_type, sl_points=300, tp_points=300)["response"]

    assert (stop_loss, take_profit) == (record["sl"], record["tp"])


def test_points_of_a_pending_order_are_counted_from_its_price(bridge: Bridge) -> None:
    """The market is not where it will open."""
    record = bridge.send(order_type=2, price=1.11, sl_points=100)["response"]

    assert record["sl"] == 1.109


def test_magic_number_and_expiration_reach_the_order(bridge: Bridge) -> None:
    """The bridge's additions to DO_ORDER_SEND."""
    expires_s = NOW_S + 3600
    pending = {"order_type": 2, "price": 1.11}
    record = bridge.send(**pending, magic_number=-7, expiration=expires_s)["response"]

    assert (record["magic_number"], record["expiration"]) == (-7, "2020.09.13 13:26:40")


BAD = [
    ({"order_type": "SELL"}, 'Param "order_type" is not an integer.'),
    ({"order_type": True}, 'Param "order_type" is not an integer.'),
    ({"order_type": 1.0}, 'Param "order_type" is not an integer.'),
    ({"order_type": 6}, "Invalid trade operation: 6"),
    ({"lots": "abc"}, 'Param "lots" is not a number.'),
    ({"lots": None}, 'Missing "lots" param.'),
    ({"comment": None}, 'Missing "comment" param.'),
    ({"comment": "no token"}, 'Param "comment" does not begin with a token.'),
    ({"magic_number": 2**31}, 'Param "magic_number" is not an integer.'),
    ({"expiration": NOW_S + 60}, 'Only a pending order can have an "expiration" parameter.'),
    ({"slippage": -1}, 'Param "slippage" is negative.'),
    ({"order_type": 2}, 'Cannot place a pending order without the "price" parameter.'),
    ({"sl": 1.1, "sl_points": 5}, "Stop-loss cannot be both"),
    ({"tp": 1.2, "tp_points": 5}, "Take-profit cannot be both"),
    ({"symbol": "NOPE"}, "NOPE"),
]


@pytest.mark.parametrize(("change", "message"), BAD)
def test_wrong_parameter_is_rejected_not_coerced(
    bridge: Bridge, change: dict[str, Any], message: str
) -> None:
    """What the existing server turns into a trade is refused here, for good."""
    reply = bridge.send(**change)

    assert reply["state"] == "rejected"
    assert reply["error_message"].startswith(message)
    assert bridge.orders == 0


@pytest.mark.parametrize(
    ("change", "code"), [({"lots": 0.016}, 131), ({"sl": 1.13}, 130), ({"price": 1.1}, 138)]
)
def test_nothing_is_rounded_or_nudged(bridge: Bridge, change: dict[str, Any], code: int) -> None:
    """The broker refuses what the existing server would have bent."""
    assert bridge.send(**change)["error_code"] == code


def test_modify_keeps_what_is_not_named(bridge: Bridge) -> None:
    """Stop, target and expiry stay unless given."""
    ticket = opened(bridge, order_type=2, price=1.11, sl=1.1, tp=1.12, expiration=NOW_S + 60)
    record = trade(bridge, "DO_ORDER_MODIFY", ticket=ticket, sl=1.101)["response"]

    assert (1.101, 1.12, 1.11) == (record["sl"], record["tp"], record["open_price"])
    assert bridge.platform.broker.orders[ticket].expiration_s == NOW_S + 60


def test_modify_to_zero_takes_a_stop_away(bridge: Bridge) -> None:
    """The existing server cannot."""
    ticket = opened(bridge, sl=1.1)

    assert trade(bridge, "DO_ORDER_MODIFY", ticket=ticket, sl=0)["response"]["sl"] == 0.0


def test_modify_to_what_holds_is_done(bridge: Bridge) -> None:
    """Code 1 means that the values are there already."""
    ticket = opened(bridge, sl=1.1)
    reply = trade(bridge, "DO_ORDER_MODIFY", ticket=ticket, sl=1.1)

    assert (reply["state"], reply["response"]["sl"]) == ("done", 1.1)


@pytest.mark.parametrize("expires_s", [NOW_S + 120, 0])
def test_modify_sets_a_given_expiration(bridge: Bridge, expires_s: int) -> None:
    """Broker seconds; 0 takes it away."""
    ticket = opened(bridge, order_type=2, price=1.11, expiration=NOW_S + 60)
    reply = trade(bridge, "DO_ORDER_MODIFY", ticket=ticket, expiration=expires_s)

    assert reply["state"] == "done"
    assert reply["response"]["expiration"] == broker_time_text(expires_s)
    assert bridge.platform.broker.orders[ticket].expiration_s == expires_s


@pytest.mark.parametrize(
    ("change", "expires_s", "message"),
    [
        ({}, NOW_S + 60, 'Only a pending order can have an "expiration" parameter.'),
        ({}, 0, 'Only a pending order can have an "expiration" parameter.'),
        ({"order_type": 2, "price": 1.11}, -1, 'Param "expiration" is negative.'),
        ({"order_type": 2, "price": 1.11}, "1", 'Param "expiration" is not an integer.'),
    ],
)
def test_modify_refuses_an_expiration_that_cannot_be(
    bridge: Bridge, change: dict[str, Any], expires_s: object, message: str
) -> None:
    """Nothing of the request is done, whatever else it asks for."""
    ticket = opened(bridge, **change)
    before = bridge.platform.broker.orders[ticket]
    reply = trade(bridge, "DO_ORDER_MODIFY", ticket=ticket, sl=1.1, expiration=expires_s)

    assert (reply["state"], reply["error_message"]) == ("rejected", message)
    assert before == bridge.platform.broker.orders[ticket]


def test_close_refuses_a_negative_slippage(bridge: Bridge) -> None:
    """As the send does; only a missing one is the default."""
    ticket = opened(bridge)
    reply = trade(bridge, "DO_ORDER_CLOSE", ticket=ticket, slippage=-1)

    assert reply["state"] == "rejected"
    assert reply["error_message"] == 'Param "slippage" is negative.'
    assert trade(bridge, "DO_ORDER_CLOSE", ticket=ticket, slippage=None)["state"] == "done"


@pytest.mark.parametrize(
    ("action", "params"),
    [
        ("DO_ORDER_MODIFY", {"sl": 1.05}),
        ("DO_ORDER_CLOSE", {}),
        ("DO_ORDER_DELETE", {}),
        ("DO_ORDER_DELETE", {"close_if_opened": True}),
    ],
)
def test_failure_without_a_code_is_in_doubt(
    bridge: Bridge, action: str, params: dict[str, Any]
) -> None:
    """What the call returned counts, not the 0 that it left behind."""
    is_pending = action == "DO_ORDER_DELETE" and not params
    order: dict[str, Any] = {"order_type": 2, "price": 1.11} if is_pending else {}
    ticket = opened(bridge, **order)
    before = bridge.platform.broker.orders[ticket]
    bridge.faults.add_spec(f"refuse:{action}:0:1")
    reply = trade(bridge, action, ticket=ticket, **params)

    assert (reply["state"], reply["error_code"]) == ("in_doubt", 0)
    assert "response" not in reply
    assert before == bridge.platform.broker.orders[ticket]


def test_programs_forbidden_by_the_server_is_a_rejection(bridge: Bridge) -> None:
    """4112: certainly nothing ran."""
    bridge.faults.add_spec("refuse:DO_ORDER_SEND:4112:1")

    assert bridge.send()["state"] == "rejected"


def test_close_answers_as_the_existing_server(bridge: Bridge) -> None:
    """With its sentence."""
    ticket = opened(bridge)
    reply = trade(bridge, "DO_ORDER_CLOSE", ticket=ticket)

    assert reply["response"] == f"Closed order # {ticket}"
    assert bridge.orders == 0


def test_closing_a_closed_order_is_rejected(bridge: Bridge) -> None:
    """4108, so a repeated close does no harm."""
    ticket = opened(bridge)
    trade(bridge, "DO_ORDER_CLOSE", ticket=ticket)
    reply = trade(bridge, "DO_ORDER_CLOSE", ticket=ticket)

    assert (reply["state"], reply["error_code"]) == ("rejected", 4108)


def test_unknown_ticket_is_rejected(bridge: Bridge) -> None:
    """With the existing server's words."""
    reply = trade(bridge, "DO_ORDER_CLOSE", ticket=4711)

    assert (reply["state"], reply["error_message"]) == ("rejected", "Order # 4711 not found.")


def test_delete_closes_a_filled_order_if_asked_to(bridge: Bridge) -> None:
    """A pending order may fill while the request is under way."""
    ticket = opened(bridge)
    refused = trade(bridge, "DO_ORDER_DELETE", ticket=ticket)
    closed = trade(bridge, "DO_ORDER_DELETE", ticket=ticket, close_if_opened=True)

    assert (refused["error_code"], closed["response"]) == (4108, f"Closed order # {ticket}")


# --- DO_CLOSE_ALL -------------------------------------------------------------------------------


def three_positions(bridge: Bridge) -> list[int]:
    """Open a EURUSD buy, a EURUSD sell with a magic number, and a GBPUSD buy."""
    return [
        opened(bridge, 1),
        opened(bridge, 2, order_type=1, magic_number=7),
        opened(bridge, 3, symbol="GBPUSD"),
    ]


@pytest.mark.parametrize(
    ("chosen", "indexes"),
    [
        ({}, [0, 1, 2]),
        ({"symbol": "EURUSD"}, [0, 1]),
        ({"side": "sell"}, [1]),
        ({"magic_number": 0}, [0, 2]),
        ({"symbol": "GBPUSD", "side": "sell"}, []),
    ],
)
def test_close_all_closes_what_fits(
    bridge: Bridge, chosen: dict[str, Any], indexes: list[int]
) -> None:
    """By symbol, magic number and side, each optional; pending orders stay."""
    tickets = three_positions(bridge)
    pending = opened(bridge, 4, order_type=2, price=1.1)
    reply = trade(bridge, "DO_CLOSE_ALL", **chosen)

    expected = [{"ticket": tickets[index], "closed": True} for index in indexes]
    assert expected == reply["response"]
    assert bridge.orders == 3 - len(indexes) + 1
    assert pending in bridge.platform.broker.orders


def test_close_all_with_nothing_to_close_answers_an_array(bridge: Bridge) -> None:
    """The key that is left out for an empty list is the existing server's; stored it stays."""
    replies = [bridge.frame(action="DO_CLOSE_ALL", id="me/all"), bridge.resolve("me/all")]

    assert [("done", []), ("done", [])] == [(r["state"], r["response"]) for r in replies]


def test_close_all_writes_a_line_for_each_ticket(bridge: Bridge) -> None:
    """Each ticket is started and done under a sub-id of the command."""
    tickets = three_positions(bridge)
    bridge.frame(action="DO_CLOSE_ALL", id="me/all")
    lines = [json.loads(line[9:]) for line in bridge.path.read_text().splitlines()]
    written = [(line["kind"], line["id"]) for line in lines if "all" in line.get("id", "")]

    each = [(kind, f"me/all#{t}") for t in tickets for kind in ("started", "done")]
    assert [("started", "me/all"), *each, ("done", "me/all")] == written


def test_close_all_reports_what_was_refused(bridge: Bridge) -> None:
    """Every ticket gets its line, closed or not."""
    three_positions(bridge)
    bridge.faults.add_spec("refuse:DO_CLOSE_ALL:138:1")
    reply = trade(bridge, "DO_CLOSE_ALL")

    assert reply["state"] == "done"
    assert [(False, 138)] * 3 == [
        (line["closed"], line["error_code"]) for line in reply["response"]
    ]


def test_close_all_with_a_ticket_in_doubt_is_in_doubt(bridge: Bridge) -> None:
    """The whole is known no better than its parts."""
    tickets = three_positions(bridge)
    bridge.faults.add_spec("ambiguous:DO_CLOSE_ALL:128:1")
    reply = trade(bridge, "DO_CLOSE_ALL")

    assert (reply["state"], reply["evidence"]) == ("in_doubt", {"tickets": tickets})
    assert bridge.orders == 0


def test_interrupted_close_all_names_the_tickets_it_has_begun(bridge: Bridge) -> None:
    """Their lines are the evidence; the rest was not touched."""
    tickets = three_positions(bridge)
    bridge.faults.add_spec("die:DO_CLOSE_ALL:after_broker:1")
    bridge.crash(action="DO_CLOSE_ALL", id="me/all")
    reply = bridge.resolve("me/all")

    assert (reply["state"], reply["evidence"]) == ("in_doubt", {"tickets": tickets[:1]})
    assert bridge.orders == 2


def test_wrong_side_is_rejected(bridge: Bridge) -> None:
    """Nothing is closed on a guess."""
    three_positions(bridge)

    assert trade(bridge, "DO_CLOSE_ALL", side="SELL")["state"] == "rejected"
    assert bridge.orders == 3


# --- the bridge's reads -------------------------------------------------------------------------


def read(bridge: Bridge, action: str, **params: Any) -> dict[str, Any]:
    """Make a read as a gateway does."""
    return bridge.ask(action=action, id="gw/read", attempt=1, **params)


def test_hello_tells_who_the_terminal_is(bridge: Bridge) -> None:
    """Everything that a gateway needs to begin."""
    response = read(bridge, "HELLO")["response"]

    assert ("bridge", 1, "session-1", bridge.ledger.uid, 1) == tuple(
        response[key] for key in ("dialect", "protocol", "session", "ledger", "epoch")
    )
    assert response["account"].keys() == {
        *("login", "name", "server", "currency", "company", "trade_mode"),
    }
    assert response["tick_endpoint"] is None


def test_server_time_is_in_seconds(bridge: Bridge) -> None:
    """The broker's clock, UTC, and their difference."""
    expected = {"broker_time": NOW_S, "utc_time": NOW_S - 7200, "broker_offset_s": 7200}

    assert expected == read(bridge, "GET_SERVER_TIME")["response"]


def test_subscriptions_are_added_and_taken_away(bridge: Bridge) -> None:
    """The answer is all that are subscribed."""
    bridge.identity.subscribed.clear()
    read(bridge, "SUBSCRIBE_TICKS", symbols=["GBPUSD", "EURUSD"])
    reply = read(bridge, "UNSUBSCRIBE_TICKS", symbols=["GBPUSD"])

    assert reply["response"] == {"symbols": ["EURUSD"]}


def test_unknown_symbol_cannot_be_subscribed(bridge: Bridge) -> None:
    """The error is the existing server's for a symbol that cannot be selected."""
    reply = read(bridge, "SUBSCRIBE_TICKS", symbols=["EURUSD", "NOPE"])

    assert (reply["error_code"], reply["error_message"]) == (4106, "NOPE")


def test_indicator_of_zero_is_a_value_here(bridge: Bridge) -> None:
    """The existing server calls it 'not recognized'."""
    reply = read(bridge, "RUN_INDICATOR", indicator="iFractals", argv=["EURUSD", 1], timeout=500)

    assert reply["response"] == 0.0


def test_token_is_the_first_fourteen_characters(bridge: Bridge) -> None:
    """The ledger's line names what to look for."""
    bridge.send()

    assert bridge.ledger.entries["me/1"].token == TOKEN
