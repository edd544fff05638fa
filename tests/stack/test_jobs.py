"""Durable trades: stored first, done when they can be, acknowledged when their result is stored."""

import asyncio
import json
from typing import Any

import pytest
from nats.js.api import StreamState

from gateway.app import App, Role
from gateway.client import NotStored, Outcome
from tests.support.nats_server import NatsServer
from tests.support.stack import QUIET, Stack, eventually

BUY = {"symbol": "EURUSD", "order_type": "BUY", "lots": 0.1}


async def state_of(stack: Stack, stream: str) -> StreamState:
    """Look into a stream."""
    return (await stack.client.connection.jetstream().stream_info(stream)).state


async def dead_letters(stack: Stack) -> list[tuple[str, str]]:
    """Read the subjects and reasons of what was put aside."""
    jetstream = stack.client.connection.jetstream()
    state = await state_of(stack, "mt4_demo_dead")
    letters = []
    for sequence in range(state.first_seq, state.last_seq + 1):
        letter = await jetstream.get_msg("mt4_demo_dead", sequence)
        letters.append((str(letter.subject), (letter.headers or {})["Mt4-Reason"]))
    return letters


async def until_empty(stack: Stack) -> None:
    """Wait until no job is left."""
    async with asyncio.timeout(10):
        while (await state_of(stack, "mt4_demo_jobs")).messages:  # noqa: ASYNC110
            await asyncio.sleep(0.01)


async def test_job_is_done_and_then_forgotten(nats_server: NatsServer) -> None:
    """Its result is stored, and told on the result subject."""
    async with Stack(nats_server.url) as stack:
        result = await stack.client.job("DO_ORDER_SEND", BUY, id_="j1")
        closed = await stack.client.job("DO_ORDER_CLOSE", {"ticket": result.response["ticket"]})
        known = await stack.client.outcome_of("j1")
        await until_empty(stack)

        assert result.succeeded
        assert closed.succeeded
        assert result == known


async def test_same_job_again_is_the_same_trade(nats_server: NatsServer) -> None:
    """Submitted three times, executed once."""
    async with Stack(nats_server.url) as stack:
        for _ in range(3):
            await stack.client.submit("DO_ORDER_SEND", BUY, id_="once")
        await until_empty(stack)

        assert 1 == len(stack.terminal.truth.executions("tester/once"))


async def test_job_without_an_id_is_called_by_its_place(nats_server: NatsServer) -> None:
    """`job-<sequence>`; a deadline it must have."""
    async with Stack(nats_server.url, policy={"require_deadline": False}) as stack:
        subject = "mt4.demo.job.tester.DO_ORDER_SEND"
        reply = await stack.client.connection.request(subject, json.dumps(BUY).encode(), timeout=2)
        sequence = json.loads(reply.data)["seq"]
        await until_empty(stack)

        assert 1 == len(stack.terminal.truth.executions(f"tester/job-{sequence}"))


async def test_job_that_cannot_be_taken_is_put_aside_with_the_reason(
    nats_server: NatsServer,
) -> None:
    """Nonsense, what is forbidden, and a used name; its client is told as well."""
    async with Stack(nats_server.url, policy={"max_lots_per_order": 1.0}) as stack:
        await stack.client.job("DO_ORDER_SEND", BUY, id_="used")
        results = [
            await stack.client.job("DO_ORDER_SEND", BUY | {"lots": "many"}),
            await stack.client.job("DO_ORDER_SEND", BUY | {"lots": 2.0}),
            await stack.client.job("DO_ORDER_SEND", BUY | {"lots": 0.2}, id_="used2"),
        ]
        await stack.client.submit("DO_ORDER_SEND", BUY | {"lots": 0.3}, id_="used")
        await until_empty(stack)
        letters = await dead_letters(stack)

        assert [400, 403, None] == [one.error and one.error["code"] for one in results]
        assert {"mt4.demo.dead.tester.DO_ORDER_SEND"} == {subject for subject, _ in letters}
        assert ["INVALID", "FORBIDDEN", "ID_CONFLICT"] == [
            reason.partition(":")[0] for _, reason in letters
        ]
        assert 1.0 == stack.metric("dead_letters_total", reason="forbidden")


