"""ZeroMQ: the DEALER that asks and the SUB that listens, both read by file descriptor.

The descriptors are read on the event loop and drained, which is ten times faster than one
await per message. Three rules keep that right, each with a test in
tests/stack/test_zeromq_facts.py: a descriptor stays readable until it is drained; it fires for
changes, so reading goes on until nothing is left; and a send may swallow its signal, so after
every send there is a look for replies.
"""

from __future__ import annotations

import asyncio
import logging

import zmq
from zmq.utils.monitor import parse_monitor_message

from gateway.terminal.curve import Curve, Guard
from gateway.terminal.dialects import MAX_REPLY_BYTES
from gateway.terminal.peers import Peers
from gateway.terminal.wire import FrameHandler, LinkHandler, MessageHandler

log = logging.getLogger(__name__)

ENVELOPE_FRAMES = 3
POLLIN = int(zmq.POLLIN)  # as an enumeration it costs a microsecond at each use
DRAIN_BATCH = 256
"""Messages read at one wake-up before others get their turn: about half a millisecond."""

MAP = b"\x80"
"""No map of msgpack begins with less, and no topic of ours with as much."""

HANDSHAKE_WITHIN_MS = 2000
"""Who says nothing for so long is put out."""

REOPEN_AFTER_S = 1.0
"""Pause before a new socket after a protocol error, which libzmq itself never retries."""

_WATCHED = (
    zmq.EVENT_CONNECTED
    | zmq.EVENT_ACCEPTED
    | zmq.EVENT_HANDSHAKE_SUCCEEDED
    | zmq.EVENT_HANDSHAKE_FAILED_PROTOCOL
    | zmq.EVENT_HANDSHAKE_FAILED_AUTH
    | zmq.EVENT_HANDSHAKE_FAILED_NO_DETAIL
    | zmq.EVENT_DISCONNECTED
)


EVERY_INTERFACE = "*"
"""Where `tcp://*` listens; tests listen on their own machine only."""


def listens(endpoint: str) -> bool:
    """Tell whether an endpoint is bound; others are connected to."""
    return endpoint.startswith("tcp://*")


def _attach(socket: zmq.Socket[bytes], endpoint: str, curve: Curve | None) -> None:
    if curve is not None:
        curve.secure(socket, listens=listens(endpoint))
    if listens(endpoint):
        socket.bind(endpoint.replace("*", EVERY_INTERFACE))
    else:
        socket.connect(endpoint)


def _guard(
    context: zmq.Context[zmq.Socket[bytes]], endpoint: str, curve: Curve | None
) -> Guard | None:
    return Guard(context, curve) if curve is not None and listens(endpoint) else None


def _has_frames(socket: zmq.Socket[bytes]) -> bool:
    """Tell whether there is something to read; the descriptor signals anew if there is not."""
    return bool(int(socket.getsockopt(zmq.EVENTS)) & POLLIN)


