"""A trade at a terminal that keeps a ledger: when in doubt, ask it; the ledger makes it safe.

The second column of the table in `exchange.py`. A timeout never sends the command again; only
`not_seen` does, and then the terminal itself refuses what has run, what is late and what is
meant for another session. `not_seen` is never a result: an earlier frame may still arrive.
"""

from __future__ import annotations

from enum import Enum
from typing import assert_never

from gateway.core.exchange import (
    Clear,
    Cleared,
    Event,
    Listen,
    Lost,
    NotSent,
    Pause,
    Replied,
    Rules,
    Send,
    Started,
    Step,
    TimedOut,
    TradeExchange,
    Woke,
)
from gateway.core.messages import Command, Dialect, Outcome, Purpose, Reply, Verdict

PAST_DEADLINE_S = 0.05
"""How long after the deadline the sealing `RESOLVE` is asked for."""

NAMED = 20
"""How many tickets in doubt a warning names."""

STALE_REASONS = frozenset({"stale_session", "stale_seq", "stale_attempt", "stale_epoch"})
"""`fenced` for these is cured by a new `HELLO` or attempt; the frame itself did nothing.

After `stale_epoch` the greeting shows that we are deposed, and what another gateway made of the
same id is not ours to tell.
"""


class _Awaiting(Enum):
    COMMAND = "the command's own reply"
    RESOLVE = "the answer to RESOLVE"
    ANYTHING = "either of them, patiently"


class LedgerTrade(TradeExchange):
    """One trade in the bridge dialect."""

    dialect = Dialect.BRIDGE

    def __init__(self, command: Command, rules: Rules) -> None:
        super().__init__(command, rules)
        self._awaiting = _Awaiting.COMMAND

    def advance(self, event: Event, now_s: float) -> Step:
        """Follow the second column of the table."""
        match event:
            case Started():
                return self._send(now_s)
            case Replied(reply, purpose):
                return self._replied(reply, purpose, now_s)
            case TimedOut():
                return self._timed_out(now_s)
            case Lost():
                self.exposed |= self._awaiting is _Awaiting.COMMAND
                return self._resolve(now_s)
            case NotSent():
                self.attempts -= self._awaiting is _Awaiting.COMMAND
                return self._pause(in_doubt=self.exposed)
            case Woke() | Cleared():
                return self._resolve(now_s) if self.exposed else self._send(now_s)
            case _:
                assert_never(event)

    def resume(self, attempts: int, now_s: float) -> Step:
        """Take up a trade that an earlier gateway had sent: its fate is to be found out."""
        self.attempts = attempts
        self.exposed = True
        return self._resolve(now_s)

    def _send(self, now_s: float) -> Step:
        self._awaiting = _Awaiting.COMMAND
        return super()._send(now_s)

    def _resolve(self, now_s: float) -> Step:
        if self._budget_is_spent(now_s):
            return self._unknown(
                f"the terminal did not say what became of it within {self.rules.give_up_s:g} s"
            )
        self._awaiting = _Awaiting.RESOLVE
        return Send(self._request(Purpose.RESOLVE, "RESOLVE", {}), self.rules.reply_timeout_s)

    def _timed_out(self, now_s: float) -> Step:
        """Rows 8 and 9: one `RESOLVE` behind it; then patience; then a free line."""
        match self._awaiting:
            case _Awaiting.COMMAND:
                self.exposed = True
                return self._resolve(now_s)
            case _Awaiting.RESOLVE:
                self._awaiting = _Awaiting.ANYTHING
                return Listen(self.rules.patience_s)
            case _Awaiting.ANYTHING:
                return Clear()
            case _:
                assert_never(self._awaiting)

    def _replied(self, reply: Reply, purpose: Purpose, now_s: float) -> Step:
        resolved = purpose is Purpose.RESOLVE
        match reply.verdict:
            case Verdict.DONE:
                return self._finish(Outcome.SUCCEEDED, reply, resolved=resolved)
            case Verdict.REJECTED:
                return self._finish(Outcome.REJECTED, reply, resolved=resolved)
            case Verdict.SEALED:
                return self._finish(Outcome.EXPIRED, reply, resolved=resolved)
            case Verdict.NOT_NOW if resolved and self._is_worth_a_retry(reply):
                return self._not_seen(now_s)  # it may be of an attempt before the last one sent
            case Verdict.NOT_NOW:
                return self._not_now(reply, now_s)
            case Verdict.NOT_SEEN:
                return self._not_seen(now_s)
            case Verdict.IN_DOUBT if not resolved:
                self.exposed = True
                return self._resolve(now_s)  # it looks among the orders when it is asked
            case Verdict.IN_DOUBT:
                return self._in_doubt(reply)
            case Verdict.FENCED:
                return self._fenced(reply)
            case Verdict.MALFORMED:
                self.exposed |= purpose is Purpose.COMMAND
                return self._pause(in_doubt=True)
            case _:
                assert_never(reply.verdict)

    def _in_doubt(self, reply: Reply) -> Step:
        """Pass on what the terminal knows: a close of many may be sure of all tickets but one."""
        message = "the terminal cannot tell whether it ran"
        told = reply.evidence.get("tickets")
        tickets = (
            [ticket for ticket in told if type(ticket) is int] if isinstance(told, list) else []
        )
        if tickets:
            message += f"; look at order {', '.join(map(str, tickets[:NAMED]))}"
        return self._unknown(message, reply.cause, reply.response)

    def _not_seen(self, now_s: float) -> Step:
        """Rows 14 and 15: the same id again, or wait until it can be sealed."""
        if now_s < self._last_send_s():
            return self._send(now_s)
        return Pause(max(0.0, self.command.deadline_s - now_s) + PAST_DEADLINE_S, in_doubt=True)

    def _fenced(self, reply: Reply) -> Step:
        """Rows 12 and 13: this frame did nothing; an earlier one may have.

        Not so with `id_conflict`: the ledger's entry is another wish's, so ours never ran.
        """
        if reply.reason == "id_conflict":
            return self._finish(Outcome.REJECTED, reply)
        if self.exposed or reply.reason in STALE_REASONS:
            return self._pause(in_doubt=self.exposed)
        return self._finish(Outcome.REJECTED, reply)
