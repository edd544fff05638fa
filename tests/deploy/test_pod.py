"""What the chart renders is run: the gateway's pod and the pod of `helm test`, by podman."""

from __future__ import annotations

import base64
import json
import sys
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from subprocess import PIPE, Popen
from typing import Any

import pytest
import yaml

from gateway.acl import Role, Site, inbox_of
from gateway.client import Mt4Client
from gateway.subjects import Subjects
from tests.deploy.chart import Manifest, manifests, only
from tests.deploy.waiting import wait_until
from tests.support import containers
from tests.support.guarded import PASSWORD, User, guarded_by
from tests.support.nats_server import NatsServer
from tests.support.net import free_port

pytestmark = [
    pytest.mark.system("buildah", "podman", "runc", "debootstrap", "python:helm_python"),
    pytest.mark.timeout(1200),
]

# podman has no httpGet of its own: it would call curl, which is not in the image.
EXEC_PROBE = {"handler": {"exec": {"command": ["mt4-gateway", "--version"]}}}


@pytest.fixture
def simulator() -> Iterator[str]:
    """Run a simulated terminal; its request endpoint."""
    endpoints = [f"tcp://127.0.0.1:{free_port()}" for _ in range(2)]
    process = Popen(
        [
            *(sys.executable, "-m", "gateway.sim", "--request-endpoint", endpoints[0]),
            *("--tick-endpoint", endpoints[1]),
        ],
        stdout=PIPE,
    )
    try:
        assert process.stdout is not None
        assert process.stdout.readline().startswith(b"sim_ready")
        yield endpoints[0]
    finally:
        process.terminate()
        process.communicate(timeout=10)


