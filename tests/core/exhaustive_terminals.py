"""The two terminals of the exhaustive search: with a ledger, and the existing server."""

from __future__ import annotations

from collections.abc import Iterator

from gateway.core.ledger_trade import LedgerTrade
from gateway.core.search_trade import SearchTrade
from tests.core.exhaustive_model import (
    PAST_DEADLINE,
    Frame,
    Gate,
    Moves,
    Place,
    State,
    Terminal,
)

ANSWERS = {"doubt": "in_doubt"}
"""What is replied where it has another name than what happened."""


class Ledger(Terminal):
    """It remembers every id, and refuses what is late or meant for another."""

    exchange = LedgerTrade
    excuses = frozenset[str]()
    fences = True

    def greeted(self, state: State, gate: Gate) -> Iterator[tuple[Gate, Place]]:
        """Know session and epoch; claim an epoch at the first greeting."""
        place = state.place
        if gate.epoch:
            yield gate, place
        if gate.session != place.session and place.stage == "idle":
            if not gate.epoch:
                place = place._replace(epoch=place.epoch + 1, last_seq=0)
                gate = gate._replace(epoch=place.epoch, seq=0)
            if gate.epoch == place.epoch:
                yield gate._replace(session=place.session), place

    def is_dead_letter(self, frame: Frame, place: Place) -> bool:
        """Refuse what is of another session or epoch, or has been overtaken."""
        if frame.session != place.session and "session" not in self._removed:
            return True
        if frame.epoch != place.epoch and "epoch" not in self._removed:
            return True
        is_old = frame.epoch == place.epoch and frame.seq <= place.last_seq
        return is_old and "sequence" not in self._removed

    def _is_late(self, state: State, frame: Frame) -> bool:
        """Compare the clock; what was meant for an earlier session names times of its clock."""
        is_past = state.time >= PAST_DEADLINE and frame.session == state.place.session
        return is_past and "deadline" not in self._removed

    def takes(self, state: State, frame: Frame) -> Moves:
        """Follow the decision table from the top."""
        rest = state._replace(frames=state.frames - {frame})
        place = state.place._replace(last_seq=max(frame.seq, state.place.last_seq))
        label = f"terminal takes g{frame.gateway} {frame.purpose} {frame.seq}"
        is_resolve = frame.purpose == "resolve"

        def answer(verdict: str, place: Place) -> tuple[str, State]:
            replies = rest.replies | {(frame, verdict)}
            return f"{label}: {verdict}", rest._replace(replies=replies, place=place)

        knows = "ledger" not in self._removed and (is_resolve or "dedupe" not in self._removed)
        if knows and place.entry in ("started", "doubt"):
            entry = "done" if state.orders else "doubt"
            yield answer(ANSWERS.get(entry, entry), place._replace(entry=entry))
        elif knows and place.entry in ("done", "rejected", "sealed"):
            yield answer(place.entry, place)
        elif self._is_late(state, frame):
            yield answer("sealed", place._replace(entry="sealed"))
        elif is_resolve:
            yield answer("not_now" if place.entry == "not_now" else "not_seen", place)
        elif place.entry == "not_now" and frame.attempt <= place.entry_attempt:
            yield answer("fenced", place)
        else:
            entry = place.entry if "intent" in self._removed else "started"
            busy = place._replace(stage="intent", entry=entry, running=frame)
            yield f"{label}: it starts", rest._replace(place=busy)

    def moves(self, state: State) -> Moves:
        """Go through the broker to the ledger to the reply."""
        place, running = state.place, state.place.running
        if place.stage == "intent":
            assert running is not None
            if self._is_late(state, running) and "second_look" not in self._removed:
                yield "too late by now", state._replace(place=place._replace(stage="sealed"))
            else:
                yield from broker_acts(state)
        elif running is not None:
            stored = place._replace(
                stage="idle", entry=place.stage, entry_attempt=running.attempt, running=None
            )
            said = ANSWERS.get(place.stage, place.stage)
            replies = state.replies | {(running, said)}
            yield f"stored, replied {said}", state._replace(place=stored, replies=replies)
        if state.deaths < self._bounds.deaths:
            entry = "" if "durable_ledger" in self._removed else place.entry
            reborn = Place(
                session=place.session + 1,
                epoch=place.epoch,
                entry=entry,
                entry_attempt=place.entry_attempt,
            )
            # Died between intent and result: nobody can tell whether it ran.
            excused = state.excused or running is not None
            yield (
                "terminal DIES",
                state._replace(place=reborn, deaths=state.deaths + 1, excused=excused),
            )


class ExistingServer(Terminal):
    """It does what comes, whenever it comes, and remembers nothing."""

    exchange = SearchTrade
    fences = False
    excuses = frozenset({"Lost", "Cleared", "crash", "malformed"})
    """`Cleared`: a later frame was answered, so the reply is lost."""

    def greeted(self, state: State, gate: Gate) -> Iterator[tuple[Gate, Place]]:
        """Know nothing of greetings."""
        yield gate, state.place

    def is_dead_letter(self, frame: Frame, place: Place) -> bool:
        """Take everything, however old."""
        return False

    def takes(self, state: State, frame: Frame) -> Moves:
        """Start at once."""
        busy = state.place._replace(stage="intent", running=frame)
        rest = state._replace(frames=state.frames - {frame}, place=busy)
        yield f"server takes g{frame.gateway} {frame.purpose} {frame.seq}", rest

    def moves(self, state: State) -> Moves:
        """Go through the broker to the reply; what is queued outlives a death."""
        place, running = state.place, state.place.running
        if running is None:
            return
        idle = place._replace(stage="idle", running=None)
        if place.stage == "intent":
            yield from broker_acts(state)
            yield (
                "broker opens, the stops are refused",
                state._replace(
                    place=place._replace(stage="created"), orders=state.orders + 1, excused=True
                ),
            )
        else:
            said = ANSWERS.get(place.stage, place.stage)
            replies = state.replies | {(running, said)}
            yield f"replied {said}", state._replace(place=idle, replies=replies)
        if state.deaths < self._bounds.deaths:
            more = state.deaths + 1
            yield "server DIES", state._replace(place=idle, deaths=more, excused=True)


def broker_acts(state: State) -> Moves:
    """Let the broker do what it does, or say that it timed out: now, later or never."""
    more = state.orders + 1

    def behind(stage: str) -> Place:
        return state.place._replace(stage=stage)

    yield "broker opens", state._replace(place=behind("done"), orders=more)
    yield "broker rejects", state._replace(place=behind("rejected"))
    yield "broker is busy", state._replace(place=behind("not_now"))
    doubt = state._replace(place=behind("doubt"), excused=True)
    yield "broker opens, 128", doubt._replace(orders=more)
    yield "128, latent", doubt._replace(latent=True)
    yield "128, nothing", doubt
