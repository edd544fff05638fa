"""One trade with all that can happen to it: terminal, bus, journal, network and two gateways.

The exchange that decides is the shipped one (`LedgerTrade`, `SearchTrade`): each step is asked of
a copy of the real object. What is around it is modelled, and named after what it stands for: the
journal's `sent` and `result` with their fence (`journal/trades.py`), the job that comes again
until it is acknowledged (`jobs.py`), what a gateway answers from the journal or takes up at its
start (`commands.py`), what the line lets out (`line.py`). The network keeps no order, and what it
never delivers is lost. Time has four moments.
"""

from __future__ import annotations

import copy
from abc import ABC, abstractmethod
from collections.abc import Iterator
from dataclasses import dataclass
from enum import Enum
from typing import Any, NamedTuple

from gateway.core.evidence import Search, token_of
from gateway.core.exchange import (
    Clear,
    Cleared,
    Event,
    Finish,
    Listen,
    Lost,
    NotSent,
    Pause,
    Replied,
    Send,
    Started,
    TimedOut,
    TradeExchange,
    Woke,
)
from gateway.core.messages import Cause, Purpose, Reply, Source, Verdict
from gateway.terminal.line import FINAL
from tests.core.support import RULES, trade

NOW_S = (0.0, 29.9, 31.0, 1000.0)
IN_TIME, WITHIN_MARGIN, PAST_DEADLINE, GIVEN_UP = range(4)
"""In time; too late to send; past the deadline; when nobody tries to find out any longer."""

COMMAND = trade()
ORDER = {"ticket": 1001, "comment": token_of(COMMAND.key)}
BUSY = Cause(Source.BROKER, 146, "ERR_TRADE_CONTEXT_BUSY", "busy")
NO_STOPS = Cause(Source.BROKER, 130, "ERR_INVALID_STOPS", "created, but failed to set sl/tp")

EVENTS: dict[str, Event] = {
    type(event).__name__: event
    for event in (Started(), TimedOut(), Lost(), Cleared(), Woke(), NotSent())
}
REPLIES = {
    **{verdict.value: Reply(verdict) for verdict in Verdict},
    "not_now": Reply(Verdict.NOT_NOW, cause=BUSY),
    "fenced": Reply(Verdict.FENCED, reason="stale_seq"),
    "created": Reply(Verdict.IN_DOUBT, cause=NO_STOPS, evidence={"created": True}),
    "alive": Reply(Verdict.DONE, response={}),
    "none found": Reply(Verdict.DONE),
    "order found": Reply(Verdict.DONE, response=[ORDER]),
}
FINAL_NAMES = frozenset(verdict.value for verdict in FINAL)


class Frame(NamedTuple):
    """A frame on its way: whose, for which session, and what."""

    gateway: int
    epoch: int
    session: int
    seq: int
    attempt: int
    purpose: str


class Gate(NamedTuple):
    """One gateway: what its exchange remembers, and what it waits for.

    Attributes:
        waits: `up` (nothing to do), `queued`, `inherited`, `send`, `reply`, `read`, `clear`,
            `pause`, `store`, `done` (the result is stored), `dead`.
        until: The moment at which a pause ends.
        memory: Which of the exchange's memories; see `Exchanges`.
        unanswered: The sequence number of a command that is unanswered on this connection.
        recorded: It knows that the journal has `sent`.
        has_job: It owes the queue an acknowledgement.
        outcome: What is to be stored.
    """

    waits: str = "up"
    until: int = 0
    memory: int = 0
    attempt: int = 0
    purpose: str = ""
    epoch: int = 0
    session: int = 0
    seq: int = 0
    unanswered: int = 0
    recorded: bool = False
    has_job: bool = False
    outcome: str = ""


class Place(NamedTuple):
    """The terminal: `stage` is what is behind the trade that runs; `entry` is the ledger's."""

    stage: str = "idle"
    session: int = 1
    epoch: int = 0
    last_seq: int = 0
    entry: str = ""
    entry_attempt: int = 0
    running: Frame | None = None


