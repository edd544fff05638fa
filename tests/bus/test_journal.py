"""What is remembered of trades: `gateway/journal.py`."""

from itertools import product

import pytest

from gateway.core.messages import Command, CommandId, Conclusion, Outcome, Result
from gateway.journal import Entry, MemoryJournal, may_replace
from tests.core.support import trade


def result(command: Command, outcome: Outcome = Outcome.SUCCEEDED) -> Result:
    """Return how a trade ended."""
    conclusion = Conclusion(outcome)
    return Result(command.key, "demo", command.action, conclusion, 0.0, 1.0, 0.0, 0.0)


def commands(count: int) -> list[Command]:
    """Return so many different trades."""
    return [trade(id_=str(number)) for number in range(count)]


def test_what_was_never_sent_is_not_known() -> None:
    """None, and nothing is made up."""
    assert None is MemoryJournal(10).find(CommandId("me", "1"))


async def test_a_trade_is_known_from_before_its_first_frame() -> None:
    """Without a result as long as it is open."""
    journal, command = MemoryJournal(10), trade()
    await journal.sent(command)

    assert Entry(command, None) == journal.find(command.key)


async def test_a_finished_trade_is_known_with_its_result() -> None:
    """That is what a repeated id is answered with."""
    journal, command = MemoryJournal(10), trade()
    await journal.sent(command)
    await journal.finished(command, result(command))

    assert Entry(command, result(command)) == journal.find(command.key)


async def test_a_trade_that_ended_unsent_is_remembered_as_well() -> None:
    """It expired in its lane; the same id again is the same command."""
    journal, command = MemoryJournal(10), trade()
    await journal.finished(command, result(command, Outcome.EXPIRED))

    assert Entry(command, result(command, Outcome.EXPIRED)) == journal.find(command.key)


async def test_unknown_is_replaced_by_what_was_proved() -> None:
    """The last word counts."""
    journal, command = MemoryJournal(10), trade()
    await journal.finished(command, result(command, Outcome.UNKNOWN))
    await journal.finished(command, result(command, Outcome.SUCCEEDED))
    entry = journal.find(command.key)

    assert entry is not None
    assert entry.result is not None
    assert Outcome.SUCCEEDED is entry.result.outcome


async def test_the_oldest_finished_trades_are_forgotten_first() -> None:
    """The memory is bounded."""
    journal = MemoryJournal(2)
    for command in commands(3):
        await journal.finished(command, result(command))

    assert [False, True, True] == [journal.find(one.key) is not None for one in commands(3)]


async def test_an_open_trade_is_never_forgotten() -> None:
    """However many finish after it: it may be running."""
    journal, still_open = MemoryJournal(1), trade(id_="open")
    await journal.sent(still_open)
    for command in commands(100):
        await journal.sent(command)
        await journal.finished(command, result(command))

    assert Entry(still_open, None) == journal.find(still_open.key)


async def test_the_same_id_of_two_clients_is_two_trades() -> None:
    """A client cannot ask for, or take, another's id."""
    journal, anns, bobs = MemoryJournal(10), trade(client="ann"), trade(client="bob")
    await journal.sent(anns)

    assert None is journal.find(bobs.key)


@pytest.mark.parametrize(("old", "new"), [*product(Outcome, Outcome)])
def test_only_unknown_may_be_replaced_and_only_by_a_proof(old: Outcome, new: Outcome) -> None:
    """Every other pair of outcomes: the first one stands."""
    command = trade()
    is_proof_of_unknown = old is Outcome.UNKNOWN is not new

    assert is_proof_of_unknown is may_replace(result(command, old), result(command, new))


@pytest.mark.parametrize("outcome", Outcome)
def test_the_first_result_is_always_taken(outcome: Outcome) -> None:
    """There is nothing to replace."""
    assert may_replace(None, result(trade(), outcome))
