"""The whole terminal over real ZeroMQ: life and death, faults, ticks and events."""

import asyncio
import json
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import zmq
import zmq.asyncio

from gateway.sim.broker import Broker
from gateway.sim.faults import Fault, FaultKind
from gateway.sim.ledger import Ledger
from gateway.sim.options import DialectName
from gateway.sim.quotes import Replay
from gateway.sim.symbols import STANDARD_SYMBOLS, make_symbol, pair
from gateway.sim.terminal import SimTerminal
from tests.sim.peers import TIMEOUT_S, Listener, Peer, any_port
from tests.sim.programs import SEND


@pytest.fixture
async def terminal() -> AsyncIterator[SimTerminal]:
    """Run a terminal whose market stands still."""
    async with SimTerminal(any_port()) as terminal:
        yield terminal


@pytest.fixture
async def peer(terminal: SimTerminal) -> AsyncIterator[Peer]:
    """Connect a gateway that has claimed the terminal."""
    async with Peer(terminal) as peer:
        await peer.claim()
        yield peer


async def died(terminal: SimTerminal) -> None:
    """Wait until the terminal is dead."""
    async with asyncio.timeout(TIMEOUT_S):
        await terminal.has_died.wait()


def facts(terminal: SimTerminal, fact: str, command_id: str = "me/1") -> int:
    """Count what the truth tells about a command's trade."""
    return sum(
        record["id"] == command_id and record["action"] == "DO_ORDER_SEND"
        for record in terminal.truth.of(fact)
    )


# --- requests and replies -----------------------------------------------------------------------


async def test_order_is_executed_once_and_recorded(terminal: SimTerminal, peer: Peer) -> None:
    """The truth names the command behind each execution."""
    reply = await peer.order()
    (execution,) = terminal.truth.executions("me/1")

    assert (reply["state"], reply["response"]["ticket"]) == ("done", execution["ticket"])


async def test_message_of_two_bodies_is_fenced(terminal: SimTerminal, peer: Peer) -> None:
    """Neither is executed."""
    order = json.dumps(peer.frame(**SEND)).encode()
    await peer.send(order, order)
    _, body = await peer.receive()

    assert json.loads(body)["reason"] == "bad_frames"
    assert not terminal.broker.orders


async def test_pipelined_requests_are_all_answered_in_order(peer: Peer) -> None:
    """The bridge's socket has a default high-water mark."""
    ping = b'{"action":"PING","id":"gw/p","attempt":1}'
    sent = [await peer.send(ping) for _ in range(20)]

    assert sent == [(await peer.receive())[0] for _ in range(20)]


async def test_existing_server_says_that_it_does_not_know_hello() -> None:
    """That is how the dialect is found out; and it publishes nothing."""
    async with SimTerminal(any_port(dialect=DialectName.LEGACY)) as terminal:
        async with Peer(terminal) as peer:
            reply = await peer.ask(action="HELLO", id="gw/1", attempt=1)

        assert reply == {"error_message": "Unrecognized requested action (HELLO)."}
        assert terminal.tick_endpoint is None


async def test_existing_server_executes_both_frames_of_a_message() -> None:
    """And answers the second under the first one's correlation."""
    order = {"action": "DO_ORDER_SEND", "symbol": "EURUSD", "order_type": 0, "lots": 0.1}
    async with SimTerminal(any_port(dialect=DialectName.LEGACY)) as terminal:
        async with Peer(terminal) as peer:
            smuggled = json.dumps(order | {"comment": ""}).encode()
            correlation = await peer.send(b'{"action":"GET_ORDERS"}', smuggled)
            answered, body = await peer.receive()

        assert correlation == answered
        assert list(terminal.broker.orders) == [json.loads(body)["response"]["ticket"]]


async def test_existing_server_is_silent_after_a_division_by_zero() -> None:
    """Its port stays bound; only a restart brings it back."""
    empty = make_symbol("EMPTY", 2, "USD", 5.0, 1, point=0.0)
    broker = Broker((*STANDARD_SYMBOLS, empty))
    options = any_port(dialect=DialectName.LEGACY)
    order = {"action": "DO_ORDER_SEND", "symbol": "EMPTY", "order_type": 0, "lots": 1}
    async with SimTerminal(options, broker=broker) as terminal, Peer(terminal) as peer:
        await peer.send(json.dumps(order | {"comment": ""}).encode())
        await peer.send(b'{"action":"GET_ORDERS"}')
        with pytest.raises(TimeoutError):
            await peer.receive(0.1)
        await terminal.restart()
        peer.reconnect()

        assert terminal.truth.of("program_died")
        assert await peer.ask(action="GET_ORDERS") == {}


# --- faults -------------------------------------------------------------------------------------


