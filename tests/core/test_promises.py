"""The contract's promises, in worlds where everything goes wrong: see `world.py`, `promises.py`.

The same checker is shown gateways and terminals that lack one protection each, and must object.
What is not modelled: real sockets and processes (tests/stack, tests/faults), a journal that
survives the process (there is none yet), several trades of one schedule in the exhaustive
search, and clocks that drift.
"""

import os
import re
from collections.abc import Callable, Iterator

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, rule, run_state_machine_as_test

from gateway.core.messages import Dialect, Outcome
from tests.core import mutations
from tests.core.exhaustive import Bounds, Search
from tests.core.promises import Violation
from tests.core.walk import FAULTS, first_violation, walk
from tests.core.world import World, virtual_time

BRIDGE, EXISTING_SERVER = Dialect.BRIDGE, Dialect.METATRADER4_SERVER
both_dialects = pytest.mark.parametrize("dialect", list(Dialect))

pytestmark = pytest.mark.timeout(300)  # seconds of work, but on a machine that others share

CHUNKS = 4
WALKS_PER_CHUNK = int(os.environ.get("MT4GW_WALKS", "80")) // CHUNKS


@pytest.fixture(autouse=True)
def _virtual_time() -> Iterator[None]:
    with virtual_time():
        yield


# ---- the promises hold ------------------------------------------------------------------


@both_dialects
@pytest.mark.parametrize("chunk", range(CHUNKS))
def test_no_walk_breaks_a_promise(dialect: Dialect, chunk: int) -> None:
    """Seeded schedules; a failing one is the same every time."""
    seeds = range(chunk * WALKS_PER_CHUNK, (chunk + 1) * WALKS_PER_CHUNK)

    assert None is first_violation(seeds, dialect)


@both_dialects
def test_walks_reach_every_outcome(dialect: Dialect) -> None:
    """Promises about what never happens in the model would be worth nothing."""
    reached: set[tuple[Outcome, bool]] = set()
    for seed in range(40):
        for results in walk(seed, dialect).promises.results.values():
            reached |= {(one.outcome, one.conclusion.resolved) for one in results}

    wanted = {
        (Outcome.SUCCEEDED, False),
        (Outcome.SUCCEEDED, True),
        (Outcome.REJECTED, False),
        (Outcome.EXPIRED, False),
        (Outcome.UNKNOWN, True),
    }
    assert wanted <= reached


@pytest.mark.parametrize("faults", [(), ("lose_reply",), ("cut",), ("die",)], ids=str)
def test_one_kind_of_fault_is_never_unknown_with_a_ledger(faults: tuple[str, ...]) -> None:
    """Mere loss of replies, links or terminals leaves a ledger that knows."""
    for seed in range(25):
        world = walk(seed, BRIDGE, faults=faults, broker=("opens", "rejects"))
        told = [one for results in world.promises.results.values() for one in results]
        unknown = [one for one in told if one.outcome is Outcome.UNKNOWN]

        assert [] == unknown or world.terminal.doubted, f"seed {seed}: {unknown}"


class _Machine(RuleBasedStateMachine):
    """Hypothesis chooses the moves, and makes a failing schedule short."""

    dialect = BRIDGE

    @initialize()
    def begin(self) -> None:
        self.world = World(self.dialect)
        for move in ("connect 0", "take", "hear 0"):
            self._act(move)

    @rule(choice=st.integers(0, 30), pick=st.integers(0, 11), turns=st.none() | st.integers(0, 3))
    def happen(self, choice: int, pick: int, turns: int | None) -> None:
        moves = [move for move in self.world.moves() if not move.startswith("fault:")]
        self._act(moves[choice % len(moves)], turns, pick)

    @rule(choice=st.integers(0, 30), pick=st.integers(0, 11), turns=st.none() | st.integers(0, 3))
    def go_wrong(self, choice: int, pick: int, turns: int | None) -> None:
        moves = [move for move in self.world.moves() if move.startswith("fault:")]
        if moves:
            self._act(moves[choice % len(moves)], turns, pick)

    @rule(pick=st.integers(0, 11))
    def trade(self, pick: int) -> None:
        if "trade" in self.world.moves():
            self._act("trade", None, pick)

    @rule()
    def tick(self) -> None:
        self._act("tick")

    def _act(self, move: str, turns: int | None = None, pick: int = 0) -> None:
        self.world.loop.run_until_complete(self.world.act(move, turns, pick))

    def teardown(self) -> None:
        try:
            self.world.loop.run_until_complete(self.world.quiesce())
        finally:
            self.world.loop.run_until_complete(self.world.close())
            self.world.loop.close()


@both_dialects
def test_no_schedule_that_hypothesis_finds_breaks_a_promise(dialect: Dialect) -> None:
    """The same world, searched by another mind."""
    machine = type("Machine", (_Machine,), {"dialect": dialect})
    run_state_machine_as_test(
        machine,
        settings=settings(
            max_examples=20,
            stateful_step_count=40,
            deadline=None,
            database=None,
            derandomize=True,
            suppress_health_check=list(HealthCheck),
        ),
    )


@pytest.mark.parametrize("bounds", [Bounds(gateways=1), Bounds(seq=2, deaths=0)], ids=str)
def test_every_schedule_of_one_trade_keeps_the_promises(bounds: Bounds) -> None:
    """Exhaustively, within bounds; `python -m tests.core.exhaustive` goes further."""
    search = Search(bounds)

    assert None is search.violation()
    assert 5_000 < search.states


# ---- the checker sees what is wrong -----------------------------------------------------

Mutation = Callable[[pytest.MonkeyPatch], None]

