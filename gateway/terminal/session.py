"""What the gateway knows of the terminal it talks to: its greeting, its clock, our right to act.

Pure: no socket, no clock. A trade frame is fenced with it, so that it can only be executed by
the terminal it was meant for, in the session it was meant for, before its deadline.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Mapping
from dataclasses import dataclass, replace

from gateway.core.messages import Command, CommandId, Dialect, Json, Reply, Verdict
from gateway.terminal.broker_clock import BrokerClock
from gateway.terminal.dialects import Fence

CLOCK_IS_KEPT_S = 10.0
"""A truer reading of the clock is preferred to newer ones for this long."""

CLOCK_IS_FRESH_S = 30.0
"""A deadline is translated only by a clock reading this recent: drift stays below 3 ms."""

REMEMBERED = 4096
"""How many commands' ledgers are remembered; more than can wait in all lanes."""

STALE = frozenset({"stale_session", "stale_epoch"})
"""`fenced` for these means that our acquaintance is out of date."""


@dataclass(frozen=True, slots=True)
class Greeting:
    """What a terminal said of itself when it was greeted.

    Attributes:
        journal: The highest mark of the gateways' journal that its ledger was told.
    """

    dialect: Dialect
    session: str | None = None
    ledger: str | None = None
    epoch: int = 0
    account: Mapping[str, Json] | None = None
    broker_offset_s: int | None = None
    journal: int = 0


class Session:
    """The state of acquaintance with one terminal.

    Attributes:
        greeting: None until greeted, and again after the link was lost.
        broker_clock: Measures the broker's offset from UTC.
        dialect: Of the terminal that was greeted last; None before the first.
        epoch: The right to trade that the terminal issued to this gateway; 0 for none.
    """

    def __init__(self) -> None:
        self.greeting: Greeting | None = None
        self.broker_clock = BrokerClock()
        self.dialect: Dialect | None = None
        self.epoch = 0
        self.connected: bool | None = None
        self.trade_allowed: bool | None = None
        self._seq = 0
        self._claimed_ledger: str | None = None
        self._meant_for: OrderedDict[CommandId, str] = OrderedDict()
        self._clock_ms = 0
        self._clock_read_at_s = float("-inf")

    def greeted(self, greeting: Greeting, *, claimed: bool) -> bool:
        """Take in a greeting; `claimed` when it answers a claim and so issues the epoch.

        Returns:
            False when the terminal now keeps another ledger than the one our epoch is of: the
            epoch is void, and the terminal is to be greeted again with a claim.
        """
        self.dialect = greeting.dialect
        if claimed:
            self.epoch, self._seq, self._claimed_ledger = greeting.epoch, 0, greeting.ledger
        elif self.epoch and greeting.ledger != self._claimed_ledger:
            self.epoch = 0
            return False
        self.greeting = greeting
        return True

    def set_account(self, account: Mapping[str, Json]) -> None:
        """Take the account from where the existing server tells it, which greets nobody."""
        if self.greeting is not None:
            self.greeting = replace(self.greeting, account=account)

    @property
    def broker_offset_s(self) -> int | None:
        """Return the broker's clock minus UTC: measured, else as greeted; None if not known."""
        if self.broker_clock.offset_s is not None:
            return self.broker_clock.offset_s  # a greeting may be from before the clocks changed
        return self.greeting.broker_offset_s if self.greeting else None

    @property
    def is_deposed(self) -> bool:
        """Tell whether another gateway has claimed the terminal after us."""
        return bool(self.epoch and self.greeting and self.greeting.epoch > self.epoch)

    def forget(self) -> None:
        """Forget the terminal: whoever answers next must be greeted first."""
        self.greeting = None
        self.broker_clock = BrokerClock()
        self.connected = self.trade_allowed = None
        self._clock_read_at_s = float("-inf")

    def learn(self, reply: Reply, now_s: float) -> None:
        """Read the terminal's clock off a reply, and notice when it is another session."""
        if reply.session is None or self.greeting is None:
            return
        if reply.session != self.greeting.session or reply.reason in STALE:
            self.forget()
        elif reply.clock_ms is not None:
            self.read_clock(reply.clock_ms, now_s)

    def read_clock(self, clock_ms: int, now_s: float) -> None:
        """Take a reading of the terminal's clock, unless it was longer on its way than ours.

        A reading is old by the time it took to come, never too new. The newest-looking one is
        the truest, until drift could matter.
        """
        age_s = now_s - self._clock_read_at_s
        if age_s < CLOCK_IS_KEPT_S and clock_ms < self._clock_ms + age_s * 1000:
            return
        self._clock_ms, self._clock_read_at_s = clock_ms, now_s

    def fence(self, command: Command, now_s: float, journal: int) -> Fence | None:
        """Mark a frame for this session; None while that cannot be done safely.

        The clock was read before it reached us, so the deadline told is early by at most one
        trip, never late.
        """
        greeting = self.greeting
        if greeting is None or greeting.session is None or greeting.ledger is None:
            return None
        if not self.epoch or now_s - self._clock_read_at_s > CLOCK_IS_FRESH_S:
            return None
        self._seq += 1
        left_ms = int((command.deadline_s - self._clock_read_at_s) * 1000)
        return Fence(
            session=greeting.session,
            epoch=self.epoch,
            seq=self._seq,
            ledger=self._ledger_of(command.key, greeting.ledger),
            not_after_ms=self._clock_ms + left_ms,
            journal=journal,
        )

    def pin(self, key: CommandId, ledger: str) -> None:
        """Remember which ledger a command is meant for: an earlier gateway has sent it there."""
        self._ledger_of(key, ledger)

    def pinned(self, key: CommandId) -> str | None:
        """Return the ledger that a command is meant for: from now on, the one that is there."""
        if self.greeting is None or self.greeting.ledger is None:
            return self._meant_for.get(key)
        return self._ledger_of(key, self.greeting.ledger)

    def _ledger_of(self, key: CommandId, now: str) -> str:
        """Return the ledger that a command was first meant for, which it stays with.

        Another ledger has not seen it and would run it again.
        """
        ledger = self._meant_for.setdefault(key, now)
        if len(self._meant_for) > REMEMBERED:
            self._meant_for.popitem(last=False)
        return ledger


def read_greeting(reply: Reply) -> Greeting | None:
    """Read the reply to `HELLO`; None when it makes no sense.

    The existing server does not know the action and says so, which names its dialect.
    """
    if reply.verdict is Verdict.REJECTED:
        message = reply.cause.message if reply.cause else ""
        known = "Unrecognized requested action" in message
        return Greeting(Dialect.METATRADER4_SERVER) if known else None
    said = reply.response
    if reply.verdict is not Verdict.DONE or not isinstance(said, dict):
        return None
    session, ledger, epoch = said.get("session"), said.get("ledger"), said.get("epoch")
    if said.get("dialect") != Dialect.BRIDGE or not isinstance(session, str):
        return None
    if not isinstance(ledger, str) or type(epoch) is not int:
        return None
    account, offset_s = said.get("account"), said.get("broker_offset_s")
    return Greeting(
        Dialect.BRIDGE,
        session,
        ledger,
        epoch,
        account if isinstance(account, dict) else None,
        offset_s if type(offset_s) is int else None,
        journal if type(journal := said.get("journal")) is int else 0,
    )
