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

from gateway.terminal.dialects import MAX_REPLY_BYTES
from gateway.terminal.wire import FrameHandler, LinkHandler, MessageHandler

log = logging.getLogger(__name__)

ENVELOPE_FRAMES = 3
DRAIN_BATCH = 256
"""Messages read at one wake-up before others get their turn: about half a millisecond."""

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


def _attach(socket: zmq.Socket[bytes], endpoint: str) -> None:
    if endpoint.startswith("tcp://*"):
        socket.bind(endpoint)
    else:
        socket.connect(endpoint)


class ZmqWire:
    """A DEALER socket that speaks to a REP: `[correlation, empty, body]`, both ways.

    Sends never wait and never queue for an absent peer (`IMMEDIATE`): a queued order would run
    whenever the terminal comes back. Nothing outlives the socket (`LINGER` 0), and the kernel
    gives up what it could not deliver (`TCP_MAXRT`).
    """

    def __init__(self, endpoint: str) -> None:
        self._endpoint = endpoint
        self._context: zmq.Context[zmq.Socket[bytes]] = zmq.Context()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._socket: zmq.Socket[bytes] | None = None
        self._monitor: zmq.Socket[bytes] | None = None
        self._reopening: asyncio.TimerHandle | None = None
        self._linked = False
        self._peers = 0
        self._shook_hands = False

    def open(self, on_frame: FrameHandler, on_link: LinkHandler) -> None:
        """Start connecting, and keep trying."""
        self._loop = asyncio.get_running_loop()
        self._on_frame = on_frame
        self._on_link = on_link
        self._open_sockets()

    def send(self, correlation: bytes, body: bytes) -> bool:
        """Hand over one frame; False means that it certainly did not leave."""
        if self._socket is None or self._loop is None:
            return False
        try:
            self._socket.send_multipart([correlation, b"", body], zmq.NOBLOCK)
        except zmq.Again:
            return False
        if int(self._socket.getsockopt(zmq.EVENTS)) & zmq.POLLIN:
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
        socket.setsockopt(zmq.HANDSHAKE_IVL, 2000)
        socket.setsockopt(zmq.RECONNECT_IVL, 100)
        socket.setsockopt(zmq.RECONNECT_IVL_MAX, 1000)
        self._socket = socket
        self._monitor = socket.get_monitor_socket(_WATCHED)
        self._loop.add_reader(socket, self._drain)
        self._loop.add_reader(self._monitor, self._drain_monitor)
        # A descriptor signals only after a read that found nothing.
        self._loop.call_soon(self._drain)
        self._loop.call_soon(self._drain_monitor)
        _attach(socket, self._endpoint)

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
        self._peers, self._shook_hands = 0, False
        self._socket = self._monitor = None

    def _drain(self) -> None:
        for _ in range(DRAIN_BATCH):
            if self._socket is None:
                return
            try:
                frames = self._socket.recv_multipart(zmq.NOBLOCK)
            except zmq.Again:
                return
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
            self._monitored(int(parse_monitor_message(frames)["event"]))

    def _monitored(self, event: int) -> None:
        match event:
            case zmq.EVENT_CONNECTED | zmq.EVENT_ACCEPTED:
                self._peers += 1
                self._judge_link()
            case zmq.EVENT_HANDSHAKE_SUCCEEDED:
                self._shook_hands = True
                self._judge_link()
            case zmq.EVENT_DISCONNECTED:
                if not self._shook_hands:
                    self._reopen_later()  # a peer of a wrong kind: libzmq would not try again
                self._peers -= 1
                self._shook_hands &= self._peers > 0
                self._judge_link()
            case zmq.EVENT_HANDSHAKE_FAILED_PROTOCOL | zmq.EVENT_HANDSHAKE_FAILED_AUTH:
                log.warning("terminal_handshake_failed endpoint=%s", self._endpoint)
                self._reopen_later()
            case _:
                log.debug("terminal_monitor event=%d", event)

    def _reopen_later(self) -> None:
        """Open a new socket soon, unless it only listens: a stranger came to it then."""
        listens = self._endpoint.startswith("tcp://*")
        if self._reopening is None and self._loop is not None and not listens:
            self._reopening = self._loop.call_later(REOPEN_AFTER_S, self.reconnect)

    def _judge_link(self) -> None:
        """Accept exactly one terminal: a DEALER would hand frames to several in turn."""
        if self._peers > 1:
            log.error("terminals_connected count=%d endpoint=%s", self._peers, self._endpoint)
        self._set_link(self._peers == 1 and self._shook_hands)

    def _set_link(self, linked: bool) -> None:
        if linked and self._reopening is not None:
            self._reopening.cancel()
            self._reopening = None
        if linked is not self._linked:
            self._linked = linked
            self._on_link(linked)


class ZmqFeed:
    """A SUB socket: everything that the terminal publishes, in batches."""

    def __init__(self, endpoint: str) -> None:
        self._endpoint = endpoint
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
        socket.setsockopt(zmq.HEARTBEAT_IVL, 1000)
        socket.setsockopt(zmq.HEARTBEAT_TIMEOUT, 3000)
        socket.setsockopt(zmq.RECONNECT_IVL, 100)
        socket.setsockopt(zmq.RECONNECT_IVL_MAX, 1000)
        socket.setsockopt(zmq.SUBSCRIBE, b"")
        self._socket = socket
        self._loop.add_reader(socket, self._drain)
        self._loop.call_soon(self._drain)
        _attach(socket, self._endpoint)

    def close(self) -> None:
        """Stop listening."""
        if self._socket is not None:
            self._loop.remove_reader(self._socket)
            self._socket.close(0)
            self._socket = None
        if self._context is not None:
            self._context.term()

    def _drain(self) -> None:
        """Read one batch. Two plain `recv` cost a third of one `recv_multipart`."""
        if self._socket is None:
            return
        receive, batch = self._socket.recv, []
        try:
            for _ in range(DRAIN_BATCH):
                topic = receive(zmq.NOBLOCK)
                if self._socket.getsockopt(zmq.RCVMORE):
                    batch.append((topic, receive(zmq.NOBLOCK)))
                while self._socket.getsockopt(zmq.RCVMORE):
                    receive(zmq.NOBLOCK)  # nothing of ours has more than two frames
        except zmq.Again:
            pass
        else:
            self._loop.call_soon(self._drain)
        if batch:
            self._on_messages(batch)
