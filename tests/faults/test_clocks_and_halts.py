"""Clocks that jump or stand still, and an operator who halts in the middle of trouble."""

import asyncio
import json
import threading
import time

import pytest

from gateway.client import Outcome
from gateway.envelope import Encoding, encode, format_time, parse_time
from tests.support.nats_server import NatsServer
from tests.support.stack import Stack, eventually

pytestmark = pytest.mark.long  # and best by itself: it is about time

FLOOD = 300


@pytest.mark.parametrize("jump_s", [3600.0, -3600.0])
async def test_clock_that_jumps_moves_no_deadline(
    nats_server: NatsServer, monkeypatch: pytest.MonkeyPatch, jump_s: float
) -> None:
    """What was taken in before is measured on the monotonic clock: one expires, one does not."""
    async with Stack(nats_server.url) as stack:
        await stack.buy()
        stack.background(stack.terminal.freeze(1.2))
        short = asyncio.create_task(stack.buy(id_="short", timeout_s=1.0))
        await eventually(lambda: stack.app.line.current_action == "DO_ORDER_SEND")
        long = asyncio.create_task(stack.buy(id_="long", timeout_s=20.0))
        await eventually(lambda: stack.metric("queue_depth", lane="trade"))
        as_it_was = time.time
        monkeypatch.setattr(time, "time", lambda: as_it_was() + jump_s)
        results = [await short, await long]
        is_held = stack.app.lease.is_held()
        monkeypatch.undo()

        assert [Outcome.EXPIRED, Outcome.SUCCEEDED] == [one.outcome for one in results]
        assert is_held
        assert 2 == len(stack.terminal.broker.orders)


async def test_deadline_of_a_clock_that_is_ahead_is_capped(nats_server: NatsServer) -> None:
    """An hour from now, by its client: a gateway waits no longer than it is configured to."""
    async with Stack(nats_server.url, commands={"maximum_timeout_s": 40.0}) as stack:
        await stack.buy(id_="ahead", timeout_s=3600.0)
        jetstream = stack.client.connection.jetstream()
        record = await jetstream.get_last_msg("mt4j_demo", "mt4j.demo.sent.tester.ahead")
        said = json.loads(record.data or b"")

        left_s = parse_time(said["deadline_at"]) - parse_time(said["received_at"])
        assert pytest.approx(40.0, abs=0.01) == left_s


async def test_loop_that_stood_still_past_its_lease_sends_nothing(nats_server: NatsServer) -> None:
    """Not even before it has heard of anything: the lease runs out by its own clock."""
    async with Stack(nats_server.url, ha={"lease_ttl_s": 1}) as stack:
        could_send = stack.app.journal.may_send()
        threading.Event().wait(1.1)  # the fault: nothing of this gateway runs
        can_send = stack.app.journal.may_send()
        await eventually(stack.app.journal.may_send)
        result = await stack.buy()

        assert (True, False) == (could_send, can_send)
        assert result.succeeded


async def test_halt_does_not_wait_behind_a_flood(nats_server: NatsServer) -> None:
    """Confirmed while most of it still waits; then at most the one on the line is executed."""
    async with Stack(nats_server.url, commands={"trade_capacity": FLOOD}) as stack:
        await stack.buy()
        stack.terminal.faults.add_spec("slow:DO_ORDER_SEND:always:5ms")
        order = {"symbol": "EURUSD", "order_type": 0, "lots": 0.1}
        for number in range(FLOOD):
            body = order | {"id": f"f{number}", "deadline": format_time(time.time() + 30)}
            subject = "mt4.demo.trade.flood.DO_ORDER_SEND"
            await stack.client.connection.publish(subject, encode(body, Encoding.JSON))
        await eventually(lambda: len(stack.terminal.broker.orders) > 2)
        await stack.client.control("halt")
        opened = len(stack.terminal.broker.orders)
        denied = {"action": "DO_ORDER_SEND", "outcome": "denied"}
        await eventually(
            lambda: (
                FLOOD + 1
                == len(stack.terminal.broker.orders) + stack.metric("commands_total", **denied)
            )
        )

        assert opened < FLOOD / 2
        assert len(stack.terminal.broker.orders) <= opened + 1


async def test_halt_while_the_terminal_is_away_holds_when_it_is_back(
    nats_server: NatsServer,
) -> None:
    """What waited for the terminal is denied when its turn comes."""
    async with Stack(nats_server.url) as stack:
        await stack.buy()
        await stack.terminal.kill()
        await eventually(lambda: not stack.app.line.is_linked)
        waiting = asyncio.create_task(stack.buy(timeout_s=10.0))
        await eventually(lambda: stack.app.commands._trades)
        await stack.client.control("halt")
        await stack.terminal.start()
        result = await waiting

        assert (Outcome.DENIED, 423) == (result.outcome, (result.error or {})["code"])
        assert 1 == len(stack.terminal.broker.orders)


async def test_halt_with_a_reply_lost_still_finds_out(nats_server: NatsServer) -> None:
    """What was sent before is resolved: a halt hides no order that is open."""
    async with Stack(nats_server.url) as stack:
        stack.terminal.faults.add_spec("drop:DO_ORDER_SEND:1")
        ordering = asyncio.create_task(stack.buy(id_="lost"))
        await eventually(lambda: stack.terminal.truth.executions("tester/lost"))
        await stack.client.control("halt")
        result = await ordering

        assert (True, True) == (result.succeeded, result.resolved)
        assert 1 == len(stack.terminal.broker.orders)
