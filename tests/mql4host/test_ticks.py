"""GatewayTicks: what changed, numbered; a sign of life each second; what happened to orders."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import msgpack
import pytest
import zmq

from gateway.sim.broker import Broker
from gateway.sim.orders import OrderEvent
from gateway.sim.symbols import SymbolSpec, pair
from gateway.sim.wire import order_record
from tests.mql4host.broker_server import START_S, BrokerServer
from tests.mql4host.client import BridgeClient
from tests.mql4host.hosted import HostedExpert

Body = dict[str, Any]
TICK_KEYS = ["seq", "symbol", "time", "broker_time", "bid", "ask", "last", "volume", "mode"]
_PATIENCE_MS = 10_000


class Listener:
    """A subscriber; it is heard of by the program before it is used."""

    def __init__(self, expert: HostedExpert, *topics: str) -> None:
        self._context = zmq.Context()
        self._socket = self._context.socket(zmq.SUB)
        self._socket.linger = 0
        self._socket.rcvhwm = 0
        self._socket.reconnect_ivl = 10
        seen = len(expert.log)
        for topic in topics:
            self._socket.subscribe(topic)
        self._socket.connect(expert.endpoint)
        for topic in topics:
            expert.wait_for_log(f'subscribed topic="{topic}"', seen)

    def next(self, timeout_ms: int = _PATIENCE_MS) -> tuple[str, Body]:
        """Return the next topic and map."""
        assert self._socket.poll(timeout_ms), "nothing came"
        topic, packed = self._socket.recv_multipart()
        return topic.decode(), msgpack.unpackb(packed)

    def until(self, wanted: Callable[[str, Body], bool]) -> Body:
        """Return the next map that is wanted."""
        while True:
            topic, body = self.next()
            if wanted(topic, body):
                return body

    def is_silent(self, timeout_ms: int) -> bool:
        """Tell whether nothing comes for a while."""
        return not self._socket.poll(timeout_ms)

    def close(self) -> None:
        """Close the socket."""
        self._socket.close()
        self._context.term()


@pytest.fixture
def ticks(
    programs: dict[str, Path], server: BrokerServer, tmp_path: Path
) -> Iterator[HostedExpert]:
    """Run GatewayTicks on a chart of EURUSD."""
    now_s = START_S - 7200
    server.utc_s = lambda: now_s
    with HostedExpert(programs["GatewayTicks"], server, tmp_path / "data") as expert:
        first = Listener(expert, "heartbeat")  # what is there has been looked at by then
        first.next()
        first.close()
        yield expert


@pytest.fixture
def listen(ticks: HostedExpert) -> Iterator[Callable[..., Listener]]:
    """Subscribe; closed at the end of the test."""
    listeners: list[Listener] = []

    def subscribe(*topics: str) -> Listener:
        listeners.append(Listener(ticks, *topics))
        return listeners[-1]

    yield subscribe
    for listener in listeners:
        listener.close()


def ticks_of(listener: Listener, count: int) -> list[Body]:
    """Return the next maps."""
    return [listener.next()[1] for _ in range(count)]


def test_a_subscriber_gets_the_present_state(listen: Callable[..., Listener]) -> None:
    """Each symbol of the Market Watch once, and the account."""
    listener = listen("tick.", "account")

    topics = {listener.next()[0] for _ in range(5)}

    assert {"tick.EURUSD", "tick.GBPUSD", "tick.USDJPY", "tick.XAUUSD", "account"} == topics


def test_a_tick_of_the_chart_is_an_event(
    listen: Callable[..., Listener], server: BrokerServer
) -> None:
    """With all keys in order, its number first, and UTC from the measured offset."""
    listener = listen("tick.EURUSD")
    first = ticks_of(listener, 1)[0]

    server.quote("EURUSD", 1.13, 1.1302)
    tick = ticks_of(listener, 1)[0]

    assert TICK_KEYS == list(tick)
    assert ("EURUSD", 1.13, 1.1302, "event") == tuple(
        tick[key] for key in ("symbol", "bid", "ask", "mode")
    )
    assert first["seq"] + 1 == tick["seq"]
    assert (START_S + 1, (START_S + 1 - 7200) * 1000) == (tick["broker_time"], tick["time"])


def test_other_symbols_are_sampled_and_say_so(
    listen: Callable[..., Listener], server: BrokerServer
) -> None:
    """Only what changed is published, and only symbols in the Market Watch."""
    listener = listen("tick.")
    ticks_of(listener, 4)

    server.quote("#AAPL", 230.0, 230.1)
    server.quote("GBPUSD", 1.27, 1.2702)
    tick = ticks_of(listener, 1)[0]

    assert ("GBPUSD", "sampled") == (tick["symbol"], tick["mode"])
    assert listener.is_silent(100)


def test_a_symbol_that_is_added_is_published(
    listen: Callable[..., Listener], server: BrokerServer
) -> None:
    """The Market Watch decides, also later."""
    listener = listen("tick.#AAPL")

    server.platform.market_watch.add("#AAPL")

    assert 1 == listener.next()[1]["seq"]


def test_missed_ticks_show_as_a_gap(
    listen: Callable[..., Listener], server: BrokerServer, ticks: HostedExpert
) -> None:
    """The terminal's tick volume tells how many came in between."""
    listener = listen("tick.GBPUSD")
    server.quote("GBPUSD", 1.2650, 1.2652)
    before = listener.until(lambda _, body: body["bid"] == 1.2650)

    with server.lock:
        for step in range(5):
            server.quote("GBPUSD", 1.27 + step / 1000, 1.2702 + step / 1000, START_S + 3)
    after = listener.next()[1]

    assert (1.274, before["seq"] + 5) == (after["bid"], after["seq"])


