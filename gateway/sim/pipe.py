"""The terminal's end of a gateway's pipe: requests in; replies, ticks and events out, as lines.

Source: docs/protocol.md, "The pipe".
"""

import asyncio
import json
import re
import sys

from gateway.sim.channel import Message
from gateway.sim.publisher import Publisher
from gateway.sim.wire import Body

PING_S = 0.5
SILENT_AFTER_S = 3.0
FIRST_RETRY_S = 0.02
LONGEST_RETRY_S = 0.5
LONGEST_LINE = 2**20
_REQUEST = re.compile(rb'\{"kind":"request","correlation":"([^"]*)",?')


class PipeLink:
    """Open the pipe, and open it again whenever it is lost."""

    def __init__(self, address: str) -> None:
        r"""Prepare; `run` does it.

        Args:
            address: Such as `\\.\pipe\mt4`, or the path of a Unix socket.
        """
        self.address = address
        self.requests: asyncio.Queue[Message] = asyncio.Queue()
        self.is_open = asyncio.Event()
        self._connection = 0
        self._writer: asyncio.StreamWriter | None = None

    async def run(self) -> None:
        """Keep the pipe open until cancelled."""
        retry_s = FIRST_RETRY_S
        while True:
            try:
                reader, self._writer = await _open(self.address)
            except OSError:
                await asyncio.sleep(retry_s)
                retry_s = min(2 * retry_s, LONGEST_RETRY_S)
                continue
            retry_s = FIRST_RETRY_S
            self._connection += 1
            try:
                await self._talk(reader)
            finally:
                self.close()

    async def _talk(self, reader: asyncio.StreamReader) -> None:
        self.write(_line({"kind": "open", "role": "terminal", "program": "mt4-gateway sim"}))
        pinging = asyncio.create_task(self._ping(), name="sim-pings")
        try:
            while (line := await _read_line(reader)).endswith(b"\n"):
                self._take(line)
        except (TimeoutError, OSError, ValueError):
            pass  # silent, gone, or a line without an end: a new connection is the answer to all
        finally:
            pinging.cancel()

    def _take(self, line: bytes) -> None:
        if match := _REQUEST.match(line):
            envelope = [b"%d" % self._connection, match[1], b""]
            self.requests.put_nowait(Message(envelope, [b"{" + line[match.end() :].rstrip()]))
        elif json.loads(line).get("kind") == "opened":
            self.is_open.set()

    async def _ping(self) -> None:
        while True:
            await asyncio.sleep(PING_S)
            self.write(_line({"kind": "ping"}))

    def write(self, line: bytes) -> None:
        """Send a line, if the pipe is open."""
        if self._writer is not None and not self._writer.is_closing():
            self._writer.write(line)

    def is_from_now(self, message: Message) -> bool:
        """Tell whether a request came over the connection that is there now."""
        return self._writer is not None and message.envelope[0] == b"%d" % self._connection

    def close(self) -> None:
        """Hang up; what is queued is gone."""
        self.is_open.clear()
        if self._writer is not None:
            self._writer.transport.abort()
            self._writer = None


class PipeChannel:
    """Requests and replies over the link."""

    def __init__(self, link: PipeLink) -> None:
        """Use the link."""
        self._link = link
        self.endpoint = link.address

    async def receive(self) -> Message:
        """Wait for the next request."""
        return await self._link.requests.get()

    async def reply(self, message: Message, body: bytes) -> bool:
        """Send the reply to a request; False if who asked has gone."""
        if not self._link.is_from_now(message):
            return False
        head = b'{"kind":"reply","correlation":"%s"' % message.correlation
        comma = b"" if body == b"{}" else b","
        self._link.write(head + comma + body[1:] + b"\n")
        return True


class PipePublisher(Publisher):
    """Ticks and events over the link."""

    def __init__(self, link: PipeLink) -> None:
        """Use the link."""
        super().__init__()
        self._link = link
        self.endpoint = None
        self.has_tick_subscriber = link.is_open

    async def run(self) -> None:
        """Keep the link until cancelled."""
        await self._link.run()

    async def _send(self, topic: str, body: Body) -> None:
        self._link.write(_line({"kind": topic.partition(".")[0], **body}))

    def close(self) -> None:
        """Hang up."""
        self._link.close()


class PipeEnds:
    """What a terminal has instead of two sockets."""

    def __init__(self, address: str) -> None:
        """Prepare both; nothing is opened yet."""
        link = PipeLink(address)
        self.channel = PipeChannel(link)
        self.publisher = PipePublisher(link)

    def close(self) -> None:
        """Hang up."""
        self.publisher.close()


async def _read_line(reader: asyncio.StreamReader) -> bytes:
    async with asyncio.timeout(SILENT_AFTER_S):
        return await reader.readline()


def _line(body: Body) -> bytes:
    return json.dumps(body, separators=(",", ":")).encode() + b"\n"


if sys.platform == "win32":

    async def _open(address: str) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        loop = asyncio.get_running_loop()
        assert isinstance(loop, asyncio.ProactorEventLoop)
        reader = asyncio.StreamReader(LONGEST_LINE)
        protocol = asyncio.StreamReaderProtocol(reader)
        transport, _ = await loop.create_pipe_connection(lambda: protocol, address)
        return reader, asyncio.StreamWriter(transport, protocol, reader, loop)

else:

    async def _open(address: str) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        return await asyncio.open_unix_connection(address, limit=LONGEST_LINE)
