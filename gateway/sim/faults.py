"""Faults on purpose: which request is hit by what, decided by a seed.

A fault is written `kind:ACTION[:argument]:when[:duration]`, for example

    drop:DO_ORDER_SEND:0.1            one reply in ten is not sent
    delay:*:0.05:700ms                one request in twenty waits before it is looked at
    refuse:DO_ORDER_SEND:146:2        the broker says 146 to the first two
    die:DO_ORDER_SEND:after_broker:#3 the third kills the terminal after the broker has acted

`ACTION` may hold `*`. `when` is a probability (with a point: `0.1`), a count (`2`: the first
two), one request (`#3`: the third) or `always`.
"""

import random
import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from enum import StrEnum, auto
from fnmatch import fnmatchcase


class FaultKind(StrEnum):
    """Name what can go wrong."""

    LOSE = auto()
    """The request vanishes before the program sees it."""
    DROP = auto()
    """The request is handled, the reply is not sent."""
    DELAY = auto()
    """The terminal is busy for the duration, then handles the request."""
    SLOW = auto()
    """The terminal handles the request and stays busy until it replies (a slow `OrderSend`)."""
    LATE = auto()
    """The reply alone is late; the terminal goes on."""
    GARBLE = auto()
    """The reply is cut in half."""
    DUPLICATE = auto()
    """The reply is sent twice."""
    FREEZE = auto()
    """Everything stands still for the duration: requests, ticks, heartbeats."""
    DIE = auto()
    """The terminal dies at the point given and stays dead."""
    RESTART = auto()
    """The terminal dies at the point given and comes back by itself."""
    REFUSE = auto()
    """The broker does nothing and answers with the code."""
    REFUSE_STOPS = auto()
    """The broker refuses the request's `OrderModify` with the code: in the existing server's
    DO_ORDER_SEND the second call, after the order has opened."""
    AMBIGUOUS = auto()
    """The broker executes and answers with the code (128, say)."""
    LATENT = auto()
    """The broker answers with the code and executes after the duration."""
    LEDGER = auto()
    """The ledger cannot be written from here on."""


class Point(StrEnum):
    """Name the places inside a trade where a terminal can die."""

    BEFORE_LEDGER = auto()
    BEFORE_BROKER = auto()
    AFTER_BROKER = auto()
    BEFORE_REPLY = auto()


class FaultSpecError(ValueError):
    """Say what is wrong with a written fault."""


@dataclass(slots=True)
class Fault:
    """Describe one fault and count the requests it has looked at.

    Attributes:
        kind: What goes wrong.
        action: Which requests, with `*` as in file names.
        probability: Chance per request; 0 if it goes by number.
        numbers: The requests by number, from 1; empty if it goes by chance.
        point: Where to die.
        code: What the broker answers.
        duration_s: How long it takes.
    """

    kind: FaultKind
    action: str = "*"
    probability: float = 0.0
    numbers: range = range(0)
    point: Point = Point.AFTER_BROKER
    code: int = 0
    duration_s: float = 0.0
    seen: int = field(default=0, init=False)

    def strikes(self, action: str, chance: random.Random) -> bool:
        """Count a request and tell whether it is hit."""
        if not fnmatchcase(action, self.action):
            return False
        self.seen += 1
        return chance.random() < self.probability or self.seen in self.numbers


class FaultPlan:
    """Decide for each request which faults strike; the same seed decides the same."""

    def __init__(self, faults: Sequence[Fault] = (), seed: int = 1) -> None:
        self._seed = seed
        self._faults: list[tuple[Fault, random.Random]] = []
        for fault in faults:
            self.add(fault)

    def add(self, fault: Fault) -> Fault:
        """Put another fault into effect; its chances do not disturb those of the others."""
        chance = random.Random(f"{self._seed}/{len(self._faults)}/{fault.kind}/{fault.action}")
        self._faults.append((fault, chance))
        return fault

    def add_spec(self, spec: str) -> Fault:
        """Put a written fault into effect.

        Raises:
            FaultSpecError: It cannot be read.
        """
        return self.add(parse_fault(spec))

    def clear(self) -> None:
        """Let nothing go wrong any more."""
        self._faults.clear()

    def strike(self, action: str) -> list[Fault]:
        """Return the faults that hit the next request of this action."""
        return [fault for fault, chance in self._faults if fault.strikes(action, chance)]


_DURATION = re.compile(r"(\d+(?:\.\d+)?)(ms|s)")
_TIMED = {FaultKind.DELAY, FaultKind.SLOW, FaultKind.LATE, FaultKind.FREEZE, FaultKind.LATENT}
_CODED = {FaultKind.REFUSE, FaultKind.REFUSE_STOPS, FaultKind.AMBIGUOUS, FaultKind.LATENT}
_DEADLY = {FaultKind.DIE, FaultKind.RESTART}
ALWAYS = range(1, 2**62)
"""The numbers of a fault that hits every request."""


def parse_fault(spec: str) -> Fault:
    """Read a fault as it is written on the command line.

    Raises:
        FaultSpecError: It has the wrong number of parts, or one of them makes no sense.
    """
    parts = spec.split(":")
    try:
        kind = FaultKind(parts[0])
        with_argument, with_duration = kind in _CODED | _DEADLY, kind in _TIMED
        expected = 3 + with_argument + with_duration
        if len(parts) != expected:
            raise FaultSpecError(f"fault {spec!r} has {len(parts)} parts instead of {expected}")
        fault = Fault(kind, parts[1], duration_s=_duration_s(parts[-1]) if with_duration else 0.0)
        if kind in _CODED:
            fault.code = int(parts[2])
        elif kind in _DEADLY:
            fault.point = Point(parts[2])
        _set_when(fault, parts[3 if with_argument else 2])
    except ValueError as error:
        raise FaultSpecError(f"fault {spec!r}: {error}") from error
    return fault


def _duration_s(text: str) -> float:
    match = _DURATION.fullmatch(text)
    if match is None:
        raise ValueError(f"{text!r} is not a duration such as 700ms or 2s")
    return float(match[1]) / (1000.0 if match[2] == "ms" else 1.0)


def _set_when(fault: Fault, text: str) -> None:
    if text == "always":
        fault.numbers = ALWAYS
    elif text.startswith("#"):
        number = int(text[1:])
        fault.numbers = range(number, number + 1)
    elif "." in text:
        fault.probability = float(text)
        if not 0.0 <= fault.probability <= 1.0:
            raise ValueError(f"{text} is not a probability")
    else:
        fault.numbers = range(1, int(text) + 1)
