"""`mt4-gateway demo`, the first thing that a new user sees: what it says must be true."""

from __future__ import annotations

import asyncio
import os
import re
import select
import signal
import socket
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack, suppress
from pathlib import Path

import pytest

from gateway.demo import PORTS, Checks, run_demo, start_nats_server, usable_port
from gateway.errors import ConfigError
from tests.support.net import free_port
from tests.support.stack import eventually

PATIENCE_S = 30.0
ENDS_WITHIN_S = 10.0

TICKS = "ticks flowed to NATS"
OPENED = "a market order was opened"
CLOSED = "and closed"
RECOVERED = "a lost reply was recovered"
ONCE = "without a second order"
ONE_RESULT = "every command got exactly one result"
METRICS = "metrics were served"
ALL = [TICKS, OPENED, CLOSED, RECOVERED, ONCE, ONE_RESULT, METRICS]


@pytest.fixture(scope="module", autouse=True)
def _usual_ports_are_taken() -> Iterator[None]:
    """Make every demo look for ports of its own, so that two never want the same one."""
    with ExitStack() as held:
        for port in PORTS.values():
            with suppress(OSError):
                held.enter_context(socket.create_server(("127.0.0.1", port)))
        yield


class Demo:
    """One demo, in a process group of its own."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self._process = process
        self.said: list[str] = []

    @classmethod
    async def start(cls, *arguments: str) -> Demo:
        return cls(
            await asyncio.create_subprocess_exec(
                *(sys.executable, "-m", "gateway", "demo", *arguments),
                stdin=asyncio.subprocess.DEVNULL,
                stdout=asyncio.subprocess.PIPE,
                stderr=asyncio.subprocess.STDOUT,
                start_new_session=True,
            )
        )

    async def until(self, text: str) -> None:
        """Read until a line has a text."""
        assert self._process.stdout is not None
        async with asyncio.timeout(PATIENCE_S):
            while text not in (line := (await self._process.stdout.readline()).decode()):
                assert line, f"the demo ended without {text!r}: {self.said}"
                self.said.append(line)
        self.said.append(line)

    async def end(self, within_s: float = PATIENCE_S) -> int:
        """Read to the end and return the exit code."""
        assert self._process.stdout is not None
        async with asyncio.timeout(within_s):
            self.said += (await self._process.stdout.read()).decode().splitlines(keepends=True)
            return await self._process.wait()

    def signal_all(self, number: signal.Signals) -> None:
        """Send it to the whole process group, as Ctrl-C and a closed window do."""
        os.killpg(self._process.pid, number)

    def signal(self, number: signal.Signals) -> None:
        self._process.send_signal(number)

    @property
    def children(self) -> bool:
        """Tell whether it has started a process (Linux)."""
        task = Path(f"/proc/{self._process.pid}/task/{self._process.pid}/children")
        return bool(task.read_text())

    def left_well(self) -> None:
        """Check that neither it nor anything that it started is left, and that it knew why."""
        assert not list(of_session(self._process.pid))
        assert "Traceback" not in "".join(self.said)

    def kill(self) -> None:
        """End it and all that it started."""
        kill_session(self._process.pid)

    @property
    def failed(self) -> list[str]:
        """Which checks it says have failed, without the numbers."""
        return self._verdicts("FAILED")

    @property
    def held(self) -> list[str]:
        """Which checks it says hold."""
        return self._verdicts("ok    ")

    def _verdicts(self, mark: str) -> list[str]:
        lines = [line.removeprefix(mark).strip() for line in self.said if line.startswith(mark)]
        return [re.sub(r" \(.*\)$", "", line) for line in lines]


def of_session(session: int) -> Iterator[int]:
    """Find the processes that a demo has started, whatever their group (Linux)."""
    for stat in Path("/proc").glob("[0-9]*/stat"):
        with suppress(OSError):
            if int(stat.read_text().rpartition(")")[2].split()[3]) == session:
                yield int(stat.parent.name)


def kill_session(session: int) -> None:
    """End a demo and all that it has started."""
    for pid in [session, *of_session(session)]:
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)


async def judged(*arguments: str) -> tuple[int, list[str], list[str]]:
    """Run a demo to its end; return its exit code, what held, and what failed."""
    demo = await Demo.start(*arguments)
    try:
        code = await demo.end()
        demo.left_well()
    finally:
        demo.kill()
    return code, demo.held, demo.failed


BROKEN = {
    "refuse:DO_ORDER_SEND:134:always": [OPENED, CLOSED, RECOVERED, ONCE],
    "refuse:DO_ORDER_CLOSE:134:always": [CLOSED],
    "refuse:DO_ORDER_SEND:134:#2": [RECOVERED, ONCE],
}
"""What each fault of the terminal must cost."""


async def test_demo_exits_0_only_if_everything_was_seen_and_names_what_was_not() -> None:
    """One demo without a fault, and beside it one with each."""
    whole, *broken = await asyncio.gather(
        judged("--seconds", "4"),
        *(judged("--seconds", "4", "--fault", fault) for fault in BROKEN),
    )

    assert (0, ALL, []) == whole
    assert BROKEN == dict(zip(BROKEN, (failed for _, _, failed in broken), strict=True))
    for code, held, failed in broken:
        assert 1 == code
        assert [check for check in ALL if check not in failed] == held


async def test_fault_that_cannot_be_read_is_a_usage_error() -> None:
    """Exit code 2, one line, and the NATS server is not left behind."""
    demo = await Demo.start("--fault", "nonsense")
    try:
        code = await demo.end()

        assert 2 == code
        assert 1 == len(demo.said)
        assert "nonsense" in demo.said[0]
        demo.left_well()
    finally:
        demo.kill()


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGHUP])
async def test_signal_ends_a_running_demo_with_its_verdicts(number: signal.Signals) -> None:
    """Long before its time is over; nothing is left behind."""
    demo = await Demo.start("--seconds", "60")
    try:
        await demo.until("recovered:")
        demo.signal(number)
        code = await demo.end(ENDS_WITHIN_S)

        assert 0 == code
        assert ALL == demo.held
        demo.left_well()
    finally:
        demo.kill()


async def test_signal_to_all_of_a_demo_lets_it_finish_the_trade_under_way() -> None:
    """Ctrl-C reaches the whole process group; the NATS server must outlive the gateway."""
    demo = await Demo.start("--seconds", "60")
    try:
        await demo.until("its reply gets lost")
        demo.signal_all(signal.SIGINT)
        await demo.end(ENDS_WITHIN_S)

        assert "lost reply: DO_ORDER_SEND succeeded" in "".join(demo.said)
        assert {ONE_RESULT, METRICS} <= set(demo.held)
        demo.left_well()
    finally:
        demo.kill()


def test_two_demos_that_want_the_same_port_have_a_server_each(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Between looking for a free port and taking it another can take it."""
    monkeypatch.setitem(PORTS, "nats", free_port())
    with ExitStack() as ended:
        urls = []
        for name in ("a", "b"):
            server, url = start_nats_server(tmp_path / name)
            ended.callback(server.wait)
            ended.callback(server.terminate)
            urls.append(url)

    assert f"nats://127.0.0.1:{PORTS['nats']}" == urls[0]
    assert 2 == len(set(urls))