async def test_dropped_reply_is_resolved(terminal: SimTerminal, peer: Peer) -> None:
    """The order is there, the reply is not, the ledger knows."""
    terminal.faults.add_spec("drop:DO_ORDER_SEND:1")
    await peer.send(json.dumps(peer.frame(**SEND)).encode())
    reply = await peer.resolve()

    assert (reply["state"], reply["replayed"]) == ("done", True)
    assert (facts(terminal, "dropped"), len(terminal.broker.orders)) == (1, 1)


async def test_lost_request_is_not_seen(terminal: SimTerminal, peer: Peer) -> None:
    """It never reached the program."""
    terminal.faults.add_spec("lose:DO_ORDER_SEND:1")
    await peer.send(json.dumps(peer.frame(**SEND)).encode())

    assert (await peer.resolve())["state"] == "not_seen"
    assert facts(terminal, "executed") == 0


async def test_duplicated_reply_comes_twice(terminal: SimTerminal, peer: Peer) -> None:
    """Word for word."""
    terminal.faults.add_spec("duplicate:DO_ORDER_SEND:1")
    await peer.send(json.dumps(peer.frame(**SEND)).encode())

    assert await peer.receive() == await peer.receive()
    assert facts(terminal, "executed") == 1


async def test_garbled_reply_is_no_json(terminal: SimTerminal, peer: Peer) -> None:
    """But the order is there."""
    terminal.faults.add_spec("garble:DO_ORDER_SEND:1")
    await peer.send(json.dumps(peer.frame(**SEND)).encode())
    _, body = await peer.receive()

    with pytest.raises(json.JSONDecodeError):
        json.loads(body)
    assert len(terminal.broker.orders) == 1


async def test_late_reply_is_overtaken(terminal: SimTerminal, peer: Peer) -> None:
    """Only the reply waits; the terminal goes on."""
    fault = Fault(FaultKind.LATE, "DO_ORDER_SEND", numbers=range(1, 2), duration_s=0.05)
    terminal.faults.add(fault)
    order = await peer.send(json.dumps(peer.frame(**SEND)).encode())
    ping = await peer.send(b'{"action":"PING","id":"gw/p","attempt":1}')

    assert [ping, order] == [(await peer.receive())[0] for _ in range(2)]


@pytest.mark.parametrize("kind", [FaultKind.DELAY, FaultKind.SLOW, FaultKind.FREEZE])
async def test_busy_terminal_answers_in_order(
    terminal: SimTerminal, peer: Peer, kind: FaultKind
) -> None:
    """Whoever comes next waits."""
    terminal.faults.add(Fault(kind, "DO_ORDER_SEND", numbers=range(1, 2), duration_s=0.05))
    order = await peer.send(json.dumps(peer.frame(**SEND)).encode())
    ping = await peer.send(b'{"action":"PING","id":"gw/p","attempt":1}')

    assert [order, ping] == [(await peer.receive())[0] for _ in range(2)]


async def test_delay_past_the_deadline_seals(terminal: SimTerminal, peer: Peer) -> None:
    """The terminal was busy when the frame came, and looks at the clock when it is not."""
    terminal.faults.add_spec("delay:DO_ORDER_SEND:1:20ms")
    reply = await peer.order(not_after=peer.hello["clock_ms"])

    assert reply["state"] == "sealed"


async def test_latent_order_opens_later(terminal: SimTerminal, peer: Peer) -> None:
    """Code 128 first, the order afterwards, and then it is found."""
    terminal.faults.add_spec("latent:DO_ORDER_SEND:128:1:1ms")
    reply = await peer.order()
    while not terminal.truth.executions("me/1"):
        await peer.barrier()

    assert reply["state"] == "in_doubt"
    assert (await peer.resolve())["state"] == "done"


@pytest.mark.parametrize(
    ("point", "state", "orders"),
    [
        ("before_ledger", "not_seen", 0),
        ("before_broker", "in_doubt", 0),
        ("after_broker", "done", 1),
        ("before_reply", "done", 1),
    ],
)
async def test_death_inside_an_order(
    terminal: SimTerminal, peer: Peer, point: str, state: str, orders: int
) -> None:
    """What the ledger can say after a restart, and what the broker holds."""
    terminal.faults.add_spec(f"die:DO_ORDER_SEND:{point}:1")
    await peer.send(json.dumps(peer.frame(**SEND)).encode())
    await died(terminal)
    await terminal.start()
    peer.reconnect()
    await peer.claim()

    assert (await peer.resolve())["state"] == state
    assert len(terminal.broker.orders) == orders
    assert facts(terminal, "replied") == 0


async def test_terminal_that_restarts_comes_back_by_itself(
    terminal: SimTerminal, peer: Peer
) -> None:
    """With a new session on the same port."""
    terminal.faults.add_spec("restart:DO_ORDER_SEND:after_broker:1")
    old_session = terminal.session
    await peer.send(json.dumps(peer.frame(**SEND)).encode())
    await died(terminal)
    async with asyncio.timeout(TIMEOUT_S):
        await terminal.is_up.wait()
    peer.reconnect()
    await peer.claim()

    assert old_session != peer.hello["response"]["session"]
    assert (await peer.resolve())["state"] == "done"


