"""The decision table in the docstring of `gateway/core/exchange.py`, row by row."""

from collections.abc import Callable
from dataclasses import replace

import pytest

from gateway.core.evidence import token_of
from gateway.core.exchange import (
    Clear,
    Cleared,
    Exchange,
    Listen,
    Lost,
    NotSent,
    ReadExchange,
    Rules,
    Started,
    TimedOut,
    Woke,
    backoff_s,
)
from gateway.core.ledger_trade import PAST_DEADLINE_S, LedgerTrade
from gateway.core.messages import Outcome, Purpose, Verdict
from gateway.core.search_trade import SearchTrade
from tests.core.support import (
    COLUMNS,
    DEADLINE_S,
    FIRST_PAUSE_S,
    LAST_SEND_S,
    MOMENT_S,
    PROBE_ANSWERED,
    RULES,
    TRADES,
    after,
    asks_what_happened,
    ending,
    ledger_trade,
    looks_at,
    orders,
    outcome,
    pauses,
    probes,
    query,
    read,
    replied,
    resolved,
    search_trade,
    sends,
    trade,
)

every_column = pytest.mark.parametrize("column", COLUMNS)
both_trades = pytest.mark.parametrize("column", TRADES)
Column = Callable[[], Exchange]

DONE = replied(Verdict.DONE, response={"ticket": 1001})
NO_MONEY = replied(Verdict.REJECTED, code=134)
CONTEXT_BUSY = replied(Verdict.NOT_NOW, code=146)
AMBIGUOUS = replied(Verdict.IN_DOUBT, code=128)
REQUOTE = replied(Verdict.NOT_NOW, code=138)
TIMED_OUT, LOST, NOT_SENT, WOKE, CLEARED = TimedOut(), Lost(), NotSent(), Woke(), Cleared()
BEFORE_LAST_SEND_S = LAST_SEND_S - MOMENT_S


# ---- rows 1 and 2: the start ------------------------------------------------------------


@every_column
def test_started_in_time_sends_the_command(column: Column) -> None:
    """Row 1."""
    exchange = column()

    assert sends(exchange) == exchange.advance(Started(), 0.0)


@every_column
def test_started_too_late_expires_unsent(column: Column) -> None:
    """Row 2."""
    conclusion = ending(column().advance(Started(), DEADLINE_S + 1.5))

    assert (Outcome.EXPIRED, 0) == (conclusion.outcome, conclusion.attempts)
    assert conclusion.cause is not None
    assert "the deadline passed 1.500 s ago" == conclusion.cause.message


def test_a_read_is_sent_until_its_deadline_and_not_at_it() -> None:
    """Row 1 and 2, at the limit."""
    early, late = read(), read()

    assert MOMENT_S == getattr(early.advance(Started(), DEADLINE_S - MOMENT_S), "timeout_s", None)
    assert Outcome.EXPIRED == outcome(late.advance(Started(), DEADLINE_S))


@both_trades
def test_a_trade_is_sent_until_the_margin_before_its_deadline(column: Column) -> None:
    """Row 1 and 2, at the limit: sending takes time, too."""
    early, late = column(), column()

    assert sends(early) == early.advance(Started(), BEFORE_LAST_SEND_S)
    assert Outcome.EXPIRED == outcome(late.advance(Started(), LAST_SEND_S))


def test_too_near_a_deadline_is_called_that() -> None:
    """Row 2: the message does not claim that the deadline has passed."""
    cause = ending(ledger_trade().advance(Started(), LAST_SEND_S)).cause

    assert cause is not None
    assert "only 0.250 s to the deadline, too little to send a trade safely" == cause.message


def test_a_slow_read_is_waited_for_longer() -> None:
    """A read that may block the terminal is missed later."""
    exchange = ReadExchange(query(work_allowance_s=2.0), RULES)

    assert sends(exchange) == exchange.advance(Started(), 0.0)
    assert 7.0 == sends(exchange).timeout_s


# ---- rows 3 and 4: final replies --------------------------------------------------------


@every_column
def test_reply_done_succeeds(column: Column) -> None:
    """Row 3."""
    conclusion = ending(after(column(), (0.1, DONE)))

    assert Outcome.SUCCEEDED == conclusion.outcome
    assert {"ticket": 1001} == conclusion.response
    assert (1, False) == (conclusion.attempts, conclusion.resolved)


