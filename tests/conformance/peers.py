"""Terminals under test with one face: the simulator, and the MQL4 program on the host.

A terminal has a broker that outlives it, switches, a clock that can be moved, and a request socket
that is real. What a test cannot arrange on both sides is not here.
"""

from __future__ import annotations

import asyncio
import threading
import time
from abc import ABC, abstractmethod
from collections.abc import Coroutine, Iterator
from enum import StrEnum, auto
from pathlib import Path
from types import TracebackType
from typing import Any, Self, TypeVar

import zmq

from gateway.sim.bridge import PlainClients
from gateway.sim.desk import TerminalDied
from gateway.sim.faults import FaultKind, Point
from gateway.sim.limits import TradeLimits
from gateway.sim.options import DialectName, SimOptions
from gateway.sim.platform import Platform
from gateway.sim.quotes import TimedQuote
from gateway.sim.terminal import SimTerminal
from gateway.terminal.wire import Wire
from tests.conformance.broker import START_S, ArrangedBroker
from tests.conformance.pipe_front import PipeFront, pipe_wire
from tests.mql4host.broker_server import BrokerServer
from tests.mql4host.client import BridgeClient
from tests.mql4host.hosted import HostedExpert, Input
from tests.support.net import free_pipe_name

T = TypeVar("T")
PATIENCE_S = 10.0
BROKER_OFFSET_S = 7200


class PeerName(StrEnum):
    """Name the terminals under test."""

    SIM = auto()
    MQL4 = auto()
    PIPE = auto()
    WINDOWS = auto()
    LEGACY = auto()


class Peer(ABC):
    """Run a terminal whose prices stand still until a test moves them.

    Attributes:
        broker: The broker, and what shall happen to its calls.
        plain_clients: The input *PlainClients*; counts from the next start.
        inputs: Its own limits, `NAME=VALUE`; count from the first start.
    """

    name: PeerName

    def __init__(self, broker: ArrangedBroker, plain_clients: PlainClients) -> None:
        self.broker = broker
        self.plain_clients = plain_clients
        self.inputs: tuple[str, ...] = ()
        broker.die = self._die_inside
        broker.shift_clock = self._shift

    # What the two do differently.

    @property
    @abstractmethod
    def endpoint(self) -> str:
        """Return where requests are taken; the same after a restart."""

    @property
    @abstractmethod
    def platform(self) -> Platform:
        """Return the terminal's switches."""

    @abstractmethod
    def start(self) -> None:
        """Start the terminal."""

    @abstractmethod
    def kill(self) -> None:
        """End it as a crash does."""

    @abstractmethod
    def quote(self, symbol: str, bid: float, ask: float) -> None:
        """Move the market by one tick, one second later than the last."""

    @abstractmethod
    def wait_until_dead(self) -> None:
        """Wait for the death that was arranged."""

    @property
    @abstractmethod
    def is_dead(self) -> bool:
        """Tell whether it has died."""

    @abstractmethod
    def die_before_ledger(self, action: str) -> None:
        """Let the terminal die in the next request of this action, before it writes."""

    @abstractmethod
    def shift_between_checks(self, shift_ms: int) -> None:
        """Let the clock jump between the deadline's first check and the trade call."""

    @abstractmethod
    def _die_inside(self, before_broker: bool) -> None: ...

    @abstractmethod
    def _shift(self, shift_ms: int) -> None: ...

    @property
    @abstractmethod
    def ledger_file(self) -> Path:
        """Return the ledger."""

    def damage_ledger(self) -> None:
        """Spoil one byte of a line that is not the last; the terminal must be down."""
        lines = self.ledger_file.read_bytes().splitlines(keepends=True)
        spoiled = lines[-2][:-3] + b"?" + lines[-2][-2:]
        self.ledger_file.write_bytes(b"".join([*lines[:-2], spoiled, lines[-1]]))

    @property
    @abstractmethod
    def findings(self) -> list[str]:
        """Return what the terminal complained of that is a mistake of its own."""

    def shift_clock(self, shift_ms: int) -> None:
        """Move the terminal's monotonic clock, and see that it has noticed."""
        self._shift(shift_ms)
        with BridgeClient(self.endpoint) as client:
            client.ask("PING", id="conformance/clock")

    def close(self) -> None:
        """Let go of everything."""
        self.kill()

    def __enter__(self) -> Self:
        """Start."""
        self.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """End it."""
        self.close()


