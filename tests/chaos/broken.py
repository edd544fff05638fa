"""The real programs with one protection switched off, to see that the checker notices.

`python -m tests.chaos.broken fence run --config FILE` is `mt4-gateway run` without fences.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from dataclasses import replace

from gateway.cli import main
from gateway.core.exchange import Step
from gateway.core.ledger_trade import LedgerTrade
from gateway.core.messages import Purpose, Reply, Verdict
from gateway.sim.decision import Decision


def without_fence() -> None:
    """Let the terminal act for any gateway, also one that was turned away."""
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


WITHOUT: dict[str, Callable[[], None]] = {
    "fence": without_fence,
    "ledger": without_ledger,
    "resolve": without_resolve,
}


if __name__ == "__main__":
    protection, *arguments = sys.argv[1:]
    WITHOUT[protection]()
    sys.argv[1:] = arguments
    sys.exit(main(arguments))
