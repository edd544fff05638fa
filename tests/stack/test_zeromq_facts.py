"""What libzmq does, shown with real sockets: the reasons for how gateway/terminal/zmq.py is made.

The first half are facts of libzmq alone; the second half shows what ZmqWire and ZmqFeed make of
them. Source of the facts: zeromq man pages (zmq_setsockopt, zmq_getsockopt "ZMQ_FD") and
measurement; each would break an order if it were otherwise.
"""

from __future__ import annotations

import asyncio
import select
import threading
from collections.abc import AsyncIterator, Iterator
from contextlib import closing

import msgpack
import pytest
import zmq

from gateway.terminal import zmq as zmq_wire
from gateway.terminal.zmq import ZmqFeed, ZmqWire
from tests.support.net import free_port
from tests.support.stack import eventually

Socket = zmq.Socket[bytes]

PATIENCE_MS = 5_000
PATIENCE_S = PATIENCE_MS / 1000


class Peers:
    """The sockets of a test: all closed at its end."""

    def __init__(self) -> None:
        self.context: zmq.Context[Socket] = zmq.Context()
        self._sockets: list[Socket] = []

    def bind(self, kind: int, endpoint: str, **options: int) -> Socket:
        """Bind a socket; options by name, such as `sndhwm`."""
        socket = self._socket(kind, options)
        socket.bind(endpoint)
        return socket

    def bind_again(self, endpoint: str) -> Socket:
        """Bind a REP where another socket was just closed: libzmq lets go a moment later."""
        socket = self._socket(zmq.REP, {})
        for _ in range(PATIENCE_MS):
            try:
                socket.bind(endpoint)
            except zmq.ZMQError:
                select.select([], [], [], 0.001)
            else:
                return socket
        raise AssertionError(f"{endpoint} stays taken")

    def connect(self, kind: int, endpoint: str, **options: int) -> Socket:
        """Connect a socket; options by name, such as `immediate`."""
        socket = self._socket(kind, {"reconnect_ivl": 10} | options)
        socket.connect(endpoint)
        return socket

    def _socket(self, kind: int, options: dict[str, int]) -> Socket:
        socket = self.context.socket(kind)
        self._sockets.append(socket)
        for name, value in options.items():
            socket.set(getattr(zmq, name.upper()), value)
        return socket

    def close(self) -> None:
        for socket in self._sockets:
            socket.close(linger=0)
        self.context.term()


@pytest.fixture
def peers() -> Iterator[Peers]:
    """Give sockets that end with the test."""
    peers = Peers()
    yield peers
    peers.close()


@pytest.fixture
def endpoint() -> str:
    """Give an endpoint on loopback that nobody listens on."""
    return f"tcp://127.0.0.1:{free_port()}"


def receive(socket: Socket) -> list[bytes]:
    """Return the next message; fail when none comes."""
    assert socket.poll(PATIENCE_MS)
    return socket.recv_multipart()


def is_readable(socket: Socket, timeout_s: float = 0.0) -> bool:
    """Tell what an event loop is told: whether the descriptor signals."""
    descriptor = int(socket.getsockopt(zmq.FD))
    return bool(select.select([descriptor], [], [], timeout_s)[0])


def await_signal(socket: Socket) -> None:
    """Wait for the descriptor as an event loop does."""
    assert is_readable(socket, PATIENCE_S)


def settle(socket: Socket) -> None:
    """Let signals of the connection pass, until a send will look at its mailbox again.

    It does so only when the last look was about a millisecond ago.
    """
    while is_readable(socket, 0.01):
        socket.getsockopt(zmq.EVENTS)


def drain(socket: Socket) -> list[bytes]:
    """Read what is there."""
    messages = []
    try:
        while True:
            messages.append(socket.recv_multipart(zmq.NOBLOCK)[-1])
    except zmq.Again:
        return messages


def first_message(socket: Socket) -> bytes:
    """Wait for the first message by descriptor alone, and read only that."""
    while True:
        await_signal(socket)
        try:
            return socket.recv_multipart(zmq.NOBLOCK)[-1]
        except zmq.Again:
            continue  # the signal was for the connection, not for a message


