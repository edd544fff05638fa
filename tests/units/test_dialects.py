"""What a frame from the terminal proves, per dialect; and that nothing can crash the reader."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.core.evidence import token_of
from gateway.core.messages import (
    Command,
    CommandId,
    Dialect,
    Effect,
    Json,
    Lane,
    Purpose,
    Request,
    Verdict,
)
from gateway.terminal.dialects import Fence, decode, encode


def trade(action: str = "DO_ORDER_SEND", **params: Json) -> Command:
    """Make a trade."""
    return Command(
        key=CommandId("me", "7"),
        asker="me",
        action=action,
        effect=Effect.TRADE,
        lane=Lane.TRADE,
        params=params or {"symbol": "EURUSD", "order_type": 0, "lots": 0.1, "comment": "x"},
        digest="0" * 32,
        received_s=0.0,
        received_at_s=0.0,
        deadline_s=5.0,
    )


def sent(dialect: Dialect, action: str = "DO_ORDER_SEND") -> Request:
    """Make the request whose reply is read."""
    command = trade(action)
    return Request(Purpose.COMMAND, action, command.params, 1, command, dialect)


OLD, BRIDGE = Dialect.METATRADER4_SERVER, Dialect.BRIDGE


@pytest.mark.parametrize(
    ("action", "reply", "verdict"),
    [
        ("DO_ORDER_SEND", {"response": {"ticket": 1}}, Verdict.DONE),
        ("DO_ORDER_SEND", {"error_message": 'Missing "lots" param.'}, Verdict.REJECTED),
        ("DO_ORDER_SEND", {"error_code": 134, "error_message": "Failed to send order."}, "no"),
        ("DO_ORDER_SEND", {"error_code": 146, "error_message": "Failed to send order."}, "later"),
        ("DO_ORDER_SEND", {"error_code": 128, "error_message": "Failed to send order."}, "doubt"),
        ("DO_ORDER_SEND", {"error_code": 0, "error_message": "Failed to send order."}, "doubt"),
        ("DO_ORDER_SEND", {"error_code": 9999, "error_message": "Failed to send order."}, "doubt"),
        ("DO_ORDER_SEND", {"error_code": 134, "error_message": "Something else"}, "doubt"),
        ("DO_ORDER_SEND", {"error_code": 4106, "error_message": "EURUSD"}, "no"),
        ("DO_ORDER_SEND", {"error_code": 4106, "error_message": "Something else"}, "doubt"),
        (
            "DO_ORDER_SEND",
            {"error_code": 130, "error_message": "Order was created, but failed to set sl/tp."},
            "doubt",
        ),
        ("DO_ORDER_SEND", {}, Verdict.MALFORMED),
        ("DO_ORDER_SEND", {"error_code": None, "error_message": None}, Verdict.MALFORMED),
        (
            "DO_ORDER_MODIFY",
            {"error_code": 1, "error_message": "Failed to modify order # 5."},
            Verdict.DONE,
        ),
        (
            "DO_ORDER_CLOSE",
            {"error_code": 1, "error_message": "Failed to close order # 5."},
            "doubt",
        ),
        (
            "DO_ORDER_CLOSE",
            {"error_code": 4108, "error_message": "Failed to close order # 5."},
            "no",
        ),
        ("DO_ORDER_CLOSE", {"error_message": "Order # 5 not found."}, Verdict.REJECTED),
        ("DO_ORDER_DELETE", {"response": "Deleted pending order # 5."}, Verdict.DONE),
    ],
)
def test_existing_servers_reply_to_a_trade(action: str, reply: Json, verdict: str) -> None:
    """An error means no only where the trade call itself said no."""
    expected = {
        "no": Verdict.REJECTED,
        "later": Verdict.NOT_NOW,
        "doubt": Verdict.IN_DOUBT,
    }.get(verdict, verdict)

    assert expected == decode(json.dumps(reply).encode(), sent(OLD, action)).verdict


def test_order_that_was_created_is_evidence() -> None:
    """The existing server calls it an error; the order is there."""
    for message in (
        "Order was created, but failed to set sl/tp.",
        "Order # 7 was created, but is not found in the Trades or Account History tabs.",
    ):
        reply = decode(json.dumps({"error_message": message}).encode(), sent(OLD))

        assert Verdict.IN_DOUBT == reply.verdict
        assert reply.evidence["created"]


@pytest.mark.parametrize("state", [v for v in Verdict if v is not Verdict.MALFORMED])
def test_bridge_says_what_it_proves(state: Verdict) -> None:
    """`state` is the verdict, for this command and no other."""
    said = {"id": "me/7", "state": str(state), "session": "s", "clock_ms": 5}
    other = said | {"id": "me/8"}

    assert state == decode(json.dumps(said).encode(), sent(BRIDGE)).verdict
    assert Verdict.MALFORMED == decode(json.dumps(other).encode(), sent(BRIDGE)).verdict


def test_existing_servers_words_prove_nothing_to_a_bridge_trade() -> None:
    """A terminal exchanged for another kind must not end a trade."""
    said = {"error_message": "Unrecognized requested action (RESOLVE)."}

    assert Verdict.MALFORMED == decode(json.dumps(said).encode(), sent(BRIDGE)).verdict


def test_empty_object_is_an_empty_list_for_a_read() -> None:
    """The existing server leaves `response` out."""
    reply = decode(b"{}", Request(Purpose.COMMAND, "GET_ORDERS", {}))

    assert (Verdict.DONE, None) == (reply.verdict, reply.response)


FRAMES = st.one_of(
    st.binary(max_size=200),
    st.text(max_size=100).map(lambda text: text.encode("utf-8", "surrogatepass")),
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
        lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    ).map(lambda value: json.dumps(value).encode()),
    st.dictionaries(
        st.sampled_from(["response", "state", "id", "error_code", "error_message", "evidence"]),
        st.none() | st.integers() | st.text() | st.lists(st.integers(), max_size=2),
    ).map(lambda value: json.dumps(value).encode()),
)


@given(FRAMES, st.sampled_from([OLD, BRIDGE]), st.sampled_from(list(Purpose)))
def test_no_frame_crashes_the_reader(frame: bytes, dialect: Dialect, purpose: Purpose) -> None:
    """Whatever arrives becomes a verdict."""
    command = trade()
    request = Request(purpose, "DO_ORDER_SEND", command.params, 1, command, dialect)

    assert isinstance(decode(frame, request).verdict, Verdict)


@pytest.mark.parametrize(
    "frame", [b'{"response": 1e999}', b'{"response": "\\ud800"}', b'{"a":' * 9000, b"\xff{}"]
)
def test_what_cannot_be_passed_on_is_malformed(frame: bytes) -> None:
    """Neither infinity nor half a character can be written on the bus."""
    assert Verdict.MALFORMED == decode(frame, sent(OLD)).verdict


def test_trade_frame_is_fenced_and_its_comment_begins_with_the_token() -> None:
    """Session, epoch, sequence, ledger and deadline travel with it."""
    fence = Fence(session="s", epoch=3, seq=9, ledger="l", not_after_ms=1234)
    body = json.loads(encode(sent(BRIDGE), BRIDGE, fence))

    assert token_of(CommandId("me", "7")) + "x" == body["comment"]
    assert ("me/7", 1, "s", 3, 9, "l", 1234) == tuple(
        body[key] for key in ("id", "attempt", "session", "epoch", "seq", "ledger", "not_after")
    )


def test_existing_server_gets_nothing_it_does_not_know() -> None:
    """Its frames carry the action and its parameters only."""
    body = json.loads(encode(sent(OLD), OLD, None))

    assert {"action", "symbol", "order_type", "lots", "comment"} == set(body)
