"""HTTP: metrics, probes, status and a live page. Read-only, and nobody can hold the door.

| Path | Answer |
|---|---|
| `/metrics` | Prometheus text or OpenMetrics, by `Accept` |
| `/healthz` | 200 as long as the event loop turns |
| `/readyz` | 200, or 503 with the reasons: can it serve or take over |
| `/status` | JSON: links, role, queues, last commands, ticks |
| `/` | a page that shows `/status` |

Why not `prometheus_client.start_http_server`: it answers 200 with the metrics on *every* path,
so a probe pointed at it never fails, and each half-sent request holds a thread for ever.
"""

from __future__ import annotations

import asyncio
import json
import logging
import re
import sys
import time
from base64 import b64encode
from collections.abc import Awaitable, Callable
from hashlib import sha256
from pathlib import Path
from typing import Any

from aiohttp import web
from aiohttp.http import HttpProcessingError

from gateway.errors import ConfigError
from gateway.metrics import Metrics, wants_openmetrics

PAGE = Path(__file__).with_name("status.html")

MAX_CONNECTIONS = 64
LIFETIME_S = 10.0
"""One connection carries one request and is cut after this, whatever it is doing."""

STOP_S = 1.0
SWITCH_INTERVAL_S = 0.0005

log = logging.getLogger(__name__)

Route = Callable[[web.BaseRequest], Awaitable[web.Response]]


async def watch_loop_lag(record: Callable[[float], None], interval_s: float = 0.5) -> None:
    """Record for ever how much too late the event loop wakes up, in seconds."""
    while True:
        due_s = time.monotonic() + interval_s  # loop.time() is rounded to 1 ms by uvloop
        await asyncio.sleep(interval_s)
        record(max(0.0, time.monotonic() - due_s))


class StatusServer:
    """The HTTP side of one gateway.

    Args:
        address: `HOST:PORT`; port 0 takes a free one. Nothing else is listened on.
        status: Called on the loop for each `/status`; what it returns becomes JSON.
        readiness: Called on the loop for each `/readyz`: why not ready; empty when ready.
    """

    def __init__(
        self,
        address: str,
        metrics: Metrics,
        status: Callable[[], dict[str, Any]],
        readiness: Callable[[], list[str]],
    ) -> None:
        self.address = address
        self._metrics = metrics
        self._status = status
        self._readiness = readiness
        self._page = PAGE.read_text(encoding="utf-8")
        self._headers = security_headers(self._page)
        self._renderings: dict[bool, asyncio.Future[tuple[bytes, str]]] = {}
        self._runner: web.ServerRunner | None = None
        self._routes: dict[str, Route] = {
            "/": self._show_page,
            "/healthz": self._show_health,
            "/metrics": self._show_metrics,
            "/readyz": self._show_readiness,
            "/status": self._show_status,
        }

    async def start(self) -> None:
        """Listen.

        Raises:
            ConfigError: The address cannot be listened on.
        """
        # The thread that renders metrics must let go of the interpreter for the loop, and does
        # so after 5 ms by default. The largest gap in the loop during 40 scrapes of 50 symbols
        # (62 kB, on a slow machine, three runs): 17 to 27 ms rendered on the loop, 7 to 16 in a
        # thread, 5 to 8 with 0.5 ms; 1 to 4 without scrapes. It costs nothing between scrapes.
        sys.setswitchinterval(SWITCH_INTERVAL_S)
        server = _Server(self._answer, access_log=None, logger=log, lingering_time=0)
        self._runner = web.ServerRunner(server, shutdown_timeout=STOP_S)
        await self._runner.setup()
        host, _, port = self.address.rpartition(":")
        try:
            await web.TCPSite(self._runner, host.strip("[]"), int(port)).start()
        except OSError as exc:
            await self._runner.cleanup()
            problem = f"http.address: cannot listen on {self.address}: {exc.strerror or exc}"
            raise ConfigError([problem]) from exc
        bound_host, bound_port, *_ = self._runner.addresses[0]
        self.address = f"[{bound_host}]" if ":" in bound_host else bound_host
        self.address += f":{bound_port}"

    async def stop(self) -> None:
        """Stop listening and cut what is connected; a request in work has a second to end."""
        if self._runner is not None:
            await self._runner.cleanup()
            self._runner = None

    async def render(self, accept: str) -> tuple[bytes, str]:
        """Render the metrics in a thread; who asks for the same format meanwhile shares it.

        Args:
            accept: The request's `Accept` header.

        Returns:
            The body and its content type.
        """
        key = wants_openmetrics(accept)
        rendering = self._renderings.get(key)
        if rendering is None:
            loop = asyncio.get_running_loop()
            rendering = loop.run_in_executor(None, self._metrics.render, accept)
            rendering.add_done_callback(lambda _: self._renderings.pop(key))
            self._renderings[key] = rendering
        return await asyncio.shield(rendering)  # one who hangs up takes nothing from the others

    async def _answer(self, request: web.BaseRequest) -> web.StreamResponse:
        route = self._routes.get(request.path)
        if route is None:
            response = web.Response(status=404, text=f"try one of {' '.join(self._routes)}\n")
        elif request.method not in ("GET", "HEAD"):
            response = web.Response(status=405, headers={"Allow": "GET, HEAD"})
        else:
            response = await route(request)
        response.headers.update(self._headers)
        response.force_close()
        return response

    async def _show_metrics(self, request: web.BaseRequest) -> web.Response:
        body, content_type = await self.render(request.headers.get("Accept", ""))
        return web.Response(body=body, headers={"Content-Type": content_type})

    async def _show_health(self, _: web.BaseRequest) -> web.Response:
        # Always 200: a stuck loop cannot answer at all, and the probe's timeout says so. A loop
        # that was stuck and turns again is alive; killing it for its past would make an outage
        # out of a pause. The last lag is there to be read.
        return _json({"loop_lag_s": self._metrics.loop_lag_s})

    async def _show_readiness(self, _: web.BaseRequest) -> web.Response:
        reasons = self._readiness()
        return _json({"ready": not reasons, "reasons": reasons}, 503 if reasons else 200)

    async def _show_status(self, _: web.BaseRequest) -> web.Response:
        return _json(self._status())

    async def _show_page(self, _: web.BaseRequest) -> web.Response:
        return web.Response(text=self._page, content_type="text/html")


