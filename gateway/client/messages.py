"""What a client reads off the bus, typed. Shapes: docs/subjects.md."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from gateway.core.messages import Json, Outcome


@dataclass(frozen=True, slots=True)
class CommandResult:
    """The one final result of a command.

    Attributes:
        response: What the terminal answered; for an order, a map with its `ticket`.
        error: `source`, `code`, `name`, `message`; None when it succeeded.
        resolved: The reply was missing, and the truth was found out.
        body: The result as it came, whole.
    """

    id: str
    client: str | None
    action: str
    outcome: Outcome
    response: Json
    warning: str | None
    error: Mapping[str, Json] | None
    attempts: int
    resolved: bool
    body: Mapping[str, Json]

    @property
    def succeeded(self) -> bool:
        """Tell whether it did what was asked."""
        return self.outcome is Outcome.SUCCEEDED

    @classmethod
    def read(cls, body: Mapping[str, Json]) -> CommandResult:
        """Read a result's body."""
        return cls(
            id=body["id"],
            client=body["client"],
            action=body["action"],
            outcome=Outcome(body["outcome"]),
            response=body["response"],
            warning=body["warning"],
            error=body["error"],
            attempts=body["attempts"],
            resolved=body["resolved"],
            body=body,
        )


@dataclass(frozen=True, slots=True)
class TickMessage:
    """One quote.

    Attributes:
        time_ms: UTC, milliseconds since 1970.
        broker_time_s: The broker's clock, no zone.
        seq: Counts per symbol.
        missed: How many ticks of this symbol were lost since the last one read here.
    """

    symbol: str
    time_ms: int
    broker_time_s: int
    bid: float
    ask: float | None
    last: float
    volume: float
    seq: int
    mode: str
    missed: int

    @classmethod
    def read(cls, body: Mapping[str, Json], previous_seq: int | None) -> TickMessage:
        """Read a tick's body; `previous_seq` is the last one of its symbol."""
        seq = body["seq"]
        restarted = previous_seq is None or seq <= previous_seq
        return cls(
            symbol=body["symbol"],
            time_ms=body["time"],
            broker_time_s=body["broker_time"],
            bid=body["bid"],
            ask=body["ask"],
            last=body["last"],
            volume=body["volume"],
            seq=seq,
            mode=body["mode"],
            missed=0 if restarted else seq - (previous_seq or 0) - 1,
        )
