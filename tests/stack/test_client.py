"""The client library: what it promises to a strategy when things go wrong.

Against a gateway where the whole way matters, else against a stand-in on the bus, which answers
exactly what the test wants.
"""

from __future__ import annotations

import asyncio
import gc
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from functools import partial
from pathlib import Path
from typing import Any

import nats
import pytest
from nats.aio.client import Client
from nats.aio.msg import Msg
from nats.errors import ConnectionReconnectingError

from gateway.client import (
    ClientError,
    CommandResult,
    Mt4Client,
    NoAnswer,
    NotConnected,
    NotPermitted,
    Outcome,
)
from gateway.client import client as client_module
from gateway.envelope import Encoding, encode
from tests.support.nats_server import NatsServer
from tests.support.net import free_port
from tests.support.stack import Stack, eventually

PATIENCE_S = 10.0
SOON_S = 1.0


@pytest.fixture(autouse=True)
def _impatience(monkeypatch: pytest.MonkeyPatch) -> None:
    """Scale the waits of a lost answer down."""
    monkeypatch.setattr(client_module, "ANSWER_MARGIN_S", 0.1)
    monkeypatch.setattr(client_module, "ASK_EVERY_S", 0.02)


@pytest.fixture
async def client(nats_server: NatsServer) -> AsyncIterator[Mt4Client]:
    """Connect a client whose terminal is played by `Answers`."""
    async with await Mt4Client.connect(nats_server.url, terminal="played", client="me") as client:
        yield client


def result_of(id_: str, **change: Any) -> dict[str, Any]:
    """Return a result as a gateway writes it."""
    return {
        "id": id_,
        "terminal": "played",
        "client": "me",
        "action": "DO_ORDER_SEND",
        "outcome": "succeeded",
        "response": {"ticket": 1001},
        "warning": None,
        "error": None,
        "attempts": 1,
        "resolved": False,
    } | change


class Bus:
    """The other side of the bus, in the test's hands."""

    def __init__(self, connection: Client) -> None:
        self.connection = connection
        self.asked: list[dict[str, Any]] = []

    async def serve(self, subject: str, answer: Callable[[Msg], Awaitable[None]]) -> None:
        """Answer requests."""
        await self.connection.subscribe(f"mt4.played.{subject}", cb=answer)
        await asyncio.sleep(0)  # else the flush overtakes it: tests/stack/test_nats_facts.py
        await self.connection.flush()

    async def take(self, msg: Msg) -> None:
        """Take a trade and say nothing."""
        self.asked.append(json.loads(msg.data))

    async def stored(self, msg: Msg) -> None:
        """Take a job, and say that it is stored."""
        await self.take(msg)
        await msg.respond(b'{"stream": "jobs", "seq": 1}')

    def answer_in_turn(self, *bodies: dict[str, Any]) -> Callable[[Msg], Awaitable[None]]:
        """Answer each request with the next body, the last one for ever."""
        left = list(bodies)

        async def answer(msg: Msg) -> None:
            body = left.pop(0) if len(left) > 1 else left[0]
            await msg.respond(json.dumps(body).encode())

        return answer

    async def publish(self, subject: str, *bodies: dict[str, Any]) -> None:
        """Publish as a gateway does."""
        for body in bodies:
            await self.connection.publish(f"mt4.played.{subject}", encode(body, Encoding.MSGPACK))
        await asyncio.sleep(0)
        await self.connection.flush()


@pytest.fixture
async def bus(nats_server: NatsServer) -> AsyncIterator[Bus]:
    """Connect the stand-in."""
    connection = await nats.connect(nats_server.url)
    yield Bus(connection)
    await connection.close()


# ---- nothing is buffered -----------------------------------------------------------------------


async def test_nothing_is_sent_or_executed_later_while_nats_is_away(
    own_nats_server: NatsServer,
) -> None:
    """Every call says `NotConnected` at once; when NATS is back, the terminal has heard nothing."""
    async with Stack(own_nats_server.url) as stack:
        own_nats_server.stop()
        await eventually(lambda: not (stack.client.connection.is_connected or stack.is_ready))
        calls: list[Callable[[], Awaitable[object]]] = [
            stack.buy,
            stack.client.orders,
            stack.client.status,
            lambda: stack.client.outcome_of("any"),
        ]
        for call in calls:
            async with asyncio.timeout(SOON_S):
                with pytest.raises(NotConnected):
                    await call()
        own_nats_server.start()
        await eventually(lambda: stack.client.connection.is_connected)
        # Only now are the gateway's subscriptions in place; `is_connected` comes before that.
        await eventually(lambda: stack.metric("nats_reconnects_total"))
        answered = await stack.client.query("GET_ACCOUNT_INFO")

        assert answered.succeeded
        heard = {str(fact["action"]) for fact in stack.terminal.truth.of("received")}
        assert not [name for name in heard if name.startswith("DO_") or name == "GET_ORDERS"]


