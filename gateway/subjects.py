"""Names on the bus. `P` prefix, `T` terminal, `C` client; see docs/subjects.md.

In a token every byte outside `[A-Za-z0-9_-]` is written `=XX`, so that any symbol is one token
and a key at the same time: `EURUSD.m` is `EURUSD=2Em`.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import NamedTuple

_PLAIN = frozenset(b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789_-")
_ESCAPE = re.compile(r"=([0-9A-F]{2})")


def encode_token(text: str) -> str:
    """Write any text as one subject token."""
    return "".join(chr(b) if b in _PLAIN else f"={b:02X}" for b in text.encode())


def decode_token(token: str) -> str:
    """Read a token back.

    Raises:
        ValueError: It is not UTF-8 text in this encoding.
    """
    raw = _ESCAPE.sub(lambda match: chr(int(match[1], 16)), token)
    text = raw.encode("latin-1").decode("utf-8")
    if encode_token(text) != token:
        raise ValueError(f"{token!r} is not written as a token is")
    return text


class StreamNames(NamedTuple):
    """The streams of one terminal, all of them."""

    journal: str
    jobs: str
    dead: str
    audit: str
    ticks: str


@dataclass(frozen=True, slots=True)
class Subjects:
    """The subjects of one terminal."""

    prefix: str
    terminal: str

    @property
    def base(self) -> str:
        """Return what all of them begin with."""
        return f"{self.prefix}.{self.terminal}"

    @property
    def journal_base(self) -> str:
        """Return what the subjects of the journal and the lease begin with."""
        return f"{self.prefix}j.{self.terminal}"

    @property
    def streams(self) -> StreamNames:
        """Name the streams; a dot cannot stand in a stream's name."""
        base = self.base.replace(".", "_")
        return StreamNames(
            journal=self.journal_base.replace(".", "_"),
            jobs=f"{base}_jobs",
            dead=f"{base}_dead",
            audit=f"{base}_audit",
            ticks=f"{base}_ticks",
        )

    def query(self, action: str) -> str:
        """Name the subject of a read (request and reply)."""
        return f"{self.base}.query.{action}"

    def trade(self, client: str, action: str) -> str:
        """Name the subject of a trade (request and reply)."""
        return f"{self.base}.trade.{client}.{action}"

    def job(self, client: str, action: str) -> str:
        """Name the subject of a durable trade (JetStream)."""
        return f"{self.base}.job.{client}.{action}"

    def dead(self, client: str, action: str) -> str:
        """Name the subject on which a job that could not be taken is kept."""
        return f"{self.base}.dead.{client}.{action}"

    def audit(self, client: str, id_: str) -> str:
        """Name the subject on which it is written down what became of a trade."""
        return f"{self.base}.audit.{client}.{id_}"

    def sent(self, client: str, id_: str) -> str:
        """Name the journal's record that a trade was about to be sent."""
        return f"{self.journal_base}.sent.{client}.{id_}"

    def stored_result(self, client: str, id_: str) -> str:
        """Name the journal's record of a trade's result."""
        return f"{self.journal_base}.result.{client}.{id_}"

    def command(self, client: str, id_: str) -> str:
        """Name the subject that tells what became of a trade (request and reply)."""
        return f"{self.base}.command.{client}.{id_}"

    def result(self, client: str, id_: str) -> str:
        """Name the subject on which a trade's result is published."""
        return f"{self.base}.result.{client}.{id_}"

    def tick(self, symbol: str) -> str:
        """Name the subject of a symbol's ticks; `*` for all."""
        return f"{self.base}.tick.{symbol if symbol == '*' else encode_token(symbol)}"

    def event(self, kind: str) -> str:
        """Name the subject of events: terminal, order, account, gateway."""
        return f"{self.base}.event.{kind}"

    def control(self, verb: str) -> str:
        """Name the subject of an operator's verb (request and reply)."""
        return f"{self.base}.control.{verb}"

    def call(self, name: str) -> str:
        """Name the subject on which an MQL4 program's question is put (request and reply)."""
        return f"{self.base}.call.{name}"