class _Server(web.Server):
    """Keeps connections few and short, so that a hundred silent ones never stop a scrape.

    Beyond the limit the oldest has to go, for a scrape is always among the newest. aiohttp
    itself limits neither their number nor the time that a request's head may take.
    """

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._deadlines: dict[web.RequestHandler, asyncio.TimerHandle] = {}

    def connection_made(self, handler: web.RequestHandler, transport: asyncio.Transport) -> None:
        """Note a connection and when to cut it; make room for it."""
        super().connection_made(handler, transport)
        loop = asyncio.get_running_loop()
        self._deadlines[handler] = loop.call_later(LIFETIME_S, transport.abort)
        if len(self._deadlines) > MAX_CONNECTIONS:
            self._cut(next(iter(self._deadlines)))

    def connection_lost(
        self, handler: web.RequestHandler, exc: BaseException | None = None
    ) -> None:
        """Forget a connection."""
        super().connection_lost(handler, exc)
        if (deadline := self._deadlines.pop(handler, None)) is not None:
            deadline.cancel()

    def _cut(self, handler: web.RequestHandler) -> None:
        self._deadlines.pop(handler).cancel()
        if handler.transport is not None:
            handler.transport.abort()


def security_headers(page: str) -> dict[str, str]:
    """Return the headers of every answer; only the page's own style and script may run."""
    policy = {
        "default-src": "'none'",
        "style-src": _hash_of(page, "style"),
        "script-src": _hash_of(page, "script"),
        "img-src": "data:",
        "connect-src": "'self'",
        "base-uri": "'none'",
        "form-action": "'none'",
        "frame-ancestors": "'none'",
    }
    return {
        "Cache-Control": "no-store",
        "Content-Security-Policy": "; ".join(f"{name} {rule}" for name, rule in policy.items()),
        "Cross-Origin-Resource-Policy": "same-origin",
        "Referrer-Policy": "no-referrer",
        "Server": "mt4-gateway",
        "X-Content-Type-Options": "nosniff",
    }


def _hash_of(page: str, tag: str) -> str:
    """Name the content of the page's one `<style>` or `<script>`, as a CSP source."""
    (content,) = re.findall(f"<{tag}>(.*?)</{tag}>", page, re.DOTALL)
    return f"'sha256-{b64encode(sha256(content.encode()).digest()).decode()}'"


def _json(value: Any, status: int = 200) -> web.Response:
    return web.json_response(value, status=status, dumps=_dumps)


def _dumps(value: Any) -> str:
    return json.dumps(value, default=str)


def _is_ours(record: logging.LogRecord) -> bool:
    """Tell our errors from strangers' malformed requests: those are answered 400, not logged."""
    return not (record.exc_info and isinstance(record.exc_info[1], HttpProcessingError))


log.addFilter(_is_ours)
