"""One shape for the bus, whatever the terminal's dialect writes; and every error it can write."""

import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gateway import replies
from gateway.actions import ACTIONS
from gateway.core.messages import (
    Command,
    CommandId,
    Conclusion,
    Dialect,
    Effect,
    Lane,
    Outcome,
    Purpose,
    Request,
    Verdict,
)
from gateway.terminal.dialects import decode

ORDER = {
    "ticket": 5,
    "magic_number": 0,
    "symbol": "EURUSD",
    "order_type": 2,
    "lots": 0.1,
    "open_price": 1.1,
    "open_time": "2026.11.21 12:00:00",
    "close_time": "1970.01.01 00:00:00",
    "expiration": "2026.12.01 00:30:00",
    "sl": 1.0,
    "tp": 0.0,
    "comment": None,
}


def command(action: str, **params: Any) -> Command:
    """Make a command of that action."""
    effect = Effect.TRADE if action.startswith("DO_") else Effect.QUERY
    key = CommandId("me", "1")
    return Command(key, "me", action, effect, Lane.READ, params, "", 0.0, 0.0, 10.0)


def shown(action: str, response: Any, offset_s: int | None = 7200, **params: Any) -> Any:
    """Normalise one response."""
    return replies.normalised(command(action, **params), response, offset_s)


@pytest.mark.parametrize("action", sorted(replies.LISTS))
def test_missing_list_is_empty(action: str) -> None:
    """The existing server leaves an empty list out."""
    assert [] == shown(action, None)


def test_order_has_names_texts_and_times_in_utc() -> None:
    """The broker's own fields stay as they are; ours stand beside them."""
    order = shown("GET_ORDER", ORDER)

    assert ORDER | {"comment": ""} == {key: order[key] for key in ORDER}
    assert "OP_BUYLIMIT" == order["order_type_name"]
    assert "2026-11-21T10:00:00Z" == order["open_time_utc"]
    assert order["close_time_utc"] is None
    assert "2026-11-30T22:30:00Z" == order["expiration_utc"]


def test_times_in_utc_are_null_where_the_offset_is_not_known() -> None:
    """A guess would be worse."""
    order = shown("GET_ORDERS", [ORDER], None)[0]

    assert order["open_time_utc"] is None
    assert ORDER["open_time"] == order["open_time"]


def test_null_texts_are_empty() -> None:
    """The existing server writes an empty text as null."""
    assert {"login": 1, "name": ""} == shown("GET_ACCOUNT_INFO", {"login": 1, "name": None})
    assert "" == shown("GET_SYMBOL_INFO_STRING", None)
    assert ["EURUSD", ""] == shown("GET_SYMBOLS", ["EURUSD", None])


def test_close_and_delete_have_one_shape() -> None:
    """Whether the terminal said a sentence or the order was found by searching."""
    said = shown("DO_ORDER_CLOSE", "Closed order # 5", ticket=5)
    found = shown("DO_ORDER_DELETE", ORDER, ticket=5)

    assert {"ticket": 5, "text": "Closed order # 5", "order": None} == said
    assert (5, None, 5) == (found["ticket"], found["text"], found["order"]["ticket"])


def test_raw_is_what_the_terminal_gave() -> None:
    """Unchanged, beside the shape for the bus."""
    done = replies.finished(
        command("GET_ORDER"),
        Conclusion(Outcome.SUCCEEDED, response=ORDER),
        offset_s=None,
        raw=True,
    )

    assert done.raw is not None
    assert done.raw.value is ORDER


def test_values_that_were_changed_on_the_way_are_told() -> None:
    """What was asked for and what was set."""
    sent = command("DO_ORDER_SEND", lots=0.2, sl=1.05, price=1.1)
    done = replies.finished(sent, Conclusion(Outcome.SUCCEEDED, response=ORDER), offset_s=None)

    assert "sl: 1.05 asked for, 1 set; lots: 0.2 asked for, 0.1 set" == done.warning


