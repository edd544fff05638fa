"""The nouns: what moves through the gateway. Frozen, slotted, no behaviour beyond naming.

Units: `*_s` are seconds on the gateway's monotonic clock unless the name says otherwise;
`*_at_s` are UTC seconds since 1970.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from enum import IntEnum, StrEnum
from typing import Any

Json = Any  # one decoded JSON or msgpack value


class Effect(StrEnum):
    """What an action does to the account. Fixed by the catalogue, never by the message."""

    QUERY = "query"
    TRADE = "trade"


class Lane(IntEnum):
    """Priority of a waiting command; the lowest number goes first.

    `RESUME` holds commands that have been on the channel before: they finish first.
    """

    RESUME = 0
    REDUCE = 1
    TRADE = 2
    READ = 3
    POLL = 4

    @property
    def label(self) -> str:
        """Name the lane as metrics and configuration do."""
        return self.name.lower()


class Outcome(StrEnum):
    """What became of a command. See docs/subjects.md, "Outcomes"."""

    SUCCEEDED = "succeeded"
    REJECTED = "rejected"
    DENIED = "denied"
    EXPIRED = "expired"
    UNKNOWN = "unknown"


class Source(StrEnum):
    """Who said no."""

    GATEWAY = "gateway"
    TERMINAL = "terminal"
    BROKER = "broker"


class Dialect(StrEnum):
    """Which protocol the terminal speaks. See docs/protocol.md."""

    BRIDGE = "bridge"
    METATRADER4_SERVER = "metatrader4-server"


@dataclass(frozen=True, slots=True)
class CommandId:
    """A command is identified by the client that asked and the id that it chose.

    A query's client is None: its subject names none.
    """

    client: str | None
    id: str

    def __str__(self) -> str:
        """Write the id as the terminal's wire protocol does."""
        return f"{self.client}/{self.id}"


@dataclass(frozen=True, slots=True)
class Cause:
    """Why a command did not succeed, or what was odd about its success.

    Attributes:
        source: Who said so.
        code: MT4's code when a broker or terminal gave one, else the HTTP-like code of
            docs/subjects.md; None when the existing server gave a text only.
        name: A constant name, `ERR_NOT_ENOUGH_MONEY` or `BUSY`.
        message: For a person; names the field, the value, and what would be right.
        said: The terminal's own error keys, where one reply gave them; no part of the result.
    """

    source: Source
    code: int | None
    name: str
    message: str
    said: Mapping[str, Json] | None = field(default=None, compare=False, repr=False)


@dataclass(frozen=True, slots=True)
class Command:
    """One validated wish of a client.

    Attributes:
        params: Validated and canonical, by the names of the existing server's API.
        asker: Who asks, for fairness between askers: the client, or an inbox for a query.
        digest: 32 hex digits over action and params; the same id with another digest is
            another wish under a used name, and denied.
        deadline_s: Nothing is sent at or after it.
        work_allowance_s: How long the terminal may rightly take beyond a round trip (the
            `timeout` of blocking reads).
        trace: The caller's `traceparent`, passed on to log, result and metrics.
    """

    key: CommandId
    asker: str
    action: str
    effect: Effect
    lane: Lane
    params: Mapping[str, Json]
    digest: str
    received_s: float
    received_at_s: float
    deadline_s: float
    work_allowance_s: float = 0.0
    trace: str | None = None

    @property
    def is_trade(self) -> bool:
        """Tell whether executing this twice would cost money."""
        return self.effect is Effect.TRADE


class Purpose(StrEnum):
    """Why a frame is sent. Behind an unanswered frame only the last three may go."""

    COMMAND = "command"
    SEARCH = "search"
    RESOLVE = "resolve"
    PROBE = "probe"
    HELLO = "hello"


@dataclass(frozen=True, slots=True)
class Request:
    """One frame to the terminal, before it is turned into bytes.

    Attributes:
        dialect: Of a trade's frames: the dialect that its exchange was made for. It is sent to
            no other terminal, and its reply is read in no other way. None for reads.
    """

    purpose: Purpose
    action: str
    params: Mapping[str, Json]
    attempt: int = 1
    command: Command | None = None
    dialect: Dialect | None = None


