"""The exceptions, by whose fault. An answer, even "no", is a value and never one of these.

GatewayError
├── ConfigError            bad configuration: every problem at once, exit code 2
├── LocalProtocolError     our bug: crash loudly
├── RemoteProtocolError    the peer's bug: count, log once, answer or drop
├── InvalidCommand         a client's bug: answered as denied, with every problem
├── TransportError         link trouble
├── JournalAway            JetStream does not answer, or says no: nothing may be traded now
└── StartOver              another gateway is active now, or may be: become a standby
"""

from __future__ import annotations

from collections.abc import Sequence


class GatewayError(Exception):
    """Base of all; never raised itself."""


class ConfigError(GatewayError):
    """The configuration cannot be used. `problems` has one line each, with the key."""

    def __init__(self, problems: Sequence[str]) -> None:
        super().__init__("\n".join(problems))
        self.problems = list(problems)


class LocalProtocolError(GatewayError):
    """The gateway was about to break its own rules."""


class RemoteProtocolError(GatewayError):
    """A peer sent what no peer should."""


class InvalidCommand(GatewayError):  # noqa: N818 - reads as what it is at the raise
    """A command that must not be forwarded. `problems` has one line per field."""

    def __init__(self, problems: Sequence[str]) -> None:
        super().__init__("; ".join(problems))
        self.problems = list(problems)


class TransportError(GatewayError):
    """The bus or the terminal cannot be reached."""


class JournalAway(GatewayError):  # noqa: N818 - says what has happened
    """JetStream does not answer, or says no: nothing may be traded now."""


class StartOver(GatewayError):  # noqa: N818 - says what to do
    """This gateway's turn is over; it begins again as a standby.

    Attributes:
        pause_s: How long it leaves the turn to others.
    """

    def __init__(self, why: str, pause_s: float = 0.0) -> None:
        super().__init__(why)
        self.pause_s = pause_s