@pytest.mark.parametrize(
    ("params", "sl", "before", "expected"),
    [
        ({"sl_points": 200}, 0.0, None, "the sl that was asked for is not set"),
        ({"sl_points": 200}, None, None, "the sl that was asked for is not set"),
        ({"sl_points": 200}, 1.08, None, None),
        ({"lots": 0.1}, 0.0, None, None),
        ({"sl": 1.05}, 0.0, None, "sl: 1.05 asked for, 0 set"),
        # said by the search already
        (
            {"sl_points": 200},
            0.0,
            "found; the sl that was asked for is not set",
            "found; the sl that was asked for is not set",
        ),
    ],
)
def test_stop_that_is_missing_is_told(
    params: dict[str, Any], sl: float | None, before: str | None, expected: str | None
) -> None:
    """Also where it was asked for in points; and not twice."""
    sent = command("DO_ORDER_SEND", **params)
    conclusion = Conclusion(Outcome.SUCCEEDED, response=ORDER | {"sl": sl}, warning=before)

    assert expected == replies.finished(sent, conclusion, offset_s=None).warning


SHUT = {"ticket": 5, "closed": True}
OPEN = {"ticket": 6, "closed": False, "error_code": 136, "error_message": "Failed to close."}
LATE = {"ticket": 7, "closed": False, "error_code": 0, "error_message": "The deadline has passed."}


@pytest.mark.parametrize(
    ("lines", "outcome", "code", "expected"),
    [
        ([], "succeeded", None, None),
        ([SHUT], "succeeded", None, None),
        (
            [SHUT, OPEN, LATE],
            "succeeded",
            None,
            "closed 1 of 3; still open: 6 (136 ERR_OFF_QUOTES: Failed to close.), "
            "7 (The deadline has passed.)",
        ),
        (
            [OPEN],
            "rejected",
            136,
            "closed 0 of 1; still open: 6 (136 ERR_OFF_QUOTES: Failed to close.)",
        ),
        ([LATE], "rejected", None, "closed 0 of 1; still open: 7 (The deadline has passed.)"),
        (
            [SHUT, *[{"ticket": 1, "closed": False}] * 22],
            "succeeded",
            None,
            f"closed 1 of 23; still open: {', '.join(['1 (no reason given)'] * 20)}, and 2 more",
        ),
        (None, "succeeded", None, "the terminal did not say which positions it closed"),
        (["x"], "succeeded", None, "the terminal did not say which positions it closed"),
    ],
)
def test_close_of_many_tells_what_it_left_open(
    lines: Any, outcome: str, code: int | None, expected: str | None
) -> None:
    """A part is a success with a warning, nothing at all is none; the lines are there in both."""
    done = Conclusion(Outcome.SUCCEEDED, response=lines)
    told = replies.finished(command("DO_CLOSE_ALL"), done, offset_s=None)

    assert (outcome, lines) == (told.outcome, told.response)
    assert expected == (told.cause.message if told.cause else told.warning)
    assert code == (told.cause.code if told.cause else None)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(st.sampled_from(sorted(ORDER)) | st.text(max_size=5), inner, max_size=6)
    ),
    max_leaves=12,
)


@settings(max_examples=400)
@given(st.sampled_from(sorted(ACTIONS)), JSON, st.none() | st.integers())
def test_no_response_raises(action: str, response: Any, offset_s: int | None) -> None:
    """Whatever the terminal says, its result is told."""
    asked = command(action, ticket=5, sl=1.0, lots=0.1, price=1.1, indicator="iMA")
    done = Conclusion(Outcome.SUCCEEDED, response=response)

    assert replies.finished(asked, done, offset_s=offset_s, raw=True).raw is not None
    assert isinstance(replies.event_shown({"order": response}, offset_s), dict)


A, B, C = Verdict.REJECTED, Verdict.IN_DOUBT, Verdict.DONE
NO, SEND, MODIFY = "GET_ORDER", "DO_ORDER_SEND", "DO_ORDER_MODIFY"
CLOSE, DELETE = "DO_ORDER_CLOSE", "DO_ORDER_DELETE"
NOT_FOUND = "is not found in the Trades or Account History tabs."


