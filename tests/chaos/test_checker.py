"""The checker finds what it is there for: hand-made histories, one violation each."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import pytest

from gateway.core.evidence import token_of
from tests.chaos.cases import SECOND_NS, cases_of, command_id, timeline
from tests.chaos.checker import CASE_RULES, WHOLE_RULES, check
from tests.chaos.history import (
    Asked,
    Body,
    Execution,
    Exit,
    Fault,
    Frame,
    History,
    Journal,
    LedgerLine,
    Order,
    Stored,
    Told,
)
from tests.chaos.report import implausible, take_overs
from tests.chaos.schedule import schedule

KEY = "alpha/c1"
START_NS = 1_800_000_000 * SECOND_NS
DEADLINE_NS = START_NS + 5 * SECOND_NS


def _result(outcome: str = "succeeded", ticket: int = 1001, **fields: Any) -> Body:
    return {
        "id": "c1",
        "client": "alpha",
        "outcome": outcome,
        "response": {"ticket": ticket} if outcome == "succeeded" else None,
        "finished_at": "2027-01-15T08:00:01Z",
        **fields,
    }


def _order(ticket: int, key: str = KEY) -> Order:
    return Order(ticket, token_of(command_id(key)), is_open=True)


def _sound() -> History:
    """A command that was asked, sent, executed, journaled and told, all as promised."""
    at_ns = START_NS + SECOND_NS
    params = {"symbol": "EURUSD", "lots": 0.1}
    return History(
        asked=[Asked(START_NS, KEY, 1, "trade", "first", "DO_ORDER_SEND", params, DEADLINE_NS)],
        told=[Told(at_ns + 9, KEY, 1, "reply", "finished", _result())],
        frames=[Frame(at_ns, "gateway-a", KEY, "DO_ORDER_SEND", 1, 1)],
        executions=[Execution(at_ns + 2, KEY, "order_send", 1001, at_ns + 1)],
        orders=[_order(1001)],
        ledger=[
            LedgerLine("ledger"),
            LedgerLine("epoch", epoch=1),
            LedgerLine("started", KEY, 1),
            LedgerLine("done", KEY, 1),
        ],
        journal=Journal(sent={KEY}, results={KEY: _result()}),
        explained={KEY: _explanation("recorded as sent to a terminal", "done, ticket 1001, ...")},
    )


def _explanation(*said: str, outcome: str = "succeeded") -> Body:
    return {"outcome": outcome, "timeline": [{"what": what} for what in said]}


def _also_told(history: History, told: Body, number: int | None = None) -> None:
    via = "command" if number is None else "reply"
    history.told.append(Told(DEADLINE_NS, KEY, number, via, "finished", told))


def _ends_as(history: History, outcome: str) -> None:
    """Let the one result be another."""
    history.told = [Told(START_NS, KEY, 1, "reply", "finished", _result(outcome))]
    history.journal.results = {} if outcome == "denied" else {KEY: _result(outcome)}


def _nobody_knows(history: History) -> None:
    history.told.clear()
    history.journal = Journal(sent={KEY})


# ---- one way to break each promise --------------------------------------------------------------


def _two_orders(history: History) -> None:
    history.orders.append(_order(1002))


def _two_executions(history: History) -> None:
    history.executions.append(Execution(DEADLINE_NS, KEY, "order_modify", 1001))


def _lost_job(history: History) -> None:
    history.told.clear()
    history.executions.clear()
    history.frames.clear()
    history.orders.clear()
    history.ledger.clear()
    history.journal = Journal()
    history.stored = [Stored(START_NS, KEY, 1)]


def _two_results(history: History) -> None:
    _also_told(history, _result(ticket=1001, attempts=2))


def _two_unknowns(history: History) -> None:
    _also_told(history, _result("unknown", attempts=1))
    _also_told(history, _result("unknown", attempts=2))


def _told_before_it_was_kept(history: History) -> None:
    history.journal = Journal(sent={KEY})


def _kept_as_something_else(history: History) -> None:
    history.journal.results[KEY] = _result("unknown")


def _sent_unjournaled(history: History) -> None:
    history.journal.sent.clear()


def _other_body_taken(history: History) -> None:
    ask = Asked(DEADLINE_NS - 1, KEY, 2, "raw", "other", "DO_ORDER_SEND", {"lots": 1}, DEADLINE_NS)
    history.asked.append(ask)
    _also_told(history, _result(), number=2)


def _unsent_arrived(history: History) -> None:
    history.unsent = {(KEY, 1)}


def _ticket_of_nobody(history: History) -> None:
    history.orders.clear()
    history.executions.clear()


def _ticket_of_another(history: History) -> None:
    history.orders = [Order(1001, "", is_open=True)]
    history.executions.clear()


def _closed_and_still_open(history: History) -> None:
    ask = history.asked[0]
    params = {"ticket": 1001}
    history.asked = [
        Asked(START_NS, KEY, 1, ask.via, "first", "DO_ORDER_CLOSE", params, DEADLINE_NS)
    ]


def _late(history: History, **fields: Any) -> None:
    """Let the terminal take it in too late, and a frame leave too late."""
    at_ns = DEADLINE_NS + SECOND_NS
    history.executions = [Execution(at_ns + 1, KEY, "order_send", 1001, at_ns, **fields)]


def _slow_start(history: History) -> None:
    at_ns = DEADLINE_NS + SECOND_NS
    history.executions = [Execution(at_ns, KEY, "order_send", 1001, DEADLINE_NS - 1)]


def _late_frame(history: History) -> None:
    history.frames = [Frame(DEADLINE_NS + SECOND_NS, "gateway-a", KEY, "DO_ORDER_SEND", 1, 1)]


def _old_epoch(history: History) -> None:
    history.ledger.insert(2, LedgerLine("epoch", epoch=2))


def _sent_while_halted(history: History) -> None:
    history.faults = [Fault("halt", "bus", START_NS, DEADLINE_NS)]


def _strange_order(history: History) -> None:
    history.orders.append(_order(1002, "alpha/nobody"))


def _crash(history: History) -> None:
    history.exits.append(Exit(DEADLINE_NS, "gateway-a", 1, is_expected=False))


def _explained_otherwise(history: History) -> None:
    history.explained[KEY]["outcome"] = "rejected"


def _sent_without_a_record(history: History) -> None:
    history.explained[KEY] = _explanation("done, ticket 1001, ...")


def _ticket_without_a_record(history: History) -> None:
    history.explained[KEY] = _explanation("recorded as sent to a terminal")


def _denied_without_a_record(history: History) -> None:
    _also_told(history, _result("denied", error={"message": "too much; policy.x = 1"}), number=1)


BREACHES: list[tuple[str, Callable[[History], None]]] = [
    ("one_order", _two_orders),
    ("one_execution", _two_executions),
    ("every_accepted_has_a_result", _nobody_knows),
    ("every_stored_job_ends", _lost_job),
    ("one_result", _two_results),
    ("one_result", _two_unknowns),
    ("told_is_kept", _told_before_it_was_kept),
    ("told_is_kept", _kept_as_something_else),
    ("sent_is_journaled", _sent_unjournaled),
    ("other_body_is_denied", _other_body_taken),
    ("unsent_never_arrives", _unsent_arrived),
    ("success_is_true", _ticket_of_nobody),
    ("success_is_true", _ticket_of_another),
    ("success_is_true", _closed_and_still_open),
    ("no_is_true", lambda history: _ends_as(history, "rejected")),
    ("no_is_true", lambda history: _ends_as(history, "expired")),
    ("no_is_true", lambda history: _ends_as(history, "denied")),
    ("unknown_is_needed", lambda history: _ends_as(history, "unknown")),
    ("everything_is_explained", _explained_otherwise),
    ("everything_is_explained", _sent_without_a_record),
    ("everything_is_explained", _ticket_without_a_record),
    ("everything_is_explained", _denied_without_a_record),
    ("nothing_starts_late", _late),
    ("nothing_starts_late", _slow_start),
    ("nothing_is_sent_late", _late_frame),
    ("only_the_newest_epoch_acts", _old_epoch),
    ("nothing_begins_while_halted", _sent_while_halted),
    ("no_strange_orders", _strange_order),
    ("everything_fits_its_schema", lambda history: history.misfits.append("it is no tick")),
    ("nobody_crashes", _crash),
]


def _rules_broken(history: History) -> set[str]:
    return {violation.rule for violation in check(history)}


def test_sound_history_has_no_violation() -> None:
    """What was promised and kept is not reported."""
    assert [] == check(_sound())


@pytest.mark.parametrize(("rule", "breach"), BREACHES)
def test_breach_is_found(rule: str, breach: Callable[[History], None]) -> None:
    """Each promise that is broken is reported under its name."""
    history = _sound()
    breach(history)

    assert rule in _rules_broken(history)


def test_every_rule_is_tried() -> None:
    """No rule stands here that has never found anything."""
    assert {*CASE_RULES, *WHOLE_RULES} == {rule for rule, _ in BREACHES}


# ---- what is no violation -----------------------------------------------------------------------


def test_unknown_may_be_replaced_once() -> None:
    """A proof after `unknown` is no second result."""
    history = _sound()
    _also_told(history, _result("unknown"))

    assert set() == _rules_broken(history)


def test_command_that_never_arrived_needs_no_result() -> None:
    """A request that was lost on its way was not accepted."""
    history = History(asked=_sound().asked, journal=Journal())

    assert ["never arrived"] == [case.outcome for case in cases_of(history).values()]
    assert set() == _rules_broken(history)


def test_record_that_a_killed_bus_lost_is_excused() -> None:
    """A denial is not waited for until it is stored."""
    history = _sound()
    _denied_without_a_record(history)
    history.faults = [Fault("kill", "nats", DEADLINE_NS, DEADLINE_NS)]

    assert set() == _rules_broken(history)


def test_id_belongs_to_whichever_wish_came_first() -> None:
    """A wish that overtook another under the same id is answered from its own result."""
    history = _sound()
    for number, at_ns in ((2, START_NS + 1), (3, DEADLINE_NS - 1)):
        ask = Asked(at_ns, KEY, number, "raw", "other", "DO_ORDER_SEND", {"lots": 1}, DEADLINE_NS)
        history.asked.append(ask)
        _also_told(history, _result(), number=number)

    assert set() == _rules_broken(history)


def test_dead_letter_ends_a_job() -> None:
    """A job that was given up with a reason is not lost."""
    history = _sound()
    _lost_job(history)
    history.journal.dead_letters[KEY] = "denied"

    assert set() == _rules_broken(history)


def test_frozen_terminal_is_excused() -> None:
    """What was taken in in time and stood still at the terminal may end late."""
    history = _sound()
    _slow_start(history)
    history.faults = [Fault("freeze", "terminal", DEADLINE_NS, DEADLINE_NS + SECOND_NS)]

    assert set() == _rules_broken(history)


def test_frozen_gateway_is_excused() -> None:
    """A frame whose gateway stood still between its look at the clock and the send is excused."""
    history = _sound()
    _late_frame(history)
    history.faults = [Fault("freeze", "gateway-a", START_NS, DEADLINE_NS + SECOND_NS)]

    assert set() == _rules_broken(history)


def test_repeat_with_later_deadline_moves_it() -> None:
    """The same command asked again with more time may run in that time."""
    history = _sound()
    _late(history)
    again = history.asked[0]
    later_ns = DEADLINE_NS + 9 * SECOND_NS
    history.asked.append(
        Asked(START_NS + 1, KEY, 2, "raw", "same", again.action, again.params, later_ns)
    )

    assert set() == _rules_broken(history)


def test_deposed_gateway_has_not_crashed() -> None:
    """Exit code 3 is what a gateway says that was turned away."""
    history = _sound()
    history.exits = [
        Exit(START_NS, "gateway-a", 3, is_expected=False),
        Exit(START_NS, "gateway-b", -9, is_expected=True),
    ]

    assert set() == _rules_broken(history)


# ---- around the checker -------------------------------------------------------------------------


def test_timeline_tells_everything_in_order() -> None:
    """A violation comes with what was seen of its command."""
    lines = timeline(KEY, _sound())

    assert "asked #1" in lines[0]
    assert "gateway-a sent" in lines[1]
    assert "broker: order_send ticket 1001" in lines[2]
    assert "told by reply #1: succeeded" in lines[3]


def test_run_without_commands_is_implausible() -> None:
    """A run in which too little happened shows nothing."""
    planned = schedule("1", 60.0)

    reasons = implausible(History(), planned, rate=30.0, seconds=60.0)

    assert "only 0 commands in 60 s" in reasons
    assert any("was planned and never happened" in reason for reason in reasons)


def test_schedule_is_the_seed_s() -> None:
    """The same seed plans the same, another one something else."""
    assert schedule("7", 60.0) == schedule("7", 60.0)
    assert schedule("7", 60.0) != schedule("8", 60.0)


def test_take_over_is_measured_from_the_log(tmp_path: Any) -> None:
    """It lasts from the kill to the next line that says that a gateway serves."""
    log = tmp_path / "gateway-b.log"
    log.write_text("2027-01-15T08:00:02.500000Z INFO    gateway_serving terminal=chaos\n")
    kill_ns = START_NS + SECOND_NS
    history = History(faults=[Fault("kill", "gateway-a", kill_ns, kill_ns, "active")])

    assert START_NS // SECOND_NS == 1_800_000_000
    assert [1.5] == [taken.took_s for taken in take_overs(history, [log])]


def test_checker_is_fast() -> None:
    """A long run is checked in seconds: rules look at one command at a time."""
    history = _sound()
    for number in range(2000):
        ask = history.asked[0]
        key = f"alpha/x{number}"
        history.asked.append(
            Asked(ask.at_ns, key, number, "raw", "first", ask.action, ask.params, DEADLINE_NS)
        )
        history.orders.append(_order(2000 + number, key))
    started_s = time.perf_counter()
    check(history)

    assert time.perf_counter() - started_s < 5.0