@pytest.mark.parametrize(
    ("body", "headers"),
    [
        ({"lots": "many"}, {"Nats-Expected-Stream": "mt4_demo_jobs", "Mine": "kept"}),
        ({f"unknown{number}": 1 for number in range(3000)}, {"Mine": "kept"}),
        ({"lots": "many"}, {"Status": "408", "Mine": "kept"}),
        ({"lots": "many"}, {"Mt4-Id": "kept", "Mine": "x" * 65_450}),
    ],
    ids=["condition", "long-reason", "status", "long-headers"],
)
async def test_job_that_cannot_be_taken_holds_up_no_other(
    nats_server: NatsServer, body: dict[str, Any], headers: dict[str, str]
) -> None:
    """Whatever it looks like, it is put aside, with its client's own headers."""
    async with Stack(nats_server.url) as stack:
        subject, bad = "mt4.demo.job.tester.DO_ORDER_SEND", json.dumps(body).encode()
        await stack.client.connection.request(subject, bad, timeout=2, headers=headers)
        result = await stack.client.job("DO_ORDER_SEND", BUY, timeout_s=5.0)
        await until_empty(stack)
        jetstream = stack.client.connection.jetstream()
        letter = await jetstream.get_last_msg("mt4_demo_dead", subject.replace("job", "dead"))

        assert result.succeeded
        assert bad == letter.data
        assert "kept" in (letter.headers or {}).values()
        assert (letter.headers or {})["Mt4-Reason"].startswith("INVALID: ")


@pytest.mark.parametrize("kind", ["job", "trade"])
async def test_malformed_headers_end_no_connection(nats_server: NatsServer, kind: str) -> None:
    """nats-py stops reading at them, and a job comes again; neither NATS nor it refuses them."""
    async with Stack(nats_server.url) as stack:
        reader, writer = await asyncio.open_connection("127.0.0.1", nats_server.port)
        await reader.readline()
        subject = f"mt4.demo.{kind}.tester.DO_ORDER_SEND".encode()
        writer.write(b'CONNECT {"verbose":false,"headers":true}\r\n')
        writer.write(b"HPUB %s 7 9\r\nFOO\r\n\r\n{}\r\nPING\r\n" % subject)
        assert b"PONG\r\n" == await reader.readline()
        writer.close()
        result = await stack.client.job("DO_ORDER_SEND", BUY, timeout_s=5.0)

        assert result.succeeded
        assert 0.0 == stack.metric("nats_reconnects_total")


async def test_job_is_not_told_the_result_of_another_under_its_id(
    nats_server: NatsServer,
) -> None:
    """It waits, and the id has a result: of another wish, which is not taken for its own."""
    async with Stack(nats_server.url) as stack:
        await stack.client.job("DO_ORDER_SEND", BUY, id_="used")
        await stack.client.control("halt")
        other = BUY | {"lots": 0.7}
        result = await stack.client.job("DO_ORDER_SEND", other, id_="used", timeout_s=0.3)
        await stack.client.control("resume")

        assert "ID_CONFLICT" == (result.error or {})["name"]


async def test_job_that_waited_past_its_deadline_expires(own_nats_server: NatsServer) -> None:
    """No gateway was there; the next one tells that it is too late, and sends nothing."""
    async with Stack(own_nats_server.url) as stack:
        await stack.client.control("halt")
        await stack.client.submit("DO_ORDER_SEND", BUY, id_="late", timeout_s=0.3)
        await asyncio.sleep(0.3)  # the deadline itself, not a wait for something
        await stack.client.control("resume")
        await until_empty(stack)
        known = await stack.client.outcome_of("late")

        assert Outcome.EXPIRED == known.outcome  # type: ignore[union-attr]
        assert not stack.terminal.broker.orders