# ---- an absent peer -----------------------------------------------------------------------


def test_immediate_refuses_a_send_while_there_is_no_peer_and_nothing_runs_later(
    peers: Peers, endpoint: str
) -> None:
    """A refused order is certainly not executed when the terminal comes back."""
    dealer = peers.connect(zmq.DEALER, endpoint, immediate=1)
    with pytest.raises(zmq.Again):
        dealer.send_multipart([b"c1", b"", b"ORDER"], zmq.NOBLOCK)
    rep = peers.bind(zmq.REP, endpoint)
    assert dealer.poll(PATIENCE_MS, zmq.POLLOUT)
    dealer.send_multipart([b"c2", b"", b"LATER"], zmq.NOBLOCK)

    assert [b"LATER"] == receive(rep)


def test_without_immediate_a_queued_order_runs_when_the_peer_appears(
    peers: Peers, endpoint: str
) -> None:
    """Why `IMMEDIATE` is set: the default would trade hours late."""
    dealer = peers.connect(zmq.DEALER, endpoint)
    dealer.send_multipart([b"c1", b"", b"ORDER"], zmq.NOBLOCK)
    rep = peers.bind(zmq.REP, endpoint)

    assert [b"ORDER"] == receive(rep)


@pytest.mark.parametrize(
    ("linger_ms", "arrives"), [(0, [b"MARKER"]), (PATIENCE_MS, [b"ORDER", b"MARKER"])]
)
def test_linger_0_discards_what_was_not_written(
    peers: Peers, endpoint: str, linger_ms: int, arrives: list[bytes]
) -> None:
    """A closed socket must not deliver afterwards; by default it does."""
    gone = Peers()
    dealer = gone.connect(zmq.DEALER, endpoint, linger=linger_ms)
    dealer.send_multipart([b"c1", b"", b"ORDER"], zmq.NOBLOCK)
    dealer.close()
    ending = threading.Thread(target=gone.context.term)
    ending.start()
    if not linger_ms:
        ending.join(PATIENCE_S)  # nothing of it lives on
    rep = peers.bind(zmq.REP, endpoint)
    heard = [] if not linger_ms else receive(rep)
    ending.join(PATIENCE_S)
    marker = peers.connect(zmq.DEALER, endpoint)
    marker.send_multipart([b"c2", b"", b"MARKER"])
    if heard:
        rep.send(b"")
    heard += receive(rep)

    assert arrives == heard


# ---- replies ------------------------------------------------------------------------------


def test_dealer_with_a_req_envelope_gets_a_late_reply_with_its_correlation(
    peers: Peers, endpoint: str
) -> None:
    """A timeout does not throw the answer away; it says later which command it belongs to."""
    rep = peers.bind(zmq.REP, endpoint)
    dealer = peers.connect(zmq.DEALER, endpoint)
    dealer.send_multipart([b"order/1", b"", b"ORDER"])
    request = receive(rep)
    gave_up = not dealer.poll(20)
    rep.send(b"done")

    assert gave_up
    assert [b"ORDER"] == request
    assert [b"order/1", b"", b"done"] == receive(dealer)


ORDERS = [b"%d" % number for number in range(50)]


def answered_orders(peers: Peers, endpoint: str, high_water_mark: int) -> list[bytes]:
    """Let orders be in a REP's queue when it takes the first; return which replies came."""
    dealer = peers.connect(zmq.DEALER, endpoint)
    for order in ORDERS:
        dealer.send_multipart([order, b"", order])
    # They were waiting for the bind, so they travel in one piece and are queued at once.
    rep = peers.bind(zmq.REP, endpoint, sndhwm=high_water_mark, rcvtimeo=PATIENCE_MS)
    executed = []
    for _ in ORDERS:
        executed.append(rep.recv())
        rep.send(b"done")  # succeeds, whatever becomes of it
    assert ORDERS == executed
    answered = [receive(dealer)[0]]
    dealer.send_multipart([b"probe", b"", b"probe"])
    assert [b"probe"] == receive(rep)
    rep.send(b"done")
    while answered[-1] != b"probe":
        answered.append(receive(dealer)[0])
    return answered[:-1]  # replies keep their order: what the probe's overtook is gone