@every_column
def test_reply_rejected_is_rejected_with_its_cause(column: Column) -> None:
    """Row 4."""
    conclusion = ending(after(column(), (0.1, NO_MONEY)))

    assert (Outcome.REJECTED, NO_MONEY.reply.cause) == (conclusion.outcome, conclusion.cause)


@every_column
def test_a_final_reply_counts_after_the_deadline(column: Column) -> None:
    """Row 3: the deadline is for sending; what has happened has happened."""
    assert Outcome.SUCCEEDED == outcome(after(column(), (DEADLINE_S + 60, DONE)))


# ---- rows 5 to 7: not now ---------------------------------------------------------------


@every_column
def test_not_now_worth_a_retry_pauses_and_sends_again(column: Column) -> None:
    """Row 5."""
    exchange = column()

    assert pauses() == after(exchange, (0.1, CONTEXT_BUSY))
    assert sends(exchange, attempt=2) == exchange.advance(WOKE, 0.2)


@both_trades
def test_not_now_ends_the_exposure(column: Column) -> None:
    """Row 5: nothing ran, so its deadline may pass without a question."""
    exchange = column()
    after(exchange, (5.0, TIMED_OUT), (6.0, CONTEXT_BUSY))

    assert Outcome.EXPIRED == outcome(exchange.advance(WOKE, LAST_SEND_S))


@both_trades
def test_not_now_not_worth_a_retry_is_rejected(column: Column) -> None:
    """Row 6: a requote is for the client to judge."""
    conclusion = ending(after(column(), (0.1, REQUOTE)))

    assert (Outcome.REJECTED, REQUOTE.reply.cause) == (conclusion.outcome, conclusion.cause)


@both_trades
def test_not_now_without_a_code_is_rejected(column: Column) -> None:
    """Row 6: what cannot be judged is not tried again."""
    assert Outcome.REJECTED == outcome(after(column(), (0.1, replied(Verdict.NOT_NOW))))


@both_trades
def test_not_now_without_time_left_expires(column: Column) -> None:
    """Row 7: the pause would end at the last moment for sending, or after it."""
    in_time, too_late = column(), column()
    at_s = LAST_SEND_S - FIRST_PAUSE_S

    assert pauses() == after(in_time, (at_s - MOMENT_S, CONTEXT_BUSY))
    assert Outcome.EXPIRED == outcome(after(too_late, (at_s, CONTEXT_BUSY)))


def test_a_read_is_told_not_now_until_its_deadline() -> None:
    """Rows 5 and 7: the last pause ends at the deadline, not after it."""
    exchange = read()

    assert pauses(MOMENT_S) == after(exchange, (DEADLINE_S - MOMENT_S, CONTEXT_BUSY))
    assert Outcome.EXPIRED == outcome(exchange.advance(WOKE, DEADLINE_S))


# ---- rows 8 and 9: silence --------------------------------------------------------------


def test_a_silent_read_clears_the_line_and_is_sent_again() -> None:
    """Row 8."""
    exchange = read()

    assert Clear(DEADLINE_S - 5.0) == after(exchange, (5.0, TIMED_OUT))
    assert sends(exchange, attempt=2) == exchange.advance(CLEARED, 5.1)


def test_a_silent_read_past_its_deadline_expires() -> None:
    """Row 8."""
    assert Outcome.EXPIRED == outcome(after(read(), (DEADLINE_S, TIMED_OUT)))


def test_a_silent_trade_is_asked_about_behind_it() -> None:
    """Row 8: a timeout decides nothing and sends no second order."""
    exchange = ledger_trade()

    assert asks_what_happened(exchange) == after(exchange, (5.0, TIMED_OUT))


def test_nothing_is_sent_behind_a_silent_trade_at_the_existing_server() -> None:
    """Row 8: a second request would make that server lose the first one's reply."""
    assert Listen(RULES.patience_s) == after(search_trade(), (5.0, TIMED_OUT))


def test_a_silent_resolve_is_waited_for_then_the_line_is_cleared() -> None:
    """Row 9: listen, clear, ask again."""
    exchange = ledger_trade()

    assert Listen(RULES.patience_s) == after(exchange, (5.0, TIMED_OUT), (10.0, TIMED_OUT))
    assert Clear() == exchange.advance(TIMED_OUT, 25.0)
    assert asks_what_happened(exchange) == exchange.advance(CLEARED, 25.1)


