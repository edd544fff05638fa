"""The gateway over its named pipe: what holds over ZeroMQ holds here, and calls beside.

The whole of `tests/stack` runs over the pipe with `STACK_TRANSPORT=pipe`, as CI does; here are
the tests without which nothing else counts.
"""

import asyncio
import importlib.util
import itertools
import json
import os
from dataclasses import replace
from pathlib import Path
from types import ModuleType
from typing import Any

import nats
import pytest
from nats.aio.client import Client
from nats.aio.msg import Msg

from gateway.client import CommandResult, Outcome
from gateway.config import Config
from gateway.core.messages import Json
from gateway.doctor import examine
from gateway.terminal.pipe_name import pipe_address
from tests.stack.test_commands import (
    test_absent_terminal_is_told_after_a_grace,
    test_lost_reply_is_resolved_and_not_sent_again,
    test_order_opens_once_and_its_result_is_published,
    test_repeated_id_in_progress_gets_the_same_one_result,
)
from tests.stack.test_doctor import test_healthy_stack_has_no_failure
from tests.stack.test_recovery import test_terminal_dies_inside_an_order_and_the_truth_is_found
from tests.stack.test_take_over import (
    Pair,
    test_order_in_work_at_a_kill_is_found_by_the_next_gateway,
)
from tests.stack.test_ticks import (
    test_gap_in_the_terminals_numbers_is_counted,
    test_replayed_quotes_all_arrive_in_order,
)
from tests.support.nats_server import NatsServer
from tests.support.net import free_pipe_name
from tests.support.pipe_cutter import Cutter
from tests.support.pipes import PipeEnd
from tests.support.stack import Stack, StackWithoutTerminal, eventually

__all__ = [
    "test_absent_terminal_is_told_after_a_grace",
    "test_gap_in_the_terminals_numbers_is_counted",
    "test_healthy_stack_has_no_failure",
    "test_lost_reply_is_resolved_and_not_sent_again",
    "test_order_in_work_at_a_kill_is_found_by_the_next_gateway",
    "test_order_opens_once_and_its_result_is_published",
    "test_repeated_id_in_progress_gets_the_same_one_result",
    "test_replayed_quotes_all_arrive_in_order",
    "test_terminal_dies_inside_an_order_and_the_truth_is_found",
]

CUTS = int(os.environ.get("MT4GW_CUTS", "8"))
SEED = int(os.environ.get("MT4GW_CUTS_SEED", "1"))
EXAMPLE = Path(__file__).parents[2] / "examples" / "doubled_price.py"


