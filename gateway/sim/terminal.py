"""The simulated terminal: one dialect on real sockets, one broker behind it, faults in between.

async with SimTerminal(SimOptions(request_endpoint="tcp://127.0.0.1:*")) as terminal:
    ...  # talk to terminal.request_endpoint
"""

import asyncio
import contextlib
import shutil
import tempfile
import time
import uuid
import weakref
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Self

from gateway.sim.bars import BarStore
from gateway.sim.bridge import BridgeDialect
from gateway.sim.bridge_reads import BridgeTerminal
from gateway.sim.broker import Broker
from gateway.sim.broker_state import load_broker, save_broker
from gateway.sim.desk import Desk, TerminalDied
from gateway.sim.faults import FaultPlan
from gateway.sim.feed import Feed
from gateway.sim.ledger import Ledger
from gateway.sim.legacy import LegacyDialect
from gateway.sim.options import DialectName, SimOptions
from gateway.sim.pipe import PipeEnds
from gateway.sim.platform import Platform
from gateway.sim.quotes import QuoteSource, RandomWalk, TimedQuote
from gateway.sim.serving import Program, RequestServer
from gateway.sim.sockets import Ends, Sockets
from gateway.sim.truth import Truth
from gateway.sim.wire import Body

__all__ = ["DialectName", "SimOptions", "SimTerminal"]


@dataclass(frozen=True, slots=True)
class _Session:
    """What exists from one start of the terminal to its end."""

    ends: Ends
    ledger: Ledger | None
    identity: BridgeTerminal
    feed: Feed
    started_s: float

    def close(self) -> None:
        self.ends.close()
        if self.ledger is not None:
            self.ledger.close()