class State(NamedTuple):
    """All there is.

    Attributes:
        sent, result: The journal's two records.
        told: What the caller was told last.
        excused: Something has happened after which `unknown` is an honest answer.
    """

    time: int = IN_TIME
    gates: tuple[Gate, ...] = (Gate(),)
    frames: frozenset[Frame] = frozenset()
    replies: frozenset[tuple[Frame, str]] = frozenset()
    place: Place = Place()
    orders: int = 0
    latent: bool = False
    sent: bool = False
    result: str = ""
    told: str = ""
    acked: bool = False
    excused: bool = False
    deliveries: int = 0
    crashes: int = 0
    deaths: int = 0


Moves = Iterator[tuple[str, State]]

DEAD = Gate("dead")
OPEN = frozenset({"queued", "inherited", "send", "reply", "read", "clear", "pause", "store"})


@dataclass(frozen=True)
class Bounds:
    """How far the search goes: how often each thing may happen; frames per gateway."""

    frames: int = 3
    deaths: int = 1
    crashes: int = 1
    gateways: int = 2
    deliveries: int = 2
    moments: int = 4


class Decision(NamedTuple):
    """What an exchange said, and what it remembers since."""

    step: str
    waits: str
    until: int
    memory: int
    attempt: int
    purpose: str = ""
    outcome: str = ""


class Exchanges:
    """The real exchange in every state that it was ever in, and what it says to each event."""

    def __init__(self, kind: type[TradeExchange]) -> None:
        new = kind(COMMAND, RULES)
        self._memories = [new]
        self._numbers = {_plain(new): 0}
        self._decided: dict[tuple[Any, ...], Decision] = {}

    def advance(self, memory: int, event: str, purpose: str, time: int) -> Decision:
        """Ask the exchange with this memory what to do next."""
        question = (memory, event, purpose, time)
        if (decision := self._decided.get(question)) is None:
            exchange = copy.deepcopy(self._memories[memory])
            if event == "resume":
                step = exchange.resume(1, NOW_S[time])
            else:
                step = exchange.advance(_event(event, purpose), NOW_S[time])
            decision = self._decided[question] = self._decision(exchange, step, time)
        return decision

    def _decision(self, exchange: TradeExchange, step: object, time: int) -> Decision:
        known = (type(step).__name__, self._number(exchange), exchange.attempts)
        match step:
            case Finish(conclusion):
                outcome = conclusion.outcome.value
                return Decision(known[0], "store", 0, *known[1:], outcome=outcome)
            case Pause(delay_s):
                until = PAST_DEADLINE if NOW_S[time] + delay_s > COMMAND.deadline_s else IN_TIME
                return Decision(known[0], "pause", until, *known[1:])
            case Clear():
                return Decision(known[0], "clear", 0, *known[1:])
            case Send(request):
                return Decision(known[0], "send", 0, *known[1:], request.purpose.value)
            case Listen():
                return Decision(known[0], "reply", 0, *known[1:])
            case _:
                raise AssertionError(step)

    def _number(self, exchange: TradeExchange) -> int:
        exchange._pauses = 0  # a pause is a pause, however long
        if exchange._give_up_at_s is not None and exchange._give_up_at_s < NOW_S[GIVEN_UP]:
            exchange._give_up_at_s = RULES.give_up_s  # all the same: spent at the last moment
        memory = _plain(exchange)
        if memory not in self._numbers:
            self._numbers[memory] = len(self._memories)
            self._memories.append(exchange)
        return self._numbers[memory]


def _plain(value: object) -> Any:
    """Write down all that an exchange remembers, as something that can be compared."""
    if isinstance(value, TradeExchange | Search):
        remembered = vars(value).items()
        return tuple((name, _plain(one)) for name, one in remembered if name not in CONSTANT)
    if isinstance(value, Enum):
        return value.name
    return tuple(value) if isinstance(value, list) else value