def test_usual_port_is_used_again_after_a_connection_that_was_just_closed() -> None:
    """The next demo has the address that the README names."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        with socket.create_connection(("127.0.0.1", port)) as client:
            server.accept()[0].close()
            client.recv(1)

    assert port == usable_port(port)


@pytest.mark.parametrize("text", ["soon", "-1", "nan"])
def test_seconds_that_are_no_number_are_a_usage_error(
    text: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One line that names the variable."""
    monkeypatch.setenv("DEMO_SECONDS", text)
    with pytest.raises(ConfigError, match=f"DEMO_SECONDS: not a number of seconds: '{text}'"):
        run_demo(None, [])


LAST_LINE = "Ctrl-C ends the demo"


@pytest.mark.skipif(sys.platform == "win32", reason="needs a pseudo-terminal")
def test_live_view_fits_a_terminal_of_24_rows() -> None:
    """What happened last, and how to end it, must not fall off the bottom."""
    import termios  # noqa: PLC0415 - not on Windows

    ours, theirs = os.openpty()
    termios.tcsetwinsize(theirs, (24, 80))
    environment = {k: v for k, v in os.environ.items() if k != "DEMO_SECONDS"} | {"TERM": "xterm"}
    process = subprocess.Popen(
        [sys.executable, "-m", "gateway", "demo"],
        stdin=theirs,
        stdout=theirs,
        stderr=theirs,
        env=environment,
        start_new_session=True,
    )
    os.close(theirs)
    try:
        _read_until(ours, "recovered: ", 1)
        frame = _read_until(ours, LAST_LINE, 2).split(LAST_LINE)[1]
        assert re.search("what happened .*\n.* [A-Za-z]", frame)
        os.killpg(process.pid, signal.SIGINT)
        _read_until(ours, "metrics were served", 1)
        assert 0 == process.wait(ENDS_WITHIN_S)
    finally:
        kill_session(process.pid)
        process.wait()
        os.close(ours)


