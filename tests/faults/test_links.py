"""The link to the terminal stalls, breaks and comes back, with an order on it; real sockets.

A proxy stands between the gateway and its terminal. What it has accepted it delivers later, unless
the link is cut meanwhile: then it is gone.
"""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest

from gateway.client import CommandResult, Outcome
from gateway.sim.options import SimOptions
from tests.chaos.proxy import DOWN, UP, Proxy
from tests.support.nats_server import NatsServer
from tests.support.stack import EXISTING_SERVER, QUIET, Stack, eventually

both_dialects = pytest.mark.parametrize("sim", [QUIET, EXISTING_SERVER], ids=["bridge", "existing"])


class ProxiedStack(Stack):
    """A stack whose requests and replies go through a proxy."""

    proxy: Proxy

    async def _start_terminal(self) -> None:
        await super()._start_terminal()
        self.proxy = Proxy("terminal", int(self.terminal.request_endpoint.rpartition(":")[2]))
        await self.proxy.start()

    async def _stop_terminal(self) -> None:
        await self.proxy.close()
        await super()._stop_terminal()

    def _endpoints(self) -> dict[str, Any]:
        return super()._endpoints() | {"request_endpoint": f"tcp://127.0.0.1:{self.proxy.port}"}

    @property
    def opened(self) -> int:
        """Count the orders."""
        return len(self.terminal.broker.orders)


@asynccontextmanager
async def stack_with(
    nats_server: NatsServer, sim: SimOptions = QUIET
) -> AsyncIterator[ProxiedStack]:
    """Run a stack whose first order has taught the gateway the symbol's rules, and is closed."""
    async with ProxiedStack(nats_server.url, sim) as stack:
        await stack.client.order_close((await stack.buy()).response["ticket"])
        yield stack


async def order_under_way(stack: ProxiedStack, timeout_s: float) -> asyncio.Task[CommandResult]:
    """Send an order, and wait until the gateway has handed its frame over."""
    ordering = asyncio.create_task(stack.buy(id_="mine", timeout_s=timeout_s))
    await eventually(lambda: stack.app.line.current_action == "DO_ORDER_SEND")
    return ordering


async def silence(stack: ProxiedStack) -> None:
    """Wait until the gateway has missed the order's reply."""
    missed = {"action": "DO_ORDER_SEND", "reason": "timeout"}
    await eventually(lambda: stack.metric("replies_dropped_total", **missed))


@both_dialects
async def test_reply_that_was_stuck_is_the_result(nats_server: NatsServer, sim: SimOptions) -> None:
    """Executed, but nobody hears of it for longer than a reply may take: nothing is sent again."""
    async with stack_with(nats_server, sim) as stack:
        stack.proxy.stall(DOWN)
        ordering = await order_under_way(stack, 10.0)
        await silence(stack)
        stack.proxy.heal()
        result = await ordering

        assert (True, 1) == (result.succeeded, result.attempts)
        assert 1 == stack.opened


async def test_request_that_was_stuck_past_its_deadline_runs_nothing(
    nats_server: NatsServer,
) -> None:
    """The frame arrives after all; the terminal's own clock says that it is too late."""
    async with stack_with(nats_server) as stack:
        stack.proxy.stall(UP)
        ordering = await order_under_way(stack, 1.0)
        heard = len(stack.terminal.truth.of("received"))
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(1.1):
                await asyncio.shield(ordering)  # its deadline passes
        stack.proxy.heal()
        result = await ordering
        asked = [fact["action"] for fact in stack.terminal.truth.of("received")[heard:]]

        assert "DO_ORDER_SEND" in asked
        assert Outcome.EXPIRED == result.outcome
        assert 0 == stack.opened


@pytest.mark.parametrize("has_arrived", [True, False], ids=["arrived", "lost"])
async def test_order_on_a_link_that_is_reset_opens_once(
    nats_server: NatsServer, has_arrived: bool
) -> None:
    """The reset looks the same; the ledger knows the difference."""
    async with stack_with(nats_server) as stack:
        stack.proxy.stall(DOWN if has_arrived else UP)
        ordering = await order_under_way(stack, 10.0)
        if has_arrived:
            await eventually(lambda: stack.opened)
        stack.proxy.cut()
        await eventually(lambda: not stack.app.line.is_linked)
        stack.proxy.heal()
        result = await ordering

        assert (True, 1 if has_arrived else 2) == (result.succeeded, result.attempts)
        assert 1 == stack.opened == len(stack.terminal.truth.executions("tester/mine"))


async def test_order_on_a_link_that_is_reset_is_looked_for_at_the_existing_server(
    nats_server: NatsServer,
) -> None:
    """It cannot be asked, and is never told twice."""
    async with stack_with(nats_server, EXISTING_SERVER) as stack:
        stack.proxy.stall(DOWN)
        ordering = await order_under_way(stack, 10.0)
        await eventually(lambda: stack.opened)
        stack.proxy.cut()
        await eventually(lambda: not stack.app.line.is_linked)
        stack.proxy.heal()
        result = await ordering

        assert (True, True, 1) == (result.succeeded, result.resolved, result.attempts)
        assert 1 == stack.opened


async def test_orders_through_a_link_that_breaks_all_the_time_open_once(
    nats_server: NatsServer,
) -> None:
    """It is cut again each time it has just come back, with orders under way."""
    async with stack_with(nats_server) as stack:
        ordering = asyncio.gather(
            *(stack.buy(id_=f"order-{number}", timeout_s=20.0) for number in range(5))
        )
        for _ in range(8):
            await eventually(lambda: stack.app.line.is_linked)
            stack.proxy.cut()
            await eventually(lambda: not stack.app.line.is_linked)
            stack.proxy.heal()
        results = await ordering

        assert [Outcome.SUCCEEDED] * 5 == [result.outcome for result in results]
        assert 5 == stack.opened == len({result.response["ticket"] for result in results})


async def test_frozen_terminal_starts_nothing_late(nats_server: NatsServer) -> None:
    """The frame lies in its socket past the deadline; woken up, it looks at its clock first."""
    async with stack_with(nats_server) as stack:
        heard = len(stack.terminal.truth.of("received"))
        stack.background(stack.terminal.freeze(1.2))
        ordering = await order_under_way(stack, 1.0)
        result = await ordering
        asked = [fact["action"] for fact in stack.terminal.truth.of("received")[heard:]]

        assert "DO_ORDER_SEND" in asked
        assert Outcome.EXPIRED == result.outcome
        assert 0 == stack.opened


async def test_reply_that_cannot_be_read_is_asked_about(nats_server: NatsServer) -> None:
    """Cut in half on its way: neither a success nor a failure, until the ledger has told."""
    async with stack_with(nats_server) as stack:
        stack.terminal.faults.add_spec("garble:DO_ORDER_SEND:1")
        result = await stack.buy(id_="mine")

        assert (True, True, 1) == (result.succeeded, result.resolved, result.attempts)
        assert 1 == stack.opened == len(stack.terminal.truth.executions("tester/mine"))


@both_dialects
async def test_reply_that_comes_twice_settles_nothing_else(
    nats_server: NatsServer, sim: SimOptions
) -> None:
    """The next order waits for its own."""
    async with stack_with(nats_server, sim) as stack:
        stack.terminal.faults.add_spec("duplicate:DO_ORDER_SEND:1")
        first, second = [await stack.buy() for _ in range(2)]
        await eventually(lambda: stack.metric("replies_discarded_total", reason="late_unmatched"))

        assert first.succeeded
        assert second.succeeded
        assert first.response["ticket"] != second.response["ticket"]
        assert 2 == stack.opened
