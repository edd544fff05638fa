"""The journal is slow, full or an old copy, and jobs come twice: real NATS servers."""

import asyncio
import json
import shutil
import time
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from nats.js.api import StreamState

from gateway.app import App, Role
from gateway.client import CommandResult, NoAnswer, Outcome
from gateway.envelope import format_time
from tests.support.nats_server import NatsServer
from tests.support.stack import PATIENCE_S, Stack, eventually

pytestmark = pytest.mark.long  # and best by itself: it is about time

HA: dict[str, Any] = {"ha": {"lease_ttl_s": 1}}
JOB = "mt4.demo.job.tester.DO_ORDER_SEND"
BUY = {"symbol": "EURUSD", "order_type": "BUY", "lots": 0.1}
JOURNAL = "mt4j_demo"


async def journal_of(stack: Stack) -> StreamState:
    """Look into the journal's stream."""
    return (await stack.client.connection.jetstream().stream_info(JOURNAL)).state


async def resize_journal(stack: Stack, most_bytes: int) -> None:
    """Give the journal so much room and no more; what does not fit is refused."""
    connection = stack.client.connection
    told = await connection.request(f"$JS.API.STREAM.INFO.{JOURNAL}", b"", timeout=2)
    config = json.loads(told.data)["config"] | {"max_bytes": most_bytes, "discard": "new"}
    said = await connection.request(
        f"$JS.API.STREAM.UPDATE.{JOURNAL}", json.dumps(config).encode(), timeout=2
    )
    assert "error" not in json.loads(said.data), said.data


async def result_of(stack: Stack, id_: str) -> CommandResult:
    """Ask until a trade has its result."""
    async with asyncio.timeout(PATIENCE_S):
        while isinstance(known := await stack.client.outcome_of(id_), str):  # noqa: ASYNC110
            await asyncio.sleep(0.02)
    return known


async def test_nothing_is_sent_that_a_full_journal_cannot_hold(nats_server: NatsServer) -> None:
    """Reads go on; when there is room again, trades do, without a restart."""
    async with Stack(nats_server.url) as stack:
        await stack.buy()
        await resize_journal(stack, (await journal_of(stack)).bytes)
        waiting = asyncio.create_task(stack.buy(id_="no-room", timeout_s=0.5))
        await eventually(lambda: "stored" in str(stack.app.journal.refusal()))
        denied = await stack.buy()
        read = await stack.client.query("GET_ORDERS")
        await resize_journal(stack, -1)
        await eventually(lambda: stack.app.journal.refusal() is None)
        expired = await result_of(stack, "no-room")
        accepted = await stack.buy()
        with suppress(NoAnswer):
            await waiting

        assert 503 == (denied.error or {})["code"]
        assert read.succeeded
        assert Outcome.EXPIRED == expired.outcome
        assert [] == stack.terminal.truth.executions("tester/no-room")
        assert accepted.succeeded
        assert 2 == len(stack.terminal.broker.orders)


async def test_order_that_the_journal_held_up_past_its_deadline_is_not_sent(
    own_nats_server: NatsServer,
) -> None:
    """The server freezes while the order waits for its turn, and is slow to store it."""
    patient = {"reply_timeout_s": 2.0, "hang_timeout_s": 2.0}
    async with Stack(own_nats_server.url, terminal=patient, ha={"lease_ttl_s": 5}) as stack:
        await stack.buy()
        stack.terminal.faults.add_spec("slow:GET_ORDERS:1:500ms")
        reading = asyncio.create_task(stack.client.query("GET_ORDERS"))
        await eventually(lambda: stack.app.line.current_action == "GET_ORDERS")
        late = asyncio.create_task(stack.buy(id_="late", timeout_s=1.0))
        await eventually(lambda: stack.metric("queue_depth", lane="trade"))
        own_nats_server.pause()
        with suppress(TimeoutError):
            async with asyncio.timeout(1.1):
                await asyncio.shield(late)  # its deadline passes
        own_nats_server.resume()
        result = await result_of(stack, "late")
        await asyncio.gather(reading, late, return_exceptions=True)
        record = await stack.client.connection.jetstream().get_last_msg(
            JOURNAL, "mt4j.demo.sent.tester.late"
        )
        heard = [fact["action"] for fact in stack.terminal.truth.of("received")]

        assert record.data  # it had its turn: stored, and too late by then
        assert Outcome.EXPIRED == result.outcome
        assert 1 == heard.count("DO_ORDER_SEND") == len(stack.terminal.broker.orders)