def test_rep_with_sndhwm_1_loses_the_reply_to_a_request_that_was_already_queued(
    peers: Peers, endpoint: str
) -> None:
    """The existing server executes it and `send` succeeds: only lock-step keeps the reply."""
    answered = answered_orders(peers, endpoint, high_water_mark=1)

    assert ORDERS[0] == answered[0]
    assert len(answered) < len(ORDERS)


def test_rep_with_a_higher_mark_loses_no_reply(peers: Peers, endpoint: str) -> None:
    """The cause is the mark; our own programs leave the default."""
    assert ORDERS == answered_orders(peers, endpoint, high_water_mark=1000)


@pytest.mark.parametrize(("immediate", "is_kept"), [(0, True), (1, False)])
def test_link_that_ends_takes_an_unread_reply_with_it(
    peers: Peers, endpoint: str, immediate: int, is_kept: bool
) -> None:
    """The price of `IMMEDIATE`: so a lost link proves nothing, and the fate is asked for."""
    rep = peers.bind(zmq.REP, endpoint)
    dealer = peers.connect(zmq.DEALER, endpoint, immediate=immediate)
    assert dealer.poll(PATIENCE_MS, zmq.POLLOUT)
    dealer.send_multipart([b"c1", b"", b"ORDER"])
    receive(rep)
    drain(dealer)
    with dealer.get_monitor_socket(zmq.EVENT_CONNECT_RETRIED) as monitor:
        rep.send(b"done")
        await_signal(dealer)
        rep.close(linger=0)
        receive(monitor)  # libzmq has dealt with the end of the connection
        replies = drain(dealer)
        dealer.disable_monitor()

    assert ([b"done"] if is_kept else []) == replies


def test_a_later_reply_proves_that_the_earlier_request_was_consumed(
    peers: Peers, endpoint: str
) -> None:
    """One connection is first in, first out, both ways: so a probe's reply frees the line."""
    rep = peers.bind(zmq.REP, endpoint)
    dealer = peers.connect(zmq.DEALER, endpoint)
    names = [b"%d" % number for number in range(300)]
    for name in names:
        dealer.send_multipart([name, b"", name])
    consumed = []
    for _ in names:
        consumed.append(receive(rep)[0])
        rep.send(consumed[-1])
    replied = [receive(dealer)[0] for _ in names]

    assert names == consumed
    assert names == replied


# ---- reading by descriptor ------------------------------------------------------------------


def queued(peers: Peers, endpoint: str, count: int) -> Socket:
    """Return a PULL socket to which messages travel in one piece."""
    push = peers.connect(zmq.PUSH, endpoint)
    for number in range(count):
        push.send(b"%d" % number)
    return peers.bind(zmq.PULL, endpoint)


def test_descriptor_stays_readable_until_it_is_drained(peers: Peers, endpoint: str) -> None:
    """Pitfall 1: an event loop that leaves it registered and does not read spins."""
    pull = queued(peers, endpoint, 1)
    while not drain(pull):
        await_signal(pull)
    push = peers.connect(zmq.PUSH, endpoint)
    push.send(b"next")
    await_signal(pull)
    still = is_readable(pull)
    while not drain(pull):
        await_signal(pull)

    assert still
    assert not is_readable(pull)


def test_descriptor_signals_changes_so_reading_goes_on_until_nothing_is_left(
    peers: Peers, endpoint: str
) -> None:
    """Pitfall 2: after one of three messages there is no signal for the other two."""
    pull = queued(peers, endpoint, 3)
    first = first_message(pull)
    signalled = is_readable(pull)

    assert b"0" == first
    assert not signalled
    assert [b"1", b"2"] == drain(pull)


