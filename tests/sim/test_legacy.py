"""The existing server's dialect, quirk by quirk."""

import json
from typing import Any

import pytest

from gateway.sim.legacy_trades import ProgramDied
from gateway.sim.orders import OrderType
from gateway.sim.symbols import STANDARD_SYMBOLS, make_symbol
from tests.sim.programs import Legacy, make_platform


@pytest.fixture
def server() -> Legacy:
    """Run the existing server on a fresh account."""
    return Legacy()


# --- requests that are none ---------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "Request was empty."),
        ('{"action":NaN}', "Failed to parse request."),
        ("hello", "No request action specified."),
        ("[1,2]", "No request action specified."),
        ("{}", "No request action specified."),
        ('{"action":null}', "No request action specified."),
        ('{"action":"HELLO"}', "Unrecognized requested action (HELLO)."),
        ('{"action":"get_orders"}', "Unrecognized requested action (get_orders)."),
    ],
)
def test_request_without_action_is_an_error(server: Legacy, text: str, message: str) -> None:
    """Each kind has its own words, and nothing but a message."""
    assert {"error_message": message} == json.loads(server.raw(text))


def test_truncated_order_is_traded(server: Legacy) -> None:
    """A request cut inside `lots` trades the part of the number that arrived."""
    order = '{"action":"DO_ORDER_SEND","symbol":"EURUSD","order_type":0,"comment":"","lots":0.1'
    reply = json.loads(server.raw(order))

    assert reply["response"]["lots"] == 0.1


def test_second_frame_is_executed_as_a_request_of_its_own(server: Legacy) -> None:
    """Both frames run, the last one's reply is the one that leaves."""
    order = {"action": "DO_ORDER_SEND", "symbol": "EURUSD", "order_type": 0, "lots": 0.1}
    smuggled = json.dumps(order | {"comment": ""})
    reply = json.loads(server.raw('{"action":"GET_SYMBOLS"}', smuggled))

    assert reply["response"]["ticket"] in server.platform.broker.orders


def test_null_counts_as_missing(server: Legacy) -> None:
    """And the first missing parameter is named."""
    assert server.buy(lots=None) == {"error_message": 'Missing "lots" param.'}


# --- reads --------------------------------------------------------------------------------------


def test_numbers_have_eight_decimals(server: Legacy) -> None:
    """Prices too."""
    assert '"bid":1.12120000' in server.raw('{"action":"GET_SYMBOL_TICK","symbol":"EURUSD"}')


def test_flat_account_answers_without_response(server: Legacy) -> None:
    """An empty list of orders is `{}`."""
    assert server.raw('{"action":"GET_ORDERS"}') == "{}"


def test_history_holds_the_deposit(server: Legacy) -> None:
    """Type 6, and null for its empty symbol."""
    (entry,) = server.ask("GET_HISTORICAL_ORDERS")["response"]

    assert (entry["order_type"], entry["symbol"], entry["profit"]) == (6, None, 10_000.0)


def test_orders_come_newest_first(server: Legacy) -> None:
    """It counts positions backwards."""
    tickets = [server.buy()["response"]["ticket"] for _ in range(3)]

    assert tickets[::-1] == [order["ticket"] for order in server.ask("GET_ORDERS")["response"]]


def test_order_has_its_keys_in_order(server: Legacy) -> None:
    """Sixteen of them, and never another, because clients unpack them strictly."""
    record = server.buy()["response"]

    assert list(record) == [
        *("ticket", "magic_number", "symbol", "order_type", "lots", "open_price"),
        *("close_price", "open_time", "close_time", "expiration", "sl", "tp", "profit"),
        *("commission", "swap", "comment"),
    ]
    assert record["comment"] is None
    assert record["close_time"] == "1970.01.01 00:00:00"


@pytest.mark.parametrize(
    ("params", "value"),
    [
        ({"property_name": "ACCOUNT_LEVERAGE"}, 100),
        ({"property_id": 35}, 100),
        ({"property_id": 0}, 5001234),
        ({"property_id": 999}, 0),
        ({"property_name": "ACCOUNT_LEVERAGE", "property_id": 0}, 100),
    ],
)
def test_account_property_by_name_or_number(
    server: Legacy, params: dict[str, Any], value: int
) -> None:
    """The name goes first; a number that does not exist is 0."""
    assert {"response": value} == server.ask("GET_ACCOUNT_INFO_INTEGER", **params)


