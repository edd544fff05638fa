"""What the terminal does with a trade or a RESOLVE: who may act, what has run, then the trade.

Source: docs/protocol.md "The terminal's decision, in order".
"""

from collections.abc import Callable, Mapping, Sequence

from gateway.sim.bridge_trades import SINGLE_TRADES, Trade, TradeResult, plan_trade
from gateway.sim.close_all import CloseAll, TicketLines
from gateway.sim.codes import Code
from gateway.sim.desk import Desk
from gateway.sim.faults import FaultKind, Point
from gateway.sim.frames import TOKEN_CHARACTERS, Fence, Frame, State, fenced_body, read_frame
from gateway.sim.ledger import Entry, EntryKind, Ledger, LedgerWriteError
from gateway.sim.limits import NO_LIMITS, TradeLimits
from gateway.sim.params import StrictParams
from gateway.sim.platform import Platform
from gateway.sim.wire import Body, Json, Refused, failure, failure_code, order_record, success

TRADES = SINGLE_TRADES | {"DO_CLOSE_ALL"}
"""The actions that may change something at the broker."""

_KIND_OF_STATE = {
    State.DONE: EntryKind.DONE,
    State.REJECTED: EntryKind.REJECTED,
    State.NOT_NOW: EntryKind.NOT_NOW,
    State.IN_DOUBT: EntryKind.DOUBT,
}
_STATE_OF_KIND = {kind: state for state, kind in _KIND_OF_STATE.items()} | {
    EntryKind.SEALED: State.SEALED
}


