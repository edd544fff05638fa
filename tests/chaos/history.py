"""What everybody saw during a run, and nothing else: the checker's only input.

A command is named by its key, `<client>/<id>`. Times are UTC nanoseconds of the one machine that
everything runs on.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

Body = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Asked:
    """A client is about to send a command.

    Attributes:
        number: Counts the client's sends; answers to requests carry it, too.
        via: `trade`, `raw` or `blind` (a request, with nats-py alone, without a reply subject) or
            `job`.
        body: `first`, `same` (the id again), or `other` (the id again with other parameters).
    """

    at_ns: int
    key: str
    number: int
    via: str
    body: str
    action: str
    params: Body
    deadline_ns: int


@dataclass(frozen=True, slots=True)
class Stored:
    """JetStream has acknowledged a job: from here on it is accepted."""

    at_ns: int
    key: str
    number: int


@dataclass(frozen=True, slots=True)
class Told:
    """A client was told something of a command: a result, or its state while there is none.

    Attributes:
        number: Of the request that this answers; None for what was published or found out.
        via: `reply`, `result` (published), `command` (asked) or `audit` (asked at the end).
    """

    at_ns: int
    key: str
    number: int | None
    via: str
    state: str
    result: Body | None = None

    @property
    def outcome(self) -> str | None:
        return self.result["outcome"] if self.result else None


@dataclass(frozen=True, slots=True)
class Frame:
    """A trade or a RESOLVE has left a gateway, as the proxy on its link saw it."""

    at_ns: int
    gateway: str
    key: str
    action: str
    attempt: int
    epoch: int


@dataclass(frozen=True, slots=True)
class Execution:
    """The broker has carried out a trade call.

    Attributes:
        received_ns: When the terminal took the request in; None where that is not known.
        is_delayed: The broker itself took its time, so that the request began earlier.
    """

    at_ns: int
    key: str
    call: str
    ticket: int
    received_ns: int | None = None
    is_delayed: bool = False


@dataclass(frozen=True, slots=True)
class Order:
    """An order in the broker's book when all was over; `token` is the front of its comment."""

    ticket: int
    token: str
    is_open: bool


@dataclass(frozen=True, slots=True)
class LedgerLine:
    """A line of the terminal's ledger, in the file's order; an `epoch` line has no key."""

    kind: str
    key: str = ""
    attempt: int = 0
    epoch: int = 0


@dataclass(frozen=True, slots=True)
class Fault:
    """Something that was done to the system, from when to when.

    Attributes:
        role: What a gateway that was hit was then: `active`, `standby`, or empty.
    """

    kind: str
    target: str
    start_ns: int
    end_ns: int
    role: str = ""

    def overlaps(self, start_ns: int, end_ns: int) -> bool:
        return self.start_ns <= end_ns and start_ns <= self.end_ns


@dataclass(frozen=True, slots=True)
class Exit:
    """A process has ended; `is_expected` where the run itself has ended it."""

    at_ns: int
    process: str
    code: int
    is_expected: bool


@dataclass(slots=True)
class Journal:
    """The journal stream when all was over; a dead letter is a job that was given up, and why."""

    sent: set[str] = field(default_factory=set)
    results: dict[str, Body] = field(default_factory=dict)
    dead_letters: dict[str, str] = field(default_factory=dict)


@dataclass(slots=True)
class History:
    """A whole run.

    Attributes:
        unsent: Key and number of what the client library refused to send: it had no connection.
        explained: What `mt4-gateway explain` says of each command, when all was over.
        heard: How many messages on the bus there were of each schema.
        misfits: Messages on the bus that do not fit their schema, in words.
    """

    asked: list[Asked] = field(default_factory=list)
    stored: list[Stored] = field(default_factory=list)
    told: list[Told] = field(default_factory=list)
    unsent: set[tuple[str, int]] = field(default_factory=set)
    frames: list[Frame] = field(default_factory=list)
    executions: list[Execution] = field(default_factory=list)
    orders: list[Order] = field(default_factory=list)
    ledger: list[LedgerLine] = field(default_factory=list)
    journal: Journal = field(default_factory=Journal)
    faults: list[Fault] = field(default_factory=list)
    exits: list[Exit] = field(default_factory=list)
    explained: dict[str, Body] = field(default_factory=dict)
    heard: Counter[str] = field(default_factory=Counter)
    misfits: list[str] = field(default_factory=list)


# ---- reading what the parts have written ------------------------------------------------------


def read_client_log(path: Path, history: History) -> None:
    """Add what one client has noted."""
    for line in lines_of(path):
        match line.pop("fact"):
            case "asked":
                history.asked.append(Asked(**line))
            case "stored":
                history.stored.append(Stored(**line))
            case "told":
                history.told.append(Told(**line))
            case "unsent":
                history.unsent.add((line["key"], line["number"]))


def read_truth(path: Path, history: History) -> None:
    """Add what the simulated terminal has put on record."""
    received_ns: dict[tuple[str, int], int] = {}
    delayed: set[str] = set()
    for line in lines_of(path):
        key = line.get("id", "")
        if line["fact"] == "received":
            received_ns[key, line["attempt"]] = line["at_ns"]
        elif line["fact"] == "latent":
            delayed.add(key)
        elif line["fact"] == "executed" and line["code"] == 0:
            history.executions.append(
                Execution(
                    line["at_ns"],
                    key,
                    line["call"],
                    line["ticket"],
                    received_ns.get((key, line["attempt"])),
                    key in delayed,
                )
            )


def read_ledger(path: Path, history: History) -> None:
    """Add the terminal's ledger; a torn last line is none."""
    if not path.exists():
        return
    for line in path.read_bytes().splitlines():
        try:
            entry = json.loads(line[9:])
        except ValueError:
            continue
        history.ledger.append(
            LedgerLine(
                entry["kind"], entry.get("id", ""), entry.get("attempt", 0), entry.get("epoch", 0)
            )
        )


def read_broker_state(path: Path, history: History) -> None:
    """Add the simulated broker's book."""
    if not path.exists():
        return
    state = json.loads(path.read_text("utf-8"))
    for order in [*state["orders"], *state["history"]]:
        is_open = not order["close_time_s"]
        history.orders.append(Order(order["ticket"], token_in(order["comment"]), is_open))


TOKEN_LENGTH = 14


def token_in(comment: str) -> str:
    """Return the token at the front of a comment; empty where there is none."""
    return comment[:TOKEN_LENGTH] if comment.startswith("~") else ""


def lines_of(path: Path) -> Iterator[Body]:
    """Read JSON objects, one a line; a line that a kill has cut short is skipped."""
    if not path.exists():
        return
    for line in path.read_text("utf-8").splitlines():
        try:
            yield json.loads(line)
        except ValueError:
            continue
