"""Times in UTC: from an offset that is measured at a terminal whose quotes move."""

import time
from dataclasses import replace
from datetime import datetime
from typing import Any

import pytest

from gateway.sim.options import SimOptions
from gateway.terminal import broker_clock
from tests.support.nats_server import NatsServer
from tests.support.stack import EXISTING_SERVER, QUIET, Stack, eventually

OFFSET_S = 3 * 3600


def moving(options: SimOptions) -> SimOptions:
    """Let prices move, at a broker three hours east."""
    return replace(
        options, tick_interval_s=0.05, heartbeat_interval_s=0.1, broker_offset_s=OFFSET_S
    )


@pytest.mark.parametrize("sim", [moving(EXISTING_SERVER), moving(QUIET)], ids=lambda s: s.dialect)
async def test_offset_is_measured_where_quotes_move(
    nats_server: NatsServer, sim: SimOptions, monkeypatch: pytest.MonkeyPatch
) -> None:
    """By polled ticks at the existing server, by heartbeats at the bridge."""
    monkeypatch.setattr(broker_clock, "AGREE_AFTER_S", 1.0)
    polling = {"poll_symbols": ("EURUSD",), "poll_interval_s": 0.05}
    async with Stack(nats_server.url, sim, terminal=polling) as stack:
        clock = stack.app.line.session.broker_clock

        assert None is clock.offset_s
        await eventually(lambda: clock.offset_s is not None)
        status: dict[str, Any] = await stack.client.status()
        opened = datetime.fromisoformat((await stack.buy()).response["open_time_utc"])

        assert OFFSET_S == status["terminal"]["broker_offset_s"]
        assert abs(opened.timestamp() - time.time()) < 30


async def test_times_are_null_while_quotes_stand_still(nats_server: NatsServer) -> None:
    """Looking often does not make an old quote a clock."""
    polling = {"poll_symbols": ("EURUSD",), "poll_interval_s": 0.01}
    async with Stack(nats_server.url, EXISTING_SERVER, terminal=polling) as stack:

        def polls() -> int:
            return len(
                [f for f in stack.terminal.truth.of("received") if f["action"] == "GET_SYMBOL_TICK"]
            )

        await eventually(lambda: polls() > 20)
        order = (await stack.buy()).response

        assert order["open_time"] > "2000"
        assert order["open_time_utc"] is None
