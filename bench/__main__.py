"""Run the benchmarks, print a table, write JSON.

make bench                                   about two minutes
make bench ARGS=--full                       longer runs, large sizes
make bench ARGS="--only ticks start"         parts of it
make bench ARGS="--quotes FILE"              with real quotes
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Callable
from pathlib import Path

from bench import commands, fleet, growth, start, ticks
from bench.figures import Figure, table, write
from bench.site import machine

RESULT = Path(__file__).resolve().parent.parent / "build" / "bench.json"

Part = Callable[[], list[Figure]]


def parts(*, full: bool, quotes: Path | None = None) -> dict[str, Part]:
    """Name what can be measured, with its size."""
    scale = 5 if full else 1
    real: dict[str, Part] = {}
    if quotes is not None:
        real = {"quotes": lambda: ticks.real_quotes(quotes, rounds=5 * scale)}
    return real | {
        "commands": lambda: commands.round_trips(rounds=30 * scale),
        "pipe": lambda: commands.over_the_pipe(rounds=30 * scale),
        "queue": lambda: commands.queued(count=2_000 * scale),
        "ticks": lambda: ticks.bursts(rounds=6 * scale, size=50_000),
        "conflation": lambda: ticks.conflation(seconds=10 if full else 4),
        "beside": lambda: commands.beside_ticks(rounds=3 * scale),
        "start": lambda: start.starts(count=5 * scale),
        "memory": lambda: start.memory(ticks=1_000_000 * scale),
        "symbols": lambda: growth.symbols(rounds=5 * scale, size=50_000),
        "clients": lambda: growth.clients(rounds=5 * scale),
        "fleet": lambda: fleet.fleet(1_000 if full else 100, seconds=3 * scale),
        "records": lambda: growth.records(1_000_000 if full else 20_000, rounds=5 * scale),
    }


def main() -> int:
    """Measure, print, write."""
    described = (__doc__ or "").partition("\n")[0]
    parser = argparse.ArgumentParser(prog="bench", description=described)
    parser.add_argument("--full", action="store_true", help="longer runs, large sizes")
    parser.add_argument("--only", nargs="+", choices=parts(full=False), help="parts to run")
    parser.add_argument("--quotes", type=Path, help="a file of real quotes to replay as well")
    parser.add_argument("--json", type=Path, default=RESULT, help="where the figures go")
    options = parser.parse_args()
    figures: list[Figure] = []
    began_s = time.monotonic()
    for name, measure in parts(full=options.full, quotes=options.quotes).items():
        if options.only is None or name in options.only:
            part_began_s = time.monotonic()
            figures += measure()
            print(f"{name}: {time.monotonic() - part_began_s:.0f} s", file=sys.stderr, flush=True)
    print(table(figures))
    where = machine()
    print(f"\n{where}\n{time.monotonic() - began_s:.0f} s in all; as JSON: {options.json}")
    write(figures, where, options.json)
    return 0


if __name__ == "__main__":
    sys.exit(main())
