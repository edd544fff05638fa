"""A program at the other end of the gateway's pipe, as bare as can be."""

from __future__ import annotations

import asyncio
import json
import re
import sys
from types import TracebackType
from typing import Any, Self

from gateway.terminal.pipe_name import pipe_address

PATIENCE_S = 10.0
_REQUEST = re.compile(rb'\{"kind":"request","correlation":"([^"]+)",?')


async def open_pipe(name: str) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    """Open the gateway's pipe; wait for it if need be."""
    async with asyncio.timeout(PATIENCE_S):
        while True:
            try:
                return await _open(pipe_address(name))
            except OSError:
                await asyncio.sleep(0.005)


if sys.platform == "win32":

    async def _open(address: str) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        loop = asyncio.get_running_loop()
        assert isinstance(loop, asyncio.ProactorEventLoop)
        reader = asyncio.StreamReader()
        protocol = asyncio.StreamReaderProtocol(reader)
        transport, _ = await loop.create_pipe_connection(lambda: protocol, address)
        return reader, asyncio.StreamWriter(transport, protocol, reader, loop)

else:

    async def _open(address: str) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        return await asyncio.open_unix_connection(address)


class PipeEnd:
    """One connection.

    Attributes:
        role: Of its first line; None says nothing.
    """

    def __init__(self, name: str, role: str | None = "terminal") -> None:
        self._name = name
        self.role = role

    async def __aenter__(self) -> Self:
        """Open the pipe, and say what for."""
        self._reader, self.writer = await open_pipe(self._name)
        if self.role is not None:
            self.say({"kind": "open", "role": self.role, "program": "test"})
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Hang up."""
        self.writer.transport.abort()

    def say(self, *lines: dict[str, Any] | bytes) -> None:
        """Write lines."""
        for line in lines:
            written = line if isinstance(line, bytes) else json.dumps(line).encode()
            self.writer.write(written + b"\n")

    async def line(self) -> bytes:
        """Return the next line, b"" at the end."""
        async with asyncio.timeout(PATIENCE_S):
            return await self._reader.readline()

    async def next(self, *kinds: str) -> dict[str, Any]:
        """Return the next line of one of these kinds."""
        while line := await self.line():
            said: dict[str, Any] = json.loads(line)
            if said["kind"] in kinds:
                return said
        raise EOFError

    async def request(self) -> tuple[str, dict[str, Any]]:
        """Return the next request's correlation and the object that it carries."""
        while line := await self.line():
            if found := _REQUEST.match(line):
                return found[1].decode(), json.loads(b"{" + line[found.end() :])
        raise EOFError

    async def is_over(self) -> bool:
        """Read to the end, and tell that there is one."""
        try:
            while await self.line():
                pass
        except ConnectionError:
            pass
        return True
