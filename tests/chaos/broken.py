"""The real programs with one protection switched off, to see that the checker notices.

`python -m tests.chaos.broken fence run --config FILE` is `mt4-gateway run` without fences.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from dataclasses import replace

from nats.aio.msg import Msg

from gateway.cli import main
from gateway.core.exchange import Step
from gateway.core.ledger_trade import LedgerTrade
from gateway.core.messages import Purpose, Reply, Result, Verdict
from gateway.jobs import Jobs
from gateway.journal.trades import Inheritance, JetStreamJournal
from gateway.sim.decision import Decision


def without_term() -> None:
    """Let a gateway that was turned away go on writing into the journal."""
    as_shipped = JetStreamJournal.take_over

    async def take_over(self: JetStreamJournal, gateway: str, lately_s: float = 0.0) -> Inheritance:
        inheritance = await as_shipped(self, gateway, lately_s)
        self._fence = {}
        return inheritance

    JetStreamJournal.take_over = take_over  # type: ignore[method-assign]


def without_fence() -> None:
    """Let it also send by its own clock, and act at its terminal.

    The lease's self-deadline and the terminal's epoch cover each other: with one of them alone
    switched off, 45 s of freezes showed nothing.
    """
    without_term()
    JetStreamJournal.may_send = lambda _self: True  # type: ignore[method-assign,assignment]
    JetStreamJournal.refusal = lambda _self: None  # type: ignore[method-assign,assignment]
    Decision._fence_epoch = lambda _self, _frame: None  # type: ignore[method-assign,assignment]


def without_ledger() -> None:
    """Let the terminal forget what it has done."""
    Decision._recall = lambda _self, _frame: None  # type: ignore[method-assign,assignment]


def without_resolve() -> None:
    """Take any answer to RESOLVE for *not executed*."""
    as_shipped = LedgerTrade._replied

    def replied(self: LedgerTrade, reply: Reply, purpose: Purpose, now_s: float) -> Step:
        if purpose is Purpose.RESOLVE:
            reply = replace(reply, verdict=Verdict.SEALED)
        return as_shipped(self, reply, purpose, now_s)

    LedgerTrade._replied = replied  # type: ignore[method-assign]


def without_ack_after_commit() -> None:
    """Acknowledge a job as soon as it is fetched, before its result is stored."""
    as_shipped = Jobs._result_of

    async def result_of(self: Jobs, job: Msg) -> Result:
        await job.ack()
        return await as_shipped(self, job)

    async def say(_self: Jobs, job: Msg, word: bytes) -> None:
        """Say nothing more of a job that the queue has forgotten."""

    Jobs._result_of = result_of  # type: ignore[method-assign]
    Jobs._say = say  # type: ignore[method-assign,assignment]


WITHOUT: dict[str, Callable[[], None]] = {
    "fence": without_fence,
    "term": without_term,
    "ledger": without_ledger,
    "resolve": without_resolve,
    "ack": without_ack_after_commit,
}


if __name__ == "__main__":
    protection, *arguments = sys.argv[1:]
    WITHOUT[protection]()
    sys.argv[1:] = arguments
    sys.exit(main(arguments))
