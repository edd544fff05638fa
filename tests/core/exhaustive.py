"""Every schedule of one trade, within bounds: breadth first, with the real exchanges.

Random walks miss what needs seven rare steps in a row. Here all states are visited: any delay and
any order of frames and replies, a death of the terminal and a crash of the gateway at every step,
a gateway that is deposed at every step and does not know, jobs that come again, a broker that
says "timed out" and executes now, later or never. `exhaustive_model.py` says what is modelled,
`exhaustive_promises.py` what is checked after each move. Then each of `protections.py` is left
out in turn, which has to break a promise.

    python -m tests.core.exhaustive             1.6 million states: four minutes
    python -m tests.core.exhaustive --bounded   200,000: half a minute

That every command comes to an end is not shown here (a schedule may go round in circles) but by
the walks of `test_promises.py`.
"""

from __future__ import annotations

import argparse
import re
import sys
import time
from collections import deque

import pytest

from tests.core.exhaustive_model import Bounds, State, Terminal, World
from tests.core.exhaustive_promises import broken
from tests.core.exhaustive_terminals import ExistingServer, Ledger
from tests.core.protections import PROTECTIONS, Protection

BOUNDED: list[tuple[type[Terminal], Bounds]] = [
    (Ledger, Bounds(frames=3, gateways=1, moments=3)),
    (Ledger, Bounds(frames=1, moments=3)),
    (ExistingServer, Bounds(frames=1, moments=3, deliveries=1)),
]
FULL: list[tuple[type[Terminal], Bounds]] = [
    (Ledger, Bounds(frames=3, gateways=1, deaths=2)),
    (Ledger, Bounds(frames=2, moments=3, deliveries=1)),
    (ExistingServer, Bounds(frames=1, moments=3)),
]


class Search:
    """The search itself.

    Args:
        bounds: How far it goes.
        removed: Protections of terminal, journal and bus to leave out.

    Attributes:
        states: How many different ones were visited.
        found: What `run` has returned.
        outcomes: Those that were stored on some way, "" for none yet.
    """

    def __init__(
        self,
        bounds: Bounds,
        removed: frozenset[str] = frozenset(),
        terminal: type[Terminal] = Ledger,
    ) -> None:
        self.states = 0
        self.found: str | None = None
        self.outcomes: set[str] = set()
        self._world = World(terminal, bounds, removed)
        self._has_ledger = terminal is Ledger

    def run(self) -> str | None:
        """Visit every state; return the first broken promise with the way to it."""
        self.found = self._violation()
        return self.found

    def _violation(self) -> str | None:
        start = State()
        came_from: dict[State, tuple[State, str] | None] = {start: None}
        waiting = deque([start])
        world = self._world
        while waiting:
            state = waiting.popleft()
            for label, raw in world.next(state):
                after = world.tidy(raw)
                if after in came_from:
                    continue
                came_from[after] = (state, sys.intern(label))
                if (lie := broken(state, after, label, has_ledger=self._has_ledger)) is not None:
                    self.states = len(came_from)
                    return f"{lie}: {' > '.join(_way(came_from, after))}"
                self.outcomes.add(after.result)
                waiting.append(after)
        self.states = len(came_from)
        return None


def _way(came_from: dict[State, tuple[State, str] | None], state: State) -> list[str]:
    labels: list[str] = []
    while (step := came_from[state]) is not None:
        state, label = step
        labels.insert(0, label)
    return labels


def without(protection: Protection) -> Search:
    """Leave one protection out, and search."""
    search = Search(protection.bounds, protection.removed, protection.terminal)
    with pytest.MonkeyPatch.context() as patch:
        for remove in protection.patches:
            remove(patch)
        search.run()
    return search


def _report(title: str, search: Search, started_s: float, is_well: bool) -> bool:
    verdict = search.found or "no promise is broken"
    took_s = time.monotonic() - started_s
    print(f"{'ok  ' if is_well else 'FAIL'} {took_s:6.1f} s {search.states:8} states  {title}")
    print(f"       {verdict}", flush=True)
    return is_well


def main() -> int:
    """Search within the bounds, then once without each protection; 1 if one is not as expected."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--bounded", action="store_true", help="fewer states, in a minute")
    is_bounded = parser.parse_args().bounded
    well, states = [], 0
    for terminal, bounds in BOUNDED if is_bounded else FULL:
        started_s, search = time.monotonic(), Search(bounds, terminal=terminal)
        search.run()
        states += search.states
        title = f"{terminal.__name__} {bounds}"
        well.append(_report(title, search, started_s, search.found is None))
    for protection in PROTECTIONS:
        started_s, search = time.monotonic(), without(protection)
        is_found = re.match(protection.shown, search.found or "") is not None
        well.append(_report(f"without: {protection.title}", search, started_s, is_found))
    print(f"{states} states; {len(PROTECTIONS)} protections left out in turn; ok: {all(well)}")
    return 0 if all(well) else 1


if __name__ == "__main__":
    sys.exit(main())
