"""ZeroMQ in front of a pipe, so that what speaks to GatewayCommands can speak to GatewayPipe.

The pipe is the gateway's own. What cannot be a line's object, such as several frames, is not for
it: see `fits_a_line`.
"""

from __future__ import annotations

import asyncio
import contextlib
import threading
from collections import deque
from collections.abc import Callable, Sequence
from typing import Any

import zmq
import zmq.asyncio

from gateway.metrics import Metrics
from gateway.terminal.pipe import Pipe
from gateway.terminal.wire import Wire

PATIENCE_S = 10.0


def pipe_wire(name: str) -> Wire:
    """Make the gateway's own end of a pipe."""
    return Pipe(name, Metrics(), lambda *_: None).wire


def fits_a_line(frames: Sequence[bytes]) -> bool:
    """Tell whether a message can be sent through a pipe."""
    return len(frames) == 1 and frames[0].startswith(b"{") and b"\n" not in frames[0]


class PipeFront:
    """A ROUTER and a pipe in a loop of their own thread; requests wait for the pipe's program.

    Args:
        make_wire: Makes the pipe's end.

    Attributes:
        endpoint: Where a REQ or DEALER finds the program.
    """

    def __init__(self, make_wire: Callable[[], Wire]) -> None:
        self.endpoint = ""
        self._make_wire = make_wire
        self._loop = asyncio.new_event_loop()
        self._is_listening = threading.Event()
        self._envelopes: dict[bytes, list[bytes]] = {}
        self._waiting: deque[tuple[bytes, bytes]] = deque()
        self._is_linked = False
        self._thread = threading.Thread(target=self._main, daemon=True, name="pipe-front")
        self._thread.start()
        if not self._is_listening.wait(PATIENCE_S):
            raise TimeoutError("the front does not come up")

    def _main(self) -> None:
        asyncio.set_event_loop(self._loop)
        with contextlib.suppress(asyncio.CancelledError):
            self._running = self._loop.create_task(self._run())
            self._loop.run_until_complete(self._running)
        self._loop.close()

    async def _run(self) -> None:
        context = zmq.asyncio.Context()
        self._socket: Any = context.socket(zmq.ROUTER)
        self._socket.linger = 0
        port = self._socket.bind_to_random_port("tcp://127.0.0.1")
        self.endpoint = f"tcp://127.0.0.1:{port}"
        self._wire = self._make_wire()
        self._wire.open(self._reply, self._linked)
        self._is_listening.set()
        try:
            while True:
                self._request(await self._socket.recv_multipart())
        finally:
            self._wire.close()
            context.destroy(linger=0)
            await asyncio.sleep(0)

    def _request(self, frames: list[bytes]) -> None:
        end = frames.index(b"", 1) + 1
        assert fits_a_line(frames[end:]), frames
        correlation = b"f%d" % (len(self._envelopes) + 1)
        self._envelopes[correlation] = frames[:end]
        self._waiting.append((correlation, frames[end]))
        self._send_waiting()

    def _linked(self, is_linked: bool) -> None:
        self._is_linked = is_linked
        self._send_waiting()

    def _send_waiting(self) -> None:
        while self._is_linked and self._waiting:
            assert self._wire.send(*self._waiting.popleft())

    def _reply(self, correlation: bytes, body: bytes) -> None:
        # A ROUTER takes what has room, and tests leave room.
        future = self._socket.send_multipart([*self._envelopes[correlation], body])
        assert future.done()

    def close(self) -> None:
        """Close both ends."""
        self._loop.call_soon_threadsafe(self._running.cancel)
        self._thread.join(PATIENCE_S)
