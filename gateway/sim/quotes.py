"""Where prices come from: a random walk by seed, or a file of recorded ticks."""

import csv
import random
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path
from typing import Protocol

from gateway.sim.symbols import STANDARD_SYMBOLS, SymbolSpec, make_symbol, pair

# HistData's files are in Eastern Standard Time all year, without daylight saving.
_EASTERN = timezone(timedelta(hours=-5))


class QuoteFileError(ValueError):
    """Say what is wrong with a file of ticks."""


@dataclass(frozen=True, slots=True)
class TimedQuote:
    """Hold one tick to come.

    Attributes:
        symbol: Name.
        bid: Price.
        ask: Price.
        offset_s: When it is due, seconds after the first one.
        utc_ms: Its own time, UTC; None for "when it is sent".
        volume: As recorded.
    """

    symbol: str
    bid: float
    ask: float
    offset_s: float
    utc_ms: int | None = None
    volume: int = 0


class QuoteSource(Protocol):
    """Deliver ticks in order, each time the same."""

    @property
    def waits_for_subscriber(self) -> bool:
        """Tell whether the first tick waits until somebody listens."""

    def opening(self) -> list[TimedQuote]:
        """Return the quotes that hold before the first tick."""

    def __iter__(self) -> Iterator[TimedQuote]:
        """Return the ticks."""


class RandomWalk:
    """Move each symbol in turn, for ever; the same seed gives the same prices."""

    waits_for_subscriber = False

    def __init__(
        self,
        specs: Sequence[SymbolSpec] = STANDARD_SYMBOLS,
        *,
        seed: int = 1,
        interval_s: float = 0.25,
        bids: Mapping[str, float] | None = None,
    ) -> None:
        """Prepare the walk.

        Args:
            specs: What is quoted; a symbol without a point ("no data yet") never is.
            seed: Decides every price.
            interval_s: Time from one tick of a symbol to its next; 0 for no ticks at all.
            bids: Where symbols begin; their opening price if not named.
        """
        self._specs = [spec for spec in specs if spec.point > 0]
        self._seed = seed
        self._interval_s = interval_s
        self._bids = bids or {}

    def opening(self) -> list[TimedQuote]:
        """Return the symbols' opening prices."""
        return [_quote(spec, self._first_bid(spec), 0.0) for spec in self._specs]

    def __iter__(self) -> Iterator[TimedQuote]:
        """Return the ticks."""
        chances = [random.Random(f"{self._seed}/walk/{spec.name}") for spec in self._specs]
        bids = [self._first_bid(spec) for spec in self._specs]
        number = 0
        while self._specs and self._interval_s > 0:
            index = number % len(self._specs)
            spec, step = self._specs[index], chances[index].gauss(0, 1)
            moved = bids[index] + round(step * spec.volatility_points)
            bids[index] = max(moved, spec.spread_points + 1)
            yield _quote(spec, bids[index], number * self._interval_s / len(self._specs))
            number += 1

    def _first_bid(self, spec: SymbolSpec) -> int:
        return spec.to_points(self._bids.get(spec.name, spec.opening_bid))


class Replay:
    """Repeat a file of recorded ticks: every row, in order, at its prices.

    Two forms are read: `20200101 170000065,1.121200,1.121720,0` without a header (HistData), and
    `2013-01-01 22:00:00.295000+00:00,86.655,86.728` under the header `timestamp,bid,ask`.
    """

    waits_for_subscriber = True

    def __init__(self, path: Path, spec: SymbolSpec, *, speed: float = 1.0) -> None:
        """Prepare the replay.

        Args:
            path: The file.
            spec: The symbol it quotes.
            speed: 1 is the recorded pace, 10 ten times that, 0 as fast as possible.
        """
        self._path = path
        self._spec = spec
        self._speed = speed

    def opening(self) -> list[TimedQuote]:
        """Return the first row, so that the symbol has a price before the replay starts."""
        if (first := next(iter(self), None)) is None:
            raise QuoteFileError(f"{self._path.name}: no tick in it")
        return [first]

    def __iter__(self) -> Iterator[TimedQuote]:
        """Return the ticks.

        Raises:
            QuoteFileError: A row cannot be read.
        """
        first_ms: int | None = None
        with self._path.open(newline="", encoding="utf-8") as file:
            for number, row in enumerate(csv.reader(file), start=1):
                if number == 1 and row and row[0] == "timestamp":
                    continue
                utc_ms, bid, ask, volume = _read_row(self._path, number, row)
                first_ms = utc_ms if first_ms is None else first_ms
                waited_s = (utc_ms - first_ms) / 1000.0
                offset_s = waited_s / self._speed if self._speed else 0.0
                yield TimedQuote(self._spec.name, bid, ask, offset_s, utc_ms, volume)


def spec_for_file(path: Path, symbol: str | None = None) -> SymbolSpec:
    """Return the specification of the symbol that a file of ticks quotes.

    Args:
        path: Its name is searched for a standard symbol or a currency pair if no name is given,
            its first row for the number of digits.
        symbol: The name.

    Raises:
        QuoteFileError: The name gives no hint, or the file holds no tick.
    """
    standard = {spec.name: spec for spec in STANDARD_SYMBOLS}
    name = symbol or _guessed_symbol(path, list(standard))
    if name in standard:
        return standard[name]
    digits = _digits_of(path)
    if re.fullmatch(r"[A-Z]{6}.*", name):
        return pair(name, digits, 1.0, 0)
    return make_symbol(name, digits, "USD", 1.0, 0)


def _guessed_symbol(path: Path, standard: Sequence[str]) -> str:
    stem = path.stem.upper()
    longest_first = sorted(standard, key=len, reverse=True)
    if found := next((name for name in longest_first if name.upper() in stem), None):
        return found
    if match := re.match(r"[A-Z]{6}(?![A-Z])", stem):
        return match.group()
    raise QuoteFileError(f"{path.name}: cannot tell the symbol from the name; use --symbol")


def _digits_of(path: Path) -> int:
    with path.open(newline="", encoding="utf-8") as file:
        for row in csv.reader(file):
            if row and row[0] != "timestamp":
                return len(row[1].partition(".")[2].rstrip("0"))
    raise QuoteFileError(f"{path.name}: no ticks")


def _read_row(path: Path, number: int, row: Sequence[str]) -> tuple[int, float, float, int]:
    try:
        volume = int(row[3]) if len(row) > 3 else 0  # noqa: PLR2004  # the fourth column
        return _utc_ms(row[0]), float(row[1]), float(row[2]), volume
    except (ValueError, IndexError) as error:
        raise QuoteFileError(f"{path.name}, line {number}: {error}") from error


def _utc_ms(text: str) -> int:
    epoch = datetime(1970, 1, 1, tzinfo=UTC)
    if "-" in text:
        moment = datetime.fromisoformat(text)
    else:
        iso = f"{text[:8]}T{text[9:15]}.{text[15:]}"
        moment = datetime.fromisoformat(iso).replace(tzinfo=_EASTERN)
    return (moment - epoch) // timedelta(milliseconds=1)


def _quote(spec: SymbolSpec, bid_points: int, offset_s: float) -> TimedQuote:
    bid = spec.rounded(bid_points * spec.point)
    ask = spec.rounded((bid_points + spec.spread_points) * spec.point)
    return TimedQuote(spec.name, bid, ask, offset_s)
