"""NATS by a plain blocking socket: as near to nothing as a client can be."""

from __future__ import annotations

import json
import secrets
import socket
from types import TracebackType
from typing import Self

CONNECT = {"verbose": False, "pedantic": False, "headers": True, "no_responders": True}
CHUNK_BYTES = 1 << 20


class NatsSocket:
    """One connection that asks and listens.

    Args:
        port: Of a server on this machine.
        timeout_s: How long to wait for anything.
    """

    def __init__(self, port: int, timeout_s: float = 10.0) -> None:
        self._socket = socket.create_connection(("127.0.0.1", port), timeout=timeout_s)
        self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._buffer = b""
        self._subscriptions = 0
        self.inbox = f"_INBOX.{secrets.token_hex(4)}"
        self._line()  # INFO
        self.send(f"CONNECT {json.dumps(CONNECT)}\r\n".encode())
        self.subscribe(f"{self.inbox}.*")

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._socket.close()

    def patience(self, seconds: float) -> None:
        """Change how long to wait for anything."""
        self._socket.settimeout(seconds)

    def send(self, data: bytes) -> None:
        """Send bytes as they are."""
        self._socket.sendall(data)

    def subscribe(self, subject: str) -> None:
        """Subscribe, and return when the server has done so."""
        self._subscriptions += 1
        self.send(f"SUB {subject} {self._subscriptions}\r\nPING\r\n".encode())
        while self._line() != b"PONG":
            pass

    def ask(self, subject: str, payload: bytes, number: int = 0) -> None:
        """Publish a request; its answer's subject ends in the number."""
        head = f"PUB {subject} {self.inbox}.{number} {len(payload)}\r\n".encode()
        self._socket.sendall(head + payload + b"\r\n")

    def request(self, subject: str, payload: bytes) -> bytes:
        """Ask and wait for the answer."""
        self.ask(subject, payload)
        return self.receive()[1]

    def receive(self) -> tuple[str, bytes]:
        """Wait for one message: its subject and, without headers, its payload."""
        while True:
            words = self._line().split(b" ")
            if words[0] == b"PING":
                self.send(b"PONG\r\n")
            if words[0] not in (b"MSG", b"HMSG"):
                continue
            size = int(words[-1])
            while len(self._buffer) < size + 2:
                self._fill()
            body, self._buffer = self._buffer[:size], self._buffer[size + 2 :]
            if words[0] == b"HMSG":
                body = body[int(words[-2]) :]
            return words[1].decode(), body

    def chunk(self) -> bytes:
        """Return what has come, unread."""
        if not self._buffer:
            self._fill()
        found, self._buffer = self._buffer, b""
        return found

    def _line(self) -> bytes:
        while (end := self._buffer.find(b"\r\n")) < 0:
            self._fill()
        line, self._buffer = self._buffer[:end], self._buffer[end + 2 :]
        return line

    def _fill(self) -> None:
        found = self._socket.recv(CHUNK_BYTES)
        if not found:
            raise ConnectionError("NATS has closed the connection")
        self._buffer += found
