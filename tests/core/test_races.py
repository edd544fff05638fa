"""Races that were found by reading, each played move by move in the world of `world.py`."""

from collections.abc import Awaitable, Callable, Iterator

import pytest

from gateway.core.messages import Dialect, Outcome, Result
from tests.core.promises import Submission
from tests.core.world import CLOCK, World, virtual_time

FORTY_SECONDS = 2
"""The pick that gives a command that long."""

TWO_SECONDS = 0
REPLY_TIMEOUT_S = 5.0
SETTLE_S = 70.0

each_dialect = pytest.mark.parametrize("dialect", list(Dialect))


@pytest.fixture(autouse=True)
def _virtual_time() -> Iterator[None]:
    with virtual_time():
        yield


def play(dialect: Dialect, scene: Callable[[World], Awaitable[None]]) -> World:
    """Play a scene; the promises are watched all the time."""
    world = World(dialect)

    async def whole() -> None:
        try:
            await scene(world)
        finally:
            await world.close()

    try:
        world.loop.run_until_complete(whole())
    finally:
        world.loop.close()
    return world


async def until(world: World, happened: Callable[[], bool]) -> None:
    """Let all go well until something has happened."""
    for _ in range(1000):
        if happened():
            return
        await world.act(world.kind_move())
    raise AssertionError("it never happened")


async def running_trade(world: World) -> Submission:
    """Bring a trade to the terminal, which is busy with it now."""
    await world.act("trade", pick=FORTY_SECONDS)
    await until(world, lambda: world.terminal.running is not None)
    return world.promises.submissions[0]


def only_result(world: World) -> Result:
    """Return the one result that was published."""
    (results,) = world.promises.results.values()
    return results[-1]


@each_dialect
@pytest.mark.parametrize("turns", range(5))
def test_a_reply_in_the_moment_of_its_timeout_counts(dialect: Dialect, turns: int) -> None:
    """The timeout has been told, the exchange has not heard it yet, the reply comes."""

    async def scene(world: World) -> None:
        await running_trade(world)
        sent_s = CLOCK.now_s
        await world.act("rejects")
        await until(world, lambda: bool(world.connections[0].down))
        while (world.loop.next_alarm_s() or 0) < sent_s + REPLY_TIMEOUT_S:
            await world.act("tick")
        await world.act("tick", turns=turns)
        await world.act("hear 0")

    assert Outcome.REJECTED is only_result(play(dialect, scene)).outcome


@pytest.mark.parametrize("turns", range(5))
def test_a_link_lost_in_the_moment_of_a_timeout_is_settled_before_the_search(turns: int) -> None:
    """A stale frame may be executed up to settle_s after the first answer over a new link."""
    asked_s: list[float] = []

    async def scene(world: World) -> None:
        await running_trade(world)
        sent_s = CLOCK.now_s
        while (world.loop.next_alarm_s() or 0) < sent_s + REPLY_TIMEOUT_S:
            await world.act("tick")
        await world.act("tick", turns=turns)
        await world.act("fault:cut 0", turns=0)
        lost_s = CLOCK.now_s
        await until(world, lambda: "GET_ORDERS" in world.promises.actions_sent())
        asked_s.append(CLOCK.now_s - lost_s)

    play(Dialect.METATRADER4_SERVER, scene)

    assert [True] == [seconds >= SETTLE_S for seconds in asked_s]


@each_dialect
def test_a_command_that_meets_no_terminal_expires(dialect: Dialect) -> None:
    """What it would be sent as is not known, and it still has a deadline."""

    async def scene(world: World) -> None:
        await world.act("trade", pick=TWO_SECONDS)
        await world.act("read", pick=TWO_SECONDS)
        for _ in range(3):
            await world.act("wait", pick=2)

    world = play(dialect, scene)
    outcomes = [one.outcome for sent in world.promises.submissions for one in sent.answers]

    assert [Outcome.EXPIRED, Outcome.EXPIRED] == outcomes


@each_dialect
def test_a_trade_that_came_before_the_greeting_is_found_when_its_reply_is_lost(
    dialect: Dialect,
) -> None:
    """It is sent as the terminal that is there wants it, not as one that was guessed."""

    async def scene(world: World) -> None:
        await running_trade(world)
        await world.act("opens")
        await world.act("fault:cut 0")
        await world.quiesce()

    conclusion = only_result(play(dialect, scene)).conclusion

    assert (Outcome.SUCCEEDED, True) == (conclusion.outcome, conclusion.resolved)


@each_dialect
@pytest.mark.parametrize("turns", [*range(4), None])
def test_a_reply_just_before_the_link_is_lost_counts(dialect: Dialect, turns: int | None) -> None:
    """What had arrived before the end is evidence."""

    async def scene(world: World) -> None:
        await running_trade(world)
        await world.act("opens")
        await until(world, lambda: bool(world.connections[0].down))
        await world.act("hear 0", turns=turns)
        await world.act("fault:cut 0")

    conclusion = only_result(play(dialect, scene)).conclusion

    assert (Outcome.SUCCEEDED, False) == (conclusion.outcome, conclusion.resolved)


def test_a_busy_terminal_is_waited_for_behind_its_trade() -> None:
    """A broker that takes half a minute is slow, not dead: one order, its own reply."""

    async def scene(world: World) -> None:
        await running_trade(world)
        for _ in range(4):
            await world.act("wait", pick=3)
        await world.act("opens")
        await world.quiesce()

    conclusion = only_result(play(Dialect.BRIDGE, scene)).conclusion

    assert (Outcome.SUCCEEDED, 1) == (conclusion.outcome, conclusion.attempts)
