"""Lines of the pipe: bytes to lines and back. Pure: no socket, no clock.

A line is one JSON object whose first key is `kind`; of a request and a reply the second is
`correlation`, and what follows is the very object that crosses ZeroMQ as a frame of its own. So a
line is told apart by its beginning, without reading the whole of it.

Source: docs/protocol.md, "The pipe".
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass

from gateway.core.messages import Json
from gateway.terminal.dialects import MAX_REPLY_BYTES

MAX_LINE_BYTES = MAX_REPLY_BYTES + 256
"""A reply and what stands before it."""

_HEAD = re.compile(
    rb'\{\s*"kind"\s*:\s*"([a-z_]{1,32})"\s*'
    rb'(?:,\s*"correlation"\s*:\s*"([A-Za-z0-9_-]{1,32})"\s*)?[,}]'
)
_EMPTY_REST = b"}"

_encode_json = json.JSONEncoder(separators=(",", ":"), allow_nan=False).encode


class LineTooLong(Exception):  # noqa: N818 - says what has happened
    """The peer has sent more than a line may have, and no end of it."""


class LineBuffer:
    """Put lines together from any pieces; holds one unfinished line at most.

    Args:
        most_bytes: Of one line, without its end.
    """

    def __init__(self, most_bytes: int = MAX_LINE_BYTES) -> None:
        self._most_bytes = most_bytes
        self._bytes = bytearray()
        self._searched = 0

    def feed(self, data: bytes) -> Iterator[bytes]:
        r"""Take in a piece and give the lines that it completes, without `\n` or `\r\n`.

        Raises:
            LineTooLong: What came before it can still be used.
        """
        held = self._bytes
        held += data
        start = 0
        while (end := held.find(b"\n", max(start, self._searched))) >= 0:
            line = bytes(held[start:end])
            start = end + 1
            if len(line) > self._most_bytes:
                raise LineTooLong
            yield line.removesuffix(b"\r")
        del held[:start]
        self._searched = len(held)
        if len(held) > self._most_bytes:
            raise LineTooLong


@dataclass(frozen=True, slots=True)
class Head:
    """What a line begins with.

    Attributes:
        kind: The first key's value.
        correlation: The second key's, where that is its name.
        end: Where the rest begins: behind the comma, or at the closing brace.
    """

    kind: str
    correlation: bytes | None
    end: int


def head_of(line: bytes) -> Head | None:
    """Read a line's beginning; None when it is not one of ours."""
    found = _HEAD.match(line)
    if found is None:
        return None
    is_whole = line[found.end() - 1 : found.end()] == b"}"
    return Head(found[1].decode(), found[2], found.end() - is_whole)


def rest_of(line: bytes, head: Head) -> bytes:
    """Return the object that a line carries, as it would be without its head."""
    return b"{" + line[head.end :]


def carrying_line(kind: str, correlation: bytes, body: bytes) -> bytes:
    """Write a request or a reply: the head, and the object `body` from its first key on."""
    comma = b"" if body[1:] == _EMPTY_REST else b","
    return b'{"kind":"%s","correlation":"%s"%s%s\n' % (
        kind.encode(),
        correlation,
        comma,
        body[1:],
    )


def plain_line(kind: str, **members: Json) -> bytes:
    """Write any other line."""
    return _encode_json({"kind": kind, **members}).encode() + b"\n"
