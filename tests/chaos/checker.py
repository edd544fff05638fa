"""Compare what happened with what was promised. Pure: a history in, violations out.

Each rule is one promise of docs/safety.md. A rule looks at one command, or at the whole run.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

from gateway.core.evidence import token_of
from tests.chaos.cases import PROVED, SECOND_NS, Case, cases_of, command_id
from tests.chaos.history import Fault, History

CLOCK_NS = SECOND_NS // 50
"""How far two readings of the clock may be apart that belong to one moment."""

WORK_NS = SECOND_NS // 2
"""How long a terminal may be at a request that it took in just in time."""

SEND_NS = SECOND_NS // 10
"""How long after the deadline a frame may pass the proxy that was sent before it."""

DEPOSED = 3
"""A gateway's exit code when the terminal or the bus has turned it away."""


@dataclass(frozen=True, slots=True)
class Violation:
    """A broken promise; `key` is empty where it is no single command's."""

    rule: str
    key: str
    message: str


def check(history: History) -> list[Violation]:
    """Return every broken promise."""
    cases = cases_of(history)
    found = []
    for name, rule in CASE_RULES.items():
        for case in cases.values():
            found += [Violation(name, case.key, text) for text in rule(case, history)]
    for whole_name, whole_rule in WHOLE_RULES.items():
        found += [Violation(whole_name, key, text) for key, text in whole_rule(history, cases)]
    return found


# ---- at most one effect -------------------------------------------------------------------------


def one_order(case: Case, _: History) -> Iterator[str]:
    """At most one order opens for one command, whatever dies and restarts."""
    if len(case.tickets) > 1:
        yield f"{len(case.tickets)} orders: tickets {sorted(case.tickets)}"


def one_execution(case: Case, _: History) -> Iterator[str]:
    """No trade call succeeds twice for one command."""
    if len(case.executions) > 1:
        calls = [f"{e.call} #{e.ticket}" for e in case.executions]
        yield f"{len(calls)} calls were carried out: {', '.join(calls)}"


# ---- exactly one result -------------------------------------------------------------------------


def every_accepted_has_a_result(case: Case, _: History) -> Iterator[str]:
    """What was sent, journaled or executed has a final result.

    A request that only ever waited in a gateway's memory is not accepted: it can never run.
    """
    signs = {
        "the journal says sent": case.is_sent,
        "a frame left": bool(case.frames),
        "it ran": case.has_run,
    }
    if case.final is None and any(signs.values()):
        yield f"no final result, though {', '.join(sign for sign, is_so in signs.items() if is_so)}"


def every_stored_job_ends(case: Case, _: History) -> Iterator[str]:
    """A job that JetStream has acknowledged gets a result, or a dead letter with the reason."""
    is_told = case.final is not None or any(told.outcome == "denied" for told in case.told)
    if case.stored and not is_told and case.dead_letter is None:
        yield "the job was acknowledged as stored: neither a result nor a dead letter"


def one_result(case: Case, _: History) -> Iterator[str]:
    """No two results for one command, but `unknown` once replaced by a proof."""
    finals = case.finals
    unknown = [f for f in finals if f["outcome"] == "unknown"]
    if len(unknown) > 1 or len(finals) - len(unknown) > 1:
        shown = [
            f"{f['outcome']} finished_at={f.get('finished_at')} attempts={f.get('attempts')}"
            for f in finals
        ]
        yield f"{len(finals)} different results: {'; '.join(shown)}"


def told_is_kept(case: Case, _: History) -> Iterator[str]:
    """Nobody hears of a result before the journal holds it, and the journal loses none."""
    if case.final is None:
        return
    if case.kept is None:
        yield f"{case.final['outcome']} was told, the journal has no result"
    elif case.kept["outcome"] != case.final["outcome"]:
        yield f"{case.final['outcome']} was told, the journal says {case.kept['outcome']}"


def sent_is_journaled(case: Case, _: History) -> Iterator[str]:
    """No frame of a trade leaves before the journal says so."""
    if case.frames and not case.is_sent:
        yield f"{len(case.frames)} frames left and the journal does not know of it"


def other_body_is_denied(case: Case, _: History) -> Iterator[str]:
    """An id whose result was told is not taken for a wish that was not asked before that.

    Which of two wishes the id belongs to is the gateway's to say: one may overtake the other.
    """
    others = {ask.number: ask for ask in case.asked if ask.body == "other"}
    for told in case.told:
        ask = others.get(told.number) if told.number is not None else None
        if ask is None or told.result is None or told.outcome == "denied":
            continue
        known = [t for t in case.told if t.at_ns < ask.at_ns and t.outcome in (*PROVED, "unknown")]
        first_ns = known[0].at_ns if known else 0
        if known and all(a.params != ask.params for a in case.asked if a.at_ns < first_ns):
            yield f"request {ask.number} had another body and was answered {told.outcome}"


