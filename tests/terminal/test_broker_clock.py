"""How far the broker's clock is from UTC: believed only where quotes move, twice, in agreement."""

from collections.abc import Iterable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.core.messages import Dialect
from gateway.terminal.broker_clock import STEP_S, BrokerClock
from gateway.terminal.session import Greeting, Session

FRIDAY_S = 1_700_000_000
HOUR_S = 3600


def watched(
    looks: Iterable[tuple[float, int]], source: str = "EURUSD", clock: BrokerClock | None = None
) -> BrokerClock:
    """Let a clock look: at these times of UTC, it read these times of the last quote."""
    clock = clock or BrokerClock()
    for utc_s, broker_time_s in looks:
        clock.read(source, broker_time_s, asked_at_s=utc_s - 0.1, heard_at_s=utc_s)
    return clock


def moving(offset_s: int, from_s: float = FRIDAY_S, seconds: int = 20) -> list[tuple[float, int]]:
    """Look each second at quotes that come each second."""
    return [(from_s + n, int(from_s) + n + offset_s) for n in range(seconds)]


@pytest.mark.parametrize("offset_s", [0, 2 * HOUR_S, -5 * HOUR_S, 19_800, 20_700])
def test_moving_quotes_tell_the_offset(offset_s: int) -> None:
    """Of whole hours, of India and of Nepal."""
    assert offset_s == watched(moving(offset_s)).offset_s


@given(
    st.integers(-48, 56).map(lambda steps: steps * STEP_S),
    st.lists(st.tuples(st.floats(0.1, 50), st.floats(0, 5), st.floats(0, 60)), min_size=2),
    st.floats(-25, 25),
)
def test_what_is_told_is_right(
    offset_s: int, looks: list[tuple[float, float, float]], wrong_s: float
) -> None:
    """However long looks are apart and on their way, how old quotes are, and our clock off."""
    clock, now_s = BrokerClock(), float(FRIDAY_S)
    for gap_s, trip_s, age_s in looks:
        now_s += gap_s + trip_s
        quoted_s = int(now_s - trip_s - min(age_s, gap_s) + offset_s)
        told_s = now_s + wrong_s
        clock.read("X", quoted_s, asked_at_s=told_s - trip_s, heard_at_s=told_s)

    assert clock.offset_s in (None, offset_s)


def test_a_quote_that_stands_still_tells_nothing() -> None:
    """On Sunday it says Friday."""
    assert None is watched((FRIDAY_S + n, FRIDAY_S + 7200) for n in range(100)).offset_s


def test_the_last_quote_of_friday_received_on_sunday_tells_nothing() -> None:
    """A terminal that finds its broker again moves to an old quote, once for each symbol."""
    sunday_s = FRIDAY_S + 40 * HOUR_S
    thursday = [(sunday_s, FRIDAY_S - 24 * HOUR_S)]
    friday = [(sunday_s + 1 + n, sunday_s - 6 * HOUR_S) for n in range(50)]
    clock = watched(thursday + friday)
    watched([(at_s, time_s + 12) for at_s, time_s in thursday + friday], "GBPUSD", clock)

    assert None is clock.offset_s


def test_a_move_after_a_long_pause_tells_nothing() -> None:
    """When the quote came is not known."""
    looks = [(FRIDAY_S + n * 90, FRIDAY_S + n * 90 + 7200) for n in range(10)]

    assert None is watched(looks).offset_s


def test_a_clock_that_is_minutes_wrong_tells_nothing() -> None:
    """The nearest quarter of an hour would be a guess."""
    assert None is watched(moving(2 * HOUR_S + 300)).offset_s


def test_a_change_of_the_clocks_is_followed() -> None:
    """On Monday the broker is an hour further."""
    clock = watched(moving(2 * HOUR_S))
    watched(moving(3 * HOUR_S, FRIDAY_S + 60 * HOUR_S), clock=clock)

    assert 3 * HOUR_S == clock.offset_s


def test_what_is_measured_goes_before_what_the_greeting_said() -> None:
    """The greeting may be from before the clocks changed; after a lost link both are void."""
    session = Session()
    session.greeted(Greeting(Dialect.BRIDGE, "s", "l", 1, None, 2 * HOUR_S), claimed=True)

    assert 2 * HOUR_S == session.broker_offset_s

    watched(moving(3 * HOUR_S), clock=session.broker_clock)

    assert 3 * HOUR_S == session.broker_offset_s

    session.forget()

    assert None is session.broker_offset_s