def test_a_hanging_existing_server_is_cleared_then_searched() -> None:
    """Row 9: an answer on the same connection proves that the trade was dealt with."""
    exchange = search_trade()

    assert Clear() == after(exchange, (5.0, TIMED_OUT), (20.0, TIMED_OUT))
    assert looks_at(exchange, "GET_ORDERS") == exchange.advance(CLEARED, 20.1)


def test_a_hanging_existing_server_whose_link_is_remade_is_probed() -> None:
    """Row 9: a new connection proves nothing about the trade."""
    exchange = search_trade()
    after(exchange, (5.0, TIMED_OUT), (20.0, TIMED_OUT))

    assert probes(exchange) == exchange.advance(LOST, 65.0)


# ---- row 10: lost and malformed ---------------------------------------------------------


@pytest.mark.parametrize("event", [LOST, replied(Verdict.MALFORMED)])
def test_a_read_whose_link_or_reply_is_lost_pauses_and_is_sent_again(
    event: Lost | TimedOut,
) -> None:
    """Rows 10 and 17b."""
    exchange = read()

    assert pauses() == after(exchange, (0.1, event))
    assert sends(exchange, attempt=2) == exchange.advance(WOKE, 0.2)


def test_a_trade_whose_link_is_lost_is_asked_about() -> None:
    """Row 10."""
    exchange = ledger_trade()

    assert asks_what_happened(exchange) == after(exchange, (0.1, LOST))


def test_a_trade_whose_reply_is_malformed_is_asked_about() -> None:
    """Row 17b: something answered, so a short pause first, and no other trade in it."""
    exchange = ledger_trade()

    assert pauses(in_doubt=True) == after(exchange, (0.1, replied(Verdict.MALFORMED)))
    assert asks_what_happened(exchange) == exchange.advance(WOKE, 0.2)


def test_a_malformed_answer_to_resolve_is_asked_for_again() -> None:
    """Row 17b: it says nothing about the trade."""
    exchange = ledger_trade()
    after(exchange, (5.0, TIMED_OUT), (5.1, resolved(Verdict.MALFORMED)))

    assert asks_what_happened(exchange) == exchange.advance(WOKE, 5.2)


def test_the_existing_server_is_probed_and_given_time_before_the_search() -> None:
    """Row 10: a stale frame may still be executed after the first answer."""
    exchange = search_trade()

    assert probes(exchange) == after(exchange, (0.1, LOST))
    assert pauses(RULES.settle_s, in_doubt=True) == exchange.advance(PROBE_ANSWERED, 3.0)
    assert looks_at(exchange, "GET_ORDERS") == exchange.advance(WOKE, 73.0)


def test_a_link_that_is_lost_again_while_probing_is_probed_again() -> None:
    """Row 10: no answer, no settling."""
    exchange = search_trade()

    assert probes(exchange) == after(exchange, (0.1, LOST), (0.2, LOST))


def test_an_unanswered_probe_clears_the_line_and_then_settles() -> None:
    """Row 10: what cleared the line was the first answer over the new link."""
    exchange = search_trade()

    assert Clear() == after(exchange, (0.1, LOST), (5.1, TIMED_OUT))
    assert pauses(RULES.settle_s, in_doubt=True) == exchange.advance(CLEARED, 5.2)
    assert looks_at(exchange, "GET_ORDERS") == exchange.advance(WOKE, 75.2)


def test_a_link_that_is_lost_while_searching_is_probed_and_settles_again() -> None:
    """Row 10: the same frame may have been waiting in the lost link."""
    exchange = search_trade()
    after(exchange, (0.1, LOST), (3.0, PROBE_ANSWERED), (73.0, WOKE))

    assert probes(exchange) == exchange.advance(LOST, 74.0)
    assert pauses(RULES.settle_s, in_doubt=True) == exchange.advance(PROBE_ANSWERED, 75.0)


def test_a_malformed_reply_of_the_existing_server_is_searched_for() -> None:
    """Row 17b: the link is up and the server is done with it, the broker perhaps not."""
    exchange = search_trade()

    assert pauses(RULES.ambiguous_s, in_doubt=True) == after(
        exchange, (0.1, replied(Verdict.MALFORMED))
    )
    assert looks_at(exchange, "GET_ORDERS") == exchange.advance(WOKE, 66.0)


# ---- row 11: not sent -------------------------------------------------------------------


