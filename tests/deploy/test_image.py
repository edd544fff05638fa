"""The image is built from the Dockerfile and trades under a cluster's restrictions."""

from __future__ import annotations

import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass

import pytest

from gateway.client import CommandResult, Mt4Client
from tests.deploy.waiting import wait_until
from tests.support import containers
from tests.support.containers import Container
from tests.support.nats_server import NatsServer
from tests.support.net import free_port

pytestmark = [
    pytest.mark.system("buildah", "podman", "runc", "debootstrap"),
    pytest.mark.timeout(1200),
]

DRAIN_S = 10.0


@dataclass
class Running:
    """A gateway and a simulated terminal, each in a container."""

    gateway: Container
    simulator: Container
    nats_url: str
    http: str

    def get(self, path: str) -> tuple[int, str]:
        """Fetch a page; the status and the body."""
        try:
            with urllib.request.urlopen(self.http + path, timeout=5) as answer:
                return answer.status, answer.read().decode()
        except OSError as refused:
            return getattr(refused, "code", 0), ""

    async def send(self, action: str, **params: object) -> CommandResult:
        """Trade over the bus."""
        async with await Mt4Client.connect(self.nats_url, client="tester") as client:
            return await client.trade(action, params)


@pytest.fixture
def running(image: str, own_nats_server: NatsServer) -> Iterator[Running]:
    """Run both; ready when commands can flow."""
    request, tick, http = free_port(), free_port(), free_port()
    simulator = Container(
        f"sim-{request}",
        *("sim", "--request-endpoint", f"tcp://127.0.0.1:{request}"),
        *("--tick-endpoint", f"tcp://127.0.0.1:{tick}"),
        *("--ledger", "/dev/shm/ledger", "--tick-interval", "0.1"),
        image=image,
    )
    gateway = Container(
        f"gateway-{request}",
        image=image,
        environment={
            "MT4GW_NATS__SERVERS": own_nats_server.url,
            "MT4GW_TERMINAL__REQUEST_ENDPOINT": f"tcp://127.0.0.1:{request}",
            "MT4GW_TERMINAL__TICK_ENDPOINT": f"tcp://127.0.0.1:{tick}",
            "MT4GW_POLICY__TRADING": "true",
            "MT4GW_HTTP__ADDRESS": f"0.0.0.0:{http}",
        },
    )
    both = Running(gateway, simulator, own_nats_server.url, f"http://127.0.0.1:{http}")
    try:
        wait_until(lambda: both.get("/readyz")[0] == 200, gateway.log)
        wait_until(lambda: "mt4_gateway_terminal_up 1.0" in both.get("/metrics")[1], gateway.log)
        yield both
    finally:
        gateway.remove()
        simulator.remove()


async def test_image_trades_and_stops_in_good_order(running: Running) -> None:
    """Read-only, without capabilities, not as root: opens, closes, is healthy, exits with 0."""
    opened = await running.send("DO_ORDER_SEND", symbol="EURUSD", order_type="BUY", lots=0.1)
    closed = await running.send("DO_ORDER_CLOSE", ticket=opened.response["ticket"])
    inside = running.gateway.execute("mt4-gateway", "send", "GET_ACCOUNT_INFO", "--json")
    rights = dict(
        line.split(":\t", 1)
        for line in running.gateway.execute("cat", "/proc/1/status").splitlines()
    )
    healthy = running.gateway.is_healthy()
    code, took_s = running.gateway.stop()

    assert ("succeeded", "succeeded") == (opened.outcome, closed.outcome)
    assert '"outcome": "succeeded"' in inside
    assert "10001\t10001\t10001\t10001" == rights["Uid"]
    assert 0 == int(rights["CapBnd"], 16)
    assert "1" == rights["NoNewPrivs"]
    assert healthy
    assert 0 == code, running.gateway.log()
    assert took_s < DRAIN_S


def test_root_file_system_cannot_be_written(running: Running) -> None:
    """Whoever gets in can leave nothing behind."""
    with pytest.raises(RuntimeError, match="Read-only file system"):
        running.gateway.execute("sh", "-c", "echo x > /opt/mt4-gateway/left-behind")


def test_health_check_fails_when_the_program_hangs(running: Running) -> None:
    """A frozen gateway is reported unhealthy."""
    containers.run("podman", "kill", "--signal", "STOP", running.gateway.name)
    frozen = running.gateway.is_healthy()
    containers.run("podman", "kill", "--signal", "CONT", running.gateway.name)

    assert not frozen


def test_image_adds_little_to_its_base(image: str) -> None:
    """What is added: interpreter packages and the gateway; no compiler, no pip, no cache."""
    added_mb = (containers.size_bytes(image) - containers.size_bytes(containers.BASE)) / 1e6
    found = containers.run(
        *("podman", "run", "--rm", "--network", "none", "--entrypoint", "sh", image, "-c"),
        "ls /opt/mt4-gateway/bin; command -v gcc cc make; ls /opt/mt4-gateway/lib/*/site-packages",
        check=False,
    ).split()
    print(f"the image adds {added_mb:.1f} MB to its base")

    assert added_mb < 70
    assert set() == {"gcc", "cc", "make", "pip", "setuptools", "wheel"} & set(found)
    assert {"mt4-gateway", "gateway", "nats", "zmq"} <= set(found)


def test_unknown_key_stops_the_container_with_its_message(image: str) -> None:
    """A misspelt setting ends the start with exit code 2 and says which it is."""
    wrong = Container(
        f"wrong-{free_port()}", image=image, environment={"MT4GW_NATS__SERVRES": "nats://x"}
    )
    try:
        wait_until(lambda: wrong.state()["Status"] == "exited", wrong.log)

        assert 2 == wrong.state()["ExitCode"]
        assert "nats.servres: unknown key" in wrong.log()
    finally:
        wrong.remove()
