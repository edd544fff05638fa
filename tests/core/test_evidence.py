"""What the orders of the existing server can prove: `gateway/core/evidence.py`."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.core.evidence import (
    COMMENT_LEFT,
    NEVER,
    TOKEN_LENGTH,
    OrderSearch,
    Search,
    search_for,
    token_of,
)
from gateway.core.messages import CommandId, Json, Reply, Verdict
from tests.core.support import BUY, trade

CLOSED = "2026.01.31 12:00:00"
TOKEN = token_of(trade().key)


def listed(*orders: Json) -> Reply:
    """Return a list of orders."""
    return Reply(Verdict.DONE, response=list(orders))


def order(ticket: int = 7, **keys: Json) -> dict[str, Json]:
    """Return an open order."""
    known = {"order_type": 0, "lots": 0.1, "close_time": NEVER, "sl": 0.0, "tp": 0.0}
    return {"ticket": ticket, "comment": TOKEN} | known | keys


def search(action: str, **params: Json) -> Search:
    """Return the search for a trade's effect."""
    return search_for(trade(action, {"ticket": 7} | params))


# ---- tokens -----------------------------------------------------------------------------


def test_a_token_leaves_room_for_the_clients_comment() -> None:
    """14 characters of 31; docs/protocol.md."""
    assert (14, 17) == (TOKEN_LENGTH, COMMENT_LEFT)
    assert "~" == TOKEN[0]


@given(st.text(min_size=1, max_size=32), st.text(min_size=1, max_size=64))
def test_a_token_is_printable_and_always_as_long(client: str, id_: str) -> None:
    """Whatever the id, the comment fits."""
    token = token_of(CommandId(client, id_))

    assert TOKEN_LENGTH == len(token)
    assert token.isascii()
    assert token.isprintable()


def test_tokens_differ_between_clients_and_ids() -> None:
    """The same id of two clients is two commands."""
    keys = [CommandId(client, str(id_)) for client in ("ann", "bob") for id_ in range(1000)]

    assert len(keys) == len({token_of(key) for key in keys})


def test_a_token_never_changes() -> None:
    """The MQL4 programs and the orders of last week know it."""
    assert "~WIBTSCF6LJH24" == token_of(CommandId("me", "7"))


# ---- an opened order --------------------------------------------------------------------


def test_three_lists_are_read() -> None:
    """Open orders twice: one may move to the history between two reads."""
    looking = search_for(trade())
    asked = []
    while not looking.is_over:
        asked.append(looking.query())
        looking.consider(listed())

    assert [("GET_ORDERS", {}), ("GET_HISTORICAL_ORDERS", {}), ("GET_ORDERS", {})] == asked


@pytest.mark.parametrize("tail", ["", "hello", "[sl]", " from #123"])
def test_an_order_is_found_by_the_front_of_its_comment(tail: str) -> None:
    """The broker may change what follows the token."""
    found = search_for(trade()).consider(
        listed(order(3, comment="other"), order(comment=TOKEN + tail))
    )

    assert found is not None
    assert (7, None) == (found.response["ticket"], found.warning)


@pytest.mark.parametrize(
    "comment", ["", None, "hello", TOKEN[1:], TOKEN[:-1], TOKEN.lower(), f" {TOKEN}", 5, ["x"]]
)
def test_any_other_comment_is_not_ours(comment: Json) -> None:
    """Other programs and people trade too."""
    assert None is search_for(trade()).consider(listed(order(comment=comment)))


def test_several_orders_with_the_token_are_an_alarm() -> None:
    """The first one is the command's; the client learns of all."""
    found = search_for(trade()).consider(listed(order(9), order(7), order(8)))

    assert found is not None
    assert 7 == found.response["ticket"]
    assert "3 orders carry its token: [7, 8, 9]" == found.warning


@pytest.mark.parametrize(
    ("wanted", "has", "warned"),
    [
        ({"sl": 1.1}, {}, "the sl that was asked for is not set"),
        ({"tp_points": 50}, {}, "the tp that was asked for is not set"),
        ({"sl": 1.1}, {"sl": 1.1}, None),
        ({}, {}, None),
    ],
)
def test_an_order_without_its_stops_is_told(wanted: Any, has: Any, warned: str | None) -> None:
    """The existing server sets stops in a second call, which may have failed."""
    found = search_for(trade(params=BUY | wanted)).consider(listed(order(**has)))

    assert found is not None
    assert warned == found.warning


@pytest.mark.parametrize(
    "answer",
    [
        Reply(Verdict.MALFORMED),
        Reply(Verdict.REJECTED),
        Reply(Verdict.DONE, response=5),
        Reply(Verdict.DONE, response={"a": 1}),
        Reply(Verdict.DONE, response="x"),
    ],
)
def test_what_is_no_list_is_no_answer(answer: Reply) -> None:
    """A list that was not seen does not count as searched."""
    assert not search_for(trade()).is_answered_by(answer)