@every_column
def test_not_sent_pauses_and_sends(column: Column) -> None:
    """Row 11: nothing left, so nothing can have run."""
    exchange = column()

    assert pauses() == after(exchange, (0.5, NOT_SENT))
    assert Purpose.COMMAND == _purpose(exchange.advance(WOKE, 0.6))


@every_column
def test_not_sent_until_the_deadline_expires(column: Column) -> None:
    """Row 11: what never left needs no proof that it did not run."""
    exchange = column()
    after(exchange, (0.5, NOT_SENT))

    assert Outcome.EXPIRED == outcome(exchange.advance(WOKE, DEADLINE_S))


def test_resolve_not_sent_is_tried_again_and_keeps_the_doubt() -> None:
    """Row 11: an exposed trade is not made harmless by a question that did not leave."""
    exchange = ledger_trade()
    after(exchange, (0.1, LOST))

    assert pauses(in_doubt=True) == exchange.advance(NOT_SENT, 0.6)
    assert asks_what_happened(exchange) == exchange.advance(WOKE, 0.7)


def test_a_second_attempt_not_sent_keeps_the_doubt_of_the_first() -> None:
    """Row 11: the first frame may still arrive."""
    exchange = ledger_trade()
    after(exchange, (0.1, LOST), (1.0, resolved(Verdict.NOT_SEEN)))

    assert pauses(in_doubt=True) == exchange.advance(NOT_SENT, 1.5)
    assert asks_what_happened(exchange, attempt=exchange.attempts) == exchange.advance(WOKE, 1.6)


def test_a_probe_not_sent_is_tried_again() -> None:
    """Row 11."""
    exchange = search_trade()
    after(exchange, (0.1, LOST))

    assert pauses(in_doubt=True) == exchange.advance(NOT_SENT, 0.6)
    assert probes(exchange) == exchange.advance(WOKE, 0.7)


def test_a_search_not_sent_goes_on_where_it_was() -> None:
    """Row 11."""
    exchange = search_trade()
    after(exchange, (0.1, LOST), (3.0, PROBE_ANSWERED), (73.0, WOKE), (73.1, orders()))

    assert pauses(in_doubt=True) == exchange.advance(NOT_SENT, 73.6)
    assert looks_at(exchange, "GET_HISTORICAL_ORDERS") == exchange.advance(WOKE, 73.7)


# ---- rows 12 and 13: fenced -------------------------------------------------------------


def test_a_fenced_read_pauses_and_is_sent_again() -> None:
    """Row 12."""
    exchange = read()

    assert pauses() == after(exchange, (0.1, replied(Verdict.FENCED, reason="bad_frames")))
    assert sends(exchange, attempt=2) == exchange.advance(WOKE, 0.2)


@pytest.mark.parametrize("reason", ["stale_session", "stale_seq", "stale_attempt", "stale_epoch"])
def test_a_stale_frame_is_sent_again(reason: str) -> None:
    """Row 12: the frame did nothing, and a greeting or a higher attempt cures it."""
    exchange = ledger_trade()

    assert pauses() == after(exchange, (0.1, replied(Verdict.FENCED, reason=reason)))
    assert sends(exchange, attempt=2) == exchange.advance(WOKE, 0.2)


def test_a_stale_frame_too_late_to_be_sent_again_expires() -> None:
    """Row 12: it was not acted on, and no other frame is out."""
    exchange = ledger_trade()
    after(exchange, (0.1, replied(Verdict.FENCED, reason="stale_session")))

    assert Outcome.EXPIRED == outcome(exchange.advance(WOKE, LAST_SEND_S))


@pytest.mark.parametrize(
    "reason",
    [
        "id_conflict",
        "bad_frames",
        "bad_request",
        "safe_mode",
        "plain_clients",
        "a word of a later version",
        None,
    ],
)
def test_any_other_fence_before_exposure_is_rejected(reason: str | None) -> None:
    """Row 12: nothing ran, and sending the same again would not help."""
    fenced = replied(Verdict.FENCED, reason=reason)

    assert Outcome.REJECTED == outcome(after(ledger_trade(), (0.1, fenced)))


@pytest.mark.parametrize(
    "reason", ["stale_session", "stale_seq", "stale_epoch", "stale_attempt", "safe_mode", None]
)
def test_a_fence_after_exposure_asks_what_happened(reason: str | None) -> None:
    """Row 13: it speaks of this frame, not of the one before."""
    exchange = ledger_trade()
    after(exchange, (0.1, LOST), (1.0, resolved(Verdict.NOT_SEEN)))

    assert pauses(in_doubt=True) == exchange.advance(replied(Verdict.FENCED, reason=reason), 1.1)
    assert asks_what_happened(exchange, attempt=2) == exchange.advance(WOKE, 1.2)