class Decision:
    """Decide on frames, one at a time, and make the trades that pass.

    Attributes:
        last_seq: The highest frame number seen in the current epoch.
    """

    def __init__(
        self,
        platform: Platform,
        desk: Desk,
        ledger: Ledger,
        *,
        session: str,
        clock_ms: Callable[[], int],
        gateways_may_trade: bool = True,
        limits: TradeLimits = NO_LIMITS,
    ) -> None:
        """Bind the decision to its terminal.

        Args:
            platform: What can be asked.
            desk: Where trade calls go.
            ledger: What is remembered.
            session: The name of this start of the terminal.
            clock_ms: Its monotonic clock, from its start.
            gateways_may_trade: False where plain clients may: the two exclude each other.
            limits: What it may do whatever a gateway wants.
        """
        self.last_seq = 0
        self._gateways_may_trade = gateways_may_trade
        self._limits = limits
        self._platform = platform
        self._desk = desk
        self._ledger = ledger
        self._session = session
        self._clock_ms = clock_ms

    def decide(self, values: dict[str, Json]) -> Body:
        """Return the reply to a trade or a RESOLVE, without the keys that every reply has."""
        frame = read_frame(values)
        if isinstance(frame, str):
            return fenced_body(Fence.BAD_REQUEST, frame)
        if not self._gateways_may_trade:
            message = "Plain clients may trade here; a gateway may not."
            return fenced_body(Fence.PLAIN_CLIENTS, message)
        gates = (
            self._fence_session,
            self._fence_epoch,
            self._fence_seq,
            self._doubt_other_ledger,
            self._recall,
            self._distrust,
            self._seal_if_late,
            self._answer_not_seen,
        )
        for gate in gates:
            if (body := gate(frame)) is not None:
                return body
        return self._execute(frame)

    def _fence_session(self, frame: Frame) -> Body | None:
        if frame.session == self._session:
            return None
        return fenced_body(Fence.STALE_SESSION, "The terminal has been started since.")

    def _fence_epoch(self, frame: Frame) -> Body | None:
        if frame.epoch == self._ledger.epoch and frame.epoch > 0:  # 0 was issued to nobody
            return None
        return fenced_body(Fence.STALE_EPOCH, f"The epoch is {self._ledger.epoch}.")

    def _fence_seq(self, frame: Frame) -> Body | None:
        if frame.seq <= self.last_seq:
            return fenced_body(Fence.STALE_SEQ, f"Frame {self.last_seq} has been seen.")
        self.last_seq = frame.seq
        return None

    def _doubt_other_ledger(self, frame: Frame) -> Body | None:
        if frame.ledger == self._ledger.uid:
            self._ledger.learn_journal(frame.journal)  # from a gateway that may act here
            return None
        return _doubtful(failure("This terminal has another ledger."))

    def _recall(self, frame: Frame) -> Body | None:
        entry = self._ledger.entries.get(frame.id)
        if entry is None:
            return None
        if entry.digest != frame.digest:
            return fenced_body(Fence.ID_CONFLICT, "The id belongs to another command.")
        match entry.kind:
            case EntryKind.STARTED | EntryKind.DOUBT:
                return self._look_for_order(entry) | {"replayed": True}
            case EntryKind.NOT_NOW:
                return self._recall_not_now(frame, entry)
            case _:
                return _stored(entry)

    def _recall_not_now(self, frame: Frame, entry: Entry) -> Body | None:
        """Tell why nothing ran; a late command is sealed as if it had not been seen."""
        if frame.is_resolve:
            return None if self._is_late(frame) or self._ledger.safe_mode else _stored(entry)
        if frame.attempt > entry.attempt:
            return None
        return fenced_body(Fence.STALE_ATTEMPT, f"Attempt {entry.attempt} has ended.")

    def _look_for_order(self, entry: Entry) -> Body:
        found = self._platform.broker.find_by_comment(entry.token) if entry.token else []
        if len(found) == 1:
            body = success(order_record(found[0]))
            self._store(EntryKind.DONE, entry.id, entry.attempt, entry.digest, body)
            return body | {"state": State.DONE.value}
        # Two orders with one token are evidence, never an answer.
        tickets = [order.ticket for order in found] or self._tickets_of(entry.id)
        if entry.kind is EntryKind.DOUBT and entry.reply is not None:
            return _doubtful(entry.reply, tickets)
        body = failure(
            "The terminal stopped between intent and result; "
            + ("several orders have its token." if found else "no order was found.")
        )
        self._store(EntryKind.DOUBT, entry.id, entry.attempt, entry.digest, body)
        return _doubtful(body, tickets)

    def _tickets_of(self, command_id: str) -> list[int]:
        """Return the tickets that a DO_CLOSE_ALL has begun to close, from its sub-ids."""
        start = f"{command_id}#"
        return [
            int(known[len(start) :]) for known in self._ledger.entries if known.startswith(start)
        ]

    def _distrust(self, frame: Frame) -> Body | None:
        why = self._ledger.safe_mode
        if why is None:
            return None
        message = f"The ledger cannot be trusted: {why}."
        if frame.is_resolve:
            return _doubtful(failure(message))
        return fenced_body(Fence.SAFE_MODE, message)

    def _is_late(self, frame: Frame) -> bool:
        return self._clock_ms() > frame.not_after_ms

    def _seal_if_late(self, frame: Frame) -> Body | None:
        if not self._is_late(frame):
            return None
        try:
            self._ledger.store(Entry(EntryKind.SEALED, frame.id, frame.attempt, frame.digest))
        except LedgerWriteError:  # a seal that a crash forgets must not be promised
            return self._distrust(frame)
        return {"state": State.SEALED.value, "replayed": False}

    def _answer_not_seen(self, frame: Frame) -> Body | None:
        if not frame.is_resolve:
            return None
        return {"state": State.NOT_SEEN.value, "replayed": False}

    # --- the trade --------------------------------------------------------------------------

    def _execute(self, frame: Frame) -> Body:
        self._desk.die_if_due(Point.BEFORE_LEDGER)
        if self._desk.fault(FaultKind.LEDGER) is not None:
            self._ledger.write_fault = lambda: True
        try:
            lines = TicketLines(self._ledger, frame, lambda: self._is_late(frame))
            trade = self._permitted_trade(frame.action, frame.values, lines)
        except Refused as refused:
            return self._finish(frame, TradeResult(State.REJECTED, refused.body))
        if (refusal := self._connection_refusal()) is not None:
            return self._finish(frame, refusal)
        if not self._start(frame):
            return self._distrust(frame) or {}
        if (late := self._seal_if_late(frame)) is not None:
            return late
        return self._finish(frame, trade(self._desk))

    def trade_for_plain_client(self, action: str, values: Mapping[str, Json]) -> Body:
        """Return the reply to a trade without ids: the same checks and calls, and no ledger."""
        try:
            trade = self._permitted_trade(action, values, None)
        except Refused as refused:
            return refused.body
        refusal = self._connection_refusal()
        return refusal.body if refusal is not None else trade(self._desk).body

    def _permitted_trade(
        self, action: str, values: Mapping[str, Json], lines: TicketLines | None
    ) -> Trade:
        params = StrictParams(values)
        self._limits.check_trade()
        if not self._platform.is_trade_allowed:
            raise Refused(failure_code(Code.TRADE_NOT_ALLOWED, "Experts may not trade."))
        if action == "DO_CLOSE_ALL":
            return CloseAll.read(self._platform, params, lines).close
        trade = plan_trade(self._platform, action, params, is_plain=lines is None)
        if action == "DO_ORDER_SEND":
            self._limits.check_order(self._platform, params)
        return trade

    def _connection_refusal(self) -> TradeResult | None:
        if not self._platform.is_connected:
            code, message = Code.NO_CONNECTION, "The terminal has no connection."
        elif self._platform.is_context_busy:
            code, message = Code.CONTEXT_BUSY, "Another program is trading."
        else:
            return None
        return TradeResult(State.NOT_NOW, failure_code(code, message))

    def _start(self, frame: Frame) -> bool:
        # Only a sent order carries its command's token, so only that can be looked for later.
        comment = frame.values.get("comment") if frame.action == "DO_ORDER_SEND" else ""
        token = str(comment)[:TOKEN_CHARACTERS]
        started = Entry(
            EntryKind.STARTED, frame.id, frame.attempt, frame.digest, frame.action, token
        )
        try:
            self._ledger.store(started)
        except LedgerWriteError:
            return False
        return True

    def _finish(self, frame: Frame, result: TradeResult) -> Body:
        kind = _KIND_OF_STATE[result.state]
        self._store(kind, frame.id, frame.attempt, frame.digest, result.body)
        self._desk.die_if_due(Point.BEFORE_REPLY)
        if result.state is State.IN_DOUBT:
            return _doubtful(result.body, result.tickets)
        return result.body | {"state": result.state.value, "replayed": False}

    def _store(
        self, kind: EntryKind, command_id: str, attempt: int, digest: str, body: Body
    ) -> None:
        # A result that cannot be stored is still the truth about what happened: it is answered,
        # and safe mode keeps the next trade from starting.
        entry = Entry(kind, command_id, attempt, digest, reply=body)
        try:
            self._ledger.store(entry)
        except LedgerWriteError:
            self._ledger.remember(entry)


def _stored(entry: Entry) -> Body:
    return (entry.reply or {}) | {"state": _STATE_OF_KIND[entry.kind].value, "replayed": True}


def _doubtful(body: Body, tickets: Sequence[int] = ()) -> Body:
    evidence: Body = {"tickets": list(tickets)}
    if "error_code" in body:
        evidence["code"] = body["error_code"]
    return body | {"state": State.IN_DOUBT.value, "evidence": evidence, "replayed": False}
