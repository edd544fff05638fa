"""How a run is configured: by `CHAOS_...` variables and the command line."""

from __future__ import annotations

import argparse
import os
import random
import tempfile
from dataclasses import dataclass
from pathlib import Path

BREAKS = ("fence", "term", "ledger", "resolve", "ack")


@dataclass(frozen=True, slots=True)
class Options:
    """One run.

    Attributes:
        seed: Decides schedule and wishes; timing is the machine's.
        seconds: How long faults happen and clients trade.
        terminal: `sim` or `hosted`.
        transport: `zmq` or `pipe`.
        broken: The protection that is switched off, to see that the checker notices; or none.
        rate: Commands per second, of all clients together.
        folder: Where logs, stores and books go.
        is_temporary: The folder goes when nothing was found.
    """

    seed: str
    seconds: float
    terminal: str
    transport: str
    broken: str | None
    rate: float
    folder: Path
    is_temporary: bool


def read_options(arguments: list[str] | None = None) -> Options:
    """Read the command line; variables give the defaults."""
    default = os.environ.get
    parser = argparse.ArgumentParser(prog="python -m tests.chaos")
    add = parser.add_argument
    add("--seconds", type=float, default=float(default("CHAOS_SECONDS", "120")))
    add("--seed", default=default("CHAOS_SEED", ""), help="by default another one each time")
    add(
        "--terminal",
        choices=["sim", "hosted"],
        default=default("CHAOS_TERMINAL", "sim"),
        help="the simulator, or the MQL4 programs (needs a C++ compiler)",
    )
    add("--transport", choices=["zmq", "pipe"], default=default("CHAOS_TRANSPORT", "zmq"))
    add("--break", dest="broken", choices=BREAKS, help="switch a protection off: must fail")
    add("--rate", type=float, default=float(default("CHAOS_RATE", "8")))
    add("--folder", type=Path, help="keep everything here; by default a new temporary folder")
    args = parser.parse_args(arguments)
    folder = args.folder or Path(tempfile.mkdtemp(prefix="mt4-chaos-"))
    folder.mkdir(parents=True, exist_ok=True)
    if any(folder.iterdir()):
        parser.error(f"--folder {folder}: must be empty; another run's books are in it")
    seed = args.seed or str(random.SystemRandom().randrange(1_000_000))
    return Options(
        seed,
        args.seconds,
        args.terminal,
        args.transport,
        args.broken,
        args.rate,
        folder,
        args.folder is None,
    )
