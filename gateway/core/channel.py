"""Machine 1, the lock-step: who may use the line, and whose reply is this.

The terminal answers one request at a time and knows no ids that survive a lost reply, so the
gateway keeps the rules:

| Situation | What may be sent |
|---|---|
| nothing unanswered on this connection | anything |
| something unanswered | `RESOLVE`, `HELLO` or a probe, `behind` of them at most |
| connection lost | nothing; the unanswered are *abandoned* but remembered |

On one connection the terminal works in order. So the reply to a later frame proves that every
earlier one has been consumed: its reply is lost, the line is free again. An abandoned frame is
remembered, so that a late reply still finds its command: it is evidence, not noise.

Source: docs/protocol.md; measured in tests/stack/test_zeromq_facts.py.
"""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass

from gateway.core.messages import Purpose, Request
from gateway.errors import LocalProtocolError

REMEMBERED = 4096
"""How many abandoned frames are kept for their late replies."""

_MAY_GO_BEHIND = frozenset({Purpose.RESOLVE, Purpose.PROBE, Purpose.HELLO})


@dataclass(frozen=True, slots=True)
class Received:
    """A reply's request, and how long the reply took.

    `late`: the frame had been abandoned before its reply came.
    """

    request: Request
    took_s: float
    late: bool


@dataclass(frozen=True, slots=True)
class _Sent:
    request: Request
    at_s: float


class Channel:
    """The state of the line to one terminal, without the line.

    Args:
        instance: Starts every correlation, so that a reply to a frame of an earlier process
            can never match one of ours.

    Attributes:
        behind: How many frames may wait behind an unanswered one.
    """

    def __init__(self, instance: str) -> None:
        self.behind = 2
        self._instance = instance
        self._frames_sent = 0
        self._unanswered: OrderedDict[bytes, _Sent] = OrderedDict()
        self._abandoned: OrderedDict[bytes, _Sent] = OrderedDict()

    @property
    def is_free(self) -> bool:
        """Tell whether nothing is unanswered on this connection."""
        return not self._unanswered

    @property
    def unanswered_since_s(self) -> float | None:
        """When the oldest unanswered frame was sent; None on a free line."""
        return next((sent.at_s for sent in self._unanswered.values()), None)

    def may_send(self, purpose: Purpose) -> bool:
        """Tell whether a frame of this purpose may go out now."""
        if not self._unanswered:
            return True
        return purpose in _MAY_GO_BEHIND and len(self._unanswered) <= self.behind

    def begin(self, request: Request, now_s: float) -> bytes:
        """Note a frame as sent and return its correlation.

        Raises:
            LocalProtocolError: The lock-step forbids it; asking `may_send` first is the rule.
        """
        if not self.may_send(request.purpose):
            raise LocalProtocolError(f"{request.purpose} while {len(self._unanswered)} unanswered")
        self._frames_sent += 1
        correlation = f"{self._instance}-{self._frames_sent:x}".encode()
        self._unanswered[correlation] = _Sent(request, now_s)
        return correlation

    def withdraw(self, correlation: bytes) -> None:
        """Forget a frame that the socket refused: it certainly did not leave."""
        del self._unanswered[correlation]

    def receive(self, correlation: bytes, now_s: float) -> Received | None:
        """Match a reply; None when nobody here sent such a frame."""
        if (sent := self._abandoned.pop(correlation, None)) is not None:
            return Received(sent.request, now_s - sent.at_s, late=True)
        if correlation not in self._unanswered:
            return None
        while True:
            earliest, sent = self._unanswered.popitem(last=False)
            if earliest == correlation:
                return Received(sent.request, now_s - sent.at_s, late=False)
            self._abandon(earliest, sent)  # consumed, by order of the line; its reply is lost

    def lose(self) -> None:
        """Abandon everything unanswered: the connection is gone."""
        while self._unanswered:
            self._abandon(*self._unanswered.popitem(last=False))

    def _abandon(self, correlation: bytes, sent: _Sent) -> None:
        self._abandoned[correlation] = sent
        while len(self._abandoned) > REMEMBERED:
            self._abandoned.popitem(last=False)
