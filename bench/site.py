"""The processes that are measured, and what the system tells about them.

Linux tells CPU times and memory; where it does not, those figures are left out.
"""

from __future__ import annotations

import os
import platform
import re
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import zmq

from tests.support.nats_server import NatsServer
from tests.support.net import free_port

CLIENT = "bench"
READY_WITHIN_S = 20.0


def machine() -> dict[str, Any]:
    """Say where and with what the figures were made."""
    model = None
    if (cpu := Path("/proc/cpuinfo")).exists():
        found = re.search(r"model name\s*: (.*)", cpu.read_text(encoding="utf-8"))
        model = found[1] if found else None
    return {
        "date": time.strftime("%Y-%m-%d"),
        "system": platform.platform(),
        "processor": model or platform.processor(),
        "cores": os.cpu_count(),
        "python": platform.python_version(),
        "libzmq": zmq.zmq_version(),
    }


@contextmanager
def on_one_core(wanted: bool) -> Iterator[None]:
    """Keep this process, and what it starts meanwhile, on one core where that can be had.

    A lock-step ping-pong on two cores takes 44 or 81 us, by where the scheduler puts its ends.
    """
    if not wanted or not hasattr(os, "sched_setaffinity"):
        yield
        return
    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {min(before)})
    try:
        yield
    finally:
        os.sched_setaffinity(0, before)


class Watched:
    """A process that is looked at."""

    def __init__(self, pid: int) -> None:
        self._pid = pid

    @property
    def cpu_s(self) -> float | None:
        """CPU time used so far by all threads."""
        try:
            tasks = list(Path(f"/proc/{self._pid}/task").iterdir())
            return sum(int((task / "schedstat").read_text().split()[0]) for task in tasks) / 1e9
        except OSError:
            return None

    def spent_s(self, do: Callable[[], object]) -> float | None:
        """Do something; the CPU time that the process used meanwhile."""
        before_s = self.cpu_s
        do()
        after_s = self.cpu_s
        return None if before_s is None or after_s is None else after_s - before_s

    @property
    def memory_mb(self) -> float | None:
        """Resident memory."""
        try:
            status = Path(f"/proc/{self._pid}/status").read_text(encoding="utf-8")
        except OSError:
            return None
        found = re.search(r"VmRSS:\s+(\d+) kB", status)
        return int(found[1]) / 1000 if found else None


class Process(Watched):
    """One program beside us.

    Args:
        command: Its arguments; a `bench` module is run by this Python.
        is_told: It says `ready` on a line, and is spoken with line by line.
    """

    def __init__(self, *command: str, is_told: bool = True, **environment: str) -> None:
        pipe = subprocess.PIPE if is_told else None
        self._popen = subprocess.Popen(
            command,
            stdin=pipe,
            stdout=pipe if is_told else subprocess.DEVNULL,
            stderr=None if is_told else subprocess.DEVNULL,
            env=os.environ | environment,
        )
        super().__init__(self._popen.pid)
        if is_told:
            assert self.line() == "ready"

    def tell(self, line: str) -> None:
        """Write a line."""
        assert self._popen.stdin is not None
        self._popen.stdin.write(f"{line}\n".encode())
        self._popen.stdin.flush()

    def line(self) -> str:
        """Wait for a line."""
        assert self._popen.stdout is not None
        return self._popen.stdout.readline().decode().strip()

    def stop(self) -> None:
        """End it."""
        self._popen.terminate()
        try:
            self._popen.wait(20)
        except subprocess.TimeoutExpired:
            self._popen.kill()
            self._popen.wait(10)


def module(name: str, *arguments: object) -> tuple[str, ...]:
    """Return the command of a `bench` module."""
    return (sys.executable, "-m", f"bench.{name}", *map(str, arguments))


class Site:
    """A NATS server, and what is measured beside it; all of it ends with the site."""

    def __init__(self) -> None:
        self._stack = ExitStack()
        self.folder = Path(self._stack.enter_context(tempfile.TemporaryDirectory()))
        self.nats = NatsServer(self.folder)
        self.request_port, self.http_port = free_port(), free_port()

    def __enter__(self) -> Self:
        self.nats.start()
        self._stack.callback(self.nats.stop)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._stack.close()

    def start(self, *command: str, is_told: bool = True, **environment: str) -> Process:
        """Start a process that ends with the site."""
        process = Process(*command, is_told=is_told, **environment)
        self._stack.callback(process.stop)
        return process

    def terminal(self, work_ms: float = 0) -> Process:
        """Start the terminal."""
        return self.start(*module("terminal", self.request_port, work_ms), is_told=False)

    def over_pipe(self, name: str) -> Process:
        """Start another gateway and its terminal, with a pipe between them."""
        self.start(*module("terminal", f"pipe:{name}", 0), is_told=False)
        return self.gateway(
            MT4GW_TERMINAL__NAME=name,
            MT4GW_TERMINAL__TRANSPORT="pipe",
            MT4GW_TERMINAL__PIPE_NAME=name,
            MT4GW_HTTP__ADDRESS="127.0.0.1:0",
        )

    def quotes(self, port: int, symbols: int) -> Process:
        """Start what floods with ticks."""
        return self.start(*module("quotes", port, symbols))

    def gateway(self, tick_port: int | None = None, **environment: str) -> Process:
        """Start `mt4-gateway run`, every feature on; it may not serve yet."""
        settings = {
            "MT4GW_TERMINAL__NAME": "bench",
            "MT4GW_TERMINAL__REQUEST_ENDPOINT": f"tcp://127.0.0.1:{self.request_port}",
            "MT4GW_TERMINAL__TICK_ENDPOINT": f"tcp://127.0.0.1:{tick_port or free_port()}",
            "MT4GW_NATS__SERVERS": self.nats.url,
            "MT4GW_POLICY__TRADING": "true",
            "MT4GW_HTTP__ADDRESS": f"127.0.0.1:{self.http_port}",
            "MT4GW_LOG__LEVEL": "warning",
        }
        command = (sys.executable, "-m", "gateway", "run")
        return self.start(*command, is_told=False, **settings | environment)

    def forwarder(self, tick_port: int) -> Process | None:
        """Start the forwarder in C, built against pyzmq's own library; None without a compiler."""
        compiler, library = shutil.which("cc"), _pyzmqs_library()
        if compiler is None or library is None:
            return None
        program = self.folder / "forwarder"
        source = Path(__file__).with_name("forwarder.c")
        linked = (str(library), f"-Wl,-rpath,{library.parent}", "-Wl,--allow-shlib-undefined")
        build = [compiler, "-O2", "-o", str(program), str(source), *linked]
        subprocess.run(build, check=True)
        return self.start(str(program), str(self.nats.port), str(tick_port))


def _pyzmqs_library() -> Path | None:
    beside = Path(zmq.__file__).parent.parent / "pyzmq.libs"
    return next(iter(sorted(beside.glob("libzmq*"))), None)
