"""Questions that MQL4 programs put to services on the bus, and their answers.

    MQL4 -> pipe -> Calls -> NATS request on `P.T.call.<name>` -> a service
    MQL4 <- pipe <- Calls <- its reply

A call is asked once and never again: who asks has the timeout and knows whether it may be repeated.
"""

from __future__ import annotations

import asyncio
import logging
import re
from collections.abc import Awaitable, Callable

from gateway.core.messages import LONGEST_CALL_S, Call, CallAnswer, NoCallAnswer

log = logging.getLogger(__name__)

MOST_CALLS = 256
"""So many may be under way; more are answered `busy` at once."""

LOG_EVERY = 1000
"""Of the calls without an answer, the first and each so-manieth is logged: one a tick may fail."""

_NAME = re.compile(r"[A-Za-z0-9_-]{1,64}")

AskBus = Callable[[Call], Awaitable[CallAnswer]]
Answered = Callable[[CallAnswer], None]


class Calls:
    """Every call that is under way.

    Args:
        ask_bus: Puts one question to the bus, within its timeout.
    """

    def __init__(self, ask_bus: AskBus) -> None:
        self._ask_bus = ask_bus
        self._waiting: asyncio.Queue[tuple[Call, Answered]] = asyncio.Queue(MOST_CALLS)
        self._under_way = 0
        self._failed = 0

    def take(self, call: Call, answered: Answered) -> None:
        """Take in a call; what cannot be asked is answered at once."""
        problem = _problem(call)
        if problem:
            answered(CallAnswer(error=NoCallAnswer.BAD_CALL, message=problem))
        elif self._under_way >= MOST_CALLS:
            message = f"{self._under_way} calls are under way, and no more may be"
            answered(CallAnswer(error=NoCallAnswer.BUSY, message=message))
        else:
            self._under_way += 1
            self._waiting.put_nowait((call, answered))

    async def run(self) -> None:
        """Ask what was taken in, side by side, until cancelled."""
        async with asyncio.TaskGroup() as tasks:
            while True:
                call, answered = await self._waiting.get()
                tasks.create_task(self._ask(call, answered), name=f"call-{call.name}")

    async def _ask(self, call: Call, answered: Answered) -> None:
        try:
            answer = await self._ask_bus(call)
        finally:
            self._under_way -= 1
        if answer.error is not None:
            level = logging.INFO if self._failed % LOG_EVERY == 0 else logging.DEBUG
            said = call.name, answer.error, answer.message
            log.log(level, "call_failed name=%s error=%s cause=%r", *said)
            self._failed += 1
        answered(answer)


def _problem(call: Call) -> str | None:
    if _NAME.fullmatch(call.name) is None:
        return f"the name {call.name[:80]!r} must match {_NAME.pattern}"
    if not 0 < call.timeout_s <= LONGEST_CALL_S:
        return f"timeout_s {call.timeout_s!r} must be above 0 and at most {LONGEST_CALL_S:g}"
    return None
