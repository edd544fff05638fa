"""The line between the terminal and its broker: where trade calls fail, and are put on record."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import ParamSpec, TypeAlias

from gateway.sim.codes import Code
from gateway.sim.faults import Fault, FaultKind, Point
from gateway.sim.truth import Truth

P = ParamSpec("P")
Later: TypeAlias = Callable[[float, Callable[[], object]], None]


class TerminalDied(Exception):  # noqa: N818  # an event, nobody's mistake
    """Unwind a request because the terminal has just died.

    Attributes:
        comes_back: Whether it starts again by itself.
    """

    def __init__(self, point: Point, *, comes_back: bool) -> None:
        super().__init__(point.value)
        self.comes_back = comes_back


@dataclass(slots=True)
class Command:
    """Name the request that is being served, for the record, and what shall go wrong with it."""

    id: str = ""
    action: str = ""
    attempt: int = 0
    faults: Sequence[Fault] = field(default_factory=tuple)

    def fault(self, kind: FaultKind) -> Fault | None:
        """Return the fault of this kind that hits the request."""
        return next((fault for fault in self.faults if fault.kind is kind), None)


def _nothing() -> None:
    pass


def _never(_delay_s: float, _call: Callable[[], object]) -> None:
    pass


class Desk:
    """Pass trade calls to the broker, spoil them as planned, save its state, record the truth.

    Attributes:
        command: The request that is being served.
    """

    def __init__(
        self, truth: Truth, *, save: Callable[[], None] = _nothing, later: Later = _never
    ) -> None:
        """Set up the line.

        Args:
            truth: Where calls are put on record.
            save: Called after every change at the broker, before the terminal learns of it.
            later: Runs a callable after a delay in seconds; the broker's server survives the
                terminal, so this must too.
        """
        self.command = Command()
        self._truth = truth
        self._save = save
        self._later = later

    def call(
        self, trade: Callable[P, tuple[int, Code]], *args: P.args, **kwargs: P.kwargs
    ) -> tuple[int, int]:
        """Make one of the broker's trade calls.

        Returns:
            Its result (ticket, or 1 for true) and its code; -1 or 0 and a code if it failed, or
            if a fault made it look so.

        Raises:
            TerminalDied: A fault has killed the terminal before or after the call.
        """
        self.die_if_due(Point.BEFORE_BROKER)
        command = self.command
        is_send = trade.__name__ == "order_send"
        failed = -1 if is_send else 0

        def execute() -> tuple[int, Code]:
            result, code = trade(*args, **kwargs)
            self._save()
            ticket = result if is_send else args[0]
            self._note_execution(command, trade.__name__, int(str(ticket)), code)
            return result, code

        if (fault := self._refusal(trade.__name__)) is not None:
            return failed, fault.code
        if (fault := self.fault(FaultKind.LATENT)) is not None:
            self._truth.add("latent", id=command.id, call=trade.__name__)
            self._later(fault.duration_s, execute)
            return failed, fault.code
        result, code = execute()
        self.die_if_due(Point.AFTER_BROKER)
        if (fault := self.fault(FaultKind.AMBIGUOUS)) is not None:
            return failed, fault.code
        return int(result), int(code)

    def die_if_due(self, point: Point) -> None:
        """Die if the plan says that the terminal dies here.

        Raises:
            TerminalDied: It does.
        """
        for fault in self.command.faults:
            if fault.kind in (FaultKind.DIE, FaultKind.RESTART) and fault.point is point:
                self._truth.add("died", point=point.value, id=self.command.id)
                raise TerminalDied(point, comes_back=fault.kind is FaultKind.RESTART)

    def fault(self, kind: FaultKind) -> Fault | None:
        """Return the fault of this kind that hits the current request."""
        return self.command.fault(kind)

    def _refusal(self, name: str) -> Fault | None:
        stops_only = self.fault(FaultKind.REFUSE_STOPS) if name == "order_modify" else None
        return self.fault(FaultKind.REFUSE) or stops_only

    def _note_execution(self, command: Command, name: str, ticket: int, code: Code) -> None:
        self._truth.add(
            "executed",
            id=command.id,
            action=command.action,
            attempt=command.attempt,
            call=name,
            ticket=ticket,
            code=int(code),
        )
