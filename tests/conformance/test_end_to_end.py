"""The gateway with the MQL4 programs in the simulator's place: real NATS, real ZeroMQ.

`MT4GW_KILLS=200` kills the commands program so often; 20 times by default.
"""

from __future__ import annotations

import asyncio
import os
import random
from collections import Counter
from collections.abc import Callable
from functools import partial

import pytest

from gateway.client import CommandResult, Outcome, TickMessage
from gateway.core.evidence import token_of
from gateway.core.messages import CommandId
from gateway.terminal_check import Patience, walk
from tests.conformance.broker import Mishap
from tests.conformance.hosted_stack import HostedStack
from tests.support.stack import eventually
from tests.support.walk import Hands, shown, walked, yes

KILLS = int(os.environ.get("MT4GW_KILLS", "20"))
SEED = int(os.environ.get("MT4GW_CONFORMANCE_SEED", "1"))
TRADERS = 3
Hosted = Callable[..., HostedStack]


def is_followed(stack: HostedStack, ticks: list[TickMessage]) -> bool:
    """Move the market by a point, and tell whether any of it has arrived."""
    bid = stack.hosted.broker.quotes["EURUSD"].bid
    stack.hosted.quote("EURUSD", round(bid + 0.00001, 5), round(bid + 0.0001, 5))
    return bool(ticks)


def has_arrived(ticks: list[TickMessage], bid: float) -> bool:
    """Tell whether the last tick has this price."""
    return bid == ticks[-1].bid


def has_more(results: dict[str, CommandResult], count: int) -> bool:
    """Tell whether so many results are there."""
    return len(results) >= count


def token(id_: str) -> str:
    """Return the token of one of the tester's commands."""
    return token_of(CommandId("tester", id_))


# --- the way there and back ---------------------------------------------------------------------


async def test_order_opens_once_whatever_is_repeated(hosted: Hosted) -> None:
    """One order, one result, also for the same id again and for a copy that overtakes."""
    async with hosted() as stack:
        first, second = await asyncio.gather(stack.buy(id_="same"), stack.buy(id_="same"))
        third = await stack.buy(id_="same")

        assert first.succeeded
        assert first == second == third
        assert {token("same"): 1} == dict(stack.hosted.broker.opened)


@pytest.mark.parametrize("hosted", ["zmq"], indirect=True)  # the proxy speaks ZeroMQ
async def test_lost_reply_is_resolved_and_not_sent_again(hosted: Hosted) -> None:
    """The program's ledger answers what the lost reply would have said."""
    async with hosted(with_proxy=True) as stack:
        assert stack.proxy is not None
        stack.proxy.loses = 1
        result = await stack.buy(id_="lost")

        assert 1 == stack.proxy.lost
        assert (True, True, 1) == (result.succeeded, result.resolved, result.attempts)
        assert {token("lost"): 1} == dict(stack.hosted.broker.opened)


@pytest.mark.parametrize(
    ("mishap", "outcome", "orders"),
    [
        (Mishap.DIE_AFTER, Outcome.SUCCEEDED, 1),
        (Mishap.DIE_BEFORE, Outcome.UNKNOWN, 0),
    ],
)
async def test_program_that_dies_inside_a_trade_tells_the_truth_later(
    hosted: Hosted,
    mishap: Mishap,
    outcome: Outcome,
    orders: int,
) -> None:
    """An order is found by its token; without one nobody can tell, and nothing is sent again."""
    settings = {"give_up_s": 2.0}
    async with hosted(terminal=settings) as stack:
        stack.hosted.broker.arrange("OrderSend", mishap)
        asked = asyncio.create_task(stack.buy(id_="cut", timeout_s=10.0))
        await stack.hosted.revive()
        result = await asked

        assert (outcome, True) == (
            result.outcome,
            result.resolved or result.outcome is Outcome.UNKNOWN,
        )
        assert orders == stack.hosted.broker.opened[token("cut")]


async def test_not_now_is_tried_again_under_the_same_id(hosted: Hosted) -> None:
    """A busy trade context ran nothing, so the gateway may try once more."""
    async with hosted() as stack:
        stack.hosted.broker.arrange("OrderSend", Mishap.REFUSE, 146)
        result = await stack.buy(id_="again")

        assert (True, 2) == (result.succeeded, result.attempts)
        assert {token("again"): 1} == dict(stack.hosted.broker.opened)


# --- ticks and events ---------------------------------------------------------------------------


