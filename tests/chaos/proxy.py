"""A proxy that cuts, stalls and delays, and can read along what passes: of TCP, or of a pipe."""

from __future__ import annotations

import asyncio
import contextlib
import json
import re
import time
from collections.abc import Callable
from typing import Any

from gateway.terminal.pipe_name import listen, pipe_address
from tests.chaos.history import Frame

UP, DOWN = "up", "down"
"""Directions: up is from whoever has connected to the proxy."""

_CHUNK_BYTES = 65_536
Listener = Callable[[bytes], None]
Streams = tuple[asyncio.StreamReader, asyncio.StreamWriter]


class Proxy:
    """One link: a port of its own in front of another port on loopback.

    What has been accepted is delivered, late maybe, even when its sender has died meanwhile: so
    does a network.

    Attributes:
        listened: The direction that is read along.
    """

    listened = UP

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
        try:
            there, back = await self.open_target()
        except OSError:
            writer.transport.abort()
            return
        await self.join(reader, writer, there, back)

    async def open_target(self) -> Streams:
        """Connect to what is behind.

        Raises:
            OSError: It is not there, or cut off.
        """
        if self._is_cut:
            raise ConnectionRefusedError("cut")
        return await asyncio.open_connection("127.0.0.1", self._target_port)

    async def join(
        self,
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
        there: asyncio.StreamReader,
        back: asyncio.StreamWriter,
    ) -> None:
        """Pass on what comes, both ways, until one end hangs up."""
        self._writers |= {writer, back}
        listeners: dict[str, Listener] = {UP: _ignore, DOWN: _ignore}
        if self.new_listener is not None:
            listeners[self.listened] = self.new_listener()
        try:
            await asyncio.gather(
                self._pump(reader, back, UP, listeners[UP]),
                self._pump(there, writer, DOWN, listeners[DOWN]),
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


class PipeProxy(Proxy):
    """The link of one gateway's pipe; see `FrontDoor`, which the terminal opens."""

    listened = DOWN

    def __init__(self, name: str, pipe_name: str) -> None:
        super().__init__(name, 0)
        self._pipe_name = pipe_name

    async def start(self) -> None:
        """Do nothing: the front door brings who comes."""

    async def open_target(self) -> Streams:
        """Connect to the gateway's pipe.

        Raises:
            OSError: It is not there, or cut off.
        """
        if self._is_cut:
            raise ConnectionRefusedError("cut")
        return await asyncio.open_unix_connection(pipe_address(self._pipe_name))


class FrontDoor:
    """The pipe that the terminal opens: in front of that of whichever gateway has one now."""

    def __init__(self, name: str, proxies: list[PipeProxy]) -> None:
        self._name = name
        self._proxies = proxies
        self._links: set[asyncio.Task[None]] = set()

    async def start(self) -> None:
        """Listen."""
        self._listening = await listen(self._name, self._client)

    async def close(self) -> None:
        """Let nobody in any more."""
        self._listening.close()
        for link in self._links:
            link.cancel()
        await asyncio.gather(*self._links, return_exceptions=True)

    def _client(self) -> asyncio.Protocol:
        return asyncio.StreamReaderProtocol(asyncio.StreamReader(), self._accepted)

    def _accepted(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        link = asyncio.get_running_loop().create_task(self._serve(reader, writer))
        self._links.add(link)
        link.add_done_callback(self._links.discard)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            for proxy in self._proxies:
                try:
                    there, back = await proxy.open_target()
                except OSError:
                    continue
                # A frozen gateway still has its pipe: who comes back from it tries the other first.
                self._proxies.remove(proxy)
                self._proxies.append(proxy)
                await proxy.join(reader, writer, there, back)
                return
        finally:
            writer.transport.abort()


def _ignore(_: bytes) -> None:
    pass


_TRADE_START = re.compile(
    rb'\{(?:"kind":"request","correlation":"[^"]*",)?"action": ?"(?:DO_|RESOLVE)'
)
_LONGEST_START = 100
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
