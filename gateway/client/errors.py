"""What can go wrong beside a result that says no.

ClientError
├── NotConnected   nothing was sent
├── NotPermitted   nothing was sent: NATS forbids it to this user
├── NoAnswer       sent, and nobody said what became of it; carries the id to ask again with
│   └── NobodyListens   nobody was there to hear it
└── NotStored      a job was refused
"""

from __future__ import annotations


class ClientError(Exception):
    """Base of all; never raised itself."""


class NotConnected(ClientError):  # noqa: N818 - reads as what it is
    """There is no connection to NATS. The command was certainly not sent."""


class NotPermitted(ClientError):  # noqa: N818 - reads as what it is
    """NATS forbids it to this user. The command was certainly not sent."""

    def __init__(self, verb: str, subject: str, cure: str = "") -> None:
        super().__init__(
            f"NATS does not permit this user to {verb} {subject}{cure}; "
            "`mt4-gateway acl` prints what each role may do"
        )
        self.subject = subject


class NoAnswer(ClientError):  # noqa: N818 - reads as what it is
    """No gateway answered in time. A trade may have run: ask `outcome_of(id)` later."""

    def __init__(self, id_: str, message: str) -> None:
        super().__init__(message)
        self.id = id_


class NobodyListens(NoAnswer):
    """No gateway is there: nobody has heard of the command."""


class NotStored(ClientError):  # noqa: N818 - reads as what it is
    """A job was refused: the queue is full, or there is none."""

    def __init__(self, id_: str, message: str) -> None:
        super().__init__(message)
        self.id = id_