CONSTANT = frozenset({"command", "rules", "_token", "_wanted", "_doubt"})
"""What never changes, or (`_doubt`) changes only the words of a warning."""


def _event(name: str, purpose: str) -> Event:
    return EVENTS[name] if name in EVENTS else Replied(REPLIES[name], Purpose(purpose))


class Terminal(ABC):
    """What a terminal does with frames.

    Args:
        removed: Protections to leave out.
    """

    exchange: type[TradeExchange]
    excuses: frozenset[str]
    """After which of a gateway's events `unknown` is an honest answer."""
    fences: bool
    """It refuses frames of deposed gateways and earlier sessions."""

    def __init__(self, bounds: Bounds, removed: frozenset[str]) -> None:
        self._bounds = bounds
        self._removed = removed

    @abstractmethod
    def greeted(self, state: State, gate: Gate) -> Iterator[tuple[Gate, Place]]:
        """Let a gateway send with what it knows of the terminal, or after greeting it."""

    @abstractmethod
    def is_dead_letter(self, frame: Frame, place: Place) -> bool:
        """Tell whether a frame can do nothing any more."""

    @abstractmethod
    def takes(self, state: State, frame: Frame) -> Moves:
        """Take a frame while idle."""

    @abstractmethod
    def moves(self, state: State) -> Moves:
        """Go on with the trade that runs, or die."""