GATEWAY_MUTATIONS: list[tuple[Mutation, Dialect, str, tuple[str, ...]]] = [
    (mutations.timeout_is_rejected, BRIDGE, "rejected, but an order", FAULTS),
    (mutations.timeout_is_rejected, EXISTING_SERVER, "rejected, but an order", FAULTS),
    (
        mutations.timeout_sends_again,
        EXISTING_SERVER,
        "two orders|unknown fate|but an order",
        FAULTS,
    ),
    (mutations.lost_link_sends_again, EXISTING_SERVER, "two orders", FAULTS),
    (mutations.not_found_is_expired, EXISTING_SERVER, "expired, but an order", FAULTS),
    (mutations.not_found_sends_again, EXISTING_SERVER, "two orders|no result", FAULTS),
    (mutations.doubt_is_rejected, BRIDGE, "rejected, but an order", ()),
    (mutations.doubt_is_rejected, EXISTING_SERVER, "rejected, but an order", ()),
    (mutations.garbage_is_rejected, BRIDGE, "rejected, but an order", ("garble_reply",)),
    (mutations.garbage_is_rejected, EXISTING_SERVER, "rejected, but an order", ("garble_reply",)),
    (mutations.fence_after_exposure_is_rejected, BRIDGE, "rejected, but an order", ("reload",)),
    (mutations.first_come_first_credited, BRIDGE, "another's reply", FAULTS),
    (mutations.first_come_first_credited, EXISTING_SERVER, "another's reply", FAULTS),
    (mutations.anything_may_go_behind, BRIDGE, "was sent behind", ()),
    (mutations.anything_may_go_behind, EXISTING_SERVER, "was sent behind", ()),
    (mutations.trades_go_on_in_doubt, BRIDGE, "unknown fate", FAULTS),
    (mutations.trades_go_on_in_doubt, EXISTING_SERVER, "unknown fate", FAULTS),
    (mutations.deadline_is_not_looked_at, BRIDGE, "after its deadline", FAULTS),
    (mutations.deadline_is_not_looked_at, EXISTING_SERVER, "after its deadline", FAULTS),
    (mutations.finished_ids_are_forgotten, EXISTING_SERVER, "two orders", ()),
    (mutations.late_replies_finish_again, BRIDGE, " after ", FAULTS),
]
"""What is left out, where, how it shows, and which faults bring it out soon."""


def _named(value: object) -> str | None:
    return getattr(value, "__name__", None) or ("" if isinstance(value, tuple) else None)


@pytest.mark.parametrize(("mutation", "dialect", "shown", "faults"), GATEWAY_MUTATIONS, ids=_named)
def test_a_gateway_without_a_protection_is_found_out(
    mutation: Mutation,
    dialect: Dialect,
    shown: str,
    faults: tuple[str, ...],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Each way to be wrong breaks a promise within a few hundred walks."""
    mutation(monkeypatch)

    assert None is not first_violation(range(400), dialect, faults=faults, like=shown)


@pytest.mark.parametrize(
    ("missing", "shown", "faults"),
    [
        ("no_intent", "two orders", ("die", "reload")),
        ("no_deadline", "started after its deadline", FAULTS),
        # With `seq` alone left out no order opens twice: the ledger knows; and the other way.
        ("no_dedupe no_seq", "two orders|but an order", ("cut", "lose_reply")),
        ("volatile_ledger", "two orders", ("die", "lose_reply")),
        ("no_session", "started after its deadline", ("reload",)),
        ("no_epoch", "of a deposed gateway started", ("depose_gateway",)),
        ("ambiguous_is_rejected", "rejected, but an order", ()),
    ],
    ids=_named,
)
def test_a_terminal_without_a_protection_is_found_out(
    missing: str, shown: str, faults: tuple[str, ...]
) -> None:
    """So does each line left out of the terminal's decision."""
    mutated = frozenset(missing.split())

    assert None is not first_violation(
        range(400), BRIDGE, mutations=mutated, faults=faults, like=shown
    )


@pytest.mark.parametrize(
    ("mutation", "missing", "shown"),
    [
        (mutations.timeout_is_rejected, "", "rejected, but an order exists"),
        (mutations.lost_link_is_not_exposed, "", "expired, but an order exists"),
        # Random walks never find this one: the sequence number has to be missing as well.
        (mutations.not_seen_too_late_is_expired, "no_seq", "expired, but an order exists"),
        (lambda _: None, "no_intent", "but an order exists"),
        (lambda _: None, "no_deadline", "it started after its deadline"),
        (lambda _: None, "volatile_ledger", "but an order exists"),
    ],
    ids=_named,
)
def test_the_exhaustive_search_finds_the_shortest_way_to_a_lie(
    mutation: Mutation, missing: str, shown: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What random walks may miss, it cannot."""
    mutation(monkeypatch)

    assert shown in (Search(Bounds(gateways=1), frozenset({missing})).violation() or "nothing")


def test_without_sequence_numbers_one_trade_still_keeps_the_promises() -> None:
    """With a durable ledger they are a second line of defence."""
    assert None is Search(Bounds(gateways=1, deaths=0), frozenset({"no_seq"})).violation()


def test_a_walk_is_the_same_every_time() -> None:
    """Otherwise a failing seed would be worth nothing."""
    first: list[str] = []
    second: list[str] = []
    walk(7, BRIDGE, trace=first)
    walk(7, BRIDGE, trace=second)

    assert first == second


def test_a_violation_is_told_with_its_seed() -> None:
    """Whoever reads the failure can walk it again."""
    found = first_violation(range(400), BRIDGE, mutations=("no_deadline",))

    assert found is not None
    seed = int(found.removeprefix("seed ").partition(":")[0])
    with pytest.raises(Violation, match=re.escape(found.partition(": ")[2])):
        walk(seed, BRIDGE, mutations=("no_deadline",))
