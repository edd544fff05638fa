"""What the gateway knows of its terminal, and how a trade is marked for it."""

from gateway.core.messages import Command, CommandId, Dialect, Effect, Lane, Reply, Verdict
from gateway.terminal.session import Greeting, Session


def command(id_: str = "1", deadline_s: float = 10.0) -> Command:
    """Make a trade with a deadline."""
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


def greeting(session: str = "s1", ledger: str = "l1", epoch: int = 1) -> Greeting:
    """Say hello as a terminal does."""
    return Greeting(Dialect.BRIDGE, session, ledger, epoch)


def claimed() -> Session:
    """Return a session with the right to trade and a clock reading."""
    session = Session()
    session.greeted(greeting(), claimed=True)
    session.read_clock(1_000, now_s=0.0)
    return session


def test_deadline_is_told_on_the_terminals_clock() -> None:
    """Ten seconds from a reading of 1,000 ms."""
    fence = claimed().fence(command(), now_s=1.0)

    assert fence is not None
    assert 11_000 == fence.not_after_ms


def test_delayed_reading_does_not_shorten_deadlines() -> None:
    """A reply that was long on its way shows an old clock."""
    session = claimed()
    session.read_clock(1_500, now_s=5.0)
    fence = session.fence(command(), now_s=5.0)

    assert fence is not None
    assert 11_000 == fence.not_after_ms


def test_stale_clock_sends_no_trade() -> None:
    """Drift could make a late order timely."""
    assert claimed().fence(command(), now_s=31.0) is None


def test_sequence_rises_with_each_frame() -> None:
    """The terminal refuses what is overtaken."""
    session = claimed()
    fences = [session.fence(command(), now_s=1.0) for _ in range(3)]

    assert [1, 2, 3] == [fence.seq for fence in fences if fence]


def test_command_stays_with_the_ledger_it_was_first_meant_for() -> None:
    """Another ledger has not seen it and would run it again."""
    session = claimed()
    session.fence(command("old"), now_s=1.0)
    kept = session.greeted(greeting(ledger="l2", epoch=1), claimed=False)
    session.greeted(greeting(ledger="l2", epoch=1), claimed=True)
    session.read_clock(1_000, now_s=2.0)
    old, new = (session.fence(command(id_), now_s=2.0) for id_ in ("old", "new"))

    assert not kept
    assert old is not None
    assert new is not None
    assert ("l1", "l2") == (old.ledger, new.ledger)


def test_other_session_in_a_reply_ends_the_acquaintance() -> None:
    """The terminal has restarted; it must be greeted before the next trade."""
    session = claimed()
    session.learn(Reply(Verdict.DONE, session="s2", clock_ms=5), now_s=1.0)

    assert session.greeting is None
    assert session.fence(command(), now_s=1.0) is None


def test_higher_epoch_means_deposed() -> None:
    """Another gateway has claimed the terminal."""
    session = claimed()
    session.greeted(greeting(epoch=2), claimed=False)

    assert session.is_deposed
