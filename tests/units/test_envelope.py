"""Bodies on the bus: what is read, what is refused, and that nothing is changed on the way."""

import json
from typing import Any

import msgpack
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.core.messages import CommandId, Conclusion, Json, Outcome, Result
from gateway.envelope import (
    Encoding,
    decode,
    encode,
    encode_fitting,
    encoding_of,
    format_time,
    new_id,
    parse_request,
    parse_time,
)
from gateway.errors import InvalidCommand
from gateway.subjects import decode_token, encode_token

TEXT = st.text(st.characters(codec="utf-8"), max_size=20)
SCALARS = (
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**63 - 1)
    | st.floats(allow_nan=False, allow_infinity=False)
    | TEXT
)
BODIES = st.dictionaries(
    TEXT, SCALARS | st.lists(SCALARS, max_size=4) | st.dictionaries(TEXT, SCALARS, max_size=3)
)


@given(BODIES, st.sampled_from(Encoding))
def test_bodies_come_back_as_they_went(body: dict[str, Json], encoding: Encoding) -> None:
    """Both encodings carry the same values, and tell themselves apart."""
    raw = encode(body, encoding)

    assert body == decode(raw, encoding)
    assert encoding is encoding_of(raw, None)


@pytest.mark.parametrize(
    "raw",
    [
        b"{",
        b"[]",
        b'"x"',
        b'{"a": NaN}',
        b'{"a": 1e999}',
        b'{"a": -Infinity}',
        b'{"a": 1, "a": 2}',
        b'{"a": "\\ud800"}',
        b'{"a": 9223372036854775808}',
        b"\xff\xfe",
        b'{"a":' * 20 + b"1" + b"}" * 20,
        b"[" * 60_000,
        b'{"a": "' + b"x" * 70_000 + b'"}',
    ],
)
def test_bad_json_is_refused(raw: bytes) -> None:
    """With a reason, whatever it is."""
    with pytest.raises(InvalidCommand) as caught:
        decode(raw, Encoding.JSON)

    assert caught.value.problems[0]


@pytest.mark.parametrize(
    "raw",
    [
        b"\x81",
        b"\x81\xa1a",
        b"\xdf\xff\xff\xff\xff",
        b"\x81\x01\x02",
        b"\x82\xa1a\x01\xa1a\x02",
        msgpack.packb({"a": float("nan")}),
        msgpack.packb({"a": b"bytes"}),
        msgpack.packb({"a": msgpack.Timestamp(1, 0)}),
        msgpack.packb({"a": msgpack.ExtType(5, b"x")}),
        msgpack.packb({"a": 2**63}),
        msgpack.packb({"a": 1}) + b"\x00",
        b"\x81\xa1a\xa2\xff\xff",
    ],
)
def test_bad_msgpack_is_refused(raw: bytes) -> None:
    """Header bombs, other types, doubled keys, trailing bytes."""
    with pytest.raises(InvalidCommand) as caught:
        decode(raw, Encoding.MSGPACK)

    assert caught.value.problems[0]


@given(TEXT)
def test_tokens_are_one_subject_token_and_come_back(text: str) -> None:
    """Any symbol's name is one token, and only one token is that name."""
    token = encode_token(text)

    assert text == decode_token(token)
    assert not set(token) & set(".*> \t\n")


@pytest.mark.parametrize("token", ["=41", "=2e", "a.b", "*", "=FF"])
def test_token_written_otherwise_is_refused(token: str) -> None:
    """Two tokens for one symbol would get round a permission."""
    with pytest.raises(ValueError, match=r"token is|decode"):
        decode_token(token)


def test_times_keep_their_zone() -> None:
    """RFC 3339 in any zone is read; without one it is refused."""
    assert 1_767_268_800.0 == parse_time("2026-01-01T13:00:00+01:00")
    assert "2026-01-01T12:00:00.000000Z" == format_time(1_767_268_800.0)
    assert 1_767_268_800.0 == parse_time("2026-01-01t12:00:00.000z")
    written_otherwise = ("2026-W01-4T12:00:00Z", "20260101T120000Z", "2026-01-01T12:00:00+01")
    for bad in ("2026-01-01T12:00:00", "2026-13-01T12:00:00Z", "soon", 5, None, *written_otherwise):
        with pytest.raises(InvalidCommand, match="RFC 3339"):
            parse_time(bad)


@pytest.mark.parametrize("zone", ["Z", "+23:59", "-23:59"])
@pytest.mark.parametrize("year", ["0001", "1969", "1970", "9998", "9999"])
@pytest.mark.parametrize("day", ["01-01T00:00:00", "12-31T23:59:59.999999"])
def test_time_that_is_read_can_be_written(year: str, day: str, zone: str) -> None:
    """In whatever zone: it is written down in the audit, in UTC."""
    try:
        at_s = parse_time(f"{year}-{day}{zone}")
    except InvalidCommand:
        assert year in ("0001", "1969", "9999")
    else:
        assert format_time(at_s)


def test_id_and_deadline_may_stand_in_headers() -> None:
    """They say the same as in the body, or the command is refused."""
    said = parse_request(b'{"a": 1}', {"Mt4-Id": "x", "Mt4-Deadline": "2026-01-01T12:00:00Z"})
    differing = parse_request(b'{"id": "y"}', {"Mt4-Id": "x"})

    assert ({"a": 1}, "x", 1_767_268_800.0) == (said.params, said.id, said.deadline_at_s)
    assert differing.problem is not None
    assert "differ" in differing.problem


def test_bad_deadline_keeps_the_id() -> None:
    """A caller that matches by id finds its refusal."""
    said = parse_request(b'{"id": "mine", "deadline": "soon"}', {})

    assert "mine" == said.id
    assert said.problem is not None


def test_ids_are_uuids_of_version_7_in_order() -> None:
    """Sorted by the millisecond in which they were made, and unique."""
    ids = [new_id() for _ in range(1000)]

    assert len(ids) == len(set(ids))
    assert all(id_[14] == "7" and id_[19] in "89ab" for id_ in ids)
    assert [id_[:13] for id_ in ids] == sorted(id_[:13] for id_ in ids)


@pytest.mark.parametrize("encoding", list(Encoding))
@pytest.mark.parametrize("response", [float("inf"), "\ud800", 2**70, object])
def test_result_is_written_whatever_the_response(encoding: Encoding, response: Any) -> None:
    """A result is never lost to what the terminal answered."""
    deep: Any = None
    for _ in range(5000):
        deep = [deep]
    for value in (response if response is not object else deep,):
        conclusion = Conclusion(Outcome.SUCCEEDED, response=value)
        result = Result(CommandId("c", "i"), "t", "DO_ORDER_SEND", conclusion, 0.0, 0.0, 0.0, 0.0)
        _, raw = encode_fitting(result, encoding, 100_000)
        body = json.loads(raw) if encoding is Encoding.JSON else msgpack.unpackb(raw)

        assert "succeeded" == body["outcome"]
