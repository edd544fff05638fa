"""A gateway under load, watched by a real Prometheus (and, if wanted, an Alertmanager).

NATS, the simulated terminal, the gateway, Prometheus and Alertmanager are processes; the load is a
client that trades and reads, at a terminal that now and then loses or delays a reply.

    python -m tests.deploy.observed 150 docs/pictures    # draw both dashboards after 150 s
"""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
import sys
import tempfile
import time
import urllib.parse
import urllib.request
from contextlib import ExitStack, suppress
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from threading import Thread
from types import TracebackType
from typing import Any, Self

import yaml

from deploy.draw import draw
from gateway.client import Mt4Client
from gateway.client.errors import ClientError
from tests.deploy.alerts import FILE
from tests.deploy.chart import CHART
from tests.deploy.waiting import wait_until
from tests.support.nats_server import NatsServer
from tests.support.net import free_port

SCRAPE_S = 1
RATE = "15s"
"""What stands for Grafana's rate interval here: enough scrapes, short enough for a test."""

FAULTS = (
    "drop:DO_ORDER_SEND:0.03",
    "drop:GET_ORDERS:0.03",
    "delay:GET_ACCOUNT_INFO:0.03:700ms",
)
SYMBOLS = ["EURUSD", "GBPUSD", "USDJPY"]


