"""Names on the bus: `gateway/subjects.py`. What is one token here must be one in NATS."""

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.subjects import Subjects, decode_token, encode_token

NAMES = Subjects("mt4", "demo")
A_TOKEN = re.compile(r"[A-Za-z0-9_=-]+")


@pytest.mark.parametrize(
    ("subject", "expected"),
    [
        (NAMES.query("GET_ORDERS"), "mt4.demo.query.GET_ORDERS"),
        (NAMES.query("*"), "mt4.demo.query.*"),
        (NAMES.trade("me", "DO_ORDER_SEND"), "mt4.demo.trade.me.DO_ORDER_SEND"),
        (NAMES.command("me", "c1"), "mt4.demo.command.me.c1"),
        (NAMES.result("me", "c1"), "mt4.demo.result.me.c1"),
        (NAMES.tick("EURUSD"), "mt4.demo.tick.EURUSD"),
        (NAMES.tick("EURUSD.m"), "mt4.demo.tick.EURUSD=2Em"),
        (NAMES.tick("*"), "mt4.demo.tick.*"),
        (NAMES.event("order"), "mt4.demo.event.order"),
        (NAMES.control("status"), "mt4.demo.control.status"),
        (Subjects("a.b", "t").base, "a.b.t"),
    ],
)
def test_subjects_are_named_as_the_contract_names_them(subject: str, expected: str) -> None:
    """The design's section 4."""
    assert expected == subject


@pytest.mark.parametrize(
    ("text", "token"),
    [
        ("EURUSD", "EURUSD"),
        ("EURUSD.m", "EURUSD=2Em"),
        ("#AAPL", "=23AAPL"),
        ("a=b", "a=3Db"),
        ("*", "=2A"),
        (">", "=3E"),
        ("a b", "a=20b"),
        ("\u20ac", "=E2=82=AC"),
        ("_-", "_-"),
    ],
)
def test_what_is_not_plain_is_written_in_hex(text: str, token: str) -> None:
    """Upper case, byte by byte."""
    assert token == encode_token(text)
    assert text == decode_token(token)


@given(st.text(st.characters(codec="utf-8"), min_size=1))
def test_no_text_can_leave_its_token(text: str) -> None:
    """No dot, no wildcard, no space: no symbol reaches another subject."""
    assert A_TOKEN.fullmatch(encode_token(text))


@given(st.text(max_size=12))
def test_no_token_crashes_the_reader_and_only_one_means_a_text(token: str) -> None:
    """Two tokens for one symbol would get round a permission."""
    try:
        text = decode_token(token)
    except ValueError:
        return

    assert token == encode_token(text)
