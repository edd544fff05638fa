"""Fixtures and rules for every test."""

import asyncio
import os
import shutil
import sys
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path

import nats
import pytest
from hypothesis import HealthCheck, settings

from tests.support.nats_server import NatsServer

# Hypothesis on a busy machine: slow is not wrong, and a failure comes again.
settings.register_profile(
    "steady", deadline=None, derandomize=True, suppress_health_check=[HealthCheck.too_slow]
)
settings.load_profile("steady")


def pytest_runtest_setup(item: pytest.Item) -> None:
    """Skip `long` and `system` tests in `make test`; in `make test-all` insist on their tools."""
    if item.get_closest_marker("long") and os.environ.get("MT4GW_TEST_SYSTEM") != "1":
        pytest.skip("takes long: run by `make test-all`")
    marker = item.get_closest_marker("system")
    if marker is None:
        return
    tools = [str(tool) for tool in marker.args]
    if os.environ.get("MT4GW_TEST_SYSTEM") != "1":
        pytest.skip(f"needs system packages ({', '.join(tools)}): run by `make test-all`")
    missing = [tool for tool in tools if not _is_there(tool)]
    if missing:
        pytest.fail(f"not installed: {', '.join(missing)}", pytrace=False)


def _is_there(tool: str) -> bool:
    """Look for a program, `python:MODULE` (of requirements-deploy.lock), or Windows' Python."""
    if tool == "windows-python":  # made by .ci/windows-tools
        folder = os.environ.get("MT4GW_WINDOWS", Path(__file__).parents[1] / ".windows")
        return (Path(folder) / "made-of").exists()
    kind, _, module = tool.partition(":")
    if kind == "python":
        return find_spec(module) is not None
    beside = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    return shutil.which(tool, path=beside) is not None


@pytest.fixture(scope="session")
def nats_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[NatsServer]:
    """Run one NATS server for the whole session; do not stop it, take `own_nats_server`."""
    yield from _serve(tmp_path_factory.mktemp("nats"))


@pytest.fixture(autouse=True)
def _forgotten(request: pytest.FixtureRequest) -> Iterator[None]:
    """Have each test that shares the server find it without what others' gateways stored."""
    yield
    if "nats_server" in request.fixturenames:
        asyncio.run(_delete_streams(request.getfixturevalue("nats_server").url))


async def _delete_streams(url: str) -> None:
    async with await nats.connect(url) as client:
        for stream in await client.jetstream().streams_info():
            if "_demo" in str(stream.config.name):  # what tests name nothing else than `demo`
                await client.jetstream().delete_stream(str(stream.config.name))


@pytest.fixture
def own_nats_server(tmp_path: Path) -> Iterator[NatsServer]:
    """Run a NATS server for one test, to stop, kill, pause and restart."""
    yield from _serve(tmp_path)


def _serve(folder: Path) -> Iterator[NatsServer]:
    server = NatsServer(folder)
    server.start()
    try:
        yield server
    finally:
        server.stop()
