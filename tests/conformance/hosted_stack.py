"""The gateway with the hosted MQL4 programs in the simulator's place; everything else is real."""

from __future__ import annotations

import asyncio
import contextlib
import json
import time
from pathlib import Path
from typing import Any

import zmq
import zmq.asyncio

from gateway.sim.faults import FaultKind, parse_fault
from tests.conformance.broker import ArrangedBroker, Mishap
from tests.conformance.peers import BROKER_OFFSET_S
from tests.mql4host.broker_server import BrokerServer
from tests.mql4host.client import BridgeClient
from tests.mql4host.hosted import HostedExpert, Input
from tests.support.stack import PATIENCE_S, QUIET, Stack

CALLS = {
    "DO_ORDER_SEND": "OrderSend",
    "DO_ORDER_MODIFY": "OrderModify",
    "DO_ORDER_CLOSE": "OrderClose",
    "DO_ORDER_DELETE": "OrderDelete",
}


class HostedFaults:
    """Take those of the simulator's written faults that a broker alone can do."""

    def __init__(self, broker: ArrangedBroker) -> None:
        self._broker = broker

    def add_spec(self, spec: str) -> None:
        """Put a written fault into effect."""
        fault = parse_fault(spec)
        mishap = {FaultKind.REFUSE: Mishap.REFUSE, FaultKind.AMBIGUOUS: Mishap.AMBIGUOUS}[
            fault.kind
        ]
        for _ in fault.numbers:
            self._broker.arrange(CALLS[fault.action], mishap, fault.code)

    def clear(self) -> None:
        """Let nothing go wrong any more."""
        self._broker.arranged.clear()


class HostedTerminal:
    """Run GatewayCommands and GatewayTicks in one terminal, or GatewayPipe, which is both.

    Attributes:
        broker: The truth about orders; survives restarts.
        faults: What the broker refuses.
        commands: The program that trades.
        ticks: The one that publishes; the same over a pipe.
    """

    def __init__(
        self,
        programs: dict[str, Path],
        folder: Path,
        pipe_name: str | None,
        attach: type[HostedExpert] = HostedExpert,
    ) -> None:
        self.broker = ArrangedBroker(time_s=int(time.time()) + BROKER_OFFSET_S, deposit=1e9)
        self.faults = HostedFaults(self.broker)
        self.server = BrokerServer(self.broker)
        self.broker.lock = self.server.lock
        if pipe_name is not None:
            inputs: dict[str, Input] = {"LedgerCreate": True, "PipeName": pipe_name}
            self.commands = attach(programs["GatewayPipe"], self.server, folder, inputs)
            self.ticks = self.commands
        else:
            self.commands = HostedExpert(
                programs["GatewayCommands"], self.server, folder, {"LedgerCreate": True}
            )
            self.ticks = HostedExpert(programs["GatewayTicks"], self.server, folder)
        self.died = asyncio.Event()
        self._loop = asyncio.get_running_loop()
        self.broker.die = self._die

    def _die(self, _before_broker: bool) -> None:
        self.commands.kill()
        self._loop.call_soon_threadsafe(self.died.set)

    async def start(self) -> None:
        """Attach the programs."""
        await asyncio.to_thread(self.commands.start)
        self._moves = asyncio.create_task(self._move())
        if self.ticks is self.commands:
            await asyncio.to_thread(self._wait_for_moves)
            return
        await asyncio.to_thread(self.ticks.start)
        await asyncio.to_thread(self._wait_for_offset)

    def _wait_for_offset(self) -> None:
        # The gateway asks for the broker's offset from UTC when it says HELLO, and not again.
        with BridgeClient(self.commands.endpoint) as client:
            while client.ask("GET_SERVER_TIME")["response"]["broker_offset_s"] is None:
                time.sleep(0.01)

    def _wait_for_moves(self) -> None:
        # Over a pipe nobody can ask before the gateway does: wait until it has seen two times.
        for _ in range(2):
            before_s = self.broker.now_s
            while self.broker.now_s == before_s:
                time.sleep(0.01)
            looks = self.server.calls["TimeCurrent"]
            while self.server.calls["TimeCurrent"] < looks + 2:
                time.sleep(0.01)

    async def _move(self) -> None:
        # The programs learn the broker's offset from UTC from a clock that moves.
        while True:
            for symbol, quote in list(self.broker.quotes.items()):
                if symbol != self.server.chart_symbol:
                    self.quote(symbol, quote.bid, quote.ask)
            await asyncio.sleep(0.2)

    async def stop(self) -> None:
        """Remove both."""
        self._moves.cancel()
        await asyncio.to_thread(self.commands.kill)
        await asyncio.to_thread(self.ticks.kill)

    async def revive(self) -> None:
        """Attach the commands again after they have died by themselves."""
        async with asyncio.timeout(PATIENCE_S):
            await self.died.wait()
        self.died.clear()
        await asyncio.to_thread(self.commands.start)

    async def restart(self) -> None:
        """Kill the commands with SIGKILL and attach them again."""
        await asyncio.to_thread(self.commands.kill)
        await asyncio.to_thread(self.commands.start)

    def quote(self, symbol: str, bid: float, ask: float) -> None:
        """Move the market."""
        now_s = int(time.time()) + BROKER_OFFSET_S
        self.server.quote(symbol, bid, ask, max(now_s, self.broker.now_s))

    def forget(self, tokens: set[str]) -> None:
        """Take orders off the account, as closed ones leave the history that a terminal shows.

        The programs ask for each order of the list one by one, so a long one slows a long run.
        """
        with self.server.lock:
            for ticket, order in list(self.broker.orders.items()):
                if order.comment[:14] in tokens:
                    del self.broker.orders[ticket]

    @property
    def findings(self) -> list[str]:
        """Return what a sanitizer or the host has to say against the programs."""
        lines = [*self.commands.log, *self.ticks.log]
        return [line for line in lines if "Sanitizer" in line or "runtime error" in line]