class World:
    """All moves.

    Args:
        removed: Protections of terminal, journal and bus to leave out.
    """

    def __init__(self, terminal: type[Terminal], bounds: Bounds, removed: frozenset[str]) -> None:
        self._terminal = terminal(bounds, removed)
        self._exchanges = Exchanges(terminal.exchange)
        self._bounds = bounds
        self._removed = removed

    def next(self, state: State) -> Moves:
        """Name all that may happen next, with what is then."""
        if state.time < self._bounds.moments - 1:
            yield "time passes", state._replace(time=state.time + 1)
        for number, gate in enumerate(state.gates):
            if gate.waits != "dead":
                yield from self._gateway(state, number, gate)
                yield from self._crash(state, number, gate)
                yield from self._job(state, number, gate)
        if len(state.gates) < self._bounds.gateways and state.gates[-1].waits != "up":
            yield "the next gateway takes over", self._take_over(state)
        if state.place.stage == "idle":
            for frame in state.frames:
                yield from self._terminal.takes(state, frame)
        yield from self._terminal.moves(state)
        if state.latent:
            yield (
                "the latent order opens",
                state._replace(latent=False, orders=state.orders + 1),
            )

    def tidy(self, state: State) -> State:
        """Forget what can only be ignored, so that the search stays small."""
        place, gates = state.place, state.gates
        if any(self._terminal.is_dead_letter(frame, place) for frame in state.frames):
            alive = (f for f in state.frames if not self._terminal.is_dead_letter(f, place))
            state = state._replace(frames=frozenset(alive))
        if any(not self._can_hear(state, gates[frame.gateway]) for frame, _ in state.replies):
            heard = (one for one in state.replies if self._can_hear(state, gates[one[0].gateway]))
            state = state._replace(replies=frozenset(heard))
        return state

    def _can_hear(self, state: State, gate: Gate) -> bool:
        return gate.waits in OPEN or (gate.waits == "done" and state.result == "unknown")

    # ---- one gateway and its exchange ---------------------------------------------------

    def _gateway(self, state: State, number: int, gate: Gate) -> Moves:
        match gate.waits:
            case "queued":
                yield from self._tell(state, number, gate, "Started")
            case "inherited":
                resumes = "Started" if "resume" in self._removed else "resume"
                yield from self._tell(state, number, gate, resumes)
            case "send":
                yield from self._leaves(state, number, gate, "")
            case "reply" | "read":
                for event in ("TimedOut", "Lost"):
                    yield from self._tell(state, number, gate, event)
                if gate.waits == "read" and state.place.stage == "idle":
                    for said in (_reads(state, gate.purpose), "malformed"):
                        yield from self._tell(state, number, gate, said)
            case "clear":
                yield from self._tell(state, number, gate, "Cleared")
                yield from self._tell(state, number, gate, "Lost")
            case "pause" if state.time >= gate.until:
                yield from self._tell(state, number, gate, "Woke")
            case "store":
                yield from self._store(state, number, gate)
            case _:
                pass
        if gate.waits in ("reply", "clear", "pause", "done"):
            yield from self._hear(state, number, gate)

    def _crash(self, state: State, number: int, gate: Gate) -> Moves:
        """End the active one; one deposed may as well do nothing any more."""
        is_active = number == len(state.gates) - 1
        is_at_work = gate.has_job or gate.waits in OPEN
        if is_active and is_at_work and state.crashes < self._bounds.crashes:
            excused = state.excused or "crash" in self._terminal.excuses
            more = state.crashes + 1
            yield f"g{number} CRASHES", _with(state, number, DEAD, crashes=more, excused=excused)

    def _hear(self, state: State, number: int, gate: Gate) -> Moves:
        """Hear what the line passes on: replies to this attempt, final ones to any."""
        if gate.waits == "reply" and self._terminal.fences:
            for frame in state.frames:  # refused, whatever for: it does nothing
                if frame.gateway == number and frame.seq == gate.seq:
                    rest = state._replace(frames=state.frames - {frame})
                    heard = gate._replace(unanswered=0)
                    yield from self._tell(rest, number, heard, "fenced", frame.purpose)
        for frame, verdict in state.replies:
            if frame.gateway != number:
                continue
            rest = state._replace(replies=state.replies - {(frame, verdict)})
            if gate.waits == "done":
                yield from self._proves(rest, number, verdict, frame.purpose)
                continue
            is_answered = frame.seq >= gate.unanswered
            heard = gate._replace(unanswered=0) if is_answered else gate
            is_wanted = gate.waits != "pause" and frame.attempt == gate.attempt
            if verdict in FINAL_NAMES or is_wanted:
                yield from self._tell(rest, number, heard, verdict, frame.purpose)
            if is_wanted:
                yield from self._tell(rest, number, heard, "malformed", frame.purpose)

    def _tell(self, state: State, number: int, gate: Gate, event: str, purpose: str = "") -> Moves:
        """Tell the exchange what happened, and do what it says."""
        said = self._exchanges.advance(gate.memory, event, purpose or gate.purpose, state.time)
        if event in ("Lost", "Cleared"):
            gate = gate._replace(unanswered=0)
        if event in self._terminal.excuses and not state.excused:
            state = state._replace(excused=True)
        gate = gate._replace(
            waits=said.waits,
            until=said.until,
            memory=said.memory,
            attempt=said.attempt,
            purpose=said.purpose or gate.purpose,
            outcome=said.outcome,
        )
        label = f"g{number} {event} -> {said.step} {said.purpose or said.outcome}"
        if said.step != "Send":
            told = said.outcome if "store_before_telling" in self._removed else ""
            yield label, _with(state, number, gate, told=told or state.told)
        elif said.purpose != "command":
            yield from self._leaves(state, number, gate, label)
        elif gate.recorded or "sent_before_sending" in self._removed:
            yield label, _with(state, number, gate)
        else:
            yield from self._record(state, number, gate, label)

    def _record(self, state: State, number: int, gate: Gate, label: str) -> Moves:
        """Write `sent`; it may be stored, stored without our knowing, refused, or not stored."""
        if self._is_fenced_off(state, number):
            yield f"{label}, the journal refuses it", _with(state, number, DEAD)
            return
        stored = state._replace(sent=True)
        yield f"{label}, sent is stored", _with(stored, number, gate._replace(recorded=True))
        yield from self._tell(stored, number, gate, "NotSent")
        yield from self._tell(state, number, gate, "NotSent")

    def _leaves(self, state: State, number: int, gate: Gate, label: str) -> Moves:
        """Let the frame leave, or not: then the exchange hears `NotSent`."""
        yield from self._tell(state, number, gate, "NotSent")
        is_command = gate.purpose == "command"
        if is_command and state.time >= PAST_DEADLINE and "line_deadline" not in self._removed:
            return  # the line looks at the deadline, too
        if gate.purpose in ("probe", "search"):
            yield label, _with(state, number, gate._replace(waits="read"))
            return
        for greeted, place in self._terminal.greeted(state, gate):
            if greeted.seq < self._bounds.frames:
                seq = greeted.seq + 1
                unanswered = seq if is_command else gate.unanswered
                asking = greeted._replace(waits="reply", seq=seq, unanswered=unanswered)
                frame = Frame(
                    number, asking.epoch, asking.session, seq, asking.attempt, asking.purpose
                )
                behind = " BEHIND A COMMAND" if is_command and gate.unanswered else ""
                yield (
                    f"{label or f'g{number}'} {gate.purpose} {seq} leaves{behind}",
                    _with(state, number, asking, frames=state.frames | {frame}, place=place),
                )

    # ---- its end ------------------------------------------------------------------------

    def _is_fenced_off(self, state: State, number: int) -> bool:
        """Tell whether another gateway has begun a term since."""
        return number != len(state.gates) - 1 and "journal_fence" not in self._removed

    def _store(self, state: State, number: int, gate: Gate) -> Moves:
        if self._is_fenced_off(state, number):
            yield f"g{number} the journal refuses its result", _with(state, number, DEAD)
            return
        done = Gate("done", has_job=gate.has_job)
        outcome = gate.outcome
        yield (
            f"g{number} {outcome} is stored",
            _with(state, number, done, result=outcome, told=outcome),
        )

    def _proves(self, state: State, number: int, verdict: str, purpose: str) -> Moves:
        """Put a late proof in the place of unknown."""
        if verdict in FINAL_NAMES and not self._is_fenced_off(state, number):
            found = self._exchanges.advance(0, verdict, purpose, state.time).outcome
            yield f"g{number} late {verdict} proves it", state._replace(result=found, told=found)

    # ---- the bus ------------------------------------------------------------------------

    def _job(self, state: State, number: int, gate: Gate) -> Moves:
        """Hand the job out, also again after its acknowledgement was lost; take it back."""
        is_active = number == len(state.gates) - 1
        if is_active and not gate.has_job and state.deliveries < self._bounds.deliveries:
            more = state.deliveries + 1
            is_known = bool(state.result) and "known_ids" not in self._removed
            is_new = gate.waits not in OPEN and not is_known
            after = Gate("queued", recorded=gate.recorded, epoch=gate.epoch, session=gate.session)
            taken = after._replace(seq=gate.seq) if is_new else gate
            yield (
                f"g{number} is given the job{'' if is_new else ' that it knows'}",
                _with(state, number, taken._replace(has_job=True), deliveries=more),
            )
        is_over = gate.waits == "done" or "ack_after_store" in self._removed
        if gate.has_job and is_over:
            yield (
                f"g{number} acknowledges the job",
                _with(state, number, gate._replace(has_job=False), acked=True),
            )

    def _take_over(self, state: State) -> State:
        """Begin a term: from now on the journal is this gateway's; it reads what it inherits."""
        if state.result:
            gate = Gate("done")
        elif state.sent and "inherit" not in self._removed:
            gate = Gate("inherited", recorded=True)
        else:
            gate = Gate()
        excused = state.excused or (state.sent and "crash" in self._terminal.excuses)
        return state._replace(gates=(*state.gates, gate), excused=excused)


def _reads(state: State, purpose: str) -> str:
    if purpose == "probe":
        return "alive"
    return "order found" if state.orders else "none found"


def _with(state: State, number: int, gate: Gate, **changes: Any) -> State:
    gates = (*state.gates[:number], gate, *state.gates[number + 1 :])
    return state._replace(gates=gates, **changes)
