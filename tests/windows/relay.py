"""The gateway's end of pipes, on Windows, for a test that runs elsewhere.

    python -m tests.windows.relay PORT

Connects to a port on loopback and does what it is told there, one line each: `open NAME`,
`send NAME CORRELATION BODY`, `close NAME`. It says `link NAME 0` or `1`, and
`reply NAME CORRELATION BODY`. Bodies are base64.
"""

from __future__ import annotations

import asyncio
import base64
import sys

from gateway.metrics import Metrics
from gateway.terminal.pipe import Pipe, PipeWire

LONGEST_LINE = 2**24


class Relay:
    """Every pipe that was asked for."""

    def __init__(self, writer: asyncio.StreamWriter) -> None:
        self._writer = writer
        self._wires: dict[bytes, PipeWire] = {}

    def do(self, verb: bytes, name: bytes, *words: bytes) -> None:
        """Do what one line says."""
        if verb == b"open":
            self._open(name)
        elif verb == b"send":
            self._wires[name].send(words[0], base64.b64decode(words[1]))
        else:
            self._wires.pop(name).close()

    def _open(self, name: bytes) -> None:
        def replied(correlation: bytes, body: bytes) -> None:
            self._say(b"reply %s %s %s" % (name, correlation, base64.b64encode(body)))

        def linked(is_linked: bool) -> None:
            self._say(b"link %s %d" % (name, is_linked))

        wire = self._wires[name] = Pipe(name.decode(), Metrics(), lambda *_: None).wire
        wire.open(replied, linked)

    def _say(self, line: bytes) -> None:
        self._writer.write(line + b"\n")


async def main(port: str) -> None:
    """Serve until the connection ends."""
    reader, writer = await asyncio.open_connection("127.0.0.1", int(port), limit=LONGEST_LINE)
    relay = Relay(writer)
    while line := await reader.readline():
        relay.do(*line.split())


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))
