"""The line to one terminal: greets it, keeps the lock-step, turns a step into an event.

`perform(step)` is what flow 1 uses. Beside it the *keeper* cares for the line: it greets a
terminal after each connect, probes an idle one, and frees a line whose frame stays unanswered.
What may be sent is decided by `core/channel.py`; what bytes mean, by `dialects.py`.
"""

from __future__ import annotations

import asyncio
import logging
import secrets
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Protocol, assert_never

from gateway.config import Terminal
from gateway.core.channel import Channel, Received
from gateway.core.exchange import (
    Clear,
    Cleared,
    Event,
    Listen,
    Lost,
    NotSent,
    Replied,
    Send,
    TimedOut,
)
from gateway.core.messages import Dialect, Json, Purpose, Reply, Request, Verdict
from gateway.errors import StartOver
from gateway.metrics import Metrics
from gateway.terminal.dialects import Fence, decode, encode
from gateway.terminal.session import Greeting, Session, read_greeting
from gateway.terminal.wire import Wire

log = logging.getLogger(__name__)

FINAL = frozenset({Verdict.DONE, Verdict.REJECTED, Verdict.SEALED})
"""A reply of these settles its command, to whichever attempt it belongs."""

FENCED = frozenset({Purpose.COMMAND, Purpose.RESOLVE})
"""Frames of a trade that carry session, epoch, sequence and deadline in the bridge dialect."""

USABLE_WITHIN_S = 0.5
"""How long a send waits for a line that is being greeted or freed."""

RETRY_S = 0.1
"""Pause of the keeper after what could not be sent."""

StrayHandler = Callable[[Request, Reply], None]


DEPOSED_PAUSE_S = 1.0
"""How long a deposed gateway waits: a claimer that shares no journal with us is not outbid."""


class Deposed(StartOver):
    """The terminal's epoch is not ours any more: somebody has claimed it since."""


@dataclass(slots=True)
class _Listener:
    """Flow 1, waiting for what concerns its command since `request` was sent.

    Any reply of the same attempt will do, and a final one of any attempt.

    Attributes:
        patient: The reply's time is up already, and it was counted as dropped.
        freeing: It will do, too, if the line becomes free.
    """

    request: Request
    heard: asyncio.Future[Event]
    patient: bool
    freeing: bool

    def wants(self, request: Request, reply: Reply) -> bool:
        if self.heard.done():
            return False  # something else came in the same turn of the loop
        if request is self.request:
            return True
        if request.command is not self.request.command:
            return False
        if request.purpose not in (Purpose.COMMAND, Purpose.RESOLVE):
            return False
        return reply.verdict in FINAL or request.attempt == self.request.attempt


class JournalMark(Protocol):
    """How far our journal has come, as this gateway and the terminal's ledger know it."""

    @property
    def mark(self) -> int:
        """Return how many trades the journal has ever recorded as sent."""

    def ledger_knows(self, mark: int) -> None:
        """Take in the highest mark that the ledger was told."""


