"""What NATS forbids this user, told to the call that ran into it.

NATS does not answer a publish that it forbids; it complains beside it and names the subject, so
that a request would only time out. Which of several requests on one subject is meant is not said:
they are told only when there are as many complaints as requests.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from gateway.client.errors import NotPermitted
from gateway.nats_connection import Denial, denial_in


class Denials:
    """The complaints of one connection."""

    def __init__(self) -> None:
        self._asking: dict[str, list[asyncio.Timeout]] = {}
        self._complaints: Counter[str] = Counter()
        self._not_followed: set[str] = set()

    def note(self, exc: Exception) -> bool:
        """Take in what a connection complains of; tell whether it was a missing right."""
        match denial_in(exc):
            case None:
                return False
            case Denial("publish", subject) if subject in self._asking:
                self._complaints[subject] += 1
                asking = self._asking[subject]
                if self._complaints[subject] >= len(asking):
                    for patience in asking:
                        if patience.when() is None:
                            patience.reschedule(0)  # in the past: its request ends now
            case Denial("publish", _):
                pass  # whoever asked has gone
            case Denial("subscription", subject):
                self._not_followed.add(subject)
        return True

    @asynccontextmanager
    async def watching(self, subject: str) -> AsyncIterator[None]:
        """Have a request on a subject end at once when it is forbidden.

        Raises:
            NotPermitted: It is; nothing was sent.
        """
        name, patience = subject.lower(), asyncio.timeout(None)
        self._asking.setdefault(name, []).append(patience)
        try:
            async with patience:
                yield
        except TimeoutError:
            if patience.expired():
                raise NotPermitted("publish on", subject) from None
            raise
        finally:
            self._asking[name].remove(patience)
            if not self._asking[name]:
                del self._asking[name], self._complaints[name]

    def forget(self, subject: str) -> None:
        """Begin to follow a subject, maybe once more."""
        self._not_followed.discard(subject.lower())

    def check(self, subject: str, cure: str) -> None:
        """Look whether a subject may be followed.

        Raises:
            NotPermitted: It may not.
        """
        if subject.lower() in self._not_followed:
            raise NotPermitted("subscribe to", subject, cure)
