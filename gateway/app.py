"""Start reading here: what the service is made of, and the two flows through it.

    flow 1   NATS command -> Bus -> Commands.accept -> lanes -> Commands.run -> Line -> MT4
             NATS result  <- Journal <------------------------------------------'
    flow 2   MT4 -> feed -> Ticks -> Bus -> NATS tick
    calls    MT4 -> pipe -> Calls -> Bus -> NATS request, and its answer back

`run` builds every object, starts one task each, and stops them in order.
"""

from __future__ import annotations

import asyncio
import logging
import secrets
import signal
import socket
import sys
import time
from collections.abc import Awaitable, Callable, Mapping
from contextlib import suppress
from enum import StrEnum
from typing import Any, TypeVar

from gateway import __version__, cancellation
from gateway.actions import ACTIONS
from gateway.audit import Audit
from gateway.bus import Bus
from gateway.calls import Calls
from gateway.commands import Commands
from gateway.config import Config
from gateway.core.messages import Dialect, Json, Outcome, Reply, Request, Result
from gateway.envelope import cause_body, format_time
from gateway.errors import GatewayError, JournalAway, StartOver
from gateway.events import OrderWatch
from gateway.front_door import FrontDoor
from gateway.jobs import Jobs
from gateway.journal.lease import Lease
from gateway.journal.records import Records
from gateway.journal.streams import Streams
from gateway.journal.trades import Inheritance, JetStreamJournal
from gateway.metrics import Metrics
from gateway.policy_reload import Reload
from gateway.policy_settings import PolicyInForce
from gateway.replies import event_shown
from gateway.status import StatusServer, watch_loop_lag
from gateway.terminal.curve import curve_of
from gateway.terminal.line import Line
from gateway.terminal.transport import make_transport
from gateway.ticks import Ticks

log = logging.getLogger(__name__)

DRAIN_GRACE_S = 10.0
"""How long SIGTERM waits for the trade on the channel before leaving it to the next gateway."""

JOURNAL_RETRY_S = 2.0
"""How often JetStream is looked for where there is none."""

KEEP_MARK_S = 3600.0
"""How often the journal's mark is written where it does not age; records live a day at least."""

STEP_DOWN_PAUSE_S = 1.0
"""How long a gateway that stepped down leaves the lease to others."""

Raised = TypeVar("Raised", bound=BaseException)


class Role(StrEnum):
    """What this gateway is to its terminal now."""

    STARTING = "starting"
    STANDBY = "standby"
    ACTIVE = "active"
    READING = "reading"  # without JetStream: nothing is traded


