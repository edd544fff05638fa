"""The policy on the whole stack: what it denies never reaches the terminal."""

from __future__ import annotations

import asyncio
from typing import Any

import msgspec
import pytest

from gateway.app import App
from gateway.client import CommandResult, Mt4Client, Outcome
from gateway.config import Config
from gateway.policy_settings import Policy
from gateway.sim.options import SimOptions
from tests.support.nats_server import NatsServer
from tests.support.stack import EXISTING_SERVER, QUIET, Stack, eventually

MINE = {"magic_number": 7}


def denial(result: CommandResult) -> tuple[int, str]:
    """Return code and message of a denied command."""
    assert Outcome.DENIED == result.outcome
    assert result.error is not None
    return result.error["code"], result.error["message"]


async def send(client: Mt4Client, lots: float = 0.1, **more: Any) -> CommandResult:
    """Send an order."""
    id_ = more.pop("id_", None)
    params = {"symbol": "EURUSD", "order_type": "BUY", "lots": lots} | more
    return await client.trade("DO_ORDER_SEND", params, id_=id_)


@pytest.mark.parametrize("sim", [QUIET, EXISTING_SERVER], ids=["bridge", "existing"])
async def test_orders_at_the_same_time_share_a_limit(
    nats_server: NatsServer, sim: SimOptions
) -> None:
    """Of ten at once exactly as many are sent as may be open, also where one was sent by hand."""
    async with Stack(nats_server.url, sim, policy={"max_open_orders": 4}) as stack:
        quote = stack.terminal.broker.quotes["EURUSD"]
        stack.terminal.broker.order_send("EURUSD", 0, 0.1, quote.ask, 10)
        results = await asyncio.gather(*(stack.buy() for _ in range(10)))

        assert 3 == sum(result.succeeded for result in results)
        assert 4 == len(stack.terminal.broker.orders)
        code, message = denial(next(one for one in results if not one.succeeded))
        assert 403 == code
        assert message.endswith("5 orders would be open; policy.max_open_orders = 4")
        await stack.client.order_close(
            next(one for one in results if one.succeeded).response["ticket"]
        )
        assert (await stack.buy()).succeeded


async def test_client_touches_only_what_it_was_granted(nats_server: NatsServer) -> None:
    """Whose an order is, and of which symbol, is read before it is closed."""
    clients = {"tester": {"symbols": ["EURUSD"], "magic_numbers": [7]}, "risk": {}}
    async with (
        Stack(nats_server.url, policy={"clients": clients}) as stack,
        await Mt4Client.connect(nats_server.url, client="risk") as risk,
        await Mt4Client.connect(nats_server.url, client="stranger") as stranger,
    ):
        theirs = (await send(risk, magic_number=8)).response["ticket"]
        mine = (await send(stack.client, **MINE)).response["ticket"]
        told = [
            denial(one)
            for one in (
                await send(stranger),
                await send(stack.client),
                await stack.client.order_close(theirs),
                await stack.client.trade("DO_CLOSE_ALL", {}),
                await stack.client.order_close(999_999),
            )
        ]
        closed = await stack.client.order_close(mine)

        assert [
            (403, "client 'stranger' is not listed in policy.clients"),
            (403, "magic_number 0 is not allowed; policy.clients.tester.magic_numbers = 7"),
            (403, "magic_number 8 is not allowed; policy.clients.tester.magic_numbers = 7"),
        ] == told[:3]
        assert (403, 503) == (told[3][0], told[4][0])
        assert closed.succeeded
        assert 1 == len(stack.terminal.broker.orders)


async def test_order_that_is_repeated_under_another_id_is_denied(nats_server: NatsServer) -> None:
    """A program that lost track of its ids buys once; so does one whose gateway has changed."""
    rules = {"duplicate_window_s": 60, "max_orders_per_minute": 2}
    async with Stack(nats_server.url, policy=rules) as stack:
        first, again = await asyncio.gather(stack.buy(id_="one"), stack.buy(id_="two"))
        other = await stack.buy(0.2)
        third = await stack.buy(0.3)
        stack.app.stop()
        await stack.running
        stack.app = App(stack.app.config)
        stack.running = asyncio.create_task(stack.app.run())
        await eventually(lambda: stack.is_ready)
        later = await stack.buy(0.2)

        assert first.succeeded
        assert other.succeeded
        assert "as id 'one'; policy.duplicate_window_s = 60" in denial(again)[1]
        assert "2 orders were sent within 60 s" in denial(third)[1]
        assert "the same order was sent" in denial(later)[1]
        assert 2 == len(stack.terminal.broker.orders)


