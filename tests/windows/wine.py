"""Windows programs on this machine: where they are, and how they are started under Wine."""

from __future__ import annotations

import contextlib
import os
import socket
import subprocess
import threading
from collections.abc import Iterator
from pathlib import Path

from tests.mql4host.hosted import HostedExpert

ROOT = Path(__file__).parents[2]
WINE = "/usr/lib/wine/wine64"
WINE_SERVER = "/usr/lib/wine/wineserver64"
ASKED = "\x01"


def windows_folder() -> Path:
    """Return where `.ci/windows-tools` has put what it made."""
    return Path(os.environ.get("MT4GW_WINDOWS", ROOT / ".windows"))


def windows_path(path: Path) -> str:
    """Write a path of this machine as Wine's programs see it."""
    return "Z:" + str(path).replace("/", "\\")


def wine_environment() -> dict[str, str]:
    """Return the environment of a program under Wine."""
    inherited = {key: value for key, value in os.environ.items() if not key.startswith("MT4GW_")}
    return inherited | {
        "WINEPREFIX": str(windows_folder() / "prefix"),
        "WINEARCH": "win64",
        "WINEDEBUG": "-all",
        "WINEDLLOVERRIDES": "mscoree=;mshtml=;winemenubuilder.exe=",
    }


def python_environment() -> dict[str, str]:
    """Return the environment of the Windows Python, with this repository on its path."""
    return wine_environment() | {
        "PYTHONHOME": windows_path(windows_folder() / "python"),
        "PYTHONPATH": windows_path(ROOT),
        "PYTHONUTF8": "1",
        "PYTHONDONTWRITEBYTECODE": "1",
        "PYTHONUNBUFFERED": "1",
    }


@contextlib.contextmanager
def wine_session() -> Iterator[None]:
    """Keep Wine's own processes alive, started by nobody whose output they would hold open."""

    def run(*command: str) -> None:
        null, environment = subprocess.DEVNULL, wine_environment()
        subprocess.run(
            command, env=environment, stdin=null, stdout=null, stderr=null, check=False, timeout=60
        )

    run(WINE_SERVER, "-p")
    run(WINE, "cmd", "/c", "exit")
    yield
    run(WINE_SERVER, "-k")


def start_python(*words: str) -> subprocess.Popen[str]:
    """Start the Windows Python; its output must be a pipe, a file would end it at once."""
    return subprocess.Popen(
        [WINE, windows_folder() / "python" / "python.exe", *words],
        env=python_environment(),
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        errors="replace",
    )


class WinePython:
    """A Windows Python that runs, and what it says.

    Attributes:
        said: Its lines so far.
    """

    def __init__(self, *words: str) -> None:
        self.said: list[str] = []
        self._process = start_python(*words)
        self._has_ended = False
        self._news = threading.Condition()
        self._reader = threading.Thread(target=self._read, daemon=True, name="wine-python")
        self._reader.start()

    def _read(self) -> None:
        assert self._process.stdout is not None
        for line in self._process.stdout:
            with self._news:
                self.said.append(line.rstrip())
                self._news.notify_all()
        with self._news:
            self._has_ended = True
            self._news.notify_all()

    def wait_for(self, text: str, timeout_s: float = 60.0) -> str:
        """Return the first line that has this text; wait for it if need be.

        Raises:
            RuntimeError: It did not come; the message is everything that was said.
        """

        def found() -> str | None:
            return next((line for line in self.said if text in line), None)

        with self._news:
            self._news.wait_for(lambda: found() or self._has_ended, timeout_s)
            line = found()
        if line is None:
            raise RuntimeError(f"no {text!r} in:\n" + "\n".join(self.said))
        return line

    def stop(self, timeout_s: float = 30.0) -> int:
        """Close its standard input, which ends it in order; return its exit code."""
        assert self._process.stdin is not None
        self._process.stdin.close()
        code = self._process.wait(timeout_s)
        self._reader.join(timeout_s)
        assert self._process.stdout is not None
        self._process.stdout.close()
        return code

    def kill(self) -> None:
        """End it, if it still runs."""
        if self._process.poll() is None:
            self._process.kill()
            self.stop()

    @property
    def pid(self) -> int:
        """Return the process's number on this machine."""
        return self._process.pid


class WineExpert(HostedExpert):
    """Run an MQL4 program that was built for Windows: see tests/mql4host/os_windows.cpp."""

    def _spawn(self) -> subprocess.Popen[str]:
        environment = wine_environment() | {
            **self.environment,
            "MQL4HOST_DATA": windows_path(self.data),
            "MQL4HOST_INPUTS": self.input_lines,
        }
        process = subprocess.Popen(
            [WINE, self._binary],
            env=environment,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            errors="replace",
        )
        self._line = self._server.open_line()
        threading.Thread(target=_answer, args=(self._line, process), daemon=True).start()
        return process

    def _heard(self, line: str) -> bool:
        """Pass on what the program asks the broker; True for a line of its log."""
        if not line.startswith(ASKED):
            return True
        with contextlib.suppress(OSError):
            self._line.sendall(line[len(ASKED) :].encode())
        return False

    def join(self) -> int:
        """Wait for its end, and let go of its line."""
        status = super().join()
        with contextlib.suppress(OSError, AttributeError):
            self._line.shutdown(socket.SHUT_RDWR)
        return status


def _answer(line: socket.socket, process: subprocess.Popen[str]) -> None:
    """Pass the broker's answers on to a program until it has ended."""
    assert process.stdin is not None
    with line, line.makefile(encoding="utf-8") as answers, contextlib.suppress(OSError, ValueError):
        for answer in answers:
            process.stdin.write(answer)
            process.stdin.flush()
    with contextlib.suppress(OSError):
        process.stdin.close()