class Line:
    """The one way to the terminal.

    Args:
        journal: Is told to the terminal's ledger, and compared with what it was told before.
        claims: Tells whether the first greeting asks for an epoch, the right to trade. A
            gateway that only reads, or that was deposed, must not take it from one that trades.
        on_stray: Is given every reply that belongs to a command and that nobody waits for.
        on_change: Is called whenever the link or the acquaintance has changed.
    """

    def __init__(
        self,
        wire: Wire,
        settings: Terminal,
        metrics: Metrics,
        *,
        claims: Callable[[], bool],
        journal: JournalMark | None = None,
        on_stray: StrayHandler,
        on_change: Callable[[], None],
    ) -> None:
        self.session = Session()
        self.is_linked = False
        self.down_since_s: float | None = time.monotonic()
        self._claims = claims
        self._journal = journal
        self._wire = wire
        self._settings = settings
        self._metrics = metrics
        self._on_stray = on_stray
        self._on_change = on_change
        self._channel = Channel(secrets.token_hex(4))
        self._asked: Request | None = None
        self._listener: _Listener | None = None
        self._keeper_asked: Request | None = None
        self._keeper_hears: asyncio.Future[Reply | None] | None = None
        self._last_heard_s = time.monotonic()
        self._to_be_freed = False
        self._hangs = False
        self._clock_is_wanted = False
        self._links = 0
        self._asked_on_link = 0
        self._changed = asyncio.Event()
        self._attention = asyncio.Event()

    @property
    def is_usable(self) -> bool:
        """Tell whether there is a link to a terminal that was greeted."""
        return self.is_linked and self.session.greeting is not None

    @property
    def current_action(self) -> str | None:
        """The action that waits for its reply now."""
        return self._asked.action if self._asked and self._listener else None

    @property
    def _mark(self) -> int:
        return self._journal.mark if self._journal is not None else 0

    def open(self) -> None:
        """Start connecting. `keep` must run as well."""
        self._wire.open(self._framed, self._link_changed)

    def close(self) -> None:
        """Stop at once."""
        self._wire.close()

    # ---- for flow 1 ---------------------------------------------------------------------

    async def perform(self, step: Send | Listen | Clear) -> Event:
        """Do what the exchange asked for and say what happened."""
        match step:
            case Send(request, timeout_s):
                if not await self._usable_for(request) or not self._put(request):
                    return NotSent()
                self._asked, self._asked_on_link = request, self._links
                return await self._hear(timeout_s)
            case _ if self._asked_on_link != self._links:
                return Lost()  # between two steps, when nobody was listening
            case Listen(timeout_s):
                return await self._hear(timeout_s, patient=True)
            case Clear(timeout_s):
                if self._channel.is_free:
                    return Cleared()
                self._free_soon()
                return await self._hear(timeout_s, patient=True, freeing=True)
            case _:
                assert_never(step)

    async def _usable_for(self, request: Request) -> bool:
        """Wait a moment for a line that is greeted and free; without a link, do not."""
        until_s = time.monotonic() + USABLE_WITHIN_S
        if request.command is not None and not request.command.is_trade:
            until_s = min(until_s, request.command.deadline_s)  # its caller is gone then
        while not (self.is_usable and self._channel.may_send(request.purpose)):
            left_s = until_s - time.monotonic()
            if not self.is_linked or left_s <= 0:
                return False
            if self.session.greeting is not None:
                self._free_soon()
            await self._change(left_s)
        return True

    async def _hear(
        self, timeout_s: float | None, *, patient: bool = False, freeing: bool = False
    ) -> Event:
        """Wait for what concerns the command: a reply, silence, or the end of the link."""
        assert self._asked is not None
        loop = asyncio.get_running_loop()
        heard: asyncio.Future[Event] = loop.create_future()
        self._listener = _Listener(self._asked, heard, patient, freeing)
        timer = loop.call_later(timeout_s, self._timed_out) if timeout_s is not None else None
        started_s = time.monotonic()
        try:
            return await heard
        finally:
            self._listener = None
            if timer is not None:
                timer.cancel()
            self._metrics.channel_was_busy(time.monotonic() - started_s)

    def _timed_out(self) -> None:
        if self._listener is not None and not self._listener.patient:
            self._metrics.reply_dropped(self._listener.request.action, "timeout")
        self._tell(TimedOut())

    def _tell(self, event: Event) -> None:
        if self._listener is not None and not self._listener.heard.done():
            self._listener.heard.set_result(event)

    # ---- frames -------------------------------------------------------------------------

    def _put(self, request: Request) -> bool:
        """Send one frame now; False when it certainly did not leave."""
        now_s = time.monotonic()
        fence: Fence | None = None
        command = request.command
        if command is not None:
            if request.purpose is Purpose.COMMAND and now_s >= command.deadline_s:
                return False  # it passed while the line was being freed or the journal written
            if request.dialect not in (None, self.session.dialect):
                return False  # meant for a terminal of another kind than the one that is here
            if request.dialect is Dialect.BRIDGE and request.purpose in FENCED:
                fence = self.session.fence(command, now_s, self._mark)
                if fence is None:
                    self._want_what_a_fence_needs()
                    return False
        correlation = self._channel.begin(request, now_s)
        if self._wire.send(correlation, encode(request, self.session.dialect, fence)):
            return True
        self._channel.withdraw(correlation)
        return False

    def _want_what_a_fence_needs(self) -> None:
        if not self.session.epoch and self._claims():
            self.session.forget()  # it was greeted when there was no right to claim it
            self._announce()
        self._clock_is_wanted = True
        self._attention.set()

    def _framed(self, correlation: bytes, body: bytes) -> None:
        """Take in one frame from the terminal."""
        now_s = time.monotonic()
        received = self._channel.receive(correlation, now_s)
        if received is None:
            self._metrics.reply_discarded("late_unmatched")
            log.warning("reply_unmatched bytes=%d", len(body))
            return
        request = received.request
        reply = decode(body, request)
        self._note(received, reply, now_s)
        if request.command is None:
            self._keeper_heard(request, reply)
        elif self._listener is not None and self._listener.wants(request, reply):
            self._tell(Replied(reply, request.purpose))
        else:
            self._on_stray(request, reply)
        if self._channel.is_free:
            self._freed()
        elif self._to_be_freed:
            self._changed.set()  # a frame less is unanswered: there may be room for a probe

    def _keeper_heard(self, request: Request, reply: Reply) -> None:
        hears = self._keeper_hears
        if hears is not None and request is self._keeper_asked and not hears.done():
            hears.set_result(reply)

    def _note(self, received: Received, reply: Reply, now_s: float) -> None:
        action, command = received.request.action, received.request.command
        id_ = command.key if command else None
        self._last_heard_s = now_s
        self._metrics.reply_received(action, received.took_s)
        if received.late:
            self._metrics.reply_late()
            log.info("reply_late id=%s action=%s took_s=%.3f", id_, action, received.took_s)
        if reply.verdict is Verdict.MALFORMED:
            self._metrics.reply_discarded("malformed")
            cause = reply.cause.message if reply.cause else ""
            log.warning("reply_malformed id=%s action=%s cause=%r", id_, action, cause)
        if reply.reason == "stale_epoch":
            self._metrics.reply_discarded("stale_epoch")
        was_greeted = self.session.greeting is not None
        self.session.learn(reply, now_s)
        if action == "GET_SYMBOL_TICK" and isinstance(reply.response, dict):
            symbol = str(received.request.params.get("symbol"))
            self._read_broker_clock(symbol, reply.response.get("time"), received.took_s)
        is_existing_server = self.session.dialect is Dialect.METATRADER4_SERVER
        if action == "GET_ACCOUNT_INFO" and is_existing_server and isinstance(reply.response, dict):
            self.session.set_account(reply.response)
        if was_greeted and self.session.greeting is None:
            log.warning("terminal_session_changed action=%s", action)
            self._metrics.channel_reset("restart")
            self._announce()

    def _freed(self) -> None:
        self._to_be_freed = False
        self._changed.set()
        if self._listener is not None and self._listener.freeing:
            self._tell(Cleared())

    # ---- the link -----------------------------------------------------------------------

    def _link_changed(self, linked: bool) -> None:
        self.is_linked = linked
        self._links += 1
        self.session.forget()
        if linked:
            log.info("terminal_linked endpoint=%s", self._settings.address)
        else:
            log.warning("terminal_link_lost endpoint=%s", self._settings.address)
            if not self._hangs:  # then it was we who ended it, and counted that
                self._metrics.channel_reset("disconnect")
            self._hangs = False
            if self._listener is not None and not self._listener.patient:
                self._metrics.reply_dropped(self._listener.request.action, "disconnect")
            self._channel.lose()
            if self._keeper_hears is not None and not self._keeper_hears.done():
                self._keeper_hears.set_result(None)
            self._to_be_freed = False
            self._tell(Lost())
        self._announce()

    def _announce(self) -> None:
        if self.is_usable:
            self.down_since_s = None
        elif self.down_since_s is None:
            self.down_since_s = time.monotonic()
        self._metrics.terminal_is_up(self.is_usable)
        self._changed.set()
        self._attention.set()
        self._on_change()

    # ---- the keeper ---------------------------------------------------------------------

    async def keep(self) -> None:
        """Care for the line until cancelled.

        Raises:
            Deposed: Another gateway has claimed the terminal.
        """
        while True:
            self._attention.clear()
            if self.is_linked and self.session.greeting is None:
                await self._greet()
            elif self.is_linked and self._to_be_freed:
                await self._free()
            elif self.is_linked and self._clock_is_wanted:
                self._clock_is_wanted = False
                await self._ask(Purpose.PROBE, *self._sign_of_life())
            elif not await _is_set_within(self._attention, self._settings.probe_interval_s):
                await self._probe()

    async def _change(self, timeout_s: float | None) -> bool:
        """Wait until something about the line has changed; False when nothing did."""
        self._changed.clear()
        return await _is_set_within(self._changed, timeout_s)

    async def _greet(self) -> None:
        if not self._channel.may_send(Purpose.HELLO):
            await self._free()
            return
        claim = self._claims() and not self.session.epoch
        wanted = self._settings.dialect
        configured = None if wanted == "auto" else Dialect(wanted)
        if configured == Dialect.METATRADER4_SERVER:
            reply = await self._ask(Purpose.PROBE, "GET_ACCOUNT_INFO", {})
            said = reply.response if reply else None
            account = said if isinstance(said, dict) else None
            greeting = Greeting(Dialect.METATRADER4_SERVER, account=account) if reply else None
        else:
            params: dict[str, Json] = {"claim": claim, "gateway": "mt4-gateway"}
            if claim:
                params["journal"] = self._mark
            reply = await self._ask(Purpose.HELLO, "HELLO", params)
            greeting = read_greeting(reply) if reply else None
        if reply is None or greeting is None:
            await self._change(RETRY_S)
            return
        if configured is not None and greeting.dialect != configured:
            log.error("terminal_dialect expected=%s found=%s", configured, greeting.dialect)
            await self._change(self._settings.probe_interval_s)
            return
        self._greeted(greeting, reply, claimed=claim)

    def _greeted(self, greeting: Greeting, reply: Reply, *, claimed: bool) -> None:
        # The existing server reads one frame ahead; a second would stop its heartbeats as well.
        self._channel.behind = 1 if greeting.dialect is Dialect.METATRADER4_SERVER else 2
        if not self.session.greeted(greeting, claimed=claimed):
            log.warning("terminal_ledger_changed ledger=%s", greeting.ledger)
            return  # greeted again at once, with a claim
        if self.session.is_deposed:
            raise Deposed(
                f"another gateway has claimed this terminal: its epoch is {greeting.epoch}, "
                f"ours {self.session.epoch}",
                DEPOSED_PAUSE_S,
            )
        if self._journal is not None:
            self._journal.ledger_knows(greeting.journal)
        if reply.clock_ms is not None:
            self.session.read_clock(reply.clock_ms, time.monotonic())
        self._metrics.epoch_is(self.session.epoch)
        if isinstance(reply.response, dict):
            self.permissions(reply.response)
        log.info(
            "terminal_greeted dialect=%s session=%s epoch=%d",
            greeting.dialect,
            greeting.session,
            self.session.epoch,
        )
        self._announce()

    def _read_broker_clock(self, source: str, said: Json, took_s: float = 0.0) -> None:
        """Take a reading of the broker's clock: the time of the last quote."""
        if type(said) is int:
            now_s = time.time()
            clock = self.session.broker_clock
            clock.read(source, said, asked_at_s=now_s - took_s, heard_at_s=now_s)

    def permissions(self, said: Mapping[str, Json]) -> None:
        """Note what a greeting, ping or heartbeat says of broker link and permission."""
        if isinstance(connected := said.get("connected"), bool):
            self.session.connected = connected
        if isinstance(allowed := said.get("trade_allowed"), bool):
            self.session.trade_allowed = allowed
            self._metrics.trade_is_allowed(allowed)

    def heartbeat(self, said: Mapping[str, Json]) -> None:
        """Take in what the terminal publishes of itself each second."""
        self.permissions(said)
        self._read_broker_clock("", said.get("broker_time"))
        greeting = self.session.greeting
        if greeting is not None and said.get("session") not in (None, greeting.session):
            self.session.forget()
            self._announce()

    async def _probe(self) -> None:
        """Ask for a sign of life; in the bridge dialect this reads the clock as well."""
        idle_s = time.monotonic() - self._last_heard_s
        if not self.is_usable or not self._channel.is_free:
            return
        if idle_s < self._settings.probe_interval_s:
            return
        reply = await self._ask(Purpose.PROBE, *self._sign_of_life())
        if reply is None:
            self._free_soon()
        elif isinstance(reply.response, dict):
            self.permissions(reply.response)

    def _sign_of_life(self) -> tuple[str, dict[str, Json]]:
        bridge = self.session.dialect is Dialect.BRIDGE
        return ("PING" if bridge else "GET_ACCOUNT_INFO"), {}

    def _free_soon(self) -> None:
        if not self._to_be_freed and not self._channel.is_free:
            self._to_be_freed = True
            self._attention.set()

    async def _free(self) -> None:
        """Probe behind the unanswered frame; reconnect when the terminal hangs."""
        since_s = self._channel.unanswered_since_s
        if since_s is None:
            return
        left_s = since_s + self._settings.hang_timeout_s - time.monotonic()
        if self._channel.may_send(Purpose.PROBE):
            await self._ask(Purpose.PROBE, *self._sign_of_life())
        elif left_s > 0:
            await self._change(left_s)
        else:
            log.warning("terminal_hangs silent_s=%.1f", self._settings.hang_timeout_s - left_s)
            self._metrics.channel_reset("hang")
            self._hangs = True
            self._wire.reconnect()

    async def _ask(self, purpose: Purpose, action: str, params: dict[str, Json]) -> Reply | None:
        """Send the keeper's own request; None when it was not sent or not answered."""
        request = Request(purpose, action, params)
        if not self._channel.may_send(purpose) or not self._put(request):
            await self._change(RETRY_S)
            return None
        self._keeper_asked = request
        self._keeper_hears = asyncio.get_running_loop().create_future()
        try:
            async with asyncio.timeout(self._settings.reply_timeout_s):
                return await self._keeper_hears
        except TimeoutError:
            self._metrics.reply_dropped(action, "timeout")
            return None
        finally:
            self._keeper_hears = None


async def _is_set_within(event: asyncio.Event, timeout_s: float | None) -> bool:
    try:
        async with asyncio.timeout(timeout_s):
            return await event.wait()
    except TimeoutError:
        return False
