"""Subjects that the server lets pass and that are no text, or not one word: they end nothing."""

from __future__ import annotations

import asyncio
import json
import logging

import pytest

from tests.support.nats_server import NatsServer
from tests.support.stack import Stack, eventually

SOON_S = 2.0
STRANGE = [
    b"mt4.demo.query.\xff",
    b"mt4.demo.query.a\x0bb",
    b"mt4.demo.query.\x00\x0c\x1b[31m",
    b"mt4.demo.trade.\xff.DO_ORDER_SEND",
    b"mt4.demo.trade.me.\xff\xfe",
    b"mt4.demo.command.me.\xff",
    b"mt4.demo.control.halt\x0b1",
    b"mt4.demo.job.\xff.DO_ORDER_SEND",
    b"mt4.demo.job.a\x0bb.DO_ORDER_SEND",
    b"$SRV.PING.\xff",
]


async def publish(port: int, subject: bytes, reply: bytes = b"") -> None:
    """Publish as a client does that knows only the wire."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    await reader.readline()
    body = json.dumps({"symbol": "EURUSD", "order_type": 0, "lots": 0.1, "id": "strange"}).encode()
    names = b" ".join(filter(None, (subject, reply)))
    writer.write(b'CONNECT {"verbose":false}\r\n')
    writer.write(b"PUB %s %d\r\n%s\r\nPING\r\n" % (names, len(body), body))
    assert b"PONG\r\n" == await asyncio.wait_for(reader.readline(), SOON_S)
    writer.close()
    await writer.wait_closed()


@pytest.mark.parametrize("reply", [b"", b"_INBOX.me", b"_INBOX.\xff"])
async def test_subject_that_is_no_text_ends_nothing(nats_server: NatsServer, reply: bytes) -> None:
    """Nobody who may only read can make a gateway deaf: the connection stays, and all is heard."""
    async with Stack(nats_server.url) as stack:
        for subject in STRANGE:
            await publish(nats_server.port, subject, reply)
            result = await stack.buy(timeout_s=SOON_S)

            assert result.succeeded, subject
        assert 0 == stack.metric("nats_reconnects_total")
        assert not stack.app.describe()["halted"]
        assert len(STRANGE) == len(stack.terminal.broker.orders)


async def test_no_subject_gives_orders_to_the_screen_that_shows_a_log(
    nats_server: NatsServer, caplog: pytest.LogCaptureFixture
) -> None:
    """Escape sequences and turned writing are shown as what they are."""
    caplog.set_level(logging.DEBUG)
    async with Stack(nats_server.url) as stack:
        for strange in (b"\x1b[31mx", "\u202ex".encode(), b"\xff"):
            await publish(nats_server.port, b"mt4.demo.trade.me." + strange)
            await publish(nats_server.port, b"mt4.demo.query." + strange, b"_INBOX.me")
        await stack.client.orders()
        shown = [one["action"] for one in stack.app.describe()["last_commands"]]

        assert all(line.isprintable() for line in (*caplog.messages, *shown))
        assert r"\x1b[31mx" in shown
        assert r"\xff" in shown


async def test_job_whose_subject_is_no_text_is_put_aside(nats_server: NatsServer) -> None:
    """It does not come again, and the next one is done."""
    async with Stack(nats_server.url) as stack:
        await publish(nats_server.port, b"mt4.demo.job.\xff.DO_ORDER_SEND")
        await eventually(lambda: stack.metric("dead_letters_total", reason="invalid"))
        result = await stack.client.job(
            "DO_ORDER_SEND", {"symbol": "EURUSD", "order_type": 0, "lots": 0.1}, timeout_s=5.0
        )

        assert result.succeeded


@pytest.mark.parametrize("separator", [b"\x0b", b"\x0c"])
async def test_subject_names_no_other_subscription(
    nats_server: NatsServer, separator: bytes
) -> None:
    """What stands behind a vertical tab is not the number of somebody else's subscription."""
    async with Stack(nats_server.url) as stack:
        heard: list[str] = []
        theirs = await stack.app.bus.client.subscribe("not.for.them")

        async def note() -> None:
            heard.extend([msg.subject async for msg in theirs.messages])

        stack.background(note())
        await stack.app.bus.client.flush()
        subject = b"mt4.demo.query.x%s%d" % (separator, theirs._id)
        await publish(nats_server.port, subject)
        await stack.client.orders()

        assert [] == heard
        assert 0 == theirs._received
