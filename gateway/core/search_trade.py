"""A trade at the existing server, which knows no ids: sent once, and then looked for.

The third column of the table in `exchange.py`. The command is never sent twice. After a lost
link the server may still execute it when it wakes, so a search waits until one probe is
answered and `settle_s` have passed since. What is found has happened; *not found* proves
nothing and ends as unknown.
"""

from __future__ import annotations

from enum import Enum
from typing import assert_never

from gateway.core.evidence import Found, Search, search_for
from gateway.core.exchange import (
    Clear,
    Cleared,
    Event,
    Finish,
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
from gateway.core.messages import (
    Cause,
    Command,
    Conclusion,
    Dialect,
    Outcome,
    Purpose,
    Reply,
    Verdict,
)


class _Phase(Enum):
    SENT = "waiting for the reply"
    LISTENING = "waiting on: the server may be busy with it"
    PROBING = "the link was lost; waiting for a first answer"
    SETTLING = "giving a stale frame time to be executed"
    SEARCHING = "looking at the orders"


class SearchTrade(TradeExchange):
    """One trade in the dialect of the existing server."""

    dialect = Dialect.METATRADER4_SERVER

    def __init__(self, command: Command, rules: Rules) -> None:
        super().__init__(command, rules)
        self._phase = _Phase.SENT
        self._search: Search = search_for(command)
        self._searches_left = rules.searches
        self._doubt: Cause | None = None

    def advance(self, event: Event, now_s: float) -> Step:
        """Follow the third column of the table."""
        match event:
            case Started():
                return self._send(now_s)
            case Replied(reply, purpose):
                return self._replied(reply, purpose, now_s)
            case TimedOut():
                return self._timed_out(now_s)
            case Lost():
                self.exposed = True
                return self._probe(now_s)
            case Cleared():
                return self._cleared(now_s)
            case NotSent():
                self.attempts -= self._phase is _Phase.SENT
                return self._pause(in_doubt=self.exposed)
            case Woke():
                return self._woke(now_s)
            case _:
                assert_never(event)

    def resume(self, attempts: int, now_s: float) -> Step:
        """Take up a trade that an earlier gateway had sent: its fate is to be found out."""
        self.attempts = attempts
        self.exposed = True
        return self._probe(now_s)

    def _woke(self, now_s: float) -> Step:
        match self._phase:
            case _Phase.SENT | _Phase.LISTENING:
                return self._send(now_s)  # only ever paused here when nothing had left
            case _Phase.PROBING:
                return self._probe(now_s)
            case _Phase.SETTLING | _Phase.SEARCHING:
                return self._look(now_s)
            case _:
                assert_never(self._phase)

    def _timed_out(self, now_s: float) -> Step:
        """Rows 8 and 9: send nothing behind a trade; listen, then free the line, then look."""
        self.exposed = True
        match self._phase:
            case _Phase.SENT:
                self._phase = _Phase.LISTENING
                return Listen(self.rules.patience_s)
            case _Phase.PROBING:
                return self._probe(now_s, Clear())
            case _:
                return Clear()

    def _cleared(self, now_s: float) -> Step:
        """Look at once if our frame was consumed in order; after a lost link, settle first."""
        return self._settle() if self._phase is _Phase.PROBING else self._look(now_s)

    def _settle(self) -> Step:
        self._phase = _Phase.SETTLING
        return Pause(self.rules.settle_s, in_doubt=True)

    def _probe(self, now_s: float, first: Clear | None = None) -> Step:
        """Ask for one answer over the new connection."""
        if self._budget_is_spent(now_s):
            return self._not_found()
        self._phase = _Phase.PROBING
        return first or Send(
            self._request(Purpose.PROBE, "GET_ACCOUNT_INFO", {}),
            self.rules.reply_timeout_s,
        )

    def _look(self, now_s: float) -> Step:
        """Start, or go on with, one look at the orders."""
        if self._budget_is_spent(now_s):
            return self._not_found()
        self._phase = _Phase.SEARCHING
        action, params = self._search.query()
        return Send(self._request(Purpose.SEARCH, action, params), self.rules.reply_timeout_s)

    def _replied(self, reply: Reply, purpose: Purpose, now_s: float) -> Step:
        match purpose:
            case Purpose.COMMAND:
                return self._answered(reply, now_s)
            case Purpose.PROBE if self._phase is _Phase.PROBING:
                return self._settle()
            case Purpose.SEARCH:
                return self._seen(reply, now_s)
            case _:
                return self._pause(in_doubt=True)

    def _answered(self, reply: Reply, now_s: float) -> Step:
        """Deal with the reply to the trade itself, on time or late."""
        match reply.verdict:
            case Verdict.DONE:
                return self._finish(Outcome.SUCCEEDED, reply, resolved=self.exposed)
            case Verdict.REJECTED:
                return self._finish(Outcome.REJECTED, reply, resolved=self.exposed)
            case Verdict.NOT_NOW:
                self._phase = _Phase.SENT
                return self._not_now(reply, now_s)
            case _:
                return self._doubtful(reply, now_s)

    def _doubtful(self, reply: Reply, now_s: float) -> Step:
        """Row 17: the server has dealt with it; the broker may not have."""
        self.exposed = True
        self._doubt = reply.cause
        if reply.evidence.get("created"):
            return self._look(now_s)
        self._phase = _Phase.SETTLING
        return Pause(self.rules.ambiguous_s, in_doubt=True)

    def _seen(self, reply: Reply, now_s: float) -> Step:
        """Rows 18 and 19: what one query of the search showed."""
        if not self._search.is_answered_by(reply):
            return self._pause(in_doubt=True)
        match self._search.consider(reply):
            case Found(response, warning):
                return self._found(response, warning)
            case None if self._search.is_over:
                return self._search_again()
            case None:
                return self._look(now_s)

    def _search_again(self) -> Step:
        self._searches_left -= 1
        if self._searches_left <= 0:
            return self._not_found()
        self._search = search_for(self.command)
        return Pause(self.rules.search_gap_s, in_doubt=True)

    def _found(self, response: object, warning: str | None) -> Finish:
        if self._doubt is not None:
            warning = "; ".join(filter(None, [warning, self._doubt.message]))
        return Finish(
            Conclusion(
                Outcome.SUCCEEDED,
                response=response,
                warning=warning,
                attempts=self.attempts,
                resolved=True,
            )
        )

    def _not_found(self) -> Finish:
        return self._unknown(
            "it was not found among the orders, which proves nothing: it may still appear",
            self._doubt,
        )
