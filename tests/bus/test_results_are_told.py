"""A result is never lost on its way out: `gateway/envelope.py`, writing."""

import json
from dataclasses import replace
from typing import Any

import msgpack
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.core.messages import (
    Cause,
    CommandId,
    Conclusion,
    Json,
    Outcome,
    Raw,
    Result,
    Source,
)
from gateway.envelope import (
    ERROR_CODE_HEADER,
    ERROR_HEADER,
    Encoding,
    encode_fitting,
    encoding_of,
    error_headers,
    format_time,
    parse_time,
    result_body,
)
from gateway.tick import Tick, TickMode, decode_tick, encode_tick


def result(
    outcome: Outcome = Outcome.SUCCEEDED,
    response: Json = None,
    cause: Cause | None = None,
    raw: Raw | None = None,
) -> Result:
    """Return a result."""
    conclusion = Conclusion(
        outcome, response=response, cause=cause, attempts=2, resolved=True, raw=raw
    )
    key = CommandId("me", "c1")
    return Result(key, "demo", "DO_ORDER_SEND", conclusion, 1.0, 2.5, 0.1234567, 0.5)


def read(raw: bytes, encoding: Encoding) -> dict[str, Any]:
    """Read a body as a client does."""
    body: dict[str, Any] = (
        json.loads(raw) if encoding is Encoding.JSON else msgpack.unpackb(raw, strict_map_key=False)
    )
    return body


def test_a_result_has_the_keys_of_the_contract_in_their_order() -> None:
    """The design's section 5."""
    expected = (
        "id terminal client action outcome response warning error attempts resolved "
        "received_at finished_at queued_s channel_s"
    )

    assert expected.split() == list(result_body(result()))


def test_a_result_says_who_asked_what_and_when() -> None:
    """Times in RFC 3339, durations in microseconds."""
    body = result_body(result())

    assert ("c1", "demo", "me", "DO_ORDER_SEND") == (
        body["id"],
        body["terminal"],
        body["client"],
        body["action"],
    )
    assert "1970-01-01T00:00:02.500000Z" == body["finished_at"]
    assert 0.123457 == body["queued_s"]


ANYTHING = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(st.characters()),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.text(st.characters(), max_size=5), inner, max_size=3)
    ),
    max_leaves=8,
)


@given(ANYTHING, st.none() | ANYTHING.map(Raw), st.sampled_from(Encoding))
def test_every_response_is_told_or_its_loss_is(
    response: Json, raw: Raw | None, encoding: Encoding
) -> None:
    """NaN, half a character, a number of any size: the outcome arrives."""
    _, encoded = encode_fitting(result(response=response, raw=raw), encoding, 100_000)
    body = read(encoded, encoding)

    assert ("c1", "succeeded", 2) == (body["id"], body["outcome"], body["attempts"])
    assert body["response"] is not None or response is None or body["warning"]


@pytest.mark.parametrize("encoding", Encoding)
@pytest.mark.parametrize(
    ("raw", "most_bytes", "name"),
    [("\ud800", 100_000, "NOT_WRITABLE"), ("x" * 2000, 1000, "TOO_LONG")],
)
def test_raw_goes_before_the_response_of_a_trade(
    raw: str, most_bytes: int, name: str, encoding: Encoding
) -> None:
    """The ticket is in the response; and what was odd about the order stays told."""
    if name == "NOT_WRITABLE" and encoding is Encoding.JSON:
        raw = float("nan")  # type: ignore[assignment] # which JSON cannot say
    before = result(response={"ticket": 5}, raw=Raw(raw))
    before = replace(before, conclusion=replace(before.conclusion, warning="sl: odd"))
    body = read(encode_fitting(before, encoding, most_bytes)[1], encoding)

    assert {"ticket": 5} == body["response"]
    assert "raw" not in body
    assert body["warning"].startswith("sl: odd; the response ")


