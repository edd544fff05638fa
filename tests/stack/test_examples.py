"""The examples run, against a gateway; and what they show of the client holds."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from decimal import Decimal
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from nats.aio.msg import Msg

from examples import after_a_crash, breakout, notebook
from gateway.client import Mt4, Mt4Client, NoAnswer, NobodyListens, NotConnected, NotStored
from gateway.client import client as client_module
from gateway.client.memory import Memory
from tests.support.nats_server import NatsServer
from tests.support.net import free_port
from tests.support.stack import Stack, eventually

BUY = {"symbol": "EURUSD", "order_type": "BUY", "lots": 0.1}


async def test_breakout_trades(nats_server: NatsServer) -> None:
    """Prices rise until it buys."""
    async with Stack(nats_server.url) as stack:
        running = asyncio.create_task(breakout.breakout(stack.client, "EURUSD", ticks=3))
        bid = 1.1
        while not running.done():
            bid += 0.0001
            await stack.terminal.quote("EURUSD", bid, bid + 0.0002)
            await asyncio.sleep(0.002)

        assert running.result().startswith("bought at ")


async def test_notebook_trades_without_await(
    nats_server: NatsServer, capsys: pytest.CaptureFixture[str]
) -> None:
    """In a thread that has no event loop, as a notebook's cell."""
    async with Stack(nats_server.url):

        def cell() -> float:
            with Mt4.connect(nats_server.url, client="notebook") as mt4:
                return notebook.look_around(mt4)

        cost = await asyncio.to_thread(cell)
        said = capsys.readouterr().out

        assert cost < 0
        assert "succeeded" in said
        assert "CommandResult" in said


async def test_blocking_client_works_where_a_loop_runs(nats_server: NatsServer) -> None:
    """A notebook has a loop of its own in the very thread of its cells."""
    async with Stack(nats_server.url) as stack:
        # It blocks this loop, so it may ask only for what does not need it.
        mt4 = Mt4.connect(nats_server.url, client="cell")
        connected = mt4.client.connection.is_connected
        mt4.close()
        mt4.close()

        assert connected
        assert (await stack.buy()).succeeded


async def test_blocking_client_follows_ticks_and_ends(nats_server: NatsServer) -> None:
    """What comes between two looks waits; leaving the loop ends the subscription."""
    async with Stack(nats_server.url) as stack:

        def watch() -> list[int]:
            seen: list[int] = []
            with Mt4.connect(nats_server.url, client="watcher") as mt4:
                for tick in mt4.ticks("EURUSD"):
                    seen.append(tick.seq)
                    if len(seen) == 5:
                        break
            return seen

        watching = asyncio.create_task(asyncio.to_thread(watch))
        bid = 1.1
        while not watching.done():
            bid += 0.0001
            await stack.terminal.quote("EURUSD", bid, bid + 0.0002)
            await asyncio.sleep(0.002)
        seen = watching.result()

        assert list(range(seen[0], seen[0] + 5)) == seen


async def test_closing_a_blocking_client_ends_its_other_threads(nats_server: NatsServer) -> None:
    """Who follows comes to the end, who waits for an answer is cut off; then nothing is sent."""
    clients = [await asyncio.to_thread(Mt4.connect, nats_server.url) for _ in range(20)]
    for mt4 in clients:
        following = asyncio.create_task(asyncio.to_thread(list, mt4.ticks()))
        await eventually(partial(bool, mt4.client.connection._subs))
        await asyncio.to_thread(mt4.close)
        async with asyncio.timeout(5):
            assert [] == await following
    with pytest.raises(NotConnected, match="was closed"):
        clients[0].orders()


async def test_closing_a_blocking_client_tells_the_id_of_a_trade(nats_server: NatsServer) -> None:
    """The thread that waits for it can ask later what became of it."""
    async with await Mt4Client.connect(nats_server.url) as bus:
        sent, told = await closed_once_heard(bus, "mt4.demo.trade.me.DO_ORDER_SEND", timeout_s=60)

    assert json.loads(sent.data)["id"] == told.id