async def test_server_that_comes_back_with_an_old_store_opens_nothing_twice(
    own_nats_server: NatsServer, tmp_path: Path
) -> None:
    """The next gateway sees that the terminal knows more, and asks it even when told to go on."""
    store, copy = tmp_path / "jetstream", tmp_path / "yesterday"
    async with Stack(own_nats_server.url, **HA) as stack:
        await stack.buy(id_="before")
        await stopped(own_nats_server, stack)
        shutil.copytree(store, copy)
        own_nats_server.start()
        await eventually(lambda: stack.client.connection.is_connected)
        await eventually(lambda: stack.app.journal.refusal() is None)
        await eventually(lambda: stack.metric("nats_reconnects_total"))
        forgotten = await stack.buy(id_="forgotten")
        stack.running.cancel()
        await asyncio.gather(stack.running, return_exceptions=True)
        await stopped(own_nats_server, stack)
        shutil.rmtree(store)
        shutil.copytree(copy, store)
        own_nats_server.start()
        second = App(stack.app.config)
        running = asyncio.create_task(second.run())
        await eventually(lambda: second.role is Role.ACTIVE and second.line.is_usable)
        await eventually(lambda: stack.client.connection.is_connected)
        denied = await stack.buy(id_="new")
        await eventually(lambda: second.journal.halted)
        await stack.client.control("resume")
        again = await stack.buy(id_="forgotten")
        second.stop()
        await running

        assert "went back in time" in (denied.error or {})["message"]
        assert forgotten.response["ticket"] == again.response["ticket"]
        assert 1 == len(stack.terminal.truth.executions("tester/forgotten"))
        assert 2 == len(stack.terminal.broker.orders)


async def stopped(server: NatsServer, stack: Stack) -> None:
    """Stop the server, and wait until everyone has noticed."""
    server.stop()
    await eventually(lambda: not stack.client.connection.is_connected)
    await eventually(lambda: stack.running.done() or not stack.app.bus.is_connected)


async def test_job_that_comes_twice_is_one_trade(nats_server: NatsServer) -> None:
    """Under two message ids, so JetStream takes both; one behind the other, and much later."""
    async with Stack(nats_server.url) as stack:
        jetstream = stack.client.connection.jetstream()
        body = BUY | {"id": "twice", "deadline": format_time(time.time() + 30)}
        for number in range(3):
            headers = {"Nats-Msg-Id": f"copy-{number}"}
            await jetstream.publish(JOB, json.dumps(body).encode(), headers=headers)
        await until_no_job_is_left(stack)
        first = await stack.client.outcome_of("twice")
        await jetstream.publish(JOB, json.dumps(body).encode())
        await until_no_job_is_left(stack)

        assert first == await stack.client.outcome_of("twice")
        assert 1 == len(stack.terminal.truth.executions("tester/twice"))
        assert 1 == len(stack.terminal.broker.orders)


async def test_job_delivered_again_while_it_is_in_work_is_one_trade(
    nats_server: NatsServer,
) -> None:
    """Its consumer is reset under the gateway's hands, as an operator or a late standby would."""
    async with Stack(nats_server.url) as stack:
        told: list[str] = []

        async def follow() -> None:
            async for result in stack.client.results():
                told.append(result.id)

        stack.background(follow())
        await stack.buy(id_="before")
        await eventually(lambda: told)
        stack.terminal.faults.add_spec("slow:DO_ORDER_SEND:1:300ms")
        await stack.client.submit("DO_ORDER_SEND", BUY, id_="mine")
        await eventually(lambda: stack.app.line.current_action == "DO_ORDER_SEND")
        await stack.app.jobs.reset()
        await until_no_job_is_left(stack)

        assert 1 == stack.metric("duplicates_total")  # it came again, and was recognised
        assert ["before", "mine"] == told
        assert 1 == len(stack.terminal.truth.executions("tester/mine"))


async def until_no_job_is_left(stack: Stack) -> None:
    """Wait until every job is acknowledged."""
    jetstream = stack.client.connection.jetstream()
    async with asyncio.timeout(PATIENCE_S):
        while (await jetstream.stream_info("mt4_demo_jobs")).state.messages:  # noqa: ASYNC110
            await asyncio.sleep(0.01)
