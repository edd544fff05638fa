"""A journal in memory, with the fence of the real one: what flow 1 needs, without a server."""

from collections.abc import Callable
from dataclasses import dataclass, field

from gateway.core.messages import Cause, Command, CommandId, Outcome, Result
from gateway.journal.trades import Entry, Fenced, Inheritance, Sent
from gateway.policy import Halt


@dataclass
class Store:
    """What outlives a gateway."""

    term: int = 0
    entries: dict[CommandId, Entry] = field(default_factory=dict)
    sent: dict[CommandId, Sent] = field(default_factory=dict)
    unknown: dict[CommandId, Result] = field(default_factory=dict)


class MemoryJournal:
    """The journal of one gateway.

    Args:
        store: Shared by all gateways of one terminal; making a journal takes it over.
        on_result: Hears of each result that is stored, as the bus does.
    """

    def __init__(
        self, store: Store | None = None, on_result: Callable[[Result], None] = lambda _: None
    ) -> None:
        self.halted: Halt | None = None
        self._store = store or Store()
        self._store.term += 1
        self._term = self._store.term
        self._on_result = on_result

    @property
    def inheritance(self) -> Inheritance:
        """Return what an earlier gateway had sent, without a result or with an unknown one."""
        store = self._store
        unfinished = [sent for key, sent in store.sent.items() if key not in store.entries]
        return Inheritance(
            unfinished, [store.sent[key] for key in store.unknown if key in store.sent]
        )

    @property
    def unknown(self) -> dict[CommandId, Result]:
        """Return the trades that a late proof may still settle."""
        return self._store.unknown

    def settle(self, key: CommandId) -> bool:
        """Take a trade off the unknown ones; True for the one who may record its proof."""
        return self.unknown.pop(key, None) is not None

    def refusal(self) -> Cause | None:
        """Find nothing wrong: nobody has told us that the term is over."""
        return None

    def may_send(self) -> bool:
        """Allow it: a lease protects nothing."""
        return True

    def knows(self, key: CommandId) -> bool:
        """Tell whether this id has a result."""
        return key in self._store.entries

    async def find(self, key: CommandId) -> Entry | None:
        """Return how a trade ended."""
        return self._store.entries.get(key)

    async def sent(self, sent: Sent) -> bool:
        """Remember that a frame is about to leave."""
        self._check_fence()
        self._store.sent[sent.command.key] = sent
        return True

    async def finished(self, command: Command, result: Result) -> None:
        """Remember the result and tell it."""
        self._check_fence()
        self._store.entries[command.key] = Entry(command.digest, command.action, result)
        if result.outcome is Outcome.UNKNOWN:
            self._store.unknown[command.key] = result
        self._on_result(result)

    def _check_fence(self) -> None:
        if self._store.term != self._term:
            raise Fenced(f"term {self._term} is over")
