"""The request loop: take one message, let the program answer it, spoil that as planned."""

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Protocol

from gateway.sim.channel import Message
from gateway.sim.desk import Command, Desk
from gateway.sim.faults import Fault, FaultKind, FaultPlan
from gateway.sim.legacy_trades import ProgramDied
from gateway.sim.lenient_json import LenientJsonError, parse_lenient
from gateway.sim.reads import Answer
from gateway.sim.sockets import Channel
from gateway.sim.truth import Truth
from gateway.sim.wire import Body, Json


class Program(Protocol):
    """Name what both dialects offer to the request loop."""

    def answer(self, bodies: Sequence[bytes]) -> list[Answer]:
        """Answer one message, a list of body frames; only the last answer is sent."""

    def encode(self, body: Body) -> bytes:
        """Write a reply."""


class RequestServer:
    """Serve requests one by one, as the single thread of an MQL4 program does."""

    def __init__(
        self,
        *,
        channel: Channel,
        program: Program,
        desk: Desk,
        faults: FaultPlan,
        truth: Truth,
        moving: asyncio.Event,
        publish_changes: Callable[[], Awaitable[None]],
    ) -> None:
        """Connect the loop.

        Args:
            channel: Where requests come from.
            program: What answers them.
            desk: Told which command is being served.
            faults: What goes wrong.
            truth: Where it is put on record.
            moving: Cleared while the terminal is frozen.
            publish_changes: Publishes what a request has changed at the broker.
        """
        self._channel = channel
        self._program = program
        self._desk = desk
        self._faults = faults
        self._truth = truth
        self._moving = moving
        self._publish_changes = publish_changes
        self._late_replies: set[asyncio.Task[None]] = set()

    async def run(self) -> None:
        """Serve until cancelled.

        Raises:
            TerminalDied: A fault has killed the terminal.
        """
        try:
            while True:
                message = await self._channel.receive()
                await self._moving.wait()
                await self._serve(message)
        except ProgramDied:
            # The program is gone, the terminal is not: the port stays bound and silent.
            self._truth.add("program_died")
            await asyncio.Event().wait()
        finally:
            for task in self._late_replies:
                task.cancel()

    async def _serve(self, message: Message) -> None:
        command = _command_of(message)
        command.faults = self._faults.strike(command.action)
        self._note("received", command, message, frames=len(message.bodies))
        for fault in command.faults:
            self._truth.add("fault", kind=fault.kind.value, id=command.id, action=command.action)
        if command.fault(FaultKind.LOSE) or not message.bodies:
            return
        await self._freeze(command.fault(FaultKind.FREEZE))
        await _wait(command.fault(FaultKind.DELAY))
        self._desk.command = command
        try:
            answers = self._program.answer(message.bodies)
        finally:
            self._desk.command = Command()
        await self._publish_changes()
        await _wait(command.fault(FaultKind.SLOW))
        if busy_ms := sum(answer.busy_ms for answer in answers):
            await asyncio.sleep(busy_ms / 1000.0)
        await self._reply(message, command, self._program.encode(answers[-1].body))

    async def _freeze(self, fault: Fault | None) -> None:
        if fault is None:
            return
        self._moving.clear()
        await asyncio.sleep(fault.duration_s)
        self._moving.set()

    async def _reply(self, message: Message, command: Command, body: bytes) -> None:
        if command.fault(FaultKind.DROP):
            self._note("dropped", command, message, reason="fault")
            return
        if command.fault(FaultKind.GARBLE):
            body = body[: len(body) // 2]
        if late := command.fault(FaultKind.LATE):
            task = asyncio.create_task(self._reply_late(message, command, body, late))
            self._late_replies.add(task)
            task.add_done_callback(self._late_replies.discard)
            return
        await self._send(message, command, body)
        if command.fault(FaultKind.DUPLICATE):
            await self._send(message, command, body)

    async def _reply_late(
        self, message: Message, command: Command, body: bytes, fault: Fault
    ) -> None:
        await asyncio.sleep(fault.duration_s)
        await self._send(message, command, body)

    async def _send(self, message: Message, command: Command, body: bytes) -> None:
        if await self._channel.reply(message, body):
            self._note("replied", command, message)
        else:
            self._note("dropped", command, message, reason="high_water_mark")

    def _note(self, fact: str, command: Command, message: Message, **details: str | int) -> None:
        self._truth.add(
            fact,
            id=command.id,
            action=command.action,
            attempt=command.attempt,
            correlation=message.correlation.decode("latin-1"),
            **details,
        )


def _command_of(message: Message) -> Command:
    values = _peek(message.bodies[0]) if message.bodies else {}
    attempt = values.get("attempt")
    return Command(
        id=str(values.get("id") or ""),
        action=str(values.get("action") or ""),
        attempt=attempt if isinstance(attempt, int) else 0,
    )


def _peek(body: bytes) -> Mapping[str, Json]:
    try:
        values = parse_lenient(body.decode("utf-8", errors="replace"))
    except LenientJsonError:
        return {}
    return values if isinstance(values, Mapping) else {}


async def _wait(fault: Fault | None) -> None:
    if fault is not None:
        await asyncio.sleep(fault.duration_s)
