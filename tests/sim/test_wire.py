"""JSON as the existing server writes it, and as forgivingly as it reads it."""

from typing import Any

import pytest

from gateway.sim.lenient_json import LenientJsonError, parse_lenient
from gateway.sim.wire import broker_time_text, encode, failure_code, success


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (1.13338, "1.13338000"),
        (0.00001, "0.00001000"),
        (-0.5, "-0.50000000"),
        (7, "7"),
        (True, "true"),
        ("", "null"),
        (None, "null"),
        ('a"b\\c/d\n', '"a\\"b\\\\c\\/d\\n"'),
        (["x", 1], '["x",1]'),
        ({"a": {"b": 1.0}}, '{"a":{"b":1.00000000}}'),
    ],
)
def test_value_is_written_as_the_existing_server_writes_it(value: Any, text: str) -> None:
    """Eight decimals, null for the empty string, no spaces."""
    assert text == encode(value, strict=False)


def test_keys_and_control_characters_are_escaped_only_in_the_bridge() -> None:
    """The existing server's reply is malformed then, and ours is not."""
    body = {'a"b': "\x01"}

    assert encode(body, strict=False) == '{"a"b":"\x01"}'
    assert encode(body, strict=True) == '{"a\\"b":"\\u0001"}'


@pytest.mark.parametrize("empty", [[], {}])
def test_empty_collection_has_no_response_key(empty: Any) -> None:
    """Clients take its absence for emptiness."""
    assert encode(success(empty), strict=False) == "{}"


def test_zero_and_empty_string_keep_their_response_key() -> None:
    """Only collections vanish."""
    assert success(0) == {"response": 0}
    assert encode(success(""), strict=False) == '{"response":null}'


def test_error_has_code_and_text() -> None:
    """The description is MQL4's."""
    assert failure_code(134) == {"error_code": 134, "error_code_description": "not enough money"}


def test_never_is_the_first_second_of_1970() -> None:
    """As `TimeToStr` writes it."""
    assert broker_time_text(0) == "1970.01.01 00:00:00"


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ('{"action":"A","n":-1.5e2,"b":[1,"x",null,true]}', None),
        ('{"action":"A"', {"action": "A"}),
        ('{"action":"DO","lots":0.1', {"action": "DO", "lots": 0.1}),
        ('{"action":"DO" "lots":1}', {"action": "DO", "lots": 1}),
        ('{"action":"A"} and more', {"action": "A"}),
        ('{"a":1,"a":2}', {"a": 2}),
        ('{"s":"a\\"\\n\\u00e9"}', {"s": 'a"\né'}),
        ("hello", None),
        ("[1,2]", [1, 2]),
        ('"x"', "x"),
        ("", None),
    ],
)
def test_lenient_parser_forgives(text: str, value: Any) -> None:
    """What is cut off, glued on or left out."""
    if value is None and text.startswith("{"):
        value = {"action": "A", "n": -150.0, "b": [1, "x", None, True]}

    assert value == parse_lenient(text)


@pytest.mark.parametrize("text", ["{'action':'A'}", '{"a":NaN}', '{"a":Infinity}', "{a:1}", "nope"])
def test_lenient_parser_refuses(text: str) -> None:
    """Single quotes, numbers that are none, literals that are none."""
    with pytest.raises(LenientJsonError):
        parse_lenient(text)
