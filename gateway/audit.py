"""What is written down of each trade beside the journal: who asked for what, and why it ended so.

The journal says that a trade was sent and how it ended; that alone decides anything. The audit
says what no record of the journal has: what was denied and by which rule, and the steps by which a
trade came to its result. It is a bounded stream, written without waiting for it. A denial is on
its way before its answer, on the same connection, so that nobody is denied what is not on record.
What is changed or taken out afterwards can be seen: `audit_chain.py`.
"""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace

from gateway.core.exchange import Cleared, Event, Lost, NotSent, Replied, Send, TimedOut
from gateway.core.messages import Cause, Command, CommandId, Json, Purpose, Result, Wish
from gateway.envelope import cause_body, format_time
from gateway.policy_settings import PolicyInForce

MOST_STEPS = 60
"""Steps that are kept of one trade; what is searched for a day is told by its first and last."""

MOST_BYTES = 4096
"""Parameters that are longer are cut short."""

MOST_CHARACTERS = 500
"""Of what a terminal says, in a step or as a reason."""

Publish = Callable[[CommandId, dict[str, Json]], Awaitable[None]]


@dataclass(slots=True)
class Steps:
    """The steps of one trade, with their times (UTC seconds)."""

    taken: list[tuple[float, str]] = field(default_factory=list)
    left_out: int = 0

    def note(self, at_s: float, what: str) -> None:
        """Add a step; of very many the middle ones are left out."""
        if len(self.taken) >= MOST_STEPS:
            del self.taken[MOST_STEPS // 2]
            self.left_out += 1
        self.taken.append((at_s, what[:MOST_CHARACTERS]))

    def body(self) -> list[dict[str, Json]]:
        """Write them."""
        return [{"at": format_time(at_s), "what": what} for at_s, what in self.taken]


class Audit:
    """Write down what becomes of trades.

    Args:
        publish: Puts one record on its way.
        instance: Which gateway this is.
        term: Tells how many gateways have taken over, this one included.
        policy: What decides.
    """

    def __init__(
        self, publish: Publish, instance: str, term: Callable[[], int], policy: PolicyInForce
    ) -> None:
        self._publish = publish
        self._instance = instance
        self._term = term
        self._policy = policy

    async def denied(self, wish: Wish, result: Result) -> None:
        """Write down that a trade was refused at the door."""
        asked = {
            "via": wish.via,
            "params": _kept(wish.params),
            "deadline_at": None if wish.deadline_at_s is None else format_time(wish.deadline_at_s),
        }
        await self._write("denied", result, asked)

    async def finished(self, command: Command, result: Result, via: str, steps: Steps) -> None:
        """Write down how a trade came to its result, or to a refusal after the door."""
        event = "denied" if result.outcome == "denied" else "finished"
        await self._write(event, result, _asked(command, via), steps)

    async def proved(self, command: Command, result: Result, how: str) -> None:
        """Write down what was found out of a trade that had ended as unknown."""
        steps = Steps([(result.finished_at_s, f"proved by {how}")])
        await self._write("proved", result, _asked(command, None), steps)

    async def _write(
        self, event: str, result: Result, asked: Mapping[str, Json], steps: Steps | None = None
    ) -> None:
        conclusion = result.conclusion
        record: dict[str, Json] = {
            "event": event,
            "at": format_time(result.finished_at_s),
            "gateway": self._instance,
            "term": self._term(),
            "policy": self._policy.fingerprint,
            "id": result.key.id,
            "client": result.key.client,
            "action": result.action,
            **asked,
            "received_at": format_time(result.received_at_s),
            "trace": result.trace,
            "steps": steps.body() if steps else [],
            "steps_left_out": steps.left_out if steps else 0,
            "outcome": str(result.outcome),
            "error": cause_body(conclusion.cause and _shortened(conclusion.cause)),
            "warning": conclusion.warning and conclusion.warning[:MOST_CHARACTERS],
            "attempts": conclusion.attempts,
            "resolved": conclusion.resolved,
        }
        await self._publish(result.key, record)


def _asked(command: Command, via: str | None) -> dict[str, Json]:
    deadline_at_s = command.received_at_s + (command.deadline_s - command.received_s)
    return {
        "via": via,
        "params": _kept(command.params),
        "deadline_at": format_time(deadline_at_s),
    }


def _shortened(cause: Cause) -> Cause:
    return replace(cause, message=cause.message[:MOST_CHARACTERS])


def _kept(params: Mapping[str, Json]) -> Json:
    """Keep parameters as they were asked for, if they can be written and are not too long."""
    try:
        text = json.dumps(dict(params), allow_nan=False)
    except (TypeError, ValueError):
        text = repr(dict(params))
    else:
        if len(text) <= MOST_BYTES:
            return dict(params)
    return {"cut_short": text[:MOST_BYTES].encode("ascii", "backslashreplace").decode()}


async def nobody(_: CommandId, __: dict[str, Json]) -> None:
    """Keep no audit."""


def describe_send(step: Send, session: str | None) -> str:
    """Say what leaves for the terminal."""
    request = step.request
    if request.purpose is Purpose.COMMAND:
        where = f" to session {session}" if session else ""
        return f"sent, attempt {request.attempt}{where}"
    return f"asked {request.action}, to find out"


def describe_event(event: Event) -> str:
    """Say what came of it."""
    match event:
        case Replied(reply, purpose):
            told = f"reply to {purpose}: {reply.verdict}"
            replayed = ", from the ledger" if reply.replayed else ""
            return told + replayed + _because(reply.cause) + _tickets(reply.evidence)
        case TimedOut():
            return "no reply in time"
        case Lost():
            return "the link was lost, or the terminal has restarted"
        case NotSent():
            return "it did not leave"
        case Cleared():
            return "the line is free again, without a reply"
        case _:
            return "it went on"


def _because(cause: Cause | None) -> str:
    return "" if cause is None else f" ({cause.name}: {cause.message})"


def _tickets(evidence: Mapping[str, Json]) -> str:
    tickets: Sequence[Json] = evidence.get("tickets") or ()
    return f", tickets {', '.join(map(str, tickets))}" if tickets else ""