async def test_halted_jobs_wait_in_the_queue(nats_server: NatsServer) -> None:
    """The server hands none out; after `resume` they are done."""
    async with Stack(nats_server.url) as stack:
        await stack.client.control("halt")
        await stack.client.submit("DO_ORDER_SEND", BUY, id_="patient")
        waiting = (await state_of(stack, "mt4_demo_jobs")).messages
        await eventually(lambda: stack.metric("jobs_pending"))
        await stack.client.control("resume")
        await until_empty(stack)
        await eventually(lambda: not stack.metric("jobs_pending"))

        assert 1 == waiting
        assert 1 == len(stack.terminal.truth.executions("tester/patient"))


async def _never(*_: object) -> None:
    """Do nothing, as a gateway that has just died."""


async def test_jobs_of_a_halt_that_is_over_wait_no_longer(nats_server: NatsServer) -> None:
    """The gateway died between the two steps of `resume`; the next one sees what holds."""
    async with Stack(nats_server.url) as stack:
        await stack.client.control("halt")
        stack.app.jobs.go_on = _never  # type: ignore[method-assign]
        await stack.client.control("resume")
        stack.app.stop()
        await stack.running
        second = App(stack.app.config)
        running = asyncio.create_task(second.run())
        await eventually(lambda: second.role is Role.ACTIVE)
        result = await stack.client.job("DO_ORDER_SEND", BUY, timeout_s=5.0)
        second.stop()
        await running

        assert result.succeeded


async def test_halt_leaves_the_jobs_that_the_new_configuration_leaves(
    nats_server: NatsServer,
) -> None:
    """It began when nothing was allowed; a restart allows closing."""
    async with Stack(nats_server.url) as stack:
        position = await stack.buy()
        await stack.client.control("halt")
        stack.app.stop()
        await stack.running
        policy = stack.app.config.policy.model_copy(update={"halt_allows_reducing": True})
        second = App(stack.app.config.model_copy(update={"policy": policy}))
        running = asyncio.create_task(second.run())
        await eventually(lambda: second.role is Role.ACTIVE)
        await stack.client.submit("DO_ORDER_SEND", BUY, id_="opening")
        ticket = {"ticket": position.response["ticket"]}
        closed = await stack.client.job("DO_ORDER_CLOSE", ticket, timeout_s=5.0)
        second.stop()
        await running

        assert closed.succeeded
        assert not stack.terminal.truth.executions("tester/opening")


async def test_full_queue_refuses_the_publisher(nats_server: NatsServer) -> None:
    """Nothing is dropped silently."""
    async with Stack(nats_server.url, journal={"most_jobs": 2}) as stack:
        await stack.client.control("halt")
        for _ in range(2):
            await stack.client.submit("DO_ORDER_SEND", BUY)
        with pytest.raises(NotStored, match="maximum messages"):
            await stack.client.submit("DO_ORDER_SEND", BUY)


async def test_unknown_action_has_no_queue(nats_server: NatsServer) -> None:
    """A job that nobody would ever take is not stored."""
    async with Stack(nats_server.url) as stack:
        with pytest.raises(NotStored, match="no gateway listens"):
            await stack.client.submit("DO_MAGIC", {})


async def test_closing_does_not_wait_behind_opening(nats_server: NatsServer) -> None:
    """An order that takes long is in work; a close goes through beside it."""
    async with Stack(nats_server.url, QUIET) as stack:
        position = await stack.buy()
        stack.terminal.faults.add_spec("drop:DO_ORDER_SEND:1")
        opening = asyncio.create_task(stack.client.job("DO_ORDER_SEND", BUY))
        await eventually(lambda: len(stack.terminal.broker.orders) == 2)
        await stack.client.submit("DO_ORDER_SEND", BUY, id_="behind")
        ticket: dict[str, Any] = {"ticket": position.response["ticket"]}
        closed = await stack.client.job("DO_ORDER_CLOSE", ticket)
        result = await opening

        assert closed.succeeded
        assert result.succeeded
