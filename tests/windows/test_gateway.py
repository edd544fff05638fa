"""The gateway on Windows: a real Windows Python, a real named pipe, Wine in place of Windows.

`MT4GW_CUTS` disconnects, 200 by default.
"""

from __future__ import annotations

import asyncio
import itertools
import json
import os
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import nats
import pytest
from nats.aio.msg import Msg

from gateway.client import CommandResult, Mt4Client, Outcome, TickMessage
from gateway.core.evidence import token_of
from gateway.core.messages import CommandId
from tests.conformance.hosted_stack import HostedTerminal
from tests.mql4host.broker_server import BrokerServer
from tests.mql4host.hosted import Input
from tests.support.nats_server import NatsServer
from tests.support.net import free_pipe_name, free_port
from tests.support.stack import FAST, eventually
from tests.windows.wine import WineExpert, WinePython, windows_path

CUTS = int(os.environ.get("MT4GW_CUTS", "200"))
SEED = os.environ.get("MT4GW_CUTS_SEED", "1")


@dataclass
class Windows:
    """A gateway on Windows, the terminal beside it, and a client here."""

    gateway: WinePython
    terminal: HostedTerminal
    client: Mt4Client

    async def buy(self, id_: str, lots: float = 0.1) -> CommandResult:
        """Open a position."""
        return await self.client.order_send("EURUSD", "BUY", lots, id_=id_, timeout_s=20.0)


def configuration(url: str, pipe: dict[str, Any]) -> str:
    """Write the gateway's file."""
    sections = {
        "terminal": FAST | {"transport": "pipe", "down_grace_s": 20.0} | pipe,
        "nats": {"servers": [url]},
        "policy": {"trading": True},
        "http": {"address": f"127.0.0.1:{free_port()}"},
    }
    lines: list[str] = []
    for name, values in sections.items():
        lines += [f"[{name}]", *(f"{key} = {json.dumps(value)}" for key, value in values.items())]
    return "\n".join(lines)


@asynccontextmanager
async def running(folder: Path, text: str) -> AsyncIterator[WinePython]:
    """Run the gateway, and end it in order."""
    file = folder / "gateway.toml"
    file.write_text(text)
    words = ("-m", "tests.windows.gateway", "run", "--config", windows_path(file))
    gateway = WinePython(*words)
    try:
        await asyncio.to_thread(gateway.wait_for, "gateway_serving")
        yield gateway
        code = await asyncio.to_thread(gateway.stop)
        assert 0 == code, gateway.said
        assert any("gateway_draining" in line for line in gateway.said)
    finally:
        gateway.kill()


@pytest.fixture
def windows(
    nats_server: NatsServer, windows_programs: dict[str, Path], tmp_path: Path
) -> Callable[..., AbstractAsyncContextManager[Windows]]:
    """Return a maker of the whole; the terminal opens `front`, by default the gateway's pipe."""

    @asynccontextmanager
    async def make(back: str | None = None, front: str | None = None) -> AsyncIterator[Windows]:
        name = back or free_pipe_name()
        text = configuration(nats_server.url, {"pipe_name": name})
        terminal = HostedTerminal(windows_programs, tmp_path / "mt4", front or name, WineExpert)
        async with running(tmp_path, text) as gateway:
            await terminal.start()
            await asyncio.to_thread(gateway.wait_for, "terminal_greeted")
            async with await Mt4Client.connect(nats_server.url, client="tester") as client:
                yield Windows(gateway, terminal, client)
            await terminal.stop()

    return make


