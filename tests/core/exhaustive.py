"""Every schedule of one trade, within bounds: breadth first, with the real `LedgerTrade`.

Random walks miss what needs seven rare steps in a row. Here all states are visited: any delay
and any order of frames and replies (what never arrives is lost), a death of the terminal at
every step, a gateway that is deposed at every step, a broker that says "timed out" and executes
now, later or never. Time has three moments: in time, too late to send, past the deadline.
"""

from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, NamedTuple

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
    Step,
    TimedOut,
    Woke,
)
from gateway.core.ledger_trade import LedgerTrade, _Awaiting
from gateway.core.messages import Cause, Purpose, Reply, Source, Verdict
from gateway.terminal.line import FINAL
from tests.core.support import RULES, trade

NOW_S = (0.0, 29.9, 31.0)
"""In time; within the margin before the deadline; past it."""

PAST_DEADLINE = 2
COMMAND = trade()
AWAITING = _Awaiting.__members__
BUSY = Cause(Source.BROKER, 146, "ERR_TRADE_CONTEXT_BUSY", "busy")


class Frame(NamedTuple):
    """A frame on its way: whose, for which session, and what."""

    gateway: int
    epoch: int
    session: int
    seq: int
    attempt: int
    is_resolve: bool


class Gate(NamedTuple):
    """One gateway: what its exchange remembers, and what it waits for.

    `waits`: `start`, `reply`, `clear`, `pause`, `end`; `until`: the moment at which a pause ends.
    """

    waits: str
    until: int
    attempts: int
    exposed: bool
    awaiting: str
    epoch: int
    session: int
    seq: int


class Place(NamedTuple):
    """The terminal: `stage` is what is behind the trade that runs."""

    stage: str
    session: int
    epoch: int
    last_seq: int
    entry: str
    entry_attempt: int
    running: Frame | None


class State(NamedTuple):
    """All there is."""

    time: int
    gates: tuple[Gate, ...]
    frames: frozenset[Frame]
    replies: frozenset[tuple[Frame, str]]
    place: Place
    orders: int
    latent: bool
    result: str | None
    deaths: int


class Decision(NamedTuple):
    """What an exchange said, and what it remembers since."""

    step: str
    waits: str
    until: int
    sends: str
    outcome: str
    attempts: int
    exposed: bool
    awaiting: str


@dataclass(frozen=True)
class Bounds:
    """How far the search goes."""

    seq: int = 3
    deaths: int = 1
    gateways: int = 2


NEW_GATE = Gate("start", 0, 0, False, "", 0, 0, 0)
START = State(
    0,
    (NEW_GATE,),
    frozenset(),
    frozenset(),
    Place("idle", 1, 0, 0, "", 0, None),
    0,
    False,
    None,
    0,
)

# Plain text instead of the enumerations' members: they are compared a million times.
FINAL_NAMES = frozenset(verdict.value for verdict in FINAL)
ANSWERS = {
    "done": "done",
    "rejected": "rejected",
    "sealed": "sealed",
    "doubt": "in_doubt",
    "not_now": "not_now",
}
EVENTS: dict[str, Event] = {
    type(event).__name__: event
    for event in (Started(), TimedOut(), Lost(), Cleared(), Woke(), NotSent())
}