class App:
    """One gateway for one terminal, for one turn of being active.

    Args:
        metrics: Those of earlier turns in the same process go on counting.
        policy: In force while it is not replaced; that of `config` by default.
    """

    def __init__(
        self,
        config: Config,
        metrics: Metrics | None = None,
        policy: PolicyInForce | None = None,
    ) -> None:
        self.config = config
        self.policy = policy or PolicyInForce(config.policy)
        self.started_at_s = time.time()
        self.instance = f"{socket.gethostname()}-{secrets.token_hex(4)}"
        self.metrics = metrics or Metrics(symbols=config.ticks.symbols, actions=ACTIONS)
        self.metrics.watch_policy(lambda: self.policy.problem is not None)
        self.role = Role.STARTING
        self.bus = Bus(config, self.metrics, self.policy)
        names = self.bus.subjects
        self.streams = Streams(names, config.journal)
        records = Records(self.bus.client, self.streams.names.journal)
        ttl_s = config.ha.lease_ttl_s
        self.lease = Lease(records, names, self.metrics, holder=self.instance, ttl_s=ttl_s)
        self.journal = JetStreamJournal(
            records,
            names,
            self.metrics,
            encoding=self.bus.encoding,
            retention_days=config.journal.retention_days,
            holds_lease=self.lease.is_held,
        )
        self._curve = curve_of(config.terminal)
        self.calls = Calls(self.bus.call)
        transport = make_transport(config.terminal, self.metrics, self.calls.take, self._curve)
        self._feed = transport.feed
        self.line = Line(
            transport.wire,
            config.terminal,
            self.metrics,
            journal=self.journal,
            claims=lambda: self._has_to_trade and self.lease.is_held(),
            on_stray=self._stray,
            on_change=self._terminal_changed,
        )
        audit = Audit(self.bus.publish_audit, self.instance, lambda: self.journal.term, self.policy)
        self.commands = Commands(
            config, self.line, self.journal, self.metrics, policy=self.policy, audit=audit
        )
        self.front_door = (
            FrontDoor(config.front_door, self.commands.accept)
            if config.front_door.endpoint
            else None
        )
        self.jobs = Jobs(
            self.bus.client,
            self.streams,
            names,
            self.metrics,
            read=self.bus.read_job,
            accept=self.commands.accept,
            publish_denial=self.bus.publish_denial,
        )
        self.ticks = Ticks(
            config.ticks.encoding,
            publish=self.bus.post_ticks,
            heard=self._heard,
            metrics=self.metrics,
        )
        self.commands.screening.newest = self.ticks.newest
        self.status = StatusServer(
            config.http.address, self.metrics, self.describe, self.not_ready_because
        )
        self._stopping = asyncio.Event()
        self._telling = asyncio.Lock()
        self._steps_down = False
        self._has_inherited = False

    @property
    def _has_to_trade(self) -> bool:
        """Tell whether the right to trade is needed: to trade, or to find out what was sent."""
        return self.policy.current.trading or self._has_inherited

    # ---- life ---------------------------------------------------------------------------

    async def run(self) -> None:
        """Serve until `stop`.

        Raises:
            StartOver: Another gateway is active now, or may be.
            TransportError: NATS has closed the connection for good.
            ConfigError: A stream is not as it must be.
        """
        await self.status.start()
        try:
            async with asyncio.TaskGroup() as tasks:
                service = [
                    tasks.create_task(self.line.keep(), name="line"),
                    tasks.create_task(self.commands.run(), name="commands"),
                    tasks.create_task(self.bus.pump(), name="bus-out"),
                    tasks.create_task(self.calls.run(), name="calls"),
                    tasks.create_task(self._serve_bus(), name="bus"),
                    tasks.create_task(self._poll_ticks(), name="poll"),
                    tasks.create_task(self._watch_orders(), name="events"),
                    tasks.create_task(watch_loop_lag(self.metrics.loop_lagged), name="lag"),
                ]
                if self.front_door is not None:
                    door = tasks.create_task(self.front_door.run(), name="front-door")
                    service.append(door)
                await self._stopping.wait()
                await self._drain()
                for task in service:
                    task.cancel()
        finally:
            self.metrics.is_active(False)
            await self.commands.abandon()
            if self.front_door is not None:
                self.front_door.close()
            if self._feed is not None:
                self._feed.close()
            self.ticks.close()
            self.line.close()  # before the lease: the next gateway wants the pipe's name, too
            await self.lease.release()
            await self.bus.close()
            await self.status.stop()
        if self._steps_down:
            raise StartOver("told to step down", STEP_DOWN_PAUSE_S)

    def stop(self) -> None:
        """Begin an orderly end."""
        self._stopping.set()

    async def _serve_bus(self) -> None:
        await self.bus.connect()
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self.bus.watch(), name="bus-watch")
            if not await self._has_journal():
                await self._only_read()
            await self._take_turn(tasks)

    async def _has_journal(self) -> bool:
        try:
            await self.streams.ensure(self.bus.client)
        except JournalAway as exc:
            if self.role is Role.STARTING:
                log.warning("no_journal trading=off cause=%s", exc)
            return False
        return True

    async def _only_read(self) -> None:
        """Serve reads and ticks, unless somebody does, until there is a journal.

        Raises:
            StartOver: There is one now, and this gateway serves already.
        """
        self.role = Role.STANDBY
        while True:
            cancellation.heed()
            if self.role is Role.STANDBY and not await self.bus.is_served():
                await self._open(Role.READING)
            await asyncio.sleep(JOURNAL_RETRY_S)
            if await self._has_journal():
                break
        if self.role is Role.READING:
            raise StartOver("JetStream answers now")

    async def _take_turn(self, tasks: asyncio.TaskGroup) -> None:
        """Stand by until the lease is ours; then take over, and only then take commands in."""
        self.role = Role.STANDBY
        log.info("gateway_stands_by terminal=%s", self._name)
        await self.lease.acquire()
        tasks.create_task(self.lease.keep(), name="lease")
        inheritance = await self._inherit()
        self._has_inherited = bool(inheritance.unfinished or inheritance.unknown)
        self.commands.inherit(inheritance)
        await self._open(Role.ACTIVE)
        self.metrics.is_active(True)
        tasks.create_task(self.jobs.run(), name="jobs")
        tasks.create_task(self._mind_the_journal(), name="journal")
        looking = self.commands.unknowns.watch(self.config.terminal.watch_interval_s)
        tasks.create_task(looking, name="watch")

    async def _inherit(self) -> Inheritance:
        while True:
            cancellation.heed()
            try:
                inheritance = await self.journal.take_over(
                    self.instance, self.policy.current.memory_s
                )
                await self.jobs.reset()
                await self._hold_jobs()
            except JournalAway as exc:
                log.warning("take_over_failed cause=%s", exc)
                await asyncio.sleep(JOURNAL_RETRY_S)
            else:
                return inheritance

    async def _open(self, role: Role) -> None:
        """Meet the terminal and take commands in."""
        self.line.open()
        await self.bus.serve(
            self.commands.accept, self.commands.state_of, self.describe, self._control
        )
        if self.front_door is not None:
            self.front_door.open()
        self._open_feed()  # not before: ticks that nobody can take would only be conflated
        self.role = role
        self.bus.post_event("gateway", self._gateway_event("started"))
        log.info(
            "gateway_serving terminal=%s role=%s subjects=%s.>",
            self._name,
            role,
            self.bus.subjects.base,
        )

    async def _mind_the_journal(self) -> None:
        """Keep its mark, and make it last if it was found to have gone back."""
        kept_at_s = time.monotonic()
        while True:
            cancellation.heed()
            await asyncio.sleep(JOURNAL_RETRY_S)
            self.journal.heed_the_fence()
            with suppress(JournalAway):  # tried again; nothing is sent meanwhile
                if self.journal.went_back is not None and self.journal.halted is None:
                    await self._control("halt", {"reason": self.journal.went_back})
                if time.monotonic() > kept_at_s + KEEP_MARK_S:
                    await self.journal.keep_mark()
                    kept_at_s = time.monotonic()

    async def _control(self, verb: str, body: dict[str, Json]) -> dict[str, Json]:
        """Do what an operator says; raises `JournalAway` when it would not last."""
        match verb:
            case "halt":
                reason = str(body.get("reason") or "no reason was given")
                await self._told(self.journal.halt(reason))
            case "resume":
                await self._told(self.journal.resume())
            case _:
                self._steps_down = True
                self.stop()
        log.warning("gateway_told verb=%s body=%s", verb, body)
        self.bus.post_event("gateway", self._gateway_event(verb))
        return self.describe()

    async def _told(self, telling: Awaitable[None]) -> None:
        """Have the journal and the jobs told, one verb after the other.

        JetStream may hold jobs and let them go in another order than it was asked to.
        """
        async with self._telling:
            await telling
            await self._hold_jobs()

    async def _hold_jobs(self) -> None:
        """Have the queue hand out what the journal's halt leaves, and everything without one.

        Also when taking over: the last gateway may have ended in between, or left other jobs.
        """
        await self.jobs.go_on()
        if self.journal.halted is not None:
            await self.jobs.pause(reducing=not self.policy.current.halt_allows_reducing)

    async def _drain(self) -> None:
        log.info("gateway_draining")
        if self.role is Role.ACTIVE:
            self.bus.post_event("gateway", self._gateway_event("stopping"))
        self.jobs.stop()
        await self.bus.retire()
        await self.commands.drain(DRAIN_GRACE_S)

    def _open_feed(self) -> None:
        if self._feed is not None:
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
        return ["not subscribed yet"] if self.role is Role.STARTING else []

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
        refusal, halted = self.journal.refusal(), self.journal.halted
        journal = refusal.message if refusal else "ok"
        if self.role is Role.STANDBY:  # it is the active one's; we have not begun a term of our own
            journal = "standing by"
        greeting = session.greeting
        return {
            "version": __version__,
            "started_at": format_time(self.started_at_s),
            "instance": self.instance,
            "role": str(self.role),
            "halted": halted.reason if halted else False,
            "term": self.journal.term,
            "journal": journal,
            "trading": self.policy.current.trading,
            "policy": self.policy.fingerprint,
            "policy_problem": self.policy.problem,
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
                for result in reversed(self.commands.results.last)
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


def run(config: Config, reload: Reload | None = None) -> None:
    """Run one gateway in this process until it is told to stop.

    Args:
        config: Its configuration.
        reload: How its policy is read again.

    Raises:
        GatewayError: What ended it, if it was not told to.
    """
    policy = reload or Reload(config)

    async def main() -> None:
        with policy.listening():
            await turns()

    async def turns() -> None:
        metrics = Metrics(symbols=config.ticks.symbols, actions=ACTIONS)
        told_to_stop = asyncio.Event()
        while not told_to_stop.is_set():
            app = App(config, metrics, policy.policy)

            def stop(app: App = app) -> None:
                told_to_stop.set()
                app.stop()

            on_signal(stop)
            try:
                await app.run()
            except* StartOver as group:
                why = first_of(group)
                log.warning("gateway_starts_over cause=%s", why)
                pause_s = why.pause_s
            else:
                return
            with suppress(TimeoutError):
                await asyncio.wait_for(told_to_stop.wait(), pause_s)

    with asyncio.Runner(loop_factory=loop_factory(config.terminal.transport)) as runner:
        try:
            runner.run(main())
        except ExceptionGroup as group:
            ours, others = group.split(GatewayError)
            if ours is None or others is not None:
                raise
            raise first_of(ours) from group


def first_of(group: BaseExceptionGroup[Raised]) -> Raised:
    """Return the first exception in a group of groups."""
    first = group.exceptions[0]
    return first_of(first) if isinstance(first, BaseExceptionGroup) else first


def on_signal(stop: Callable[[], object]) -> None:
    """Call `stop` on SIGTERM and SIGINT, also where the loop knows no signals (Windows)."""
    loop = asyncio.get_running_loop()
    numbers = [signal.SIGTERM, signal.SIGINT]
    if sys.platform == "win32":
        numbers.append(signal.SIGBREAK)  # what Windows can send to another process
    for number in numbers:
        try:
            loop.add_signal_handler(number, stop)
        except NotImplementedError:
            signal.signal(number, lambda *_: loop.call_soon_threadsafe(stop))


def loop_factory(transport: str = "zmq") -> Any:
    """Choose the event loop: uvloop where there is one; on Windows the one that can do it.

    There ZeroMQ needs the loop that waits for sockets, and a pipe the other one.
    """
    if sys.platform == "win32":
        return asyncio.ProactorEventLoop if transport == "pipe" else asyncio.SelectorEventLoop
    with suppress(ImportError):
        import uvloop  # noqa: PLC0415 - optional

        return uvloop.new_event_loop
    return None
