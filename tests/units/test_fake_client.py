"""The client for users' own tests: it says what a gateway would say, at once."""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import AsyncIterator

import pytest

from examples.breakout import breakout
from gateway.client import Mt4, Mt4Client, Outcome
from gateway.testing import FakeMt4Client


@pytest.fixture
async def mt4() -> AsyncIterator[FakeMt4Client]:
    """Make a fake."""
    async with FakeMt4Client(client="mybot") as fake:
        yield fake


async def rising(mt4: FakeMt4Client, prices: int = 30) -> None:
    """Let the price rise."""
    for n in range(prices):
        mt4.quote("EURUSD", 1.1 + n / 10_000, 1.1002 + n / 10_000)
        await asyncio.sleep(0)


async def test_strategy_is_tested_without_anything_else(mt4: FakeMt4Client) -> None:
    """Prices in, an order out; its parameters can be looked at."""
    running = asyncio.create_task(breakout(mt4, "EURUSD"))
    await asyncio.sleep(0)
    await rising(mt4)
    said = await running

    assert said.startswith("bought at 1.1")
    assert ["DO_ORDER_SEND"] == [action for action, _ in mt4.asked]
    assert 200 == mt4.asked[0][1]["sl_points"]
    assert 1 == len(mt4.broker.orders)


@pytest.mark.parametrize(
    ("outcome", "words"),
    [
        (Outcome.UNKNOWN, "unknown: stop opening"),
        (Outcome.REJECTED, "rejected: no money"),
        (Outcome.EXPIRED, "expired: no money"),
    ],
)
async def test_bad_day_is_arranged(mt4: FakeMt4Client, outcome: Outcome, words: str) -> None:
    """What a strategy does then is what is worth testing."""
    mt4.next_trade_ends(outcome, code=134, message="no money")
    running = asyncio.create_task(breakout(mt4, "EURUSD"))
    await asyncio.sleep(0)
    await rising(mt4)

    assert words in await running
    assert not mt4.broker.orders


async def test_same_id_is_the_same_trade(mt4: FakeMt4Client) -> None:
    """As at a gateway; with other parameters it is a conflict."""
    first = await mt4.order_send("EURUSD", "BUY", 0.1, id_="once")
    again = await mt4.order_send("EURUSD", "BUY", 0.1, id_="once")
    other = await mt4.order_send("EURUSD", "BUY", 0.2, id_="once")

    assert first == again == await mt4.outcome_of("once")
    assert 409 == (other.error or {})["code"]
    assert 1 == len(mt4.broker.orders)
    assert "not_known" == await mt4.outcome_of("never")


async def test_mistakes_are_denied_as_a_gateway_denies_them(mt4: FakeMt4Client) -> None:
    """The same validation, the broker's own refusals, and halt."""
    wrong = await mt4.order_send("EURUSD", "UP", 0.1)
    unknown = await mt4.trade("DO_ORDER_FLIP", {})
    broke = await mt4.order_send("EURUSD", "BUY", 90.0)
    await mt4.control("halt", reason="enough")
    halted = await mt4.order_send("EURUSD", "BUY", 0.1)
    await mt4.control("resume")
    resumed = await mt4.order_send("EURUSD", "BUY", 0.1)

    assert (Outcome.DENIED, 400) == (wrong.outcome, (wrong.error or {})["code"])
    assert "order_type" in (wrong.error or {})["message"]
    assert Outcome.DENIED == unknown.outcome
    assert (Outcome.REJECTED, "ERR_NOT_ENOUGH_MONEY") == (
        broke.outcome,
        (broke.error or {})["name"],
    )
    assert 423 == (halted.error or {})["code"]
    assert resumed.succeeded


async def test_everything_can_be_followed(mt4: FakeMt4Client) -> None:
    """Ticks with their gaps, one's results, events; a job's result as well."""
    seen: list[object] = []

    async def follow(stream: AsyncIterator[object], count: int) -> None:
        for _ in range(count):
            seen.append(await anext(stream))

    following = [
        asyncio.create_task(follow(mt4.ticks("EURUSD"), 2)),
        asyncio.create_task(follow(mt4.results(), 1)),
        asyncio.create_task(follow(mt4.events("order"), 1)),
    ]
    await asyncio.sleep(0)
    mt4.quote("EURUSD", 1.1, 1.2)
    mt4.lose_tick("EURUSD")
    mt4.quote("USDJPY", 150.0, 150.1)
    mt4.quote("EURUSD", 1.2, 1.3)
    mt4.tell("order", {"event": "opened"})
    job = await mt4.job("DO_ORDER_SEND", {"symbol": "EURUSD", "order_type": "BUY", "lots": 0.1})
    await asyncio.gather(*following)

    assert job.succeeded
    assert job in seen
    assert {"kind": "order", "event": "opened"} in seen
    assert [0, 1] == [tick.missed for tick in seen if hasattr(tick, "missed")]


async def test_job_that_is_refused_is_told_without_waiting(mt4: FakeMt4Client) -> None:
    """As a gateway tells it; a halted one would have let it wait for its deadline."""
    async with asyncio.timeout(1):
        wrong = await mt4.job(
            "DO_ORDER_SEND", {"symbol": "EURUSD", "order_type": "BUY", "lots": -1}
        )
        await mt4.control("halt")
        halted = await mt4.job(
            "DO_ORDER_SEND", {"symbol": "EURUSD", "order_type": "BUY", "lots": 0.1}
        )

    assert (Outcome.DENIED, "INVALID") == (wrong.outcome, (wrong.error or {})["name"])
    assert (Outcome.EXPIRED, "EXPIRED") == (halted.outcome, (halted.error or {})["name"])


async def test_gap_is_arranged(mt4: FakeMt4Client) -> None:
    """As after a connection that was lost."""
    gaps: list[str] = []
    events = mt4.events(on_gap=lambda: gaps.append("now"))
    first = asyncio.ensure_future(anext(events))
    await asyncio.sleep(0)
    mt4.lose_connection()
    mt4.tell("order", {"event": "opened"})

    assert "opened" == (await first)["event"]
    assert ["now"] == gaps


async def test_whoever_follows_comes_to_the_end_when_it_is_closed() -> None:
    """As with a real client."""
    async with FakeMt4Client() as mt4:
        following = asyncio.create_task(_count(mt4.ticks()))
        await asyncio.sleep(0)
        mt4.quote("EURUSD", 1.1, 1.2)

    assert 1 == await following


async def _count(stream: AsyncIterator[object]) -> int:
    return len([item async for item in stream])


@pytest.mark.parametrize("kind", [FakeMt4Client, Mt4])
def test_other_clients_offer_what_the_client_offers(kind: type) -> None:
    """A method that is new there is missed here."""
    public = {
        name
        for name, member in inspect.getmembers(Mt4Client, inspect.isroutine)
        if not name.startswith("_")
    }

    assert public - {"forget"} <= set(dir(kind))