class Search:
    """The search itself.

    Args:
        bounds: How far it goes.
        mutations: Protections of the terminal to leave out.
    """

    def __init__(self, bounds: Bounds, mutations: frozenset[str] = frozenset()) -> None:
        self.states = 0
        self._decided: dict[tuple[Any, ...], Decision] = {}
        self._bounds = bounds
        self._mutations = mutations

    def violation(self) -> str | None:
        """Visit every state; return the first broken promise with the way to it."""
        came_from: dict[State, tuple[State, str] | None] = {START: None}
        waiting = deque([START])
        while waiting:
            state = waiting.popleft()
            for label, raw in self._next(state):
                after = self._without_dead_letters(raw)
                if after in came_from:
                    continue
                came_from[after] = (state, label)
                if (broken := _broken(after, label)) is not None:
                    return f"{broken}: {' > '.join(_way(came_from, after))}"
                waiting.append(after)
        self.states = len(came_from)
        return None

    def _without_dead_letters(self, state: State) -> State:
        """Forget what can only be ignored, so that the search stays small."""
        place, gates = state.place, state.gates
        frames = state.frames
        if any(self._fence(frame, place) for frame in frames):
            frames = frozenset(frame for frame in frames if self._fence(frame, place) is None)
        replies = state.replies
        if any(gates[frame.gateway].waits == "end" for frame, _ in replies):
            replies = frozenset(one for one in replies if gates[one[0].gateway].waits != "end")
        if frames is state.frames and replies is state.replies:
            return state
        return state._replace(frames=frames, replies=replies)

    def _next(self, state: State) -> Iterator[tuple[str, State]]:
        if state.time < PAST_DEADLINE:
            yield "time passes", state._replace(time=state.time + 1)
        for number, gate in enumerate(state.gates):
            yield from self._gateway_moves(state, number, gate)
        if len(state.gates) < self._bounds.gateways and state.gates[0].seq:
            yield from self._take_over(state)
        for frame in state.frames:
            if state.place.stage == "idle":
                yield from self._terminal_takes(state, frame)
        yield from self._terminal_moves(state)

    # ---- gateways -----------------------------------------------------------------------

    def _gateway_moves(self, state: State, number: int, gate: Gate) -> Iterator[tuple[str, State]]:
        match gate.waits:
            case "start":
                events = ["Started"]
            case "reply":
                events = ["TimedOut", "Lost"]
            case "clear":
                events = ["Cleared", "Lost"]
            case "pause" if state.time >= gate.until:
                events = ["Woke"]
            case _:
                events = []
        for event in events:
            yield from self._tell(state, number, event)
        for frame, verdict in state.replies:
            is_wanted = gate.waits in ("reply", "clear") and frame.attempt == gate.attempts
            if frame.gateway == number and (verdict in FINAL_NAMES or is_wanted):
                rest = state._replace(replies=state.replies - {(frame, verdict)})
                yield from self._tell(rest, number, verdict, frame.is_resolve)

    def _tell(
        self, state: State, number: int, event: str, is_resolve: bool = False
    ) -> Iterator[tuple[str, State]]:
        gate = state.gates[number]
        question = (gate.attempts, gate.exposed, gate.awaiting, state.time, event, is_resolve)
        if (decided := self._decided.get(question)) is None:
            exchange = _exchange(gate)
            step = exchange.advance(_event(event, is_resolve), NOW_S[state.time])
            decided = self._decided[question] = _decision(exchange, step, state.time)
        yield from self._perform(state, number, decided, event)

    def _perform(
        self, state: State, number: int, decided: Decision, why: str
    ) -> Iterator[tuple[str, State]]:
        known = state.gates[number]
        gate = Gate(
            decided.waits,
            decided.until,
            decided.attempts,
            decided.exposed,
            decided.awaiting,
            known.epoch,
            known.session,
            known.seq,
        )
        after = state._replace(gates=_with(state, number, gate))
        label = f"g{number} {why} -> {decided.step}"
        if decided.sends:
            yield from self._send(after, number, gate, decided.sends, label)
        elif decided.outcome and _is_heard(state, number) and state.result is None:
            yield f"{label} {decided.outcome}", after._replace(result=decided.outcome)
        else:
            yield label, after

    def _send(
        self, state: State, number: int, gate: Gate, purpose: str, label: str
    ) -> Iterator[tuple[str, State]]:
        """Let the frame leave, or not: then the exchange hears `NotSent`."""
        yield from self._tell(state, number, "NotSent")
        is_command = purpose == "command"
        if is_command and state.time == PAST_DEADLINE:
            return  # the line looks at the deadline, too
        for gate_now, place in self._greeted(state, gate):
            if gate_now.seq < self._bounds.seq:
                sent = gate_now._replace(waits="reply", seq=gate_now.seq + 1)
                frame = Frame(
                    number, sent.epoch, sent.session, sent.seq, sent.attempts, not is_command
                )
                yield (
                    f"{label} {purpose} seq {sent.seq}",
                    state._replace(
                        gates=_with(state, number, sent),
                        frames=state.frames | {frame},
                        place=place,
                    ),
                )

    def _greeted(self, state: State, gate: Gate) -> Iterator[tuple[Gate, Place]]:
        """Send with what is known of the terminal, or after greeting it again."""
        place = state.place
        if gate.epoch:
            yield gate, place
        if gate.session != place.session and place.stage == "idle":
            if not gate.epoch:
                place = place._replace(epoch=place.epoch + 1, last_seq=0)
                gate = gate._replace(epoch=place.epoch, seq=0)
            if gate.epoch == place.epoch:
                yield gate._replace(session=place.session), place

    def _take_over(self, state: State) -> Iterator[tuple[str, State]]:
        """Start the next gateway: from the journal it knows of the trade, if it has no result."""
        if state.result is None:
            exchange = LedgerTrade(COMMAND, RULES)
            step = exchange.resume(1, NOW_S[state.time])
            both = state._replace(gates=(*state.gates, NEW_GATE))
            decided = _decision(exchange, step, state.time)
            yield from self._perform(both, len(state.gates), decided, "resumes")

    # ---- the terminal -------------------------------------------------------------------

    def _fence(self, frame: Frame, place: Place) -> str | None:
        if frame.session != place.session and "no_session" not in self._mutations:
            return "stale_session"
        if frame.epoch != place.epoch and "no_epoch" not in self._mutations:
            return "stale_epoch"
        is_old = frame.epoch == place.epoch and frame.seq <= place.last_seq
        if is_old and "no_seq" not in self._mutations:
            return "stale_seq"
        return None

    def _terminal_takes(self, state: State, frame: Frame) -> Iterator[tuple[str, State]]:
        rest = state._replace(frames=state.frames - {frame})
        place = state.place._replace(last_seq=max(frame.seq, state.place.last_seq))
        label = f"terminal takes g{frame.gateway} seq {frame.seq}"

        def answer(verdict: str, place: Place) -> tuple[str, State]:
            replies = rest.replies | {(frame, verdict)}
            return f"{label}: {verdict}", rest._replace(replies=replies, place=place)

        if (stale := self._fence(frame, state.place)) is not None:
            yield label, rest
            yield f"{label}: {stale}", answer("fenced", state.place)[1]
            return
        is_deduped = frame.is_resolve or "no_dedupe" not in self._mutations
        if place.entry in ("started", "doubt") and is_deduped:
            entry = "done" if state.orders else "doubt"
            yield answer(ANSWERS[entry], place._replace(entry=entry))
        elif place.entry in ("done", "rejected", "sealed") and is_deduped:
            yield answer(ANSWERS[place.entry], place)
        elif state.time == PAST_DEADLINE and "no_deadline" not in self._mutations:
            sealed = place if "no_seal" in self._mutations else place._replace(entry="sealed")
            verdict = "not_seen" if "no_seal" in self._mutations else "sealed"
            yield answer(verdict, sealed)
        elif frame.is_resolve:
            yield answer("not_now" if place.entry == "not_now" else "not_seen", place)
        elif place.entry == "not_now" and frame.attempt <= place.entry_attempt:
            yield answer("fenced", place)
        else:
            entry = place.entry if "no_intent" in self._mutations else "started"
            busy = place._replace(stage="intent", entry=entry, running=frame)
            yield f"{label}: it starts", rest._replace(place=busy)

    def _terminal_moves(self, state: State) -> Iterator[tuple[str, State]]:
        place, running = state.place, state.place.running
        more = state.orders + 1

        def behind(stage: str) -> Place:
            return place._replace(stage=stage)

        if place.stage == "intent":
            if state.time == PAST_DEADLINE and "no_deadline" not in self._mutations:
                yield "too late by now", state._replace(place=behind("sealed"))
            else:
                yield "broker opens", state._replace(place=behind("done"), orders=more)
                yield "broker opens, 128", state._replace(place=behind("doubt"), orders=more)
                yield "128, latent", state._replace(place=behind("doubt"), latent=True)
                yield "broker rejects", state._replace(place=behind("rejected"))
                yield "busy", state._replace(place=behind("not_now"))
        elif running is not None:
            assert place.stage in ANSWERS
            stored = place._replace(
                stage="idle", entry=place.stage, entry_attempt=running.attempt, running=None
            )
            replies = state.replies | {(running, ANSWERS[place.stage])}
            yield f"stored, replied {place.stage}", state._replace(place=stored, replies=replies)
        if state.latent:
            yield "the latent order opens", state._replace(latent=False, orders=more)
        if state.deaths < self._bounds.deaths:
            entry = "" if "volatile_ledger" in self._mutations else place.entry
            reborn = Place("idle", place.session + 1, place.epoch, 0, entry, 0, None)
            yield "terminal dies", state._replace(place=reborn, deaths=state.deaths + 1)