class LosingProxy:
    """Stand between gateway and terminal, and lose replies.

    Attributes:
        loses: How many of the next replies to trades are lost.
        lost: How many have been.
    """

    def __init__(self, terminal_endpoint: str) -> None:
        self._context = zmq.asyncio.Context()
        self._front: Any = self._context.socket(zmq.ROUTER)
        self._back: Any = self._context.socket(zmq.DEALER)
        for socket in (self._front, self._back):
            socket.linger = 0
        port = self._front.bind_to_random_port("tcp://127.0.0.1")
        self._back.connect(terminal_endpoint)
        self.endpoint = f"tcp://127.0.0.1:{port}"
        self.loses = 0
        self.lost = 0
        self._trades: set[bytes] = set()
        self._tasks = [asyncio.create_task(self._ask()), asyncio.create_task(self._answer())]

    async def _ask(self) -> None:
        while True:
            frames = await self._front.recv_multipart()
            if json.loads(frames[-1]).get("action", "").startswith("DO_"):
                self._trades.add(frames[1])
            await self._back.send_multipart(frames)

    async def _answer(self) -> None:
        while True:
            frames = await self._back.recv_multipart()
            if self.loses and frames[1] in self._trades:
                self.loses -= 1
                self.lost += 1
                continue
            await self._front.send_multipart(frames)

    async def close(self) -> None:
        """Stop."""
        for task in self._tasks:
            task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await task
        self._context.destroy(linger=0)


class HostedStack(Stack):
    """Run a gateway between a NATS server and the hosted MQL4 programs.

    Attributes:
        hosted: The terminal.
        proxy: What loses replies, if asked for.
    """

    def __init__(
        self,
        nats_url: str,
        programs: dict[str, Path],
        folder: Path,
        *,
        with_proxy: bool = False,
        transport: str | None = None,
        **sections: dict[str, Any],
    ) -> None:
        super().__init__(nats_url, QUIET, None, None, transport, **sections)
        self._programs = programs
        self._folder = folder
        self._with_proxy = with_proxy
        self.proxy: LosingProxy | None = None

    async def _start_terminal(self) -> None:
        self.hosted = HostedTerminal(self._programs, self._folder, self.pipe_name)
        # The cases that were written for the simulator find the same names here.
        self.terminal = self.hosted  # type: ignore[assignment]
        await self.hosted.start()
        if self._with_proxy:
            self.proxy = LosingProxy(self.hosted.commands.endpoint)

    async def _stop_terminal(self) -> None:
        if self.proxy is not None:
            await self.proxy.close()
        await self.hosted.stop()

    def _endpoints(self) -> dict[str, Any]:
        if self.pipe_name is not None:
            return super()._endpoints()
        requests = self.proxy.endpoint if self.proxy else self.hosted.commands.endpoint
        return {"request_endpoint": requests, "tick_endpoint": self.hosted.ticks.endpoint}
