"""Price bars of every timeframe, made from ticks on top of a made-up past."""

import random
from collections import deque
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from gateway.sim.symbols import SymbolSpec

TIMEFRAMES_MIN = (1, 5, 15, 30, 60, 240, 1440, 10080, 43200)
"""The timeframes that MetaTrader keeps history for, minutes."""

_PAST_MIN = 1_500
_KEPT_MIN = 20_000
_MINUTE_S = 60


@dataclass(slots=True)
class Bar:
    """Hold one bar: prices are bids, `time_s` is its start on the broker's clock."""

    time_s: int
    open: float
    high: float
    low: float
    close: float
    tick_volume: int

    def take(self, bid: float) -> None:
        """Count one tick."""
        self.high, self.low = max(self.high, bid), min(self.low, bid)
        self.close = bid
        self.tick_volume += 1


class BarStore:
    """Keep one-minute bars per symbol; longer timeframes are put together when asked for.

    Before a symbol's first tick lies a random past of 1,500 minutes that ends at its price, so
    that indicators have something to work on at once. It is made when somebody asks.
    """

    def __init__(self, specs: Iterable[SymbolSpec], seed: int = 1) -> None:
        self._specs = {spec.name: spec for spec in specs}
        self._seed = seed
        self._minutes: dict[str, deque[Bar]] = {}
        self._has_past: set[str] = set()

    def add(self, symbol: str, bid: float, time_s: int) -> None:
        """Count a tick of a symbol at a time of the broker's clock."""
        start_s = time_s - time_s % _MINUTE_S
        bars = self._minutes.setdefault(symbol, deque(maxlen=_KEPT_MIN))
        if not bars or bars[-1].time_s < start_s:
            bars.append(Bar(start_s, bid, bid, bid, bid, 0))
        bars[-1].take(bid)

    def bars(self, symbol: str, timeframe_min: int, limit: int) -> list[Bar] | None:
        """Return the last bars, oldest first; None if there is no such history.

        Args:
            symbol: Name.
            timeframe_min: One of `TIMEFRAMES_MIN`; 0 means the chart's, here one minute.
            limit: At most this many.
        """
        timeframe_min = timeframe_min or 1
        if timeframe_min not in TIMEFRAMES_MIN or symbol not in self._minutes or limit <= 0:
            return None
        self._complete(symbol)
        joined = list(_joined(self._minutes[symbol], timeframe_min * _MINUTE_S))
        return joined[-limit:]

    def _complete(self, symbol: str) -> None:
        if symbol not in self._has_past:
            self._has_past.add(symbol)
            minutes = self._minutes[symbol]
            past = self._past(self._specs[symbol], minutes[0].open, minutes[0].time_s)
            room = _KEPT_MIN - len(minutes)
            minutes.extendleft(reversed(past[max(len(past) - room, 0) :]))

    def _past(self, spec: SymbolSpec, bid: float, now_s: int) -> list[Bar]:
        chance = random.Random(f"{self._seed}/bars/{spec.name}")
        bars: list[Bar] = []
        close = bid
        for minutes_ago in range(1, _PAST_MIN + 1):
            steps = [chance.gauss(0.0, 4.0 * spec.volatility_points) for _ in range(3)]
            open_ = spec.rounded(max(spec.point, close + steps[0] * spec.point))
            high = spec.rounded(max(open_, close) + abs(steps[1]) * spec.point)
            low = spec.rounded(max(spec.point, min(open_, close) - abs(steps[2]) * spec.point))
            time_s = now_s - minutes_ago * _MINUTE_S
            bars.append(Bar(time_s, open_, high, low, close, chance.randint(20, 120)))
            close = open_
        return bars[::-1]


def _joined(minutes: Iterable[Bar], length_s: int) -> Iterator[Bar]:
    current: Bar | None = None
    for minute in minutes:
        start_s = minute.time_s - minute.time_s % length_s
        if current is None or current.time_s != start_s:
            if current is not None:
                yield current
            current = Bar(
                start_s, minute.open, minute.high, minute.low, minute.close, minute.tick_volume
            )
            continue
        current.high, current.low = max(current.high, minute.high), min(current.low, minute.low)
        current.close = minute.close
        current.tick_volume += minute.tick_volume
    if current is not None:
        yield current