def test_the_heart_beats(
    listen: Callable[..., Listener],
    server: BrokerServer,
    ticks: HostedExpert,
    programs: dict[str, Path],
) -> None:
    """Connection, permission and market hours; session and clock are the commands program's."""
    listener = listen("heartbeat")
    alone = listener.next()[1]
    commands = HostedExpert(programs["GatewayCommands"], server, ticks.data, {"LedgerCreate": True})
    with commands, BridgeClient(commands.endpoint) as client:
        hello = client.ask("HELLO", id="test/h")
        server.platform.is_context_busy = True  # by another program: still permitted
        server.platform.is_connected = False
        server.broker.is_open = False
        beat = listener.until(lambda _, body: not body["connected"])
        ping = client.ask("PING", id="test/p")
        commands.stop()

    keys = ["session", "clock_ms", "broker_time", "connected", "trade_allowed", "market_open"]
    assert keys == list(beat)
    assert ["", True, True] == [alone[key] for key in ("session", "connected", "market_open")]
    assert [hello["session"], False, True, False] == [
        beat[key] for key in ("session", "connected", "trade_allowed", "market_open")
    ]
    assert hello["clock_ms"] <= beat["clock_ms"] <= ping["clock_ms"]
    assert f"tcp://*:{ticks.endpoint.rsplit(':', 1)[1]}" == hello["response"]["tick_endpoint"]


def simple(event: OrderEvent) -> Body:
    """Return what is published of an event, as far as it does not depend on the moment."""
    record = order_record(event.order)
    return {
        "event": event.kind.value,
        "reason": event.reason.value,
        "previous_ticket": event.previous_ticket,
        "order": {key: record[key] for key in ("ticket", "order_type", "lots", "sl", "tp")},
    }


def published(listener: Listener) -> Body:
    """Return the next order event, as `simple` has it."""
    body = listener.until(lambda topic, _: topic == "order")
    order = {key: body["order"][key] for key in ("ticket", "order_type", "lots", "sl", "tp")}
    return body | {"order": order}


def test_orders_are_followed(listen: Callable[..., Listener], server: BrokerServer) -> None:
    """Each thing that the broker does to an order is told once, with its reason."""
    listener = listen("order", "account")
    broker = server.broker

    def act(step: Callable[[], object]) -> None:
        with server.lock:
            broker.take_events()
            step()
            (event,) = broker.take_events()
        assert simple(event) == published(listener)

    act(lambda: broker.order_send("EURUSD", 0, 0.3, 1.12132, 10))
    ticket = max(broker.orders)
    act(lambda: broker.order_modify(ticket, 0, 1.1, 1.2))
    act(lambda: broker.order_close(ticket, 0.1, 1.1212, 10))
    act(lambda: server.quote("EURUSD", 1.0, 1.0002))
    act(lambda: broker.order_send("EURUSD", 0, 0.1, 1.0002, 10, take_profit=1.1))
    act(lambda: server.quote("EURUSD", 1.15, 1.1502))
    act(lambda: broker.order_send("EURUSD", 2, 0.1, 1.1, 10))
    act(lambda: server.quote("EURUSD", 1.0998, 1.1))
    act(lambda: broker.order_close(max(broker.orders), 0.1, 1.0998, 10))
    act(lambda: broker.order_send("EURUSD", 2, 0.1, 1.0, 10))
    act(lambda: broker.order_delete(max(broker.orders)))
    act(lambda: broker.order_send("EURUSD", 2, 0.1, 1.0, 10, expiration_s=START_S + 1000))
    act(lambda: server.quote("EURUSD", 1.0999, 1.11, START_S + 2000))