def test_no_response_at_all_is_an_empty_list() -> None:
    """The existing server writes it as `{}`."""
    assert search_for(trade()).is_answered_by(Reply(Verdict.DONE))


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=9), inner),
    max_leaves=8,
)
KEYS = st.sampled_from(
    ["ticket", "comment", "close_time", "order_type", "lots", "sl", "tp", "open_price"]
)
ODD_ORDER = st.dictionaries(KEYS, JSON | st.just(TOKEN) | st.just(7))


@given(st.lists(JSON | ODD_ORDER, max_size=5) | JSON)
def test_no_list_of_orders_crashes_the_search(response: Json) -> None:
    """What is found has a ticket; everything else is passed over."""
    looking = OrderSearch(trade(params=BUY | {"sl": 1.0, "tp_points": 5}))
    answer = Reply(Verdict.DONE, response=response)
    found = looking.consider(answer) if looking.is_answered_by(answer) else None

    assert found is None or type(found.response["ticket"]) is int


@given(
    JSON | ODD_ORDER,
    st.sampled_from(["DO_ORDER_CLOSE", "DO_ORDER_DELETE", "DO_ORDER_MODIFY"]),
    st.sampled_from([Verdict.DONE, Verdict.REJECTED]),
)
def test_no_order_crashes_the_look_at_it(response: Json, action: str, verdict: Verdict) -> None:
    """The same for a close, a delete and a modify."""
    looking = search(action, lots=0.1, sl=1.0, price=1.1)
    answer = Reply(verdict, response=response)
    if looking.is_answered_by(answer):
        looking.consider(answer)

        assert looking.is_over


# ---- a close, a delete, a modify --------------------------------------------------------

CLOSE, DELETE, MODIFY = "DO_ORDER_CLOSE", "DO_ORDER_DELETE", "DO_ORDER_MODIFY"


@pytest.mark.parametrize(
    ("action", "wanted", "is_like", "has_effect"),
    [
        (CLOSE, {}, {"close_time": CLOSED}, True),
        (CLOSE, {}, {"close_time": NEVER}, False),
        (CLOSE, {}, {"close_time": None}, False),
        (CLOSE, {"lots": 0.1}, {"close_time": CLOSED, "lots": 0.1}, True),
        (CLOSE, {"lots": 0.1}, {"close_time": CLOSED, "lots": 0.3}, False),
        (CLOSE, {"lots": 0.1}, {"close_time": NEVER, "lots": 0.1}, False),
        (DELETE, {}, {"close_time": CLOSED, "order_type": 2}, True),
        (DELETE, {}, {"close_time": NEVER, "order_type": 2}, False),
        (DELETE, {}, {"close_time": CLOSED, "order_type": 0}, False),
        (DELETE, {"close_if_opened": False}, {"close_time": CLOSED, "order_type": 1}, False),
        (DELETE, {"close_if_opened": True}, {"close_time": CLOSED, "order_type": 0}, True),
        (MODIFY, {"sl": 1.1}, {"sl": 1.1}, True),
        (MODIFY, {"sl": 1.1}, {"sl": 1.100000001}, True),
        (MODIFY, {"sl": 1.1}, {"sl": 1.10001}, False),
        (MODIFY, {"sl": 1.1, "tp": 1.2}, {"sl": 1.1, "tp": 1.2}, True),
        (MODIFY, {"sl": 1.1, "tp": 1.2}, {"sl": 1.1, "tp": 1.3}, False),
        (MODIFY, {"price": 1.05}, {"open_price": 1.05}, True),
        (MODIFY, {"price": 1.05}, {"open_price": None}, False),
        (MODIFY, {"sl": 0.0}, {"sl": 0.0}, True),
        (MODIFY, {"sl_points": 50}, {"sl": 1.1}, False),
        (MODIFY, {"sl": 1.1, "tp_points": 50}, {"sl": 1.1, "tp": 1.2}, False),
    ],
)
def test_an_effect_is_there_or_not(
    action: str, wanted: dict[str, Json], is_like: dict[str, Json], has_effect: bool
) -> None:
    """By the order's own state; a relative stop can never be told."""
    looking = search(action, **wanted)
    found = looking.consider(Reply(Verdict.DONE, response=order(**is_like)))

    assert ("GET_ORDER", {"ticket": 7}) == looking.query()
    assert has_effect is (found is not None)


def test_an_effect_may_be_another_hands() -> None:
    """The client is told that nobody can tell."""
    found = search(CLOSE).consider(Reply(Verdict.DONE, response=order(close_time=CLOSED)))

    assert found is not None
    assert "its effect is there; by whose hand cannot be told" == found.warning


def test_an_order_that_is_not_there_is_an_answer() -> None:
    """It proves nothing, but it was looked at."""
    looking, answer = search(CLOSE), Reply(Verdict.REJECTED)

    assert looking.is_answered_by(answer)
    assert None is looking.consider(answer)
    assert looking.is_over
