"""Records in the journal that no gateway wrote: a mistake, or somebody with too many rights.

How that can come about is in tests/bus/test_permissions.py, for JetStream answers anywhere.
"""

from __future__ import annotations

import asyncio

import nats
import pytest

from gateway import app
from gateway.app import App, Role
from tests.support.nats_server import NatsServer
from tests.support.stack import Stack, eventually

FOREIGN = (b'{"stream": "mt4_demo_jobs", "seq": 7}', b"[]")


class Unready(Stack):
    """A stack whose gateway is not waited for."""

    async def start(self) -> None:
        """Start terminal and gateway."""
        await self._start_terminal()
        self.app = App(self._config())
        self.running = asyncio.create_task(self.app.run())

    async def stop(self) -> None:
        """Stop both."""
        self.app.stop()
        await self.running
        await self._stop_terminal()


@pytest.mark.parametrize("subject", ["halt", "term", "mark", "sent.tester.x"])
async def test_gateway_does_not_trade_on_a_record_that_is_not_its_own(
    own_nats_server: NatsServer,
    subject: str,
    caplog: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """It says which one, and begins when that is gone. A halt is not ended by garbage."""
    monkeypatch.setattr(app, "JOURNAL_RETRY_S", 0.02)
    async with Stack(own_nats_server.url) as stack:
        await stack.buy()
    connection = await nats.connect(own_nats_server.url)
    for body in FOREIGN:
        caplog.clear()
        await connection.publish(f"mt4j.demo.{subject}", body)
        await connection.flush()
        spoiled = Unready(own_nats_server.url)
        await spoiled.start()
        await eventually(lambda: "take_over_failed" in caplog.text)
        role = spoiled.app.role
        await connection.jetstream().purge_stream("mt4j_demo", subject=f"mt4j.demo.{subject}")
        await eventually(lambda made=spoiled.app: made.role is Role.ACTIVE)  # type: ignore[misc]
        await spoiled.stop()

        assert role is Role.STANDBY
        assert f"mt4j.demo.{subject} holds what no gateway writes" in caplog.text
    await connection.close()


async def test_result_that_is_not_ours_is_not_told(own_nats_server: NatsServer) -> None:
    """Whoever asks hears that it cannot be read, and the id is not traded again."""
    async with Stack(own_nats_server.url) as stack:
        await stack.buy(id_="first")
    connection = await nats.connect(own_nats_server.url)
    await connection.publish("mt4j.demo.result.tester.first", FOREIGN[0])
    await connection.flush()
    async with Stack(own_nats_server.url) as stack:
        again = await stack.buy(id_="first")
        asked = await stack.client.connection.request("mt4.demo.command.tester.first", timeout=2)

        assert 503 == (again.error or {})["code"]
        assert "503" == (asked.headers or {})["Nats-Service-Error-Code"]
        assert [] == stack.terminal.truth.of("executed")
    await connection.close()
