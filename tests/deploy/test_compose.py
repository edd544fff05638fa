"""The compose file is started as it stands, by podman, and traded over.

This machine's NATS and Prometheus are in it, in images with the names that the file wants. Grafana
is left out: it cannot be had as a program.
"""

from __future__ import annotations

import json
import shutil
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.deploy.alerts import ALERTS
from tests.deploy.chart import ROOT, read_values
from tests.deploy.waiting import wait_until
from tests.support import containers
from tests.support.nats_server import nats_server_path
from tests.support.net import free_port

pytestmark = [
    pytest.mark.system(
        *("buildah", "podman", "runc", "debootstrap", "prometheus", "podman-compose")
    ),
    pytest.mark.timeout(1200),
]

COMPOSE_FILE = ROOT / "deploy/compose.yaml"


class Project:
    """The services of the file, at ports of this machine that are free."""

    def __init__(self, folder: Path) -> None:
        self._name = f"compose-{free_port()}"
        self.ports = {name: free_port() for name in ("nats", "gateway", "prometheus")}
        self._elsewhere = folder / "ports.yaml"
        inside = {"nats": 4222, "gateway": 9464, "prometheus": 9090}
        lines = [
            f'  {name}: {{ports: !override ["127.0.0.1:{port}:{inside[name]}"]}}'
            for name, port in self.ports.items()
        ]
        self._elsewhere.write_text("\n".join(["services:", *lines]), encoding="utf-8")

    def run(self, *arguments: str) -> str:
        """Give a command, as one would to `docker compose`."""
        files = ("-f", str(COMPOSE_FILE), "-f", str(self._elsewhere))
        return containers.run("podman-compose", *files, "-p", self._name, *arguments)

    def get(self, service: str, path: str) -> Any:
        """Fetch what a service says in JSON; None when nobody answers."""
        url = f"http://127.0.0.1:{self.ports[service]}{path}"
        try:
            with urllib.request.urlopen(url, timeout=5) as answer:
                return json.load(answer)
        except OSError:
            return None

    def log(self) -> str:
        """Return what the gateway wrote."""
        return containers.log_of(f"{self._name}_gateway_1")

    def is_healthy(self, service: str) -> bool:
        """Run the health check that the file, or the image, gives a service."""
        containers.run("podman", "healthcheck", "run", f"{self._name}_{service}_1")
        return True


def stand_in(name: str, program: str) -> None:
    """Make an image of one program of this machine."""
    container = containers.run("buildah", "from", containers.BASE)
    containers.run("buildah", "copy", "--quiet", "--chmod", "755", container, program, "/usr/bin/")
    entrypoint = json.dumps([f"/usr/bin/{Path(program).name}"])
    containers.run("buildah", "config", "--entrypoint", entrypoint, "--cmd", "", container)
    containers.run("buildah", "commit", "--quiet", container, f"localhost/{name}")
    containers.run("buildah", "rm", container)


@pytest.fixture
def project(image: str, tmp_path: Path) -> Iterator[Project]:
    """Start all but Grafana."""
    services = read_values(COMPOSE_FILE)["services"]
    containers.run("podman", "tag", image, f"localhost/{services['gateway']['image']}:latest")
    stand_in(services["nats"]["image"], nats_server_path())
    stand_in(services["prometheus"]["image"], shutil.which("prometheus") or "")
    found = Project(tmp_path)
    try:
        found.run("up", "--detach", "--no-build", *(name for name in services if name != "grafana"))
        yield found
    finally:
        found.run("down", "--timeout", "2")


def test_composed_gateway_trades_and_is_watched(project: Project) -> None:
    """An order succeeds as the file's head says; Prometheus scrapes it and knows the alerts."""
    wait_until(lambda: project.get("gateway", "/readyz"), project.log)
    sent = project.run(
        *("exec", "-T", "gateway", "mt4-gateway", "send", "DO_ORDER_SEND", "symbol=EURUSD"),
        *("order_type=BUY", "lots=0.1", "--timeout=60"),
    )
    status = project.get("gateway", "/status")

    def scraped() -> Any:
        found = project.get("prometheus", "/api/v1/query?query=mt4_gateway_active==1")
        return found and found["data"]["result"]

    wait_until(scraped, project.log)
    rules = [
        rule
        for group in project.get("prometheus", "/api/v1/rules")["data"]["groups"]
        for rule in group["rules"]
    ]

    assert "succeeded" == json.loads(sent)["outcome"]
    assert {"EURUSD", "GBPUSD", "USDJPY"} <= set(status["ticks"])
    assert "demo" == scraped()[0]["metric"]["terminal"]
    assert set(ALERTS) == {rule["name"] for rule in rules}
    assert not [rule for rule in rules if rule["state"] == "firing"]
    assert project.is_healthy("gateway")
    assert project.is_healthy("terminal")
