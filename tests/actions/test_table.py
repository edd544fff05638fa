"""Every action, end to end: client, NATS, gateway, ZeroMQ, simulated terminal and back."""

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack

import pytest
import pytest_asyncio

from gateway.actions import ACTIONS
from gateway.core.messages import Dialect
from tests.actions.cases import CASES, Case
from tests.support.nats_server import NatsServer
from tests.support.schemas import check
from tests.support.stack import EXISTING_SERVER, QUIET, Stack

TABLE = [
    pytest.param(dialect, case, id=f"{dialect}-{case.action}-{case.what}")
    for dialect in Dialect
    for case in CASES
    if dialect in case.dialects
]


@pytest_asyncio.fixture(loop_scope="module", scope="module")
async def stacks(nats_server: NatsServer) -> AsyncIterator[dict[Dialect, Stack]]:
    """Run one terminal and gateway per dialect for the whole table."""
    async with AsyncExitStack() as started:
        yield {
            dialect: await started.enter_async_context(
                Stack(
                    nats_server.url,
                    QUIET if dialect is Dialect.BRIDGE else EXISTING_SERVER,
                    client_options={"terminal": f"table-{dialect}"},
                    terminal={"name": f"table-{dialect}", "event_interval_s": 0.0},
                )
            )
            for dialect in Dialect
        }


@pytest.mark.asyncio(loop_scope="module")
@pytest.mark.parametrize(("dialect", "case"), TABLE)
async def test_action(stacks: dict[Dialect, Stack], dialect: Dialect, case: Case) -> None:
    """One line of the table: the outcome, the code, what is said and what is given."""
    stack = stacks[dialect]
    forwarded = len(stack.terminal.truth.of("received"))
    executed = len(stack.terminal.truth.of("executed"))
    result = await case.run(stack)
    said = result.error["message"] if result.error else result.warning or ""

    assert (case.outcome, case.action) == (result.outcome, result.body["action"]), said
    check(f"{case.action}.result" if case.action in ACTIONS else "result", result.body)
    for part in case.says:
        assert part in said
    if case.outcome == "succeeded":
        assert case.gives is None or case.gives(result.response), result.response
        assert ("raw" in result.body) == ("raw" in case.params)
    else:
        assert case.code == (result.error or {})["code"], said
    if case.outcome == "denied":
        names = [fact["action"] for fact in stack.terminal.truth.of("received")[forwarded:]]
        assert case.action not in names
        assert executed == len(stack.terminal.truth.of("executed"))


def test_every_action_is_in_the_table() -> None:
    """Nobody adds an action without saying what it does in both dialects."""
    missing = [
        (name, str(dialect))
        for name in ACTIONS
        for dialect in Dialect
        if not any(case.action == name and dialect in case.dialects for case in CASES)
    ]

    assert [] == missing
