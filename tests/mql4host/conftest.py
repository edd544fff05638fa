"""Fixtures: the MQL4 programs, built once, and a terminal to run them in."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.mql4host.broker_server import BrokerServer
from tests.mql4host.build import all_programs, build_all
from tests.mql4host.client import BridgeClient
from tests.mql4host.hosted import HostedExpert


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Need a C++ compiler for everything in this folder."""
    folder = Path(__file__).parent
    for item in items:
        if folder in item.path.parents:
            item.add_marker(pytest.mark.system("g++"))


@pytest.fixture(scope="session")
def programs() -> dict[str, Path]:
    """Build every MQL4 program, with sanitizers."""
    return build_all(all_programs())


@pytest.fixture
def server() -> BrokerServer:
    """Return a terminal with its broker; prices stand still until a test moves them."""
    return BrokerServer()


@pytest.fixture
def commands(
    programs: dict[str, Path], server: BrokerServer, tmp_path: Path
) -> Iterator[HostedExpert]:
    """Run GatewayCommands with a fresh ledger."""
    expert = HostedExpert(
        programs["GatewayCommands"], server, tmp_path / "data", {"LedgerCreate": True}
    )
    with expert:
        yield expert


@pytest.fixture
def connect() -> Iterator[Callable[[HostedExpert], BridgeClient]]:
    """Connect clients that are closed at the end of the test."""
    clients: list[BridgeClient] = []

    def connect_to(expert: HostedExpert) -> BridgeClient:
        clients.append(BridgeClient(expert.endpoint))
        return clients[-1]

    yield connect_to
    for client in clients:
        client.close()


@pytest.fixture
def gateway(
    commands: HostedExpert, connect: Callable[[HostedExpert], BridgeClient]
) -> BridgeClient:
    """Return a client that has taken over."""
    client = connect(commands)
    client.claim()
    return client
