"""Start reading here: what the service is made of, and the two flows through it.

    flow 1   NATS command -> Bus -> Commands.accept -> lanes -> Commands.run -> Line -> MT4
             NATS result  <- Bus <- Journal <-----------------------------------'
    flow 2   MT4 -> feed -> Ticks -> Bus -> NATS tick

`run` builds every object, starts one task each, and stops them in order.
"""

from __future__ import annotations

import asyncio
import logging
import signal
import sys
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from typing import Any

from gateway import __version__
from gateway.actions import ACTIONS
from gateway.bus import Bus
from gateway.commands import Commands
from gateway.config import Config
from gateway.core.messages import Dialect, Json, Outcome, Reply, Request, Result
from gateway.envelope import Encoding, cause_body, format_time
from gateway.errors import GatewayError
from gateway.events import OrderWatch
from gateway.journal import MemoryJournal
from gateway.metrics import Metrics
from gateway.replies import event_shown
from gateway.status import StatusServer, watch_loop_lag
from gateway.terminal.line import Line
from gateway.terminal.zmq import ZmqFeed, ZmqWire
from gateway.ticks import Ticks

log = logging.getLogger(__name__)

DRAIN_GRACE_S = 10.0
"""How long SIGTERM waits for the trade on the channel before reporting it as unknown."""