async def test_ticks_reach_the_bus_with_their_numbers(hosted: Hosted) -> None:
    """Each quote of the chart's symbol, in order, without a gap."""
    async with hosted() as stack:
        ticks: list[TickMessage] = []

        async def follow() -> None:
            async for tick in stack.client.ticks("EURUSD"):
                ticks.append(tick)

        stack.background(follow())
        await eventually(partial(is_followed, stack, ticks))
        stack.hosted.quote("EURUSD", 1.3, 1.3001)
        await eventually(partial(has_arrived, ticks, 1.3))
        first = len(ticks)
        for number in range(20):
            bid = round(1.2 + number / 1e5, 5)
            stack.hosted.quote("EURUSD", bid, round(bid + 0.0001, 5))
            await eventually(partial(has_arrived, ticks, bid))

        assert [0] * 20 == [tick.missed for tick in ticks[first:]]
        assert list(range(ticks[first].seq, ticks[first].seq + 20)) == [
            tick.seq for tick in ticks[first:]
        ]


async def test_order_events_reach_the_bus(hosted: Hosted) -> None:
    """Opened by a command, closed by its stop: both are told, with the reason."""
    async with hosted() as stack:
        told: list[tuple[str, str, int]] = []

        async def follow() -> None:
            async for event in stack.client.events("order"):
                told.append((event["event"], event["reason"], event["order"]["ticket"]))

        stack.background(follow())
        stack.hosted.quote("EURUSD", 1.1, 1.1001)
        ticket = (await stack.buy(sl_points=100)).response["ticket"]
        await eventually(lambda: told)
        stack.hosted.quote("EURUSD", 1.09, 1.0901)
        await eventually(lambda: len(told) > 1)

        assert [("opened", ticket), ("closed", ticket)] == [(what, at) for what, _, at in told]
        assert "stop_loss" == told[1][1]


async def test_doctor_walks_through_the_mql4_programs(hosted: Hosted) -> None:
    """What the walk asks of a live terminal, the programs on the host do; nothing stays open."""
    async with hosted() as stack:

        async def move() -> None:
            while True:
                is_followed(stack, [])
                await asyncio.sleep(0.05)

        stack.background(move())
        hands = Hands(stack.hosted.server.platform, stack.hosted.restart)
        patience = Patience(watch_s=1.0, hand_s=20.0, poll_s=0.05)
        found = await walked(walk(stack.client, yes, symbol="EURUSD", patience=patience), hands.do)

        # On a busy machine two quotes may fall into one look; the walk says so, as it should.
        steps = [finding for finding in found[:-1] if " missed" not in finding.what]
        assert {"ok", "do"} == {finding.level for finding in steps}, shown(found)
        assert "failed" != found[-1].level
        assert 1 == stack.hosted.broker.opened.total()
        assert {} == stack.hosted.broker.orders


# --- bad days -----------------------------------------------------------------------------------


@pytest.mark.timeout(60 + 3 * KILLS)
async def test_no_order_twice_through_sigkill_at_random(hosted: Hosted) -> None:
    """Killed while trading, again and again: at most one order per id, and true results."""
    chance = random.Random(SEED)
    settings = {"give_up_s": 2.5}
    async with hosted(terminal=settings) as stack:
        results: dict[str, CommandResult] = {}
        published: Counter[str] = Counter()
        is_over = asyncio.Event()

        async def follow() -> None:
            async for result in stack.client.results():
                published[result.id] += 1

        async def trade(trader: int) -> None:
            for number in range(10**9):
                if is_over.is_set():
                    return
                id_ = f"t{trader}-{number}"
                with_answer = stack.buy(0.01, id_=id_, timeout_s=20.0)
                results[id_] = await with_answer

        stack.background(follow())
        traders = [asyncio.create_task(trade(number)) for number in range(TRADERS)]
        for _ in range(KILLS):
            await eventually(partial(has_more, results, len(results) + chance.randrange(1, 5)))
            await asyncio.sleep(chance.uniform(0.0, 0.02))
            await stack.hosted.restart()
            stack.hosted.forget({token(id_) for id_ in results})
        is_over.set()
        await asyncio.gather(*traders)
        await eventually(lambda: published.keys() >= results.keys())

        opened = stack.hosted.broker.opened
        outcomes = Counter(result.outcome for result in results.values())
        unknown = [id_ for id_, result in results.items() if result.outcome is Outcome.UNKNOWN]
        print(
            f"{KILLS} kills, {len(results)} commands: {dict(outcomes)}, {opened.total()} orders, "
            f"{sum(opened[token(id_)] for id_ in unknown)} of them unknown"
        )
        assert [] == [key for key, count in opened.items() if count > 1]
        untrue = {
            id_: (result.outcome, opened[token(id_)])
            for id_, result in results.items()
            if id_ not in unknown and opened[token(id_)] != (result.outcome is Outcome.SUCCEEDED)
        }
        assert {} == untrue
        assert dict.fromkeys(results, 1) == dict(published)
        assert [] == stack.hosted.findings
        # Unknown is for what was cut inside the trade, and that is rare.
        assert outcomes[Outcome.SUCCEEDED] > outcomes[Outcome.UNKNOWN]
