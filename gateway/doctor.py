"""`mt4-gateway doctor`: look at everything a gateway needs; one line each, with the cure.

It changes nothing: the terminal is greeted without a claim, no stream is made, no order sent.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from datetime import UTC, datetime

from nats.aio.client import Client
from nats.errors import Error as NatsError

from gateway.client import Mt4Client, NoAnswer, NotConnected
from gateway.config import Config
from gateway.core.exchange import Replied, Send
from gateway.core.messages import (
    Call,
    CallAnswer,
    Command,
    CommandId,
    Dialect,
    Effect,
    Json,
    Lane,
    NoCallAnswer,
    Purpose,
    Request,
)
from gateway.errors import ConfigError, JournalAway
from gateway.journal.streams import Streams
from gateway.metrics import Metrics
from gateway.nats_login import Login
from gateway.subjects import Subjects
from gateway.terminal.curve import curve_of
from gateway.terminal.line import Line
from gateway.terminal.transport import make_transport

PATIENCE_S = 5.0
CLOCK_STEP_S = 1800
"""Brokers' clocks differ from UTC by half hours."""


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing looked at.

    Attributes:
        level: `ok`, `warning` (works, but), `failed`, or `do` (a person's turn).
        cure: What to do; empty when it is fine.
    """

    level: str
    what: str
    cure: str = ""


async def examine(config: Config, patience_s: float = PATIENCE_S) -> AsyncIterator[Finding]:
    """Look at one thing after the other; wait for each link at most `patience_s`."""
    yield Finding("ok", "configuration can be used")
    if not config.policy.trading:
        yield Finding("warning", "trading is off", "set policy.trading = true to trade")
    try:
        client = await Mt4Client.connect(
            list(config.nats.servers),
            terminal=config.terminal.name,
            client="doctor",
            prefix=config.bus.prefix,
            connect_timeout_s=patience_s,
            login=Login(config.nats),
            inbox_prefix=config.nats.inbox_prefix,
        )
    except (NotConnected, ConfigError) as exc:
        yield Finding("failed", str(exc), "start nats-server, or put nats.servers and login right")
    else:
        async with client:
            async for finding in _examine_bus(config, client):
                yield finding
            if config.terminal.transport == "pipe" and await _is_served(client):
                yield Finding("ok", f"{config.terminal.address} is held by the gateway that runs")
                return
    if config.terminal.pipe_mode == "text":
        yield Finding("ok", f"{config.terminal.address} is for bare numbers: there is none to ask")
        return
    async for finding in _examine_terminal(config, patience_s):
        yield finding


async def _examine_bus(config: Config, client: Mt4Client) -> AsyncIterator[Finding]:
    connection = client.connection
    started_s = time.perf_counter()
    await connection.flush()
    took_ms = 1000 * (time.perf_counter() - started_s)
    yield Finding("ok", f"NATS answers in {took_ms:.1f} ms")
    async for finding in _examine_jetstream(config, connection):
        yield finding
    try:
        said = await client.status()
    except NoAnswer:
        name = config.terminal.name
        yield Finding("warning", f"no gateway runs for terminal {name}", "mt4-gateway run")
    else:
        link = said["terminal"]["link"]
        yield Finding("ok", f"a gateway runs: {said['role']}, terminal link {link}")
        if said["halted"]:
            yield Finding("warning", f"trading is halted: {said['halted']}", "mt4-gateway resume")
        if said["policy_problem"]:
            problem = f"the policy was not reloaded: {said['policy_problem']}"
            yield Finding("failed", problem, "put the file right, then SIGHUP")
        if said["journal"] != "ok":
            yield Finding("failed", f"journal: {said['journal']}", "see the gateway's log")


async def _examine_jetstream(config: Config, connection: Client) -> AsyncIterator[Finding]:
    trades = config.policy.trading
    try:
        account = await connection.jetstream().account_info()
    except (NatsError, TimeoutError) as exc:
        what = (
            "nothing can be traded" if trades else "nothing could be traded; no last tick is kept"
        )
        cure = "start nats-server with -js, and allow $JS.API.> to this user"
        yield Finding("failed" if trades else "warning", f"no JetStream, so {what}: {exc!r}", cure)
        return
    yield Finding("ok", f"JetStream answers ({account.streams} streams)")
    makes_them = config.journal.provision == "create"
    settings = config.journal.model_copy(update={"provision": "verify"})
    try:
        names = Subjects(config.bus.prefix, config.terminal.name)
        await Streams(names, settings).ensure(connection)
    except ConfigError as exc:
        cure = "the gateway makes or mends it at its start" if makes_them else "make it so"
        for problem in exc.problems:
            yield Finding("warning" if makes_them else "failed", problem, cure)
    except JournalAway as exc:
        yield Finding("failed", str(exc), "allow $JS.API.> to this user")
    else:
        yield Finding("ok", "journal, jobs and dead letters are as they must be")


async def _is_served(client: Mt4Client) -> bool:
    """Tell whether a gateway runs: a pipe has one server, so nobody else can look at it then."""
    try:
        await client.status()
    except NoAnswer:
        return False
    return True


def _ask_nobody(_: Call, answered: Callable[[CallAnswer], None]) -> None:
    answered(CallAnswer(error=NoCallAnswer.NO_BUS, message="this is only the doctor"))


async def _examine_terminal(config: Config, patience_s: float) -> AsyncIterator[Finding]:
    changed = asyncio.Event()
    metrics = Metrics()
    line = Line(
        make_transport(config.terminal, metrics, _ask_nobody, curve_of(config.terminal)).wire,
        config.terminal,
        metrics,
        claims=lambda: False,
        on_stray=lambda *_: None,
        on_change=changed.set,
    )
    line.open()
    keeping = asyncio.create_task(line.keep())
    try:
        async with asyncio.timeout(patience_s):
            while not line.is_usable:
                changed.clear()
                await changed.wait()
        async for finding in _examine_line(line):
            yield finding
    except TimeoutError:
        endpoint = config.terminal.address
        if line.is_linked:
            what = f"the terminal at {endpoint} is there but does not answer"
            cure = "is it busy with an order, or is this another program's port?"
        else:
            what = f"nothing answers at {endpoint}"
            key = "pipe_name" if config.terminal.transport == "pipe" else "request_endpoint"
            cure = f"start the terminal's program; check terminal.{key} and firewall"
        yield Finding("failed", what, cure)
    finally:
        keeping.cancel()
        line.close()


async def _examine_line(line: Line) -> AsyncIterator[Finding]:
    session = line.session
    yield Finding("ok", f"the terminal speaks {session.dialect}")
    if session.dialect is Dialect.METATRADER4_SERVER:
        cure = "use our MQL4 programs where they may be installed; see docs/existing-server.md"
        yield Finding("warning", "the existing server knows no ids: weaker promises", cure)
    account, took_s = await _read(line, "GET_ACCOUNT_INFO", {})
    if not isinstance(account, dict):
        yield Finding("failed", "GET_ACCOUNT_INFO is not answered", "look into the Experts log")
        return
    login, server = account.get("login"), account.get("server")
    yield Finding("ok", f"account {login} at {server}, answered in {1000 * took_s:.1f} ms")
    if session.connected is False:
        yield Finding("failed", "the terminal has no connection to the broker", "log in to MT4")
    if session.trade_allowed is False:
        yield Finding("failed", "the terminal forbids trading", "switch AutoTrading on in MT4")
    if session.greeting is not None and session.greeting.broker_offset_s is not None:
        yield examine_clock(session.greeting.broker_offset_s)


def examine_clock(offset_s: int) -> Finding:
    """Judge how far the broker's clock is from UTC."""
    off_s = (offset_s + CLOCK_STEP_S // 2) % CLOCK_STEP_S - CLOCK_STEP_S // 2
    now = datetime.now(UTC).strftime("%H:%M:%S")
    what = f"the broker's clock is UTC {offset_s / 3600:+.1f} h ({now} UTC here)"
    if abs(off_s) > CLOCK_STEP_S // 30:
        return Finding("warning", what, f"one of the clocks is {off_s} s off: use NTP on both")
    return Finding("ok", what)


async def _read(line: Line, action: str, params: dict[str, Json]) -> tuple[Json, float]:
    now_s = time.monotonic()
    command = Command(
        key=CommandId(None, "doctor"),
        asker="doctor",
        action=action,
        effect=Effect.QUERY,
        lane=Lane.READ,
        params=params,
        digest="",
        received_s=now_s,
        received_at_s=time.time(),
        deadline_s=now_s + PATIENCE_S,
    )
    request = Request(Purpose.COMMAND, action, params, command=command)
    event = await line.perform(Send(request, PATIENCE_S))
    answered = event.reply.response if isinstance(event, Replied) else None
    return answered, time.monotonic() - now_s
