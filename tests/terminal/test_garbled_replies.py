"""Replies that were cut, spliced or invented: `gateway/terminal/dialects.py`.

A trade's reply may be misread in one direction only: a proof may become doubt, doubt and
garbage never become a proof.
"""

import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

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
    Result,
    Verdict,
)
from gateway.envelope import Encoding, encode
from gateway.envelope import result_body as body_of
from gateway.terminal.dialects import decode

BRIDGE, EXISTING_SERVER = Dialect.BRIDGE, Dialect.METATRADER4_SERVER
TRADES = sorted(action.name for action in ACTIONS.values() if action.effect is Effect.TRADE)
PROOFS = frozenset({Verdict.DONE, Verdict.REJECTED, Verdict.SEALED})

PROVING: dict[Dialect, list[dict[str, Any]]] = {
    BRIDGE: [
        {"id": "me/1", "attempt": 1, "state": "done", "response": {"ticket": 5}},
        {"id": "me/1", "attempt": 1, "state": "rejected", "error_code": 134},
        {"id": "me/1", "attempt": 1, "state": "sealed", "replayed": True},
    ],
    EXISTING_SERVER: [
        {"response": {"ticket": 5, "comment": "caf\u00e9"}},
        {"error_code": 134, "error_message": "Failed to send order."},
        {"error_message": "Missing param."},
    ],
}


def request(
    dialect: Dialect | None, purpose: Purpose = Purpose.COMMAND, action: str = "DO_ORDER_SEND"
) -> Request:
    """Return a frame of the trade `me/1`."""
    command = Command(
        key=CommandId("me", "1"),
        asker="me",
        action=action,
        effect=Effect.TRADE,
        lane=Lane.TRADE,
        params={"symbol": "EURUSD", "ticket": 5},
        digest="",
        received_s=0.0,
        received_at_s=0.0,
        deadline_s=9.0,
    )
    return Request(purpose, action, command.params, 1, command, dialect)


CASES = [(dialect, body) for dialect, bodies in PROVING.items() for body in bodies]
each_proof = pytest.mark.parametrize(("dialect", "body"), CASES, ids=str)


@each_proof
def test_a_whole_reply_proves(dialect: Dialect, body: dict[str, Any]) -> None:
    """What the tests below cut from is a proof."""
    assert decode(json.dumps(body).encode(), request(dialect)).verdict in PROOFS


@each_proof
def test_a_cut_reply_is_malformed(dialect: Dialect, body: dict[str, Any]) -> None:
    """At every byte: the existing server cuts replies with non-ASCII names short."""
    frame = json.dumps(body, ensure_ascii=False).encode()

    verdicts = {decode(frame[:length], request(dialect)).verdict for length in range(len(frame))}

    assert {Verdict.MALFORMED} == verdicts


@each_proof
def test_two_replies_in_one_frame_are_malformed(dialect: Dialect, body: dict[str, Any]) -> None:
    """Nobody can say which of them is ours."""
    frame = json.dumps(body).encode()

    assert Verdict.MALFORMED is decode(frame + frame, request(dialect)).verdict


@pytest.mark.parametrize("dialect", [BRIDGE, EXISTING_SERVER])
@pytest.mark.parametrize("frame", [b"", b"null", b"[]", b"1", b'"done"', b"{}", b"true", b"\x00"])
def test_what_is_no_reply_proves_nothing_of_a_trade(dialect: Dialect, frame: bytes) -> None:
    """`{}` is an empty list for a read only."""
    assert Verdict.MALFORMED is decode(frame, request(dialect)).verdict


@pytest.mark.parametrize(
    "body",
    [
        {"state": "done", "response": {"ticket": 5}},
        {"id": "me/2", "state": "done"},
        {"id": "ME/1", "state": "done"},
        {"id": None, "state": "done"},
        {"id": ["me/1"], "state": "done"},
        {"id": "me/1"},
        {"id": "me/1", "state": "DONE"},
        {"id": "me/1", "state": None},
        {"id": "me/1", "state": ["done"]},
        {"id": "me/1", "state": {"done": 1}},
        {"id": "me/1", "state": "malformed"},
        {"id": "me/1", "state": True},
    ],
    ids=str,
)
@pytest.mark.parametrize("purpose", [Purpose.COMMAND, Purpose.RESOLVE])
def test_a_ledgers_word_counts_for_its_own_command_only(
    body: dict[str, Any], purpose: Purpose
) -> None:
    """State and id must be there, and exactly right."""
    frame = json.dumps(body).encode()

    assert Verdict.MALFORMED is decode(frame, request(BRIDGE, purpose)).verdict


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=9), inner),
    max_leaves=8,
)
BODIES = st.fixed_dictionaries(
    {},
    optional={
        "id": JSON | st.just("me/1"),
        "attempt": JSON,
        "state": JSON | st.sampled_from([*Verdict]),
        "reason": JSON,
        "response": JSON | st.just({"ticket": 5}),
        "warning": JSON,
        "error_code": JSON | st.integers(-5, 5000),
        "error_code_description": JSON,
        "error_message": JSON
        | st.sampled_from(["Failed to send order.", "EURUSD", "Order was created, but no."]),
        "evidence": JSON,
        "replayed": JSON,
        "session": JSON,
        "clock_ms": JSON,
    },
)
SENT = st.builds(
    request,
    st.sampled_from([BRIDGE, EXISTING_SERVER, None]),
    st.sampled_from(Purpose),
    st.sampled_from([*TRADES, "RESOLVE", "GET_ORDERS"]),
)


@settings(max_examples=60)
@given(BODIES, SENT)
def test_every_body_has_a_verdict_that_can_be_told(body: dict[str, Any], sent: Request) -> None:
    """Nothing raises, and what is passed on can be written in both encodings."""
    reply = decode(json.dumps(body).encode(), sent)
    conclusion = Conclusion(
        Outcome.SUCCEEDED, response=reply.response, warning=reply.warning, cause=reply.cause
    )
    result = Result(CommandId("me", "1"), "t", sent.action, conclusion, 0.0, 0.0, 0.0, 0.0)
    for encoding in Encoding:
        encode(body_of(result), encoding)

    assert isinstance(reply.verdict, Verdict)


@given(st.binary(max_size=300), SENT)
def test_no_bytes_prove_anything_of_a_trade(frame: bytes, sent: Request) -> None:
    """Noise is not evidence."""
    is_trade = sent.dialect and sent.purpose in (Purpose.COMMAND, Purpose.RESOLVE)

    assert not is_trade or decode(frame, sent).verdict not in PROOFS


@given(st.data(), st.sampled_from(PROVING[BRIDGE]))
def test_a_flipped_bit_never_turns_one_proof_into_another(
    data: st.DataObject, body: dict[str, Any]
) -> None:
    """A proof may be lost by it, not exchanged: the ledger's words differ in many letters."""
    frame = bytearray(json.dumps(body).encode())
    before = decode(bytes(frame), request(BRIDGE)).verdict
    place = data.draw(st.integers(0, len(frame) - 1))
    frame[place] ^= 1 << data.draw(st.integers(0, 6))

    assert decode(bytes(frame), request(BRIDGE)).verdict not in PROOFS - {before}


@pytest.mark.parametrize("action", TRADES)
@pytest.mark.parametrize("dialect", [BRIDGE, EXISTING_SERVER])
def test_every_trade_has_a_reader(dialect: Dialect, action: str) -> None:
    """Also one that this dialect does not know: then nothing is proved."""
    frame = b'{"error_code": 5000, "error_message": "odd"}'

    assert decode(frame, request(dialect, action=action)).verdict not in PROOFS