class _StandingPrices:
    """Quotes that stand at the broker's opening, at the broker's own time."""

    waits_for_subscriber = False

    def __init__(self, broker: ArrangedBroker) -> None:
        self._broker = broker

    def opening(self) -> list[TimedQuote]:
        """Return the quotes that hold before the first tick."""
        utc_ms = (START_S - BROKER_OFFSET_S) * 1000
        return [
            TimedQuote(name, quote.bid, quote.ask, 0.0, utc_ms)
            for name, quote in self._broker.quotes.items()
        ]

    def __iter__(self) -> Iterator[TimedQuote]:
        """Return no ticks."""
        return iter(())


class SimPeer(Peer):
    """Run the simulator in a loop of its own thread."""

    def __init__(
        self,
        folder: Path,
        dialect: DialectName = DialectName.BRIDGE,
        plain_clients: PlainClients = PlainClients.READ,
        broker: ArrangedBroker | None = None,
    ) -> None:
        self.name = PeerName.SIM if dialect is DialectName.BRIDGE else PeerName.LEGACY
        self._shift_ms = 0
        self._shift_after_reads: list[int] = []
        self._dialect = dialect
        self._folder = folder
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True, name="sim")
        self._thread.start()
        super().__init__(broker or ArrangedBroker(), plain_clients)
        self._terminal: SimTerminal | None = None
        self._endpoint = "tcp://127.0.0.1:*"

    @property
    def terminal(self) -> SimTerminal:
        """Return the simulator itself.

        Raises:
            RuntimeError: It has not been started.
        """
        if self._terminal is None:
            raise RuntimeError("not started")
        return self._terminal

    @property
    def endpoint(self) -> str:
        """Return where requests are taken."""
        return self._endpoint

    @property
    def platform(self) -> Platform:
        """Return the terminal's switches."""
        return self.terminal.platform

    @property
    def ledger_file(self) -> Path:
        """Return the ledger."""
        return self._folder / "ledger.txt"

    @property
    def findings(self) -> list[str]:
        """Tell whether it has crashed."""
        return ["the simulator has crashed"] if self.terminal.has_crashed.is_set() else []

    def start(self) -> None:
        """Start, with the inputs as they are now."""
        if self._terminal is None or self._terminal.options.plain_clients != self.plain_clients:
            self._call(self._make())
        self._call(self.terminal.start())
        self._endpoint = self.terminal.request_endpoint

    async def _make(self) -> None:
        options = SimOptions(
            dialect=self._dialect,
            request_endpoint=self._endpoint,
            tick_endpoint="tcp://127.0.0.1:*",
            ledger_path=self._folder / "ledger.txt",
            plain_clients=self.plain_clients,
            limits=TradeLimits.read(self.inputs),
            tick_interval_s=0.0,
            heartbeat_interval_s=60.0,
        )
        quotes = _StandingPrices(self.broker)
        self._terminal = SimTerminal(
            options, broker=self.broker, quotes=quotes, monotonic_s=self._clock_s
        )

    def kill(self) -> None:
        """Die between two requests."""
        if self._terminal is not None:
            self._call(self._terminal.kill())

    def close(self) -> None:
        """Stop, and end the loop."""
        if self._terminal is not None:
            self._call(self._terminal.stop())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(PATIENCE_S)
        self._loop.close()

    def quote(self, symbol: str, bid: float, ask: float) -> None:
        """Move the market."""
        utc_ms = (self.broker.now_s + 1 - BROKER_OFFSET_S) * 1000
        self._call(self.terminal.quote(symbol, bid, ask, utc_ms=utc_ms))

    def wait_until_dead(self) -> None:
        """Wait for the death that was arranged."""
        self._call(self.terminal.has_died.wait())
        self.terminal.faults.clear()

    @property
    def is_dead(self) -> bool:
        """Tell whether it has died."""
        return self.terminal.has_died.is_set()

    def die_before_ledger(self, action: str) -> None:
        """Let it die before the intent is written."""
        self.terminal.faults.add_spec(f"{FaultKind.DIE}:{action}:{Point.BEFORE_LEDGER}:1")

    def shift_between_checks(self, shift_ms: int) -> None:
        """Let the second look at the clock be late."""
        self._shift_after_reads.append(shift_ms)

    def _die_inside(self, before_broker: bool) -> None:
        point = Point.BEFORE_BROKER if before_broker else Point.AFTER_BROKER
        raise TerminalDied(point, comes_back=False)

    def _shift(self, shift_ms: int) -> None:
        self._shift_ms += shift_ms

    def _clock_s(self) -> float:
        now_s = time.monotonic() + self._shift_ms / 1000
        while self._shift_after_reads:
            self._shift_ms += self._shift_after_reads.pop()
        return now_s

    def _call(self, work: Coroutine[Any, Any, T]) -> T:
        return asyncio.run_coroutine_threadsafe(work, self._loop).result(PATIENCE_S)


