"""For how many nights a position held between two times is charged swap."""

from datetime import UTC, datetime, timedelta

_TUESDAY, _THURSDAY, _SATURDAY = 1, 3, 5
_DAY_S = 86_400
_LONGEST_HOLD_DAYS = 3_660


def charged_nights(from_s: int, to_s: int) -> int:
    """Count the nights charged between two times of the broker's clock.

    A night counts when the new day is Tuesday to Saturday; the one from Wednesday to Thursday
    counts three times, because a deal made on Wednesday settles over the weekend.

    Args:
        from_s: Earlier time, broker seconds.
        to_s: Later time, broker seconds.
    """
    first, last = from_s // _DAY_S + 1, to_s // _DAY_S
    if last - first > _LONGEST_HOLD_DAYS:  # a clock set for the first time, not a position held
        return 0
    return sum(_weight(day) for day in range(first, last + 1))


def _weight(day: int) -> int:
    weekday = (datetime(1970, 1, 1, tzinfo=UTC) + timedelta(days=day)).weekday()
    if weekday == _THURSDAY:
        return 3
    return 1 if _TUESDAY <= weekday <= _SATURDAY else 0
