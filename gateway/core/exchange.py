"""Machine 2, one command's life: send, wait, retry, find out, finish exactly once.

`advance(event)` returns the one thing to do next. It never looks at a clock and never draws a
random number: the time comes with the event, the jitter with the rules.

The decision table. *Exposed* means: a frame of this trade has left and nothing yet proves that
it can no longer run. Rows are tested by name in tests/core/test_exchange_table.py.

| # | Event | read | trade, terminal with a ledger | trade, existing server |
|---|---|---|---|---|
| 1 | start, in time | send | send | send |
| 2 | start, too late | expired | expired | expired |
| 3 | reply `done` | succeeded | succeeded | succeeded |
| 4 | reply `rejected` | rejected | rejected | rejected |
| 5 | reply `not_now`, worth a retry | pause, send | pause, send, not exposed | the same |
| 6 | reply `not_now`, not worth it | rejected | rejected | rejected |
| 7 | reply `not_now`, no time left | expired | expired | expired |
| 8 | no reply in time, link up | clear the line, retry | `RESOLVE` behind it | listen |
| 9 | still none, link up | - | listen, clear, `RESOLVE` | clear, search |
| 10 | link lost | pause, send | `RESOLVE` | probe, settle, search |
| 11 | not sent | pause, send | pause, send | pause, send |
| 12 | `fenced`, not exposed before | pause, send | stale: pause, send; else rejected | - |
| 13 | `fenced`, exposed | - | pause, `RESOLVE`; `id_conflict`: rejected | - |
| 14 | `not_seen`, or a stored `not_now` worth a retry, in time | - | send, next attempt | - |
| 15 | `not_seen`, too late | - | pause past the deadline, `RESOLVE` | - |
| 16 | `sealed` | - | expired | - |
| 17 | `in_doubt` | pause, send | `RESOLVE`, which looks again; then unknown | settle, search |
| 17b | reply malformed | pause, send | pause, `RESOLVE` | settle, search |
| 18 | found by the search | - | - | succeeded |
| 19 | not found, searches spent | - | - | unknown |
| 20 | budget for finding out spent | - | unknown | unknown |
| 21 | a late reply to any attempt | as a reply | as a reply | as a reply |

The ledger column is in `ledger_trade.py`, the existing server's in `search_trade.py`.
Source: docs/safety.md.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import ClassVar

from gateway.core.messages import (
    Cause,
    Command,
    Conclusion,
    Dialect,
    Json,
    Outcome,
    Purpose,
    Reply,
    Request,
    Source,
    Verdict,
)


@dataclass(frozen=True, slots=True)
class Rules:
    """How patient an exchange is. Seconds; defaults are those of docs/configuration.md.

    Attributes:
        reply_timeout_s: A reply is missed after this; for a trade nothing is decided by it.
        patience_s: How long a trade's missing reply is listened for, with nothing sent, before
            the line is probed.
        settle_s: Existing server: how long a stale order may still be executed after a lost
            link, counted from the first answered probe.
        ambiguous_s: Existing server: how long to wait after a code that leaves it open.
        searches: Existing server: how often to look before saying unknown.
        give_up_s: How long to try to find out before saying unknown.
        send_margin_s: A trade is not sent when its deadline is nearer than this.
        retry_codes: `not_now` codes after which a trade is tried again.
        jitter: Draws from [0, 1); spreads retries.
    """

    reply_timeout_s: float = 5.0
    patience_s: float = 15.0
    settle_s: float = 70.0
    ambiguous_s: float = 65.0
    search_gap_s: float = 5.0
    searches: int = 2
    give_up_s: float = 900.0
    send_margin_s: float = 0.2
    first_pause_s: float = 0.05
    longest_pause_s: float = 1.0
    retry_codes: frozenset[int] = frozenset({146})
    jitter: Callable[[], float] = lambda: 0.5


def backoff_s(pauses: int, rules: Rules) -> float:
    """Double the pause each time up to the longest, and spread it over its upper half."""
    full = min(rules.longest_pause_s, rules.first_pause_s * 2.0 ** min(pauses, 30))
    return full * (0.5 + 0.5 * rules.jitter())


# ---- events: what happened --------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Started:
    """The command's turn has come for the first time."""


@dataclass(frozen=True, slots=True)
class Replied:
    """A reply to one of this command's frames, on time or late."""

    reply: Reply
    purpose: Purpose = Purpose.COMMAND


@dataclass(frozen=True, slots=True)
class TimedOut:
    """No reply within the step's time; the link is up."""


@dataclass(frozen=True, slots=True)
class Lost:
    """The link went away, or the terminal restarted, while the frame was unanswered."""


@dataclass(frozen=True, slots=True)
class NotSent:
    """The frame certainly did not leave."""


@dataclass(frozen=True, slots=True)
class Woke:
    """A pause is over."""


@dataclass(frozen=True, slots=True)
class Cleared:
    """A later frame was answered on the same connection: ours was dealt with, its reply lost."""


Event = Started | Replied | TimedOut | Lost | NotSent | Woke | Cleared

# ---- steps: what to do ------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Send:
    """Send one frame and wait for its reply."""

    request: Request
    timeout_s: float


@dataclass(frozen=True, slots=True)
class Listen:
    """Send nothing; wait on for the reply."""

    timeout_s: float


@dataclass(frozen=True, slots=True)
class Clear:
    """Make the line free: by an answered probe (`Cleared`), else a new link (`Lost`).

    `timeout_s` bounds how long the command waits for that, not how long it takes.
    """

    timeout_s: float | None = None


