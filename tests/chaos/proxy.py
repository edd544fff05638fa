"""A TCP proxy that cuts, stalls and delays, and can read along what passes."""

from __future__ import annotations

import asyncio
import contextlib
import json
import re
import time
from collections.abc import Callable
from typing import Any

from tests.chaos.history import Frame

UP, DOWN = "up", "down"
"""Directions: up is from whoever has connected to the proxy."""

_CHUNK_BYTES = 65_536
Listener = Callable[[bytes], None]


class Proxy:
    """One link: a port of its own in front of another port on loopback.

    What has been accepted is delivered, late maybe, even when its sender has died meanwhile: so
    does a network.
    """

    def __init__(self, name: str, target_port: int) -> None:
        self.name = name
        self.port = 0
        self._target_port = target_port
        self._is_cut = False
        self._open = {UP: asyncio.Event(), DOWN: asyncio.Event()}
        self._delay_s = 0.0
        self._server: asyncio.Server | None = None
        self._links: set[asyncio.Task[None]] = set()
        self._writers: set[asyncio.StreamWriter] = set()
        self.new_listener: Callable[[], Listener] | None = None
        for gate in self._open.values():
            gate.set()

    async def start(self) -> None:
        """Listen."""
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        self.port = self._server.sockets[0].getsockname()[1]

    async def close(self) -> None:
        """Cut for good."""
        if self._server is not None:
            self._server.close()
        self.cut()
        for gate in self._open.values():
            gate.set()
        await asyncio.gather(*self._links, return_exceptions=True)

    # ---- what can go wrong ----------------------------------------------------------------

    def cut(self) -> None:
        """Reset every connection and refuse new ones."""
        self._is_cut = True
        for writer in list(self._writers):
            writer.transport.abort()

    def stall(self, direction: str) -> None:
        """Let nothing pass in one direction; it passes later."""
        self._open[direction].clear()

    def delay(self, delay_s: float) -> None:
        """Hold everything up for so long."""
        self._delay_s = delay_s

    def heal(self) -> None:
        """Let everything pass."""
        self._is_cut = False
        self._delay_s = 0.0
        for gate in self._open.values():
            gate.set()

    # ---- the link -------------------------------------------------------------------------

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        if task is not None:
            self._links.add(task)
            task.add_done_callback(self._links.discard)
        if self._is_cut:
            writer.transport.abort()
            return
        try:
            there, back = await asyncio.open_connection("127.0.0.1", self._target_port)
        except OSError:
            writer.transport.abort()
            return
        self._writers |= {writer, back}
        listener = self.new_listener() if self.new_listener else _ignore
        try:
            await asyncio.gather(
                self._pump(reader, back, UP, listener), self._pump(there, writer, DOWN, _ignore)
            )
        finally:
            for end in (writer, back):
                self._writers.discard(end)
                end.transport.abort()

    async def _pump(
        self,
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
        direction: str,
        listener: Listener,
    ) -> None:
        with contextlib.suppress(OSError):
            while chunk := await reader.read(_CHUNK_BYTES):
                listener(chunk)
                if self._delay_s:
                    await asyncio.sleep(self._delay_s)
                await self._open[direction].wait()
                if writer.transport.is_closing():
                    return
                writer.write(chunk)
                await writer.drain()
        writer.close()


def _ignore(_: bytes) -> None:
    pass


_TRADE_START = re.compile(rb'\{"action": ?"(?:DO_|RESOLVE)')
_LONGEST_START = 20
"""A frame's beginning that is cut by the end of a chunk is at most so long."""

_decode = json.JSONDecoder().raw_decode


class FrameReader:
    """Read trades and RESOLVEs out of a gateway's bytes to its terminal."""

    def __init__(self, gateway: str, note: Callable[[Frame], None]) -> None:
        self._gateway = gateway
        self._note = note
        self._rest = b""

    def __call__(self, chunk: bytes) -> None:
        """Take in the next bytes of the stream."""
        stream, end = self._rest + chunk, 0
        for found in _TRADE_START.finditer(stream):
            try:
                body, length = _decode(stream[found.start() :].decode("latin-1"))
            except ValueError:
                self._rest = stream[found.start() :]  # the rest of this frame is to come
                return
            end = found.start() + length
            self._note(self._frame(body))
        self._rest = stream[max(end, len(stream) - _LONGEST_START) :]

    def _frame(self, body: dict[str, Any]) -> Frame:
        return Frame(
            time.time_ns(),
            self._gateway,
            body["id"],
            body["action"],
            body["attempt"],
            body.get("epoch", 0),
        )
