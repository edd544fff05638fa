"""The gateway's table of every action, with the MQL4 program in the simulator's place."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest
import pytest_asyncio

from gateway.core.messages import Dialect
from tests.actions.cases import CASES, Case
from tests.conformance.hosted_stack import HostedStack
from tests.support.nats_server import NatsServer

TABLE = [
    pytest.param(case, id=f"{case.action}-{case.what}")
    for case in CASES
    if Dialect.BRIDGE in case.dialects
]


@pytest.fixture(scope="module")
def lasting_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[NatsServer]:
    """Run a NATS server of our own: the shared one loses its streams after each test."""
    server = NatsServer(tmp_path_factory.mktemp("nats"))
    server.start()
    try:
        yield server
    finally:
        server.stop()


@pytest_asyncio.fixture(loop_scope="module", scope="module", params=["zmq", "pipe"])
async def stack(
    request: pytest.FixtureRequest,
    lasting_server: NatsServer,
    mql4_programs: dict[str, Path],
    tmp_path_factory: pytest.TempPathFactory,
) -> AsyncIterator[HostedStack]:
    """Run one terminal and one gateway for the whole table."""
    folder = tmp_path_factory.mktemp("hosted")
    way = request.param
    async with HostedStack(lasting_server.url, mql4_programs, folder, transport=way) as stack:
        yield stack
        assert [] == stack.hosted.findings


@pytest.mark.asyncio(loop_scope="module")
@pytest.mark.parametrize("case", TABLE)
async def test_action(stack: HostedStack, case: Case) -> None:
    """One line of the table: the outcome, the code, what is said and what is given."""
    made = stack.hosted.broker.made.total()
    result = await case.run(stack)
    said = result.error["message"] if result.error else result.warning or ""

    assert (case.outcome, case.action) == (result.outcome, result.body["action"]), said
    for part in case.says:
        assert part in said
    if case.outcome == "succeeded":
        assert case.gives is None or case.gives(result.response), result.response
    else:
        assert case.code == (result.error or {})["code"], said
    if case.outcome in ("denied", "rejected") and case.prepare is None:
        assert made == stack.hosted.broker.made.total()
