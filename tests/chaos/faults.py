"""Carry out a schedule of faults on the running system."""

from __future__ import annotations

import asyncio
import signal
import time
from collections.abc import Awaitable, Callable, Sequence
from contextlib import nullcontext
from functools import partial

from tests.chaos.history import Fault
from tests.chaos.proxy import DOWN, UP
from tests.chaos.schedule import Planned
from tests.chaos.system import Gateway, System

TRIES = 20
"""How often an operator says the same until a gateway confirms it."""


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
        self._halting = asyncio.Lock()  # a halt is lifted for all who have said halt

    async def run(self, planned: Sequence[Planned]) -> None:
        """Do everything at its time, then wait until the last has passed."""
        self._start_s = time.monotonic()
        for fault in planned:
            await asyncio.sleep(max(0.0, self._start_s + fault.at_s - time.monotonic()))
            task = asyncio.create_task(self._do(fault), name=str(fault))
            self._lasting.add(task)
        await asyncio.gather(*self._lasting)

    async def _do(self, fault: Planned) -> None:
        target, _, link = fault.kind.target.partition("/")
        gateway, role = await self._gateway(target)
        part, begin, end = self._act(fault, gateway, target, link)
        async with self._halting if fault.kind.name == "halt" else nullcontext():
            start_ns = time.time_ns()
            has_begun = await begin() is not False
            self._tell(f"{fault.kind.name} {part}" + " (in vain)" * (not has_begun))
            if fault.kind.name == "halt":
                start_ns = time.time_ns()  # it holds from when it is confirmed
            try:
                await asyncio.sleep(fault.lasts_s)
            finally:
                end_ns = time.time_ns()
                await end()
        if has_begun:
            self.done.append(Fault(fault.kind.name, part, start_ns, end_ns, role))

    def _tell(self, what: str) -> None:
        self._say(f"{time.monotonic() - self._start_s:6.1f} s  {what}")

    def _act(
        self, fault: Planned, gateway: Gateway | None, target: str, link: str
    ) -> tuple[str, Callable[[], Awaitable[object]], Callable[[], Awaitable[object]]]:
        """Return whom it hits, and how it begins (False: it could not) and ends."""
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
            return gateway.name, partial(self._system.tell, "stepdown", 1), _async(_nothing)
        if fault.kind.name == "halt":
            halt, resume = (partial(self._system.tell, verb, TRIES) for verb in ("halt", "resume"))
            return fault.kind.target, halt, resume
        child = gateway.child if gateway else self._system.part(target, fault.size)
        number = {"kill": signal.SIGKILL, "term": signal.SIGTERM, "freeze": signal.SIGSTOP}
        end = signal.SIGCONT if fault.kind.name == "freeze" else None
        return (
            gateway.name if gateway else target,
            _async(lambda: child.signal(number[fault.kind.name])),
            _async(lambda: child.signal(end) if end else False),
        )

    async def _gateway(self, role: str) -> tuple[Gateway | None, str]:
        """Find the gateway of a role, and say whether it is certain that it has it."""
        if role not in ("active", "standby"):
            return None, ""
        active = await self._system.active()
        known = role if active else ""
        self._active = active or self._active
        if role == "active":
            return self._active, known
        others = [gateway for gateway in self._system.gateways if gateway is not self._active]
        return others[0], known


def _nothing() -> None:
    pass


def _async(call: Callable[[], object]) -> Callable[[], Awaitable[object]]:
    async def wrapped() -> object:
        return call()

    return wrapped