def _read_until(terminal: int, text: str, times: int) -> str:
    shown = ""
    until_s = time.monotonic() + ENDS_WITHIN_S
    while shown.count(text) < times:
        assert select.select([terminal], [], [], until_s - time.monotonic())[0], shown[-3000:]
        shown += os.read(terminal, 65536).decode(errors="replace")
        assert time.monotonic() < until_s, shown[-3000:]
    return shown


@pytest.mark.skipif(not Path("/proc/self/task").exists(), reason="looks for children in /proc")
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
async def test_signal_during_the_start_leaves_no_nats_server(number: signal.Signals) -> None:
    """Also a demo that was not ready yet takes its server with it."""
    demo = await Demo.start("--seconds", "60")
    try:
        await eventually(lambda: demo.children, PATIENCE_S)
        demo.signal(number)
        await demo.end(ENDS_WITHIN_S)

        demo.left_well()
    finally:
        demo.kill()


# ---- the checks themselves: those that no fault of the terminal can break ---------------------


def kept() -> Checks:
    """Return what a good demo has seen."""
    return Checks(
        ticks=1,
        opened=1001,
        closed=True,
        recovered=True,
        executions=1,
        answers=Counter({"a": 1, "b": 1}),
        published=Counter({"a": 1, "b": 1}),
        metrics_served=True,
    )


def failed_of(checks: Checks) -> list[str]:
    """Name what fails, without the numbers."""
    return [re.sub(r" \(.*\)$", "", name) for name, holds in checks.verdicts() if not holds]


@pytest.mark.parametrize(
    ("change", "failed"),
    [
        ({}, []),
        ({"ticks": 0}, [TICKS]),
        ({"opened": None}, [OPENED]),
        ({"closed": False}, [CLOSED]),
        ({"recovered": False}, [RECOVERED]),
        ({"executions": 0}, [ONCE]),
        ({"executions": 2}, [ONCE]),
        ({"answers": Counter()}, [ONE_RESULT]),
        ({"answers": Counter({"a": 2, "b": 1})}, [ONE_RESULT]),
        ({"published": Counter({"a": 1})}, [ONE_RESULT]),
        ({"published": Counter({"a": 1, "b": 2})}, [ONE_RESULT]),
        ({"metrics_served": False}, [METRICS]),
    ],
)
def test_each_check_fails_by_itself(change: dict[str, object], failed: list[str]) -> None:
    """One broken promise is named, and only that one."""
    checks = kept()
    for name, value in change.items():
        setattr(checks, name, value)

    assert failed == failed_of(checks)
    assert checks.hold is not bool(failed)
