"""The one result of each command: made, stored where it must be, and only then told."""

from __future__ import annotations

import logging
import time
from collections import deque

from gateway import replies
from gateway.audit import Audit
from gateway.core.messages import (
    Answer,
    Cause,
    Command,
    CommandId,
    Conclusion,
    Effect,
    Outcome,
    Result,
    Wish,
)
from gateway.journal.trades import Journal
from gateway.metrics import Metrics
from gateway.work import Work

log = logging.getLogger(__name__)

SHOWN = 20
"""How many finished commands the status page shows."""

OURSELVES = "gateway"
"""The client that the gateway's own reads run under; a client that is called so trades like any."""


class Results:
    """What is said of commands that have ended.

    Args:
        terminal: Its alias.
        journal: Has a trade's result before anyone hears of it.
        audit: Told of what is denied at the door, and of what is proved later.
    """

    def __init__(self, terminal: str, journal: Journal, metrics: Metrics, audit: Audit) -> None:
        self.last: deque[Result] = deque(maxlen=SHOWN)
        self._terminal = terminal
        self._journal = journal
        self._metrics = metrics
        self._audit = audit

    def of_work(self, work: Work, conclusion: Conclusion, offset_s: int | None) -> Result:
        """Make the result of an accepted command; `offset_s` is the broker's, if it is known."""
        command = work.command
        if command.is_trade or command.key.client != OURSELVES:
            conclusion = replies.finished(
                command, conclusion, offset_s=offset_s, raw=work.wants_raw, notes=work.notes
            )
        taken_at_s = work.taken_at_s or time.monotonic()
        return self.of(
            command.key,
            command.action,
            conclusion,
            command.received_at_s,
            queued_s=taken_at_s - command.received_s,
            channel_s=work.channel_s,
            trace=command.trace,
        )

    def of(
        self,
        key: CommandId,
        action: str,
        conclusion: Conclusion,
        received_at_s: float,
        *,
        queued_s: float = 0.0,
        channel_s: float = 0.0,
        trace: str | None = None,
    ) -> Result:
        """Make a result of now."""
        return Result(
            key=key,
            terminal=self._terminal,
            action=action,
            conclusion=conclusion,
            received_at_s=received_at_s,
            finished_at_s=time.time(),
            queued_s=queued_s,
            channel_s=channel_s,
            trace=trace,
        )

    async def deny(self, wish: Wish, key: CommandId, cause: Cause, received_at_s: float) -> None:
        """Refuse a wish at the door."""
        conclusion = Conclusion(Outcome.DENIED, cause=cause)
        result = self.of(key, wish.action, conclusion, received_at_s, trace=wish.trace)
        self._announce(result)
        if wish.effect is Effect.TRADE:
            await self._audit.denied(wish, result)
        await wish.answer(result)

    async def tell(self, command: Command, result: Result, answers: list[Answer]) -> None:
        """Tell how a command ended; a trade that was not denied, after it is stored."""
        if command.is_trade and result.outcome is not Outcome.DENIED:
            await self._journal.finished(command, result)
        self._announce(result)
        for answer in answers:
            await answer(result)

    async def tell_proved(self, command: Command, result: Result, how: str) -> None:
        """Tell what was found out of a trade that had ended as unknown."""
        await self.tell(command, result, [])
        await self._audit.proved(command, result, how)

    def _announce(self, result: Result) -> None:
        self._metrics.command_finished(result)
        is_trade = result.action.startswith("DO_")
        if is_trade or result.key.client != OURSELVES:
            self.last.append(result)
        took_s = result.finished_at_s - result.received_at_s
        log.log(
            logging.INFO if is_trade else logging.DEBUG,
            "command_finished id=%s action=%s outcome=%s attempts=%d took_s=%.4f trace=%s",
            result.key,
            result.action,
            result.outcome,
            result.conclusion.attempts,
            took_s,
            result.trace,
        )
