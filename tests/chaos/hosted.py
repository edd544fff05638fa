"""The MQL4 programs that trade, run on this machine as the terminal of a chaos run.

The broker's server lives in the run's own process, as a real one lives elsewhere: killing the
terminal does not touch it.
"""

from __future__ import annotations

import asyncio
import os
import random
import signal
import time
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from gateway.core.evidence import token_of
from gateway.terminal.pipe_name import pipe_folder
from tests.chaos.cases import command_id
from tests.chaos.history import Execution, History, Order, read_ledger, token_in
from tests.chaos.supervisor import Child
from tests.conformance.broker import ArrangedBroker, Mishap
from tests.conformance.peers import BROKER_OFFSET_S
from tests.mql4host.broker_server import BrokerServer
from tests.mql4host.build import EXPERTS_FOLDER, build_all, find_libzmq

TICK_S = 0.5
DEATH_AFTER = (30, 300)
"""Orders after which a terminal dies inside one."""

MISHAPS = (
    (0.005, Mishap.REFUSE, 146),
    (0.003, Mishap.REFUSE, 134),
    (0.003, Mishap.AMBIGUOUS, 128),
    (0.005, Mishap.SLOW, 700),
)


@dataclass(slots=True)
class Expert(Child):
    """One MQL4 program; each life has a line of its own to the broker."""

    server: BrokerServer = field(default_factory=BrokerServer)

    async def _spawn(self) -> None:
        with self.server.open_line() as line:
            self.pass_fds = (line.fileno(),)
            self.environment["MQL4HOST_FD"] = str(line.fileno())
            await Child._spawn(self)


class ChaosBroker(ArrangedBroker):
    """Put every order that opens on record, and let things happen to some.

    Attributes:
        opened_as: Time, token and ticket of each.
    """

    def __init__(self, seed: str) -> None:
        super().__init__(time_s=int(time.time()) + BROKER_OFFSET_S, deposit=1e9)
        self.opened_as: list[tuple[int, str, int]] = []
        self._chance = random.Random(f"{seed}/broker")
        self._left = self._chance.randrange(*DEATH_AFTER)

    def order_send(self, *args: Any, **kwargs: Any) -> Any:
        """Open an order, or do as chance has it."""
        at_ns = time.time_ns()
        self._let_something_happen()
        before = self.next_ticket
        answer = super().order_send(*args, **kwargs)
        if self.next_ticket > before:
            self.opened_as.append((at_ns, token_in(str(kwargs["comment"])), before))
        return answer

    def _let_something_happen(self) -> None:
        self._left -= 1
        if self._left == 0:
            self._left = self._chance.randrange(*DEATH_AFTER)
            mishap = self._chance.choice([Mishap.DIE_BEFORE, Mishap.DIE_AFTER])
            self.arrange("OrderSend", mishap)
            return
        for probability, mishap, number in MISHAPS:
            if self._chance.random() < probability:
                self.arrange("OrderSend", mishap, number)
                return


class HostedTerminal:
    """Run GatewayCommands and GatewayTicks, or GatewayPipe; what hits the terminal hits commands.

    Attributes:
        commands: The program that trades.
        ticks: The one that publishes; None over a pipe, where one is both.
    """

    def __init__(
        self, seed: str, folder: Path, request_port: int, tick_port: int, pipe_name: str | None
    ) -> None:
        names = ("GatewayPipe",) if pipe_name else ("GatewayCommands", "GatewayTicks")
        self._programs = build_all([EXPERTS_FOLDER / f"{name}.mq4" for name in names])
        self._data = folder / "mt4"
        self._data.mkdir(exist_ok=True)
        self.broker = ChaosBroker(seed)
        self._server = BrokerServer(self.broker)
        self._chance = random.Random(f"{seed}/terminal")
        self.ticks: Expert | None = None
        if pipe_name is not None:
            inputs = {"PipeName": pipe_name, "LedgerCreate": "true"}
            self.commands = self._expert(folder, "GatewayPipe", "terminal", inputs)
        else:
            inputs = {"Endpoint": f"tcp://127.0.0.1:{request_port}", "LedgerCreate": "true"}
            self.commands = self._expert(folder, "GatewayCommands", "terminal", inputs)
            inputs = {"Endpoint": f"tcp://127.0.0.1:{tick_port}"}
            self.ticks = self._expert(folder, "GatewayTicks", "ticks", inputs)
        self.commands.may_die = True  # inside an order
        self.broker.die = self._die
        self._moving: asyncio.Task[None] | None = None

    def _expert(self, folder: Path, program: str, name: str, inputs: dict[str, str]) -> Expert:
        inputs["TimerMs"] = "1"
        environment = {
            "MQL4HOST_DATA": str(self._data),
            "MQL4HOST_LIBZMQ": str(find_libzmq()),
            "MQL4HOST_PIPES": str(pipe_folder()),
            "MQL4HOST_INPUTS": "\n".join(f"{key}={value}" for key, value in inputs.items()),
            "ASAN_OPTIONS": "detect_leaks=0:handle_abort=1",
        }
        return Expert(
            name,
            lambda _: [str(self._programs[program])],
            folder / f"{name}.log",
            lambda: self._chance.uniform(0.1, 2.0),
            environment,
            server=self._server,
        )

    def _die(self, _before_broker: bool) -> None:
        """End the program inside its trade call; called from the broker's thread."""
        if pid := self.commands.pid:
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)

    async def start(self) -> None:
        """Attach both programs, and let the market move: its clock is how they learn the time."""
        self._moving = asyncio.create_task(self._move(), name="market")
        if self.ticks is not None:
            await self.ticks.start()
        await self.commands.start()

    async def _move(self) -> None:
        while True:
            for symbol, quote in list(self.broker.quotes.items()):
                now_s = max(int(time.time()) + BROKER_OFFSET_S, self.broker.now_s)
                await asyncio.to_thread(self._server.quote, symbol, quote.bid, quote.ask, now_s)
            await asyncio.sleep(TICK_S)

    async def close(self) -> None:
        """Stop the market."""
        if self._moving is not None:
            self._moving.cancel()
            await asyncio.gather(self._moving, return_exceptions=True)

    def read_books(self, history: History) -> None:
        """Add the broker's book and the ledger."""
        keys = {token_of(command_id(ask.key)): ask.key for ask in history.asked}
        for at_ns, token, ticket in self.broker.opened_as:
            if token in keys:
                history.executions.append(Execution(at_ns, keys[token], "order_send", ticket))
        for order in [*self.broker.orders.values(), *self.broker.history]:
            is_open = not order.close_time_s
            history.orders.append(Order(order.ticket, token_in(order.comment), is_open))
        for ledger in sorted((self._data / "Common/Files/Mt4Gateway").glob("ledger-*.txt")):
            read_ledger(ledger, history)