class App:
    """One gateway for one terminal."""

    def __init__(self, config: Config) -> None:
        self.config = config
        self.started_at_s = time.time()
        self.metrics = Metrics(symbols=config.ticks.symbols, actions=ACTIONS)
        self.bus = Bus(config, self.metrics)
        self.line = Line(
            ZmqWire(config.terminal.request_endpoint),
            config.terminal,
            self.metrics,
            claims=config.policy.trading,
            on_stray=self._stray,
            on_change=self._terminal_changed,
        )
        self.commands = Commands(
            config,
            self.line,
            MemoryJournal(config.journal.remembered),
            self.metrics,
            on_result=self.bus.publish_result,
        )
        self.ticks = Ticks(
            Encoding.MSGPACK if config.ticks.encoding == "msgpack" else Encoding.JSON,
            publish=self.bus.post_tick,
            heard=self._heard,
            metrics=self.metrics,
        )
        self.commands.screening.newest = self.ticks.newest
        self.status = StatusServer(
            config.http.address, self.metrics, self.describe, self.not_ready_because
        )
        self._feed: ZmqFeed | None = None
        self._stopping = asyncio.Event()
        self._serving = False

    # ---- life ---------------------------------------------------------------------------

    async def run(self) -> None:
        """Serve until `stop`.

        Raises:
            TransportError: NATS has closed the connection for good.
            Deposed: Another gateway has claimed the terminal.
        """
        await self.status.start()
        self.line.open()
        try:
            async with asyncio.TaskGroup() as tasks:
                service = [
                    tasks.create_task(self.line.keep(), name="line"),
                    tasks.create_task(self.commands.run(), name="commands"),
                    tasks.create_task(self.bus.pump(), name="bus-out"),
                    tasks.create_task(self._serve_bus(), name="bus"),
                    tasks.create_task(self._poll_ticks(), name="poll"),
                    tasks.create_task(self._watch_orders(), name="events"),
                    tasks.create_task(watch_loop_lag(self.metrics.loop_lagged), name="lag"),
                ]
                await self._stopping.wait()
                await self._drain()
                for task in service:
                    task.cancel()
        finally:
            await self.commands.abandon()
            await self.bus.close()
            if self._feed is not None:
                self._feed.close()
            self.line.close()
            await self.status.stop()

    def stop(self) -> None:
        """Begin an orderly end."""
        self._stopping.set()

    async def _serve_bus(self) -> None:
        await self.bus.connect()
        await self.bus.serve(self.commands.accept, self.commands.state_of, self.describe)
        self._open_feed()  # not before: ticks that nobody can take would only be conflated
        self._serving = True
        self.metrics.is_active(True)
        self.bus.post_event("gateway", self._gateway_event("started"))
        log.info("gateway_serving terminal=%s subjects=%s.>", self._name, self.bus.subjects.base)
        await self.bus.watch()

    async def _drain(self) -> None:
        log.info("gateway_draining")
        self._serving = False
        self.bus.post_event("gateway", self._gateway_event("stopping"))
        await self.commands.drain(DRAIN_GRACE_S)

    def _open_feed(self) -> None:
        endpoint = self.config.terminal.tick_endpoint
        if endpoint is not None:
            self._feed = ZmqFeed(endpoint)
            self._feed.open(self.ticks.receive)

    # ---- what the edges report ----------------------------------------------------------

    def _stray(self, request: Request, reply: Reply) -> None:
        self.commands.stray(request, reply)

    def _terminal_changed(self) -> None:
        """Tell the bus that the terminal is up or down; another one has other symbols."""
        self.commands.screening.forget()
        self.bus.post_event("terminal", self._terminal_event())

    def _heard(self, topic: str, said: Mapping[str, Json]) -> None:
        """Take in what the terminal publishes beside ticks."""
        if topic == "heartbeat":
            self.line.heartbeat(said)
            if isinstance(is_open := said.get("market_open"), bool):
                self.metrics.market_is_open(is_open)
        elif topic in ("order", "account"):
            self._happened(topic, dict(said))

    def _happened(self, kind: str, said: dict[str, Json]) -> None:
        """Publish an event of the account's, told by the terminal or found by looking."""
        self.bus.post_event(kind, event_shown(said, self.line.session.broker_offset_s))

    async def _watch_orders(self) -> None:
        """Look for events where the terminal publishes none."""
        settings = self.config.terminal
        if not settings.event_interval_s:
            return

        async def ask(action: str, params: dict[str, Json]) -> Result:
            return await self.commands.ask(action, params, timeout_s=settings.reply_timeout_s)

        watch = OrderWatch(ask, self._happened)
        while True:
            if self.line.session.dialect is Dialect.METATRADER4_SERVER and self.line.is_usable:
                await watch.look()
            await asyncio.sleep(settings.event_interval_s)

    async def _poll_ticks(self) -> None:
        """Look at prices now and then where the terminal publishes none."""
        settings = self.config.terminal
        while True:
            await asyncio.sleep(settings.poll_interval_s)
            if self.line.session.dialect is not Dialect.METATRADER4_SERVER:
                continue
            for symbol in settings.poll_symbols:
                result = await self.commands.ask(
                    "GET_SYMBOL_TICK", {"symbol": symbol}, timeout_s=settings.reply_timeout_s
                )
                quote = result.conclusion.response
                if result.outcome is Outcome.SUCCEEDED and isinstance(quote, dict):
                    self.ticks.polled(symbol, quote, time.time_ns() // 1_000_000)

    # ---- what is told -------------------------------------------------------------------

    @property
    def _name(self) -> str:
        return self.config.terminal.name

    def not_ready_because(self) -> list[str]:
        """Say why the gateway cannot serve; empty when it can. MT4 being away is no reason."""
        if self._stopping.is_set():
            return ["the gateway is shutting down"]
        if not self.bus.is_connected:
            return [f"no connection to NATS: {self.bus.last_error or 'trying'}"]
        return [] if self._serving else ["not subscribed yet"]

    def _gateway_event(self, event: str) -> dict[str, Json]:
        return {
            "event": event,
            "terminal": self._name,
            "version": __version__,
            "at": format_time(time.time()),
        }

    def _terminal_event(self) -> dict[str, Json]:
        session = self.line.session
        return {
            "event": "up" if self.line.is_usable else "down",
            "terminal": self._name,
            "dialect": session.dialect and str(session.dialect),
            "session": session.greeting.session if session.greeting else None,
            "connected": session.connected,
            "trade_allowed": session.trade_allowed,
            "at": format_time(time.time()),
        }

    def describe(self) -> dict[str, Json]:
        """Describe the gateway as `/status` and `control.status` do."""
        session, now_s = self.line.session, time.time()
        greeting = session.greeting
        return {
            "version": __version__,
            "started_at": format_time(self.started_at_s),
            "role": "active" if self._serving else "starting",
            "halted": False,
            "trading": self.config.policy.trading,
            "terminal": {
                "name": self._name,
                "dialect": session.dialect and str(session.dialect),
                "link": "up" if self.line.is_usable else "down",
                "session": greeting.session if greeting else None,
                "account": dict(greeting.account) if greeting and greeting.account else None,
                "connected": session.connected,
                "trade_allowed": session.trade_allowed,
                "epoch": session.epoch,
                "broker_offset_s": session.broker_offset_s,
            },
            "nats": {
                "connected": self.bus.is_connected,
                "server": self.bus.server,
                "round_trip_s": self.bus.round_trip_s,
            },
            "channel": {
                "busy": self.line.current_action is not None,
                "action": self.line.current_action,
            },
            "queues": self.commands.queues(),
            "last_commands": [
                {
                    "id": result.key.id,
                    "client": result.key.client,
                    "action": result.action,
                    "outcome": str(result.outcome),
                    "error": cause_body(result.conclusion.cause),
                    "finished_at": format_time(result.finished_at_s),
                    "took_s": round(result.finished_at_s - result.received_at_s, 6),
                }
                for result in reversed(self.commands.last_results)
            ],
            "ticks": {
                tick.symbol: {
                    "bid": tick.bid,
                    "ask": tick.ask,
                    "time": tick.time_ms,
                    "seq": tick.seq,
                    "age_s": round(now_s - tick.time_ms / 1000, 3),
                }
                for tick in self.ticks.newest.values()
            },
        }


def run(config: Config) -> None:
    """Run one gateway in this process until it is told to stop.

    Raises:
        GatewayError: What ended it, if it was not told to.
    """

    async def main() -> None:
        app = App(config)
        on_signal(app.stop)
        await app.run()

    with asyncio.Runner(loop_factory=loop_factory()) as runner:
        try:
            runner.run(main())
        except ExceptionGroup as group:
            ours, others = group.split(GatewayError)
            if ours is None or others is not None:
                raise
            raise ours.exceptions[0] from group


def on_signal(stop: Callable[[], object]) -> None:
    """Call `stop` on SIGTERM and SIGINT, also where the loop knows no signals (Windows)."""
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        try:
            loop.add_signal_handler(number, stop)
        except NotImplementedError:
            signal.signal(number, lambda *_: loop.call_soon_threadsafe(stop))


def loop_factory() -> Any:
    """Choose the event loop: uvloop where there is one; on Windows one that ZeroMQ can use."""
    if sys.platform == "win32":
        return asyncio.SelectorEventLoop
    with suppress(ImportError):
        import uvloop  # noqa: PLC0415 - optional

        return uvloop.new_event_loop
    return None
