"""Flow 1 end to end: wishes from the bus, results to the bus."""

import asyncio
import json
import time

import msgpack
import nats
import pytest
from nats.aio.msg import Msg

from gateway.client import NoAnswer, Outcome
from gateway.envelope import format_time
from tests.support.nats_server import NatsServer
from tests.support.schemas import check
from tests.support.stack import EXISTING_SERVER, Stack, eventually


def deadline(seconds: float = 5.0) -> str:
    """Write a deadline so far from now."""
    return format_time(time.time() + seconds)


async def test_query_is_answered_with_the_terminals_response(nats_server: NatsServer) -> None:
    """A read goes through the channel and comes back."""
    async with Stack(nats_server.url) as stack:
        result = await stack.client.query("GET_ACCOUNT_INFO")

        assert Outcome.SUCCEEDED == result.outcome
        assert "USD" == result.response["currency"]


async def test_order_opens_once_and_its_result_is_published(nats_server: NatsServer) -> None:
    """A trade's result reaches both its caller and the result subject."""
    async with Stack(nats_server.url) as stack:
        published = []
        connection = await nats.connect(nats_server.url)

        async def note(msg: Msg) -> None:
            published.append(json.loads(msg.data))

        await connection.subscribe("mt4.demo.result.tester.*", cb=note)
        await connection.flush()
        result = await stack.buy(id_="order-1")
        await eventually(lambda: published)
        await connection.close()

        assert result.succeeded
        assert [result.body] == published
        assert 1 == len(stack.terminal.truth.executions("tester/order-1"))


async def test_client_that_is_called_as_the_gateway_trades_like_any(
    nats_server: NatsServer,
) -> None:
    """Its trades are shown, and their results have the shape that all have."""
    async with Stack(nats_server.url, client_options={"client": "gateway"}) as stack:
        bought = await stack.buy(id_="keeper")
        closed = await stack.client.order_close(bought.response["ticket"])
        shown = [one["action"] for one in stack.app.describe()["last_commands"]]

        assert bought.response["ticket"] == closed.response["ticket"]
        assert ["DO_ORDER_CLOSE", "DO_ORDER_SEND"] == shown


