"""The simulator as a process: its line, its signals, its sudden death."""

import argparse
import asyncio
import json
import os
import signal
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from gateway.sim.program import add_arguments, run
from tests.sim.peers import TIMEOUT_S, Peer
from tests.sim.programs import SEND

ANY_PORT = ("--request-endpoint", "tcp://127.0.0.1:*", "--tick-endpoint", "tcp://127.0.0.1:*")
posix_only = pytest.mark.skipif(sys.platform == "win32", reason="signals of POSIX")


class Process:
    """Run `python -m gateway.sim`."""

    def __init__(self, *arguments: str) -> None:
        self._arguments = arguments
        self.terminal: Any = None
        self.line = ""

    async def __aenter__(self) -> "Process":
        """Start it and wait for its line."""
        self.process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "gateway.sim", *ANY_PORT, *self._arguments),
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
        )
        assert self.process.stdout is not None
        async with asyncio.timeout(2 * TIMEOUT_S):
            self.line = (await self.process.stdout.readline()).decode()
        fields = dict(part.split("=", 1) for part in self.line.split()[1:])
        self.terminal = SimpleNamespace(request_endpoint=fields.get("request"))
        return self

    async def __aexit__(self, *_: object) -> None:
        """End it if it has not ended."""
        if self.process.returncode is None:
            self.process.kill()
        await self.process.communicate()

    async def ended(self) -> int:
        """Wait for its exit code."""
        async with asyncio.timeout(2 * TIMEOUT_S):
            return await self.process.wait()


@posix_only
async def test_process_says_when_it_is_ready_and_stops_on_a_signal() -> None:
    """One line with the endpoints; SIGTERM is a clean end."""
    async with Process() as sim:
        sim.process.send_signal(signal.SIGTERM)

        assert await sim.ended() == 0
    assert sim.line.startswith("sim_ready request=tcp://127.0.0.1:")
    assert sim.line.endswith("dialect=bridge\n")


@posix_only
async def test_killed_process_comes_back_with_its_order(tmp_path: Path) -> None:
    """It dies after the broker has acted; the next process finds the order by its token."""
    files = [
        *("--ledger", str(tmp_path / "ledger.txt")),
        *("--state", str(tmp_path / "state.json")),
        *("--truth", str(tmp_path / "truth.jsonl")),
    ]
    death = ("--fault", "die:DO_ORDER_SEND:after_broker:1")
    async with Process(*files, *death) as sim, Peer(sim.terminal) as peer:
        await peer.claim()
        await peer.send(json.dumps(peer.frame(**SEND)).encode())

        assert await sim.ended() == -signal.SIGKILL
    async with Process(*files) as sim, Peer(sim.terminal) as peer:
        await peer.claim()
        reply = await peer.resolve()

    assert (reply["state"], reply["response"]["comment"]) == ("done", SEND["comment"])
    facts = [json.loads(line) for line in (tmp_path / "truth.jsonl").read_text().splitlines()]
    assert [1] == [fact["attempt"] for fact in facts if fact["fact"] == "executed"]


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        (["--fault", "explode:*:1"], "explode"),
        (["--quotes", "missing-eurusd.csv"], "missing-eurusd.csv"),
        (["--quotes", "nameless.csv"], "--symbol"),
        (["--request-endpoint", "nonsense"], "Invalid argument"),
        (["--quotes", os.devnull, "--symbol", "EURUSD"], ": no tick in it"),
        (["--state", "/no/such/folder/state"], "/no/such/folder/state: there is no such folder"),
    ],
)
async def test_senseless_option_ends_with_code_2(
    arguments: list[str], complaint: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """And says what is wrong with it."""
    parser = argparse.ArgumentParser()
    add_arguments(parser)

    assert await run(parser.parse_args([*ANY_PORT, *arguments])) == 2
    assert complaint in capsys.readouterr().err


@pytest.mark.parametrize(
    "argument",
    [
        *("--leverage=0", "--leverage=-5", "--deposit=nan", "--tick-interval=nan"),
        *("--tick-interval=-1", "--speed=inf", "--speed=-1"),
    ],
)
def test_number_that_would_fail_later_is_a_usage_error(
    argument: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """A leverage of 0 ended the terminal at its first order."""
    parser = argparse.ArgumentParser()
    add_arguments(parser)
    with pytest.raises(SystemExit, match="2"):
        parser.parse_args([argument])

    option, _, value = argument.partition("=")
    said = capsys.readouterr().err
    assert f"argument {option}: invalid" in said
    assert f"value: '{value}'" in said


async def test_two_processes_cannot_share_a_ledger(tmp_path: Path) -> None:
    """The second one ends."""
    ledger = ("--ledger", str(tmp_path / "ledger.txt"))
    async with Process(*ledger), Process(*ledger) as second:
        assert await second.ended() == 2
