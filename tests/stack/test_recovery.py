"""NATS and the terminal go away under load and come back; the gateway recovers by itself."""

import asyncio
import time
import urllib.error
import urllib.request
from collections.abc import Awaitable, Callable

import pytest

from gateway.client import CommandResult, NoAnswer, NotConnected, Outcome
from gateway.sim.options import SimOptions
from tests.support.nats_server import NatsServer
from tests.support.stack import EXISTING_SERVER, QUIET, Stack, eventually

BACK_WITHIN_S = 5.0


async def probe(stack: Stack, path: str) -> int:
    """Return the HTTP status of a probe."""

    def get() -> int:
        try:
            with urllib.request.urlopen(f"http://{stack.app.status.address}{path}") as reply:
                return int(reply.status)
        except urllib.error.HTTPError as exc:
            with exc:
                return exc.code

    return await asyncio.to_thread(get)


async def load(stack: Stack, results: list[CommandResult], stop: asyncio.Event) -> None:
    """Read, over and over, whatever happens."""
    while not stop.is_set():
        try:
            results.append(await stack.client.query("GET_ACCOUNT_INFO", timeout_s=1.0))
        except (NoAnswer, NotConnected):
            await asyncio.sleep(0.01)


async def under_load(stack: Stack, trouble: Callable[[], Awaitable[None]]) -> float:
    """Make trouble under load; return how long after it the next read succeeded."""
    results: list[CommandResult] = []
    stop = asyncio.Event()
    readers = [asyncio.create_task(load(stack, results, stop)) for _ in range(4)]
    await eventually(lambda: len(results) > 20)
    await trouble()
    back_at_s = time.monotonic()
    answered = len(results)
    await eventually(lambda: any(result.succeeded for result in results[answered:]), BACK_WITHIN_S)
    took_s = time.monotonic() - back_at_s
    stop.set()
    await asyncio.gather(*readers)
    return took_s


async def test_nats_restarts_under_load(own_nats_server: NatsServer) -> None:
    """Probes and metrics tell the truth throughout, and work goes on soon after."""
    async with Stack(own_nats_server.url) as stack:

        async def restart() -> None:
            own_nats_server.stop()
            await eventually(lambda: stack.metric("nats_up") == 0)

            assert 503 == await probe(stack, "/readyz")
            assert 200 == await probe(stack, "/healthz")
            assert 1 == stack.metric("terminal_up")
            own_nats_server.start()

        assert BACK_WITHIN_S > await under_load(stack, restart)
        await eventually(lambda: stack.metric("nats_up") == 1)
        assert 200 == await probe(stack, "/readyz")
        assert 1 == stack.metric("nats_reconnects_total")


@pytest.mark.parametrize("sim", [QUIET, EXISTING_SERVER], ids=["bridge", "existing"])
async def test_terminal_restarts_under_load(nats_server: NatsServer, sim: SimOptions) -> None:
    """MT4 being away is told by its metric, not by readiness."""
    async with Stack(nats_server.url, sim) as stack:

        async def restart() -> None:
            await stack.terminal.kill()
            await eventually(lambda: stack.metric("terminal_up") == 0)

            assert 200 == await probe(stack, "/readyz")
            assert 1 == stack.metric("nats_up")
            await stack.terminal.start()

        assert BACK_WITHIN_S > await under_load(stack, restart)
        await eventually(lambda: stack.metric("terminal_up") == 1)

        assert 1 == stack.metric("channel_resets_total", reason="disconnect")
        assert 0 == stack.metric("channel_resets_total", reason="hang")


async def test_frozen_nats_is_noticed_and_left(own_nats_server: NatsServer) -> None:
    """A server that hangs is not waited for: the watchdog reconnects."""
    watchdog = {"round_trip_interval_s": 0.1, "round_trip_timeout_s": 0.3}
    async with Stack(own_nats_server.url, nats=watchdog) as stack:
        own_nats_server.pause()
        await eventually(lambda: stack.metric("nats_up") == 0)

        assert 503 == await probe(stack, "/readyz")
        own_nats_server.resume()
        await eventually(lambda: stack.metric("nats_up") == 1)


async def test_order_in_flight_survives_a_nats_restart(own_nats_server: NatsServer) -> None:
    """The result is kept while the bus is away, and the client asks for it."""
    async with Stack(own_nats_server.url) as stack:
        stack.terminal.faults.add_spec("slow:DO_ORDER_SEND:1:150ms")
        order = asyncio.create_task(stack.buy(id_="flying", timeout_s=3.0))
        await eventually(lambda: stack.app.line.current_action == "DO_ORDER_SEND")
        own_nats_server.restart()
        result = await order

        assert Outcome.SUCCEEDED == result.outcome
        assert 1 == len(stack.terminal.broker.orders)


async def test_terminal_dies_inside_an_order_and_the_truth_is_found(
    nats_server: NatsServer,
) -> None:
    """The order was executed, its reply and its ledger line were not written."""
    async with Stack(nats_server.url) as stack:
        stack.terminal.faults.add_spec("restart:DO_ORDER_SEND:after_broker:1")
        result = await stack.buy(id_="dying")

        assert result.succeeded
        assert result.resolved
        assert 1 == len(stack.terminal.truth.executions("tester/dying"))


async def test_order_that_may_have_run_is_unknown_not_repeated(nats_server: NatsServer) -> None:
    """Died between intent and broker: nobody can tell that from dying after it."""
    async with Stack(nats_server.url) as stack:
        stack.terminal.faults.add_spec("restart:DO_ORDER_SEND:before_broker:1")
        result = await stack.buy(id_="doubtful")

        assert Outcome.UNKNOWN == result.outcome
        assert not stack.terminal.broker.orders
