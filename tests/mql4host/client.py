"""A gateway's end of the request socket, as plain as can be, for tests of the MQL4 programs."""

from __future__ import annotations

import base64
import hashlib
import itertools
import json
from typing import Any

import zmq

Body = dict[str, Any]
_PATIENCE_MS = 10_000
_FAR_MS = 10**15


class NoReplyError(Exception):
    """Say that no reply came."""


class BridgeClient:
    """Ask a terminal: DEALER with the envelope that a REP socket gives back.

    Attributes:
        hello: The last HELLO's response.
    """

    def __init__(self, endpoint: str, *, curve: tuple[bytes, bytes, bytes] | None = None) -> None:
        """Connect; `curve` is the terminal's public key, then our public and secret key."""
        self._context = zmq.Context()
        self._socket = self._context.socket(zmq.DEALER)
        self._socket.linger = 0
        self._socket.reconnect_ivl = 10
        if curve is not None:
            self._socket.curve_serverkey, self._socket.curve_publickey = curve[0], curve[1]
            self._socket.curve_secretkey = curve[2]
        self._socket.connect(endpoint)
        self._counter = itertools.count(1)
        self._seq = itertools.count(1)
        self.hello: Body = {}

    def __enter__(self) -> BridgeClient:
        """Return itself."""
        return self

    def __exit__(self, *_: object) -> None:
        """Close."""
        self.close()

    def close(self) -> None:
        """Close the socket."""
        self._socket.close()
        self._context.term()

    def send_raw(self, *frames: bytes) -> bytes:
        """Send body frames and return the correlation that the reply will bear."""
        correlation = b"%d" % next(self._counter)
        self._socket.send_multipart([correlation, b"", *frames])
        return correlation

    def receive_raw(self, timeout_ms: int = _PATIENCE_MS) -> tuple[bytes, bytes]:
        """Return the next reply's correlation and body.

        Raises:
            NoReplyError: None came in time.
        """
        if not self._socket.poll(timeout_ms):
            raise NoReplyError
        correlation, empty, body = self._socket.recv_multipart()
        assert empty == b""
        return correlation, body

    def ask_raw(self, *frames: bytes, timeout_ms: int = _PATIENCE_MS) -> Body:
        """Send body frames and return the one reply to them."""
        sent = self.send_raw(*frames)
        while True:
            correlation, body = self.receive_raw(timeout_ms)
            if correlation == sent:
                reply: Body = json.loads(body)
                return reply

    def ask(self, action: str, /, **parameters: object) -> Body:
        """Ask as given, without the bridge's keys."""
        return self.ask_raw(json.dumps({"action": action, **parameters}).encode())

    def claim(self) -> Body:
        """Take over: HELLO with a claim."""
        reply = self.ask("HELLO", id="test/hello", claim=True, gateway="test")
        self.hello = reply["response"]
        self._seq = itertools.count(1)
        return self.hello

    def frame(self, action: str, name: str, /, attempt: int = 1, **parameters: object) -> Body:
        """Return a trade or RESOLVE with all of the bridge's keys; parameters replace them."""
        command = f"test/{name}"
        keys: Body = {
            "action": action,
            "id": command,
            "attempt": attempt,
            "digest": hashlib.md5(command.encode()).hexdigest(),
            "session": self.hello["session"],
            "epoch": self.hello["epoch"],
            "seq": next(self._seq),
            "ledger": self.hello["ledger"],
            "not_after": _FAR_MS,
        }
        return keys | parameters

    def trade(self, action: str, name: str, /, attempt: int = 1, **parameters: object) -> Body:
        """Send a trade or RESOLVE and return the reply."""
        return self.ask_raw(json.dumps(self.frame(action, name, attempt, **parameters)).encode())

    def buy(self, name: str, /, attempt: int = 1, **parameters: object) -> Body:
        """Send a market order for 0.1 lots."""
        return self.ask_raw(json.dumps(self.buy_frame(name, attempt, **parameters)).encode())

    def buy_frame(self, name: str, /, attempt: int = 1, **parameters: object) -> Body:
        """Return the frame of `buy`."""
        values = {
            "symbol": "EURUSD",
            "order_type": 0,
            "lots": 0.1,
            "comment": token(f"test/{name}"),
        }
        return self.frame("DO_ORDER_SEND", name, attempt, **(values | parameters))

    def resolve(self, name: str, /, attempt: int = 1, **parameters: object) -> Body:
        """Ask what is known about a command."""
        return self.trade("RESOLVE", name, attempt, **parameters)


def token(command: str) -> str:
    """Return the command's token: `~` and 13 characters of base32 of its hash."""
    digest = hashlib.blake2b(command.encode(), digest_size=8).digest()
    return "~" + base64.b32encode(digest).decode().rstrip("=")