@dataclass(frozen=True, slots=True)
class Pause:
    """Leave the line to others. `in_doubt`: but to no other trade."""

    delay_s: float
    in_doubt: bool = False


@dataclass(frozen=True, slots=True)
class Finish:
    """The exchange is over; `advance` must not be called again."""

    conclusion: Conclusion


Step = Send | Listen | Clear | Pause | Finish


class Exchange(ABC):
    """What all three kinds of exchange share: the budget, the attempts, the final replies."""

    dialect: ClassVar[Dialect | None] = None

    def __init__(self, command: Command, rules: Rules) -> None:
        self.command = command
        self.rules = rules
        self.attempts = 0
        self._pauses = 0

    @abstractmethod
    def advance(self, event: Event, now_s: float) -> Step:
        """Take in what happened and say what to do next."""

    def _send(self, now_s: float) -> Step:
        """Send the command itself once more, or expire. Rows 1, 2."""
        if now_s >= self._last_send_s():
            return self._expired(now_s)
        self.attempts += 1
        return Send(
            self._request(Purpose.COMMAND, self.command.action, self.command.params),
            self._patience_s(now_s),
        )

    def _patience_s(self, now_s: float) -> float:
        """Say how long a reply is waited for."""
        return self.rules.reply_timeout_s + self.command.work_allowance_s

    def _request(self, purpose: Purpose, action: str, params: Mapping[str, Json]) -> Request:
        return Request(purpose, action, params, self.attempts, self.command, self.dialect)

    def _last_send_s(self) -> float:
        return self.command.deadline_s

    def _pause(self, *, in_doubt: bool = False) -> Pause:
        self._pauses += 1
        return Pause(backoff_s(self._pauses - 1, self.rules), in_doubt)

    def _finish(self, outcome: Outcome, reply: Reply, *, resolved: bool = False) -> Finish:
        return Finish(
            Conclusion(
                outcome,
                response=reply.response,
                warning=reply.warning,
                cause=reply.cause,
                attempts=self.attempts,
                resolved=resolved or reply.replayed,
            )
        )

    def _expired(self, now_s: float) -> Finish:
        late_s = now_s - self.command.deadline_s
        cause = Cause(
            Source.GATEWAY,
            408,
            "EXPIRED",
            f"the deadline passed {late_s:.3f} s ago"
            if late_s >= 0
            else f"only {-late_s:.3f} s to the deadline, too little to send a trade safely",
        )
        return Finish(Conclusion(Outcome.EXPIRED, cause=cause, attempts=self.attempts))

    def _unknown(self, message: str, cause: Cause | None = None, response: Json = None) -> Finish:
        cause = cause or Cause(Source.GATEWAY, 504, "UNKNOWN", message)
        return Finish(
            Conclusion(
                Outcome.UNKNOWN,
                response=response,
                cause=cause,
                warning=message,
                attempts=self.attempts,
                resolved=True,
            )
        )


class ReadExchange(Exchange):
    """A query: asked again on a free line until it is answered or its deadline passes."""

    def advance(self, event: Event, now_s: float) -> Step:
        """Follow the first column of the table."""
        match event:
            case Replied(reply):
                return self._replied(reply, now_s)
            case TimedOut():
                left_s = self.command.deadline_s - now_s
                return Clear(left_s) if left_s > 0 else self._expired(now_s)
            case NotSent():
                self.attempts -= 1
                return self._pause_or_expire(now_s)
            case Lost():
                return self._pause_or_expire(now_s)
            case Started() | Woke() | Cleared():
                return self._send(now_s)

    def _patience_s(self, now_s: float) -> float:
        """Until the deadline at most: the caller is gone then."""
        return min(super()._patience_s(now_s), self.command.deadline_s - now_s)

    def _replied(self, reply: Reply, now_s: float) -> Step:
        match reply.verdict:
            case Verdict.DONE:
                return self._finish(Outcome.SUCCEEDED, reply)
            case Verdict.REJECTED:
                return self._finish(Outcome.REJECTED, reply)
            case _:
                return self._pause_or_expire(now_s)

    def _pause_or_expire(self, now_s: float) -> Step:
        pause = self._pause()
        if now_s + pause.delay_s >= self.command.deadline_s:
            left_s = self.command.deadline_s - now_s
            return Pause(left_s) if left_s > 0 else self._expired(now_s)
        return pause


class TradeExchange(Exchange):
    """What both kinds of trade share: the first column of certainty."""

    def __init__(self, command: Command, rules: Rules) -> None:
        super().__init__(command, rules)
        self.exposed = False
        self._give_up_at_s: float | None = None

    @abstractmethod
    def resume(self, attempts: int, now_s: float) -> Step:
        """Take up a trade that an earlier gateway had sent: its fate is to be found out."""

    def _last_send_s(self) -> float:
        return self.command.deadline_s - self.rules.send_margin_s

    def _not_now(self, reply: Reply, now_s: float) -> Step:
        """Nothing ran in this attempt, and no earlier one can. Rows 5 to 7."""
        self.exposed = False
        if not self._is_worth_a_retry(reply):
            return self._finish(Outcome.REJECTED, reply)
        pause = self._pause()
        return pause if now_s + pause.delay_s < self._last_send_s() else self._expired(now_s)

    def _is_worth_a_retry(self, reply: Reply) -> bool:
        return reply.cause is not None and reply.cause.code in self.rules.retry_codes

    def _budget_is_spent(self, now_s: float) -> bool:
        """Start the clock of finding out at the first doubt; tell when it has run down."""
        if self._give_up_at_s is None:
            self._give_up_at_s = now_s + self.rules.give_up_s
        return now_s >= self._give_up_at_s