@pytest.mark.timeout(150)
async def test_orders_ticks_and_events_flow(
    windows: Callable[..., AbstractAsyncContextManager[Windows]],
) -> None:
    """Everything that flows over ZeroMQ; and CTRL-BREAK ends the gateway in order."""
    async with windows() as here:
        ticks: list[TickMessage] = []
        events: list[str] = []

        async def follow_ticks() -> None:
            async for tick in here.client.ticks("EURUSD"):
                ticks.append(tick)

        async def follow_events() -> None:
            async for event in here.client.events("order"):
                events.append(event["event"])

        followers = [asyncio.create_task(follow_ticks()), asyncio.create_task(follow_events())]
        first, again = await here.buy("one"), await here.buy("one")
        await eventually(lambda: events == ["opened"])
        closed = await here.client.order_close(first.response["ticket"])

        def is_followed() -> bool:
            bid = here.terminal.broker.quotes["EURUSD"].bid
            here.terminal.quote("EURUSD", round(bid + 0.00001, 5), round(bid + 0.0001, 5))
            return len(ticks) > 3

        await eventually(is_followed)
        await eventually(lambda: events == ["opened", "closed"])
        for follower in followers:
            follower.cancel()

        assert first.succeeded
        assert first == again
        assert closed.succeeded
        assert {token_of(CommandId("tester", "one")): 1} == dict(here.terminal.broker.opened)


@pytest.mark.timeout(120 + 3 * CUTS)
async def test_disconnects_in_mid_line_lose_no_command_and_double_none(
    windows: Callable[..., AbstractAsyncContextManager[Windows]],
) -> None:
    """Half a request runs nothing, half a reply is asked for again; every order is told truly."""
    back, front = free_pipe_name(), free_pipe_name()
    cutter = WinePython("-m", "tests.support.pipe_cutter", front, back, str(CUTS), SEED)
    try:
        await asyncio.to_thread(cutter.wait_for, "cutter_ready")
        async with windows(back, front) as here:
            results: dict[str, CommandResult] = {}

            async def trade(trader: int) -> None:
                for number in itertools.count():
                    if f"cuts={CUTS}" in cutter.said:
                        return
                    id_ = f"t{trader}-{number}"
                    results[id_] = await here.buy(id_, 0.01)

            await asyncio.gather(*(trade(number) for number in range(3)))
            opened = here.terminal.broker.opened
            made = {id_: opened[token_of(CommandId("tester", id_))] for id_ in results}
            resolved = sum(result.resolved for result in results.values())
            print(f"{CUTS} cuts, {len(results)} orders, {resolved} of them resolved")

            assert dict.fromkeys(results, Outcome.SUCCEEDED) == {
                id_: result.outcome for id_, result in results.items()
            }
            assert dict.fromkeys(results, 1) == made
            assert len(results) == opened.total()
    finally:
        cutter.kill()


@pytest.mark.timeout(150)
async def test_plain_form_answers_a_program_of_somebody_elses(
    nats_server: NatsServer, windows_programs: dict[str, Path], tmp_path: Path
) -> None:
    """It writes its price at each tick and shows the answer."""
    name = free_pipe_name()
    form = {"pipe_mode": "text", "pipe_symbol": "EURUSD", "pipe_call": "double"}
    server = BrokerServer()
    inputs: dict[str, Input] = {"PipeName": name, "TimeoutMs": 5000}
    expert = WineExpert(windows_programs["PlainTicker"], server, tmp_path / "mt4", inputs)
    service = await nats.connect(nats_server.url)

    async def double(question: Msg) -> None:
        await question.respond(json.dumps(2 * json.loads(question.data)).encode())

    await service.subscribe("mt4.demo.call.double", cb=double)
    await asyncio.sleep(0)  # or the flush overtakes it: tests/stack/test_nats_facts.py
    await service.flush()
    async with running(tmp_path, configuration(nats_server.url, {"pipe_name": name} | form)):
        await asyncio.to_thread(expert.start)
        for number in range(100):
            price = round(1.1 + number / 1e5, 5)
            seen = len(expert.log)
            server.quote(server.chart_symbol, price, price + 0.0001)
            said = await asyncio.to_thread(expert.wait_for_log, "Comment: ", seen)
            assert f"Comment: {2 * price:.3f}" == said
        await asyncio.to_thread(expert.kill)
    await service.close()