async def test_buffering_cannot_be_switched_on(own_nats_server: NatsServer) -> None:
    """Options go to nats-py, but not this one. Closing meanwhile is no error."""
    client = await Mt4Client.connect(own_nats_server.url, pending_size=1_000_000)
    async with client:
        own_nats_server.stop()
        await eventually(lambda: not client.connection.is_connected)
        with pytest.raises(NotConnected):
            await client.order_send("EURUSD", "BUY", 0.1)

    assert client.connection.is_closed


async def test_connect_gives_up_in_time() -> None:
    """Where there is no NATS, a program learns it, and who was asked."""
    port = free_port()
    async with asyncio.timeout(PATIENCE_S):
        with pytest.raises(NotConnected, match=f"127.0.0.1:{port}"):
            await Mt4Client.connect(f"nats://127.0.0.1:{port}", connect_timeout_s=0.1)


async def test_connecting_that_is_given_up_leaves_nothing_behind(nats_server: NatsServer) -> None:
    """Nobody has the connection that was made already, so nobody could close it."""
    before = asyncio.all_tasks()
    for _ in range(10):
        connecting = asyncio.create_task(Mt4Client.connect(nats_server.url))
        parts = ["ours", "reads", "writes", "pings"]
        while len(asyncio.all_tasks() - before) < len(parts):  # noqa: ASYNC110 - of nats-py
            await asyncio.sleep(0)
        connecting.cancel()
        with suppress(asyncio.CancelledError):  # Python's own `wait_for` may swallow it
            await (await connecting).close()
    await eventually(lambda: asyncio.all_tasks() == before)


async def test_closed_client_sends_nothing(client: Mt4Client) -> None:
    """After `close` every call says so."""
    await client.close()

    for call in (client.orders, client.status):
        with pytest.raises(NotConnected):
            await call()


# ---- lost answers ------------------------------------------------------------------------------


async def test_order_whose_answer_was_lost_is_found_by_asking(
    own_nats_server: NatsServer,
) -> None:
    """NATS dies while the order is at the broker and comes back when it has long been done."""
    async with Stack(own_nats_server.url) as stack:
        stack.terminal.faults.add_spec("slow:DO_ORDER_SEND:1:150ms")
        ordering = asyncio.create_task(stack.buy(id_="lost", timeout_s=1.5))
        await eventually(lambda: stack.terminal.truth.executions("tester/lost"))
        own_nats_server.kill()
        await eventually(lambda: stack.metric("round_trip_seconds_count", action="DO_ORDER_SEND"))
        own_nats_server.start()
        result = await ordering

        assert result.succeeded
        assert 1 == len(stack.terminal.truth.executions("tester/lost"))


async def test_order_that_a_frozen_nats_delivers_late_is_not_executed(
    own_nats_server: NatsServer,
) -> None:
    """It lay in the server's socket past its deadline: the gateway tells that it has expired."""
    async with Stack(own_nats_server.url) as stack:
        own_nats_server.pause()
        ordering = asyncio.create_task(stack.buy(id_="late", timeout_s=0.3))
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.4):
                await asyncio.shield(ordering)  # its deadline passes
        own_nats_server.resume()
        with suppress(NoAnswer):
            await ordering
        await eventually(
            lambda: stack.metric("commands_total", action="DO_ORDER_SEND", outcome="expired")
        )
        known = await stack.client.outcome_of("late")

        assert isinstance(known, CommandResult)
        assert Outcome.EXPIRED == known.outcome
        assert not stack.terminal.broker.orders


async def test_lost_answer_is_asked_for_until_there_is_a_result(
    client: Mt4Client, bus: Bus
) -> None:
    """`in_progress` is no answer, and the trade itself is sent once."""
    await bus.serve("trade.me.DO_ORDER_SEND", bus.take)
    await bus.serve(
        "command.me.*",
        bus.answer_in_turn(
            {"state": "waiting", "result": None},
            {"state": "in_progress", "result": None},
            {"state": "finished", "result": result_of("mine", resolved=True)},
        ),
    )
    result = await client.order_send("EURUSD", "BUY", 0.1, timeout_s=0.3)

    assert result.succeeded
    assert result.resolved
    assert 1 == len(bus.asked)


