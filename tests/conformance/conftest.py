"""Fixtures: the terminals under test."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path

import pytest

from gateway.sim.bridge import PlainClients
from gateway.sim.options import DialectName
from tests.conformance.hosted_stack import HostedStack
from tests.conformance.peers import Mql4Peer, Peer, PeerName, PipePeer, SimPeer
from tests.mql4host.build import EXPERTS_FOLDER, build_all
from tests.support.nats_server import NatsServer

PROGRAMS = ("GatewayCommands", "GatewayTicks", "GatewayPipe")


@pytest.fixture(scope="session")
def mql4_programs() -> dict[str, Path]:
    """Build the MQL4 programs for this machine, with sanitizers."""
    return build_all([EXPERTS_FOLDER / f"{name}.mq4" for name in PROGRAMS])


@pytest.fixture
def make_peer(
    request: pytest.FixtureRequest, tmp_path: Path
) -> Callable[[PeerName, PlainClients], Peer]:
    """Return a maker of terminals, not yet started, each with a broker of its own."""

    def make(name: PeerName, plain_clients: PlainClients = PlainClients.READ) -> Peer:
        folder = tmp_path / name
        folder.mkdir()
        if name is PeerName.MQL4:
            programs: dict[str, Path] = request.getfixturevalue("mql4_programs")
            return Mql4Peer(programs["GatewayCommands"], folder, plain_clients)
        if name is PeerName.PIPE:
            programs = request.getfixturevalue("mql4_programs")
            return PipePeer(programs["GatewayPipe"], folder, plain_clients)
        dialect = DialectName.LEGACY if name is PeerName.LEGACY else DialectName.BRIDGE
        return SimPeer(folder, dialect, plain_clients)

    return make


@pytest.fixture(params=["zmq", "pipe"])
def hosted(
    request: pytest.FixtureRequest,
    nats_server: NatsServer,
    mql4_programs: dict[str, Path],
    tmp_path: Path,
) -> Callable[..., HostedStack]:
    """Return a maker of gateways in front of the hosted MQL4 programs, over each transport."""
    way = request.param
    return partial(HostedStack, nats_server.url, mql4_programs, tmp_path, transport=way)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Need a C++ compiler for everything in this folder."""
    folder = Path(__file__).parent
    for item in items:
        if folder in item.path.parents:
            item.add_marker(pytest.mark.system("g++"))
