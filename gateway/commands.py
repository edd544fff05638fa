"""Flow 1: a command from the bus, through the lanes and the line, to exactly one result.

`accept` decides at once whether a command may wait in a lane. `run` takes one after the other
and drives its exchange: ask the exchange for a step, perform it, tell it what happened.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Coroutine

from gateway import cancellation
from gateway.actions import ACTIONS
from gateway.audit import Audit, describe_event, describe_send, nobody
from gateway.config import Config
from gateway.core.choice import exchange_for
from gateway.core.exchange import (
    Clear,
    Event,
    Exchange,
    Finish,
    Listen,
    NotSent,
    Pause,
    Replied,
    Rules,
    Send,
    Started,
    Step,
    TradeExchange,
    Woke,
)
from gateway.core.lanes import Lanes
from gateway.core.messages import (
    Cause,
    Command,
    CommandId,
    Conclusion,
    Dialect,
    Effect,
    Json,
    Lane,
    Outcome,
    Purpose,
    Reply,
    Request,
    Result,
    Source,
    Wish,
)
from gateway.envelope import new_id
from gateway.errors import InvalidCommand, JournalAway
from gateway.guard import NO_FACTS, Facts, Guard
from gateway.journal.trades import Inheritance, Journal, Sent
from gateway.metrics import Metrics
from gateway.policy import halted
from gateway.policy_settings import PolicyInForce
from gateway.results import OURSELVES, Results
from gateway.screening import Screened, Screening
from gateway.terminal.line import FINAL, Line
from gateway.unknowns import Unknowns
from gateway.wishes import command_of
from gateway.work import Work

log = logging.getLogger(__name__)

SWEEP_S = 0.1
"""How often overdue commands are taken out of the lanes; also how late `expired` may be told."""

GREETING_POLL_S = 0.05
"""How often a command looks whether the first terminal has been greeted."""

DRAIN_POLL_S = 0.02
"""How often a draining gateway looks whether it is done."""

EXPIRED_UNSENT = Conclusion(
    Outcome.EXPIRED,
    cause=Cause(Source.GATEWAY, 408, "EXPIRED", "the deadline passed while it waited for its turn"),
)
DRAINED = Conclusion(
    Outcome.DENIED, cause=Cause(Source.GATEWAY, 410, "DRAINING", "the gateway is shutting down")
)

NOT_KNOWN = 503
"""The code of what could not be judged: `RULES_UNKNOWN`, `STATE_UNKNOWN`."""


class Commands:
    """Everything that happens to commands between the bus and the line.

    Args:
        journal: Told before a trade's first frame leaves, and before anyone hears of its result.
        policy: What is in force while it is not replaced; that of `config` by default.
        audit: Told what becomes of trades.
    """

    def __init__(
        self,
        config: Config,
        line: Line,
        journal: Journal,
        metrics: Metrics,
        *,
        policy: PolicyInForce | None = None,
        audit: Audit | None = None,
    ) -> None:
        self._config = config
        self._policy = policy or PolicyInForce(config.policy)
        self._audit = audit or Audit(nobody, "", lambda: 0, self._policy)
        self.results = Results(config.terminal.name, journal, metrics, self._audit)
        self._rules = config.rules()
        self._line = line
        self._journal = journal
        self._metrics = metrics
        self._lanes: Lanes[Work] = Lanes(config.capacities() | {Lane.RESUME: 0})
        self._open: set[Work] = set()
        self._trades: dict[CommandId, Work] = {}
        self._in_doubt: set[Work] = set()
        self._waiting = asyncio.Event()
        self._sweeper: asyncio.TimerHandle | None = None
        self._endings: set[asyncio.Task[None]] = set()
        self._driven: Work | None = None
        self._idle = asyncio.Event()
        self._draining = False
        self._broken: BaseException | None = None
        self._screenings: set[asyncio.Task[None]] = set()
        self.screening = Screening(self._look_up)
        self._guard = Guard(self._policy, self._look_up, self.screening.quote)
        self.unknowns = Unknowns(
            line,
            journal,
            self._guard,
            metrics,
            self._rules,
            look=self._second_look,
            record=lambda *proved: self._in_background(self.results.tell_proved(*proved)),
        )
        metrics.watch_queues(self._lanes.depth, self._lanes.capacity)

    # ---- intake -------------------------------------------------------------------------

    async def accept(self, wish: Wish) -> None:
        """Queue a wish, or answer it at once: denied, or known already."""
        received_s, received_at_s = time.monotonic(), time.time()
        key = CommandId(wish.client, wish.id or new_id())
        try:
            command = command_of(
                wish,
                key,
                self._config.commands,
                require_deadline=self._policy.current.require_deadline,
                received_s=received_s,
                received_at_s=received_at_s,
            )
        except InvalidCommand as exc:
            cause = Cause(Source.GATEWAY, 400, "INVALID", str(exc))
            await self.results.deny(wish, key, cause, received_at_s)
            return
        if command.is_trade and await self._is_known(command, wish, received_at_s):
            return
        if (cause_or_none := self._refusal(command, wish)) is not None:
            await self.results.deny(wish, key, cause_or_none, received_at_s)
            return
        wants_raw = wish.params.get("raw") is True
        work = Work(command, [wish.answer], wants_raw=wants_raw, via=wish.via)
        is_late = received_s >= command.deadline_s  # it will expire, whatever it is
        has_to_ask = self.screening.concerns(command) or self._guard.has_to_ask(command)
        is_screened = has_to_ask and not is_late
        if is_screened:
            is_full = len(self._screenings) >= self._lanes.capacity[command.lane]
            refused = self._busy(command.lane) if is_full else None
        else:
            refused = self._queued(work) if is_late else self._admitted(work)
        if refused is not None:
            await self.results.deny(wish, key, refused, received_at_s)
            return
        self._open.add(work)
        if command.is_trade:
            self._trades[key] = work  # from here on the same id again waits for the same result
        if is_screened:
            allow_nudge = wish.params.get("allow_nudge") is True
            self._screen_soon(self._screen(work, allow_nudge=allow_nudge))

    def _admitted(self, work: Work, facts: Facts = NO_FACTS) -> Cause | None:
        """Queue what the policy lets through; say why not."""
        cause = self._guard.admit(work.command, facts) or self._queued(work)
        if cause is not None:
            self._guard.ended(work.command.key, Outcome.DENIED)
        else:
            work.note("let through by the policy")
        return cause

    def _queued(self, work: Work) -> Cause | None:
        """Queue a command; say so if its lane is full."""
        return None if self._queue(work) else self._busy(work.command.lane)

    def _queue(self, work: Work) -> bool:
        """Put it in its lane; False when that is full."""
        if not self._lanes.put(work.command.lane, work.command.asker, work):
            return False
        self._waiting.set()
        self._sweep_later()
        return True

    def _busy(self, lane: Lane) -> Cause:
        capacity = self._lanes.capacity[lane]
        message = f"the {lane.label} lane is full: {capacity} commands are waiting"
        return Cause(Source.GATEWAY, 429, "BUSY", message)

    # ---- screening: a trade against its symbol's rules, before it is queued -------------

    def _screen_soon(self, screening: Coroutine[None, None, None]) -> None:
        """Screen beside the intake: neither other messages nor the worker wait for it."""
        task = asyncio.get_running_loop().create_task(screening)
        self._screenings.add(task)
        task.add_done_callback(self._screenings.discard)
        task.add_done_callback(self._break_with)

    async def _screen(self, work: Work, *, allow_nudge: bool) -> None:
        """Queue a trade that may be sent; finish one that may not."""
        command = work.command
        until_s = command.deadline_s - self._config.commands.send_margin_s
        screened = Screened()
        if self.screening.concerns(command):
            screened = await self.screening.screen(
                command,
                lambda: self._line.session.dialect,
                allow_nudge=allow_nudge,
                until_s=until_s,
            )
        work.notes = screened.notes
        cause = screened.cause
        if cause is None:
            facts = await self._guard.look_up(command, until_s)
            cause = None if self._draining else self._admitted(work, facts)
        if self._draining:
            await self._deny_unsent(work)
            return
        if cause is None:
            return
        if cause.code == NOT_KNOWN and not self._line.is_usable and time.monotonic() >= until_s:
            # It has only ever waited for a terminal. Told when it is true, not before.
            await asyncio.sleep(command.deadline_s - time.monotonic())
            reason = f"the deadline passed while the terminal was asked: {cause.message}"
            expired = Cause(Source.GATEWAY, 408, "EXPIRED", reason)
            await self._finish(work, Conclusion(Outcome.EXPIRED, cause=expired))
            return
        await self._finish(work, Conclusion(Outcome.DENIED, cause=cause))

    async def _look_up(self, action: str, params: dict[str, Json], until_s: float) -> Result:
        """Read for a trade that is being screened; not held up by a trade in doubt."""
        timeout_s = until_s - time.monotonic()
        return await self.ask(action, params, timeout_s=timeout_s, lane=Lane.READ)

    async def _is_known(self, command: Command, wish: Wish, received_at_s: float) -> bool:
        """Answer a repeated id from memory: the same wish gets the same one result."""
        if (work := self._trades.get(command.key)) is not None:
            digest, action = work.command.digest, work.command.action
            result = None
        elif self._journal.knows(command.key):
            try:
                entry = await self._journal.find(command.key)
            except JournalAway as exc:
                cause = Cause(Source.GATEWAY, 503, "NO_JOURNAL", str(exc))
                await self.results.deny(wish, command.key, cause, received_at_s)
                return True
            if entry is None:  # it has just aged out, maybe for another message as well
                return command.key in self._trades and await self._is_known(
                    command, wish, received_at_s
                )
            digest, action, result = entry.digest, entry.action, entry.result
        else:
            return False
        self._metrics.duplicate()
        if digest != command.digest:
            message = f"id {command.key.id!r} was used for another {action}"
            cause = Cause(Source.GATEWAY, 409, "ID_CONFLICT", message)
            await self.results.deny(wish, command.key, cause, received_at_s)
        elif result is not None:
            await wish.answer(result)
        elif work is not None:
            work.answers.append(wish.answer)
        return True

    def _refusal(self, command: Command, wish: Wish) -> Cause | None:
        """Say why a valid command is not even queued."""
        if self._draining:
            return DRAINED.cause
        if (cause := self._stopped(command)) is not None:
            return cause
        if command.is_trade and (cause := self._journal.refusal()) is not None:
            return cause
        down_since_s = self._line.down_since_s
        if down_since_s is not None and command.received_s < command.deadline_s:
            down_s = command.received_s - down_since_s
            if down_s > self._config.terminal.down_grace_s:
                message = f"the terminal has not answered for {down_s:.0f} s"
                return Cause(Source.GATEWAY, 502, "NO_TERMINAL", message)
        dialect = self._line.session.dialect
        if dialect is not None:
            reason = ACTIONS[command.action].refuse_for(dialect, command.params)
            if reason is not None:
                return Cause(Source.GATEWAY, 400, "INVALID", reason)
        return None

    async def ask(
        self, action: str, params: dict[str, Json], *, timeout_s: float, lane: Lane = Lane.POLL
    ) -> Result:
        """Read something for the gateway itself; denied when the lane is full."""
        answered: asyncio.Future[Result] = asyncio.get_running_loop().create_future()
        now_s = time.monotonic()
        command = Command(
            key=CommandId(OURSELVES, new_id()),
            asker=OURSELVES,
            action=action,
            effect=Effect.QUERY,
            lane=lane,
            params=params,
            digest="",
            received_s=now_s,
            received_at_s=time.time(),
            deadline_s=now_s + timeout_s,
        )

        async def settle(result: Result) -> None:
            if not answered.done():
                answered.set_result(result)

        work = Work(command, [settle])
        if not self._queue(work):
            denied = Conclusion(Outcome.DENIED, cause=self._busy(lane))
            return self.results.of(command.key, action, denied, command.received_at_s)
        return await answered

    def _sweep_later(self) -> None:
        if self._sweeper is None:
            self._sweeper = asyncio.get_running_loop().call_later(SWEEP_S, self._sweep)

    def _sweep(self) -> None:
        """Expire what still waits past its deadline: unsent, or a read, which may have been."""
        self._sweeper = None
        now_s = time.monotonic()
        overdue = self._lanes.remove_where(
            lambda work: (
                (work.exchange is None or not work.command.is_trade)
                and work.command.deadline_s <= now_s
            )
        )
        for work in overdue:
            self._in_background(self._finish(work, EXPIRED_UNSENT))
        if any(self._lanes.depth(lane) for lane in Lane):
            self._sweep_later()

    def _in_background(self, ending: Coroutine[None, None, None]) -> None:
        task = asyncio.get_running_loop().create_task(ending)
        self._endings.add(task)
        task.add_done_callback(self._endings.discard)
        task.add_done_callback(self._break_with)

    def _break_with(self, task: asyncio.Task[None]) -> None:
        """Let a bug beside the worker end the worker too: `abandon` then ends every command."""
        if not task.cancelled() and (exc := task.exception()) is not None:
            self._broken = exc
            self._waiting.set()

    async def drain(self, grace_s: float) -> None:
        """Stop the intake, deny what has not been sent, and wait for the rest for a while.

        What only an absent terminal could tell is not waited for: the next gateway finds it out.
        """
        self._draining = True
        unsent = self._lanes.remove_where(lambda work: not work.is_left and work.looked is None)
        for work in unsent:
            self._in_background(self._deny_unsent(work))
        for work in self._open:
            if work.alarm is not None and not work.is_left:
                self._wake(work, Woke())
        try:
            async with asyncio.timeout(grace_s):
                while self._driven is not None or any(map(self._is_worth_waiting, self._open)):
                    self._idle.clear()
                    self._waiting.set()
                    await self._idle.wait()
                    await asyncio.sleep(DRAIN_POLL_S)
        except TimeoutError:
            log.warning("drain_timed_out open=%d", len(self._open))

    async def _deny_unsent(self, work: Work) -> None:
        """End what was not sent; of a trade only while no other gateway may have the same id."""
        if work.command.is_trade and not self._journal.may_send():
            log.warning("command_left id=%s action=%s", work.command.key, work.command.action)
            self._open.discard(work)
            self._trades.pop(work.command.key, None)
        else:
            await self._finish(work, DRAINED)

    def _is_worth_waiting(self, work: Work) -> bool:
        return self._line.is_usable or work.alarm is None or not work.is_left

    async def abandon(self) -> None:
        """Deny what has not been sent; `run` must have ended.

        What may have been sent is left to the next gateway, which finds it in the journal. Nothing
        of this turn is done any more after it.
        """
        self._draining = True
        if self._sweeper is not None:
            self._sweeper.cancel()
        for work in self._open:
            if work.alarm is not None:
                work.alarm.cancel()
        self._lanes.remove_where(lambda _: True)
        for screening in self._screenings:
            screening.cancel()
        await asyncio.gather(*self._screenings, return_exceptions=True)
        for work in list(self._open):
            if work.is_left:
                log.warning("command_left id=%s action=%s", work.command.key, work.command.action)
            else:
                await self._deny_unsent(work)
        for ending in self._endings:
            ending.cancel()  # its result cannot be stored now; the next gateway finds it out
        await asyncio.gather(*self._endings, return_exceptions=True)

    def inherit(self, inheritance: Inheritance) -> None:
        """Find out first what became of the trades that an earlier gateway had sent."""
        self.unknowns.inherit(inheritance.unknown)
        open_ones = [*inheritance.unfinished, *inheritance.unknown]
        self._guard.inherit(sent.command for sent in open_ones)
        self._guard.recall((sent.command, outcome) for sent, outcome in inheritance.lately)
        for sent in inheritance.unfinished:
            command = sent.command
            if sent.ledger is not None:
                self._line.session.pin(command.key, sent.ledger)
            work = Work(
                command,
                answers=[],
                exchange=exchange_for(command, sent.dialect, self._rules),
                recorded=True,
                is_left=True,
                inherited=True,
                wants_raw=sent.wants_raw,
                notes=sent.notes,
            )
            work.note("taken over: an earlier gateway had recorded it as sent")
            self._open.add(work)
            self._trades[command.key] = work
            self._doubt(work)
            self._wake(work, Started())

    def queues(self) -> dict[str, Json]:
        """Say how full each lane is."""
        return {
            lane.label: {"depth": self._lanes.depth(lane), "capacity": self._lanes.capacity[lane]}
            for lane in Lane
        }

    async def state_of(self, key: CommandId) -> Result | str:
        """Say what became of a trade: its result, `waiting`, `in_progress` or `not_known`.

        Raises:
            JournalAway: It cannot be looked up now.
        """
        if (work := self._trades.get(key)) is not None:
            return "in_progress" if work.exchange else "waiting"
        entry = await self._journal.find(key)
        return "not_known" if entry is None else entry.result

    # ---- the one worker -----------------------------------------------------------------

    async def run(self) -> None:
        """Take commands from the lanes, one at a time, until cancelled."""
        while True:
            cancellation.heed()
            if self._broken is not None:
                raise self._broken
            work = self._driven = self._lanes.take()
            if work is None:
                self._idle.set()
                self._waiting.clear()
                await self._waiting.wait()
                continue
            self._idle.clear()
            if work.taken_at_s is None:
                work.taken_at_s = time.monotonic()
                self._metrics.command_taken(
                    work.command.lane, work.taken_at_s - work.command.received_s
                )
            await self._drive(work)

    async def _drive(self, work: Work) -> None:
        """Perform steps until the command is finished or leaves the line to others."""
        if self._draining and not work.is_left and work.looked is None:
            await self._deny_unsent(work)
            return
        dialect = self._line.session.dialect
        if work.exchange is None and dialect is None:
            # What it is sent as depends on the terminal, and none has been greeted yet.
            if time.monotonic() >= work.command.deadline_s:
                await self._finish(work, EXPIRED_UNSENT)
            else:
                self._park(work, Pause(GREETING_POLL_S))
            return
        if work.exchange is None:
            cause = self._impossible(work.command) or self._stopped(work.command)
            if cause is not None:
                await self._finish(work, Conclusion(Outcome.DENIED, cause=cause))
                return
            work.exchange = exchange_for(work.command, dialect, self._rules)
        event = work.event
        while True:
            event, work.proof = work.proof or event, None
            step = self._next_step(work, work.exchange, event)
            match step:
                case Finish(conclusion) if work.looked is not None:
                    _tell(work.looked, conclusion)
                    return
                case Finish(conclusion):
                    # The next command goes to the terminal while the result is told; the next
                    # trade only when it is stored as well.
                    self._in_background(self._finish(work, conclusion))
                    if work.command.is_trade:
                        await asyncio.sleep(0)  # its record is written before the next trade's
                    return
                case Pause():
                    self._park(work, step)
                    return
                case _:
                    event = await self._perform(work, step)

    def _next_step(self, work: Work, exchange: Exchange, event: Event) -> Step:
        now_s = time.monotonic()
        if (work.inherited or work.looked) and isinstance(event, Started):
            assert isinstance(exchange, TradeExchange)
            return exchange.resume(1, now_s)
        return exchange.advance(event, now_s)

    async def _perform(self, work: Work, step: Send | Listen | Clear) -> Event:
        if isinstance(step, Send) and step.request.purpose is Purpose.COMMAND:
            if work.looked is not None:
                return NotSent()  # a second look only looks
            if work.command.is_trade and not await self._is_recorded(work):
                return NotSent()
            if step.request.attempt > 1:
                self._metrics.retried(work.command.action)
        if isinstance(step, Send):
            greeting = self._line.session.greeting
            work.note(describe_send(step, greeting.session if greeting else None))
        started_s = time.monotonic()
        event = await self._line.perform(step)
        work.channel_s += time.monotonic() - started_s
        work.note(describe_event(event))
        return event

    async def _is_recorded(self, work: Work) -> bool:
        """Have a trade in the journal before its frame leaves; False when it must not leave."""
        command, exchange = work.command, work.exchange
        if not self._line.is_usable:
            return False  # what is recorded and never sent is `unknown` at the existing server
        if not work.recorded:
            assert exchange is not None
            assert exchange.dialect is not None
            ledger = self._line.session.pinned(command.key)
            if exchange.dialect is Dialect.BRIDGE and ledger is None:
                return False  # no ledger has been greeted that could be named
            work.is_left = True  # it may be stored even if that is not acknowledged
            sent = Sent(command, exchange.dialect, ledger, work.wants_raw, work.notes)
            work.recorded = await self._journal.sent(sent)
            work.note("recorded as sent" if work.recorded else "the journal did not answer")
            if not work.recorded:
                return False
        return self._journal.may_send() and self._stopped(command) is None

    def _stopped(self, command: Command) -> Cause | None:
        """Say what forbids a command now: the policy, or an operator, since the intake, too."""
        halt = self._journal.halted
        return self._guard.first_look(command) or halted(command, self._policy.current, halt)

    def _impossible(self, command: Command) -> Cause | None:
        """Look again at what the terminal can do: it may have been greeted since the intake."""
        dialect = self._line.session.dialect
        if dialect is None:
            return None
        reason = ACTIONS[command.action].refuse_for(dialect, command.params)
        return Cause(Source.GATEWAY, 400, "INVALID", reason) if reason else None

    # ---- pauses -------------------------------------------------------------------------

    def _park(self, work: Work, pause: Pause) -> None:
        """Let others use the line for a while; while in doubt, no other trade."""
        if pause.in_doubt and work.looked is None:
            self._doubt(work)
        else:
            self._doubt_is_over(work)
        loop = asyncio.get_running_loop()
        work.alarm = loop.call_later(pause.delay_s, self._wake, work, Woke())

    def _doubt(self, work: Work) -> None:
        self._in_doubt.add(work)
        self._lanes.trades_held = True

    def _doubt_is_over(self, work: Work) -> None:
        self._in_doubt.discard(work)
        self._lanes.trades_held = bool(self._in_doubt)
        self._waiting.set()

    def _wake(self, work: Work, event: Event) -> None:
        """Give a parked command its next turn, with what happened meanwhile."""
        if work.alarm is not None:
            work.alarm.cancel()
            work.alarm = None
        work.event = event
        lane = Lane.RESUME if work in self._in_doubt else work.command.lane
        if work.looked is not None:
            lane = Lane.POLL
        self._lanes.put_back(lane, work.command.asker, work)
        self._waiting.set()
        self._sweep_later()

    def stray(self, request: Request, reply: Reply) -> None:
        """Take in a reply that nobody waits for: evidence for an open or an unknown trade."""
        command = request.command
        if command is None or request.dialect is None or reply.verdict not in FINAL:
            return
        if request.purpose not in (Purpose.COMMAND, Purpose.RESOLVE):
            return
        work = self._trades.get(command.key)
        if work is not None and work.alarm is not None:
            work.note(f"late {describe_event(Replied(reply, request.purpose))}")
            self._wake(work, Replied(reply, request.purpose))
        elif work is not None:
            work.note(f"late {describe_event(Replied(reply, request.purpose))}")
            work.proof = Replied(reply, request.purpose)
        else:
            self.unknowns.take(request, reply)

    async def _second_look(self, sent: Sent, rules: Rules) -> Conclusion:
        """Find out once more what became of a trade, when nothing else is to be done."""
        work = Work(
            sent.command,
            answers=[],
            exchange=exchange_for(sent.command, sent.dialect, rules),
            looked=asyncio.get_running_loop().create_future(),
        )
        assert work.looked is not None
        self._lanes.put_back(Lane.POLL, OURSELVES, work)
        self._waiting.set()
        return await work.looked

    # ---- the end ------------------------------------------------------------------------

    async def _finish(self, work: Work, conclusion: Conclusion) -> None:
        """Finish once: record, then tell."""
        command = work.command
        self._doubt_is_over(work)
        self._guard.ended(command.key, conclusion.outcome)
        if conclusion.resolved:
            self._metrics.resolved(str(conclusion.outcome))
        result = self.results.of_work(work, conclusion, self._line.session.broker_offset_s)
        if command.is_trade and result.outcome is Outcome.DENIED:
            await self._audit.finished(command, result, work.via or "", work.steps)
        await self.results.tell(command, result, work.answers)
        if command.is_trade:
            # The same id again is answered from the journal now.
            self._trades.pop(command.key, None)
        if command.is_trade and result.outcome is not Outcome.DENIED:
            work.note("the result is stored")
            await self._audit.finished(command, result, work.via or "", work.steps)
        if result.outcome is Outcome.UNKNOWN and work.exchange and work.exchange.dialect:
            ledger = self._line.session.pinned(command.key)
            self.unknowns.add(Sent(command, work.exchange.dialect, ledger))
        self._open.discard(work)


def _tell(looked: asyncio.Future[Conclusion], found: Conclusion) -> None:
    """Tell who looked, unless they were ended meanwhile."""
    if not looked.done():
        looked.set_result(found)
