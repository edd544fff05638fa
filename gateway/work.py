"""One accepted command on its way: what flow 1 knows of it beside the command itself."""

from __future__ import annotations

import asyncio
import time
from dataclasses import dataclass, field

from gateway.audit import Steps
from gateway.core.exchange import Event, Exchange, Replied, Started
from gateway.core.messages import Answer, Command, Conclusion


@dataclass(slots=True, eq=False)
class Work:
    """One accepted command on its way.

    Attributes:
        event: What its exchange is told when its turn comes.
        proof: A reply that came while nobody was waiting for it.
        recorded: The journal has it as sent.
        is_left: The journal may have it as sent: the next gateway would find out.
        inherited: An earlier gateway may have sent it; what became of it is found out first.
        looked: It is a second look at a trade that ended as unknown; told when that is over.
        wants_raw: Its result is to have the terminal's own response, too.
        notes: What the terminal was allowed to change about it.
        via: Which way it came; None for what an earlier gateway took in.
        steps: What happened to it, for the audit; of a trade.
    """

    command: Command
    answers: list[Answer]
    exchange: Exchange | None = None
    event: Event = Started()  # noqa: RUF009 - frozen, without content
    proof: Replied | None = None
    taken_at_s: float | None = None
    channel_s: float = 0.0
    alarm: asyncio.TimerHandle | None = None
    recorded: bool = False
    is_left: bool = False
    inherited: bool = False
    looked: asyncio.Future[Conclusion] | None = None
    wants_raw: bool = False
    notes: tuple[str, ...] = ()
    via: str | None = None
    steps: Steps = field(default_factory=Steps)

    def note(self, what: str) -> None:
        """Write down a step."""
        if self.command.is_trade:
            self.steps.note(time.time(), what)