class ZmqWire:
    """A DEALER socket that speaks to a REP: `[correlation, empty, body]`, both ways.

    Sends never wait and never queue for an absent peer (`IMMEDIATE`): a queued order would run
    whenever the terminal comes back. Nothing outlives the socket (`LINGER` 0), and the kernel
    gives up what it could not deliver (`TCP_MAXRT`).

    Args:
        curve: Keys, where the connection is encrypted.
    """

    def __init__(self, endpoint: str, curve: Curve | None = None) -> None:
        self._endpoint = endpoint
        self._curve = curve
        self._guard: Guard | None = None
        self._context: zmq.Context[zmq.Socket[bytes]] = zmq.Context()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._socket: zmq.Socket[bytes] | None = None
        self._monitor: zmq.Socket[bytes] | None = None
        self._reopening: asyncio.TimerHandle | None = None
        self._linked = False
        self._peers = Peers(is_encrypted=curve is not None)

    def open(self, on_frame: FrameHandler, on_link: LinkHandler) -> None:
        """Start connecting, and keep trying."""
        self._loop = asyncio.get_running_loop()
        self._on_frame = on_frame
        self._on_link = on_link
        self._guard = _guard(self._context, self._endpoint, self._curve)
        self._open_sockets()

    def send(self, correlation: bytes, body: bytes) -> bool:
        """Hand over one frame; False means that it certainly did not leave."""
        if self._socket is None or self._loop is None:
            return False
        try:
            self._socket.send_multipart([correlation, b"", body], zmq.NOBLOCK)
        except zmq.Again:
            return False
        if _has_frames(self._socket):
            self._loop.call_soon(self._drain)
        return True

    def reconnect(self) -> None:
        """Drop the connection and make a new one. Reports the lost link."""
        self._close_sockets()
        self._set_link(False)
        self._open_sockets()

    def close(self) -> None:
        """Stop. What has not left is discarded."""
        self._close_sockets()
        if self._guard is not None:
            self._guard.stop()
        self._context.term()

    def _open_sockets(self) -> None:
        assert self._loop is not None
        self._reopening = None
        socket = self._context.socket(zmq.DEALER)
        socket.setsockopt(zmq.LINGER, 0)
        socket.setsockopt(zmq.IMMEDIATE, 1)
        socket.setsockopt(zmq.SNDHWM, 16)
        socket.setsockopt(zmq.RCVHWM, 0)
        socket.setsockopt(zmq.MAXMSGSIZE, MAX_REPLY_BYTES)
        socket.setsockopt(zmq.TCP_MAXRT, 3000)
        socket.setsockopt(zmq.HEARTBEAT_IVL, 1000)
        socket.setsockopt(zmq.HEARTBEAT_TIMEOUT, 3000)
        socket.setsockopt(zmq.HANDSHAKE_IVL, HANDSHAKE_WITHIN_MS)
        socket.setsockopt(zmq.RECONNECT_IVL, 100)
        socket.setsockopt(zmq.RECONNECT_IVL_MAX, 1000)
        self._socket = socket
        self._monitor = socket.get_monitor_socket(_WATCHED)
        self._loop.add_reader(socket, self._drain)
        self._loop.add_reader(self._monitor, self._drain_monitor)
        # A descriptor signals only after a read that found nothing.
        self._loop.call_soon(self._drain)
        self._loop.call_soon(self._drain_monitor)
        _attach(socket, self._endpoint, self._curve)

    def _close_sockets(self) -> None:
        if self._reopening is not None:
            self._reopening.cancel()
            self._reopening = None
        if self._socket is None or self._monitor is None or self._loop is None:
            return
        self._loop.remove_reader(self._socket)
        self._loop.remove_reader(self._monitor)
        self._socket.disable_monitor()
        self._monitor.close(0)
        self._socket.close(0)
        self._peers = Peers(is_encrypted=self._curve is not None)
        self._socket = self._monitor = None

    def _drain(self) -> None:
        for _ in range(DRAIN_BATCH):
            if self._socket is None or not _has_frames(self._socket):
                return
            frames = self._socket.recv_multipart(zmq.NOBLOCK)
            if len(frames) == ENVELOPE_FRAMES and frames[1] == b"":
                self._on_frame(frames[0], frames[2])
            else:
                # Not a REP's envelope: no correlation of ours can be in it.
                self._on_frame(b"", b"")
        if self._loop is not None:
            self._loop.call_soon(self._drain)

    def _drain_monitor(self) -> None:
        while self._monitor is not None:
            try:
                frames = self._monitor.recv_multipart(zmq.NOBLOCK)
            except zmq.Again:
                return
            told = parse_monitor_message(frames)
            self._monitored(int(told["event"]), int(told["value"]))

    def _monitored(self, event: int, value: int) -> None:
        match event:
            case zmq.EVENT_CONNECTED | zmq.EVENT_ACCEPTED:
                self._peers.began(value)
                self._judge_link()
            case zmq.EVENT_HANDSHAKE_SUCCEEDED:
                self._peers.shook_hands()
                self._judge_link()
            case zmq.EVENT_DISCONNECTED:
                if self._peers.ended(value):
                    self._reopen_later()  # a peer of a wrong kind: libzmq would not try again
                self._judge_link()
            case zmq.EVENT_HANDSHAKE_FAILED_PROTOCOL | zmq.EVENT_HANDSHAKE_FAILED_AUTH:
                if not listens(self._endpoint):  # else the guard tells whom it has refused
                    log.warning("terminal_handshake_failed endpoint=%s", self._endpoint)
                self._peers.failed()
                self._reopen_later()
            case zmq.EVENT_HANDSHAKE_FAILED_NO_DETAIL:
                self._peers.failed()
            case _:
                log.debug("terminal_monitor event=%d", event)

    def _reopen_later(self) -> None:
        """Open a new socket soon, unless it only listens: a stranger came to it then."""
        if self._reopening is None and self._loop is not None and not listens(self._endpoint):
            self._reopening = self._loop.call_later(REOPEN_AFTER_S, self.reconnect)

    def _judge_link(self) -> None:
        """Accept exactly one terminal: a DEALER would hand frames to several in turn."""
        if self._peers.is_unclear:
            log.warning("terminal_link_unclear endpoint=%s", self._endpoint)
            self.reconnect()
            return
        if self._peers.count > 1:
            log.error("terminals_connected count=%d endpoint=%s", self._peers.count, self._endpoint)
        self._set_link(self._peers.is_one)

    def _set_link(self, linked: bool) -> None:
        if linked and self._reopening is not None:
            self._reopening.cancel()
            self._reopening = None
        if linked is not self._linked:
            self._linked = linked
            self._on_link(linked)


