r"""The pipe's plain form: a program that writes bare numbers, one per line, works unchanged.

Each number is a tick of one symbol (bid, no ask) and a question to one call on the bus. Its answer
goes back as `%.3f` and `\r\n`. The form has no word for "no answer", and a wrong number would be
taken for one; so a question that gets none ends the connection, which the program sees at once.
Nor has it ids: an answer is given to the last number only, and never after a newer one has come.

Source: docs/protocol.md, "The plain form".
"""

from __future__ import annotations

import math
import re
import time
from collections.abc import Callable

import msgpack

from gateway.core.messages import Call, CallAnswer, Json
from gateway.terminal.pipe import Pipe
from gateway.terminal.pipe_client import Client

LARGEST = 1e15
"""An answer beyond is none: `%.3f` would not be exact."""

_NUMBER = re.compile(rb"[+-]?(?:[0-9]+(?:\.[0-9]*)?|\.[0-9]+)(?:[eE][+-]?[0-9]+)?")


class TextForm:
    """What all programs of one such pipe share: the symbol's tick count, and whom they ask."""

    def __init__(self, symbol: str, call: str, timeout_s: float) -> None:
        self._symbol = symbol
        self._call = call
        self._timeout_s = timeout_s
        self._seq = 0

    def tick(self, price: float) -> tuple[bytes, bytes]:
        """Make a tick of a number: topic and msgpack map.

        The broker's time is not known and told as 0.
        """
        self._seq += 1
        tick = {
            "seq": self._seq,
            "symbol": self._symbol,
            "time": time.time_ns() // 1_000_000,
            "broker_time": 0,
            "bid": price,
            "ask": None,
            "last": 0.0,
            "volume": 0.0,
            "mode": "event",
        }
        return f"tick.{self._symbol}".encode(), msgpack.packb(tick)

    def question(self, price: float) -> Call:
        """Make a call of a number."""
        return Call(self._call, price, self._timeout_s)

    def client(self, pipe: Pipe) -> Client:
        """Make the protocol of one connection."""
        return TextClient(pipe, self)


class TextClient(Client):
    """One program that writes numbers."""

    def __init__(self, pipe: Pipe, form: TextForm) -> None:
        super().__init__(pipe)
        self.role = "text"
        self._form = form
        self._questions = 0

    def beat(self, now_s: float) -> None:
        """Do nothing: the form has no sign of life."""

    def acknowledge(self) -> bool:
        """Say nothing: the form has no word for it."""
        return True

    def take(self, line: bytes) -> None:
        """Publish a number, and ask for what is to be answered."""
        price = _number(line)
        self._questions += 1
        if price is None:
            self.refuse(f"{line[:40]!r} is no number")
            return
        self.publish(*self._form.tick(price))
        self.ask(self._form.question(price), self._answerer(self._questions))

    def refuse(self, message: str) -> None:
        """Count a line that cannot be used; there will be no answer to it."""
        self.count_refused(message)
        self.drop(message)

    def _answerer(self, question: int) -> Callable[[CallAnswer], None]:
        def answered(answer: CallAnswer) -> None:
            if question != self._questions:
                return  # a newer number has come: this answer would be taken for its
            value = answer.payload
            if answer.error is not None or not _is_price(value):
                self.drop(answer.message or f"the answer {str(value)[:40]!r} is no number")
            else:
                self.tell(b"%.3f\r\n" % value)

        return answered


def _is_price(value: Json) -> bool:
    return type(value) in (int, float) and abs(value) < LARGEST


def _number(line: bytes) -> float | None:
    text = line.strip(b" \t\r\0")
    if _NUMBER.fullmatch(text) is None:  # Python reads more: 1_000, infinity
        return None
    value = float(text)
    return value if math.isfinite(value) else None