def unsent_never_arrives(case: Case, history: History) -> Iterator[str]:
    """What the client library calls not sent was not sent."""
    unsent = all((ask.key, ask.number) in history.unsent for ask in case.asked)
    if case.asked and unsent and (case.frames or case.has_run or case.is_sent):
        yield "the library said that nothing was sent, and it arrived"


# ---- the results are true -----------------------------------------------------------------------


def success_is_true(case: Case, history: History) -> Iterator[str]:
    """`succeeded` names an order that is there, and is this command's; a close has closed."""
    final = case.final
    if final is None or final["outcome"] != "succeeded":
        return
    orders = {order.ticket: order for order in history.orders}
    if case.action == "DO_ORDER_SEND":
        ticket = (final["response"] or {}).get("ticket")
        if ticket not in orders:
            yield f"succeeded with ticket {ticket}, which does not exist"
        elif ticket not in case.tickets:
            yield f"succeeded with ticket {ticket}, which is another command's"
    elif case.action in ("DO_ORDER_CLOSE", "DO_ORDER_DELETE"):
        order = orders.get(case.asked[0].params["ticket"])
        if order is None or order.is_open:
            yield f"succeeded, and order {case.asked[0].params['ticket']} is still open"


def no_is_true(case: Case, _: History) -> Iterator[str]:
    """`rejected` and `expired` mean that nothing ran, nor will; `denied` that nothing was sent."""
    outcome = case.outcome
    if case.has_run and outcome in ("rejected", "expired", "denied"):
        yield f"{outcome}, and it ran: tickets {sorted(case.tickets)}"


def unknown_is_needed(case: Case, _: History) -> Iterator[str]:
    """`unknown` appears only where the truth cannot be had: not where the ledger has it."""
    if case.outcome == "unknown" and case.ledger and case.ledger[-1] in ("done", "rejected"):
        yield f"unknown, and the terminal's ledger says {case.ledger[-1]}"


def everything_is_explained(case: Case, history: History) -> Iterator[str]:
    """The streams tell what became of each command, as it was: sent, run, ended, denied and why."""
    found = history.explained.get(case.key, {"outcome": None, "timeline": []})
    said = [entry["what"] for entry in found["timeline"]]
    if case.kept is not None and found["outcome"] != case.kept["outcome"]:
        yield f"explained as {found['outcome']}, it ended as {case.kept['outcome']}"
    if (case.frames or case.has_run) and not any("recorded as sent to" in what for what in said):
        yield "it left for the terminal, and no record says so"
    if found["outcome"] == "succeeded" and case.action == "DO_ORDER_SEND":
        for ticket in case.tickets:
            if not any(f"ticket {ticket}," in what for what in said):
                yield f"no record tells of order {ticket}"
    for told in case.told:
        if told.result is None or told.outcome != "denied":
            continue
        message = (told.result.get("error") or {}).get("message", "")
        if any(what.startswith("denied, ") and what.endswith(message) for what in said):
            continue
        during = _faults_during(history.faults, told.at_ns - SECOND_NS, told.at_ns + SECOND_NS)
        if not any("nats" in fault.target for fault in during):
            yield f"it was denied ({message}), and no record says so"


# ---- in time, and by the right gateway ----------------------------------------------------------


def nothing_starts_late(case: Case, history: History) -> Iterator[str]:
    """The terminal starts nothing after its deadline."""
    for execution in case.executions:
        received_ns = execution.received_ns
        if received_ns is not None and received_ns > case.deadline_ns + CLOCK_NS:
            late_s = (received_ns - case.deadline_ns) / SECOND_NS
            yield f"{execution.call} #{execution.ticket} was taken in {late_s:.3f} s too late"
            continue
        start_ns = received_ns or execution.at_ns
        is_excused = execution.is_delayed or any(
            fault.kind == "freeze" and fault.target == "terminal"
            for fault in _faults_during(history.faults, start_ns, execution.at_ns)
        )
        if execution.at_ns > case.deadline_ns + WORK_NS and not is_excused:
            late_s = (execution.at_ns - case.deadline_ns) / SECOND_NS
            yield f"{execution.call} #{execution.ticket} ran {late_s:.3f} s too late"