def test_a_fenced_resolve_is_asked_again() -> None:
    """Row 13."""
    exchange = ledger_trade()
    fenced = replied(Verdict.FENCED, reason="stale_session", purpose=Purpose.RESOLVE)
    after(exchange, (0.1, LOST), (0.2, fenced))

    assert asks_what_happened(exchange) == exchange.advance(WOKE, 0.3)


def test_an_id_conflict_is_final_even_after_exposure() -> None:
    """Row 13: the ledger's entry is another wish's, so this one never ran and never will."""
    exchange = ledger_trade()
    conflict = replied(Verdict.FENCED, reason="id_conflict", purpose=Purpose.RESOLVE)

    assert Outcome.REJECTED == outcome(after(exchange, (0.1, LOST), (0.2, conflict)))


# ---- rows 14 to 17: what RESOLVE says ---------------------------------------------------


def test_not_seen_in_time_sends_the_same_id_again() -> None:
    """Row 14: the ledger keeps it from running twice."""
    exchange = ledger_trade()
    after(exchange, (0.1, LOST))

    assert sends(exchange, attempt=2) == exchange.advance(
        resolved(Verdict.NOT_SEEN), BEFORE_LAST_SEND_S
    )


def test_not_seen_too_late_waits_past_the_deadline_and_asks_again() -> None:
    """Row 15: an earlier frame may still arrive, until it can be sealed."""
    exchange = ledger_trade()
    after(exchange, (0.1, LOST))
    pause = pauses(0.125 + PAST_DEADLINE_S, in_doubt=True)

    assert pause == exchange.advance(resolved(Verdict.NOT_SEEN), DEADLINE_S - 0.125)
    assert asks_what_happened(exchange) == exchange.advance(WOKE, DEADLINE_S + 0.05)


def test_not_seen_exactly_at_the_last_moment_is_too_late() -> None:
    """Row 15, at the limit."""
    exchange = ledger_trade()
    after(exchange, (0.1, LOST))
    step = exchange.advance(resolved(Verdict.NOT_SEEN), LAST_SEND_S)

    assert pauses(RULES.send_margin_s + PAST_DEADLINE_S, in_doubt=True) == step


def test_not_seen_after_the_deadline_is_still_no_result() -> None:
    """Row 15: the terminal's clock may be behind."""
    exchange = ledger_trade()
    after(exchange, (0.1, LOST))
    pause = pauses(PAST_DEADLINE_S, in_doubt=True)

    assert pause == exchange.advance(resolved(Verdict.NOT_SEEN), DEADLINE_S + 9.0)


def test_sealed_expires() -> None:
    """Row 16: it never ran and never will."""
    conclusion = ending(after(ledger_trade(), (0.1, LOST), (31.0, resolved(Verdict.SEALED))))

    assert (Outcome.EXPIRED, True) == (conclusion.outcome, conclusion.resolved)


def test_sealed_as_the_reply_to_the_command_expires() -> None:
    """Row 16: the frame arrived after its deadline."""
    assert Outcome.EXPIRED == outcome(after(ledger_trade(), (0.1, replied(Verdict.SEALED))))


def test_in_doubt_as_the_reply_is_asked_about_once_more() -> None:
    """Row 17: the ledger looks among the orders when it is asked."""
    exchange = ledger_trade()

    assert asks_what_happened(exchange) == after(exchange, (0.1, AMBIGUOUS))
    assert Outcome.SUCCEEDED == outcome(exchange.advance(resolved(Verdict.DONE), 0.2))


def test_in_doubt_from_resolve_is_unknown_with_its_code() -> None:
    """Row 17: the ledger cannot tell, so nobody can."""
    still = resolved(Verdict.IN_DOUBT, code=128)
    conclusion = ending(after(ledger_trade(), (0.1, AMBIGUOUS), (0.2, still)))

    assert (Outcome.UNKNOWN, still.reply.cause) == (conclusion.outcome, conclusion.cause)


