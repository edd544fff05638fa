"""The connection to NATS outlives what nats-py's does not: `gateway/nats_connection.py`."""

import asyncio

import pytest
from nats.aio.msg import Msg

from gateway.nats_connection import Connection
from tests.support.nats_server import NatsServer
from tests.support.stack import eventually


async def test_answer_that_nobody_waits_for_any_more_ends_nothing(
    own_nats_server: NatsServer,
) -> None:
    """A flush was given up while NATS was frozen; what it says then must still be read."""
    connection = Connection()
    await connection.connect(own_nats_server.url)
    heard: list[bytes] = []

    async def note(msg: Msg) -> None:
        heard.append(msg.data)

    await connection.subscribe("told", cb=note)
    await connection.flush()
    own_nats_server.pause()
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.05):
            await connection.flush()
    own_nats_server.resume()
    await connection.flush()
    await connection.publish("told", b"hello")
    await eventually(lambda: heard)
    await connection.close()

    assert [b"hello"] == heard
