"""Processes that are started again when they end, and none that outlives the run."""

from __future__ import annotations

import asyncio
import contextlib
import ctypes
import os
import signal
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from tests.chaos.history import Exit

STOP_PATIENCE_S = 15.0
_DIE_WITH_PARENT = 1
"""Linux' PR_SET_PDEATHSIG."""


@dataclass(slots=True)
class Child:
    """One process over all its lives.

    Attributes:
        name: In the report and of its log file.
        command: Its command line; the argument counts its lives from 1.
        log: Where its output goes.
        pause_s: How long it stays away after its end.
        may_die: It may end by itself: that is one of the faults.
        pass_fds: Files that it inherits.
        environment: Variables besides ours.
        exits: How its lives ended.
    """

    name: str
    command: Callable[[int], Sequence[str]]
    log: Path
    pause_s: Callable[[], float]
    environment: dict[str, str] = field(default_factory=dict)
    exits: list[Exit] = field(default_factory=list)
    lives: int = 0
    may_die: bool = False
    pass_fds: tuple[int, ...] = ()
    _process: asyncio.subprocess.Process | None = None
    _keeper: asyncio.Task[None] | None = None
    _is_meant: bool = False
    _is_stopping: bool = False

    async def start(self) -> None:
        """Start it, and from now on again whenever it has ended."""
        await self._spawn()
        self._keeper = asyncio.create_task(self._keep(), name=f"keep-{self.name}")

    async def _spawn(self) -> None:
        self.lives += 1
        self._is_meant = False
        inherited = {k: v for k, v in os.environ.items() if not k.startswith("MT4GW_")}
        with self.log.open("ab") as log:
            self._process = await asyncio.create_subprocess_exec(
                *self.command(self.lives),
                stdin=asyncio.subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                env=inherited | self.environment,
                pass_fds=self.pass_fds,
                preexec_fn=_die_with_parent,
                start_new_session=True,  # Ctrl-C is for us; we end them in order
            )

    async def _keep(self) -> None:
        while self._process is not None:
            code = await self._process.wait()
            is_expected = self._is_meant or self._is_stopping or self.may_die
            self.exits.append(Exit(time.time_ns(), self.name, code, is_expected))
            if self._is_stopping:
                return
            await asyncio.sleep(self.pause_s())
            if not self._is_stopping:
                await self._spawn()

    @property
    def is_running(self) -> bool:
        return self._process is not None and self._process.returncode is None

    @property
    def pid(self) -> int:
        """Return the process's number, 0 while it is down."""
        return self._process.pid if self._process is not None and self.is_running else 0

    def signal(self, number: signal.Signals) -> bool:
        """Send it a signal; False when it is down anyway."""
        if self._process is None or not self.is_running:
            return False
        if number in (signal.SIGKILL, signal.SIGTERM):
            self._is_meant = True
        with contextlib.suppress(ProcessLookupError):
            self._process.send_signal(number)
            return True
        return False

    async def stop(self, patience_s: float = STOP_PATIENCE_S) -> None:
        """End it for good: with SIGTERM, and with SIGKILL if that takes too long."""
        self._is_stopping = True
        self.signal(signal.SIGCONT)
        self.signal(signal.SIGTERM)
        if self._process is not None:
            try:
                await asyncio.wait_for(self._process.wait(), patience_s)
            except TimeoutError:
                self.signal(signal.SIGKILL)
                await self._process.wait()
        if self._keeper is not None:
            self._keeper.cancel()
            await asyncio.gather(self._keeper, return_exceptions=True)

    async def kill(self) -> None:
        """End it for good, at once."""
        self._is_stopping = True
        if self.signal(signal.SIGKILL) and self._process is not None:
            await self._process.wait()
        if self._keeper is not None:
            self._keeper.cancel()
            await asyncio.gather(self._keeper, return_exceptions=True)


def _die_with_parent() -> None:
    """Have the kernel kill the child when the run itself is killed (Linux)."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_DIE_WITH_PARENT, signal.SIGKILL)
