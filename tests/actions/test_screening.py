"""A trade meets its symbol's rules before it is queued, and never twice."""

import asyncio
import time
from dataclasses import replace

import pytest

from gateway.client import Outcome
from gateway.sim.symbols import STANDARD_SYMBOLS
from tests.support.nats_server import NatsServer
from tests.support.stack import EXISTING_SERVER, QUIET, Stack, eventually


def asked(stack: Stack, action: str) -> int:
    """Count how often the terminal was asked something."""
    return len([fact for fact in stack.terminal.truth.of("received") if fact["action"] == action])


async def test_same_id_while_its_rules_are_looked_up_runs_once(nats_server: NatsServer) -> None:
    """The look-up takes time, and a client that repeats itself meanwhile must not trade twice."""
    async with Stack(nats_server.url) as stack:
        stack.terminal.faults.add_spec("slow:GET_SYMBOL_INFO:1:100ms")
        results = await asyncio.gather(*(stack.buy(id_="same") for _ in range(5)))

        assert [results[0]] * 5 == list(results)
        assert results[0].succeeded
        assert 1 == len(stack.terminal.broker.orders)
        assert 4 == stack.metric("duplicates_total")


async def test_other_body_while_its_rules_are_looked_up_is_a_conflict(
    nats_server: NatsServer,
) -> None:
    """The id is taken from the moment the trade was accepted for screening."""
    async with Stack(nats_server.url) as stack:
        stack.terminal.faults.add_spec("slow:GET_SYMBOL_INFO:1:100ms")
        first, second = await asyncio.gather(
            stack.buy(0.1, id_="taken"), stack.buy(0.2, id_="taken")
        )

        assert {"succeeded", "denied"} == {first.outcome, second.outcome}
        assert 1 == len(stack.terminal.broker.orders)


async def test_denied_trade_may_be_sent_again_corrected(nats_server: NatsServer) -> None:
    """What never left is not remembered, so its id is free."""
    async with Stack(nats_server.url) as stack:
        wrong = await stack.buy(0.016, id_="again")
        right = await stack.buy(0.02, id_="again")

        assert Outcome.DENIED == wrong.outcome
        assert right.succeeded


async def test_rules_are_read_once_per_session(nats_server: NatsServer) -> None:
    """They are kept, but not for another start of the terminal."""
    async with Stack(nats_server.url) as stack:
        await stack.buy()
        await stack.buy()

        assert 1 == asked(stack, "GET_SYMBOL_INFO")
        before = stack.app.line.session.greeting
        await stack.terminal.restart()
        await eventually(lambda: stack.is_ready and stack.app.line.session.greeting is not before)
        await stack.buy()

        assert 2 == asked(stack, "GET_SYMBOL_INFO")


async def test_orders_of_one_symbol_share_one_look_up(nats_server: NatsServer) -> None:
    """A burst on a symbol that is new does not ask once per order."""
    async with Stack(nats_server.url) as stack:
        results = await asyncio.gather(*(stack.buy() for _ in range(20)))

        assert all(result.succeeded for result in results)
        assert 1 == asked(stack, "GET_SYMBOL_INFO")


@pytest.mark.parametrize("fault", ["drop", "garble"])
async def test_unknown_rules_deny_before_the_deadline(nats_server: NatsServer, fault: str) -> None:
    """A limit that cannot be evaluated denies; and the caller still listens."""
    async with Stack(nats_server.url) as stack:
        stack.terminal.faults.add_spec(f"{fault}:GET_SYMBOL_INFO:always")
        started_s = time.monotonic()
        result = await stack.buy(timeout_s=2.0)

        assert Outcome.DENIED == result.outcome
        assert 503 == (result.error or {})["code"]
        assert "rules unknown" in (result.error or {})["message"]
        assert time.monotonic() - started_s < 2.0
        assert 0 == asked(stack, "DO_ORDER_SEND")


async def test_trade_that_waited_for_a_terminal_expires_at_its_deadline(
    nats_server: NatsServer,
) -> None:
    """Not before: until then nothing has expired. And the reason is told."""
    async with Stack(nats_server.url) as stack:
        await stack.terminal.kill()
        await eventually(lambda: not stack.app.line.is_usable)
        started_s = time.monotonic()
        result = await stack.buy(timeout_s=0.6)

        assert Outcome.EXPIRED == result.outcome
        assert time.monotonic() - started_s >= 0.59
        assert "while the terminal was asked" in (result.error or {})["message"]
        assert 0 == asked(stack, "DO_ORDER_SEND")


async def test_plain_close_needs_no_rules(nats_server: NatsServer) -> None:
    """Whatever lessens the risk is not held up by a look-up."""
    async with Stack(nats_server.url) as stack:
        opened = await stack.buy()
        stack.terminal.faults.add_spec("drop:GET_*:always")
        result = await stack.client.trade("DO_ORDER_CLOSE", {"ticket": opened.response["ticket"]})

        assert result.succeeded


async def test_symbol_without_data_is_not_traded(nats_server: NatsServer) -> None:
    """Hazard 10: the existing server divides by its sizes of 0, which ends the program."""
    empty = replace(STANDARD_SYMBOLS[0], name="EMPTY", point=0.0)
    async with Stack(nats_server.url, EXISTING_SERVER) as stack:
        stack.terminal.broker.specs["EMPTY"] = empty
        result = await stack.client.order_send("EMPTY", "BUY", 0.1, timeout_s=1.0)

        assert 503 == (result.error or {})["code"]
        assert [] == stack.terminal.truth.of("program_died")


async def test_draining_gateway_answers_what_is_being_screened(nats_server: NatsServer) -> None:
    """Nothing accepted is left without a result, wherever it is."""
    async with Stack(nats_server.url) as stack:
        stack.terminal.faults.add_spec("slow:GET_SYMBOL_INFO:1:300ms")
        waiting = asyncio.create_task(stack.buy(id_="leaving"))
        await eventually(lambda: stack.app.line.current_action == "GET_SYMBOL_INFO")

        assert "waiting" == await stack.client.outcome_of("leaving")
        stack.app.stop()
        result = await waiting

        assert Outcome.DENIED == result.outcome
        assert 410 == (result.error or {})["code"]
        assert not stack.terminal.broker.orders


async def test_newest_tick_spares_a_question(nats_server: NatsServer) -> None:
    """A fresh tick is the market; an old one is not relied on."""
    async with Stack(nats_server.url, QUIET) as stack:
        await stack.quote("EURUSD", 1.2, 1.2001)
        await eventually(lambda: "EURUSD" in stack.app.ticks.newest)
        fresh = await stack.buy(sl=1.1999)

        assert fresh.succeeded
        assert 0 == asked(stack, "GET_SYMBOL_TICK")
        await stack.quote("EURUSD", 1.3, 1.3001, utc_ms=0)
        await eventually(lambda: stack.app.ticks.newest["EURUSD"].bid == 1.3)
        old = await stack.buy(sl=1.2999)

        assert old.succeeded
        assert 1 == asked(stack, "GET_SYMBOL_TICK")