def nothing_is_sent_late(case: Case, history: History) -> Iterator[str]:
    """A gateway sends no trade after its deadline; one that stood still is excused."""
    for frame in case.frames:
        if frame.action == "RESOLVE" or frame.at_ns <= case.deadline_ns + SEND_NS:
            continue
        during = _faults_during(history.faults, case.deadline_ns - SECOND_NS, frame.at_ns)
        if not any(_holds_up(fault, frame.gateway) for fault in during):
            late_s = (frame.at_ns - case.deadline_ns) / SECOND_NS
            yield f"{frame.gateway} sent attempt {frame.attempt} {late_s:.3f} s too late"


def _holds_up(fault: Fault, gateway: str) -> bool:
    """Tell whether a frame that had left can have been seen late, or its sender stood still."""
    return fault.target.startswith(gateway) and "nats" not in fault.target


def _faults_during(faults: list[Fault], start_ns: int, end_ns: int) -> Iterator[Fault]:
    return (fault for fault in faults if fault.overlaps(start_ns, end_ns))


def only_the_newest_epoch_acts(
    history: History, cases: dict[str, Case]
) -> Iterator[tuple[str, str]]:
    """The terminal starts nothing for a gateway after another has taken over.

    The ledger tells the order of epochs and starts, the proxies tell which epoch a frame carried.
    """
    epoch = 0
    for line in history.ledger:
        if line.kind == "epoch":
            epoch = line.epoch
        elif line.kind == "started" and line.key in cases:
            carried = [
                frame.epoch
                for frame in cases[line.key].frames
                if frame.attempt == line.attempt and frame.action != "RESOLVE"
            ]
            if carried and max(carried) < epoch:
                text = f"attempt {line.attempt} of epoch {max(carried)} was started in {epoch}"
                yield line.key, text


def nothing_begins_while_halted(
    history: History, cases: dict[str, Case]
) -> Iterator[tuple[str, str]]:
    """From when a halt is confirmed until it is lifted, no new trade leaves a gateway."""
    for halt in (fault for fault in history.faults if fault.kind == "halt"):
        for key, case in cases.items():
            sent = [frame for frame in case.frames if frame.action != "RESOLVE"]
            first = min(sent, key=lambda frame: frame.at_ns, default=None)
            if first is None or not halt.start_ns + SEND_NS < first.at_ns < halt.end_ns:
                continue
            before = _faults_during(history.faults, halt.start_ns - SECOND_NS, first.at_ns)
            if not any(_holds_up(fault, first.gateway) for fault in before):
                late_s = (first.at_ns - halt.start_ns) / SECOND_NS
                yield key, f"{first.gateway} sent it {late_s:.3f} s after the halt was confirmed"


# ---- the run as a whole -------------------------------------------------------------------------


def no_strange_orders(history: History, cases: dict[str, Case]) -> Iterator[tuple[str, str]]:
    """Every order that carries a token is a command's that a client has asked for."""
    tokens = {token_of(command_id(key)) for key, case in cases.items() if case.asked}
    for order in history.orders:
        if order.token and order.token not in tokens:
            yield "", f"order {order.ticket} carries {order.token}, the token of no command"


def everything_fits_its_schema(history: History, _: dict[str, Case]) -> Iterator[tuple[str, str]]:
    """Whatever is said on the bus is what users are told that it is."""
    for misfit in history.misfits:
        yield "", misfit


def nobody_crashes(history: History, _: dict[str, Case]) -> Iterator[tuple[str, str]]:
    """A process ends when it is killed or told to, and a gateway when it was deposed."""
    for ended in history.exits:
        is_deposed = ended.process.startswith("gateway") and ended.code == DEPOSED
        if not ended.is_expected and not is_deposed:
            yield "", f"{ended.process} ended by itself with code {ended.code}"


CaseRule = Callable[[Case, History], Iterator[str]]
WholeRule = Callable[[History, dict[str, Case]], Iterator[tuple[str, str]]]

CASE_RULES: dict[str, CaseRule] = {
    rule.__name__: rule
    for rule in (
        one_order,
        one_execution,
        every_accepted_has_a_result,
        every_stored_job_ends,
        one_result,
        told_is_kept,
        sent_is_journaled,
        other_body_is_denied,
        unsent_never_arrives,
        success_is_true,
        no_is_true,
        unknown_is_needed,
        everything_is_explained,
        nothing_starts_late,
        nothing_is_sent_late,
    )
}
WHOLE_RULES: dict[str, WholeRule] = {
    rule.__name__: rule
    for rule in (
        only_the_newest_epoch_acts,
        nothing_begins_while_halted,
        no_strange_orders,
        everything_fits_its_schema,
        nobody_crashes,
    )
}