def _exchange(gate: Gate) -> LedgerTrade:
    exchange = LedgerTrade(COMMAND, RULES)
    exchange.attempts, exchange.exposed = gate.attempts, gate.exposed
    if gate.awaiting:
        exchange._awaiting = AWAITING[gate.awaiting]
    return exchange


def _event(name: str, is_resolve: bool) -> Event:
    """Return the event of that name, or the reply of that verdict."""
    if name in EVENTS:
        return EVENTS[name]
    verdict = Verdict(name)
    cause = BUSY if verdict is Verdict.NOT_NOW else None
    reason = "stale_seq" if verdict is Verdict.FENCED else None
    purpose = Purpose.RESOLVE if is_resolve else Purpose.COMMAND
    return Replied(Reply(verdict, cause=cause, reason=reason), purpose)


def _decision(exchange: LedgerTrade, step: Step, time: int) -> Decision:
    waits, until, sends, outcome = "reply", 0, "", ""
    match step:
        case Finish(conclusion):
            waits, outcome = "end", conclusion.outcome.value
        case Pause(delay_s):
            waits = "pause"
            until = PAST_DEADLINE if NOW_S[time] + delay_s > COMMAND.deadline_s else 0
        case Clear():
            waits = "clear"
        case Send(request):
            sends = request.purpose.value
        case Listen():
            pass
    return Decision(
        type(step).__name__,
        waits,
        until,
        sends,
        outcome,
        exchange.attempts,
        exchange.exposed,
        exchange._awaiting.name,
    )


def _with(state: State, number: int, gate: Gate) -> tuple[Gate, ...]:
    return (*state.gates[:number], gate, *state.gates[number + 1 :])


def _is_heard(state: State, number: int) -> bool:
    """The journal's fence: only the last gateway can record a result."""
    return number == len(state.gates) - 1


def _broken(state: State, label: str) -> str | None:
    if state.orders > 1:
        return "two orders for one id"
    if label.startswith("broker opens") and state.time == PAST_DEADLINE:
        return "it started after its deadline"
    if state.result == "succeeded" and not state.orders:
        return "succeeded, but there is no order"
    if state.result in ("rejected", "expired") and state.orders:
        return f"{state.result}, but an order exists"
    return None


def _way(came_from: dict[State, tuple[State, str] | None], state: State) -> list[str]:
    labels: list[str] = []
    while (step := came_from[state]) is not None:
        state, label = step
        labels.insert(0, label)
    return labels


if __name__ == "__main__":  # two million states, about six minutes
    search = Search(Bounds())
    print(search.violation() or f"{search.states} states, no promise is broken")
