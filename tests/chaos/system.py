"""Everything under test, as processes: NATS, two gateways, the terminal, the clients."""

from __future__ import annotations

import asyncio
import json
import random
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from http.client import HTTPException
from pathlib import Path
from typing import Any
from urllib.request import urlopen

from nats.errors import Error as NatsError

from gateway.client import Mt4Client, NoAnswer, NotConnected
from gateway.envelope import ERROR_CODE_HEADER
from gateway.terminal.pipe_name import pipe_address
from tests.chaos.history import Exit, Frame
from tests.chaos.hosted import HostedTerminal
from tests.chaos.options import Options
from tests.chaos.proxy import FrameReader, FrontDoor, PipeProxy, Proxy
from tests.chaos.supervisor import Child
from tests.support.nats_server import nats_server_path
from tests.support.net import free_pipe_name, free_port

TERMINAL = "chaos"
CLIENTS = ("alpha", "beta")
START_S = 30.0
LEASE_TTL_S = 2

SETTINGS: dict[str, dict[str, Any]] = {
    "terminal": {
        "name": TERMINAL,
        "reply_timeout_s": 0.5,
        "patience_s": 1.0,
        "hang_timeout_s": 3.0,
        "probe_interval_s": 0.5,
        "down_grace_s": 10.0,
    },
    "nats": {"round_trip_interval_s": 1.0, "round_trip_timeout_s": 2.0},
    "policy": {"trading": True},
    "journal": {"provision": "create"},
    "ha": {"lease_ttl_s": LEASE_TTL_S},
}
"""A gateway that is patient for a shorter time than in earnest."""


@dataclass(slots=True)
class Gateway:
    """One gateway and its links, each with a proxy on it."""

    name: str
    child: Child
    links: dict[str, Proxy]
    http_port: int

    async def role(self) -> str:
        """Ask it; empty when it does not say."""

        def ask() -> str:
            with urlopen(f"http://127.0.0.1:{self.http_port}/status", timeout=0.3) as reply:
                return str(json.load(reply)["role"])

        try:
            return await asyncio.to_thread(ask)
        except (HTTPException, OSError, ValueError, KeyError):
            return ""


