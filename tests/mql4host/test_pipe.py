"""MQL4 programs at the gateway's pipe: calls, the plain form, and a gateway that does not answer.

`MT4GW_ROUND_TRIPS` of the plain form, 300 by default; the long test makes 10,000.
"""

from __future__ import annotations

import asyncio
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import nats
import pytest
from nats.aio.client import Client
from nats.aio.msg import Msg

from tests.mql4host.broker_server import BrokerServer
from tests.mql4host.hosted import HostedExpert, Input
from tests.support.nats_server import NatsServer
from tests.support.net import free_pipe_name
from tests.support.stack import StackWithoutTerminal, eventually
from tests.terminal.test_pipe import Server, linked

ROUND_TRIPS = int(os.environ.get("MT4GW_ROUND_TRIPS", "300"))
TIMEOUT_MS = 300


class PipeStack(StackWithoutTerminal):
    """A gateway with a pipe that only these tests' programs open."""

    def __init__(self, url: str, **terminal: Any) -> None:
        self.name = free_pipe_name()
        settings = {"transport": "pipe", "pipe_name": self.name}
        super().__init__(url, terminal=settings | terminal)


PLAIN = {"pipe_mode": "text", "pipe_symbol": "EURUSD", "pipe_call": "double"}


@asynccontextmanager
async def doubling(url: str) -> AsyncIterator[Client]:
    """Run a service that doubles."""

    async def double(question: Msg) -> None:
        await question.respond(json.dumps(2 * json.loads(question.data)).encode())

    async with await nats.connect(url) as service:
        await service.subscribe("mt4.demo.call.double", cb=double)
        await asyncio.sleep(0)  # or the flush overtakes it: tests/stack/test_nats_facts.py
        await service.flush()
        yield service


class Chart:
    """A program on a chart whose price a test moves."""

    def __init__(self, binary: Path, folder: Path, inputs: dict[str, Input]) -> None:
        self.server = BrokerServer()
        self.expert = HostedExpert(binary, self.server, folder, inputs)

    async def tick(self, price: float) -> str:
        """Move the price, and return what the program then shows."""
        seen = len(self.expert.log)
        self.server.quote(self.server.chart_symbol, price, round(price + 0.0001, 5))
        line = await asyncio.to_thread(self.expert.wait_for_log, "Comment: ", seen)
        return line.removeprefix("Comment: ")

    @property
    def waited_ms(self) -> list[int]:
        """How long the program waited at each tick."""
        return [int(line.split()[1]) for line in self.expert.log if line.startswith("waited ")]

    async def __aenter__(self) -> Chart:
        await asyncio.to_thread(self.expert.start)
        return self

    async def __aexit__(self, *_: object) -> None:
        await asyncio.to_thread(self.expert.kill)


# ---- calls --------------------------------------------------------------------------------


async def test_example_shows_the_doubled_price(
    programs: dict[str, Path], nats_server: NatsServer, tmp_path: Path
) -> None:
    """And says why there is none, while nobody answers."""
    async with PipeStack(nats_server.url) as stack:
        inputs: dict[str, Input] = {"PipeName": stack.name, "TimeoutMs": 5000}
        async with Chart(programs["DoubledPrice"], tmp_path, inputs) as chart:
            before = await chart.tick(1.25)
            async with doubling(nats_server.url):
                answered = await chart.tick(1.12345)

    assert "no answer: nobody_listens" == before
    assert "twice 1.12345 is 2.2469" == answered


async def test_call_without_a_gateway_ends_at_its_timeout(
    programs: dict[str, Path], tmp_path: Path
) -> None:
    """There is no pipe: said after the timeout, in which there might have come one."""
    inputs: dict[str, Input] = {"PipeName": free_pipe_name(), "TimeoutMs": TIMEOUT_MS}
    async with Chart(programs["DoubledPrice"], tmp_path, inputs) as chart:
        assert "no answer: no_gateway" == await chart.tick(1.25)


async def test_answers_of_calls_that_do_not_wait_come_as_events(
    programs: dict[str, Path], nats_server: NatsServer, tmp_path: Path
) -> None:
    """Three questions at once, each answer with its number, and the reason where there is none."""
    async with PipeStack(nats_server.url) as stack, doubling(nats_server.url):
        inputs: dict[str, Input] = {"PipeName": stack.name}
        async with Chart(programs["Caller"], tmp_path, inputs) as chart:
            for line in ("1: 2.5", "2:  nobody_listens", "3: [1,1]"):
                await asyncio.to_thread(chart.expert.wait_for_log, line)
            assert "Sanitizer" not in "".join(chart.expert.log)


@pytest.mark.parametrize(
    "answer", ["[" * 40 + "]" * 40, r'"\u0000"', r'"\ud800"', "9" * 400], ids=lambda text: text[:9]
)
async def test_answer_that_mql4_cannot_read_is_told_as_one(
    programs: dict[str, Path], nats_server: NatsServer, tmp_path: Path, answer: str
) -> None:
    """At once, and not as a timeout: an answer has come."""

    async def respond(question: Msg) -> None:
        await question.respond(answer.encode() if question.data == b"1.25" else b"[1,1]")

    async with PipeStack(nats_server.url) as stack, await nats.connect(nats_server.url) as service:
        await service.subscribe("mt4.demo.call.double", cb=respond)
        await asyncio.sleep(0)  # or the flush overtakes it: tests/stack/test_nats_facts.py
        await service.flush()
        inputs: dict[str, Input] = {"PipeName": stack.name}
        async with Chart(programs["Caller"], tmp_path, inputs) as chart:
            for line in ("1:  bad_answer", "3: [1,1]"):
                await asyncio.to_thread(chart.expert.wait_for_log, line)


