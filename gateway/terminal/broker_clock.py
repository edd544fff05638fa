"""How far the broker's clock is from UTC, measured where nobody tells it. Pure.

What a terminal calls the broker's time is the time of the last quote: on a Sunday it says Friday.
So one reading proves nothing. Only a reading that has *moved* since a look shortly before tells
the broker's present time; and one such move may still be the old quote that a terminal receives
when it finds its broker again. Two moves some time apart that agree are believed.

Offsets of time zones are multiples of a quarter of an hour, which takes out the delays.
"""

from __future__ import annotations

from dataclasses import dataclass

STEP_S = 900
CERTAIN_WITHIN_S = 120.0
"""A measurement further than this from a whole step means a wrong clock: no offset is better."""

LOOKS_APART_S = 60.0
"""A move is dated by the look before it, which must not be longer ago."""

AGREE_AFTER_S = 10.0
"""How far apart, on both clocks, the two moves are that must agree."""

WEST_S, EAST_S = -12 * 3600, 14 * 3600
"""No time zone is beyond these."""


@dataclass(slots=True)
class _Watched:
    """The last reading of one source, and the last move that waits for a second to agree."""

    broker_time_s: int
    asked_at_s: float
    moved: tuple[int, int, float] | None = None  # offset, broker's time, when heard


class BrokerClock:
    """Learns the offset from readings.

    Attributes:
        offset_s: The broker's clock minus UTC; None until it is known.
    """

    def __init__(self) -> None:
        self.offset_s: int | None = None
        self._watched: dict[str, _Watched] = {}

    def read(
        self, source: str, broker_time_s: int, *, asked_at_s: float, heard_at_s: float
    ) -> None:
        """Take in a reading of the time of the last quote.

        Args:
            source: What was read, a symbol or the terminal itself: each is watched alone.
            broker_time_s: The broker's clock, seconds.
            asked_at_s: UTC when it was asked for: the reading is not older than this.
            heard_at_s: UTC when it was heard.
        """
        before = self._watched.get(source)
        if before is None:
            self._watched[source] = _Watched(broker_time_s, asked_at_s)
            return
        has_moved = broker_time_s > before.broker_time_s
        earliest_s = before.asked_at_s
        before.broker_time_s, before.asked_at_s = broker_time_s, asked_at_s
        if not has_moved:
            return
        offset_s = _offset_s(broker_time_s, earliest_s, heard_at_s)
        if offset_s is None or before.moved is None or before.moved[0] != offset_s:
            before.moved = None if offset_s is None else (offset_s, broker_time_s, heard_at_s)
            return
        _, first_time_s, first_heard_s = before.moved
        if min(broker_time_s - first_time_s, heard_at_s - first_heard_s) >= AGREE_AFTER_S:
            self.offset_s = offset_s


def _offset_s(broker_time_s: int, earliest_s: float, latest_s: float) -> int | None:
    """Return the offset if the quote of `broker_time_s` came between two times of UTC."""
    if not 0.0 <= latest_s - earliest_s <= LOOKS_APART_S:
        return None
    measured_s = broker_time_s - (earliest_s + latest_s) / 2
    offset_s = round(measured_s / STEP_S) * STEP_S
    is_certain = abs(measured_s - offset_s) <= CERTAIN_WITHIN_S
    return offset_s if is_certain and WEST_S <= offset_s <= EAST_S else None