@pytest.mark.parametrize(("lots", "outcome"), [(0.1, "succeeded"), (0.2, "denied")])
async def test_result_that_an_id_of_the_callers_has_is_that_wishs_own(
    nats_server: NatsServer, lots: float, outcome: str
) -> None:
    """The answer was lost, and the id has a result: of this wish, or of one before it."""
    async with Stack(nats_server.url) as stack:
        first = await stack.buy(0.1, id_="twice")
        request, asked = stack.client._connection.request, []

        async def lose_the_first(subject: str, *args: Any, **options: Any) -> Msg:
            asked.append(subject)
            if len(asked) == 1:
                raise TimeoutError
            return await request(subject, *args, **options)

        stack.client._connection.request = lose_the_first  # type: ignore[method-assign]
        again = await stack.buy(lots, id_="twice")

        assert outcome == again.outcome
        assert (again.response == first.response) is (lots == 0.1)
        assert 1 == len(stack.terminal.truth.executions("tester/twice"))


@pytest.mark.parametrize(
    "lost", [ConnectionReconnectingError(), NotPermitted("publish on", "mt4.played.trade.me.X")]
)
async def test_trade_that_left_is_never_said_not_to_have_left(
    client: Mt4Client, bus: Bus, lost: Exception
) -> None:
    """Its result is told, and whose it is cannot be asked any more: the caller may ask later."""
    request = client.connection.request

    async def once(*args: Any, **options: Any) -> Msg:
        if bus.asked:
            raise lost
        return await request(*args, **options)

    async def tell_another(msg: Msg) -> None:
        await bus.take(msg)
        await bus.publish("result.me.mine", result_of("mine"))

    client.connection.request = once  # type: ignore[method-assign]
    await bus.serve("trade.me.DO_ORDER_SEND", tell_another)
    with pytest.raises(NoAnswer, match="nobody says whose result the id has") as caught:
        await client.order_send("EURUSD", "BUY", 0.1, id_="mine", timeout_s=5.0)

    assert "mine" == caught.value.id


async def test_refusal_of_another_wish_is_not_taken_for_the_answer(
    nats_server: NatsServer,
) -> None:
    """A job under the same id is refused, and told so where the trade's result is told."""
    async with Stack(nats_server.url) as stack:
        await stack.buy()
        stack.terminal.faults.add_spec("slow:DO_ORDER_SEND:1:150ms")
        ordering = asyncio.create_task(stack.buy(id_="same", timeout_s=5.0))
        await eventually(lambda: stack.terminal.truth.executions("tester/same"))
        other = {"symbol": "EURUSD", "order_type": "BUY", "lots": 0.3}
        refused = await stack.client.job("DO_ORDER_SEND", other, id_="same")
        result = await ordering

        assert "ID_CONFLICT" == (refused.error or {})["name"]
        assert result.succeeded


async def test_result_of_another_wish_is_not_taken_for_the_answer(
    client: Mt4Client, bus: Bus
) -> None:
    """An older one of the same id is told while ours is under way: the gateway tells whose."""

    async def tell_the_older(msg: Msg) -> None:
        await bus.take(msg)
        if len(bus.asked) == 1:
            await bus.publish("result.me.used", result_of("used"))
            return
        await msg.respond(json.dumps(result_of("used", outcome="denied")).encode())

    await bus.serve("trade.me.DO_ORDER_SEND", tell_the_older)
    result = await client.order_send("EURUSD", "BUY", 0.3, id_="used", timeout_s=5.0)

    assert Outcome.DENIED == result.outcome
    assert 2 == len(bus.asked)
    assert bus.asked[0] == bus.asked[1]


async def test_journal_that_cannot_be_read_is_no_state(client: Mt4Client, bus: Bus) -> None:
    """Nothing is known, not even that it is not known."""
    await bus.serve("command.me.*", bus.answer_in_turn({"state": None, "result": None}))
    with pytest.raises(NoAnswer, match="cannot read its journal"):
        await client.outcome_of("any")