def test_in_doubt_keeps_the_doubt_when_nobody_can_be_asked() -> None:
    """Row 17: the trade is exposed from then on."""
    exchange = ledger_trade()
    after(exchange, (0.1, AMBIGUOUS))

    assert pauses(in_doubt=True) == exchange.advance(NOT_SENT, 0.6)
    assert asks_what_happened(exchange) == exchange.advance(WOKE, 0.7)


def test_in_doubt_at_the_existing_server_waits_and_searches() -> None:
    """Row 17: the broker may take a minute."""
    exchange = search_trade()

    assert pauses(RULES.ambiguous_s, in_doubt=True) == after(exchange, (0.1, AMBIGUOUS))
    assert looks_at(exchange, "GET_ORDERS") == exchange.advance(WOKE, 65.1)


def test_an_error_that_admits_an_order_is_searched_for_at_once() -> None:
    """Row 17: "Order was created, but failed to set sl/tp." - it is there already."""
    exchange = search_trade()
    created = replied(Verdict.IN_DOUBT, code=130, created=True)

    assert looks_at(exchange, "GET_ORDERS") == after(exchange, (0.1, created))


@pytest.mark.parametrize("verdict", [Verdict.SEALED, Verdict.NOT_SEEN, Verdict.FENCED])
def test_a_word_that_the_existing_server_does_not_know_is_doubt(verdict: Verdict) -> None:
    """Row 17: what makes no sense proves nothing."""
    step = after(search_trade(), (0.1, replied(verdict)))

    assert pauses(RULES.ambiguous_s, in_doubt=True) == step


@pytest.mark.parametrize(
    ("verdict", "expected"),
    [(Verdict.DONE, Outcome.SUCCEEDED), (Verdict.REJECTED, Outcome.REJECTED)],
)
def test_resolve_tells_the_stored_reply(verdict: Verdict, expected: Outcome) -> None:
    """Rows 3 and 4, found by asking."""
    conclusion = ending(after(ledger_trade(), (5.0, TIMED_OUT), (5.1, resolved(verdict))))

    assert (expected, True) == (conclusion.outcome, conclusion.resolved)


def test_a_replayed_reply_to_the_command_is_called_resolved() -> None:
    """Row 3: it was read from the ledger; nothing ran now."""
    assert ending(after(ledger_trade(), (0.1, replied(Verdict.DONE, replayed=True)))).resolved


def test_resolve_tells_a_stored_requote_which_is_not_retried() -> None:
    """Row 6: that its reply was late is no reason to act against the rules."""
    requote = resolved(Verdict.NOT_NOW, code=138)

    assert Outcome.REJECTED == outcome(after(ledger_trade(), (5.0, TIMED_OUT), (6.0, requote)))


def test_resolve_tells_a_stored_busy_which_proves_no_more_than_not_seen() -> None:
    """Rows 14 and 15: a later attempt than the one that was busy may be on its way."""
    busy = resolved(Verdict.NOT_NOW, code=146)
    in_time, too_late = ledger_trade(), ledger_trade()
    pause = pauses(RULES.send_margin_s + PAST_DEADLINE_S, in_doubt=True)

    assert sends(in_time, attempt=2) == after(in_time, (5.0, TIMED_OUT), (6.0, busy))
    assert pause == after(too_late, (5.0, TIMED_OUT), (LAST_SEND_S, busy))


# ---- rows 18 and 19: the search ---------------------------------------------------------


def _searching() -> SearchTrade:
    exchange = search_trade()
    after(exchange, (0.1, LOST), (3.0, PROBE_ANSWERED), (73.0, WOKE))
    return exchange


def test_an_order_with_the_token_succeeds() -> None:
    """Row 18."""
    exchange = _searching()
    order = {"ticket": 7, "comment": _token(exchange) + "hello"}
    conclusion = ending(exchange.advance(orders(order), 73.1))

    assert (Outcome.SUCCEEDED, order) == (conclusion.outcome, conclusion.response)
    assert (1, True) == (conclusion.attempts, conclusion.resolved)


def test_a_search_reads_open_orders_then_history_then_open_orders() -> None:
    """Row 18: an order may move to the history between two reads."""
    exchange = _searching()

    assert looks_at(exchange, "GET_HISTORICAL_ORDERS") == exchange.advance(orders(), 73.1)
    assert looks_at(exchange, "GET_ORDERS") == exchange.advance(orders(), 73.2)