class System:
    """Start, find and stop the parts.

    Attributes:
        frames: Trades that left a gateway, as the proxies have seen them.
    """

    def __init__(self, options: Options) -> None:
        self.options = options
        self.folder = options.folder
        self.frames: list[Frame] = []
        self.nats_port = free_port()
        self.nats_url = f"nats://127.0.0.1:{self.nats_port}"
        self._request_port, self._tick_port = free_port(), free_port()
        self._chance = random.Random(f"{options.seed}/pauses")
        self._pipe = free_pipe_name() if options.transport == "pipe" else None
        self._door: FrontDoor | None = None
        self.nats = self._child("nats", self._nats_command, 0.1, 1.5)
        self.hosted: HostedTerminal | None = None
        if options.terminal == "hosted":
            ports = self._request_port, self._tick_port
            self.hosted = HostedTerminal(options.seed, self.folder, *ports, self._pipe)
            self.terminal: Child = self.hosted.commands
        else:
            self.terminal = self._child("terminal", self._sim_command, 0.1, 1.0)
            self.terminal.may_die = True  # inside an order, as its own faults say
        self.gateways = [self._gateway(name) for name in ("gateway-a", "gateway-b")]
        self.clients = [
            self._child(name, partial(self._client_command, name), 0.1, 1.0) for name in CLIENTS
        ]

    def _child(
        self, name: str, command: Callable[[int], Sequence[str]], least_s: float, most_s: float
    ) -> Child:
        def pause_s() -> float:
            return self._chance.uniform(least_s, most_s)

        return Child(name, command, self.folder / f"{name}.log", pause_s)

    # ---- the parts' command lines ---------------------------------------------------------

    def _nats_command(self, _: int) -> Sequence[str]:
        address = ("-a", "127.0.0.1", "-p", str(self.nats_port))
        return (nats_server_path(), *address, "-js", "-sd", str(self.folder / "jetstream"))

    def _sim_command(self, life: int) -> Sequence[str]:
        chance = random.Random(f"{self.options.seed}/terminal/{life}")
        point = chance.choice(["before_ledger", "before_broker", "after_broker", "before_reply"])
        faults = (
            f"die:DO_*:{point}:#{chance.randrange(30, 300)}",
            "drop:DO_*:0.01",
            "late:DO_*:0.005:800ms",
            "slow:DO_*:0.005:700ms",
            "duplicate:*:0.01",
            "garble:DO_*:0.003",
            "refuse:DO_*:146:0.01",
            "refuse:DO_ORDER_SEND:134:0.005",
            "ambiguous:DO_ORDER_SEND:128:0.003",
        )
        endpoints = (
            *("--request-endpoint", f"tcp://127.0.0.1:{self._request_port}"),
            *("--tick-endpoint", f"tcp://127.0.0.1:{self._tick_port}"),
        )
        return (
            *self._program("sim"),
            *(("--pipe", pipe_address(self._pipe)) if self._pipe else endpoints),
            *("--tick-interval", "0.5", "--deposit", "1000000000"),
            *("--seed", str(chance.randrange(1_000_000))),
            *("--ledger", str(self.ledger), "--state", str(self.state), "--truth", str(self.truth)),
            *(word for fault in faults for word in ("--fault", fault)),
        )

    def _client_command(self, name: str, _: int) -> Sequence[str]:
        return (
            *(sys.executable, "-m", "tests.chaos.clients"),
            *("--name", name, "--nats", self.nats_url, "--terminal", TERMINAL),
            *("--seed", self.options.seed, "--rate", str(self.options.rate / len(CLIENTS))),
            *("--log", str(self.client_log(name))),
        )

    def _program(self, name: str) -> Sequence[str]:
        """Name the real program, or the one with a protection switched off."""
        if self.options.broken is not None:
            return (sys.executable, "-m", "tests.chaos.broken", self.options.broken, name)
        return (sys.executable, "-m", "gateway", name)

    def _gateway(self, name: str) -> Gateway:
        terminal: Proxy = Proxy(f"{name}/terminal", self._request_port)
        if self._pipe is not None:
            terminal = PipeProxy(f"{name}/terminal", f"{self._pipe}-{name}")
        links = {"terminal": terminal, "nats": Proxy(f"{name}/nats", self.nats_port)}
        links["terminal"].new_listener = lambda: FrameReader(name, self.frames.append)
        command = (*self._program("run"), "--config", str(self.folder / "gateway.toml"))
        child = self._child(name, lambda _: command, 0.2, 2.0)
        return Gateway(name, child, links, free_port())

    @property
    def ledger(self) -> Path:
        return self.folder / "ledger.txt"

    @property
    def state(self) -> Path:
        return self.folder / "broker.json"

    @property
    def truth(self) -> Path:
        return self.folder / "truth.jsonl"

    def client_log(self, name: str) -> Path:
        return self.folder / f"{name}.jsonl"

    # ---- life -----------------------------------------------------------------------------

    @property
    def children(self) -> list[Child]:
        gateways = [gateway.child for gateway in self.gateways]
        others = [self.hosted.ticks] if self.hosted and self.hosted.ticks else []
        return [*self.clients, *gateways, self.terminal, *others, self.nats]

    @property
    def exits(self) -> list[Exit]:
        return [ended for child in self.children for ended in child.exits]

    async def start(self) -> None:
        """Start everything, the clients last, when a gateway serves.

        Raises:
            TimeoutError: None did.
        """
        (self.folder / "gateway.toml").write_text(_toml(self._settings()), "utf-8")
        await self.nats.start()
        if self._pipe is not None:
            links = [gateway.links["terminal"] for gateway in self.gateways]
            proxies = [link for link in links if isinstance(link, PipeProxy)]
            self._door = FrontDoor(self._pipe, proxies)
            await self._door.start()
        await (self.hosted or self.terminal).start()
        for gateway in self.gateways:
            for proxy in gateway.links.values():
                await proxy.start()
            gateway.child.environment = {
                **self._way_to_the_terminal(gateway),
                "MT4GW_NATS__SERVERS": f"nats://127.0.0.1:{gateway.links['nats'].port}",
                "MT4GW_HTTP__ADDRESS": f"127.0.0.1:{gateway.http_port}",
            }
            await gateway.child.start()
        async with asyncio.timeout(START_S):
            while await self.active() is None or not await self._serves():  # noqa: ASYNC110
                await asyncio.sleep(0.1)  # a process has no event
        for client in self.clients:
            await client.start()

    def _way_to_the_terminal(self, gateway: Gateway) -> dict[str, str]:
        if self._pipe is None:
            port = gateway.links["terminal"].port
            return {"MT4GW_TERMINAL__REQUEST_ENDPOINT": _tcp(port)}
        pipe_name = f"{self._pipe}-{gateway.name}"
        return {"MT4GW_TERMINAL__TRANSPORT": "pipe", "MT4GW_TERMINAL__PIPE_NAME": pipe_name}

    def _settings(self) -> dict[str, dict[str, Any]]:
        endpoints = {"tick_endpoint": _tcp(self._tick_port)}
        return SETTINGS | {"terminal": SETTINGS["terminal"] | endpoints}

    async def _serves(self) -> bool:
        try:
            async with await Mt4Client.connect(self.nats_url, terminal=TERMINAL) as client:
                await client.orders(timeout_s=1.0)
        except (NoAnswer, NotConnected):
            return False
        return True

    def heal(self) -> None:
        """Mend every link."""
        for gateway in self.gateways:
            for proxy in gateway.links.values():
                proxy.heal()

    async def stop(self) -> None:
        """End everything, at once; nothing is left."""
        await asyncio.gather(*(child.kill() for child in self.children))
        if self.hosted is not None:
            await self.hosted.close()
        if self._door is not None:
            await self._door.close()
        for gateway in self.gateways:
            for proxy in gateway.links.values():
                await proxy.close()

    # ---- finding --------------------------------------------------------------------------

    async def active(self) -> Gateway | None:
        """Return the gateway that says it is active."""
        roles = await asyncio.gather(*(gateway.role() for gateway in self.gateways))
        for gateway, role in zip(self.gateways, roles, strict=True):
            if role == "active":
                return gateway
        return None

    def part(self, name: str, size: float) -> Child:
        """Return what a fault hits that is no gateway."""
        if name == "client":
            return self.clients[int(size * len(self.clients))]
        return {"nats": self.nats, "terminal": self.terminal}[name]

    async def tell(self, verb: str, tries: int) -> bool:
        """Say something to the active gateway, until it confirms or that was often enough."""
        subject = f"mt4.{TERMINAL}.control.{verb}"
        for _ in range(tries):
            try:
                async with await Mt4Client.connect(self.nats_url, connect_timeout_s=1.0) as client:
                    reply = await client.connection.request(subject, b"", timeout=2.0)
            except (NotConnected, NatsError, TimeoutError, OSError):
                await asyncio.sleep(0.5)
                continue
            if ERROR_CODE_HEADER not in (reply.headers or {}):
                return True
        return False


def _tcp(port: int) -> str:
    return f"tcp://127.0.0.1:{port}"


def _toml(settings: dict[str, dict[str, Any]]) -> str:
    sections = []
    for name, values in settings.items():
        lines = [f"{key} = {json.dumps(value)}" for key, value in values.items()]
        sections.append("\n".join([f"[{name}]", *lines]))
    return "\n\n".join(sections) + "\n"