async def test_closing_tells_the_id_of_a_trade_that_is_being_asked_about(
    nats_server: NatsServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its answer is lost, and nobody answers about it either: not a cancellation even so."""
    monkeypatch.setattr(client_module, "ANSWER_MARGIN_S", 0.01)
    async with await Mt4Client.connect(nats_server.url) as bus:
        await bus.connection.subscribe("mt4.demo.trade.me.DO_ORDER_SEND")
        about, told = await closed_once_heard(bus, "mt4.demo.command.me.*", timeout_s=2)

    assert about.subject.endswith(f".{told.id}")


async def closed_once_heard(bus: Mt4Client, subject: str, timeout_s: float) -> tuple[Msg, NoAnswer]:
    """Order in a thread, close when something is heard on a subject; return it and the error."""
    heard = await bus.connection.subscribe(subject)
    await bus.connection.flush()
    server = bus.connection.connected_url
    assert server is not None
    mt4 = await asyncio.to_thread(Mt4.connect, server.geturl())
    waiting = asyncio.create_task(
        asyncio.to_thread(mt4.order_send, "EURUSD", "BUY", 0.1, timeout_s=timeout_s)
    )
    message = await heard.next_msg(5)
    await asyncio.to_thread(mt4.close)
    with pytest.raises(NoAnswer) as caught:
        await waiting
    return message, caught.value


async def test_blocking_client_refuses_to_wait_for_itself(nats_server: NatsServer) -> None:
    """What `on_gap` calls runs in the thread that would have to answer it."""

    async def on_its_thread(call: Callable[[], object]) -> None:
        call()

    mt4 = await asyncio.to_thread(Mt4.connect, nats_server.url)
    for call in (mt4.orders, mt4.close):
        asking = asyncio.run_coroutine_threadsafe(on_its_thread(call), mt4._loop)
        with pytest.raises(RuntimeError, match="set a flag"):
            await asyncio.wait_for(asyncio.wrap_future(asking), 5)
    await asyncio.to_thread(mt4.close)


def test_blocking_client_that_finds_no_server_says_so() -> None:
    """And leaves no thread behind."""
    with pytest.raises(NotConnected):
        Mt4.connect(f"nats://127.0.0.1:{free_port()}", connect_timeout_s=0.1)


# ---- ids on the disk -----------------------------------------------------------------------------


async def test_trade_of_an_earlier_life_is_found_again(
    nats_server: NatsServer, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """It died between publishing and hearing; the next one asks before it trades."""
    file = tmp_path / "trades"
    async with Stack(nats_server.url) as stack:
        stack.terminal.faults.add_spec("slow:DO_ORDER_SEND:#1:300ms")
        first = await after_a_crash.begin(file, nats_server.url)
        trading = asyncio.create_task(first.order_send("EURUSD", "BUY", 0.01, id_="lost"))
        await eventually(lambda: stack.terminal.truth.of("executed"))
        trading.cancel()  # as a crash: nobody hears the result
        await asyncio.gather(trading, return_exceptions=True)
        await first.close()
        await eventually(lambda: stack.app.commands.results.last)
        second = await after_a_crash.begin(file, nats_server.url)
        said = capsys.readouterr().out
        left = await second.recover()
        await second.close()

        assert "lost: succeeded" in said
        assert {} == left


async def test_id_is_on_the_disk_before_the_trade_leaves(
    nats_server: NatsServer, tmp_path: Path
) -> None:
    """Seen by whoever takes the order: the file has it already, and loses it with the result."""
    file = tmp_path / "trades"
    seen: list[str] = []
    async with await Mt4Client.connect(
        nats_server.url, terminal="played", client="me", remember=file
    ) as mt4:

        async def take(msg: Msg) -> None:
            seen.append(file.read_text("utf-8"))
            body = dict.fromkeys(("response", "warning", "error"), None)
            told = {"id": json.loads(msg.data)["id"], "client": "me", "action": "DO_ORDER_SEND"}
            told |= {"outcome": "succeeded", "attempts": 1, "resolved": False}
            await msg.respond(json.dumps(body | told).encode())

        await mt4.connection.subscribe("mt4.played.trade.me.*", cb=take)
        await mt4.trade("DO_ORDER_SEND", BUY, id_="mine")
        left = await mt4.recover()

    assert '"begun": "mine"' in seen[0]
    assert {} == left
    assert '{"ended": "mine"}' == file.read_text("utf-8").splitlines()[-1]


async def test_trade_that_never_left_is_not_remembered(
    nats_server: NatsServer, tmp_path: Path
) -> None:
    """Nobody listened, or it was not stored: there is nothing to ask for."""
    async with await Mt4Client.connect(
        nats_server.url, terminal="nobody", remember=tmp_path / "trades"
    ) as mt4:
        for call in (mt4.trade, mt4.submit):
            with pytest.raises((NotStored, NobodyListens), match="no gateway listens"):
                await call("DO_ORDER_SEND", BUY, timeout_s=0.2)

        assert {} == await mt4.recover()


async def test_trade_that_left_is_remembered_when_its_outcome_may_not_be_asked(
    tmp_path: Path,
) -> None:
    """That NATS forbids the question does not mean that the trade was never sent."""
    conf = tmp_path / "nats.conf"
    conf.write_text(
        "authorization { users: [{ user: u, password: p, permissions: {publish: "
        '{ allow: ">", deny: "mt4.played.command.>" } } }] }'
    )
    server = NatsServer(tmp_path, "-c", str(conf))
    server.start()
    try:
        login: dict[str, Any] = {"user": "u", "password": "p", "terminal": "played"}
        async with await Mt4Client.connect(
            server.url, remember=tmp_path / "trades", **login
        ) as mt4:

            async def take(msg: Msg) -> None:
                """Say nothing."""

            await mt4.connection.subscribe("mt4.played.trade.me.*", cb=take)
            with pytest.raises(NoAnswer):
                await mt4.trade("DO_ORDER_SEND", BUY, id_="mine", timeout_s=0.1)
            assert mt4._memory is not None
            assert {"mine"} == set(mt4._memory.open)
    finally:
        server.stop()


async def test_trade_of_a_closed_client_was_not_sent(
    nats_server: NatsServer, tmp_path: Path
) -> None:
    """`NotConnected` says so, also where its id can no more be written down."""
    mt4 = await Mt4Client.connect(nats_server.url, remember=tmp_path / "trades")
    await mt4.close()
    await mt4.close()
    for trade in (mt4.trade, mt4.job, mt4.submit):
        with pytest.raises(NotConnected, match="closed"):
            await trade("DO_ORDER_SEND", {"lots": 0.1})


@pytest.mark.parametrize("lots", [float("nan"), Decimal("0.1")])
async def test_trade_that_cannot_be_written_is_not_remembered(
    nats_server: NatsServer, tmp_path: Path, lots: Any
) -> None:
    """It was never sent: nobody has to ask for it in the next life."""
    file = tmp_path / "trades"
    async with await Mt4Client.connect(nats_server.url, remember=file) as mt4:
        for call in (mt4.trade, mt4.submit, mt4.job):
            with pytest.raises((TypeError, ValueError)):
                await call("DO_ORDER_SEND", BUY | {"lots": lots}, timeout_s=0.2)

        assert {} == await mt4.recover()
    assert "" == file.read_text("utf-8")


async def test_result_is_told_though_the_memory_cannot_be_written(
    nats_server: NatsServer, tmp_path: Path
) -> None:
    """The disk is full when the order has run: its caller must not hear of an error."""
    file = tmp_path / "trades"
    async with (
        Stack(nats_server.url),
        await Mt4Client.connect(nats_server.url, remember=file) as mt4,
    ):
        assert mt4._memory is not None
        memory = mt4._memory
        request = mt4.connection.request

        async def fill_the_disk(*args: Any, **options: Any) -> Msg:
            memory.close()
            return await request(*args, **options)

        mt4.connection.request = fill_the_disk  # type: ignore[method-assign]
        result = await mt4.trade("DO_ORDER_SEND", BUY, id_="mine")

        assert result.succeeded
        memory = Memory(file)
        memory.close()
        assert {"mine"} == set(memory.open)


def test_memory_survives_a_line_that_was_cut_off(tmp_path: Path) -> None:
    """The trade of that line had not been published yet."""
    file = tmp_path / "trades"
    file.write_text(
        '{"begun": "a", "action": "X", "params": {}}\n'
        '{"begun": "b", "action": "X", "params": {}}\n'
        '{"ended": "a"}\n'
        '{"begun": "c", "act',
        "utf-8",
    )
    memory = Memory(file)
    memory.close()

    assert {"b"} == set(memory.open)
    assert 1 == len(file.read_text("utf-8").splitlines())


def test_memory_overwrites_no_other_file(tmp_path: Path) -> None:
    """A mistyped name must not cost a diary."""
    file = tmp_path / "diary"
    file.write_text("Dear diary,\ntoday\n", "utf-8")
    with pytest.raises(ValueError, match="line 1: no memory of trades"):
        Memory(file)

    assert "Dear diary,\ntoday\n" == file.read_text("utf-8")
