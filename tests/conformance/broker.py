"""The broker behind a terminal under test: the simulator's model, with days that can be arranged.

Faults sit here, on the broker's side of a trade call, so that they are the same for every terminal.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from enum import StrEnum, auto
from typing import Any, ParamSpec, TypeVar

from gateway.sim.broker import Broker

P = ParamSpec("P")
R = TypeVar("R", int, bool)

START_S = 1_600_000_000
CALLS = {"OrderSend": -1, "OrderModify": False, "OrderClose": False, "OrderDelete": False}
"""The trade calls, and what each returns when it fails."""


class Mishap(StrEnum):
    """Name what can happen to one trade call."""

    REFUSE = auto()
    """Nothing is executed; the code is answered."""
    AMBIGUOUS = auto()
    """It is executed; the call fails with the code all the same."""
    LATENT = auto()
    """The code is answered, and it is executed once `arrive` is called."""
    SLOW = auto()
    """It is executed after the time, milliseconds."""
    DIE_BEFORE = auto()
    """The terminal dies before the call has reached the broker."""
    DIE_AFTER = auto()
    """The terminal dies after it, before it learns of the result."""
    SHIFT = auto()
    """The terminal's clock jumps by so many milliseconds while it is executed."""


@dataclass(frozen=True, slots=True)
class Arranged:
    """Hold what happens to the next call of a name."""

    mishap: Mishap
    number: int = 0


class ArrangedBroker(Broker):
    """Answer trade calls, some of them as arranged.

    Attributes:
        arranged: What happens to the next calls, by name, first in, first out.
        made: How often each trade call was executed with success.
        opened: How many orders were ever opened, by the token in their comment.
        die: Ends the terminal, the argument tells whether before the broker has acted.
        shift_clock: Moves the terminal's clock by milliseconds.
        lock: Held during a trade call, where another thread reads the account.
    """

    def __init__(self, *, time_s: int = START_S, deposit: float = 10_000.0) -> None:
        super().__init__(time_s=time_s, deposit=deposit)
        self.arranged: dict[str, list[Arranged]] = {}
        self.made: Counter[str] = Counter()
        self.opened: Counter[str] = Counter()
        self.die: Callable[[bool], None] = lambda _: None
        self.shift_clock: Callable[[int], None] = lambda _: None
        self.lock: AbstractContextManager[object] = nullcontext()
        self._latent: list[Callable[[], object]] = []
        for spec in self.specs.values():
            ask = spec.rounded(spec.opening_bid + spec.spread_points * spec.point)
            self.set_quote(spec.name, spec.opening_bid, ask, time_s)

    def arrange(self, call: str, mishap: Mishap, number: int = 0) -> None:
        """Let something happen to the next call of this name that nothing is arranged for yet."""
        if call not in CALLS:
            raise ValueError(f"{call} is not one of {', '.join(CALLS)}")
        self.arranged.setdefault(call, []).append(Arranged(mishap, number))

    def arrive(self) -> None:
        """Execute what is on its way."""
        latent, self._latent = self._latent, []
        for execute in latent:
            execute()

    # The names matter: the simulator's desk tells the calls apart by them.

    def order_send(self, *args: Any, **kwargs: Any) -> Any:
        """Open or place an order, or do as arranged."""
        return self._call("OrderSend", super().order_send, args, kwargs)

    def order_modify(self, *args: Any, **kwargs: Any) -> Any:
        """Modify an order, or do as arranged."""
        return self._call("OrderModify", super().order_modify, args, kwargs)

    def order_close(self, *args: Any, **kwargs: Any) -> Any:
        """Close an order, or do as arranged."""
        return self._call("OrderClose", super().order_close, args, kwargs)

    def order_delete(self, *args: Any, **kwargs: Any) -> Any:
        """Delete an order, or do as arranged."""
        return self._call("OrderDelete", super().order_delete, args, kwargs)

    def _call(
        self, name: str, method: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]
    ) -> Any:
        with self.lock:
            return self._call_alone(name, method, args, kwargs)

    def _call_alone(
        self, name: str, method: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]
    ) -> Any:
        def execute() -> Any:
            result = method(*args, **kwargs)
            self.made[name] += result[1] == 0
            if name == "OrderSend" and result[1] == 0:
                self.opened[str(kwargs.get("comment", ""))[:14]] += 1
            return result

        waiting = self.arranged.get(name)
        if not waiting:
            return execute()
        arranged = waiting.pop(0)
        failed = CALLS[name], arranged.number
        match arranged.mishap:
            case Mishap.REFUSE:
                return failed
            case Mishap.LATENT:
                self._latent.append(execute)
                return failed
            case Mishap.DIE_BEFORE:
                self.die(True)
                return failed
            case Mishap.SLOW:
                time.sleep(arranged.number / 1000)
            case Mishap.SHIFT:
                self.shift_clock(arranged.number)
            case _:
                pass
        result = execute()
        if arranged.mishap is Mishap.DIE_AFTER:
            self.die(False)
        return failed if arranged.mishap is Mishap.AMBIGUOUS else result
