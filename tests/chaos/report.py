"""What a run says at its end: one line of counts, and each violation with its timeline."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from tests.chaos.cases import SECOND_NS, cases_of, timeline
from tests.chaos.checker import Violation
from tests.chaos.history import History
from tests.chaos.schedule import Planned

LEAST_SUCCEEDED = 0.5
LEAST_RATE = 0.3
"""A run with less than this part of the commands it was to make has shown nothing."""

MOST_SHOWN = 10
SERVING = re.compile(r"^(\S+Z) INFO +gateway_serving ", re.MULTILINE)
START_NS = 6 * SECOND_NS
"""What ended so long ago is back, a gateway stands by."""

ENDS_ACTIVE = {"kill": "SIGKILL", "term": "SIGTERM", "stepdown": "stepdown"}


@dataclass(frozen=True, slots=True)
class TakeOver:
    """From the end of an active gateway to the next one's serving; `alone`: undisturbed."""

    cause: str
    took_s: float
    alone: bool


def take_overs(history: History, logs: Sequence[Path]) -> list[TakeOver]:
    """Measure how long nobody served after each end of an active gateway."""
    faults = history.faults
    serving_ns = sorted(moment for log in logs for moment in _serving_ns(log))
    found = []
    for fault in faults:
        if fault.kind not in ENDS_ACTIVE or fault.role != "active":
            continue
        after = [moment for moment in serving_ns if moment > fault.start_ns]
        if not after:
            continue
        others = [other for other in faults if other is not fault]
        disturbed = any(o.overlaps(fault.start_ns - SECOND_NS, after[0]) for o in others)
        disturbed |= any(
            ended.process.startswith(("gateway", "terminal"))
            and fault.start_ns - START_NS < ended.at_ns < after[0]
            and ended.process != fault.target
            for ended in history.exits  # the standby, or the terminal, was not there yet
        )
        took_s = (after[0] - fault.start_ns) / SECOND_NS
        found.append(TakeOver(ENDS_ACTIVE[fault.kind], took_s, not disturbed))
    return found


def _serving_ns(log: Path) -> list[int]:
    if not log.exists():
        return []
    times = SERVING.findall(log.read_text("utf-8", "replace"))
    return [int(datetime.fromisoformat(text).timestamp() * SECOND_NS) for text in times]


def counts(history: History, seed: str, seconds: float, taken: Sequence[TakeOver]) -> str:
    """Say in one line what happened."""
    cases = [case for case in cases_of(history).values() if case.asked]
    outcomes = Counter(case.outcome for case in cases)
    bodies = Counter(ask.body for ask in history.asked)
    kinds = Counter(f"{fault.kind} {_part(fault.target)}" for fault in history.faults)
    inside = sum(ended.process == "terminal" and ended.is_expected for ended in history.exits)
    parts = [
        f"chaos seed={seed} {seconds:g} s",
        f"{len(cases)} commands ({_listed(outcomes)})",
        f"{len(history.stored)} jobs stored",
        f"{len(history.orders)} orders",
        f"{len(history.explained)} explained, {history.heard.total()} messages of "
        f"{len(history.heard)} kinds",
        f"{bodies['same']} repeated, {bodies['other']} with another body",
        f"{len(history.faults)} faults ({_listed(kinds)}), {inside} ends of the terminal",
        f"take-overs: {_taken(taken)}",
    ]
    return "; ".join(parts)


def _listed(counter: Counter[str]) -> str:
    return ", ".join(f"{number} {name}" for name, number in counter.most_common())


def _part(target: str) -> str:
    return re.sub(r"gateway-\w", "gateway", target)


def _taken(taken: Sequence[TakeOver]) -> str:
    lines = []
    for cause in ENDS_ACTIVE.values():
        all_s = sorted(t.took_s for t in taken if t.cause == cause)
        alone_s = sorted(t.took_s for t in taken if t.cause == cause and t.alone)
        if all_s:
            alone = f", {len(alone_s)} undisturbed at most {alone_s[-1]:.2f} s" if alone_s else ""
            lines.append(f"{len(all_s)} {cause} at most {all_s[-1]:.2f} s{alone}")
    return "; ".join(lines) or "none"


def implausible(
    history: History, planned: Sequence[Planned], rate: float, seconds: float
) -> list[str]:
    """Say why a run proves nothing, though nothing was found: too little happened."""
    cases = [case for case in cases_of(history).values() if case.asked]
    succeeded = sum(case.outcome == "succeeded" for case in cases)
    reasons = []
    if len(cases) < LEAST_RATE * rate * seconds:
        reasons.append(f"only {len(cases)} commands in {seconds:g} s")
    if succeeded < LEAST_SUCCEEDED * len(cases):
        reasons.append(f"only {succeeded} of {len(cases)} commands succeeded")
    missed = {fault.kind.name for fault in planned} - {fault.kind for fault in history.faults}
    return reasons + [f"{kind} was planned and never happened" for kind in sorted(missed)]


def described(violations: Sequence[Violation], history: History) -> list[str]:
    """List each violation with its id and its timeline."""
    lines = []
    for violation in violations:
        lines.append(f"VIOLATION {violation.rule} {violation.key}: {violation.message}")
    for violation in violations[:MOST_SHOWN]:
        if violation.key:
            lines += [f"--- {violation.key}", *timeline(violation.key, history)]
    return lines