# --- life and death -----------------------------------------------------------------------------


async def test_restart_fences_frames_meant_for_the_start_before(
    terminal: SimTerminal, peer: Peer
) -> None:
    """Ports, ledger and orders stay; session and clock are new."""
    await peer.order()
    endpoints = (terminal.request_endpoint, terminal.tick_endpoint)
    await terminal.restart()
    peer.reconnect()
    reply = await peer.order(id="me/2")

    assert (reply["reason"], len(terminal.broker.orders)) == ("stale_session", 1)
    assert endpoints == (terminal.request_endpoint, terminal.tick_endpoint)
    assert reply["clock_ms"] < 5_000


async def test_terminal_can_connect_to_a_gateway_that_binds() -> None:
    """No port is open on the trading computer then."""
    context = zmq.asyncio.Context()
    gateway: Any = context.socket(zmq.DEALER)
    port = gateway.bind_to_random_port("tcp://127.0.0.1")
    options = any_port(request_endpoint=f"tcp://127.0.0.1:{port}", connects=True)
    async with SimTerminal(replace(options, tick_endpoint="tcp://127.0.0.1:1")):
        async with asyncio.timeout(TIMEOUT_S):
            await gateway.send_multipart([b"c1", b"", b'{"action":"HELLO","id":"gw/1"}'])
            correlation, _, body = await gateway.recv_multipart()
    context.destroy(linger=0)

    assert (correlation, json.loads(body)["response"]["tick_endpoint"]) == (b"c1", None)


async def test_ledger_is_free_after_a_stop(tmp_path: Path) -> None:
    """Another terminal may open it."""
    options = any_port(ledger_path=tmp_path / "ledger.txt")
    terminal = SimTerminal(options)
    await terminal.start()
    uid = terminal.ledger.uid
    await terminal.stop()
    terms = terminal.broker.terms
    ledger = Ledger(tmp_path / "ledger.txt", login=terms.login, server=terms.server, created_s=0)
    ledger.close()

    assert uid == ledger.uid


async def test_state_file_brings_orders_into_a_new_process(tmp_path: Path) -> None:
    """The broker's server keeps orders while the terminal is gone."""
    options = any_port(state_path=tmp_path / "state.json", ledger_path=tmp_path / "ledger.txt")
    async with SimTerminal(options) as first, Peer(first) as peer:
        await peer.claim()
        await peer.order()
    async with SimTerminal(options) as second, Peer(second) as peer:
        await peer.claim()

        assert first.broker.orders == second.broker.orders
        assert first.broker.history == second.broker.history
        assert (await peer.resolve())["state"] == "done"


async def test_state_is_saved_before_the_result_is_written(tmp_path: Path) -> None:
    """A terminal that dies in between finds the order when it comes back."""
    options = any_port(state_path=tmp_path / "state.json", ledger_path=tmp_path / "ledger.txt")
    async with SimTerminal(options) as first, Peer(first) as peer:
        await peer.claim()
        first.faults.add_spec("die:DO_ORDER_SEND:after_broker:1")
        await peer.send(json.dumps(peer.frame(**SEND)).encode())
        await died(first)
    async with SimTerminal(options) as second, Peer(second) as peer:
        await peer.claim()

        assert (await peer.resolve())["state"] == "done"


async def test_truth_is_written_line_by_line(tmp_path: Path) -> None:
    """For tests whose terminal is another process."""
    async with SimTerminal(any_port(truth_path=tmp_path / "truth.jsonl")) as terminal:
        async with Peer(terminal) as peer:
            await peer.claim()
        lines = (tmp_path / "truth.jsonl").read_text().splitlines()

    assert ["started", "received", "replied"] == [json.loads(line)["fact"] for line in lines]


# --- ticks and events ---------------------------------------------------------------------------


async def test_ticks_are_numbered_per_symbol(terminal: SimTerminal) -> None:
    """From 1, and the number is the first key."""
    async with Listener(terminal, "tick.") as listener:
        await subscribed(terminal)
        for symbol in ("EURUSD", "GBPUSD", "EURUSD"):
            await terminal.quote(symbol, 1.1, 1.1001)
        ticks = [await listener.next() for _ in range(3)]

    assert [("tick.EURUSD", 1), ("tick.GBPUSD", 1), ("tick.EURUSD", 2)] == [
        (topic, tick["seq"]) for topic, tick in ticks
    ]
    assert list(ticks[0][1]) == [
        *("seq", "symbol", "time", "broker_time", "bid", "ask", "last", "volume", "mode"),
    ]


