"""The walk through a live terminal: each step is seen, or said to be missing."""

from __future__ import annotations

import json
import os
import sys
from asyncio.subprocess import PIPE, create_subprocess_exec
from dataclasses import replace

import pytest

from gateway.terminal_check import MayTrade, Patience, walk
from tests.support.nats_server import NatsServer
from tests.support.stack import EXISTING_SERVER, QUIET, Stack, eventually
from tests.support.walk import Hands, no, shown, walked, yes

pytestmark = pytest.mark.long  # and best by itself: it is about time

LIVELY = replace(QUIET, tick_interval_s=0.02, heartbeat_interval_s=0.05)
PATIENCE = Patience(watch_s=0.5, hand_s=10.0, poll_s=0.02)
NO_HANDS = replace(PATIENCE, hand_s=0.1)


async def test_a_good_terminal_passes_every_step(nats_server: NatsServer) -> None:
    """Every step ends well, and no order is left open."""
    async with Stack(nats_server.url, LIVELY) as stack:
        hands = Hands(stack.terminal.platform, stack.terminal.restart)
        findings = walk(stack.client, yes, symbol="EURUSD", patience=PATIENCE)
        found = await walked(findings, hands.do)

        assert {"ok", "do"} == {finding.level for finding in found}, shown(found)
        assert 5 == [finding.level for finding in found].count("do")
        assert "verdict: this terminal does what the gateway relies on" == found[-1].what
        for part in ("none missed", "opened with stop", ": closed in", "rejected with 4109"):
            assert part in shown(found)
        assert {} == stack.terminal.broker.orders
        calls = [record["call"] for record in stack.terminal.truth.of("executed")]
        assert ["order_send", "order_close"] == calls


@pytest.mark.parametrize(("trade_mode", "may_trade"), [(2, yes), (1, yes), (0, no)])
async def test_no_order_without_demo_account_and_leave(
    nats_server: NatsServer, trade_mode: int, may_trade: MayTrade
) -> None:
    """A real or a contest account is never traded on, also with leave; a demo one only with it."""
    async with Stack(nats_server.url, LIVELY) as stack:
        broker = stack.terminal.broker
        broker.terms = replace(broker.terms, trade_mode=trade_mode)
        hands = Hands(stack.terminal.platform, stack.terminal.restart)
        found = await walked(walk(stack.client, may_trade, patience=PATIENCE), hands.do)

        assert [] == stack.terminal.truth.of("executed")
        assert "order step skipped" in shown(found)
        assert "warning" == found[-1].level


async def test_what_is_not_done_is_said(nats_server: NatsServer) -> None:
    """Without a person each of their steps is skipped, and the verdict says so."""
    async with Stack(nats_server.url, LIVELY) as stack:
        found = await walked(walk(stack.client, no, patience=NO_HANDS))

        assert 3 == shown(found).count("was not seen within 0.1 s")
        assert "warning" == found[-1].level


async def test_missing_ticks_and_permission_fail_with_a_cure(nats_server: NatsServer) -> None:
    """What can be seen without a person is a failure, not a question."""
    async with Stack(nats_server.url, replace(LIVELY, tick_interval_s=0.0)) as stack:
        stack.terminal.platform.is_trade_allowed = False
        await eventually(lambda: stack.app.line.session.trade_allowed is False)
        found = await walked(walk(stack.client, no, patience=NO_HANDS))
        failed = [finding for finding in found if finding.level == "failed"]

        assert [
            "trade_allowed: False",
            "0 ticks of 0 symbols in 0.5 s",
            "verdict: 2 steps failed",
        ] == [finding.what for finding in failed]
        assert all(finding.cure for finding in failed)


async def test_existing_server_is_not_walked(nats_server: NatsServer) -> None:
    """The walk is for our programs, and says so."""
    async with Stack(nats_server.url, EXISTING_SERVER) as stack:
        found = await walked(walk(stack.client, yes, patience=PATIENCE))

        assert ["failed", "failed"] == [finding.level for finding in found]
        assert "our MQL4 programs" in found[0].cure


async def test_command_line_walks_over_nats(nats_server: NatsServer) -> None:
    """One JSON object a line; without --yes nothing is sent."""
    async with Stack(nats_server.url, LIVELY) as stack:
        others = {key: text for key, text in os.environ.items() if not key.startswith("MT4GW_")}
        process = await create_subprocess_exec(
            sys.executable,
            *("-m", "gateway", "doctor", "--terminal", "--json", "--wait", "0.1"),
            env=others | {"MT4GW_NATS__SERVERS": nats_server.url},
            stdout=PIPE,
        )
        output, _ = await process.communicate()
        found = [json.loads(line) for line in output.splitlines()]

        assert 0 == process.returncode
        assert found[-1]["what"].startswith("verdict: nothing failed")
        assert [] == stack.terminal.truth.of("executed")
