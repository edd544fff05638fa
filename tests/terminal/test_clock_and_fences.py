"""Deadlines on the terminal's clock, whatever the network does to its readings: `session.py`.

The terminal's clock is known here, so the deadline that a frame is given can be compared with
the truth: never later, and early by no more than the best reading was on its way.
"""

from hypothesis import given
from hypothesis import strategies as st

from gateway.core.messages import Command, CommandId, Dialect, Effect, Lane, Reply, Verdict
from gateway.terminal.session import (
    CLOCK_IS_FRESH_S,
    CLOCK_IS_KEPT_S,
    Greeting,
    Session,
    read_greeting,
)

MS = 1.0
"""What rounding to milliseconds may cost."""


def command(deadline_s: float, id_: str = "1") -> Command:
    """Return a trade with this deadline."""
    return Command(
        key=CommandId("me", id_),
        asker="me",
        action="DO_ORDER_SEND",
        effect=Effect.TRADE,
        lane=Lane.TRADE,
        params={},
        digest="",
        received_s=0.0,
        received_at_s=0.0,
        deadline_s=deadline_s,
    )


def session_of(ledger: str = "l1") -> Session:
    """Return a session that was greeted and has the right to trade, but has read no clock."""
    session = Session()
    session.greeted(Greeting(Dialect.BRIDGE, "s1", ledger, 1), claimed=True)
    return session


READINGS = st.lists(
    st.tuples(st.floats(0, 20), st.floats(0, 30)), min_size=1, max_size=12
)  # seconds between readings, seconds on the way


@given(READINGS, st.floats(0, 60), st.floats(0, 1e6), st.floats(0, 25))
def test_a_deadline_is_never_told_late_and_early_by_one_trip_only(
    readings: list[tuple[float, float]], left_s: float, started_s: float, later_s: float
) -> None:
    """Replies may take half a minute, and the terminal may have run for days."""
    session = session_of()
    now_s = 0.0
    trips: list[tuple[float, float]] = []
    for gap_s, trip_s in readings:
        now_s += gap_s
        clock_ms = int((now_s - trip_s + started_s) * 1000)
        session.learn(Reply(Verdict.DONE, session="s1", clock_ms=clock_ms), now_s)
        trips.append((now_s, trip_s))
    now_s += later_s
    deadline_s = now_s + left_s
    fence = session.fence(command(deadline_s), now_s, 0)
    if fence is None:
        return

    truly_ms = (deadline_s + started_s) * 1000
    recent = [trip_s for at_s, trip_s in trips if trips[-1][0] - at_s < CLOCK_IS_KEPT_S]

    assert fence.not_after_ms <= truly_ms + MS
    assert truly_ms - fence.not_after_ms <= max(recent) * 1000 + 2 * MS


@given(st.lists(st.sampled_from(["fence", "greet", "claim", "forget"]), max_size=30))
def test_sequence_numbers_rise_within_an_epoch(events: list[str]) -> None:
    """Whatever happens between two frames; a claim begins a new epoch."""
    session, epoch, sent = session_of(), 1, []
    session.read_clock(0, 0.0)
    for event in events:
        match event:
            case "fence":
                fence = session.fence(command(5.0), 0.0, 0)
                if fence is not None:
                    sent.append((fence.epoch, fence.seq))
            case "forget":
                session.forget()
                assert session.fence(command(5.0), 0.0, 0) is None
            case _:
                is_claim = event == "claim"
                epoch += is_claim
                session.greeted(Greeting(Dialect.BRIDGE, "s1", "l1", epoch), claimed=is_claim)
                session.read_clock(0, 0.0)

    assert sorted(set(sent)) == sent


def test_no_frame_is_fenced_without_an_epoch() -> None:
    """A gateway that only reads has no right to trade."""
    session = Session()
    session.greeted(Greeting(Dialect.BRIDGE, "s1", "l1", 4), claimed=False)
    session.read_clock(0, 0.0)

    assert None is session.fence(command(5.0), 0.0, 0)


def test_no_frame_is_fenced_for_the_existing_server() -> None:
    """It knows no session and no ledger."""
    session = Session()
    session.greeted(Greeting(Dialect.METATRADER4_SERVER), claimed=True)

    assert None is session.fence(command(5.0), 0.0, 0)


def test_another_ledger_makes_the_epoch_void_until_it_is_claimed() -> None:
    """The right to trade was issued by the ledger that is gone."""
    session = session_of("l1")
    session.forget()
    kept = session.greeted(Greeting(Dialect.BRIDGE, "s2", "l2", 1), claimed=False)

    assert not kept
    assert (0, None) == (session.epoch, session.greeting)

    session.greeted(Greeting(Dialect.BRIDGE, "s2", "l2", 1), claimed=True)

    assert 1 == session.epoch


def test_no_frame_is_fenced_by_a_stale_clock() -> None:
    """Drift could make a late order timely."""
    session = session_of()
    session.read_clock(1_000, 0.0)

    assert None is session.fence(command(60.0), CLOCK_IS_FRESH_S + 1.0, 0)


def test_a_command_stays_with_the_ledger_it_was_first_meant_for() -> None:
    """Another ledger has not seen it and would run it again."""
    session = session_of("l1")
    session.read_clock(1_000, 0.0)
    session.fence(command(5.0, "old"), 1.0, 0)
    session.greeted(Greeting(Dialect.BRIDGE, "s1", "l2", 1), claimed=True)
    old, new = (session.fence(command(5.0, id_), 2.0, 0) for id_ in ("old", "new"))

    assert old is not None
    assert new is not None
    assert ("l1", "l2") == (old.ledger, new.ledger)


def test_another_session_in_a_reply_ends_the_acquaintance() -> None:
    """The terminal has restarted; it must be greeted before the next trade."""
    session = session_of()
    session.learn(Reply(Verdict.DONE, session="s2", clock_ms=5), 1.0)

    assert session.greeting is None
    assert None is session.fence(command(5.0), 1.0, 0)


def test_a_higher_epoch_means_deposed() -> None:
    """Another gateway has claimed the terminal."""
    session = session_of()
    session.greeted(Greeting(Dialect.BRIDGE, "s1", "l1", 2), claimed=False)

    assert session.is_deposed


def test_a_stale_epoch_in_a_reply_ends_the_acquaintance() -> None:
    """The greeting that follows shows whether we are deposed."""
    session = session_of()
    session.learn(Reply(Verdict.FENCED, reason="stale_epoch", session="s1"), 1.0)

    assert session.greeting is None
    assert Dialect.BRIDGE is session.dialect


GREETING = {"dialect": "bridge", "session": "s", "ledger": "l", "epoch": 3}


def test_a_greeting_is_read() -> None:
    """With the account where there is one."""
    said = Reply(Verdict.DONE, response=GREETING | {"account": {"login": 5}})
    greeting = read_greeting(said)

    assert greeting is not None
    assert ("s", "l", 3, {"login": 5}) == (
        greeting.session,
        greeting.ledger,
        greeting.epoch,
        greeting.account,
    )


JSON = st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=9)


@given(
    st.dictionaries(st.sampled_from([*GREETING, "account", "broker_offset_s"]), JSON) | JSON,
    st.sampled_from(list(Verdict)),
)
def test_no_greeting_crashes_the_reader(response: object, verdict: Verdict) -> None:
    """What makes no sense is none; what is read can be fenced for."""
    greeting = read_greeting(Reply(verdict, response=response))

    assert greeting is None or (
        isinstance(greeting.session, str) and isinstance(greeting.ledger, str)
    )