async def test_unsubscribed_symbol_is_not_published(terminal: SimTerminal, peer: Peer) -> None:
    """Until it is subscribed again."""
    request = {"id": "gw/s", "attempt": 1, "symbols": ["EURUSD"]}
    await peer.ask(action="UNSUBSCRIBE_TICKS", **request)
    async with Listener(terminal, "tick.") as listener:
        await subscribed(terminal)
        await terminal.quote("EURUSD", 1.1, 1.1001)
        await terminal.quote("GBPUSD", 1.2, 1.2001)

        assert (await listener.next())[0] == "tick.GBPUSD"


async def test_walk_publishes_by_itself() -> None:
    """Ticks of every symbol at the interval asked for."""
    async with SimTerminal(any_port(tick_interval_s=0.01)) as terminal:
        async with Listener(terminal, "tick.") as listener:
            topics = {(await listener.next())[0] for _ in range(16)}

        assert {f"tick.{name}" for name in terminal.broker.specs} == topics


async def test_heartbeat_tells_that_the_terminal_lives() -> None:
    """With its session and its switches."""
    async with SimTerminal(any_port(heartbeat_interval_s=0.01)) as terminal:
        terminal.platform.is_trade_allowed = False
        async with Listener(terminal, "heartbeat") as listener:
            _, beat = await listener.next()

        assert beat.keys() == {
            *("session", "clock_ms", "broker_time", "connected", "trade_allowed", "market_open"),
        }
        assert (terminal.session, False) == (beat["session"], beat["trade_allowed"])


async def test_order_events_tell_what_happened_and_why(terminal: SimTerminal, peer: Peer) -> None:
    """Opened by request, closed by its stop, with the order as replies show it."""
    async with Listener(terminal, "order", "tick.") as listener:
        await subscribed(terminal)
        record = (await peer.order(sl=1.119))["response"]
        _, opened = await listener.next()
        await terminal.quote("EURUSD", 1.118, 1.1181)
        _, _tick = await listener.next()
        _, closed = await listener.next()

    assert (opened["event"], opened["reason"], opened["order"]) == (
        "opened",
        "request",
        record | {"comment": SEND["comment"]},
    )
    assert (closed["event"], closed["reason"]) == ("closed", "stop_loss")
    assert closed["order"]["ticket"] == record["ticket"]
    assert closed["previous_ticket"] is None


async def test_partial_close_names_the_ticket_before(terminal: SimTerminal, peer: Peer) -> None:
    """So that a follower can go on."""
    async with Listener(terminal, "order", "tick.") as listener:
        await subscribed(terminal)
        ticket = (await peer.order())["response"]["ticket"]
        await listener.next()
        await peer.ask(**peer.frame(action="DO_ORDER_CLOSE", id="me/2", ticket=ticket, lots=0.04))
        _, event = await listener.next()

    assert (event["event"], event["previous_ticket"]) == ("partially_closed", ticket)
    assert (event["order"]["lots"], event["order"]["comment"]) == (0.06, f"from #{ticket}")


async def test_account_event_follows_a_trade(terminal: SimTerminal, peer: Peer) -> None:
    """With the money as it is now."""
    async with Listener(terminal, "account", "tick.") as listener:
        await subscribed(terminal)
        await peer.order()
        _, account = await listener.next()

    assert (account["balance"], account["profit"], account["currency"]) == (10_000.0, -1.2, "USD")


REPLAYED = [(f"20200101 1700{n:05d}", f"1.{12000 + n}", f"1.{12010 + n}") for n in range(500)]


async def test_replay_starts_with_its_first_subscriber_and_skips_nothing(tmp_path: Path) -> None:
    """As fast as possible, at the file's prices."""
    path = tmp_path / "eurusd.csv"
    path.write_text("".join(f"{time},{bid},{ask},0\n" for time, bid, ask in REPLAYED))
    spec = pair("EURUSD", 5, 1.12, 10)
    replay = Replay(path, spec, speed=0)
    async with SimTerminal(any_port(), broker=Broker((spec,)), quotes=replay) as terminal:
        assert not terminal.replay_finished.is_set()
        async with Listener(terminal, "tick.EURUSD") as listener:
            ticks = [(await listener.next())[1] for _ in REPLAYED]

    assert list(range(1, 501)) == [tick["seq"] for tick in ticks]
    expected = [(float(bid), float(ask)) for _, bid, ask in REPLAYED]
    assert expected == [(tick["bid"], tick["ask"]) for tick in ticks]


async def subscribed(terminal: SimTerminal) -> None:
    """Wait until the terminal has a subscriber of ticks."""
    assert terminal._session is not None
    assert terminal._session.ends.publisher is not None
    async with asyncio.timeout(TIMEOUT_S):
        await terminal._session.ends.publisher.has_tick_subscriber.wait()