def test_send_may_swallow_the_signal_of_a_reply(peers: Peers, endpoint: str) -> None:
    """Pitfall 3: the reply is there, and the event loop is never told."""
    rep = peers.bind(zmq.REP, endpoint)
    dealer = peers.connect(zmq.DEALER, endpoint)
    dealer.send_multipart([b"c1", b"", b"first"])
    request = receive(rep)
    settle(dealer)
    rep.send(b"done")
    await_signal(dealer)
    dealer.send_multipart([b"c2", b"", b"second"])
    swallowed = not is_readable(dealer)

    assert [b"first"] == request
    assert swallowed
    assert int(dealer.getsockopt(zmq.EVENTS)) & zmq.POLLIN
    assert [b"done"] == drain(dealer)


# ---- ZmqWire --------------------------------------------------------------------------------


class Wire:
    """A ZmqWire and what it has told."""

    def __init__(self, endpoint: str) -> None:
        self.zmq = ZmqWire(endpoint)
        self.frames: list[tuple[bytes, bytes]] = []
        self.links: list[bool] = []
        self.zmq.open(lambda *frame: self.frames.append(frame), self.links.append)

    @property
    def is_linked(self) -> bool:
        return bool(self.links) and self.links[-1]

    async def linked(self) -> None:
        await eventually(lambda: self.is_linked)

    async def unlinked(self) -> None:
        await eventually(lambda: not self.is_linked)


@pytest.fixture
async def wire(endpoint: str) -> AsyncIterator[Wire]:
    """Open the gateway's end towards `endpoint`."""
    wire = Wire(endpoint)
    yield wire
    wire.zmq.close()


class EchoServer:
    """A REP in a thread of its own that answers each request with its body."""

    def __init__(self, peers: Peers, endpoint: str) -> None:
        self._rep = peers.bind(zmq.REP, endpoint, rcvtimeo=50)
        self._ending = threading.Event()
        self._thread = threading.Thread(target=self._serve)
        self._thread.start()

    def _serve(self) -> None:
        while not self._ending.is_set():
            try:
                self._rep.send(self._rep.recv())
            except zmq.Again:
                continue

    def close(self) -> None:
        self._ending.set()
        self._thread.join(PATIENCE_S)


async def test_wire_refuses_to_send_to_an_absent_peer(wire: Wire) -> None:
    """The line learns at once that a frame has not left."""
    assert not wire.zmq.send(b"c1", b"ORDER")


async def test_no_reply_is_stuck_when_sends_and_replies_interleave(
    peers: Peers, endpoint: str, wire: Wire
) -> None:
    """2,000 round trips, each second send at another moment, and nothing else wakes the loop."""
    both_back = asyncio.Event()
    back: list[int] = []

    def reply_came(_: bytes, body: bytes) -> None:
        back.append(int(body))
        if back[-1] % 2:
            both_back.set()

    wire.zmq._on_frame = reply_came
    with closing(EchoServer(peers, endpoint)):
        await wire.linked()
        async with asyncio.timeout(10):
            for number in range(0, 2_000, 2):
                both_back.clear()
                assert wire.zmq.send(b"first", b"%d" % number)
                for _ in range(number % 64):
                    await asyncio.sleep(0)
                assert wire.zmq.send(b"second", b"%d" % (number + 1))
                await both_back.wait()

    assert list(range(2_000)) == back


async def test_reply_whose_signal_a_send_swallows_is_read(
    peers: Peers, endpoint: str, wire: Wire
) -> None:
    """Pitfall 3 against the wire: after every send there is a look for replies."""
    rep = peers.bind(zmq.REP, endpoint)
    await wire.linked()
    assert wire.zmq.send(b"c1", b"first")
    request = receive(rep)
    socket = wire.zmq._socket
    assert socket is not None
    settle(socket)
    # From here to the send nothing is awaited, so the loop cannot read in between.
    rep.send(b"done")
    await_signal(socket)
    assert wire.zmq.send(b"c2", b"second")
    swallowed = not is_readable(socket)
    await eventually(lambda: wire.frames)

    assert [b"first"] == request
    assert swallowed
    assert [(b"c1", b"done")] == wire.frames


