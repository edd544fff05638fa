"""Prices: the walk repeats itself, a replay repeats its file."""

from itertools import islice
from pathlib import Path

import pytest

from gateway.sim.bars import BarStore
from gateway.sim.quotes import QuoteFileError, RandomWalk, Replay, spec_for_file
from gateway.sim.symbols import STANDARD_SYMBOLS

HISTDATA = "20200101 170000065,1.121200,1.121720,0\n20200101 170010447,1.121205,1.121920,3\n"
TRUEFX = (
    "timestamp,bid,ask\n"
    "2013-01-01 22:00:00.295000+00:00,86.655,86.728\n"
    "2013-01-01 22:00:02.295000+00:00,86.657,86.728\n"
)


def replay(folder: Path, name: str, text: str, speed: float = 1.0) -> Replay:
    """Write a file of ticks and return its replay."""
    path = folder / name
    path.write_text(text, encoding="utf-8")
    return Replay(path, spec_for_file(path), speed=speed)


def test_same_seed_walks_the_same_way() -> None:
    """Prices and order of symbols are decided by the seed alone."""
    first, second = RandomWalk(seed=7), RandomWalk(seed=7)

    assert list(islice(first, 500)) == list(islice(second, 500))


def test_another_seed_walks_another_way() -> None:
    """Otherwise the seed would be for show."""
    assert list(islice(RandomWalk(seed=1), 50)) != list(islice(RandomWalk(seed=2), 50))


def test_walk_visits_every_symbol_with_ask_above_bid() -> None:
    """Odd names included."""
    quotes = list(islice(RandomWalk(seed=3), 80))

    assert {spec.name for spec in STANDARD_SYMBOLS} == {quote.symbol for quote in quotes}
    assert all(quote.ask > quote.bid > 0 for quote in quotes)


def test_histdata_rows_come_out_as_they_stand(tmp_path: Path) -> None:
    """Prices and volumes are those of the file, the time is Eastern Standard."""
    first, second = replay(tmp_path, "eurusd.csv", HISTDATA)

    assert (first.symbol, first.bid, first.ask) == ("EURUSD", 1.1212, 1.12172)
    assert (second.bid, second.ask, second.volume) == (1.121205, 1.12192, 3)
    assert first.utc_ms == 1_577_916_000_065


def test_truefx_rows_come_out_as_they_stand(tmp_path: Path) -> None:
    """The header is skipped, the time is UTC."""
    first, second = replay(tmp_path, "usdjpy-ticks.csv", TRUEFX)

    assert (first.symbol, first.bid, first.ask) == ("USDJPY", 86.655, 86.728)
    assert (first.utc_ms, second.bid) == (1_357_077_600_295, 86.657)


@pytest.mark.parametrize(("speed", "offset_s"), [(1.0, 2.0), (4.0, 0.5), (0.0, 0.0)])
def test_speed_scales_the_pace(tmp_path: Path, speed: float, offset_s: float) -> None:
    """0 is as fast as possible."""
    quotes = list(replay(tmp_path, "usdjpy.csv", TRUEFX, speed))

    assert offset_s == quotes[1].offset_s


def test_replay_can_be_repeated(tmp_path: Path) -> None:
    """Each iteration starts at the first row."""
    source = replay(tmp_path, "usdjpy.csv", TRUEFX)

    assert list(source) == list(source)


def test_unreadable_row_is_named(tmp_path: Path) -> None:
    """The message says where to look."""
    source = replay(tmp_path, "eurusd.csv", HISTDATA + "20200101 170011000,oops,1.1,0\n")

    with pytest.raises(QuoteFileError, match=r"eurusd\.csv, line 3"):
        list(source)


@pytest.mark.parametrize(
    ("name", "symbol"),
    [
        ("eurusd-ticks-2020.csv", "EURUSD"),
        ("DAT_ASCII_GBPUSD_T_2020.csv", "GBPUSD"),
        ("audnzd_2020.csv", "AUDNZD"),
        ("EURUSD.m-2020.csv", "EURUSD.m"),
    ],
)
def test_symbol_is_guessed_from_the_file_name(tmp_path: Path, name: str, symbol: str) -> None:
    """Standard names are found anywhere, other pairs at the beginning."""
    path = tmp_path / name
    path.write_text(HISTDATA, encoding="utf-8")

    assert symbol == spec_for_file(path).name


def test_symbol_that_cannot_be_guessed_must_be_given(tmp_path: Path) -> None:
    """And gets the file's number of digits."""
    path = tmp_path / "ticks.csv"
    path.write_text(HISTDATA, encoding="utf-8")
    with pytest.raises(QuoteFileError, match="--symbol"):
        spec_for_file(path)

    assert spec_for_file(path, "AUDNZD").digits == 4


def test_bars_hold_the_ticks_of_their_minute() -> None:
    """Open, high, low, close and the number of ticks."""
    bars = BarStore(STANDARD_SYMBOLS)
    for bid, time_s in ((1.1, 600), (1.3, 610), (1.0, 650), (1.2, 659), (1.5, 660)):
        bars.add("EURUSD", bid, time_s)
    last = bars.bars("EURUSD", 1, 2)

    assert last is not None
    first, second = last
    assert (1.1, 1.3, 1.0, 1.2, 4) == (
        first.open,
        first.high,
        first.low,
        first.close,
        first.tick_volume,
    )
    assert (660, 1.5) == (second.time_s, second.close)


def test_long_bars_are_joined_from_minutes() -> None:
    """Five minutes start on a multiple of five and span the extremes of their parts."""
    bars = BarStore(STANDARD_SYMBOLS)
    bars.add("EURUSD", 1.1, 86_400)
    minutes, joined = bars.bars("EURUSD", 1, 6), bars.bars("EURUSD", 5, 2)

    assert minutes is not None
    assert joined is not None
    assert joined[0].time_s == 86_100
    assert max(bar.high for bar in minutes[:5]) == joined[0].high
