"""The two ends of a running terminal: one for requests, one for ticks; here as sockets."""

import contextlib
from dataclasses import dataclass
from typing import Protocol

import zmq.asyncio

from gateway.sim.channel import Message, RequestChannel
from gateway.sim.options import SimCurve
from gateway.sim.publisher import Publisher, SocketPublisher


class Channel(Protocol):
    """Name what the request loop needs."""

    @property
    def endpoint(self) -> str:
        """Return where requests come from."""

    async def receive(self) -> Message:
        """Wait for the next request."""

    async def reply(self, message: Message, body: bytes) -> bool:
        """Send the reply to a request; False if it is lost on the way out."""


class Ends(Protocol):
    """Name what a terminal has from one start to its end."""

    @property
    def channel(self) -> Channel:
        """Return where requests are taken."""

    @property
    def publisher(self) -> Publisher | None:
        """Return where ticks and events go; None in a dialect without."""

    def close(self) -> None:
        """Close both."""


@dataclass(frozen=True, slots=True)
class Sockets:
    """Hold what is bound from one start of the terminal to its end.

    Attributes:
        context: ZeroMQ's context, one per start, so that a start after a death finds nothing of
            the one before.
        channel: Requests.
        publisher: Ticks and events; None in a dialect without.
    """

    context: "zmq.asyncio.Context"
    channel: RequestChannel
    publisher: Publisher | None

    @classmethod
    def open(
        cls,
        request_endpoint: str,
        tick_endpoint: str | None,
        *,
        high_water_mark: int | None,
        drops_nothing: bool,
        connects: bool,
        curve: SimCurve | None = None,
    ) -> "Sockets":
        """Bind or connect both.

        Args:
            request_endpoint: For requests.
            tick_endpoint: For ticks, None for no such socket.
            high_water_mark: Of the request socket; None for libzmq's own.
            drops_nothing: Whether publishing waits for slow subscribers.
            connects: Connect instead of binding.
            curve: Keys, to encrypt.

        Raises:
            zmq.ZMQError: An endpoint is taken or makes no sense; nothing is left open.
        """
        context = zmq.asyncio.Context()
        with contextlib.ExitStack() as undo:
            undo.callback(context.destroy, linger=0)
            channel = RequestChannel(
                context,
                request_endpoint,
                high_water_mark=high_water_mark,
                connects=connects,
                curve=curve,
            )
            publisher = None
            if tick_endpoint is not None:
                publisher = SocketPublisher(
                    context,
                    tick_endpoint,
                    drops_nothing=drops_nothing,
                    connects=connects,
                    curve=curve,
                )
            undo.pop_all()
        return cls(context, channel, publisher)

    def close(self) -> None:
        """Close both and wait until they are gone, so that a restart can bind the same ports."""
        self.channel.close()
        if self.publisher is not None:
            self.publisher.close()
        self.context.destroy(linger=0)
