"""One client of the gateway's pipe: its role, its lines, its silence.

A client that is silent is dropped, unless a request of ours is with it: MetaTrader's programs have
one thread, and a slow `OrderSend` is no silence. How long that may last is the line's to decide. A
`PING` is not slow: one that is unanswered excuses nothing.

Source: docs/protocol.md, "The pipe".
"""

from __future__ import annotations

import asyncio
import logging
import re
import time
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, cast

import msgpack

from gateway.core.messages import Call, CallAnswer, Json, NoCallAnswer
from gateway.terminal.dialects import decode_json
from gateway.terminal.pipe_lines import Head, LineBuffer, LineTooLong, head_of, plain_line, rest_of

if TYPE_CHECKING:
    from gateway.terminal.pipe import Pipe

log = logging.getLogger(__name__)

SILENT_AFTER_S = 2.4
"""A client that said nothing for so long is dropped; with `BEAT_S` it is found within 3 s."""

WINDOW_BYTES = 32_768
"""What a client may write before we have read it: less than a pipe holds, so it never waits."""

MOST_UNREAD_BYTES = 131_072
"""A client that leaves so much of ours unread gets nothing more."""

SIGN_OF_LIFE = b'{"action":"PING"'
"""How a request begins that takes a program no time."""

LOG_EVERY = 1000
"""Of a client's lines that cannot be used, the first and each so-manieth is logged."""

LONGEST_PROGRAM = 80
"""Of the name that a program gives itself, so much is logged."""

FEED_KINDS = frozenset({"tick", "heartbeat", "order", "account"})
ROLES: Mapping[str, frozenset[str]] = {
    "terminal": FEED_KINDS | {"reply"},
    "commands": frozenset({"reply"}),
    "ticks": FEED_KINDS,
    "calls": frozenset(),
}
"""What a client may send beside `call` and `ping`, by the role of its first line."""

_CALL_NUMBER = re.compile(rb'\s*"call"\s*:\s*([0-9]{1,18})\s*,')


