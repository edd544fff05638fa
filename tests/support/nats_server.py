"""A real NATS server with JetStream, on loopback, under the test's control."""

import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

from tests.support.net import free_port

START_TIMEOUT_S = 10.0
STOP_TIMEOUT_S = 10.0


def nats_server_path() -> str:
    """Find the server: beside this Python (the wheel puts it there) or on PATH."""
    beside = Path(sys.executable).parent
    found = shutil.which("nats-server", path=f"{beside}{os.pathsep}{os.environ.get('PATH', '')}")
    if found is None:
        raise FileNotFoundError("nats-server: run `python dev.py setup`, or put it on PATH")
    return found


class NatsServer:
    """One server process; port, store and arguments stay the same over restarts."""

    def __init__(self, folder: Path, *arguments: str, jetstream: bool = True) -> None:
        self._arguments = arguments
        self.port = free_port()
        self.url = f"nats://127.0.0.1:{self.port}"
        self.log = folder / "nats-server.log"
        self._store = folder / "jetstream"
        self._jetstream = jetstream
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Start the server and return once it greets a client."""
        if self._process is not None:
            raise RuntimeError(f"nats-server already runs on {self.url}")
        address = ("-a", "127.0.0.1", "-p", str(self.port))
        jetstream = ("-js", "-sd", str(self._store)) if self._jetstream else ()
        with self.log.open("ab") as log:
            self._process = subprocess.Popen(
                [nats_server_path(), *address, *jetstream, *self._arguments], stdout=log, stderr=log
            )
        self._wait_until_ready(self._process)

    def stop(self) -> None:
        """Stop the server in good order, also when it is paused; do nothing if it is down."""
        self._end(signal.SIGTERM)

    def kill(self) -> None:
        """End the server as a power cut would."""
        self._end(signal.SIGKILL)

    def restart(self) -> None:
        """Stop and start again on the same port and store."""
        self.stop()
        self.start()

    def reload(self) -> None:
        """Have the server read its configuration again, in its own time."""
        self._running().send_signal(signal.SIGHUP)

    def pause(self) -> None:
        """Freeze the server: connections stay open and nothing answers."""
        process = self._running()
        process.send_signal(signal.SIGSTOP)
        os.waitid(os.P_PID, process.pid, os.WSTOPPED)  # returns when all its threads stand still

    def resume(self) -> None:
        """Let a paused server go on."""
        self._running().send_signal(signal.SIGCONT)

    @property
    def pid(self) -> int:
        """The process, to look at."""
        return self._running().pid

    def _running(self) -> subprocess.Popen[bytes]:
        if self._process is None:
            raise RuntimeError(f"nats-server is not running on {self.url}")
        return self._process

    def _end(self, how: signal.Signals) -> None:
        if self._process is None:
            return
        process, self._process = self._process, None
        process.send_signal(how)
        process.send_signal(signal.SIGCONT)  # A paused process sees SIGTERM only once it goes on.
        process.wait(STOP_TIMEOUT_S)

    def _wait_until_ready(self, process: subprocess.Popen[bytes]) -> None:
        deadline_s = time.monotonic() + START_TIMEOUT_S
        while not self._greets():
            if process.poll() is not None or time.monotonic() > deadline_s:
                self.kill()
                raise RuntimeError(f"nats-server did not start:\n{self.log.read_text()}")
            _pause_unless_ended(process)

    def _greets(self) -> bool:
        try:
            with socket.create_connection(("127.0.0.1", self.port), timeout=1.0) as client:
                return client.recv(4) == b"INFO"
        except OSError:
            return False


def _pause_unless_ended(process: subprocess.Popen[bytes]) -> None:
    try:
        process.wait(0.005)
    except subprocess.TimeoutExpired:
        return
