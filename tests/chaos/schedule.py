"""What goes wrong and when: decided by a seed before the run begins."""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass

FIRST_S = 3.0
"""The system gets so long to come up before anything goes wrong."""

GAP_S = (1.5, 6.0)
"""Between the beginnings of two faults; the first one may last on."""


@dataclass(frozen=True, slots=True)
class Kind:
    """A kind of fault: what it does to whom, and how long it can last."""

    name: str
    target: str
    least_s: float = 0.0
    most_s: float = 0.0


KINDS = (
    Kind("kill", "active"),
    Kind("kill", "standby"),
    Kind("kill", "nats"),
    Kind("kill", "terminal"),
    Kind("kill", "client"),
    Kind("term", "active"),
    Kind("term", "nats"),
    Kind("term", "terminal"),
    Kind("stepdown", "active"),
    Kind("halt", "bus", 0.5, 2.0),
    Kind("freeze", "active", 0.5, 8.0),
    Kind("freeze", "standby", 0.5, 8.0),
    Kind("freeze", "nats", 0.5, 5.0),
    Kind("freeze", "terminal", 0.5, 8.0),
    Kind("freeze", "client", 0.5, 4.0),
    Kind("cut", "active/terminal", 0.3, 4.0),
    Kind("cut", "active/nats", 0.3, 6.0),
    Kind("stall up", "active/terminal", 0.5, 6.0),
    Kind("stall down", "active/terminal", 0.5, 6.0),
    Kind("stall up", "active/nats", 0.5, 6.0),
    Kind("stall down", "active/nats", 0.5, 6.0),
    Kind("delay", "active/terminal", 1.0, 5.0),
    Kind("delay", "active/nats", 1.0, 5.0),
)


KINDS_TO_SHOW = {
    "fence": (Kind("freeze", "active", 3.0, 6.0),),
    "term": (Kind("freeze", "active", 3.0, 6.0),),
    "ack": (Kind("kill", "active"),),
}
"""What a protection guards against; without it, little else is needed to see it missing."""


@dataclass(frozen=True, slots=True)
class Planned:
    """One fault of a schedule.

    Attributes:
        at_s: When it begins, from the start of the run.
        lasts_s: How long.
        size: From 0 to 1: how bad it is, where there is a measure.
    """

    at_s: float
    kind: Kind
    lasts_s: float
    size: float

    def __str__(self) -> str:
        lasts = f" for {self.lasts_s:.1f} s" if self.lasts_s else ""
        return f"{self.at_s:6.1f} s  {self.kind.name} {self.kind.target}{lasts}"


def schedule(seed: str, seconds: float, kinds: Sequence[Kind] = KINDS) -> list[Planned]:
    """Decide what happens within `seconds`: the same seed, the same schedule.

    Kinds are dealt like cards, so that none is forgotten.
    """
    chance = random.Random(f"{seed}/faults")
    planned: list[Planned] = []
    deck: list[Kind] = []
    at_s = FIRST_S
    while at_s < seconds - 1:
        if not deck:
            deck = chance.sample(kinds, len(kinds))
        kind = deck.pop()
        # Mostly short ones: a long one hides what the next ones would show.
        lasts_s = kind.least_s + (kind.most_s - kind.least_s) * chance.random() ** 2
        planned.append(Planned(at_s, kind, lasts_s, chance.random()))
        at_s += chance.uniform(*GAP_S)
    return planned
