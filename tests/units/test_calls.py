"""Calls under way: how many there may be, and what is logged of those that fail."""

import asyncio
import logging

import pytest

from gateway.calls import LOG_EVERY, MOST_CALLS, Calls
from gateway.core.messages import Call, CallAnswer, NoCallAnswer

NOBODY = CallAnswer(error=NoCallAnswer.NOBODY_LISTENS, message="nobody")


class Bus:
    """A bus that answers when it is told to, and everything that was answered."""

    def __init__(self) -> None:
        self.is_answering = asyncio.Event()
        self.answers: list[CallAnswer] = []
        self.calls = Calls(self._ask)

    async def _ask(self, _: Call) -> CallAnswer:
        await self.is_answering.wait()
        return NOBODY

    def ask(self, count: int) -> None:
        """Take in some calls."""
        for _ in range(count):
            self.calls.take(Call("double", 1.5, 1.0), self.answers.append)

    async def answer(self) -> None:
        """Answer all that was asked."""
        self.is_answering.set()
        running = asyncio.create_task(self.calls.run())
        for _ in range(5):
            await asyncio.sleep(0)
        running.cancel()
        self.is_answering.clear()


async def test_one_call_too_many_is_busy_until_another_is_answered() -> None:
    """At once: it does not wait for its turn."""
    bus = Bus()
    bus.ask(MOST_CALLS + 1)
    assert [NoCallAnswer.BUSY] == [answer.error for answer in bus.answers]

    await bus.answer()
    bus.ask(1)
    assert [NOBODY] * MOST_CALLS == bus.answers[1:]


async def test_failing_calls_do_not_fill_the_log(caplog: pytest.LogCaptureFixture) -> None:
    """An expert asks at each tick, also through a night in which nobody answers."""
    caplog.set_level(logging.INFO, "gateway.calls")
    bus = Bus()
    for _ in range(LOG_EVERY // MOST_CALLS + 1):
        bus.ask(MOST_CALLS)
        await bus.answer()

    assert len(bus.answers) > LOG_EVERY
    assert 2 == len(caplog.records)