async def test_trade_that_nobody_knows_is_reported_with_its_id(client: Mt4Client, bus: Bus) -> None:
    """The caller can ask again later; the client never guesses."""
    await bus.serve("trade.me.DO_ORDER_SEND", bus.take)
    await bus.serve("command.me.*", bus.answer_in_turn({"state": "not_known", "result": None}))
    with pytest.raises(NoAnswer) as caught:
        await client.order_send("EURUSD", "BUY", 0.1, timeout_s=0.1)

    assert [caught.value.id] == [asked["id"] for asked in bus.asked]


@pytest.mark.parametrize("how", ["trade", "job"])
async def test_closing_tells_who_waits_for_a_trade_its_id(
    how: str, client: Mt4Client, bus: Bus
) -> None:
    """It was sent, so it may run: not a cancellation, and not `NotConnected`; and at once."""
    await bus.serve("trade.me.DO_ORDER_SEND", bus.take)
    await bus.serve("job.me.DO_ORDER_SEND", bus.stored)
    trade = client.trade if how == "trade" else client.job
    waiting = asyncio.create_task(trade("DO_ORDER_SEND", {"lots": 0.1}, timeout_s=60))
    await eventually(lambda: bus.asked)
    await client.close()
    async with asyncio.timeout(SOON_S):
        with pytest.raises(NoAnswer, match="closed") as caught:
            await waiting

    assert [caught.value.id] == [asked["id"] for asked in bus.asked]


async def test_closing_that_is_cut_short_ends_who_follows(client: Mt4Client) -> None:
    """Whoever closes may have no more time; nobody is left waiting for what cannot come."""
    following = asyncio.create_task(anext(client.events(), None))
    await eventually(lambda: client.connection._subs)
    await client.connection.flush()
    await asyncio.sleep(0)  # it has seen that it may follow
    closing = asyncio.create_task(client.close())
    await asyncio.sleep(0)  # it has begun
    closing.cancel()

    assert await asyncio.wait_for(following, SOON_S) is None