def test_an_order_found_after_doubt_keeps_the_doubt_as_a_warning() -> None:
    """Row 18: "failed to set sl/tp" must reach the client, who has no stop."""
    exchange = search_trade()
    after(exchange, (0.1, replied(Verdict.IN_DOUBT, code=130, created=True)))
    found = orders({"ticket": 7, "comment": _token(exchange)})

    assert "no" == ending(exchange.advance(found, 0.2)).warning


def test_not_found_is_searched_again_and_then_unknown() -> None:
    """Row 19: not found proves nothing."""
    exchange = _searching()
    for at_s in (73.1, 73.2):
        exchange.advance(orders(), at_s)

    assert pauses(RULES.search_gap_s, in_doubt=True) == exchange.advance(orders(), 73.3)
    assert looks_at(exchange, "GET_ORDERS") == exchange.advance(WOKE, 78.3)

    for at_s in (78.4, 78.5):
        exchange.advance(orders(), at_s)

    assert Outcome.UNKNOWN == outcome(exchange.advance(orders(), 78.6))


def test_not_found_names_the_doubt_it_began_with() -> None:
    """Row 19: the client learns the broker's code."""
    exchange = SearchTrade(trade(), replace(RULES, searches=1))
    after(exchange, (0.1, AMBIGUOUS), (65.1, WOKE), (65.2, orders()), (65.3, orders()))
    conclusion = ending(exchange.advance(orders(), 65.4))

    assert (Outcome.UNKNOWN, AMBIGUOUS.reply.cause) == (conclusion.outcome, conclusion.cause)


@pytest.mark.parametrize("verdict", [Verdict.MALFORMED, Verdict.REJECTED])
def test_a_list_that_could_not_be_read_is_asked_for_again(verdict: Verdict) -> None:
    """Row 19: a list that was not seen does not count as searched."""
    exchange = _searching()
    failed = replied(verdict, purpose=Purpose.SEARCH)

    assert pauses(in_doubt=True) == exchange.advance(failed, 73.1)
    assert looks_at(exchange, "GET_ORDERS") == exchange.advance(WOKE, 73.2)


def test_a_silent_search_clears_the_line_and_goes_on() -> None:
    """Row 19."""
    exchange = _searching()

    assert Clear() == exchange.advance(TIMED_OUT, 78.0)
    assert looks_at(exchange, "GET_ORDERS") == exchange.advance(CLEARED, 78.1)


# ---- row 20: the budget -----------------------------------------------------------------


def test_a_terminal_that_never_tells_is_unknown_when_the_budget_is_spent() -> None:
    """Row 20: counted from the first doubt, at the limit."""
    early, late = ledger_trade(), ledger_trade()
    for exchange in (early, late):
        after(exchange, (0.1, LOST), (0.6, NOT_SENT))

    assert asks_what_happened(early) == early.advance(WOKE, 0.1 + RULES.give_up_s - 0.001)
    assert Outcome.UNKNOWN == outcome(late.advance(WOKE, 0.1 + RULES.give_up_s))


def test_an_existing_server_that_never_answers_is_unknown_when_the_budget_is_spent() -> None:
    """Row 20."""
    exchange = search_trade()
    after(exchange, (0.1, LOST), (0.6, NOT_SENT))

    assert Outcome.UNKNOWN == outcome(exchange.advance(WOKE, 0.1 + RULES.give_up_s))


def test_a_search_that_cannot_end_is_unknown_when_the_budget_is_spent() -> None:
    """Row 20."""
    exchange = _searching()
    exchange.advance(replied(Verdict.MALFORMED, purpose=Purpose.SEARCH), 74.0)

    assert Outcome.UNKNOWN == outcome(exchange.advance(WOKE, 0.1 + RULES.give_up_s))


def test_a_final_reply_after_the_budget_still_counts() -> None:
    """Row 20: proof is proof; only new questions end."""
    exchange = ledger_trade()
    step = after(exchange, (5.0, TIMED_OUT), (10.0, TIMED_OUT), (2000.0, DONE))

    assert Outcome.SUCCEEDED == outcome(step)


# ---- row 21: late replies ---------------------------------------------------------------


@pytest.mark.parametrize(
    ("reply", "expected"), [(DONE, Outcome.SUCCEEDED), (NO_MONEY, Outcome.REJECTED)]
)
@pytest.mark.parametrize("silence_s", [(5.0,), (5.0, 10.0), (5.0, 10.0, 70.0)])
def test_a_late_reply_is_the_proof_of_a_trade_with_a_ledger(
    silence_s: tuple[float, ...], reply: Started, expected: Outcome
) -> None:
    """Row 21, whatever the exchange was waiting for."""
    silence = [(at_s, TIMED_OUT) for at_s in silence_s]

    assert expected == outcome(after(ledger_trade(), *silence, (71.0, reply)))


