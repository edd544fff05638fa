"""`mt4-gateway demo`, the first thing that a new user sees: what it says must be true."""

from __future__ import annotations

import asyncio
import os
import re
import signal
import socket
import sys
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack, suppress
from pathlib import Path

import pytest

from gateway.demo import PORTS, Checks
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

    def signal(self, number: signal.Signals) -> None:
        self._process.send_signal(number)

    @property
    def children(self) -> bool:
        """Tell whether it has started a process (Linux)."""
        task = Path(f"/proc/{self._process.pid}/task/{self._process.pid}/children")
        return bool(task.read_text())

    def left_well(self) -> None:
        """Check that neither it nor anything that it started is left, and that it knew why."""
        with pytest.raises(ProcessLookupError):
            os.killpg(self._process.pid, 0)
        assert "Traceback" not in "".join(self.said)

    def kill(self) -> None:
        """End it and all that it started."""
        with suppress(ProcessLookupError):
            os.killpg(self._process.pid, signal.SIGKILL)

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


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
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
