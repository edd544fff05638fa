"""A small read-only HTTP server: one request a connection, few connections, none for long.

h11 reads and writes HTTP; what is ours is who may stay. Beyond the limit the oldest connection
has to go, for a scrape is always among the newest: a hundred silent ones never stop it.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from email.utils import formatdate
from http import HTTPStatus

import h11

from gateway.errors import ConfigError

MAX_CONNECTIONS = 64
LIFETIME_S = 10.0
"""One connection carries one request and is cut after this, whatever it is doing."""

MAX_HEAD_BYTES = 16_384
READ_BYTES = 4096

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
                self._connected, host.strip("[]"), int(port), start_serving=False
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
        connection = h11.Connection(h11.SERVER, max_incomplete_event_size=MAX_HEAD_BYTES)
        is_head = False
        try:
            while (event := connection.next_event()) is h11.NEED_DATA:
                connection.receive_data(await reader.read(READ_BYTES))
            if not isinstance(event, h11.Request):
                return  # it hung up
            is_head = event.method == b"HEAD"
            answer = await self._answer(event)
        except h11.RemoteProtocolError as exc:
            answer = Answer(b"this is no HTTP request\n", status=HTTPStatus(exc.error_status_hint))
        head = h11.Response(
            status_code=answer.status,
            reason=answer.status.phrase.encode(),
            headers=[
                ("Date", formatdate(usegmt=True)),
                ("Content-Type", answer.content_type),
                ("Content-Length", str(len(answer.body))),
                ("Connection", "close"),
                *answer.headers,
                *self._headers,
            ],
        )
        if writer.transport.is_closing():
            return  # it was cut, or has gone; uvloop would raise
        writer.write(connection.send(head) or b"")
        if not is_head:
            writer.write(connection.send(h11.Data(answer.body)) or b"")
        await writer.drain()

    async def _answer(self, request: h11.Request) -> Answer:
        """Route a request; a mistake of ours is logged and told as one."""
        route = self._routes.get(request.target.partition(b"?")[0].decode("latin-1"))
        if route is None:
            paths = " ".join(self._routes)
            return Answer(f"try one of {paths}\n".encode(), status=HTTPStatus.NOT_FOUND)
        if request.method not in (b"GET", b"HEAD"):
            allowed = (("Allow", "GET, HEAD"),)
            return Answer(b"read only\n", status=HTTPStatus.METHOD_NOT_ALLOWED, headers=allowed)
        accept = dict(request.headers).get(b"accept", b"").decode("latin-1")
        try:
            return await route(accept)
        except Exception:
            log.exception("http_failed target=%r", request.target[:80])
            return Answer(b"", status=HTTPStatus.INTERNAL_SERVER_ERROR)