@pytest.mark.parametrize(
    ("reply", "expected"), [(DONE, Outcome.SUCCEEDED), (NO_MONEY, Outcome.REJECTED)]
)
def test_a_late_reply_is_the_proof_at_the_existing_server(
    reply: Started, expected: Outcome
) -> None:
    """Row 21, in every phase of finding out."""
    listening = [(5.0, TIMED_OUT)]
    probing = [(0.1, LOST)]
    settling = [*probing, (3.0, PROBE_ANSWERED)]
    searching = [*settling, (73.0, WOKE)]
    for phase in (listening, probing, settling, searching):
        conclusion = ending(after(search_trade(), *phase, (74.0, reply)))

        assert (expected, True) == (conclusion.outcome, conclusion.resolved)


def test_a_late_not_now_at_the_existing_server_makes_it_sendable_again() -> None:
    """Row 21: it has never run; the one frame is consumed."""
    exchange = search_trade()

    assert pauses() == after(exchange, (5.0, TIMED_OUT), (6.0, CONTEXT_BUSY))
    assert sends(exchange, attempt=2) == exchange.advance(WOKE, 6.1)


def test_a_late_answer_to_a_probe_means_nothing_while_settling() -> None:
    """Row 21 is about the command's own frames only."""
    exchange = search_trade()
    after(exchange, (0.1, LOST), (3.0, PROBE_ANSWERED))
    step = exchange.advance(PROBE_ANSWERED, 4.0)

    assert pauses(in_doubt=True) == step
    assert looks_at(exchange, "GET_ORDERS") == exchange.advance(WOKE, 74.0)


# ---- taken up again after a restart -----------------------------------------------------


def test_a_trade_of_an_earlier_gateway_is_asked_about_first() -> None:
    """After a crash nobody knows whether the frame left."""
    exchange = ledger_trade()

    assert asks_what_happened(exchange, attempt=3) == exchange.resume(3, 0.0)


def test_a_trade_of_an_earlier_gateway_at_the_existing_server_is_looked_for() -> None:
    """It is never sent again by the next gateway."""
    exchange = search_trade()

    assert probes(exchange) == exchange.resume(1, 0.0)
    assert pauses(RULES.settle_s, in_doubt=True) == exchange.advance(PROBE_ANSWERED, 0.1)


@pytest.mark.parametrize("kind", [LedgerTrade, SearchTrade])
def test_a_resumed_trade_past_its_deadline_never_expires_unasked(
    kind: type[LedgerTrade] | type[SearchTrade],
) -> None:
    """It may have run before; only the terminal can say that it did not."""
    exchange = kind(trade(deadline_s=-100.0), RULES)
    exchange.resume(1, 0.0)
    exchange.advance(NOT_SENT, 0.5)

    assert Purpose.COMMAND != _purpose(exchange.advance(WOKE, 0.6))


# ---- pauses -----------------------------------------------------------------------------


def test_pauses_double_up_to_the_longest() -> None:
    """With no jitter drawn, half of the full pause."""
    rules = Rules(first_pause_s=0.1, longest_pause_s=1.0, jitter=lambda: 0.0)

    assert [0.05, 0.1, 0.2, 0.4, 0.5, 0.5] == [backoff_s(number, rules) for number in range(6)]


def test_a_pause_is_bounded_for_ever() -> None:
    """However often, the pause stays finite and below the longest."""
    rules = Rules(longest_pause_s=1.0, jitter=lambda: 0.999)

    assert 0.9 < backoff_s(10_000, rules) < 1.0


def test_jitter_spreads_over_the_upper_half() -> None:
    """Two gateways do not knock at the same moment."""
    shortest = backoff_s(0, Rules(first_pause_s=1.0, jitter=lambda: 0.0))
    longest = backoff_s(0, Rules(first_pause_s=1.0, jitter=lambda: 1.0))

    assert (0.5, 1.0) == (shortest, longest)


def _purpose(step: object) -> Purpose | None:
    request = getattr(step, "request", None)
    return getattr(request, "purpose", None)


def _token(exchange: SearchTrade) -> str:
    return token_of(exchange.command.key)
