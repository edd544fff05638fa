"""An event loop without sockets, whose time stands still until it is told to go on."""

import asyncio
import heapq
import itertools
import selectors
from collections.abc import Callable, Mapping
from contextvars import Context
from typing import Any, TypeVarTuple, Unpack

Args = TypeVarTuple("Args")

EPOCH_S = 1_700_000_000.0
"""UTC seconds at virtual time 0."""


class Clock:
    """Stands in for the module `time` in what is tested."""

    def __init__(self) -> None:
        self.now_s = 0.0

    def monotonic(self) -> float:
        """Return virtual seconds."""
        return self.now_s

    def time(self) -> float:
        """Return virtual UTC seconds since 1970."""
        return EPOCH_S + self.now_s


class _NoSelector(selectors.BaseSelector):
    """Finds nothing, at once; notices when there is nothing else to do either."""

    def __init__(self) -> None:
        self.idle: asyncio.Future[None] | None = None

    def register(self, fileobj: Any, events: int, data: Any = None) -> selectors.SelectorKey:
        return selectors.SelectorKey(fileobj, 0, events, data)

    def unregister(self, fileobj: Any) -> selectors.SelectorKey:
        return selectors.SelectorKey(fileobj, 0, 0, None)

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        is_idle = timeout is None or timeout > 0
        if is_idle and self.idle is not None:
            self.idle.set_result(None)
            self.idle = None
        return []

    def get_map(self) -> Mapping[Any, selectors.SelectorKey]:
        return {}


class VirtualLoop(asyncio.SelectorEventLoop):
    """Runs callbacks in order; timers fire when the clock is moved to them."""

    def __init__(self, clock: Clock) -> None:
        self.clock = clock
        self._order = itertools.count()
        self._alarms: list[tuple[float, int, asyncio.TimerHandle]] = []
        self._nothing = _NoSelector()
        super().__init__(self._nothing)

    def time(self) -> float:
        """Return virtual seconds."""
        return self.clock.now_s

    def call_at(
        self,
        when: float,
        callback: Callable[[Unpack[Args]], object],
        *args: *Args,
        context: Context | None = None,
    ) -> asyncio.TimerHandle:
        """Remember the timer, so that time can be moved to it."""
        handle = super().call_at(when, callback, *args, context=context)
        heapq.heappush(self._alarms, (when, next(self._order), handle))
        return handle

    async def turn(self, turns: int | None = None) -> None:
        """Turn so often; None: until everything has happened that can at this moment."""
        if turns is None:
            self._nothing.idle = self.create_future()
            await self._nothing.idle
        for _ in range(turns or 0):
            await asyncio.sleep(0)

    def next_alarm_s(self) -> float | None:
        """Return when the next timer is due; None when there is none."""
        while self._alarms:
            when, _, handle = self._alarms[0]
            if when > self.clock.now_s and not handle.cancelled():
                return when
            heapq.heappop(self._alarms)
        return None
