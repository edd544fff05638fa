"""What can go wrong beside a result that says no.

ClientError
├── NotConnected   nothing was sent
├── NoAnswer       sent, and nobody said what became of it; carries the id to ask again with
│   └── NobodyListens   nobody was there to hear it
└── NotStored      a job was refused
"""

from __future__ import annotations


class ClientError(Exception):
    """Base of all; never raised itself."""


class NotConnected(ClientError):  # noqa: N818 - reads as what it is
    """There is no connection to NATS. The command was certainly not sent."""


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