async def test_closing_says_nothing_of_what_could_not_be_sent(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """nats-py keeps the place of its answer; that has no reader to be told that none comes."""
    server = NatsServer(tmp_path)
    server.start()
    client = await Mt4Client.connect(server.url)
    server.stop()
    await eventually(lambda: not client.connection.is_connected)
    with pytest.raises(NotConnected):
        await client.trade("DO_ORDER_SEND", {"lots": 0.1})
    await client.close()
    gc.collect()

    assert "never retrieved" not in caplog.text


async def test_login_that_cannot_be_read_is_told_as_such() -> None:
    """nats-py reads it before it connects, and trips over the end of what was not begun."""
    with pytest.raises(NotConnected, match="No such file"):
        await Mt4Client.connect(nkeys_seed="/nowhere")


async def test_trade_has_an_id_and_a_deadline_of_its_own(client: Mt4Client, bus: Bus) -> None:
    """Whatever the bus does to it, it cannot run twice or late."""
    bodies: list[dict[str, Any]] = []

    async def answer(msg: Msg) -> None:
        bodies.append(json.loads(msg.data))
        await msg.respond(json.dumps(result_of(bodies[-1]["id"])).encode())

    await bus.serve("trade.me.DO_ORDER_SEND", answer)
    for _ in range(2):
        await client.order_send("EURUSD", "BUY", 0.1)

    assert 2 == len({body["id"] for body in bodies})
    assert all(body["deadline"].endswith("Z") for body in bodies)


@pytest.mark.parametrize("key", ["id", "deadline"])
async def test_id_among_the_parameters_is_refused(client: Mt4Client, key: str) -> None:
    """It would be passed over, and the same call again would be another trade."""
    more: dict[str, Any] = {key: "mine"}
    with pytest.raises(ValueError, match=f"{key}: not among the parameters"):
        await client.order_send("EURUSD", "BUY", 0.1, **more)


async def test_msgpack_answers_are_read_as_well(client: Mt4Client, bus: Bus) -> None:
    """A gateway may answer in either form."""

    async def answer(msg: Msg) -> None:
        body = result_of("any", response=[])
        await bus.connection.publish(msg.reply, encode(body, Encoding.MSGPACK))

    await bus.serve("query.GET_ORDERS", answer)

    assert [] == await client.orders()


# ---- streams -----------------------------------------------------------------------------------


def tick_of(symbol: str, seq: int) -> dict[str, Any]:
    """Return a tick as a gateway writes it."""
    return {
        "seq": seq,
        "symbol": symbol,
        "time": 1_700_000_000_000 + seq,
        "broker_time": 1_700_007_200,
        "bid": 1.1,
        "ask": 1.2,
        "last": 0.0,
        "volume": 0.0,
        "mode": "event",
    }


class Following:
    """Someone who follows a stream, from when the subscription is in place."""

    def __init__(self, stream: AsyncIterator[Any]) -> None:
        self.seen: list[Any] = []
        self.task = asyncio.create_task(self._follow(stream))

    async def _follow(self, stream: AsyncIterator[Any]) -> None:
        async for item in stream:
            self.seen.append(item)

    async def has_begun(self, publish: Callable[[], Awaitable[None]]) -> None:
        """Publish until something is seen: a subscriber announces nothing."""
        async with asyncio.timeout(PATIENCE_S):
            while not self.seen:
                await publish()

    async def stop(self) -> None:
        """Stop following."""
        self.task.cancel()
        await asyncio.gather(self.task, return_exceptions=True)


@asynccontextmanager
async def followed(
    stream: AsyncIterator[Any], publish: Callable[[], Awaitable[None]]
) -> AsyncIterator[Following]:
    """Follow a stream that yields something once `publish` was called often enough."""
    following = Following(stream)
    await following.has_begun(publish)
    yield following
    await following.stop()


async def test_gaps_are_counted_for_each_symbol(client: Mt4Client, bus: Bus) -> None:
    """What was lost shows in the next tick; a terminal that starts again counts from 1."""
    ready = partial(bus.publish, "tick.READY", tick_of("READY", 1))
    async with followed(client.ticks(), ready) as following:
        for seq in (1, 2, 5, 6, 1, 3):
            await bus.publish("tick.EURUSD", tick_of("EURUSD", seq))
        await bus.publish("tick.USDJPY", tick_of("USDJPY", 10), tick_of("USDJPY", 12))

        def missed(symbol: str) -> list[int]:
            return [tick.missed for tick in following.seen if tick.symbol == symbol]

        await eventually(lambda: len(missed("USDJPY")) == 2)

        assert [0, 0, 2, 0, 0, 1] == missed("EURUSD")
        assert [0, 1] == missed("USDJPY")


async def test_ticks_of_chosen_symbols_only(client: Mt4Client, bus: Bus) -> None:
    """A symbol's name may hold what a subject cannot."""
    ready = partial(bus.publish, "tick.READY", tick_of("READY", 1))
    async with followed(client.ticks("READY", "EURUSD.m"), ready) as following:
        await bus.publish("tick.USDJPY", tick_of("USDJPY", 1))
        await bus.publish("tick.EURUSD=2Em", tick_of("EURUSD.m", 1))
        await eventually(lambda: following.seen[-1].symbol == "EURUSD.m")

        assert {"READY", "EURUSD.m"} == {tick.symbol for tick in following.seen}


@pytest.mark.parametrize(("whose", "expected"), [(None, {"me"}), ("you", {"you"}), ("*", None)])
async def test_results_are_of_one_client_or_of_all(
    client: Mt4Client, bus: Bus, whose: str | None, expected: set[str] | None
) -> None:
    """By default one's own."""

    async def publish() -> None:
        for name in ("you", "me"):
            await bus.publish(f"result.{name}.1", result_of("1", client=name))

    async with followed(client.results(whose), publish) as following:
        await publish()
        everyone = expected or {"you", "me"}
        await eventually(lambda: {result.client for result in following.seen} == everyone)

        assert all(result.succeeded for result in following.seen)


async def test_events_of_one_kind_are_followed(client: Mt4Client, bus: Bus) -> None:
    """The others are not even sent to this client."""

    async def publish() -> None:
        for kind in ("terminal", "order"):
            await bus.publish(f"event.{kind}", {"event": kind})

    async with followed(client.events("order"), publish) as following:
        await publish()
        await client.connection.flush()

        assert {"order"} == {event["event"] for event in following.seen}
        assert {"order"} == {event["kind"] for event in following.seen}


async def test_stream_goes_on_after_nats_was_away(own_nats_server: NatsServer) -> None:
    """A strategy's loop needs no care for reconnects; the gap shows."""
    async with (
        await Mt4Client.connect(own_nats_server.url, terminal="played") as client,
        await Mt4Client.connect(own_nats_server.url) as publisher,
    ):
        bus = Bus(publisher.connection)
        first = partial(bus.publish, "tick.EURUSD", tick_of("EURUSD", 1))
        async with followed(client.ticks("EURUSD"), first) as following:
            links = (client.connection, publisher.connection)
            own_nats_server.stop()
            await eventually(lambda: not any(link.is_connected for link in links))
            own_nats_server.start()
            await eventually(lambda: all(link.is_connected for link in links))
            await client.connection.flush()
            await bus.publish("tick.EURUSD", tick_of("EURUSD", 8))
            await eventually(lambda: following.seen[-1].seq == 8)

            assert 6 == following.seen[-1].missed


@pytest.mark.parametrize("stream", ["results", "events"])
async def test_gap_in_what_has_no_numbers_is_told_at_once(
    own_nats_server: NatsServer, stream: str
) -> None:
    """A strategy looks for itself then; nobody has to tell something first."""
    gaps: list[str] = []
    also: list[str] = []

    async def back() -> None:
        also.append("told as well")

    async with (
        await Mt4Client.connect(
            own_nats_server.url, terminal="played", reconnected_cb=back
        ) as client,
        await Mt4Client.connect(own_nats_server.url) as publisher,
    ):
        bus = Bus(publisher.connection)
        subject, body = {
            "results": ("result.me.1", result_of("1")),
            "events": ("event.order", {"event": "opened"}),
        }[stream]
        following = getattr(client, stream)(on_gap=lambda: gaps.append("now"))
        async with followed(following, partial(bus.publish, subject, body)):
            before = list(gaps)
            own_nats_server.restart()
            await eventually(lambda: gaps)

            assert [] == before
            assert ["now"] == gaps
            assert ["told as well"] == also


async def test_closing_ends_an_iteration_that_waits(client: Mt4Client, bus: Bus) -> None:
    """A loop over ticks must not hang for ever when the program closes its client."""
    publish = partial(bus.publish, "tick.EURUSD", tick_of("EURUSD", 1))
    async with followed(client.ticks(), publish) as following:
        await client.close()
        async with asyncio.timeout(SOON_S):
            with suppress(ClientError):  # it may end, or say that it is not connected
                await following.task

        assert following.task.done()


async def test_closed_client_cannot_be_followed(client: Mt4Client) -> None:
    """Not an endless wait, and not an error of the library underneath."""
    await client.close()

    with pytest.raises(NotConnected):
        await anext(client.ticks())


async def test_leaving_a_loop_unsubscribes(client: Mt4Client, bus: Bus) -> None:
    """What nobody reads any more is not sent to the client any more."""
    publish = partial(bus.publish, "tick.EURUSD", tick_of("EURUSD", 1))
    async with followed(client.ticks(), publish):
        pass
    await client.connection.flush()
    before = client.connection.stats["in_msgs"]
    await publish()
    await client.connection.flush()

    assert before == client.connection.stats["in_msgs"]


async def test_leaving_a_loop_while_nats_is_away_unsubscribes(own_nats_server: NatsServer) -> None:
    """What nobody reads any more is not followed again when NATS is back."""
    async with await Mt4Client.connect(own_nats_server.url, terminal="played") as client:
        ticks = client.ticks()
        first = asyncio.ensure_future(anext(ticks))
        await eventually(lambda: client.connection._subs)
        own_nats_server.stop()
        await eventually(lambda: not client.connection.is_connected)
        first.cancel()
        await asyncio.gather(first, return_exceptions=True)
        await ticks.aclose()

        assert not client.connection._subs


async def test_slow_reader_is_given_the_newest_of_each_symbol(
    client: Mt4Client, bus: Bus, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It falls behind by no more than it may; what it was not given is counted."""
    monkeypatch.setattr(client_module, "MOST_TICKS_WAITING", 4)
    ticks = client.ticks()
    first = asyncio.ensure_future(anext(ticks))
    while not first.done():
        await bus.publish("tick.EURUSD", tick_of("EURUSD", 1))
    burst = [tick_of(symbol, seq) for seq in range(2, 12) for symbol in ("EURUSD", "USDJPY")]
    for tick in burst:
        await bus.publish(f"tick.{tick['symbol']}", tick)
    await client.connection.flush()
    found = [await anext(ticks), await anext(ticks)]

    assert {("EURUSD", 11), ("USDJPY", 11)} == {(tick.symbol, tick.seq) for tick in found}