async def test_limit_that_cannot_be_judged_denies(nats_server: NatsServer) -> None:
    """Nobody knows how many orders are open, so there is none more."""
    async with Stack(nats_server.url, policy={"max_open_lots": 5.0}) as stack:
        stack.terminal.faults.add_spec("garble:GET_ORDERS:1.0")
        code, message = denial(await stack.buy(timeout_s=1.0))

        assert 503 == code
        assert "policy.max_open_lots cannot be judged: the open orders" in message
        assert not stack.terminal.broker.orders


async def test_price_far_from_the_market_is_denied(nats_server: NatsServer) -> None:
    """A slip of a digit never reaches the broker; nor does a pending order follow it there."""
    async with Stack(nats_server.url, policy={"price_collar_percent": 5}) as stack:
        far = await send(stack.client, order_type="BUYLIMIT", price=0.9)
        near = await send(stack.client, order_type="BUYLIMIT", price=1.1)
        wanted = {"ticket": near.response["ticket"], "price": 0.95}
        moved = await stack.client.trade("DO_ORDER_MODIFY", wanted)

        assert "from the market's" in denial(far)[1]
        assert near.succeeded
        assert denial(moved)[1].endswith("; policy.price_collar_percent = 5")
        assert 1.1 == next(iter(stack.terminal.broker.orders.values())).open_price


@pytest.mark.parametrize(("bid", "ask"), [(0.0, 0.0), (-1.1, -1.1), (1.2, 1.1)])
async def test_price_that_is_none_is_asked_for(
    nats_server: NatsServer, bid: float, ask: float
) -> None:
    """A terminal without data ticks nonsense: a far price does not get past it."""
    async with Stack(nats_server.url, policy={"price_collar_percent": 5}) as stack:
        await stack.quote("EURUSD", 1.1, 1.1)
        heard = stack.app.ticks.newest
        await eventually(lambda: "EURUSD" in heard)
        heard["EURUSD"] = msgspec.structs.replace(heard["EURUSD"], bid=bid, ask=ask)
        far = await send(stack.client, order_type="BUYSTOP", price=2.0)

        assert "from the market's 1.1" in denial(far)[1]
        assert not stack.terminal.broker.orders


async def test_policy_that_changes_holds_for_what_waits(nats_server: NatsServer) -> None:
    """An order that waits for its turn meets the rules that hold then."""
    async with Stack(
        nats_server.url, terminal={"reply_timeout_s": 5.0, "hang_timeout_s": 9.0}
    ) as stack:
        await stack.buy()  # the symbol's rules are read
        stack.terminal.faults.add_spec("slow:GET_ACCOUNT_INFO:1:500ms")
        slow = asyncio.create_task(stack.client.query("GET_ACCOUNT_INFO"))
        await eventually(lambda: stack.app.line.current_action == "GET_ACCOUNT_INFO")
        waiting = asyncio.create_task(stack.buy())
        await eventually(lambda: stack.app.commands.queues()["trade"]["depth"] == 1)
        stack.app.policy.take(Policy(trading=False))

        assert "trading is off" in denial(await waiting)[1]
        assert (await slow).succeeded
        stack.app.policy.take(Policy(trading=True))
        assert (await stack.buy()).succeeded


async def test_policy_that_could_not_be_used_shows_in_the_metrics(nats_server: NatsServer) -> None:
    """Until a good one is read."""
    async with Stack(nats_server.url) as stack:
        told = [stack.metric("policy_reload_failed")]
        stack.app.policy.problem = "policy.max_open_orders: must be a number"
        told.append(stack.metric("policy_reload_failed"))
        stack.app.policy.take(Policy(trading=True))
        told.append(stack.metric("policy_reload_failed"))

        assert [0.0, 1.0, 0.0] == told


async def test_trading_can_be_switched_on_later(nats_server: NatsServer) -> None:
    """A gateway that only read claims the terminal when it may trade."""
    async with Stack(nats_server.url, policy={"trading": False}) as stack:
        assert 403 == denial(await stack.buy())[0]
        stack.app.policy.take(Policy(trading=True))

        assert (await stack.buy()).succeeded


def test_policy_is_part_of_the_configuration() -> None:
    """What a file says is what is in force."""
    config = Config.model_validate({"policy": {"clients": {"me": {"max_orders_per_minute": 1}}}})

    assert 1 == config.policy.clients["me"].max_orders_per_minute
