"""What a transport must do: frames out, frames in, whether there is a link; ticks and events."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

FrameHandler = Callable[[bytes, bytes], None]
"""Takes the correlation and the body of one reply."""

LinkHandler = Callable[[bool], None]
"""Takes True when the peer can be talked to, False when it cannot any more."""

MessageHandler = Callable[[list[tuple[bytes, bytes]]], None]
"""Takes the messages of one wake-up: topic and payload, a msgpack map, each."""


class Wire(Protocol):
    """One duplex connection to a terminal. Lives on the event loop; nothing here blocks."""

    def open(self, on_frame: FrameHandler, on_link: LinkHandler) -> None:
        """Start connecting, and keep trying."""

    def send(self, correlation: bytes, body: bytes) -> bool:
        """Hand over one frame; False means that it certainly did not leave."""

    def reconnect(self) -> None:
        """Drop the connection and make a new one. Reports the lost link."""

    def close(self) -> None:
        """Stop. What has not left is discarded."""


class Feed(Protocol):
    """Everything that the terminal publishes, in batches."""

    def open(self, on_messages: MessageHandler) -> None:
        """Take what is published from now on."""

    def close(self) -> None:
        """Stop listening."""