async def test_late_reply_reaches_the_line_with_its_correlation(
    peers: Peers, endpoint: str, wire: Wire
) -> None:
    """Also behind a later one's request, both are told apart."""
    rep = peers.bind(zmq.REP, endpoint)
    await wire.linked()
    for correlation in (b"order/1", b"probe/1"):
        assert wire.zmq.send(correlation, b"body of " + correlation)
    for _ in range(2):
        rep.send(b"re: " + receive(rep)[0])
    await eventually(lambda: len(wire.frames) == 2)

    assert [
        (b"order/1", b"re: body of order/1"),
        (b"probe/1", b"re: body of probe/1"),
    ] == wire.frames


async def test_reply_of_several_frames_is_told_as_belonging_to_nothing(
    peers: Peers, endpoint: str, wire: Wire
) -> None:
    """What is no REP's envelope can settle no command."""
    rep = peers.bind(zmq.REP, endpoint)
    await wire.linked()
    assert wire.zmq.send(b"c1", b"body")
    receive(rep)
    rep.send_multipart([b"done", b"done"])
    await eventually(lambda: wire.frames)

    assert [(b"", b"")] == wire.frames


# ---- the link, as the monitor tells it -----------------------------------------------------


async def test_silent_reconnect_of_the_peer_is_told(
    peers: Peers, endpoint: str, wire: Wire
) -> None:
    """A terminal that restarts between two commands is greeted again: its clock is new."""
    rep = peers.bind(zmq.REP, endpoint)
    await wire.linked()
    rep.close(linger=0)
    await wire.unlinked()
    peers.bind_again(endpoint)
    await wire.linked()

    assert [True, False, True] == wire.links


async def test_peer_of_a_wrong_kind_is_left_for_a_right_one(
    peers: Peers, endpoint: str, wire: Wire, monkeypatch: pytest.MonkeyPatch
) -> None:
    """After a protocol error libzmq never connects again; a new socket does."""
    monkeypatch.setattr(zmq_wire, "REOPEN_AFTER_S", 0.02)
    wrong = peers.bind(zmq.PUB, endpoint)
    first = wire.zmq._socket
    await eventually(lambda: wire.zmq._socket not in (None, first))
    wrong.close(linger=0)
    peers.bind_again(endpoint)
    await wire.linked()

    assert [True] == wire.links