class ZmqFeed:
    """A SUB socket: everything that the terminal publishes, in batches.

    Args:
        curve: Keys, where the connection is encrypted.
    """

    def __init__(self, endpoint: str, curve: Curve | None = None) -> None:
        self._endpoint = endpoint
        self._curve = curve
        self._guard: Guard | None = None
        self._context: zmq.Context[zmq.Socket[bytes]] | None = None
        self._socket: zmq.Socket[bytes] | None = None

    def open(self, on_messages: MessageHandler) -> None:
        """Subscribe to everything, and keep trying to connect."""
        self._loop = asyncio.get_running_loop()
        self._on_messages = on_messages
        self._context = zmq.Context()
        socket = self._context.socket(zmq.SUB)
        socket.setsockopt(zmq.LINGER, 0)
        socket.setsockopt(zmq.RCVHWM, 0)
        socket.setsockopt(zmq.MAXMSGSIZE, MAX_REPLY_BYTES)
        socket.setsockopt(zmq.HANDSHAKE_IVL, HANDSHAKE_WITHIN_MS)
        socket.setsockopt(zmq.HEARTBEAT_IVL, 1000)
        socket.setsockopt(zmq.HEARTBEAT_TIMEOUT, 3000)
        socket.setsockopt(zmq.RECONNECT_IVL, 100)
        socket.setsockopt(zmq.RECONNECT_IVL_MAX, 1000)
        socket.setsockopt(zmq.SUBSCRIBE, b"")
        self._socket = socket
        self._loop.add_reader(socket, self._drain)
        self._loop.call_soon(self._drain)
        self._guard = _guard(self._context, self._endpoint, self._curve)
        _attach(socket, self._endpoint, self._curve)

    def close(self) -> None:
        """Stop listening."""
        if self._socket is not None:
            self._loop.remove_reader(self._socket)
            self._socket.close(0)
            self._socket = None
        if self._guard is not None:
            self._guard.stop()
        if self._context is not None:
            self._context.term()

    def _drain(self) -> None:
        """Read one batch.

        A message of ours is a topic and a map. Asking ZeroMQ at each frame whether more follow
        would cost more than all the rest, so it is asked only where a map is missing: a frame that
        is alone, or one too many, is no message of ours and is passed over.
        """
        if self._socket is None:
            return
        receive, batch = self._socket.recv, []
        try:
            for _ in range(DRAIN_BATCH):
                topic, payload = receive(zmq.NOBLOCK), receive(zmq.NOBLOCK)
                while payload[:1] < MAP and self._socket.getsockopt(zmq.RCVMORE):
                    topic, payload = payload, receive(zmq.NOBLOCK)
                if payload[:1] >= MAP:
                    batch.append((topic, payload))
        except zmq.Again:
            pass
        else:
            self._loop.call_soon(self._drain)
        if batch:
            self._on_messages(batch)
