"""Carry out a schedule of faults on the running system."""

from __future__ import annotations

import asyncio
import signal
import time
from collections.abc import Awaitable, Callable, Sequence

from tests.chaos.history import Fault
from tests.chaos.proxy import DOWN, UP
from tests.chaos.schedule import Planned
from tests.chaos.system import Gateway, System


class Saboteur:
    """Carry out a schedule.

    Attributes:
        done: What was done; `target` is the part that was hit.
    """

    def __init__(self, system: System, say: Callable[[str], None]) -> None:
        self._system = system
        self._say = say
        self._start_s = time.monotonic()
        self._active = system.gateways[0]
        self.done: list[Fault] = []
        self._lasting: set[asyncio.Task[None]] = set()

    async def run(self, planned: Sequence[Planned]) -> None:
        """Do everything at its time, then wait until the last has passed."""
        self._start_s = time.monotonic()
        for fault in planned:
            await asyncio.sleep(max(0.0, self._start_s + fault.at_s - time.monotonic()))
            task = asyncio.create_task(self._do(fault), name=str(fault))
            self._lasting.add(task)
        await asyncio.gather(*self._lasting)

    async def _do(self, fault: Planned) -> None:
        part, begin, end = await self._act(fault)
        start_ns = time.time_ns()
        self._say(f"{time.monotonic() - self._start_s:6.1f} s  {fault.kind.name} {part}")
        await begin()
        try:
            await asyncio.sleep(fault.lasts_s)
        finally:
            await end()
            self.done.append(Fault(fault.kind.name, part, start_ns, time.time_ns()))

    async def _act(
        self, fault: Planned
    ) -> tuple[str, Callable[[], Awaitable[None]], Callable[[], Awaitable[None]]]:
        """Return whom it hits, and how it begins and ends."""
        target, _, link = fault.kind.target.partition("/")
        gateway = await self._gateway(target)
        if link and gateway is not None:
            proxy = gateway.links[link]
            starts = {
                "cut": proxy.cut,
                "stall up": lambda: proxy.stall(UP),
                "stall down": lambda: proxy.stall(DOWN),
                "delay": lambda: proxy.delay(0.05 + 0.95 * fault.size**2),
            }
            return proxy.name, _async(starts[fault.kind.name]), _async(proxy.heal)
        if fault.kind.name == "stepdown" and gateway is not None:
            return gateway.name, self._system.step_down, _async(_nothing)
        child = gateway.child if gateway else self._system.part(target, fault.size)
        number = {"kill": signal.SIGKILL, "term": signal.SIGTERM, "freeze": signal.SIGSTOP}
        end = signal.SIGCONT if fault.kind.name == "freeze" else None
        return (
            gateway.name if gateway else target,
            _async(lambda: child.signal(number[fault.kind.name])),
            _async(lambda: child.signal(end) if end else False),
        )

    async def _gateway(self, role: str) -> Gateway | None:
        if role not in ("active", "standby"):
            return None
        self._active = await self._system.active() or self._active
        if role == "active":
            return self._active
        return next(gateway for gateway in self._system.gateways if gateway is not self._active)


def _nothing() -> None:
    pass


def _async(call: Callable[[], object]) -> Callable[[], Awaitable[None]]:
    async def wrapped() -> None:
        call()

    return wrapped
