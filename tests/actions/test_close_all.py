"""Close all: each position is told, and no outcome hides one that stayed open."""

from dataclasses import replace

import pytest

from gateway.client import Outcome
from tests.support.nats_server import NatsServer
from tests.support.stack import Stack

SYMBOLS = ("EURUSD", "GBPUSD", "USDJPY")


async def positions(stack: Stack) -> list[int]:
    """Open one position in each of three symbols."""
    results = [await stack.client.order_send(name, "BUY", 0.1) for name in SYMBOLS]
    return [result.response["ticket"] for result in results]


async def test_position_that_stays_open_is_told(nats_server: NatsServer) -> None:
    """Some closed: that is no failure, and no plain success."""
    async with Stack(nats_server.url) as stack:
        opened = await positions(stack)
        broker = stack.terminal.broker
        broker.specs["GBPUSD"] = replace(broker.specs["GBPUSD"], point=0.0)  # no prices now
        result = await stack.client.trade("DO_CLOSE_ALL")

        assert result.succeeded
        assert [opened[1]] == list(broker.orders)
        assert [(opened[0], True), (opened[1], False), (opened[2], True)] == [
            (line["ticket"], line["closed"]) for line in result.response
        ]
        assert f"closed 2 of 3; still open: {opened[1]} (136 ERR_OFF_QUOTES" in (
            result.warning or ""
        )


async def test_nothing_closed_is_no_success(nats_server: NatsServer) -> None:
    """The broker's code and each ticket are told."""
    async with Stack(nats_server.url) as stack:
        opened = await positions(stack)
        stack.terminal.faults.add_spec("refuse:DO_CLOSE_ALL:132:always")
        result = await stack.client.trade("DO_CLOSE_ALL")

        assert Outcome.REJECTED == result.outcome
        assert opened == list(stack.terminal.broker.orders)
        assert opened == [line["ticket"] for line in result.response]
        assert (132, "NONE_CLOSED") == ((result.error or {})["code"], (result.error or {})["name"])


async def test_tickets_in_doubt_are_named(nats_server: NatsServer) -> None:
    """The broker's answer leaves it open whether they are closed."""
    async with Stack(nats_server.url) as stack:
        opened = await positions(stack)
        stack.terminal.faults.add_spec("ambiguous:DO_CLOSE_ALL:128:always")
        result = await stack.client.trade("DO_CLOSE_ALL")

        assert Outcome.UNKNOWN == result.outcome
        assert opened == [line["ticket"] for line in result.response]
        assert f"look at order {', '.join(map(str, opened))}" in (result.warning or "")


@pytest.mark.parametrize(("params", "part"), [({}, "symbol: missing"), ({"symbol": "GBPUSD"}, "")])
async def test_all_symbols_are_not_closed_where_only_some_may_be_traded(
    nats_server: NatsServer, params: dict[str, str], part: str
) -> None:
    """Denied with a sentence that says which parameter is missing."""
    async with Stack(nats_server.url, policy={"symbols": ["EURUSD"]}) as stack:
        ticket = (await stack.buy()).response["ticket"]
        result = await stack.client.trade("DO_CLOSE_ALL", params)

        assert Outcome.DENIED == result.outcome
        assert 403 == (result.error or {})["code"]
        assert part in (result.error or {})["message"]
        assert [ticket] == list(stack.terminal.broker.orders)