async def test_same_id_is_answered_while_the_audit_is_written(
    nats_server: NatsServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whoever asks again between the result and its record is not left without an answer."""
    async with Stack(nats_server.url) as stack:
        going_on, audit = asyncio.Event(), stack.app.commands._audit

        async def wait(*_: object) -> None:
            await going_on.wait()

        monkeypatch.setattr(audit, "finished", wait)
        first = await stack.buy(id_="again")
        second = await stack.buy(id_="again", timeout_s=1.0)
        going_on.set()

        assert first.body == second.body


async def test_lost_reply_is_resolved_and_not_sent_again(nats_server: NatsServer) -> None:
    """The ledger answers what the lost reply would have said."""
    async with Stack(nats_server.url) as stack:
        stack.terminal.faults.add_spec("drop:DO_ORDER_SEND:1")
        result = await stack.buy(id_="lost")

        assert result.succeeded
        assert result.resolved
        assert 1 == result.attempts
        assert 1 == len(stack.terminal.truth.executions("tester/lost"))
        assert 1 == stack.metric("replies_dropped_total", action="DO_ORDER_SEND", reason="timeout")


async def test_repeated_id_gets_the_stored_result(nats_server: NatsServer) -> None:
    """The same command again executes nothing."""
    async with Stack(nats_server.url) as stack:
        first = await stack.buy(id_="twice")
        second = await stack.buy(id_="twice")

        assert first == second
        assert 1 == len(stack.terminal.broker.orders)
        assert 1 == stack.metric("duplicates_total")


async def test_repeated_id_in_progress_gets_the_same_one_result(nats_server: NatsServer) -> None:
    """A retry that overtakes its first try waits for the same result."""
    async with Stack(nats_server.url) as stack:
        stack.terminal.faults.add_spec("slow:DO_ORDER_SEND:1:100ms")
        first, second = await asyncio.gather(stack.buy(id_="same"), stack.buy(id_="same"))

        assert first == second
        assert 1 == len(stack.terminal.broker.orders)


async def test_used_id_with_another_body_is_denied(nats_server: NatsServer) -> None:
    """An id names one wish for good."""
    async with Stack(nats_server.url) as stack:
        await stack.buy(0.1, id_="used")
        other = await stack.buy(0.2, id_="used")

        assert Outcome.DENIED == other.outcome
        assert other.error is not None
        assert 409 == other.error["code"]


async def test_bad_parameters_are_denied_with_every_field_named(nats_server: NatsServer) -> None:
    """Nothing wrong reaches the terminal, and the caller learns all of it at once."""
    async with Stack(nats_server.url) as stack:
        result = await stack.client.order_send("EURUSD", "SELLL", -1.0, magic=7)

        assert Outcome.DENIED == result.outcome
        assert result.error is not None
        for part in ("order_type", "SELLL", "lots", "-1.0", "magic: unknown parameter"):
            assert part in result.error["message"]
        assert [] == [
            f for f in stack.terminal.truth.of("received") if str(f["action"]).startswith("DO_")
        ]


async def test_trade_without_a_deadline_is_denied(nats_server: NatsServer) -> None:
    """A buffered request may arrive hours late; without a deadline nobody could tell."""
    async with Stack(nats_server.url) as stack:
        connection = await nats.connect(nats_server.url)
        body = {"symbol": "EURUSD", "order_type": 0, "lots": 0.1}
        reply = await connection.request(
            "mt4.demo.trade.me.DO_ORDER_SEND", json.dumps(body).encode(), timeout=5
        )
        await connection.close()

        assert "400" == (reply.headers or {})["Nats-Service-Error-Code"]
        assert "deadline" in json.loads(reply.data)["error"]["message"]
        assert not stack.terminal.broker.orders


@pytest.mark.parametrize(
    "far", ["0001-01-01T00:00:00+23:59", "0001-01-01T00:00:00Z", "9999-12-31T23:59:59-23:59"]
)
async def test_deadline_that_nobody_can_write_is_refused(nats_server: NatsServer, far: str) -> None:
    """Neither a trade nor a job with one ends the gateway, or is left without its refusal."""
    async with Stack(nats_server.url) as stack:
        client = stack.client
        body = {"symbol": "EURUSD", "order_type": 0, "lots": 0.1, "deadline": far}
        subject = client.subjects.trade(client.client, "DO_ORDER_SEND")
        job = client.subjects.job(client.client, "DO_ORDER_SEND")
        published = aiter(client.results())
        told = asyncio.ensure_future(anext(published))
        await asyncio.sleep(0)
        await client.connection.jetstream().publish(job, json.dumps(body | {"id": "far"}).encode())
        reply = await client.connection.request(subject, json.dumps(body).encode(), timeout=5)
        refusals = [json.loads(reply.data)["error"], (await asyncio.wait_for(told, 5)).error]

        assert all(error["code"] == 400 and far in error["message"] for error in refusals)
        assert (await stack.buy()).succeeded
        assert not stack.running.done()


async def test_trade_past_its_deadline_is_expired_and_not_sent(nats_server: NatsServer) -> None:
    """What comes too late is told so, and never leaves."""
    async with Stack(nats_server.url) as stack:
        connection = await nats.connect(nats_server.url)
        body = {"symbol": "EURUSD", "order_type": 0, "lots": 0.1, "deadline": deadline(-1)}
        reply = await connection.request(
            "mt4.demo.trade.me.DO_ORDER_SEND", json.dumps(body).encode(), timeout=5
        )
        await connection.close()

        assert "expired" == json.loads(reply.data)["outcome"]
        assert "408" == (reply.headers or {})["Nats-Service-Error-Code"]
        assert not stack.terminal.broker.orders


async def test_msgpack_is_answered_in_msgpack(nats_server: NatsServer) -> None:
    """A map without a header is told by its first byte."""
    async with Stack(nats_server.url):
        connection = await nats.connect(nats_server.url)
        reply = await connection.request(
            "mt4.demo.query.GET_SYMBOL_TICK", msgpack.packb({"symbol": "EURUSD"}), timeout=5
        )
        await connection.close()

        assert "succeeded" == msgpack.unpackb(reply.data)["outcome"]
        assert "application/msgpack" == (reply.headers or {})["Content-Type"]


async def test_forged_reply_subject_executes_nothing(nats_server: NatsServer) -> None:
    """The gateway cannot be made to publish on a subject of the requester's choice."""
    async with Stack(nats_server.url) as stack:
        connection = await nats.connect(nats_server.url)
        heard: list[bytes] = []

        async def note(msg: Msg) -> None:
            heard.append(msg.data)

        await connection.subscribe("mt4.demo.result.>", cb=note)
        body = {"symbol": "EURUSD", "order_type": 0, "lots": 0.1, "deadline": deadline()}
        await connection.publish(
            "mt4.demo.trade.me.DO_ORDER_SEND",
            json.dumps(body).encode(),
            reply="mt4.demo.result.victim.x",
        )
        await connection.flush()
        await eventually(
            lambda: stack.metric("commands_total", action="DO_ORDER_SEND", outcome="denied")
        )
        await connection.flush()
        await connection.close()

        assert [] == heard
        assert not stack.terminal.broker.orders


async def test_full_lane_says_busy_at_once(nats_server: NatsServer) -> None:
    """A client learns that it must slow down instead of waiting for its deadline."""
    async with Stack(nats_server.url, commands={"read_capacity": 1}) as stack:
        stack.terminal.faults.add_spec("slow:GET_ORDERS:1:300ms")
        results = await asyncio.gather(*(stack.client.query("GET_ORDERS") for _ in range(5)))

        codes = [result.error["code"] for result in results if result.error is not None]
        assert {429} == set(codes)
        assert codes


async def test_trading_is_off_until_configured(nats_server: NatsServer) -> None:
    """A fresh gateway only reads."""
    async with Stack(nats_server.url, policy={"trading": False}) as stack:
        order = await stack.buy()
        read = await stack.client.query("GET_ORDERS")

        assert Outcome.DENIED == order.outcome
        assert order.error is not None
        assert 403 == order.error["code"]
        assert read.succeeded


async def test_state_of_a_command_can_be_asked(nats_server: NatsServer) -> None:
    """`I timed out: what happened?` has an answer."""
    async with Stack(nats_server.url) as stack:
        result = await stack.buy(id_="asked")

        assert result == await stack.client.outcome_of("asked")
        assert "not_known" == await stack.client.outcome_of("never-sent")


async def test_gateway_is_discovered_as_a_service(nats_server: NatsServer) -> None:
    """Standard NATS tools find it and its subjects."""
    async with Stack(nats_server.url):
        connection = await nats.connect(nats_server.url)
        reply = await connection.request("$SRV.INFO.mt4-gateway", b"", timeout=5)
        await connection.close()

        info = json.loads(reply.data)
        assert "mt4-gateway" == info["name"]
        assert "demo" == info["metadata"]["terminal"]
        assert "mt4.demo.job.<client>.<ACTION>" == info["metadata"]["job"]
        assert "DO_ORDER_SEND" in info["metadata"]["trades"].split(", ")
        assert "GET_ORDERS" in info["metadata"]["queries"].split(", ")
        assert "mt4.demo.control.status" == info["endpoints"][0]["subject"]
        assert "status" == info["endpoints"][0]["metadata"]["response"]


async def test_status_tells_links_and_queues(nats_server: NatsServer) -> None:
    """Operators ask over the bus."""
    async with Stack(nats_server.url) as stack:
        said = await stack.client.status()

        check("status", said)
        assert "up" == said["terminal"]["link"]
        assert "bridge" == said["terminal"]["dialect"]
        assert {"depth": 0, "capacity": 256} == said["queues"]["trade"]


async def test_absent_terminal_is_told_after_a_grace(nats_server: NatsServer) -> None:
    """Nobody waits for a terminal that has been away for long."""
    async with Stack(nats_server.url, terminal={"down_grace_s": 0.0}) as stack:
        await stack.terminal.kill()
        await eventually(lambda: not stack.app.line.is_usable)
        result = await stack.client.query("GET_ORDERS")

        assert result.error is not None
        assert 502 == result.error["code"]


async def test_no_gateway_is_told_as_no_answer(nats_server: NatsServer) -> None:
    """A subject without a listener is known at once."""
    async with Stack(nats_server.url) as stack:
        stack.client._subjects = type(stack.client._subjects)("mt4", "elsewhere")

        with pytest.raises(NoAnswer, match="no gateway listens"):
            await stack.client.query("GET_ORDERS")


@pytest.mark.parametrize("fault", ["drop", "garble"])
async def test_existing_server_is_searched_after_a_missing_reply(
    nats_server: NatsServer, fault: str
) -> None:
    """Without ids the order is found by its token; it is never sent again."""
    async with Stack(nats_server.url, EXISTING_SERVER) as stack:
        stack.terminal.faults.add_spec(f"{fault}:DO_ORDER_SEND:1")
        result = await stack.buy(id_="searched")

        assert result.succeeded
        assert result.resolved
        assert 1 == len(stack.terminal.broker.orders)


async def test_existing_servers_empty_list_is_a_list(nats_server: NatsServer) -> None:
    """It writes `{}` for no orders."""
    async with Stack(nats_server.url, EXISTING_SERVER) as stack:
        assert [] == await stack.client.orders()


async def test_trace_of_the_caller_is_passed_on(nats_server: NatsServer) -> None:
    """Into the reply, the published result, what is stored, the log and the exemplar."""
    trace = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"
    async with Stack(nats_server.url) as stack:
        connection = stack.client.connection
        published: asyncio.Future[Msg] = asyncio.get_running_loop().create_future()

        async def note(msg: Msg) -> None:
            published.set_result(msg)

        await connection.subscribe("mt4.demo.result.tester.traced", cb=note)
        body = {
            "id": "traced",
            "deadline": format_time(time.time() + 5),
            "symbol": "EURUSD",
            "order_type": 0,
            "lots": 0.1,
        }
        reply = await connection.request(
            "mt4.demo.trade.tester.DO_ORDER_SEND",
            json.dumps(body).encode(),
            timeout=5,
            headers={"traceparent": trace},
        )
        told = await asyncio.wait_for(published, 5)
        stored = await connection.jetstream().get_last_msg(
            "mt4j_demo", "mt4j.demo.sent.tester.traced"
        )
        page, _ = stack.app.metrics.render("application/openmetrics-text")

        assert trace == (reply.headers or {})["traceparent"]
        assert trace == (told.headers or {})["traceparent"]
        assert trace == json.loads(stored.data or b"")["trace"]
        assert 'trace_id="4bf92f3577b34da6a3ce929d0e0e4736"' in page.decode()
