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
import re
import sys
import time
from base64 import b64encode
from collections.abc import Callable
from hashlib import sha256
from http import HTTPStatus
from pathlib import Path
from typing import Any

from gateway.http_server import Answer, HttpServer
from gateway.metrics import Metrics, wants_openmetrics

PAGE = Path(__file__).with_name("status.html")
SWITCH_INTERVAL_S = 0.0005


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
        self._renderings: dict[bool, asyncio.Future[tuple[bytes, str]]] = {}
        routes = {
            "/": self._show_page,
            "/healthz": self._show_health,
            "/metrics": self._show_metrics,
            "/readyz": self._show_readiness,
            "/status": self._show_status,
        }
        self._server = HttpServer(routes, security_headers(self._page))

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
        self.address = await self._server.start(self.address)

    async def stop(self) -> None:
        """Stop listening and cut what is connected."""
        await self._server.stop()

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

    async def _show_metrics(self, accept: str) -> Answer:
        return Answer(*await self.render(accept))

    async def _show_health(self, _: str) -> Answer:
        # Always 200: a stuck loop cannot answer at all, and the probe's timeout says so. A loop
        # that was stuck and turns again is alive; killing it for its past would make an outage
        # out of a pause. The last lag is there to be read.
        return _json({"loop_lag_s": self._metrics.loop_lag_s})

    async def _show_readiness(self, _: str) -> Answer:
        reasons = self._readiness()
        status = HTTPStatus.SERVICE_UNAVAILABLE if reasons else HTTPStatus.OK
        return _json({"ready": not reasons, "reasons": reasons}, status)

    async def _show_status(self, _: str) -> Answer:
        return _json(self._status())

    async def _show_page(self, _: str) -> Answer:
        return Answer(self._page.encode(), "text/html; charset=utf-8")


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


def _json(value: Any, status: HTTPStatus = HTTPStatus.OK) -> Answer:
    return Answer(
        json.dumps(value, default=str).encode(), "application/json; charset=utf-8", status
    )