class Observed:
    """All of them, for as long as the context lasts.

    Args:
        folder: For their files.
        alarms: Run an Alertmanager too, that tells `received`; alerts wait a second, not minutes.
    """

    def __init__(self, folder: Path, alarms: bool = False) -> None:
        self._folder = folder
        self._alarms = alarms
        self._stack = ExitStack()
        self.processes: dict[str, subprocess.Popen[bytes]] = {}
        self.received: list[dict[str, Any]] = []
        """What the webhook was told: one entry per alert, firing or resolved."""

    def __enter__(self) -> Self:
        try:
            self._start_all()
        except BaseException:
            self.__exit__(None, None, None)
            raise
        return self

    def _start_all(self) -> None:
        self.nats = NatsServer(self._folder)
        self.nats.start()
        self._stack.callback(self.nats.stop)
        self.request, self.tick = free_port(), free_port()
        self.start_terminal()
        self._start_gateway()
        alertmanager = self._start_alertmanager() if self._alarms else None
        self._start_prometheus(alertmanager)

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        for name in list(self.processes):
            self.stop(name)
        self._stack.close()

    def _start(self, name: str, *command: str) -> None:
        own = {key: value for key, value in os.environ.items() if not key.startswith("MT4GW_")}
        with (self._folder / f"{name}.log").open("ab") as log:
            process = subprocess.Popen(command, stdout=log, stderr=log, cwd=self._folder, env=own)
        self.processes[name] = process

    def stop(self, name: str) -> None:
        """End one of the processes."""
        process = self.processes.pop(name)
        process.terminate()
        try:
            process.wait(20)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait(10)

    def said(self, name: str) -> str:
        """Return the end of what one has written."""
        return (self._folder / f"{name}.log").read_text(encoding="utf-8")[-3000:]

    def start_terminal(self) -> None:
        """Start the simulated terminal, also again."""
        self._start(
            "terminal",
            *(sys.executable, "-m", "gateway.sim", "--ledger", str(self._folder / "ledger")),
            *("--request-endpoint", f"tcp://127.0.0.1:{self.request}"),
            *("--tick-endpoint", f"tcp://127.0.0.1:{self.tick}", "--deposit", "1000000"),
            *(f"--fault={fault}" for fault in FAULTS),
        )

    def _start_gateway(self) -> None:
        self.http = free_port()
        config: dict[str, Any] = {
            "terminal": {
                "request_endpoint": f"tcp://127.0.0.1:{self.request}",
                "tick_endpoint": f"tcp://127.0.0.1:{self.tick}",
                "reply_timeout_s": 0.5,
                "patience_s": 1.0,
                "probe_interval_s": 0.5,
                "hang_timeout_s": 3.0,
            },
            "nats": {"servers": [self.nats.url], "round_trip_interval_s": 1.0},
            "ticks": {"symbols": SYMBOLS},
            "policy": {"trading": True},
            "http": {"address": f"127.0.0.1:{self.http}"},
        }
        file = self._folder / "gateway.toml"
        file.write_text(
            "\n".join(
                f"[{section}]\n" + "\n".join(f"{key} = {json.dumps(v)}" for key, v in keys.items())
                for section, keys in config.items()
            ),
            encoding="utf-8",
        )
        self._start("gateway", sys.executable, "-m", "gateway", "run", "--config", str(file))
        wait_until(lambda: self._answers(self.http, "/readyz"), lambda: self.said("gateway"))

    def _start_prometheus(self, alertmanager: str | None) -> None:
        port = free_port()
        self.url = f"http://127.0.0.1:{port}"
        labels = {"terminal": "demo", "namespace": "test"}
        rules = self._folder / "alerts.yaml"
        text = yaml.safe_load(FILE.read_text(encoding="utf-8"))
        for rule in (rule for group in text["groups"] for rule in group["rules"]):
            rule["for"] = "1s" if self._alarms else rule["for"]
        rules.write_text(yaml.safe_dump(text), encoding="utf-8")
        config: dict[str, Any] = {
            "global": {"scrape_interval": f"{SCRAPE_S}s", "evaluation_interval": "1s"},
            "rule_files": [str(rules)],
            "scrape_configs": [
                {
                    "job_name": "mt4-gateway",
                    "static_configs": [
                        {"targets": [f"127.0.0.1:{self.http}"], "labels": labels},
                    ],
                }
            ],
        }
        if alertmanager:
            config["alerting"] = {
                "alertmanagers": [{"static_configs": [{"targets": [alertmanager]}]}]
            }
        file = self._folder / "prometheus.yaml"
        file.write_text(yaml.safe_dump(config), encoding="utf-8")
        self._start(
            "prometheus",
            *("prometheus", f"--config.file={file}", f"--web.listen-address=127.0.0.1:{port}"),
            *(f"--storage.tsdb.path={self._folder / 'tsdb'}", "--log.level=warn"),
            "--enable-feature=exemplar-storage",
        )
        wait_until(lambda: self._answers(port, "/-/ready"), lambda: self.said("prometheus"))

    def _start_alertmanager(self) -> str:
        hook = HTTPServer(("127.0.0.1", 0), _webhook(self.received))
        Thread(target=hook.serve_forever, daemon=True).start()
        self._stack.callback(hook.server_close)
        self._stack.callback(hook.shutdown)
        port = free_port()
        config: dict[str, Any] = {
            "route": {
                "receiver": "hook",
                "group_by": ["alertname"],
                "group_wait": "0s",
                "group_interval": "1s",
            },
            "receivers": [
                {
                    "name": "hook",
                    "webhook_configs": [
                        {"url": f"http://127.0.0.1:{hook.server_port}/", "send_resolved": True}
                    ],
                }
            ],
        }
        file = self._folder / "alertmanager.yaml"
        file.write_text(yaml.safe_dump(config), encoding="utf-8")
        self._start(
            "alertmanager",
            *("prometheus-alertmanager", f"--config.file={file}", "--cluster.listen-address="),
            *(f"--web.listen-address=127.0.0.1:{port}", f"--storage.path={self._folder / 'am'}"),
        )
        wait_until(lambda: self._answers(port, "/-/ready"), lambda: self.said("alertmanager"))
        return f"127.0.0.1:{port}"

    @staticmethod
    def _answers(port: int, path: str) -> bool:
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{port}{path}", timeout=5) as answer:
                return bool(answer.status == 200)
        except OSError:
            return False

    # ---- the load and what was seen --------------------------------------------------------

    def load(self, seconds: float) -> None:
        """Trade and read for so long."""
        asyncio.run(self._load(seconds))
        self.ended_s = time.time()

    async def _load(self, seconds: float) -> None:
        until_s = time.monotonic() + seconds
        async with await Mt4Client.connect(self.nats.url, client="load") as client:
            number = 0
            while time.monotonic() < until_s:
                number += 1
                with suppress(ClientError):
                    await self._work(client, number)

    async def _work(self, client: Mt4Client, number: int) -> None:
        await asyncio.gather(
            client.query("GET_ACCOUNT_INFO"),
            client.query("GET_ORDERS"),
            client.query("GET_SYMBOL_TICK", {"symbol": SYMBOLS[number % 3]}),
        )
        order = await client.order_send(SYMBOLS[number % 3], "BUY", 0.1)
        if order.succeeded:
            await client.order_close(order.response["ticket"])
        if number % 10 == 0:
            await client.order_send("EURUSD", "BUY", 1_000_000)  # refused
        await asyncio.sleep(0.05)  # the pace of the load, not a wait for anything

    def ask(self, path: str, **parameters: object) -> Any:
        """Ask Prometheus' API."""
        query = urllib.parse.urlencode(parameters)
        with urllib.request.urlopen(f"{self.url}/api/v1/{path}?{query}", timeout=20) as answer:
            return json.load(answer)["data"]

    def history(self, expression: str, seconds: float, step_s: float = 1.0) -> Any:
        """Ask a panel's query over the load's last seconds, Grafana's variables filled in."""
        filled = expression.replace("$__rate_interval", RATE).replace("$__range", "1h")
        for name in ("job", "terminal", "instance"):
            filled = filled.replace(f"${name}", ".*")
        end_s = self.ended_s
        found = self.ask("query_range", query=filled, start=end_s - seconds, end=end_s, step=step_s)
        return found["result"]


def _webhook(received: list[dict[str, Any]]) -> type[BaseHTTPRequestHandler]:
    """Make a handler that notes every alert it is told of."""

    class Hook(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            received.extend(json.loads(body)["alerts"])
            self.send_response(200)
            self.end_headers()

        def log_message(self, format: str, *args: object) -> None:
            """Keep quiet."""

    return Hook


def main(seconds: float, pictures: Path) -> None:
    """Run the load and draw the dashboards."""
    os.environ["PATH"] = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    with tempfile.TemporaryDirectory() as folder, Observed(Path(folder)) as observed:
        observed.load(seconds)
        pictures.mkdir(exist_ok=True, parents=True)
        for file in sorted((CHART / "files/dashboards").glob("*.json")):
            dashboard = json.loads(file.read_text(encoding="utf-8"))
            draw(
                dashboard,
                lambda expression: observed.history(expression, seconds - 20),
                pictures / f"{file.stem}.png",
            )


if __name__ == "__main__":
    main(float(sys.argv[1]), Path(sys.argv[2]))