def test_the_account_is_told_when_it_changes(
    listen: Callable[..., Listener], server: BrokerServer
) -> None:
    """Once at first, then with each change."""
    listener = listen("account")
    first = listener.next()[1]

    with server.lock:
        server.broker.deposit(500.0)
    second = listener.until(lambda _, body: body["balance"] != first["balance"])

    keys = ["balance", "equity", "margin", "free_margin", "profit", "currency"]
    assert keys == list(first)
    assert (10_000.0, 10_500.0, "USD") == (first["equity"], second["equity"], second["currency"])


def quick_server(specs: list[SymbolSpec]) -> BrokerServer:
    """Return a terminal that answers about many symbols fast enough to measure the program."""
    server = BrokerServer(Broker(specs, time_s=START_S), with_quotes=False)
    for spec in specs:
        server.broker.set_quote(spec.name, 1.1, 1.1001, START_S)
    server.chart_symbol = ""  # ticks of the chart's symbol would have to be announced
    names = [spec.name for spec in specs]
    server.platform.market_watch = set(names)
    server.before["SymbolName"] = lambda arguments: ([names[int(arguments[0])]], 0)
    server.before["iTime"] = lambda _: ([START_S], 0)
    server.before["iVolume"] = lambda _: ([0], 0)
    return server


def follow(listener: Listener, last: dict[str, int], bid: float, count: int) -> None:
    """Read until `count` symbols have this bid, and see that no number is missing."""
    there: set[str] = set()
    while len(there) < count:
        body = listener.next()[1]
        assert last.get(body["symbol"], body["seq"] - 1) + 1 == body["seq"]
        last[body["symbol"]] = body["seq"]
        if body["bid"] == bid:
            there.add(body["symbol"])


def test_a_thousand_symbols_at_once_lose_nothing(programs: dict[str, Path], tmp_path: Path) -> None:
    """A burst fits under the high-water mark, and each symbol's numbers have no gap."""
    specs = [pair(f"S{i:03d}USD", 5, 1.1, 10) for i in range(1000)]
    server = quick_server(specs)
    with HostedExpert(programs["GatewayTicks"], server, tmp_path / "data") as expert:
        listener = Listener(expert, "tick.")
        try:
            start = time.perf_counter()
            last: dict[str, int] = {}
            follow(listener, last, 1.1, len(specs))
            took_s = time.perf_counter() - start
            with server.lock:
                for spec in specs:
                    server.broker.set_quote(spec.name, 1.2, 1.2001, START_S + 1)
            follow(listener, last, 1.2, len(specs))
        finally:
            listener.close()

    assert took_s < 5  # unoptimised, with sanitizers; see docs/mql4.md for the figure


@pytest.mark.parametrize("is_encrypted", [True, False], ids=["curve", "plain"])
def test_it_connects_to_a_gateway_that_binds(
    programs: dict[str, Path], server: BrokerServer, tmp_path: Path, is_encrypted: bool
) -> None:
    """The trading computer then opens no port, and the snapshot comes as before."""
    context = zmq.Context()
    socket = context.socket(zmq.SUB)
    socket.linger = 0
    socket.subscribe("")
    inputs: dict[str, Any] = {"ConnectsOut": True}
    if is_encrypted:
        (public, secret), (own_public, own_secret) = zmq.curve_keypair(), zmq.curve_keypair()
        socket.curve_server, socket.curve_secretkey = True, secret
        inputs |= {
            "CurveServerKey": public.decode(),
            "CurvePublicKey": own_public.decode(),
            "CurveSecretKey": own_secret.decode(),
        }
    port = socket.bind_to_random_port("tcp://127.0.0.1")
    expert = HostedExpert(
        programs["GatewayTicks"],
        server,
        tmp_path,
        inputs,
        endpoint=f"tcp://127.0.0.1:{port}",
    )
    try:
        with expert:
            assert socket.poll(_PATIENCE_MS)
            assert 2 == len(socket.recv_multipart())
    finally:
        socket.close()
        context.term()


@pytest.mark.parametrize("inputs", [{"HighWaterMark": 1}, {"TimerMs": 0}, {"CurveSecretKey": "x"}])
def test_inputs_that_lose_ticks_are_refused(
    programs: dict[str, Path], server: BrokerServer, tmp_path: Path, inputs: dict[str, Any]
) -> None:
    """A send high-water mark of 1 would drop most of a burst."""
    expert = HostedExpert(programs["GatewayTicks"], server, tmp_path / "data", inputs)

    with pytest.raises(RuntimeError, match="bad_inputs"):
        expert.start()
    expert.join()