class Client(asyncio.Protocol):
    """One connection.

    Attributes:
        unanswered: Requests that are with it, the oldest first, and whether each may take long.
    """

    def __init__(self, pipe: Pipe) -> None:
        self.role = ""
        self.kinds: frozenset[str] = frozenset()
        self.heard_s = time.monotonic()
        self.unanswered: dict[bytes, bool] = {}
        self.is_dropped = False
        self._pipe = pipe
        self._lines = LineBuffer()
        self._taken = 0
        self._told = 0
        self._refused = 0
        self._messages: list[tuple[bytes, bytes]] = []
        self._transport: asyncio.Transport | None = None

    # ---- the connection -----------------------------------------------------------------

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Wait for the first line."""
        self._transport = cast(asyncio.Transport, transport)  # uvloop's is one, but no subclass
        self._pipe.clients.append(self)
        if not self._pipe.is_open:
            self.hang_up()  # it had been accepted already when the name was given up

    def connection_lost(self, exc: Exception | None) -> None:
        """Forget it."""
        if not self.is_dropped:
            self.is_dropped = True
            self._pipe.lost(self)

    def drop(self, why: str) -> None:
        """Hang up on a client that does what it must not."""
        if not self.is_dropped:
            log.warning("pipe_client_dropped role=%s cause=%r", self.role or "none", why)
            self.hang_up()

    def hang_up(self) -> None:
        """End the connection now; whatever comes of it later is not heard."""
        if self.is_dropped:
            return
        self.is_dropped = True
        if self._transport is not None:
            self._transport.abort()
        self._pipe.lost(self)

    def tell(self, line: bytes) -> bool:
        """Send a line; False when it certainly did not leave."""
        transport = self._transport
        if self.is_dropped or transport is None or transport.is_closing():
            return False
        if transport.get_write_buffer_size() > MOST_UNREAD_BYTES:
            return False
        transport.write(line)
        return True

    def beat(self, now_s: float) -> None:
        """Say that we are here, and find out whether the other side is."""
        silent_s = now_s - self.heard_s
        if silent_s > SILENT_AFTER_S and not any(self.unanswered.values()):
            self.drop(f"silent for {silent_s:.1f} s")
        elif self.role and not self.acknowledge():
            self.drop("it does not read what it is told")

    def acknowledge(self) -> bool:
        """Say that we live, and how much of what was written we have read."""
        self._told = self._taken
        return self.tell(plain_line("ping", taken=self._taken))

    # ---- what it says -------------------------------------------------------------------

    def data_received(self, data: bytes) -> None:
        """Take in the next bytes."""
        self.heard_s = time.monotonic()
        self._taken += len(data)
        try:
            for line in self._lines.feed(data):
                if self.is_dropped:
                    break
                self.take(line)
        except LineTooLong:
            self.refuse("the line is too long")
            self.drop("a line that is too long")
        if self._messages:
            messages, self._messages = self._messages, []
            self._pipe.feed.deliver(messages)
        if self.role and self._taken - self._told > WINDOW_BYTES // 4:
            self.acknowledge()

    def take(self, line: bytes) -> None:
        """Do what one line asks for."""
        head = head_of(line)
        if head is None:
            self.refuse('a line must be an object that begins with its "kind"')
        elif not self.role:
            self._open(line, head)
        elif head.kind == "reply" and "reply" in self.kinds:
            self._reply(line, head)
        elif head.kind in FEED_KINDS and head.kind in self.kinds:
            self._publish(head.kind, line)
        elif head.kind == "call":
            self._call(line, head)
        elif head.kind != "ping":
            self.refuse(f"a client with the role {self.role} must not send {head.kind}")

    def refuse(self, message: str) -> None:
        """Count a line that cannot be used, and say so."""
        self.count_refused(message)
        self.tell(plain_line("error", message=message))

    def count_refused(self, message: str) -> None:
        """Count a line that cannot be used."""
        self._pipe.metrics.reply_discarded("malformed")
        if self._refused % LOG_EVERY == 0:
            log.warning("pipe_line_refused role=%s cause=%r", self.role or "none", message)
        self._refused += 1

    def _open(self, line: bytes, head: Head) -> None:
        said = _decode(line) or {}
        role = str(said.get("role"))
        if head.kind != "open" or role not in ROLES:
            problem: str | None = f'the first line must be "open" with a role of {", ".join(ROLES)}'
        else:
            problem = self._pipe.problem_with(role)
        if problem:
            self._turn_away(problem)
            return
        self.role, self.kinds = role, ROLES[role]
        self.tell(plain_line("opened", window=WINDOW_BYTES))
        program = str(said.get("program"))[:LONGEST_PROGRAM]
        log.info("pipe_client_opened role=%s program=%r", role, program)
        self._pipe.opened(self)

    def _turn_away(self, problem: str) -> None:
        """Hang up, but not before it has been told why."""
        log.warning("pipe_client_refused cause=%r", problem)
        self.tell(plain_line("refused", message=problem))
        self.is_dropped = True
        if self._transport is not None:
            self._transport.close()
        self._pipe.lost(self)

    def _reply(self, line: bytes, head: Head) -> None:
        if head.correlation is None:
            self.refuse("a reply needs the correlation of its request")
            return
        while head.correlation in self.unanswered:  # earlier ones are consumed: it works in order
            del self.unanswered[next(iter(self.unanswered))]
        self._pipe.wire.deliver(head.correlation, rest_of(line, head))

    def _publish(self, kind: str, line: bytes) -> None:
        """Bring a line into the form of the publishing socket: topic and msgpack map."""
        said = _decode(line)
        try:
            if said is None:
                raise ValueError("not one JSON object")
            topic = f"tick.{said['symbol']}" if kind == "tick" else kind
            del said["kind"]
            self.publish(topic.encode(), msgpack.packb(said))
        except (KeyError, ValueError, OverflowError, TypeError) as exc:
            self.refuse(f"bad {kind}: {exc!r}")

    def publish(self, topic: bytes, packed: bytes) -> None:
        """Hand over what was published, together with the rest of the same wake-up."""
        self._messages.append((topic, packed))

    def ask(self, call: Call, answered: Callable[[CallAnswer], None]) -> None:
        """Put a question to the bus."""
        self._pipe.on_call(call, answered)

    def _call(self, line: bytes, head: Head) -> None:
        said = _decode(line)
        number = said.get("call") if said else None
        if said is None and (found := _CALL_NUMBER.match(line, head.end)):
            message = "the call is no JSON that can be read"
            self.count_refused(message)
            answer = CallAnswer(error=NoCallAnswer.BAD_CALL, message=message)
            self.tell(_answer_line(int(found[1]), answer))
            return
        if said is None or type(number) is not int:
            self.refuse('a call needs its number, an integer "call"')
            return
        name, timeout_s = said.get("name"), said.get("timeout_s")
        if not isinstance(name, str) or not isinstance(timeout_s, int | float):
            self.refuse('a call needs a "name" and a "timeout_s"')
            return

        def answered(answer: CallAnswer) -> None:
            self.tell(_answer_line(number, answer))

        self.ask(Call(name, said.get("payload"), float(timeout_s)), answered)


def _answer_line(number: int, answer: CallAnswer) -> bytes:
    if answer.error is not None:
        return plain_line("answer", call=number, error=str(answer.error), message=answer.message)
    try:
        return plain_line("answer", call=number, payload=answer.payload)
    except (ValueError, RecursionError) as exc:
        error = CallAnswer(error=NoCallAnswer.BAD_ANSWER, message=f"the answer is no JSON: {exc}")
        return _answer_line(number, error)


def _decode(line: bytes) -> dict[str, Json] | None:
    try:
        said = decode_json(line.decode())
    except (ValueError, RecursionError):
        return None
    return said if isinstance(said, dict) else None
