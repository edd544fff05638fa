"""Many market orders through a bad day: lost and late replies, restarts in between.

A short run by default; `MT4GW_ORDERS=2000` (bridge) is the full one; CI runs 500.
"""

import asyncio
import os
from collections import Counter
from dataclasses import replace
from functools import partial

import pytest

from gateway.client import CommandResult, Outcome
from gateway.core.evidence import token_of
from gateway.core.messages import CommandId
from gateway.sim.faults import Point
from tests.support.nats_server import NatsServer
from tests.support.stack import EXISTING_SERVER, QUIET, Stack, eventually

ORDERS = int(os.environ.get("MT4GW_ORDERS", "120"))
RESTARTS = 5
TRADERS = 4

pytestmark = [pytest.mark.long, pytest.mark.timeout(60 + ORDERS)]


async def trade_through(stack: Stack, orders: int, restarts: int) -> dict[str, CommandResult]:
    """Send the orders from several traders, restarting the terminal now and then."""
    results: dict[str, CommandResult] = {}
    todo = iter(range(orders))

    async def trader() -> None:
        for number in todo:
            id_ = f"order-{number}"
            results[id_] = await stack.buy(0.01, id_=id_, timeout_s=30.0)

    async def restarter() -> None:
        for nth in range(1, restarts + 1):
            share = nth * orders // (restarts + 1)
            await eventually(partial(has_at_least, results, share), 600)
            await stack.terminal.restart()

    await asyncio.gather(restarter(), *(trader() for _ in range(TRADERS)))
    return results


def has_at_least(results: dict[str, CommandResult], count: int) -> bool:
    """Tell whether so many results are there."""
    return len(results) >= count


def explain(results: dict[str, CommandResult]) -> str:
    """Count what became of the orders."""
    outcomes = Counter(str(result.outcome) for result in results.values())
    resolved = sum(result.resolved for result in results.values())
    return f"{len(results)} orders: {dict(outcomes)}, {resolved} resolved"


async def test_bridge_opens_each_order_once(nats_server: NatsServer) -> None:
    """One order per command, one result per command, unknown only where the ledger shows why."""
    async with Stack(nats_server.url, replace(QUIET, seed=7)) as stack:
        published = count_results(stack)
        for spec in (
            "drop:DO_ORDER_SEND:0.1",
            "late:DO_ORDER_SEND:0.05:300ms",
            "restart:DO_ORDER_SEND:before_broker:0.005",
            "restart:DO_ORDER_SEND:after_broker:0.005",
        ):
            stack.terminal.faults.add_spec(spec)
        results = await trade_through(stack, ORDERS, RESTARTS)
        await eventually(lambda: sum(published.values()) >= ORDERS)
        print(explain(results))

        truth = stack.terminal.truth
        died_inside = {
            record["id"] for record in truth.of("died") if record["point"] != Point.BEFORE_LEDGER
        }
        for id_, result in results.items():
            executed = len(truth.executions(f"tester/{id_}"))
            assert {Outcome.SUCCEEDED: 1}.get(result.outcome, executed) == executed, (id_, result)
            assert executed <= 1, id_
            if result.outcome is Outcome.UNKNOWN:
                assert f"tester/{id_}" in died_inside, result
            else:
                assert Outcome.SUCCEEDED == result.outcome, result
        assert dict.fromkeys(results, 1) == dict(published)


async def test_existing_server_never_opens_an_order_twice(nats_server: NatsServer) -> None:
    """Unknown is allowed where no proof exists; a duplicate or an untruth never."""
    orders = max(40, ORDERS // 10)
    async with Stack(nats_server.url, replace(EXISTING_SERVER, seed=11)) as stack:
        published = count_results(stack)
        stack.terminal.faults.add_spec("drop:DO_ORDER_SEND:0.1")
        stack.terminal.faults.add_spec("late:DO_ORDER_SEND:0.05:300ms")
        stack.terminal.faults.add_spec("restart:DO_ORDER_SEND:after_broker:0.02")
        stack.terminal.faults.add_spec("restart:DO_ORDER_SEND:before_broker:0.02")
        results = await trade_through(stack, orders, RESTARTS)
        await eventually(lambda: sum(published.values()) >= orders)
        print(explain(results))

        tickets = {
            order.comment[:14]: order.ticket for order in stack.terminal.broker.orders.values()
        }
        assert len(tickets) == len(stack.terminal.broker.orders), "an order was opened twice"
        for id_, result in results.items():
            if result.outcome is Outcome.SUCCEEDED:
                assert tickets[token_of(CommandId("tester", id_))] == result.response["ticket"]
            elif result.outcome is Outcome.UNKNOWN:
                assert token_of(CommandId("tester", id_)) not in tickets, "there was proof"
            else:
                pytest.fail(f"{id_} {result}")
        assert dict.fromkeys(results, 1) == dict(published)


def count_results(stack: Stack) -> Counter[str]:
    """Count what is published on the result subjects, per id."""
    counts: Counter[str] = Counter()

    async def follow() -> None:
        async for result in stack.client.results():
            counts[result.id] += 1

    stack.background(follow())
    return counts