class Verdict(StrEnum):
    """What a reply proves about the command it belongs to.

    The classes of evidence of docs/safety.md: the first three are final (F, S), `NOT_NOW` and
    `FENCED` speak of one attempt (N, Q), `NOT_SEEN` of the past only (V), the rest is doubt
    (D, A).
    """

    DONE = "done"
    REJECTED = "rejected"
    SEALED = "sealed"
    NOT_NOW = "not_now"
    FENCED = "fenced"
    NOT_SEEN = "not_seen"
    IN_DOUBT = "in_doubt"
    MALFORMED = "malformed"


@dataclass(frozen=True, slots=True)
class Reply:
    """One frame from the terminal, classified.

    Attributes:
        response: The decoded value of `response`; None when there was none.
        reason: With `FENCED`, the terminal's word for it (docs/protocol.md).
        evidence: With `IN_DOUBT`, what is known: `created` true means that an order exists.
        replayed: The terminal read it from its ledger; nothing ran now.
    """

    verdict: Verdict
    response: Json = None
    warning: str | None = None
    cause: Cause | None = None
    reason: str | None = None
    evidence: Mapping[str, Json] = field(default_factory=dict)
    replayed: bool = False
    session: str | None = None
    clock_ms: int | None = None


@dataclass(frozen=True, slots=True)
class Raw:
    """A response as the terminal gave it."""

    value: Json


@dataclass(frozen=True, slots=True)
class Conclusion:
    """How an exchange ended: what a Result says beyond who asked and how long it took.

    Attributes:
        raw: Given only when the request asked for it.
    """

    outcome: Outcome
    response: Json = None
    warning: str | None = None
    cause: Cause | None = None
    attempts: int = 0
    resolved: bool = False
    raw: Raw | None = None


@dataclass(frozen=True, slots=True)
class Result:
    """The one final answer to a command, as published. Times in UTC seconds since 1970."""

    key: CommandId
    terminal: str
    action: str
    conclusion: Conclusion
    received_at_s: float
    finished_at_s: float
    queued_s: float
    channel_s: float
    trace: str | None = None

    @property
    def outcome(self) -> Outcome:
        """Say what became of the command."""
        return self.conclusion.outcome


Answer = Callable[[Result], Awaitable[None]]
"""Tells one asker the result; called once."""


@dataclass(frozen=True, slots=True)
class Wish:
    """What a client asks for, as the bus read it; nothing of it is trusted yet.

    Attributes:
        client: From the subject, where the bus's permissions guard it; None for a query.
        asker: Who asks, for fairness between askers.
        deadline_at_s: UTC; None when the client gave none.
        problem: What made it unreadable; it is then answered with that and nothing else.
        trace: `traceparent` of W3C Trace Context.
        via: Which way it came: `trade`, `job` or `front_door`.
    """

    action: str
    effect: Effect
    client: str | None
    asker: str
    answer: Answer
    params: Mapping[str, Json] = field(default_factory=dict)
    id: str | None = None
    deadline_at_s: float | None = None
    problem: str | None = None
    trace: str | None = None
    via: str = "trade"


@dataclass(frozen=True, slots=True)
class Call:
    """A question that an MQL4 program puts to whoever serves `name` on the bus.

    Attributes:
        payload: What is asked, any JSON value.
    """

    name: str
    payload: Json
    timeout_s: float


class NoCallAnswer(StrEnum):
    """Why a call was not answered."""

    NOBODY_LISTENS = "nobody_listens"
    TIMEOUT = "timeout"
    NO_BUS = "no_bus"
    BUSY = "busy"
    BAD_CALL = "bad_call"
    BAD_ANSWER = "bad_answer"


@dataclass(frozen=True, slots=True)
class CallAnswer:
    """What came of a call: a payload, or why there is none."""

    payload: Json = None
    error: NoCallAnswer | None = None
    message: str = ""