@pytest.mark.parametrize(
    ("action", "params", "message"),
    [
        (
            "GET_ACCOUNT_INFO_DOUBLE",
            {"property_name": "X"},
            "Unrecognized account double property: X",
        ),
        (
            "GET_ACCOUNT_INFO_INTEGER",
            {},
            'Must include either "property_name" or "property_id" param.',
        ),
        (
            "GET_SYMBOL_INFO_STRING",
            {"symbol": "EURUSD", "property_name": "X"},
            "Unrecognized symbol string property: X",
        ),
        (
            "GET_SYMBOL_MARKET_INFO",
            {"symbol": "EURUSD", "property": "X"},
            "Unrecognized market info property: X",
        ),
        ("GET_SYMBOL_INFO", {"names": "EURUSD"}, 'Param "names" is not an array.'),
        ("GET_SYMBOL_INFO", {"names": []}, 'Param "names[]" is empty.'),
        ("GET_SIGNAL_INFO", {"names": ["a", "b"]}, 'Signals not found: ["a","b"]'),
        (
            "GET_ORDER",
            {"ticket": 5},
            "Order # 5 is not found in the Trades or Account History tabs.",
        ),
        (
            "GET_OHLCV",
            {"symbol": "EURUSD", "timeframe": 1, "limit": 5, "timeout": 99},
            "Timed out waiting for OHLCV data.",
        ),
        (
            "RUN_INDICATOR",
            {"indicator": "iMA", "argv": [], "timeout": 99},
            "Timed out waiting for indicator data to load.",
        ),
        (
            "RUN_INDICATOR",
            {"indicator": "iCustom", "argv": [], "timeout": 500},
            "Indicator not recognized: iCustom.",
        ),
    ],
)
def test_read_fails_with_the_servers_words(
    server: Legacy, action: str, params: dict[str, Any], message: str
) -> None:
    """A message and nothing else."""
    assert {"error_message": message} == server.ask(action, **params)


@pytest.mark.parametrize(
    ("action", "params"),
    [
        ("GET_SYMBOL_TICK", {"symbol": "NOPE"}),
        ("GET_SYMBOL_INFO", {"names": ["EURUSD", "NOPE"]}),
        ("GET_SYMBOL_MARKET_INFO", {"symbol": "NOPE", "property": "MODE_BID"}),
        ("GET_OHLCV", {"symbol": "NOPE", "timeframe": 1, "limit": 1, "timeout": 500}),
    ],
)
def test_symbol_that_cannot_be_selected_is_named_barely(
    server: Legacy, action: str, params: dict[str, Any]
) -> None:
    """Code, text, and the symbol's name for a message; one bad name fails all."""
    expected = {
        "error_code": 4106,
        "error_code_description": "unknown symbol",
        "error_message": "NOPE",
    }
    assert expected == server.ask(action, **params)


def test_symbol_outside_the_market_watch_has_no_properties(server: Legacy) -> None:
    """A code without a message, until something selects the symbol."""
    question = {"symbol": "GOLD spot", "property_name": "SYMBOL_DIGITS"}
    before = server.ask("GET_SYMBOL_INFO_INTEGER", **question)
    server.ask("GET_SYMBOL_TICK", symbol="GOLD spot")

    assert before == {"error_code": 4106, "error_code_description": "unknown symbol"}
    assert server.ask("GET_SYMBOL_INFO_INTEGER", **question) == {"response": 2}


def test_invalid_timeframe_keeps_the_server_busy(server: Legacy) -> None:
    """For as long as the client said."""
    request = {"action": "GET_OHLCV", "symbol": "EURUSD", "timeframe": 7, "limit": 1}
    (answer,) = server.program.answer([json.dumps(request | {"timeout": 2_050}).encode()])

    assert answer.busy_ms == 2_000


def test_bars_come_oldest_first(server: Legacy) -> None:
    """With times as numbers."""
    bars = server.ask("GET_OHLCV", symbol="EURUSD", timeframe=5, limit=3, timeout=500)["response"]

    assert [bar["time"] for bar in bars] == sorted(bar["time"] for bar in bars)
    assert list(bars[0]) == ["time", "open", "high", "low", "close", "tick_volume"]


def test_signal_name_with_quotes_breaks_the_reply(server: Legacy) -> None:
    """Keys are not escaped there."""
    with pytest.raises(json.JSONDecodeError):
        server.ask("GET_SIGNAL_INFO", names=['Grid "Pro"'])


def test_non_ascii_reply_is_cut_short() -> None:
    """As many bytes are missing at the end as the text has beyond its characters."""
    spec = make_symbol("ÄÖ", 2, "USD", 5.0, 1)
    server = Legacy(make_platform((spec,)))
    (answer,) = server.program.answer([b'{"action":"GET_SYMBOLS"}'])

    assert server.program.encode(answer.body) == '{"response":["ÄÖ"'.encode()