@pytest.mark.parametrize(
    ("action", "code", "message", "verdict"),
    [
        (NO, None, "Request was empty.", A),
        (NO, None, "Failed to parse request.", A),
        (NO, None, "No request action specified.", A),
        (NO, None, "Unrecognized requested action (X).", A),
        (NO, None, 'Missing "ticket" param.', A),
        (NO, None, 'Param "names" is not an array.', A),
        (NO, None, 'Param "names[]" is empty.', A),
        (NO, None, "Unrecognized account integer property: X", A),
        (NO, None, 'Must include either "property_name" or "property_id" param.', A),
        (NO, 4106, "NOPE", A),
        (NO, 4106, None, A),
        (NO, None, f"Order # 5 {NOT_FOUND}", A),
        (NO, 4051, "Failed to select order # 3.", A),
        (NO, 0, "Failed to select order # 3.", A),
        (NO, None, "Timed out waiting for OHLCV data.", A),
        (NO, None, 'Signals not found: ["a","b"]', A),
        (NO, None, "Indicator not recognized: iMA.", A),
        (NO, None, "Timed out waiting for indicator data to load.", A),
        (SEND, None, 'Missing "lots" param.', A),
        (
            SEND,
            None,
            "Stop-loss cannot be both relative (sl_points) and absolute (sl).  Specify",
            A,
        ),
        (SEND, None, "Invalid trade operation: 9", A),
        (SEND, None, 'Cannot place a pending order without the "price" parameter.', A),
        (SEND, 4106, "EURUSD", A),
        (SEND, 134, "Failed to send order.", A),
        (SEND, 146, "Failed to send order.", Verdict.NOT_NOW),
        (SEND, 128, "Failed to send order.", B),
        (SEND, 0, "Failed to send order.", B),
        (SEND, None, f"Order # 5 was created, but {NOT_FOUND}", B),
        (SEND, 130, "Order was created, but failed to set sl/tp.", B),
        (SEND, None, f"Order # 5 {NOT_FOUND}", B),
        (MODIFY, None, "Order # 5 not found.", A),
        (MODIFY, 130, "Failed to modify order # 5.", A),
        (MODIFY, 1, "Failed to modify order # 5.", C),
        (MODIFY, None, f"Order # 5 {NOT_FOUND}", B),
        (CLOSE, None, "Order # 5 not found.", A),
        (CLOSE, 4108, "Failed to close order # 5.", A),
        (CLOSE, 128, "Failed to close order # 5.", B),
        (DELETE, None, "Order # 5 not found.", A),
        (DELETE, 4108, "Failed to delete order # 5.", A),
        (DELETE, 4108, "Failed to close order # 5.", A),
    ],
)
def test_every_error_path_of_the_existing_server(
    action: str, code: int | None, message: str | None, verdict: Verdict
) -> None:
    """Its three error shapes, with every text of its source, and what each proves."""
    body: dict[str, Any] = {"error_message": message} if message else {}
    if code is not None:
        body |= {"error_code": code, "error_code_description": "described"}
    asked = command(action, symbol="EURUSD", ticket=5)
    dialect = Dialect.METATRADER4_SERVER if asked.is_trade else None
    request = Request(Purpose.COMMAND, action, asked.params, 1, asked, dialect)
    reply = decode(json.dumps(body).encode(), request)

    assert verdict is reply.verdict
    if verdict is not C:
        assert reply.cause is not None
        assert code == reply.cause.code


@pytest.mark.parametrize("dialect", [None, *Dialect])
def test_text_without_end_is_cut(dialect: Dialect | None) -> None:
    """A result that NATS cannot carry would keep all that come after it."""
    asked = command(SEND, symbol="EURUSD")
    request = Request(Purpose.COMMAND, SEND, {}, 1, asked, dialect)
    body = {"id": "me/1", "state": "rejected", "error_code": 134, "error_message": "x" * 10**6}
    reply = decode(json.dumps(body).encode(), request)

    assert reply.cause is not None
    assert len(reply.cause.message) < 2100


def test_order_closed_at_once_is_a_success_with_a_warning() -> None:
    """The existing server's only warning."""
    text = "Order # 5 was closed immediately after being opened."
    asked = command(SEND, symbol="EURUSD")
    request = Request(Purpose.COMMAND, SEND, {}, 1, asked, Dialect.METATRADER4_SERVER)
    reply = decode(json.dumps({"response": ORDER, "warning": text}).encode(), request)

    assert (C, text) == (reply.verdict, reply.warning)


@pytest.mark.parametrize("response", [None, 5, "x", [], {}, {"ticket": "5"}, {"ticket": True}])
@pytest.mark.parametrize("action", [SEND, MODIFY, CLOSE, DELETE])
def test_nonsense_is_no_success_of_a_trade(action: str, response: Any) -> None:
    """It is looked for among the orders instead."""
    asked = command(action, symbol="EURUSD", ticket=5)
    request = Request(Purpose.COMMAND, action, {}, 1, asked, Dialect.METATRADER4_SERVER)

    assert Verdict.MALFORMED is decode(json.dumps({"response": response}).encode(), request).verdict
