"""The whole service in one loop: real NATS, real ZeroMQ, the simulated terminal, a client."""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import Callable, Coroutine, Mapping
from dataclasses import replace
from types import TracebackType
from typing import Any, Self

from prometheus_client.parser import text_string_to_metric_families

from gateway.app import DRAIN_GRACE_S, App, Role
from gateway.client import Mt4Client
from gateway.config import Config
from gateway.errors import StartOver
from gateway.sim.broker import Broker
from gateway.sim.options import DialectName, SimOptions
from gateway.sim.quotes import QuoteSource
from gateway.sim.terminal import SimTerminal
from gateway.terminal.pipe_name import pipe_address
from tests.support.net import free_pipe_name

PATIENCE_S = 10.0

QUIET = SimOptions(
    request_endpoint="tcp://127.0.0.1:*", tick_endpoint="tcp://127.0.0.1:*", tick_interval_s=0.0
)
"""A terminal whose prices move only when a test moves them."""

FAST: dict[str, Any] = {
    "reply_timeout_s": 0.2,
    "patience_s": 0.3,
    "hang_timeout_s": 0.6,
    "settle_s": 0.3,
    "ambiguous_s": 0.3,
    "search_gap_s": 0.05,
    "give_up_s": 20.0,
    "probe_interval_s": 0.2,
}
"""Patience of the terminal section, scaled down."""


async def eventually(holds: Callable[[], Any], within_s: float = PATIENCE_S) -> None:
    """Wait until something holds; fail when it does not in time."""
    async with asyncio.timeout(within_s):
        while not holds():  # noqa: ASYNC110 - what is watched has no event
            await asyncio.sleep(0.005)


class Stack:
    """A gateway between a NATS server and a simulated terminal, all of them real.

    Args:
        nats_url: A running server.
        sim: How the terminal is made; `Stack.terminal` is it.
        client_options: How the client logs in.
        transport: Between the two: `zmq` or, where the dialect can, `pipe`; by default what
            `STACK_TRANSPORT` says.
        sections: Configuration beside the endpoints; trading is on, timeouts are short.
    """

    def __init__(
        self,
        nats_url: str,
        sim: SimOptions = QUIET,
        quotes: QuoteSource | None = None,
        client_options: Mapping[str, Any] | None = None,
        transport: str | None = None,
        **sections: dict[str, Any],
    ) -> None:
        self.nats_url = nats_url
        self._client_options = {"client": "tester", **(client_options or {})}
        way = transport or os.environ.get("STACK_TRANSPORT", "zmq")
        over_pipe = way == "pipe" and sim.dialect is DialectName.BRIDGE
        self.pipe_name = free_pipe_name() if over_pipe else None
        pipe = pipe_address(self.pipe_name) if self.pipe_name else None
        self._sim = replace(sim, pipe_address=pipe)
        self._quotes = quotes
        self._sections = sections

    async def __aenter__(self) -> Self:
        await self._start_terminal()
        self.app = App(self._config())
        self.running = asyncio.create_task(self.app.run(), name="gateway")
        await eventually(lambda: self.is_ready or self.running.done())
        if self.running.done():
            await self.running
        self.client = await Mt4Client.connect(self.nats_url, **self._client_options)
        self._followers: list[asyncio.Task[None]] = []
        return self

    async def _start_terminal(self) -> None:
        """Start what the gateway talks to; tests/conformance puts another terminal here."""
        rich = Broker(deposit=1e9, time_s=int(time.time()) + self._sim.broker_offset_s)
        self.terminal = SimTerminal(self._sim, broker=rich, quotes=self._quotes)
        await self.terminal.start()

    async def _stop_terminal(self) -> None:
        await self.terminal.stop()

    def _endpoints(self) -> dict[str, Any]:
        if self.pipe_name is not None:
            return {"transport": "pipe", "pipe_name": self.pipe_name}
        return {
            "request_endpoint": self.terminal.request_endpoint,
            "tick_endpoint": self.terminal.tick_endpoint,
        }

    def background(self, work: Coroutine[None, None, None]) -> None:
        """Run something beside the test until the stack ends."""
        self._followers.append(asyncio.create_task(work))

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        for follower in self._followers:
            follower.cancel()
        await asyncio.gather(*self._followers, return_exceptions=True)
        await self.client.close()
        self.app.stop()
        try:
            async with asyncio.timeout(DRAIN_GRACE_S + PATIENCE_S):
                if self._was_over():
                    return
                await self.running
        finally:
            await self._stop_terminal()

    def _was_over(self) -> bool:
        """Tell whether the gateway is over: killed, or its turn ended; raise any other error."""
        if not self.running.done():
            return False
        error = None if self.running.cancelled() else self.running.exception()
        if isinstance(error, ExceptionGroup):
            _, error = error.split(StartOver)
        if error is not None and not isinstance(error, StartOver):
            raise error
        return True

    @property
    def is_ready(self) -> bool:
        """Tell whether commands can flow end to end."""
        serves = self.app.role in (Role.ACTIVE, Role.READING) and self.app.line.is_usable
        return serves and not self.app.not_ready_because()

    def _config(self) -> Config:
        sections: dict[str, Any] = {
            "terminal": self._endpoints() | FAST | self._sections.pop("terminal", {}),
            "nats": {"servers": (self.nats_url,)} | self._sections.pop("nats", {}),
            "policy": {"trading": True} | self._sections.pop("policy", {}),
            "http": {"address": "127.0.0.1:0"},
            **self._sections,
        }
        return Config.model_validate(sections)

    async def buy(self, lots: float = 0.1, **options: Any) -> Any:
        """Open a position."""
        return await self.client.order_send("EURUSD", "BUY", lots, **options)

    async def quote(
        self, symbol: str, bid: float, ask: float, *, utc_ms: int | None = None
    ) -> None:
        """Move the market when the gateway hears the terminal's ticks; those before are lost."""
        async with asyncio.timeout(PATIENCE_S):
            while not self.app.ticks.newest:
                await self.terminal.quote("USDJPY", 147.0, 147.01)
                await asyncio.sleep(0.005)
        await self.terminal.quote(symbol, bid, ask, utc_ms=utc_ms)

    def metric(self, name: str, **labels: str) -> float:
        """Read one sample of the metrics."""
        page, _ = self.app.metrics.render("text/plain")
        for family in text_string_to_metric_families(page.decode()):
            for sample in family.samples:
                if sample.name == f"mt4_gateway_{name}" and sample.labels == labels:
                    return sample.value
        return 0.0


class StackWithoutTerminal(Stack):
    """A gateway whose terminal is a program of the test's: ready without a link."""

    @property
    def is_ready(self) -> bool:
        """Tell whether the gateway serves."""
        return str(self.app.role) in ("active", "reading")

    async def _start_terminal(self) -> None:
        pass

    async def _stop_terminal(self) -> None:
        pass

    def _endpoints(self) -> dict[str, Any]:
        return {}


EXISTING_SERVER = replace(QUIET, dialect=DialectName.LEGACY)
"""The existing server, behaving as it does."""