def test_indicator_with_the_value_zero_is_not_recognized(server: Legacy) -> None:
    """0.0 is taken for NULL."""
    reply = server.ask("RUN_INDICATOR", indicator="iFractals", argv=["EURUSD", 1], timeout=500)

    assert reply == {"error_message": "Indicator not recognized: iFractals."}


def test_indicator_reports_an_error_that_somebody_else_left(server: Legacy) -> None:
    """`_LastError` keeps its value until it is read."""
    request = {"indicator": "iMA", "argv": ["EURUSD", 1, 14], "timeout": 500}
    server.ask("GET_ORDER", ticket=5)
    first, second = server.ask("RUN_INDICATOR", **request), server.ask("RUN_INDICATOR", **request)

    assert first["error_code"] == 4108
    assert second["response"] > 1.0


def test_missing_indicator_arguments_are_zero(server: Legacy) -> None:
    """The array grows on reading."""
    reply = server.ask("RUN_INDICATOR", indicator="iMA", argv=["EURUSD"], timeout=500)

    assert reply["response"] > 1.0


# --- coercion -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("order_type", "opened"),
    [
        ("OP_SELL", OrderType.BUY),
        ("SELL", OrderType.BUY),
        (True, OrderType.BUY),
        ([1], OrderType.BUY),
        ({}, OrderType.BUY),
        ("1", OrderType.SELL),
        (1.9, OrderType.SELL),
    ],
)
def test_order_type_is_coerced(server: Legacy, order_type: Any, opened: OrderType) -> None:
    """What is no number is a buy."""
    assert server.buy(order_type=order_type)["response"]["order_type"] == opened


@pytest.mark.parametrize(
    ("lots", "traded"),
    [
        ("abc", 0.01),
        (True, 0.01),
        (0, 0.01),
        (-5, 0.01),
        (0.016, 0.02),
        (0.014, 0.01),
        ("0.3", 0.3),
    ],
)
def test_lots_are_bent_to_what_can_be_traded(server: Legacy, lots: Any, traded: float) -> None:
    """Rounded to the nearest step, raised to the minimum."""
    assert server.buy(lots=lots)["response"]["lots"] == traded


def test_too_many_lots_are_left_to_the_broker(server: Legacy) -> None:
    """There is no check against the maximum."""
    reply = server.buy(lots=500)

    assert (reply["error_code"], reply["error_message"]) == (131, "Failed to send order.")


def test_any_string_means_close_if_opened(server: Legacy) -> None:
    """Even "false"."""
    ticket = server.buy()["response"]["ticket"]
    reply = server.ask("DO_ORDER_DELETE", ticket=ticket, close_if_opened="false")

    assert reply == {"response": f"Closed order # {ticket}"}


# --- trades -------------------------------------------------------------------------------------


def test_magic_number_and_expiration_are_ignored(server: Legacy) -> None:
    """The magic number is always 0."""
    record = server.buy(magic_number=7, expiration=1_700_000_000)["response"]

    assert (record["magic_number"], record["expiration"]) == (0, "1970.01.01 00:00:00")


def test_order_is_sent_without_stops_and_then_modified(server: Legacy) -> None:
    """Two calls, the position unprotected in between."""
    server.buy(sl_points=200)

    assert ["order_send", "order_modify"] == [
        record["call"] for record in server.truth.of("executed")
    ]


def test_failed_stops_leave_the_order_open_behind_an_error(server: Legacy) -> None:
    """No ticket in the reply, and the code is the modification's."""
    server.faults.add_spec("refuse_stops:*:130:1")
    reply = server.buy(sl=1.1)

    assert reply == {
        "error_code": 130,
        "error_code_description": "invalid stops",
        "error_message": "Order was created, but failed to set sl/tp.",
    }
    assert [0.0] == [order.stop_loss for order in server.platform.broker.orders.values()]


@pytest.mark.parametrize(
    ("action", "params"),
    [("DO_ORDER_MODIFY", {"sl": 1.1}), ("DO_ORDER_CLOSE", {}), ("DO_ORDER_DELETE", {})],
)
def test_failure_without_a_code_is_an_error(
    server: Legacy, action: str, params: dict[str, Any]
) -> None:
    """The call's result decides, so a 0 left behind is told as an error."""
    ticket = server.buy()["response"]["ticket"]
    server.faults.add_spec("refuse:*:0:1")
    reply = server.ask(action, ticket=ticket, **params)

    assert (reply.get("error_code"), "response" in reply) == (0, False)


