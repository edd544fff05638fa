"""A small read-only HTTP server: one request a connection, few connections, none for long.

Python's `http.server` reads and writes HTTP; what is ours is who may stay. Beyond the limit the
oldest connection has to go, for a scrape is always among the newest: a hundred silent ones never
stop it.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Iterable, Mapping
from dataclasses import dataclass
from http import HTTPStatus
from http.client import HTTPMessage
from http.server import BaseHTTPRequestHandler
from io import BytesIO

from gateway.errors import ConfigError

MAX_CONNECTIONS = 64
LIFETIME_S = 10.0
"""One connection carries one request and is cut after this, whatever it is doing."""

MAX_HEAD_BYTES = 16_384
END_OF_HEAD = b"\r\n\r\n"

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Answer:
    """What a path answers."""

    body: bytes
    content_type: str = "text/plain; charset=utf-8"
    status: HTTPStatus = HTTPStatus.OK
    headers: tuple[tuple[str, str], ...] = ()


Route = Callable[[str], Awaitable[Answer]]
"""Answers a GET; is given the request's `Accept`."""


class HttpServer:
    """Serve a few paths.

    Args:
        routes: By path. HEAD is GET without the body; there is no other method.
        headers: Of every answer.
    """

    def __init__(self, routes: Mapping[str, Route], headers: Mapping[str, str]) -> None:
        self._routes = routes
        self._headers = list(headers.items())
        self._server: asyncio.Server | None = None
        self._connections: dict[asyncio.StreamWriter, None] = {}  # the oldest first

    async def start(self, address: str) -> str:
        """Listen on `HOST:PORT`, port 0 for a free one; return the real address.

        Raises:
            ConfigError: It cannot be listened on.
        """
        host, _, port = address.rpartition(":")
        try:
            self._server = await asyncio.start_server(
                self._connected,
                host.strip("[]"),
                int(port),
                limit=MAX_HEAD_BYTES,
                start_serving=False,
            )
            await self._server.start_serving()
        except OSError as exc:
            problem = f"http.address: cannot listen on {address}: {exc.strerror or exc}"
            raise ConfigError([problem]) from exc
        bound_host, bound_port, *_ = self._server.sockets[0].getsockname()
        return f"[{bound_host}]:{bound_port}" if ":" in bound_host else f"{bound_host}:{bound_port}"

    async def stop(self) -> None:
        """Stop listening and cut what is connected."""
        server, self._server = self._server, None
        if server is not None:
            server.close()
            for writer in self._connections:
                writer.transport.abort()
            await server.wait_closed()

    async def _connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if self._server is None:  # it came as we stopped
            writer.transport.abort()
            return
        self._connections[writer] = None
        if len(self._connections) > MAX_CONNECTIONS:
            oldest = next(iter(self._connections))
            del self._connections[oldest]
            oldest.transport.abort()
        try:
            async with asyncio.timeout(LIFETIME_S):
                await self._serve(reader, writer)
                writer.close()
                await writer.wait_closed()
        except (TimeoutError, OSError):
            pass
        finally:
            writer.transport.abort()  # nothing, if it is closed
            self._connections.pop(writer, None)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Read one request and answer it."""
        try:
            exchange = _Exchange(await reader.readuntil(END_OF_HEAD))
        except asyncio.LimitOverrunError:
            exchange = _Exchange(b"", HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE)
        except asyncio.IncompleteReadError:
            return  # it hung up
        written = exchange.written(await self._answer(exchange), self._headers)
        if writer.transport.is_closing():
            return  # it was cut, or has gone; uvloop would raise
        writer.write(written)
        await writer.drain()

    async def _answer(self, request: _Exchange) -> Answer:
        """Route a request; a mistake of ours is logged and told as one."""
        if request.refusal is not None:
            return Answer(b"this is no HTTP request\n", status=request.refusal)
        route = self._routes.get(request.target.partition("?")[0])
        if route is None:
            paths = " ".join(self._routes)
            return Answer(f"try one of {paths}\n".encode(), status=HTTPStatus.NOT_FOUND)
        if request.command not in ("GET", "HEAD"):
            allowed = (("Allow", "GET, HEAD"),)
            return Answer(b"read only\n", status=HTTPStatus.METHOD_NOT_ALLOWED, headers=allowed)
        try:
            return await route(request.headers.get("Accept", ""))
        except Exception:
            log.exception("http_failed target=%r", request.target[:80])
            return Answer(b"", status=HTTPStatus.INTERNAL_SERVER_ERROR)


class _Headers(HTTPMessage):
    """What `email` takes for the head of a text, so that it looks for no parts: that takes long."""

    def get_content_type(self) -> str:
        return "text/plain"


class _Exchange(BaseHTTPRequestHandler):
    """A request and its answer, as the standard library reads and writes them, in memory.

    Args:
        head: The request line and the headers.
        refusal: Why it is not even read.
    """

    protocol_version = default_request_version = "HTTP/1.1"
    MessageClass = _Headers

    def __init__(self, head: bytes, refusal: HTTPStatus | None = None) -> None:
        # Not the base class's __init__: it would serve a socket.
        self.refusal = refusal
        self.command, self.request_version = "", self.protocol_version
        self.rfile = BytesIO(head)
        self.wfile = self._written = BytesIO()
        self.raw_requestline = self.rfile.readline()
        if refusal is None:
            # A bare CR ends a line to `email` alone, so what it reads here may have many more.
            is_plain = b"\r" not in head.replace(b"\r\n", b"")
            is_read = is_plain and self.parse_request() and not self.headers.defects
            self.refusal = self.refusal or (None if is_read else HTTPStatus.BAD_REQUEST)

    @property
    def target(self) -> str:
        """What is asked for, as it was sent; `path` has lost a second slash at its beginning."""
        return self.requestline.split()[1]

    def send_error(self, code: int, message: str | None = None, explain: str | None = None) -> None:
        """Keep what `parse_request` found to be wrong, instead of answering by itself."""
        self.refusal = HTTPStatus(code)

    def written(self, answer: Answer, headers: Iterable[tuple[str, str]]) -> bytes:
        """Write the answer; to HEAD without its body."""
        self.send_response_only(answer.status)
        self.send_header("Date", self.date_time_string())
        self.send_header("Content-Type", answer.content_type)
        self.send_header("Content-Length", str(len(answer.body)))
        self.send_header("Connection", "close")
        for name, value in (*answer.headers, *headers):
            self.send_header(name, value)
        self.end_headers()
        return self._written.getvalue() + (b"" if self.command == "HEAD" else answer.body)