async def test_peer_that_speaks_http_is_left_for_a_right_one(
    peers: Peers, endpoint: str, wire: Wire
) -> None:
    """A mistyped port must not need a restart of the gateway once it is put right."""
    host, _, port = endpoint.removeprefix("tcp://").rpartition(":")
    hung_up = asyncio.Event()

    async def answer(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n")
        await writer.drain()
        writer.close()
        hung_up.set()

    server = await asyncio.start_server(answer, host, int(port))
    async with asyncio.timeout(PATIENCE_S):
        await hung_up.wait()
    server.close()
    await server.wait_closed()
    peers.bind_again(endpoint)
    await wire.linked()

    assert [True] == wire.links


async def test_two_peers_on_a_bound_endpoint_are_refused_until_one_has_left(
    peers: Peers,
) -> None:
    """A DEALER would hand every other order to the second terminal."""
    port = free_port()
    wire = Wire(f"tcp://*:{port}")
    with closing(wire.zmq):
        peers.connect(zmq.REP, f"tcp://127.0.0.1:{port}")
        await wire.linked()
        second = peers.connect(zmq.REP, f"tcp://127.0.0.1:{port}")
        await wire.unlinked()
        second.close(linger=0)
        await wire.linked()

    assert [True, False, True] == wire.links


# ---- ticks ----------------------------------------------------------------------------------

BURST = 50_000


class Publisher:
    """The terminal's PUB; an XPUB, to know when it is subscribed to."""

    def __init__(self, peers: Peers, endpoint: str, high_water_mark: int) -> None:
        self._socket = peers.bind(zmq.XPUB, endpoint, sndhwm=high_water_mark)

    def await_subscriber(self) -> None:
        assert b"\x01" == receive(self._socket)[0]

    def publish(self, *numbers: int) -> None:
        for number in numbers:
            self._socket.send_multipart([b"tick.EURUSD", msgpack.packb({"n": number})])


async def test_burst_arrives_whole_and_in_order_while_the_loop_does_other_things(
    peers: Peers, endpoint: str
) -> None:
    """The feed is read in batches with turns for others in between, and nothing is stuck."""
    publisher = Publisher(peers, endpoint, high_water_mark=0)
    numbers: list[int] = []
    batches: list[int] = []
    turns_of_others = 0

    def take(messages: list[tuple[bytes, bytes]]) -> None:
        batches.append(len(messages))
        numbers.extend(msgpack.unpackb(body)["n"] for _, body in messages)

    with closing(ZmqFeed(endpoint)) as feed:
        feed.open(take)
        await asyncio.to_thread(publisher.await_subscriber)
        publishing = asyncio.create_task(asyncio.to_thread(publisher.publish, *range(BURST)))
        async with asyncio.timeout(20):
            while len(numbers) < BURST:  # the other work
                turns_of_others += 1
                await asyncio.sleep(0)
        await publishing

    assert list(range(BURST)) == numbers
    assert zmq_wire.DRAIN_BATCH >= max(batches)
    assert BURST / zmq_wire.DRAIN_BATCH <= turns_of_others


async def test_burst_alone_wakes_the_loop_often_enough(peers: Peers, endpoint: str) -> None:
    """Nothing else is running: the descriptor and the batches must carry it to the end."""
    publisher = Publisher(peers, endpoint, high_water_mark=0)
    complete = asyncio.Event()
    numbers: list[int] = []

    def take(messages: list[tuple[bytes, bytes]]) -> None:
        numbers.extend(msgpack.unpackb(body)["n"] for _, body in messages)
        if len(numbers) == 5_000:
            complete.set()

    with closing(ZmqFeed(endpoint)) as feed:
        feed.open(take)
        await asyncio.to_thread(publisher.await_subscriber)
        publishing = threading.Thread(target=publisher.publish, args=range(5_000))
        publishing.start()
        async with asyncio.timeout(10):
            await complete.wait()
        publishing.join()

    assert list(range(5_000)) == numbers


async def test_message_of_one_or_three_frames_does_not_shift_the_next(
    peers: Peers, endpoint: str
) -> None:
    """The feed reads frames one by one; a stranger's count of them must not mix up ticks."""
    publisher = peers.bind(zmq.XPUB, endpoint)
    heard: list[tuple[bytes, bytes]] = []
    with closing(ZmqFeed(endpoint)) as feed:
        feed.open(heard.extend)
        await asyncio.to_thread(receive, publisher)
        for frames in (
            [b"alone"],
            [b"tick.A", b"\x80"],
            [b"tick.B", b"\x80", b"more"],
            [b"tick.C", b"\x80"],
            [b"none", b"of", b"ours"],
            [b"alone"],
            [b"alone"],
            [b"tick.D", b"\x80"],
        ):
            publisher.send_multipart(frames)
        await eventually(lambda: (b"tick.D", b"\x80") in heard)

    assert [b"tick.A", b"tick.B", b"tick.C", b"tick.D"] == [topic for topic, _ in heard]


@pytest.mark.parametrize(("high_water_mark", "is_whole"), [(1, False), (10_000, True)])
def test_publisher_with_a_low_mark_loses_ticks_by_itself(
    peers: Peers, endpoint: str, high_water_mark: int, is_whole: bool
) -> None:
    """However fast the reader: so our MQL4 sets 10,000, and ticks carry a number."""
    publisher = Publisher(peers, endpoint, high_water_mark)
    subscriber = peers.connect(zmq.SUB, endpoint, rcvhwm=0)
    subscriber.subscribe(b"")
    publisher.await_subscriber()
    publisher.publish(*range(5_000))
    numbers: list[int] = []
    while -1 not in numbers:
        if not subscriber.poll(20):
            publisher.publish(-1)  # the mark may swallow this one, too
            continue
        numbers.append(msgpack.unpackb(subscriber.recv_multipart()[1])["n"])

    assert is_whole is (list(range(5_000)) == numbers[:-1])
