"""The request socket: a ROUTER that behaves as the MQL4 program's REP, so that it can misbehave.

A REP socket must answer every request once. A ROUTER keeps the envelope itself and may drop,
delay or repeat a reply. What REP does by itself is done here by hand: one request at a time,
everything up to the empty frame returned unchanged, a message without an empty frame ignored.
"""

from collections import deque
from dataclasses import dataclass
from typing import Any

import zmq
import zmq.asyncio

from gateway.sim.options import SimCurve


@dataclass(slots=True)
class Message:
    """Hold one request as it came.

    Attributes:
        envelope: The frames up to and including the empty one; the first names the connection.
        bodies: The frames after it.
        loses_reply: Whether libzmq would drop its reply (see `RequestChannel`).
    """

    envelope: list[bytes]
    bodies: list[bytes]
    loses_reply: bool = False

    @property
    def correlation(self) -> bytes:
        """Return the requester's own frames before the empty one."""
        return b"".join(self.envelope[1:-1])


def attach(socket: Any, endpoint: str, *, connects: bool, curve: SimCurve | None = None) -> str:
    """Bind or connect a socket and return its endpoint, with the port that a `*` became."""
    if curve is not None:
        socket.curve_secretkey = curve.secret
        if connects:
            socket.curve_publickey, socket.curve_serverkey = curve.public, curve.server
        else:
            socket.curve_server = True
    if connects:
        socket.connect(endpoint)
    else:
        socket.bind(endpoint)
    attached: str = socket.getsockopt_string(zmq.LAST_ENDPOINT)
    return attached


class RequestChannel:
    """Take requests one by one and send replies.

    With `high_water_mark` 1 it copies a defect of a REP socket with `SNDHWM` 1: if a request is
    already queued when the one before it (of the same connection) is answered, its envelope finds
    the reply pipe full, and its reply is dropped although sending it succeeds. The reply after
    that finds the pipe empty again, so every second one is lost.
    """

    def __init__(
        self,
        context: "zmq.asyncio.Context",
        endpoint: str,
        *,
        high_water_mark: int | None = None,
        connects: bool = False,
        curve: SimCurve | None = None,
    ) -> None:
        """Bind or connect.

        Args:
            context: Where the socket lives.
            endpoint: Such as `tcp://127.0.0.1:28282`, or `tcp://127.0.0.1:*` for any port.
            high_water_mark: For both directions; None keeps libzmq's 1,000.
            connects: Connect to a gateway that binds.
            curve: Keys, to encrypt.
        """
        self._socket: Any = context.socket(zmq.ROUTER)
        self._socket.linger = 0
        self._loses_replies = high_water_mark == 1
        if high_water_mark is not None:
            self._socket.rcvhwm = high_water_mark
        self._waiting: deque[Message] = deque()
        self.endpoint = attach(self._socket, endpoint, connects=connects, curve=curve)

    async def receive(self) -> Message:
        """Wait for the next request."""
        while not self._waiting:
            self._take(await self._socket.recv_multipart())
        return self._waiting.popleft()

    async def reply(self, message: Message, body: bytes) -> bool:
        """Send the reply to a request; False if it is lost on the way out."""
        if self._loses_replies:
            if message.loses_reply:
                return False
            await self._mark_next_of(message.envelope[0])
        await self._socket.send_multipart([*message.envelope, body])
        return True

    async def _mark_next_of(self, connection: bytes) -> None:
        while True:
            try:
                self._take(await self._socket.recv_multipart(zmq.NOBLOCK))
            except zmq.Again:
                break
        for waiting in self._waiting:
            if waiting.envelope[0] == connection:
                waiting.loses_reply = True
                return

    def _take(self, frames: list[bytes]) -> None:
        if b"" in frames[1:]:
            end = frames.index(b"", 1) + 1
            self._waiting.append(Message(frames[:end], frames[end:]))

    def close(self) -> None:
        """Close the socket; what is queued is gone."""
        self._socket.close(linger=0)
