"""The exhaustive search itself, in a second or two; `.ci/run` goes further. See `exhaustive.py`."""

import pytest

from tests.core.exhaustive import Search
from tests.core.exhaustive_model import Bounds, Terminal
from tests.core.exhaustive_terminals import ExistingServer, Ledger


@pytest.mark.parametrize(
    ("terminal", "bounds"),
    [
        (Ledger, Bounds(frames=2, gateways=1, crashes=0, moments=3, deliveries=1)),
        (ExistingServer, Bounds(frames=1, gateways=1, crashes=0, moments=3, deliveries=1)),
    ],
)
def test_every_schedule_of_one_trade_keeps_the_promises(
    terminal: type[Terminal], bounds: Bounds
) -> None:
    """Within narrow bounds; and every outcome is on some way, or that would be worth nothing."""
    search = Search(bounds, terminal=terminal)

    assert None is search.run()
    assert {"", "succeeded", "rejected", "expired", "unknown"} == search.outcomes
    assert 1_000 < search.states


def test_a_broken_promise_is_told_with_the_way_to_it() -> None:
    """Whoever reads it can follow it step by step."""
    bounds = Bounds(frames=1, gateways=1, crashes=0, moments=3)
    found = Search(bounds, frozenset({"deadline"})).run()

    assert found is not None
    assert found.startswith("I2 it started after its deadline: g0 is given the job > ")
    assert found.endswith(" > broker opens")


def test_sequence_numbers_are_a_second_line_of_defence() -> None:
    """With a durable ledger one trade keeps the promises without them."""
    bounds = Bounds(frames=2, gateways=1, crashes=0, deaths=0, moments=3, deliveries=1)

    assert None is Search(bounds, frozenset({"sequence"})).run()
