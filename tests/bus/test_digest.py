"""One wish has one digest: the same id with another digest is another wish, and denied.

So a client that repeats itself in another encoding, key order or spelling must not be taken for
another, and no two different wishes for the same one.
"""

import itertools
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.actions import ACTIONS, digest_of
from gateway.core.messages import Json
from gateway.envelope import Encoding, decode, encode

BUY: dict[str, Json] = {"symbol": "EURUSD", "order_type": 0, "lots": 1.0, "comment": "x"}


def digest(action: str = "DO_ORDER_SEND", **params: Json) -> str:
    """Return the digest that the gateway gives to a client's wish."""
    return digest_of(action, ACTIONS[action].validate(params))


def test_a_digest_is_32_hex_digits() -> None:
    """docs/protocol.md."""
    assert 32 == len(digest(**BUY))
    assert int(digest(**BUY), 16) >= 0


def test_a_digest_never_changes() -> None:
    """Ledgers remember it for weeks, across versions of the gateway."""
    assert "86eda588658ba6106ad94f3d2b4e9973" == digest(**BUY)


@pytest.mark.parametrize("order", [*itertools.permutations(BUY)][::5])
@pytest.mark.parametrize("encoding", Encoding)
def test_neither_key_order_nor_encoding_matters(order: tuple[str, ...], encoding: Encoding) -> None:
    """What the wish means counts, not how it was written."""
    again = decode(encode({key: BUY[key] for key in order}, encoding), encoding)

    assert digest(**BUY) == digest(**again)


@pytest.mark.parametrize(
    "spelling",
    [
        {"lots": 1},
        {"order_type": "OP_BUY"},
        {"order_type": "buy"},
        {"price": None},
        {"sl": None, "tp": None, "slippage": None},
    ],
    ids=str,
)
def test_another_spelling_of_the_same_wish_has_the_same_digest(spelling: dict[str, Any]) -> None:
    """1 and 1.0, a number and its name, absent and null."""
    assert digest(**BUY) == digest(**BUY | spelling)


def test_minus_zero_is_zero() -> None:
    """A stop of -0.0 removes it as 0 does."""
    zero, minus = (digest("DO_ORDER_MODIFY", ticket=5, sl=value) for value in (0.0, -0.0))

    assert zero == minus


@pytest.mark.parametrize(
    "change",
    [
        {"lots": 1.01},
        {"lots": 1.0000000001},
        {"order_type": 1},
        {"symbol": "EURUSd"},
        {"comment": ""},
        {"comment": "x "},
        {"sl": 1.1},
        {"tp": 1.1},
        {"magic_number": 0},
    ],
    ids=str,
)
def test_another_wish_has_another_digest(change: dict[str, Any]) -> None:
    """However small the difference."""
    assert digest(**BUY) != digest(**BUY | change)


def test_the_action_is_part_of_the_wish() -> None:
    """Close and delete of one ticket are two wishes."""
    assert digest("DO_ORDER_CLOSE", ticket=5) != digest("DO_ORDER_DELETE", ticket=5)


PARAMS = st.dictionaries(
    st.text(max_size=5), st.integers(-9, 9) | st.text(max_size=5) | st.floats(-9, 9), max_size=4
)


@given(PARAMS, PARAMS)
def test_different_parameters_have_different_digests(
    one: dict[str, Json], other: dict[str, Json]
) -> None:
    """No two of them run together: names and values are told apart."""
    is_same = [*map(repr, sorted(one.items()))] == [*map(repr, sorted(other.items()))]

    assert is_same is (digest_of("A", one) == digest_of("A", other))
