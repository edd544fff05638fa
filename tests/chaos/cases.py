"""A history sorted by command: everything that is known of each, and its timeline for a person."""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Callable
from dataclasses import dataclass, field

from gateway.core.evidence import token_of
from gateway.core.messages import CommandId
from tests.chaos.history import Asked, Body, Execution, Frame, History, Journal, Stored, Told

SECOND_NS = 1_000_000_000
PROVED = ("succeeded", "rejected", "expired")


@dataclass(slots=True)
class Case:
    """Everything about one command."""

    key: str
    asked: list[Asked] = field(default_factory=list)
    stored: list[Stored] = field(default_factory=list)
    told: list[Told] = field(default_factory=list)
    frames: list[Frame] = field(default_factory=list)
    executions: list[Execution] = field(default_factory=list)
    tickets: set[int] = field(default_factory=set)
    ledger: list[str] = field(default_factory=list)
    is_sent: bool = False
    kept: Body | None = None
    dead_letter: str | None = None

    @property
    def action(self) -> str:
        return self.asked[0].action if self.asked else ""

    @property
    def deadline_ns(self) -> int:
        """The latest it was ever given: an earlier request may never have arrived."""
        return max((ask.deadline_ns for ask in self.asked), default=0)

    @property
    def finals(self) -> list[Body]:
        """Every different result but `denied`, which is none: the id may be used again."""
        results = [told.result for told in self.told if told.result is not None]
        results += [self.kept] if self.kept else []
        different = {json.dumps(r, sort_keys=True): r for r in results}
        return [result for result in different.values() if result["outcome"] != "denied"]

    @property
    def final(self) -> Body | None:
        """The result that counts: a proof before `unknown`."""
        return min(self.finals, key=lambda r: r["outcome"] not in PROVED, default=None)

    @property
    def outcome(self) -> str:
        """One word for the counts."""
        if self.final is not None:
            return str(self.final["outcome"])
        denied = any(told.outcome == "denied" for told in self.told)
        return "denied" if denied or self.dead_letter else "never arrived"

    @property
    def has_run(self) -> bool:
        return bool(self.tickets or self.executions)


def cases_of(history: History) -> dict[str, Case]:
    """Sort a history by command."""
    cases: dict[str, Case] = {}

    def case(key: str) -> Case:
        return cases.setdefault(key, Case(key))

    for ask in history.asked:
        case(ask.key).asked.append(ask)
    for stored in history.stored:
        case(stored.key).stored.append(stored)
    for told in sorted(history.told, key=lambda told: told.at_ns):
        case(told.key).told.append(told)
    for frame in history.frames:
        case(frame.key).frames.append(frame)
    for line in history.ledger:
        if line.key and "#" not in line.key:
            case(line.key).ledger.append(line.kind)
    _add_orders(history, case)
    _add_journal(history.journal, case)
    return cases


def _add_orders(history: History, case: Callable[[str], Case]) -> None:
    for execution in history.executions:
        case(execution.key).executions.append(execution)
        if execution.call == "order_send":
            case(execution.key).tickets.add(execution.ticket)
    # The broker knows an order by its token alone, also where nobody could put it on record.
    keys = {token_of(command_id(ask.key)): ask.key for ask in history.asked}
    for order in history.orders:
        if (key := keys.get(order.token)) is not None:
            case(key).tickets.add(order.ticket)


def _add_journal(journal: Journal, case: Callable[[str], Case]) -> None:
    for key in journal.sent:
        case(key).is_sent = True
    for key, result in journal.results.items():
        case(key).kept = result
    for key, reason in journal.dead_letters.items():
        case(key).dead_letter = reason


def command_id(key: str) -> CommandId:
    """Read a key."""
    client, _, id_ = key.partition("/")
    return CommandId(client, id_)


def timeline(key: str, history: History) -> list[str]:
    """Tell everything that is known of one command, in the order of time."""
    case = cases_of(history).get(key, Case(key))
    moments: dict[int, list[str]] = defaultdict(list)
    for ask in case.asked:
        text = f"asked #{ask.number} {ask.via} {ask.body} {ask.action} {ask.params}"
        moments[ask.at_ns].append(text)
        if ask.body == "first":
            moments[ask.deadline_ns].append("deadline")
    for stored in case.stored:
        moments[stored.at_ns].append(f"job stored #{stored.number}")
    for told in case.told:
        what = told.outcome or told.state
        why = (told.result or {}).get("error") or (told.result or {}).get("response")
        moments[told.at_ns].append(f"told by {told.via} #{told.number}: {what} {why}"[:200])
    for frame in case.frames:
        text = f"{frame.gateway} sent {frame.action} attempt={frame.attempt} epoch={frame.epoch}"
        moments[frame.at_ns].append(text)
    for execution in case.executions:
        moments[execution.at_ns].append(f"broker: {execution.call} ticket {execution.ticket}")
    first_ns = min(moments, default=0)
    last_ns = max((told.at_ns for told in case.told if told.via != "audit"), default=first_ns)
    for fault in history.faults:
        if fault.overlaps(first_ns - SECOND_NS, max(last_ns, case.deadline_ns)):
            moments[fault.start_ns].append(f"fault begins: {fault.kind} {fault.target}")
            moments[fault.end_ns].append(f"fault ends: {fault.kind} {fault.target}")
    lines = [
        f"{(at_ns - first_ns) / SECOND_NS:+9.3f} s  {text}"
        for at_ns in sorted(moments)
        for text in moments[at_ns]
    ]
    kept = case.kept["outcome"] if case.kept else None
    return [
        *lines,
        f"ledger: {case.ledger}; journal: sent={case.is_sent} result={kept}; "
        f"dead letter: {case.dead_letter}; tickets: {sorted(case.tickets)}",
    ]
