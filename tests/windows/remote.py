"""The gateway's end of a pipe on Windows, used from here: see relay.py."""

from __future__ import annotations

import asyncio
import base64
import contextlib
import socket
import threading
from pathlib import Path

from gateway.sim.bridge import PlainClients
from gateway.terminal.wire import FrameHandler, LinkHandler, Wire
from tests.conformance.peers import PeerName, PipePeer
from tests.windows.wine import WineExpert, start_python

START_S = 60.0


class Relay:
    """The process that makes pipes for us; its line is served by a thread."""

    def __init__(self) -> None:
        with socket.create_server(("127.0.0.1", 0)) as server:
            server.settimeout(START_S)
            self._process = start_python("-m", "tests.windows.relay", str(server.getsockname()[1]))
            try:
                self._line, _ = server.accept()
            except TimeoutError:
                self._process.kill()
                raise RuntimeError(self._process.communicate()[0]) from None
        self._wires: dict[bytes, RemoteWire] = {}
        self._reader = threading.Thread(target=self._read, daemon=True, name="relay")
        self._reader.start()

    def _read(self) -> None:
        with self._line, self._line.makefile("rb") as lines, contextlib.suppress(OSError):
            for line in lines:
                verb, name, *words = line.split()
                if wire := self._wires.get(name):
                    wire.loop.call_soon_threadsafe(wire.heard, verb, *words)

    def add(self, name: bytes, wire: RemoteWire) -> None:
        """Have a pipe made."""
        self._wires[name] = wire
        self.say(b"open %s" % name)

    def remove(self, name: bytes) -> None:
        """Have a pipe closed."""
        del self._wires[name]
        self.say(b"close %s" % name)

    def say(self, line: bytes) -> None:
        """Tell the process what to do."""
        self._line.sendall(line + b"\n")

    def close(self) -> None:
        """End it."""
        self._process.kill()
        self._process.communicate()
        self._reader.join()


class RemoteWire:
    """One pipe of the relay's, as the wire that it is over there.

    Attributes:
        loop: Where its handlers are called.
    """

    def __init__(self, relay: Relay, pipe_name: str) -> None:
        self._relay = relay
        self._name = pipe_name.encode()

    def open(self, on_frame: FrameHandler, on_link: LinkHandler) -> None:
        """Ask for the pipe."""
        self._on_frame, self._on_link = on_frame, on_link
        self.loop = asyncio.get_running_loop()
        self._relay.add(self._name, self)

    def heard(self, verb: bytes, *words: bytes) -> None:
        """Take in what the relay has said."""
        if verb == b"link":
            self._on_link(words[0] == b"1")
        else:
            self._on_frame(words[0], base64.b64decode(words[1]))

    def send(self, correlation: bytes, body: bytes) -> bool:
        """Hand over one frame."""
        self._relay.say(b"send %s %s %s" % (self._name, correlation, base64.b64encode(body)))
        return True

    def reconnect(self) -> None:
        """Fail: nothing here asks for it."""
        raise NotImplementedError

    def close(self) -> None:
        """Let go of the pipe."""
        self._relay.remove(self._name)


class WindowsPeer(PipePeer):
    """Run GatewayPipe.exe under Wine, and the gateway's end of its pipe as well."""

    name = PeerName.WINDOWS
    expert_kind = WineExpert

    def __init__(
        self, relay: Relay, binary: Path, folder: Path, plain_clients: PlainClients
    ) -> None:
        self._relay = relay
        super().__init__(binary, folder, plain_clients)

    def _make_wire(self, pipe_name: str) -> Wire:
        return RemoteWire(self._relay, pipe_name)
