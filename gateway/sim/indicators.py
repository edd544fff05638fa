"""The built-in indicators: a few computed, the others only recognized."""

import statistics
from collections.abc import Callable, Mapping, Sequence
from itertools import pairwise

from gateway.sim.bars import Bar, BarStore
from gateway.sim.params import Params

_NAMES = """
iAC iAD iADX iAlligator iAO iATR iBearsPower iBands iBullsPower iCCI iDeMarker iEnvelopes iForce
iFractals iGator iIchimoku iBWMFI iMomentum iMFI iMA iOsMA iMACD iOBV iSAR iRSI iRVI iStdDev
iStochastic iWPR
"""
INDICATORS = frozenset(_NAMES.split())
"""The 29 names that the existing server recognizes."""

_MORE_BARS = 1


def run_indicator(bars: BarStore, name: str, arguments: Params) -> float:
    """Compute an indicator.

    Computed are iMA (simple), iATR, iRSI (simple averages), iMomentum and iStdDev, on closes.
    iFractals is 0.0 and every other one is the last close: a stand-in that has the right type.

    Args:
        bars: Price history.
        name: One of `INDICATORS`.
        arguments: Symbol, timeframe in minutes, then the period where the indicator has one, and
            the shift last.
    """
    symbol, timeframe_min = arguments.text("0"), arguments.integer("1")
    compute = _COMPUTED.get(name)
    period = arguments.integer("2") if compute else 1
    shift = arguments.integer(_SHIFT_POSITION[name]) if compute else 0
    history = bars.bars(symbol, timeframe_min, max(period, 1) + max(shift, 0) + _MORE_BARS)
    if not history or name == "iFractals":
        return 0.0
    past = history[: len(history) - max(shift, 0)]
    return compute(past, max(period, 1)) if compute and past else history[-1].close


def _closes(bars: Sequence[Bar], period: int) -> list[float]:
    return [bar.close for bar in bars[-period:]]


def _average(bars: Sequence[Bar], period: int) -> float:
    return statistics.fmean(_closes(bars, period))


def _deviation(bars: Sequence[Bar], period: int) -> float:
    return statistics.pstdev(_closes(bars, period))


def _true_range(bars: Sequence[Bar], period: int) -> float:
    pairs = list(pairwise(bars))[-period:]
    ranges = [max(b.high, a.close) - min(b.low, a.close) for a, b in pairs]
    return statistics.fmean(ranges) if ranges else 0.0


def _momentum(bars: Sequence[Bar], period: int) -> float:
    earlier = bars[max(len(bars) - 1 - period, 0)].close
    return 100.0 * bars[-1].close / earlier if earlier else 0.0


def _strength(bars: Sequence[Bar], period: int) -> float:
    moves = [b.close - a.close for a, b in pairwise(bars)][-period:]
    gains = sum(move for move in moves if move > 0)
    losses = -sum(move for move in moves if move < 0)
    return 100.0 * gains / (gains + losses) if gains + losses else 50.0


_COMPUTED: Mapping[str, Callable[[Sequence[Bar], int], float]] = {
    "iMA": _average,
    "iATR": _true_range,
    "iRSI": _strength,
    "iMomentum": _momentum,
    "iStdDev": _deviation,
}
_SHIFT_POSITION = {"iMA": "6", "iATR": "3", "iRSI": "4", "iMomentum": "4", "iStdDev": "6"}