def test_wrong_side_stops_are_nudged_to_three_points(server: Legacy) -> None:
    """Swapped stop and target become two stops right at the market, silently."""
    record = server.buy(sl=1.2, tp=1.0)["response"]

    assert (record["sl"], record["tp"]) == (1.12117, 1.12123)
    assert "warning" not in record


def test_negative_points_become_the_least_distance(server: Legacy) -> None:
    """-100 is a stop three points away."""
    assert server.buy(sl_points=-100)["response"]["sl"] == 1.12117


def test_zero_stop_is_no_stop(server: Legacy) -> None:
    """A stop can never be taken away."""
    ticket = server.buy(sl=1.1)["response"]["ticket"]
    reply = server.ask("DO_ORDER_MODIFY", ticket=ticket, sl=0)

    assert reply["response"]["sl"] == 1.1


def test_modify_without_anything_succeeds(server: Legacy) -> None:
    """No call is made."""
    ticket = server.buy()["response"]["ticket"]
    reply = server.ask("DO_ORDER_MODIFY", ticket=ticket)

    assert reply["response"]["ticket"] == ticket
    assert len(server.truth.of("executed")) == 1


def test_repeated_modify_is_error_1(server: Legacy) -> None:
    """What is applied already looks like a failure."""
    ticket = server.buy(sl=1.1)["response"]["ticket"]
    reply = server.ask("DO_ORDER_MODIFY", ticket=ticket, sl=1.1)

    assert (reply["error_code"], reply["error_message"]) == (
        1,
        f"Failed to modify order # {ticket}.",
    )


def test_modify_nudges_a_pending_price_but_send_does_not(server: Legacy) -> None:
    """A buy limit above the market is refused at first, and bent later."""
    pending = {"order_type": 2, "price": 1.2}
    refused = server.buy(**pending)
    ticket = server.buy(order_type=2, price=1.1)["response"]["ticket"]
    record = server.ask("DO_ORDER_MODIFY", ticket=ticket, price=1.2)["response"]

    assert refused["error_code"] == 130
    assert record["open_price"] == 1.12129


def test_closed_ticket_fails_in_the_trade_call(server: Legacy) -> None:
    """It is selected all the same, so the answer is 4108 and not 'not found'."""
    ticket = server.buy()["response"]["ticket"]
    first = server.ask("DO_ORDER_CLOSE", ticket=ticket)
    second = server.ask("DO_ORDER_CLOSE", ticket=ticket)

    assert first == {"response": f"Closed order # {ticket}"}
    assert (second["error_code"], second["error_message"]) == (
        4108,
        f"Failed to close order # {ticket}.",
    )


def test_unknown_ticket_is_not_found(server: Legacy) -> None:
    """A message only."""
    assert server.ask("DO_ORDER_CLOSE", ticket=9) == {"error_message": "Order # 9 not found."}


def test_delete_ends_with_a_full_stop(server: Legacy) -> None:
    """Its sentence has one, the close's has none."""
    ticket = server.buy(order_type=2, price=1.1)["response"]["ticket"]

    assert server.ask("DO_ORDER_DELETE", ticket=ticket) == {
        "response": f"Deleted pending order # {ticket}."
    }


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"order_type": 9}, "Invalid trade operation: 9"),
        ({"order_type": 2}, 'Cannot place a pending order without the "price" parameter.'),
        (
            {"sl": 1.1, "sl_points": 5},
            "Stop-loss cannot be both relative (sl_points) and absolute (sl).  "
            "Specify one or the other.",
        ),
        (
            {"tp": 1.1, "tp_points": 5},
            "Take-profit cannot be both relative (tp_points) and absolute (tp).  "
            "Specify one or the other.",
        ),
    ],
)
def test_order_send_refuses_with_the_servers_words(
    server: Legacy, change: dict[str, Any], message: str
) -> None:
    """Before anything is sent."""
    assert {"error_message": message} == server.buy(**change)


@pytest.mark.parametrize("terms", [{"point": 0.0}, {"lot_step": 0.0}])
def test_symbol_without_data_ends_the_program(terms: dict[str, float]) -> None:
    """Division by zero: no reply, now or ever."""
    empty = make_symbol("EMPTY", 2, "USD", 5.0, 1, **terms)
    server = Legacy(make_platform((*STANDARD_SYMBOLS, empty)))

    with pytest.raises(ProgramDied):
        server.buy(symbol="EMPTY")