class Mql4Peer(Peer):
    """Run GatewayCommands.mq4, translated, as a process."""

    name = PeerName.MQL4

    def __init__(
        self,
        binary: Path,
        folder: Path,
        plain_clients: PlainClients = PlainClients.READ,
        broker: ArrangedBroker | None = None,
    ) -> None:
        super().__init__(broker or ArrangedBroker(), plain_clients)
        self.server = BrokerServer(self.broker)
        self.server.utc_s = lambda: self.broker.now_s - BROKER_OFFSET_S
        self.expert = self._attach(binary, folder)
        self._is_dying = False
        self._has_died = threading.Event()

    def _attach(self, binary: Path, folder: Path) -> HostedExpert:
        return HostedExpert(binary, self.server, folder, {"LedgerCreate": True})

    @property
    def endpoint(self) -> str:
        """Return where requests are taken."""
        return self.expert.endpoint

    @property
    def platform(self) -> Platform:
        """Return the terminal's switches."""
        return self.server.platform

    @property
    def ledger_file(self) -> Path:
        """Return the ledger."""
        return self.expert.ledger_files[0]

    @property
    def findings(self) -> list[str]:
        """Return what a sanitizer or the host has to say against the program."""
        signs = ("Sanitizer", "runtime error", "host: mistake", "array out of range", "zero divide")
        return [line for line in self.expert.log if any(sign in line for sign in signs)]

    def start(self) -> None:
        """Start, with the inputs as they are now."""
        self._is_dying = False
        self._has_died.clear()
        self.expert.inputs |= dict(text.split("=") for text in self.inputs)
        self.expert.inputs["PlainClients"] = list(PlainClients).index(self.plain_clients)
        self.expert.start()

    def kill(self) -> None:
        """Send SIGKILL."""
        self.expert.kill()

    def quote(self, symbol: str, bid: float, ask: float) -> None:
        """Move the market."""
        self.server.quote(symbol, bid, ask)

    def wait_until_dead(self) -> None:
        """Wait for the death that was arranged."""
        if not self._has_died.wait(PATIENCE_S):
            raise TimeoutError("the program lives on")
        self.server.before.clear()

    @property
    def is_dead(self) -> bool:
        """Tell whether it has died."""
        process = self.expert._process
        crashed = process is not None and process.poll() is not None
        return self._has_died.is_set() or (crashed and not self._is_dying)

    def die_before_ledger(self, action: str) -> None:
        """Let it die when it looks whether it may trade, which comes before the intent."""

        def die(_: list[str]) -> None:
            self._die_inside(True)

        self.server.before["IsTradeAllowed"] = die

    def shift_between_checks(self, shift_ms: int) -> None:
        """Let the question for the trade context take its time."""

        def shift(_: list[str]) -> None:
            self.server.after.pop("IsTradeContextBusy")
            self._shift(shift_ms)

        self.server.after["IsTradeContextBusy"] = shift

    def _die_inside(self, before_broker: bool) -> None:
        # Another thread than the test's: who waits for the death waits until all of it is over.
        self._is_dying = True
        self.expert.kill()
        self._has_died.set()

    def _shift(self, shift_ms: int) -> None:
        self.server.clock_shift_ms += shift_ms


class PipePeer(Mql4Peer):
    """Run GatewayPipe.mq4, with ZeroMQ in front of its pipe."""

    name = PeerName.PIPE
    expert_kind: type[HostedExpert] = HostedExpert

    def _attach(self, binary: Path, folder: Path) -> HostedExpert:
        pipe_name = free_pipe_name()
        self._front = PipeFront(lambda: self._make_wire(pipe_name))
        inputs: dict[str, Input] = {"LedgerCreate": True, "PipeName": pipe_name}
        return self.expert_kind(binary, self.server, folder, inputs)

    def _make_wire(self, pipe_name: str) -> Wire:
        return pipe_wire(pipe_name)

    @property
    def endpoint(self) -> str:
        """Return where requests are taken."""
        return self._front.endpoint

    def close(self) -> None:
        """End the program, and let go of the pipe."""
        super().close()
        self._front.close()


class PlainClient:
    """Ask as a client of the existing server does: REQ, strict alternation."""

    def __init__(self, endpoint: str) -> None:
        """Connect."""
        self._context = zmq.Context()
        self._socket = self._context.socket(zmq.REQ)
        self._socket.linger = 0
        self._socket.rcvtimeo = int(PATIENCE_S * 1000)
        self._socket.connect(endpoint)

    def ask_raw(self, *frames: bytes) -> bytes:
        """Send frames and return the one reply."""
        self._socket.send_multipart(frames)
        reply: bytes = self._socket.recv()
        return reply

    def close(self) -> None:
        """Close the socket."""
        self._socket.close()
        self._context.term()
