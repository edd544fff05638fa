"""The other side of the sockets: a gateway's DEALER and SUB, as bare as can be."""

import asyncio
import json
from types import TracebackType
from typing import Any, Self

import msgpack
import zmq
import zmq.asyncio

from gateway.sim.options import SimOptions
from gateway.sim.terminal import SimTerminal
from tests.sim.programs import DIGEST, SEND

TIMEOUT_S = 5.0


def any_port(**more: Any) -> SimOptions:
    """Return options that bind any free ports and publish no ticks by themselves."""
    defaults: dict[str, Any] = {
        "request_endpoint": "tcp://127.0.0.1:*",
        "tick_endpoint": "tcp://127.0.0.1:*",
        "tick_interval_s": 0.0,
        "heartbeat_interval_s": 60.0,
    }
    return SimOptions(**(defaults | more))


class Peer:
    """Send requests and take replies, matched by correlation."""

    def __init__(self, terminal: SimTerminal) -> None:
        self._terminal = terminal
        self._context = zmq.asyncio.Context()
        self._socket: Any = self._open()
        self._sent = 0
        self._seq = 0
        self.hello: dict[str, Any] = {}

    def _open(self) -> Any:
        socket = self._context.socket(zmq.DEALER)
        socket.linger = 0
        socket.reconnect_ivl = 10
        socket.connect(self._terminal.request_endpoint)
        return socket

    def reconnect(self) -> None:
        """Leave a connection whose terminal has died: what is sent before that shows is lost."""
        self._socket.close()
        self._socket = self._open()

    async def __aenter__(self) -> Self:
        """Return the peer."""
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Close the socket."""
        self._context.destroy(linger=0)

    async def send(self, *bodies: bytes) -> bytes:
        """Send one message and return its correlation."""
        self._sent += 1
        correlation = b"c%d" % self._sent
        await self._socket.send_multipart([correlation, b"", *bodies])
        return correlation

    async def receive(self, timeout_s: float = TIMEOUT_S) -> tuple[bytes, bytes]:
        """Return the next reply's correlation and body."""
        async with asyncio.timeout(timeout_s):
            correlation, empty, body = await self._socket.recv_multipart()
        assert empty == b""
        return correlation, body

    async def ask(self, **request: Any) -> dict[str, Any]:
        """Send one request and return its reply."""
        correlation = await self.send(json.dumps(request).encode())
        answered, body = await self.receive()
        assert correlation == answered
        reply: dict[str, Any] = json.loads(body)
        return reply

    async def claim(self) -> None:
        """Say HELLO and take over."""
        self.hello = await self.ask(action="HELLO", id="gw/hello", attempt=1, claim=True)
        self._seq = 0

    def frame(self, **request: Any) -> dict[str, Any]:
        """Return a trade or a RESOLVE with its bridge keys."""
        self._seq += 1
        response = self.hello["response"]
        keys = {key: response[key] for key in ("session", "epoch", "ledger")}
        keys |= {"attempt": 1, "digest": DIGEST, "seq": self._seq}
        return keys | {"not_after": self.hello["clock_ms"] + 60_000} | request

    async def order(self, **change: Any) -> dict[str, Any]:
        """Send the standard order and return its reply."""
        return await self.ask(**self.frame(**(SEND | change)))

    async def resolve(self, command_id: str = "me/1") -> dict[str, Any]:
        """Ask what became of a command."""
        return await self.ask(**self.frame(action="RESOLVE", id=command_id))

    async def barrier(self) -> None:
        """Wait until everything sent before has been handled."""
        await self.ask(action="PING", id="gw/barrier", attempt=1)


class Listener:
    """Take what the terminal publishes."""

    def __init__(self, terminal: SimTerminal, *topics: str) -> None:
        self._context = zmq.asyncio.Context()
        self._socket: Any = self._context.socket(zmq.SUB)
        self._socket.linger = 0
        self._socket.rcvhwm = 0
        for topic in topics or ("",):
            self._socket.subscribe(topic.encode())
        assert terminal.tick_endpoint is not None
        self._socket.connect(terminal.tick_endpoint)

    async def __aenter__(self) -> Self:
        """Return the listener."""
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Close the socket."""
        self._context.destroy(linger=0)

    async def next(self, timeout_s: float = TIMEOUT_S) -> tuple[str, dict[str, Any]]:
        """Return the next topic and its map."""
        async with asyncio.timeout(timeout_s):
            topic, body = await self._socket.recv_multipart()
        return topic.decode(), msgpack.unpackb(body)