@pytest.fixture(autouse=True)
def _over_a_pipe(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("STACK_TRANSPORT", "pipe")


async def test_garbled_reply_is_resolved(
    nats_server: NatsServer, caplog: pytest.LogCaptureFixture
) -> None:
    """Half a reply names its request, so the truth is asked for at once; the log names it, too."""
    async with Stack(nats_server.url) as stack:
        stack.terminal.faults.add_spec("garble:DO_ORDER_SEND:1")
        result = await stack.buy(id_="garbled")

        assert (True, True) == (result.succeeded, result.resolved)
        assert 1 == len(stack.terminal.truth.executions("tester/garbled"))
        assert 1 == stack.metric("replies_discarded_total", reason="malformed")
        assert "reply_malformed id=tester/garbled action=DO_ORDER_SEND" in caplog.text


async def test_late_reply_after_a_lost_link_runs_nothing_twice(nats_server: NatsServer) -> None:
    """The link is cut with the order at the terminal, whose reply has nowhere to go."""
    async with Stack(nats_server.url) as stack:
        stack.terminal.faults.add_spec("slow:DO_ORDER_SEND:1:100ms")
        buying = asyncio.create_task(stack.buy(id_="cut"))
        await eventually(lambda: stack.terminal.truth.executions("tester/cut"))
        stack.app.line._wire.reconnect()
        result = await buying

        assert (True, True) == (result.succeeded, result.resolved)
        assert 1 == len(stack.terminal.truth.executions("tester/cut"))


async def test_gateway_that_ends_gives_up_the_name_before_the_lease(
    nats_server: NatsServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The next one has the terminal while the first still says goodbye to the bus."""
    async with Stack(nats_server.url, ha={"lease_ttl_s": 60}) as stack, Pair(stack) as pair:
        say_goodbye = stack.app.bus.close

        async def say_goodbye_late() -> None:
            await pair.takes_over()
            await say_goodbye()

        monkeypatch.setattr(stack.app.bus, "close", say_goodbye_late)
        stack.app.stop()
        await stack.running

        assert (await stack.buy()).succeeded


async def test_pipe_without_its_program_is_named_by_the_doctor(nats_server: NatsServer) -> None:
    """Where no gateway runs, the doctor makes the pipe and waits for the terminal."""
    config = Config.model_validate(
        {
            "nats": {"servers": (nats_server.url,)},
            "terminal": {"name": "alone", "transport": "pipe", "pipe_name": free_pipe_name()},
        }
    )
    failed = [f async for f in examine(config, patience_s=0.3) if f.level == "failed"]

    assert 1 == len(failed)
    assert "pipe" in failed[0].what
    assert "pipe_name" in failed[0].cure


async def test_program_of_bare_numbers_is_not_missed_by_the_doctor(
    nats_server: NatsServer,
) -> None:
    """It could answer nothing, so its silence is no failure."""
    plain = {"pipe_mode": "text", "pipe_symbol": "EURUSD", "pipe_call": "double"}
    terminal = plain | {"name": "alone", "transport": "pipe", "pipe_name": free_pipe_name()}
    config = Config.model_validate(
        {"nats": {"servers": (nats_server.url,)}, "terminal": terminal},
    )

    assert [] == [f async for f in examine(config, patience_s=0.3) if f.level == "failed"]


# ---- bad lines ----------------------------------------------------------------------------


class CutStack(Stack):
    """A stack whose terminal is cut off again and again, in the middle of a line."""

    def __init__(self, url: str, cuts: int) -> None:
        super().__init__(url, transport="pipe")
        assert self.pipe_name is not None
        self.cutter = Cutter(self.pipe_name, cuts, SEED)
        self._front = free_pipe_name()
        self._sim = replace(self._sim, pipe_address=pipe_address(self._front))

    async def _start_terminal(self) -> None:
        await self.cutter.start(self._front)
        await super()._start_terminal()

    async def _stop_terminal(self) -> None:
        await super()._stop_terminal()
        await self.cutter.close()


@pytest.mark.timeout(60 + CUTS)
async def test_disconnects_in_mid_line_lose_no_command_and_double_none(
    nats_server: NatsServer,
) -> None:
    """Half a request runs nothing, half a reply is asked for again; every order is told truly."""
    async with CutStack(nats_server.url, CUTS) as stack:
        results: dict[str, CommandResult] = {}

        async def trade(trader: int) -> None:
            for number in itertools.count():
                if stack.cutter.cuts == CUTS:
                    return
                id_ = f"t{trader}-{number}"
                results[id_] = await stack.buy(0.01, id_=id_, timeout_s=20.0)

        await asyncio.gather(*(trade(number) for number in range(3)))
        executed = {id_: len(stack.terminal.truth.executions(f"tester/{id_}")) for id_ in results}

        assert dict.fromkeys(results, Outcome.SUCCEEDED) == {
            id_: result.outcome for id_, result in results.items()
        }
        assert dict.fromkeys(results, 1) == executed
        assert len(results) == len(stack.terminal.broker.orders)
        assert any(result.resolved for result in results.values())


async def test_tick_of_an_endless_symbol_costs_no_connection(nats_server: NatsServer) -> None:
    """It would be a subject, and NATS hangs up on one that is too long."""
    name = free_pipe_name()
    tick = {"kind": "tick", "seq": 1, "symbol": "S" * 5000, "time": 1, "broker_time": 1}
    tick |= {"bid": 1.5, "ask": 1.6, "last": 0.0, "volume": 0.0, "mode": "event"}
    settings = {"transport": "pipe", "pipe_name": name}
    async with (
        StackWithoutTerminal(nats_server.url, terminal=settings) as stack,
        PipeEnd(name, "ticks") as end,
    ):
        end.say(tick, tick | {"symbol": "EURUSD"})
        await eventually(lambda: "EURUSD" in stack.app.ticks.newest)
        await stack.app.bus.client.flush()

        assert ["EURUSD"] == list(stack.app.ticks.newest)
        assert stack.app.bus.last_error is None


# ---- calls --------------------------------------------------------------------------------


async def ask(stack: Stack, name: str, payload: Json, timeout_s: float = 5.0) -> dict[str, Any]:
    """Ask as an MQL4 program does."""
    assert stack.pipe_name is not None
    async with PipeEnd(stack.pipe_name, "calls") as end:
        call = {"kind": "call", "call": 1, "name": name, "timeout_s": timeout_s, "payload": payload}
        end.say(call)
        return await end.next("answer", "error")


async def serve(url: str, name: str, answer: bytes | None) -> Client:
    """Answer every question of a name with the same bytes; None answers nothing."""
    connection = await nats.connect(url)

    async def respond(question: Msg) -> None:
        if answer is not None:
            await question.respond(answer)

    await connection.subscribe(f"mt4.demo.call.{name}", cb=respond)
    await asyncio.sleep(0)  # or the flush overtakes it: tests/stack/test_nats_facts.py
    await connection.flush()
    return connection


def example() -> ModuleType:
    """Load the example service."""
    spec = importlib.util.spec_from_file_location("doubled_price", EXAMPLE)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


async def test_call_is_answered_by_a_service_on_the_bus(nats_server: NatsServer) -> None:
    """The example: the price goes out, and comes back doubled."""
    async with Stack(nats_server.url) as stack:
        stack.background(example().main(nats_server.url))
        answers: list[dict[str, Any]] = []

        async def is_answered() -> None:
            while "payload" not in (said := await ask(stack, "double", 1.12345)):
                assert "nobody_listens" == said["error"]  # the service is only starting
            answers.append(said)

        await is_answered()

        assert [{"kind": "answer", "call": 1, "payload": 2.2469}] == answers


@pytest.mark.parametrize(
    ("answer", "said"),
    [
        (b'{"a":[1,null,"x"]}', {"payload": {"a": [1, None, "x"]}}),
        (b"not json", {"error": "bad_answer"}),
        (b"NaN", {"error": "bad_answer"}),
        (b"\xff", {"error": "bad_answer"}),
        (b"", {"error": "bad_answer"}),
        (json.dumps("x" * 100_000).encode(), {"error": "bad_answer"}),
        (b'"%s"' % ("\u00e9" * 25_000).encode(), {"error": "bad_answer"}),
        (None, {"error": "timeout"}),
    ],
    ids=["json", "text", "nan", "bytes", "empty", "long", "long in ASCII", "silence"],
)
async def test_answer_comes_back_or_the_reason_why_not(
    nats_server: NatsServer, answer: bytes | None, said: dict[str, Any]
) -> None:
    """Whatever a service says, the program hears something it can use."""
    async with Stack(nats_server.url) as stack:
        service = await serve(nats_server.url, "ask", answer)
        heard = await ask(stack, "ask", "?", timeout_s=0.3 if answer is None else 5.0)
        await service.close()

        assert said == {key: heard[key] for key in said}
        assert ("error" in heard) == bool(heard.get("message"))


@pytest.mark.parametrize(
    ("name", "timeout_s", "error"),
    [
        ("nobody", 5.0, "nobody_listens"),
        ("no.dots", 5.0, "bad_call"),
        ("", 5.0, "bad_call"),
        (">", 5.0, "bad_call"),
        ("nobody", 0.0, "bad_call"),
        ("nobody", 61.0, "bad_call"),
    ],
)
async def test_call_that_cannot_be_answered_says_so_at_once(
    nats_server: NatsServer, name: str, timeout_s: float, error: str
) -> None:
    """Nobody has to wait for a timeout to learn it."""
    async with Stack(nats_server.url) as stack:
        async with asyncio.timeout(3.0):
            heard = await ask(stack, name, None, timeout_s)

        assert error == heard["error"]


async def test_call_while_the_bus_is_away_says_so(own_nats_server: NatsServer) -> None:
    """And it is not sent later, when nobody waits any more."""
    async with Stack(own_nats_server.url) as stack:
        own_nats_server.stop()
        await eventually(lambda: not stack.app.bus.is_connected)
        heard = await ask(stack, "double", 1.5)
        own_nats_server.start()

        assert "no_bus" == heard["error"]


async def test_plain_form_answers_numbers(nats_server: NatsServer) -> None:
    """A program that knows nothing of us writes its price and reads the answer."""
    name = free_pipe_name()
    settings = {
        "transport": "pipe",
        "pipe_name": name,
        "pipe_mode": "text",
        "pipe_symbol": "EURUSD",
        "pipe_call": "double",
    }
    service = await nats.connect(nats_server.url)
    ticks: list[Msg] = []

    async def double(question: Msg) -> None:
        await question.respond(json.dumps(2 * json.loads(question.data)).encode())

    async def note(tick: Msg) -> None:
        ticks.append(tick)

    await service.subscribe("mt4.demo.call.double", cb=double)
    await service.subscribe("mt4.demo.tick.EURUSD", cb=note)
    await asyncio.sleep(0)  # or the flush overtakes it: tests/stack/test_nats_facts.py
    await service.flush()
    async with StackWithoutTerminal(nats_server.url, terminal=settings), PipeEnd(name, None) as end:
        for number in range(200):
            price = round(1.1 + number / 1e5, 5)
            end.say(b"%.5f\r" % price)
            assert b"%.3f\r\n" % (2 * price) == await end.line()
        await eventually(lambda: len(ticks) == 200)
    await service.close()