class SimTerminal:
    """Run a terminal that can be stopped, killed and started again; its broker remembers.

    Example:
        async with SimTerminal(SimOptions(request_endpoint="tcp://127.0.0.1:*")) as terminal:
            ...  # talk to terminal.request_endpoint

    Attributes:
        broker: The account and the market; survives restarts of the terminal.
        platform: The terminal's switches, such as `is_connected`.
        faults: What goes wrong; add to it at any time.
        truth: What really happened.
        request_endpoint: Where requests are taken, once started; the same after a restart.
        tick_endpoint: Where ticks are published, None in a dialect without.
        is_up: Set while it serves.
        has_died: Set while the terminal is dead by a fault or by `kill`.
        has_crashed: Set when a mistake in the simulator itself has ended it; `stop` raises it.
        replay_finished: Set when the source of quotes has no more.
        on_death: Called when a fault kills the terminal for good; the command line kills the
            process here.
    """

    def __init__(
        self,
        options: SimOptions | None = None,
        *,
        broker: Broker | None = None,
        quotes: QuoteSource | None = None,
        faults: FaultPlan | None = None,
        monotonic_s: Callable[[], float] = time.monotonic,
    ) -> None:
        """Prepare a terminal; nothing is bound before `start`.

        Args:
            options: Its configuration.
            broker: Its broker; a fresh one if none is given.
            quotes: Its prices; a random walk by the options' seed if none are given.
            faults: What goes wrong from the beginning.
            monotonic_s: A clock that never goes back, seconds.
        """
        self.options = options or SimOptions()
        self.broker = broker or Broker(time_s=int(time.time()) + self.options.broker_offset_s)
        self.faults = faults or FaultPlan(seed=self.options.seed)
        self.truth = Truth(self.options.truth_path)
        self.request_endpoint = self.options.request_endpoint
        self.tick_endpoint: str | None = (
            self.options.tick_endpoint if self.options.dialect is DialectName.BRIDGE else None
        )
        self.is_up = asyncio.Event()
        self.has_died = asyncio.Event()
        self.has_crashed = asyncio.Event()
        self.replay_finished = asyncio.Event()
        self.on_death: Callable[[], None] = lambda: None
        self._monotonic_s = monotonic_s
        if self.options.state_path is not None:
            load_broker(self.broker, self.options.state_path)
        self._source = quotes or self._random_walk()
        self._quotes: Iterator[TimedQuote] = iter(self._source)
        self._bars = BarStore(self.broker.specs.values(), self.options.seed)
        self.platform = Platform(self.broker, self._bars, self._utc_s, self.options.broker_offset_s)
        self._desk = Desk(self.truth, save=self._save, later=self._call_later)
        self._moving = asyncio.Event()
        self._moving.set()
        self._session: _Session | None = None
        self._running: asyncio.Task[None] | None = None
        self._ledger_path = self.options.ledger_path or self._temporary_ledger()
        self._set_opening_quotes()

    async def __aenter__(self) -> Self:
        """Start."""
        await self.start()
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Stop and let go of the files."""
        await self.stop()
        self.truth.close()

    @property
    def session(self) -> str:
        """Return the name of the current start, "" while it is down."""
        return self._session.identity.session if self._session else ""

    @property
    def ledger(self) -> Ledger:
        """Return the open ledger.

        Raises:
            RuntimeError: The terminal is down, or its dialect has none.
        """
        if self._session is None or self._session.ledger is None:
            raise RuntimeError("no ledger is open")
        return self._session.ledger

    async def start(self) -> None:
        """Bind the sockets, open the ledger and begin to serve.

        Raises:
            zmq.ZMQError: An endpoint is taken.
            FileLockedError: Another terminal has the ledger.
        """
        if self._running is not None:
            await self._end_session()
        self._session = self._open_session()
        self.broker.take_events()  # nobody was there to see them
        self.has_died.clear()
        self.is_up.set()
        self.truth.add("started", session=self.session)
        self._running = asyncio.create_task(self._run(self._session), name="sim-terminal")

    async def stop(self) -> None:
        """Stop serving and close everything."""
        if self._running is not None:
            await self._end_session()
            self.truth.add("stopped")

    async def kill(self) -> None:
        """Die abruptly: what is queued is lost, what is half done stays half done."""
        if self._running is not None:
            await self._end_session()
            self.truth.add("died", point="between_requests", id="")
            self.has_died.set()

    async def restart(self) -> None:
        """Die and come back on the same ports, with a new session and the same broker."""
        await self.kill()
        await self.start()

    async def quote(
        self, symbol: str, bid: float, ask: float, *, utc_ms: int | None = None
    ) -> None:
        """Move the market by hand, as a tick of the source would.

        Args:
            symbol: Name.
            bid: Price.
            ask: Price.
            utc_ms: The tick's time; now if not given.
        """
        if self._session is None:
            raise RuntimeError("the terminal is down")
        await self._session.feed.take(TimedQuote(symbol, bid, ask, 0.0, utc_ms))

    async def freeze(self, duration_s: float) -> None:
        """Let everything stand still: requests, ticks, heartbeats."""
        self._moving.clear()
        try:
            await asyncio.sleep(duration_s)
        finally:
            self._moving.set()

    # --- one session ------------------------------------------------------------------------

    def _open_session(self) -> _Session:
        is_bridge = self.options.dialect is DialectName.BRIDGE
        ends = self._open_ends()
        with contextlib.ExitStack() as undo:
            undo.callback(ends.close)
            ledger = self._open_ledger() if is_bridge else None
            undo.pop_all()
        self.request_endpoint = ends.channel.endpoint
        if ends.publisher is not None:
            self.tick_endpoint = ends.publisher.endpoint
        # Who binds knows its endpoint; a gateway that binds has no use for it.
        told_endpoint = None if self.options.connects else self.tick_endpoint
        identity = BridgeTerminal(uuid.uuid4().hex, told_endpoint, set(self.broker.specs))
        feed = Feed(
            self.broker,
            self._bars,
            ends.publisher,
            broker_offset_s=self.options.broker_offset_s,
            subscribed=identity.subscribed,
            moving=self._moving,
            save=self._save,
        )
        return _Session(ends, ledger, identity, feed, self._monotonic_s())

    def _open_ends(self) -> Ends:
        is_bridge = self.options.dialect is DialectName.BRIDGE
        if self.options.pipe_address is not None:
            if not is_bridge:
                raise ValueError("the existing server knows no pipe")
            return PipeEnds(self.options.pipe_address)
        return Sockets.open(
            self.request_endpoint,
            self.tick_endpoint,
            high_water_mark=None if is_bridge else 1,  # 1 as the existing server, see channel.py
            drops_nothing=self._source.waits_for_subscriber,
            connects=self.options.connects,
            curve=self.options.curve,
        )

    def _open_ledger(self) -> Ledger:
        terms = self.broker.terms
        return Ledger(
            self._ledger_path,
            login=terms.login,
            server=terms.server,
            created_s=self._utc_s(),
        )

    def _program(self, session: _Session) -> Program:
        if session.ledger is None:
            return LegacyDialect(self.platform, self._desk)
        return BridgeDialect(
            self.platform,
            self._desk,
            session.ledger,
            session.identity,
            clock_ms=lambda: self._clock_ms(session),
            plain_clients=self.options.plain_clients,
            limits=self.options.limits,
        )

    async def _run(self, session: _Session) -> None:
        server = RequestServer(
            channel=session.ends.channel,
            program=self._program(session),
            desk=self._desk,
            faults=self.faults,
            truth=self.truth,
            moving=self._moving,
            publish_changes=session.feed.publish_changes,
        )
        died: TerminalDied | None = None
        try:
            async with asyncio.TaskGroup() as tasks:
                tasks.create_task(server.run(), name="sim-requests")
                tasks.create_task(self._feed_quotes(session), name="sim-quotes")
                tasks.create_task(self._beat(session), name="sim-heartbeats")
                if session.ends.publisher is not None:
                    publishing = session.ends.publisher.run()
                    tasks.create_task(publishing, name="sim-publisher")
        except* TerminalDied as group:
            died = next(e for e in group.exceptions if isinstance(e, TerminalDied))
        except* Exception:
            self.has_crashed.set()
            raise
        if died is not None:
            await self._after_death(session, comes_back=died.comes_back)

    async def _after_death(self, session: _Session, *, comes_back: bool) -> None:
        if not comes_back:
            self.on_death()
        self.is_up.clear()
        session.close()
        self._session = None
        self.has_died.set()
        if comes_back:
            await asyncio.sleep(self.options.restart_after_s)
            if self._running is not asyncio.current_task():
                return  # somebody outside has ended this session at the same time
            self._running = None
            await self.start()

    async def _end_session(self) -> None:
        running, self._running = self._running, None
        try:
            if running is not None:
                running.cancel()
                with contextlib.suppress(asyncio.CancelledError):
                    await running
        finally:
            self.is_up.clear()
            session, self._session = self._session, None
            if session is not None:
                session.close()

    async def _feed_quotes(self, session: _Session) -> None:
        waits = self._source.waits_for_subscriber
        await session.feed.run(self._quotes, waits_for_subscriber=waits)
        self.replay_finished.set()

    async def _beat(self, session: _Session) -> None:
        def heartbeat() -> Body:
            return {
                "session": session.identity.session,
                "clock_ms": self._clock_ms(session),
                "broker_time": self.broker.now_s,
                "connected": self.platform.is_connected,
                "trade_allowed": self.platform.is_trade_allowed,
                "market_open": self.broker.is_open,
            }

        await session.feed.beat(self.options.heartbeat_interval_s, heartbeat)

    # --- small things -----------------------------------------------------------------------

    def _clock_ms(self, session: _Session) -> int:
        return int((self._monotonic_s() - session.started_s) * 1000)

    def _utc_s(self) -> int:
        if self._source.waits_for_subscriber:  # a replay lives in the time of its file
            return self.broker.now_s - self.options.broker_offset_s
        return int(time.time())

    def _random_walk(self) -> RandomWalk:
        bids = {name: quote.bid for name, quote in self.broker.quotes.items()}
        return RandomWalk(
            list(self.broker.specs.values()),
            seed=self.options.seed,
            interval_s=self.options.tick_interval_s,
            bids=bids,
        )

    def _set_opening_quotes(self) -> None:
        for quote in self._source.opening():
            utc_ms = time.time_ns() // 1_000_000 if quote.utc_ms is None else quote.utc_ms
            time_s = utc_ms // 1000 + self.options.broker_offset_s
            if quote.symbol not in self.broker.quotes:
                self.broker.set_quote(quote.symbol, quote.bid, quote.ask, time_s)
            self._bars.add(quote.symbol, self.broker.quotes[quote.symbol].bid, time_s)

    def _save(self) -> None:
        if self.options.state_path is not None:
            save_broker(self.broker, self.options.state_path)

    def _call_later(self, delay_s: float, call: Callable[[], object]) -> None:
        asyncio.get_running_loop().call_later(delay_s, call)

    def _temporary_ledger(self) -> Path:
        folder = tempfile.mkdtemp(prefix="mt4-sim-")
        weakref.finalize(self, shutil.rmtree, folder, ignore_errors=True)
        return Path(folder) / "ledger.txt"
