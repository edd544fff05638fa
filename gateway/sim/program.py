"""The simulated terminal as a program: `mt4-gateway sim` and `python -m gateway.sim`."""

import argparse
import asyncio
import math
import os
import signal
import sys
import time
from pathlib import Path

import zmq

from gateway.sim.bridge import PlainClients
from gateway.sim.broker import AccountTerms, Broker
from gateway.sim.faults import FaultPlan, FaultSpecError
from gateway.sim.file_lock import FileLockedError
from gateway.sim.limits import TradeLimits
from gateway.sim.options import DialectName, SimOptions
from gateway.sim.quotes import QuoteFileError, QuoteSource, Replay, spec_for_file
from gateway.sim.symbols import STANDARD_SYMBOLS, SymbolSpec
from gateway.sim.terminal import SimTerminal

USAGE_ERROR = 2
_KILLED = 137


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the simulator's options to a parser, so that the command line can mount it."""
    defaults = SimOptions()
    add = parser.add_argument
    add("--dialect", type=DialectName, default=defaults.dialect, choices=list(DialectName))
    add("--request-endpoint", default=defaults.request_endpoint, metavar="ENDPOINT")
    add("--tick-endpoint", default=defaults.tick_endpoint, metavar="ENDPOINT")
    add("--connect", action="store_true", help="connect to a gateway that binds both endpoints")
    add("--pipe", metavar="ADDRESS", help="open this pipe of a gateway's instead of two sockets")
    add("--seed", type=int, default=defaults.seed, help="decides prices and faults")
    add(
        "--fault",
        action="append",
        default=[],
        metavar="SPEC",
        help="such as drop:DO_ORDER_SEND:0.1, delay:*:0.05:700ms, refuse:DO_ORDER_SEND:146:2, "
        "die:DO_ORDER_SEND:after_broker:#3; may be repeated",
    )
    add("--quotes", type=Path, metavar="CSV", help="replay recorded ticks instead of a random walk")
    add("--symbol", help="the symbol of --quotes, if its name does not tell")
    add("--speed", type=_not_negative, default=1.0, help="of --quotes; 0 is as fast as possible")
    add("--tick-interval", type=_not_negative, default=defaults.tick_interval_s, metavar="SECONDS")
    add("--deposit", type=_not_negative, default=10_000.0, metavar="USD")
    add("--leverage", type=_positive, default=100)
    add("--broker-offset", type=int, default=defaults.broker_offset_s, metavar="SECONDS")
    add("--ledger", type=Path, metavar="FILE", help="keep the ledger here")
    add("--state", type=Path, metavar="FILE", help="keep orders and money here")
    add("--truth", type=Path, metavar="FILE", help="write here what really happened")
    add(
        "--plain-clients",
        type=PlainClients,
        default=defaults.plain_clients,
        choices=list(PlainClients),
        help="what clients without an epoch may do",
    )
    add(
        "--limit",
        action="append",
        default=[],
        metavar="INPUT=VALUE",
        help="AllowTrading=false, AllowedSymbols=EURUSD,GBPUSD, MaxLotsPerOrder=1, MaxOpenOrders=5 "
        "or MaxOpenLots=2, as the program's inputs; may be repeated",
    )


def _not_negative(text: str) -> float:
    """Read a number; what argparse says of a ValueError names the option and the text."""
    number = float(text)
    if not 0 <= number < math.inf:
        raise ValueError
    return number


def _positive(text: str) -> int:
    number = int(text)
    if number < 1:
        raise ValueError
    return number


_not_negative.__name__, _positive.__name__ = "number", "positive number"


async def run(args: argparse.Namespace) -> int:
    """Run a terminal until SIGTERM or SIGINT.

    Args:
        args: What `add_arguments` has parsed.

    Returns:
        0, or 2 if an option makes no sense or an endpoint or file is taken.
    """
    try:
        terminal = _terminal(args)
        await terminal.start()
    except (FaultSpecError, QuoteFileError, FileLockedError, ValueError, OSError) as error:
        return _usage_error(error)
    except zmq.ZMQError as error:
        return _usage_error(error)
    terminal.on_death = _die
    stop = _stop_event()
    print(
        f"sim_ready request={terminal.request_endpoint} ticks={terminal.tick_endpoint or '-'} "
        f"dialect={terminal.options.dialect.value}",
        flush=True,
    )
    await _first_of(stop, terminal.has_crashed)
    await terminal.stop()
    return 0


def main() -> int:
    """Parse the command line and run; return the exit code."""
    parser = argparse.ArgumentParser(prog="python -m gateway.sim", description=__doc__)
    add_arguments(parser)
    return serve(parser.parse_args())


def serve(args: argparse.Namespace) -> int:
    """Run in a loop of its own, and return the exit code.

    ZeroMQ's file descriptors need a selector loop; a pipe needs the other one, Windows' default.
    """
    needs_selector = sys.platform == "win32" and args.pipe is None
    factory = asyncio.SelectorEventLoop if needs_selector else None
    with asyncio.Runner(loop_factory=factory) as runner:
        return runner.run(run(args))


def _terminal(args: argparse.Namespace) -> SimTerminal:
    if args.state is not None and not args.state.parent.is_dir():
        raise NotADirectoryError(f"--state {args.state}: there is no such folder")
    options = SimOptions(
        dialect=args.dialect,
        request_endpoint=args.request_endpoint,
        tick_endpoint=args.tick_endpoint,
        pipe_address=args.pipe,
        connects=args.connect,
        ledger_path=args.ledger,
        state_path=args.state,
        truth_path=args.truth,
        plain_clients=args.plain_clients,
        limits=TradeLimits.read(args.limit),
        seed=args.seed,
        tick_interval_s=args.tick_interval,
        broker_offset_s=args.broker_offset,
    )
    faults = FaultPlan(seed=args.seed)
    for spec in args.fault:
        faults.add_spec(spec)
    symbols: tuple[SymbolSpec, ...] = STANDARD_SYMBOLS
    quotes: QuoteSource | None = None
    time_s = int(time.time()) + args.broker_offset
    if args.quotes is not None:
        replayed = spec_for_file(args.quotes, args.symbol)
        others = tuple(spec for spec in symbols if spec.name != replayed.name)
        symbols = (replayed, *others)
        quotes, time_s = Replay(args.quotes, replayed, speed=args.speed), 0
    terms = AccountTerms(leverage=args.leverage)
    broker = Broker(symbols, terms, deposit=args.deposit, time_s=time_s)
    return SimTerminal(options, broker=broker, quotes=quotes, faults=faults)


def _usage_error(error: Exception) -> int:
    print(f"mt4-gateway sim: {error}", file=sys.stderr)
    return USAGE_ERROR


def _stop_event() -> asyncio.Event:
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        try:
            loop.add_signal_handler(number, stop.set)
        except NotImplementedError:  # Windows: handlers run between bytecodes, so wake the loop
            signal.signal(number, lambda *_: loop.call_soon_threadsafe(stop.set))
    return stop


async def _first_of(*events: asyncio.Event) -> None:
    waits = [asyncio.create_task(event.wait()) for event in events]
    await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
    for wait in waits:
        wait.cancel()


def _die() -> None:
    """End the process as a power cut would: nothing is flushed, nobody is told."""
    if hasattr(signal, "SIGKILL"):
        os.kill(os.getpid(), signal.SIGKILL)
    os._exit(_KILLED)
