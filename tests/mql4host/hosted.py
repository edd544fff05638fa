"""Run MQL4 programs on this machine as processes.

server = BrokerServer()
with HostedExpert(binary, server, folder, {"LedgerCreate": True}) as commands:
    ...  # connect a DEALER to commands.endpoint
"""

from __future__ import annotations

import os
import signal
import subprocess
import threading
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import Self

from gateway.terminal.pipe_name import pipe_folder
from tests.mql4host.broker_server import BrokerServer
from tests.mql4host.build import find_libzmq
from tests.support.net import free_port

Input = str | int | float | bool
_PATIENCE_S = 20.0


class HostedExpert:
    """One program attached to one chart of the terminal that `server` stands for.

    Attributes:
        endpoint: Where it takes requests or publishes; the same after a restart.
        data: Its terminal's data folder; the ledger is below `Common/Files/Mt4Gateway`.
        log: What it printed, the lines of all its lives.
        inputs: Its inputs by name; changes count from the next start.
        environment: Further variables for the host, such as `MQL4HOST_DISK_BYTES`.
        patience_s: How long its OnInit may take.
    """

    def __init__(
        self,
        binary: Path,
        server: BrokerServer,
        data: Path,
        inputs: Mapping[str, Input] | None = None,
        endpoint: str | None = None,
    ) -> None:
        self.endpoint = endpoint or f"tcp://127.0.0.1:{free_port()}"
        self.data = data
        self.log: list[str] = []
        self.inputs: dict[str, Input] = {"Endpoint": self.endpoint, "TimerMs": 1}
        self.inputs.update(inputs or {})
        self.environment: dict[str, str] = {}
        self.patience_s = _PATIENCE_S
        self._binary = binary
        self._server = server
        self._process: subprocess.Popen[str] | None = None
        self._reader: threading.Thread | None = None
        self._is_closed = False
        self._logged = threading.Condition()

    @property
    def ledger_files(self) -> list[Path]:
        """Return the ledger files, normally one."""
        return sorted((self.data / "Common/Files/Mt4Gateway").glob("ledger-*.txt"))

    def start(self) -> Self:
        """Attach the program and wait until its OnInit has returned.

        Raises:
            RuntimeError: It stopped before; the message is its log.
        """
        seen = len(self.log)
        process = self._spawn()
        self._is_closed = False
        self._process = process
        self._reader = threading.Thread(
            target=self._read, args=(process,), daemon=True, name="mql4-log"
        )
        self._reader.start()
        self.wait_for_log("host: OnInit returned 0", seen, self.patience_s)
        return self

    @property
    def input_lines(self) -> str:
        """Return the inputs as the host reads them."""
        return "\n".join(f"{k}={_input_text(v)}" for k, v in self.inputs.items())

    def _spawn(self) -> subprocess.Popen[str]:
        with self._server.open_line() as line:
            environment = {
                **os.environ,
                **self.environment,
                "MQL4HOST_FD": str(line.fileno()),
                "MQL4HOST_DATA": str(self.data),
                "MQL4HOST_LIBZMQ": str(find_libzmq()),
                "MQL4HOST_PIPES": str(pipe_folder()),
                "MQL4HOST_INPUTS": self.input_lines,
                "ASAN_OPTIONS": "detect_leaks=0:handle_abort=1",
                "UBSAN_OPTIONS": "print_stacktrace=1",
            }
            return subprocess.Popen(
                [self._binary],
                env=environment,
                pass_fds=[line.fileno()],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                text=True,
                errors="replace",
            )

    def wait_for_log(self, text: str, since: int = 0, timeout_s: float = _PATIENCE_S) -> str:
        """Return the first line from `since` on that contains `text`; wait for it if need be.

        Raises:
            RuntimeError: The program stopped, or the time is over, without such a line.
        """
        found: list[str] = []
        at = since

        def is_over() -> bool:
            nonlocal at
            while at < len(self.log) and not found:
                if text in self.log[at]:
                    found.append(self.log[at])
                at += 1
            return bool(found) or not self._is_reading

        with self._logged:
            self._logged.wait_for(is_over, timeout_s)
        line = found[0] if found else None
        if line is None:
            raise RuntimeError(f"no {text!r} in:\n" + "\n".join(self.log[since:]))
        return line

    def kill(self) -> None:
        """End it as a crash of the terminal does: nothing is flushed, nothing is said."""
        if self._process is not None and self._process.poll() is None:
            self._process.send_signal(signal.SIGKILL)
        self.join()

    def stop(self) -> int:
        """Remove it from the chart, as a person does, and return its exit status."""
        if self._process is not None and self._process.poll() is None:
            self._process.terminate()
        return self.join()

    def join(self) -> int:
        """Wait until the process has ended, and return its exit status."""
        # A hook that kills waits here as well as the test, which may be first to start it again.
        process, reader = self._process, self._reader
        if process is None:
            return 0
        status = process.wait(_PATIENCE_S)
        if reader is not None:
            reader.join(_PATIENCE_S)
        if process.stdout is not None:
            process.stdout.close()
        if self._process is process:
            self._process = None
        return status

    @property
    def pid(self) -> int:
        """Return the running process's number.

        Raises:
            RuntimeError: It is not running.
        """
        if self._process is None:
            raise RuntimeError("not running")
        return self._process.pid

    @property
    def _is_reading(self) -> bool:
        return self._reader is not None and self._reader.is_alive() and not self._is_closed

    def _heard(self, _line: str) -> bool:
        """Tell whether a line of output belongs to the log."""
        return True

    def _read(self, process: subprocess.Popen[str]) -> None:
        assert process.stdout is not None
        for line in process.stdout:
            if not self._heard(line):
                continue
            with self._logged:
                self.log.append(line.rstrip("\n"))
                self._logged.notify_all()
        with self._logged:
            self._is_closed = True
            self._logged.notify_all()

    def __enter__(self) -> Self:
        """Start."""
        return self.start()

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Kill, if it still runs."""
        self.kill()


def _input_text(value: Input) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)
