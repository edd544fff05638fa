"""Why a task that calls nats-py over and over looks whether it was cancelled."""

import asyncio

import pytest

from gateway import cancellation


async def test_swallowed_cancellation_is_heeded() -> None:
    """The answer and the cancel come in one turn; on Python 3.11 `wait_for` returns the answer."""
    rounds = 0

    async def ask_for_ever() -> None:
        nonlocal rounds
        while True:
            cancellation.heed()
            rounds += 1
            await asyncio.wait_for(answer, 10)

    answer: asyncio.Future[None] = asyncio.get_running_loop().create_future()
    task = asyncio.create_task(ask_for_ever())
    await asyncio.sleep(0)
    answer.set_result(None)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await asyncio.wait_for(asyncio.shield(task), 5)

    assert 1 == rounds
