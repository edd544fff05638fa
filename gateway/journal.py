"""What must be remembered of trades: that one was sent, and how it ended.

Two records a trade and no more: `sent` before the first frame leaves, `finished` before anyone
hears of the result. `finished` may be replaced once, from unknown to what was proved. This
journal lives in memory: it serves duplicates and questions for as long as the process lives.
"""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass
from typing import Protocol

from gateway.core.messages import Command, CommandId, Outcome, Result


@dataclass(frozen=True, slots=True)
class Entry:
    """What is remembered of one trade. `result` is None until it has finished."""

    command: Command
    result: Result | None = None


class Journal(Protocol):
    """The memory of trades, wherever it is kept."""

    def find(self, key: CommandId) -> Entry | None:
        """Return what is remembered of a trade; None when it was never sent."""

    async def sent(self, command: Command) -> None:
        """Record that a frame of this trade is about to leave."""

    async def finished(self, command: Command, result: Result) -> None:
        """Record the result; nobody hears of it before this returns."""


class MemoryJournal:
    """A journal for one life of the process.

    Args:
        capacity: How many finished trades are kept; the oldest go first.
    """

    def __init__(self, capacity: int) -> None:
        self._capacity = capacity
        self._open: dict[CommandId, Entry] = {}
        self._closed: OrderedDict[CommandId, Entry] = OrderedDict()

    def find(self, key: CommandId) -> Entry | None:
        """Return what is remembered of a trade; None when it was never sent."""
        return self._open.get(key) or self._closed.get(key)

    async def sent(self, command: Command) -> None:
        """Record that a frame of this trade is about to leave."""
        self._open[command.key] = Entry(command)

    async def finished(self, command: Command, result: Result) -> None:
        """Record the result; nobody hears of it before this returns."""
        self._open.pop(command.key, None)
        self._closed[command.key] = Entry(command, result)
        while len(self._closed) > self._capacity:
            self._closed.popitem(last=False)


def may_replace(old: Result | None, new: Result) -> bool:
    """Tell whether a result may take another's place: only a proof that of unknown."""
    return old is None or (old.outcome is Outcome.UNKNOWN and new.outcome is not Outcome.UNKNOWN)
