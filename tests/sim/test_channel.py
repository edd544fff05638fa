"""The request socket behaves as a REP socket, its defect included, over real ZeroMQ."""

import asyncio
from collections.abc import AsyncIterator, Callable
from typing import Any, Protocol

import pytest
import zmq
import zmq.asyncio

from gateway.sim.channel import Message, RequestChannel

PIPELINED = 6
TIMEOUT_S = 5


class Sockets:
    """Make sockets that are closed after the test."""

    def __init__(self) -> None:
        self.context = zmq.asyncio.Context()
        self._sockets: list[Any] = []

    def make(self, kind: int) -> Any:
        """Return a socket."""
        socket: Any = self.context.socket(kind)
        socket.linger = 0
        self._sockets.append(socket)
        return socket

    def dealer(self, endpoint: str) -> Any:
        """Return a DEALER that connects."""
        socket = self.make(zmq.DEALER)
        socket.connect(endpoint)
        return socket

    def close(self) -> None:
        """Close everything."""
        for socket in self._sockets:
            socket.close(linger=0)
        self.context.term()


class Server(Protocol):
    """Answer one request."""

    endpoint: str

    async def serve(self) -> bytes:
        """Answer the next request and return its body."""


class RealRep:
    """Serve with libzmq's own REP, set up as the existing server's."""

    def __init__(self, sockets: Sockets) -> None:
        self._socket = sockets.make(zmq.REP)
        self._socket.sndhwm = self._socket.rcvhwm = 1
        self._socket.bind("tcp://127.0.0.1:*")
        self.endpoint: str = self._socket.getsockopt_string(zmq.LAST_ENDPOINT)

    async def serve(self) -> bytes:
        """Answer the next request and return its body."""
        async with asyncio.timeout(TIMEOUT_S):
            body: bytes = await self._socket.recv()
            await self._socket.send(b"re:" + body)
        return body


class SimulatedRep:
    """Serve with the simulator's channel."""

    def __init__(self, sockets: Sockets, high_water_mark: int | None = 1) -> None:
        self.channel = RequestChannel(
            sockets.context, "tcp://127.0.0.1:*", high_water_mark=high_water_mark
        )
        sockets._sockets.append(self.channel._socket)
        self.endpoint = self.channel.endpoint

    async def serve(self, *, behind_it: bool = False) -> bytes:
        """Answer the next request, after another has arrived behind it if asked to."""
        async with asyncio.timeout(TIMEOUT_S):
            message = await self.channel.receive()
            if behind_it and not self.channel._waiting:
                await self.channel._socket.poll()
            await self.channel.reply(message, b"re:" + message.bodies[0])
        return message.bodies[0]


@pytest.fixture
async def sockets() -> AsyncIterator[Sockets]:
    """Give sockets that are gone after the test."""
    sockets = Sockets()
    yield sockets
    sockets.close()


async def reply(socket: Any) -> bytes:
    """Return the next reply's body."""
    async with asyncio.timeout(TIMEOUT_S):
        frames: list[bytes] = await socket.recv_multipart()
    return frames[-1]


async def serve_pipelined(sockets: Sockets, high_water_mark: int | None) -> tuple[Any, list[bytes]]:
    """Answer requests that arrive before the one before them is answered."""
    server = SimulatedRep(sockets, high_water_mark)
    socket = sockets.dealer(server.endpoint)
    for number in range(PIPELINED):
        await socket.send_multipart([b"c", b"", b"%d" % number])
    last = PIPELINED - 1
    executed = [await server.serve(behind_it=number < last) for number in range(PIPELINED)]
    return socket, executed


async def test_every_second_pipelined_request_loses_its_reply(sockets: Sockets) -> None:
    """With a high-water mark of 1 all run; measured the same on a real REP (libzmq 4.3.5)."""
    socket, executed = await serve_pipelined(sockets, 1)

    assert executed == [b"%d" % number for number in range(PIPELINED)]
    assert [await reply(socket) for _ in range(3)] == [b"re:0", b"re:2", b"re:4"]


async def test_default_high_water_mark_loses_nothing(sockets: Sockets) -> None:
    """The bridge's socket answers everything that is pipelined."""
    socket, _ = await serve_pipelined(sockets, None)

    expected = [b"re:%d" % number for number in range(PIPELINED)]
    assert expected == [await reply(socket) for _ in range(PIPELINED)]


@pytest.mark.parametrize("make", [RealRep, SimulatedRep])
async def test_one_request_at_a_time_loses_nothing(
    sockets: Sockets, make: Callable[[Sockets], Server]
) -> None:
    """In lock-step the defect does not show."""
    server = make(sockets)
    socket = sockets.dealer(server.endpoint)
    for number in range(PIPELINED):
        await socket.send_multipart([b"c", b"", b"%d" % number])
        await server.serve()

        assert await reply(socket) == b"re:%d" % number


@pytest.mark.parametrize("make", [RealRep, SimulatedRep])
async def test_envelope_comes_back_unchanged(
    sockets: Sockets, make: Callable[[Sockets], Server]
) -> None:
    """Whatever stands before the empty frame."""
    server = make(sockets)
    socket = sockets.dealer(server.endpoint)
    await socket.send_multipart([b"one", b"two", b"", b"body"])
    await server.serve()

    assert await socket.recv_multipart() == [b"one", b"two", b"", b"re:body"]


async def test_message_without_an_empty_frame_is_ignored(sockets: Sockets) -> None:
    """The next proper request is answered."""
    server = SimulatedRep(sockets)
    socket = sockets.dealer(server.endpoint)
    await socket.send_multipart([b"no", b"delimiter"])
    await socket.send_multipart([b"c", b"", b"body"])

    assert await server.serve() == b"body"


async def test_plain_req_client_is_served(sockets: Sockets) -> None:
    """Clients of the existing server use REQ."""
    server = SimulatedRep(sockets)
    socket = sockets.make(zmq.REQ)
    socket.connect(server.endpoint)
    await socket.send(b"body")
    await server.serve()

    assert await reply(socket) == b"re:body"


async def test_another_connections_request_loses_nothing(sockets: Sockets) -> None:
    """Each connection has a reply pipe of its own."""
    server = SimulatedRep(sockets)
    first, second = sockets.dealer(server.endpoint), sockets.dealer(server.endpoint)
    await first.send_multipart([b"c", b"", b"1"])
    message = await server.channel.receive()
    await second.send_multipart([b"c", b"", b"2"])
    await server.channel._socket.poll()

    assert await server.channel.reply(message, b"re:1")
    assert await server.serve() == b"2"
    assert await reply(second) == b"re:2"


def test_correlation_is_what_the_requester_sent() -> None:
    """Without the connection's name and the empty frame."""
    assert Message([b"\x00abc", b"c1", b""], [b"body"]).correlation == b"c1"