# ---- the plain form -----------------------------------------------------------------------


async def round_trips(
    count: int, programs: dict[str, Path], nats_server: NatsServer, folder: Path
) -> None:
    """Every answer is right."""
    async with PipeStack(nats_server.url, **PLAIN) as stack, doubling(nats_server.url):
        inputs: dict[str, Input] = {"PipeName": stack.name, "TimeoutMs": 10_000}
        async with Chart(programs["PlainTicker"], folder, inputs) as chart:
            for number in range(count):
                price = round(1.1 + number % 5000 / 1e5, 5)
                assert f"{2 * price:.3f}" == await chart.tick(price)


async def test_plain_form_answers_each_number(
    programs: dict[str, Path], nats_server: NatsServer, tmp_path: Path
) -> None:
    """A program of somebody else's: a number at each tick, and it waits for the answer."""
    await round_trips(ROUND_TRIPS, programs, nats_server, tmp_path)


@pytest.mark.long
@pytest.mark.timeout(600)
async def test_plain_form_answers_ten_thousand_numbers(
    programs: dict[str, Path], nats_server: NatsServer, tmp_path: Path
) -> None:
    """And none of them with another's answer."""
    await round_trips(10_000, programs, nats_server, tmp_path)


Process = subprocess.Popen[bytes]
StartGateway = Callable[..., tuple[Process, str]]


@pytest.fixture
def start_gateway(nats_server: NatsServer) -> Iterator[StartGateway]:
    """Start gateways as processes of their own, which can be frozen; return each with its pipe."""
    processes: list[Process] = []

    def start(**terminal: str) -> tuple[Process, str]:
        name = free_pipe_name()
        settings = terminal | {"transport": "pipe", "pipe_name": name}
        environment = {k: v for k, v in os.environ.items() if not k.startswith("MT4GW_")}
        environment |= {f"MT4GW_TERMINAL__{k.upper()}": v for k, v in settings.items()}
        environment |= {
            "MT4GW_NATS__SERVERS": nats_server.url,
            "MT4GW_HTTP__ADDRESS": "127.0.0.1:0",
        }
        command = [sys.executable, "-m", "gateway", "run"]
        null = subprocess.DEVNULL
        processes.append(subprocess.Popen(command, env=environment, stdin=null, stderr=null))
        return processes[-1], name

    yield start
    for process in processes:
        process.kill()
        process.wait()


async def test_terminal_goes_on_while_its_gateway_is_frozen(
    programs: dict[str, Path], start_gateway: StartGateway, tmp_path: Path
) -> None:
    """Ticks flood a pipe that nobody reads: the program writes no more than has room, and lives."""
    process, name = start_gateway()
    inputs: dict[str, Input] = {"PipeName": name, "LedgerCreate": True}
    chart = Chart(programs["GatewayPipe"], tmp_path, inputs)
    async with chart:
        await asyncio.to_thread(chart.expert.wait_for_log, "pipe_open")
        process.send_signal(signal.SIGSTOP)
        seen = len(chart.expert.log)
        for number in range(3000):
            chart.server.quote("EURUSD", round(1.1 + number / 1e5, 5), 1.2)
        await asyncio.to_thread(chart.expert.wait_for_log, 'reason="silent"', seen)
        process.send_signal(signal.SIGCONT)
        await asyncio.to_thread(chart.expert.wait_for_log, "pipe_open", seen)

        assert 0 == await asyncio.to_thread(chart.expert.stop)
    assert not [line for line in chart.expert.log if "mistake" in line or "Sanitizer" in line]


async def test_program_is_back_soon_after_the_gateway(
    programs: dict[str, Path], tmp_path: Path
) -> None:
    """However long that was away, as between two gateways: it does not try ever more seldom."""
    async with Server() as first:
        inputs: dict[str, Input] = {"PipeName": first.name, "LedgerCreate": True}
        async with Chart(programs["GatewayPipe"], tmp_path, inputs) as chart:
            await linked(first)
            first.pipe.close()
            chart.server.quote("EURUSD", 1.1, 1.2)  # so that it notices at once
            await asyncio.to_thread(chart.expert.wait_for_log, "pipe_lost")
            await asyncio.sleep(0.9)
            async with Server(name=first.name) as second:
                back_at_s = time.monotonic()
                await linked(second)

                assert time.monotonic() - back_at_s < 0.5


async def test_program_never_waits_longer_than_its_timeout(
    programs: dict[str, Path],
    start_gateway: StartGateway,
    nats_server: NatsServer,
    tmp_path: Path,
) -> None:
    """With a gateway that is frozen, and with none; then it goes on."""
    process, name = start_gateway(**PLAIN)
    inputs: dict[str, Input] = {"PipeName": name, "TimeoutMs": TIMEOUT_MS}
    async with doubling(nats_server.url), Chart(programs["PlainTicker"], tmp_path, inputs) as chart:
        said: list[str] = []

        async def is_answered() -> bool:
            said.append(await chart.tick(1.25))
            return said[-1] == "2.500"

        async with asyncio.timeout(20):
            while not await is_answered():
                pass
        process.send_signal(signal.SIGSTOP)
        frozen = [await chart.tick(1.25) for _ in range(5)]
        process.send_signal(signal.SIGCONT)
        async with asyncio.timeout(20):
            while not await is_answered():
                pass
        process.kill()
        process.wait()
        gone = [await chart.tick(1.25) for _ in range(5)]
        await eventually(lambda: len(chart.waited_ms) >= len(said) + 10)

    assert ["no answer"] * 5 == frozen
    assert "no pipe" == gone[-1]
    # What a tick took, the program's own work and a busy machine included.
    assert max(chart.waited_ms) < 2 * TIMEOUT_MS
