"""Trades that ended as unknown: a proof takes the place of that result, once.

A proof is a reply that came after its command had ended, or what is found by looking again, which
is done now and then for a day. Nothing is sent to trade.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Iterable
from dataclasses import replace

from gateway import replies
from gateway.core.choice import exchange_for
from gateway.core.exchange import Finish, Replied, Rules
from gateway.core.messages import Command, CommandId, Conclusion, Outcome, Reply, Request, Result
from gateway.guard import Guard
from gateway.journal.trades import WATCHED_S, Journal, Sent
from gateway.metrics import Metrics
from gateway.terminal.line import Line

SECOND_LOOK_S = 30.0
"""How long a second look may take, beside the wait for a stale frame."""

Look = Callable[[Sent, Rules], Awaitable[Conclusion]]
"""Asks the terminal once more what became of a trade."""

Record = Callable[[Command, Result, str], None]
"""Has a proved result stored and told; the last argument says how it was proved."""


class Unknowns:
    """The trades of one terminal of which nobody can say what became of them, yet.

    Args:
        line: To the terminal.
        journal: Knows which results are unknown.
        guard: Counts such a trade as open until it is proved.
        rules: Of exchanges.
    """

    def __init__(
        self,
        line: Line,
        journal: Journal,
        guard: Guard,
        metrics: Metrics,
        rules: Rules,
        *,
        look: Look,
        record: Record,
    ) -> None:
        self._line = line
        self._journal = journal
        self._guard = guard
        self._metrics = metrics
        self._rules = rules
        self._look = look
        self._record = record
        self._sent: dict[CommandId, Sent] = {}

    def inherit(self, unknown: Iterable[Sent]) -> None:
        """Watch those of earlier gateways."""
        self._sent = {sent.command.key: sent for sent in unknown}

    def add(self, sent: Sent) -> None:
        """Watch one that has just ended so."""
        self._sent[sent.command.key] = sent

    def take(self, request: Request, reply: Reply) -> None:
        """Take in a final reply to a command that has ended, perhaps as unknown."""
        command = request.command
        old = self._journal.unknown.get(command.key) if command is not None else None
        if command is None or old is None:
            return
        exchange = exchange_for(command, request.dialect, self._rules)
        step = exchange.advance(Replied(reply, request.purpose), time.monotonic())
        if isinstance(step, Finish):
            self._prove(command, old, step.conclusion, "a late reply")

    async def watch(self, interval_s: float) -> None:
        """Look again, now and then, until cancelled."""
        while True:
            await asyncio.sleep(interval_s)
            for old in list(self._journal.unknown.values()):
                if old.finished_at_s < time.time() - WATCHED_S:
                    self._give_up(old.key)
                elif self._line.is_usable:
                    await self.look_again(old)

    async def look_again(self, old: Result) -> None:
        """Ask once more what became of a trade; it is sent no more."""
        if (sent := self._sent.get(old.key)) is None:
            return
        rules = replace(self._rules, searches=1, give_up_s=self._rules.settle_s + SECOND_LOOK_S)
        if sent.ledger is not None:
            self._line.session.pin(sent.command.key, sent.ledger)
        self._prove(sent.command, old, await self._look(sent, rules), "a second look")

    def _give_up(self, key: CommandId) -> None:
        self._journal.settle(key)
        self._sent.pop(key, None)
        self._guard.forget(key)

    def _prove(self, command: Command, old: Result, found: Conclusion, how: str) -> None:
        """Replace unknown by what was found, and say so."""
        warnings = [f"{how} proved it; it had been reported as unknown", found.warning]
        proved = replace(
            found,
            warning="; ".join(filter(None, warnings)),
            attempts=old.conclusion.attempts,
            resolved=True,
        )
        offset_s = self._line.session.broker_offset_s
        proved = replies.finished(command, proved, offset_s=offset_s)
        result = replace(old, conclusion=proved, finished_at_s=time.time())
        if result.outcome is not Outcome.UNKNOWN and self._journal.settle(command.key):
            self._metrics.resolved(str(result.outcome))
            self._guard.ended(command.key, result.outcome)
            self._record(command, result, how)