class Cluster:
    """As much of a cluster as podman is."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._played: list[Path] = []
        self._secrets: list[str] = []

    def apply(self, name: str, objects: list[Manifest]) -> None:
        """Run pods."""
        file = self._folder / f"{name}.yaml"
        file.write_text(yaml.safe_dump_all(objects), encoding="utf-8")
        self._played.append(file)
        containers.run("podman", "play", "kube", str(file))

    def keep_secret(self, name: str, **values: str) -> None:
        """Make a Secret; podman wants it in JSON, and from a file."""
        file = self._folder / f"{name}.json"
        encoded = {key: base64.b64encode(value.encode()).decode() for key, value in values.items()}
        file.write_text(json.dumps(encoded), encoding="utf-8")
        self._secrets.append(name)
        containers.run("podman", "secret", "create", name, str(file))

    def remove(self) -> None:
        """Remove all of them, with the volumes that podman made for their files."""
        for file in self._played:
            containers.run("podman", "play", "kube", "--down", str(file), check=False)
            for each in yaml.safe_load_all(file.read_text(encoding="utf-8")):
                if each["kind"] == "ConfigMap":
                    name = each["metadata"]["name"]
                    containers.run("podman", "volume", "rm", "--force", name, check=False)
        for name in self._secrets:
            containers.run("podman", "secret", "rm", name, check=False)


@pytest.fixture
def cluster(tmp_path: Path) -> Iterator[Cluster]:
    """Give a place to run pods, and clean up."""
    found = Cluster(tmp_path)
    yield found
    found.remove()


@pytest.fixture
def guarded_server(tmp_path: Path) -> Iterator[NatsServer]:
    """Run a NATS server with permissions, and a user for each: gateway, test pod, client."""
    users = [
        User(Role.GATEWAY, "gateway"),
        User(Role.VIEWER, "viewer"),
        User(Role.STRATEGY, "tester"),
    ]
    with guarded_by(tmp_path, Site(Subjects("mt4", "demo")), users) as server:
        yield server


async def test_rendered_pod_trades(
    image: str, guarded_server: NatsServer, simulator: str, cluster: Cluster
) -> None:
    """Chart, image, configuration, Secrets and variables: a command over the bus succeeds."""
    http = free_port()
    release = f"gw{http}"
    values = pod_values(image, guarded_server.url, simulator, http)
    values["config"]["nats"] |= {"user": "gateway", "inbox_prefix": inbox_of("gateway")}
    login = {"config": "nats.password", "secretName": f"{release}-nats", "secretKey": "password"}
    values["secrets"] = [login]
    values["tests"] = {
        "secrets": [login],
        "env": [
            {"name": "MT4GW_NATS__USER", "value": "viewer"},
            {"name": "MT4GW_NATS__INBOX_PREFIX", "value": inbox_of("viewer")},
        ],
    }
    found = manifests(values, name=release)
    cluster.keep_secret(login["secretName"], password=PASSWORD)
    configuration = only(found, "ConfigMap")
    cluster.apply("gateway", [configuration, portless(found)])

    def said() -> str:
        return logs(release)

    wait_until(lambda: fetch(http, "/readyz")[0] == 200, said)
    wait_until(lambda: "terminal_up 1.0" in fetch(http, "/metrics")[1], said)
    who: dict[str, Any] = {
        "user": "tester",
        "password": PASSWORD,
        "inbox_prefix": inbox_of("tester"),
    }
    async with await Mt4Client.connect(guarded_server.url, client="tester", **who) as client:
        opened = await client.order_send("EURUSD", "BUY", 0.1)
        refused = await client.order_send("EURUSD", "BUY", 0.6)
    test_pod = only(found, "Pod")
    cluster.apply("test", [configuration, test_pod])
    tester = f"{test_pod['metadata']['name']}-round-trip"
    code = containers.run("podman", "wait", tester)

    assert "succeeded" == opened.outcome
    assert "denied" == refused.outcome, "the limit of the values did not reach the gateway"
    assert "0" == code, containers.log_of(tester)


async def test_standby_pod_takes_over(
    image: str, own_nats_server: NatsServer, simulator: str, cluster: Cluster
) -> None:
    """Two pods as the chart makes them for `ha.enabled`; the active one is killed."""
    ports = {f"gw{port}": port for port in (free_port(), free_port())}
    for release, http in ports.items():
        values = pod_values(image, own_nats_server.url, simulator, http)
        values["config"]["ha"] = {"lease_ttl_s": 1}
        found = manifests(values | {"ha": {"enabled": True}}, name=release)
        deployment = portless(found)
        assert 2 == deployment["spec"]["replicas"]
        deployment["spec"]["replicas"] = 1  # the other has a port of its own, on the same network
        cluster.apply(release, [only(found, "ConfigMap"), deployment])

    def active() -> list[str]:
        return [
            release
            for release, http in ports.items()
            if "mt4_gateway_active 1.0" in fetch(http, "/metrics")[1]
        ]

    def said() -> str:
        return "\n".join(map(logs, ports))

    wait_until(
        lambda: active() and all(fetch(p, "/readyz")[0] == 200 for p in ports.values()), said
    )
    (first,) = active()
    async with await Mt4Client.connect(own_nats_server.url, client="tester") as client:
        opened = await client.order_send("EURUSD", "BUY", 0.1)
        containers.run("podman", "kill", container_of(first))
        wait_until(lambda: active() and active() != [first], said)
        closed = await client.order_close(opened.response["ticket"])

    assert ("succeeded", "succeeded") == (opened.outcome, closed.outcome), said()


def pod_values(image: str, nats_url: str, terminal: str, http: int) -> dict[str, Any]:
    """Make values for a gateway on this machine's network."""
    return {
        "image": {
            "repository": image.rpartition(":")[0],
            "tag": image.rpartition(":")[2],
            "pullPolicy": "Never",
        },
        "hostNetwork": True,
        "httpPort": http,
        "config": {
            "nats": {"servers": [nats_url]},
            "policy": {"trading": True, "max_lots_per_order": 0.5},
        },
        "terminals": [{"name": "demo", "requestEndpoint": terminal}],
        "resources": {"limits": {"memory": "256Mi"}},
        "probes": {"startup": EXEC_PROBE, "liveness": EXEC_PROBE, "readiness": EXEC_PROBE},
    }


def portless(found: list[Manifest]) -> Manifest:
    """Take the Deployment without ports: podman takes none on the node's network.

    In a cluster they are only names there.
    """
    deployment = only(found, "Deployment")
    del deployment["spec"]["template"]["spec"]["containers"][0]["ports"]
    return deployment


def logs(release: str) -> str:
    """Return what the gateway wrote."""
    return containers.log_of(container_of(release))


def container_of(release: str) -> str:
    """Name the gateway's container as podman does."""
    return f"{release}-mt4-gateway-demo-pod-0-gateway"


def fetch(port: int, path: str) -> tuple[int, str]:
    """Fetch a page; status 0 when nobody answers."""
    with suppress(OSError):
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{port}{path}", timeout=5) as answer:
                return answer.status, answer.read().decode()
        except urllib.error.HTTPError as refused:
            return refused.code, ""
    return 0, ""