@pytest.mark.parametrize(
    ("response", "code", "name"),
    [(float("nan"), 406, "NOT_WRITABLE"), ("x" * 2000, 413, "TOO_LONG")],
)
def test_a_read_whose_response_cannot_be_told_is_no_success(
    response: Json, code: int, name: str
) -> None:
    """A list that is missing must not be taken for an empty one."""
    read_ = replace(result(response=response), key=CommandId(None, "c1"), action="GET_ORDERS")
    shown, encoded = encode_fitting(read_, Encoding.JSON, 1000)
    body = read(encoded, Encoding.JSON)

    assert ("rejected", None) == (body["outcome"], body["response"])
    assert ("gateway", code, name) == tuple(
        body["error"][key] for key in ("source", "code", "name")
    )
    assert "422" == error_headers(shown)[ERROR_CODE_HEADER]


@pytest.mark.parametrize(
    ("outcome", "code", "expected"),
    [
        (Outcome.REJECTED, 134, "422"),
        (Outcome.EXPIRED, 408, "408"),
        (Outcome.UNKNOWN, 504, "504"),
        (Outcome.UNKNOWN, 128, "504"),
        (Outcome.DENIED, 400, "400"),
        (Outcome.DENIED, 403, "403"),
        (Outcome.DENIED, 409, "409"),
        (Outcome.DENIED, 429, "429"),
        (Outcome.DENIED, 503, "503"),
        (Outcome.DENIED, None, "500"),
    ],
)
def test_what_did_not_succeed_has_an_error_header(
    outcome: Outcome, code: int | None, expected: str
) -> None:
    """So that NATS tools see it; the broker's code stays in the body."""
    cause = Cause(Source.GATEWAY, code, "NAME", "because\r\nof \u20ac" + "x" * 300)
    headers = error_headers(result(outcome, cause=cause))

    assert expected == headers[ERROR_CODE_HEADER]
    assert headers[ERROR_HEADER].startswith("because??of ?xxx")
    assert 200 == len(headers[ERROR_HEADER])


def test_success_has_no_error_header() -> None:
    """Its absence is how tools tell."""
    assert {} == error_headers(result())


def test_a_tick_begins_with_its_number() -> None:
    """As the terminal writes it: clients see a gap in the first bytes."""
    tick = Tick(7, "EURUSD", 1_700_000_000_000, 1_700_007_200, 1.1, None, 0.0, 0.0, TickMode.EVENT)
    for packed, encoding in (
        (encode_tick(tick, "msgpack"), Encoding.MSGPACK),
        (encode_tick(tick, "json"), Encoding.JSON),
    ):
        body = read(packed, encoding)

        assert ("seq", 7) == next(iter(body.items()))
        assert (1_700_000_000_000, None, "event") == (body["time"], body["ask"], body["mode"])
        assert tick == decode_tick(msgpack.packb(body))


@given(st.floats(0, 4e9))
def test_times_come_back_to_the_microsecond(at_s: float) -> None:
    """What is written can be read by the same rules."""
    assert at_s == pytest.approx(parse_time(format_time(at_s)), abs=1e-6)


@pytest.mark.parametrize(
    ("body", "content_type", "expected"),
    [
        (b"{}", None, Encoding.JSON),
        (b"  {}", None, Encoding.JSON),
        (b"", None, Encoding.JSON),
        (b"\x80", None, Encoding.MSGPACK),
        (b"\x8f", None, Encoding.MSGPACK),
        (b"\xde\x00\x00", None, Encoding.MSGPACK),
        (b"\xdf\x00\x00\x00\x00", None, Encoding.MSGPACK),
        (b"\x90", None, Encoding.JSON),
        (b"\x80", "application/json", Encoding.JSON),
        (b"{}", "application/msgpack", Encoding.MSGPACK),
        (b"{}", "Application/X-MsgPack; charset=x", Encoding.MSGPACK),
        (b"{}", " application/json ; charset=utf-8", Encoding.JSON),
        (b"\x80", "text/plain", Encoding.MSGPACK),
        (b"{}", "", Encoding.JSON),
    ],
)
def test_the_header_tells_the_encoding_else_the_first_byte(
    body: bytes, content_type: str | None, expected: Encoding
) -> None:
    """A header that names neither is no help."""
    assert expected is encoding_of(body, content_type)
