"""A world in which everything that can go wrong is one move away, with time standing still.

The real `Commands`, `Line` and all of `core` work between clients that repeat themselves, a
network that loses, delays, repeats, garbles and reorders, and a model terminal that dies at
every step. After each move the promises are checked.
"""

import logging
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import pytest

from gateway.config import Commands as CommandSettings
from gateway.config import Config
from gateway.config import Terminal as TerminalSettings
from gateway.core.messages import CommandId, Dialect, Effect, Outcome, Result, Wish
from gateway.policy_settings import Policy
from tests.core.model_gateway import Gateway, ModelWire
from tests.core.model_terminal import Connection, LedgerTerminal, PlainServer
from tests.core.promises import Promises, Submission, Violation
from tests.core.virtual_loop import EPOCH_S, Clock, VirtualLoop
from tests.support.memory_journal import Store

MESSAGES = 6
"""How many messages the clients send in one world."""

LIVES = 3
"""How many gateways there are, one after the other."""

SETTLED_WITHIN_S = 400.0
"""How long after the last fault every command has its result."""

SETTLED_WITHIN_MOVES = 3000
"""The same for a gateway that is busy without end while time stands still."""

TIME_LEFT_S = (2.0, 10.0, 40.0, 40.0)
"""How far away a deadline is."""

KIND_MOVES = ("restart", "connect", "notice", "take", "opens", "store", "reply", "hear")
"""What happens where all goes well; `notice` is that of a dead connection."""

CLOCK = Clock()
"""What `gateway.commands` and `gateway.terminal.line` see as `time`; see `virtual_time`."""


@contextmanager
def virtual_time() -> Iterator[None]:
    """Put the virtual clock under the real thing, and let it poll less and log nothing."""
    with pytest.MonkeyPatch.context() as patch:
        for name in (
            "gateway.commands",
            "gateway.guard",
            "gateway.results",
            "gateway.screening",
            "gateway.terminal.line",
            "gateway.work",
        ):
            patch.setattr(f"{name}.time", CLOCK)
            patch.setattr(logging.getLogger(name), "disabled", True)
        patch.setattr("gateway.commands.SWEEP_S", 0.5)
        patch.setattr("gateway.commands.GREETING_POLL_S", 0.5)
        yield


class World:
    """Everything. Its moves are named by `moves` and made by `act`.

    Args:
        dialect: Which terminal there is.
        mutations: Protections of the model terminal to leave out.
    """

    def __init__(self, dialect: Dialect, mutations: frozenset[str] = frozenset()) -> None:
        CLOCK.now_s = 0.0
        self.loop = VirtualLoop(CLOCK)
        self.config = Config(
            terminal=TerminalSettings(down_grace_s=3600.0),
            policy=Policy(trading=True),
            commands=CommandSettings(trade_capacity=4, read_capacity=4),
        )
        self.promises = Promises(CLOCK, self.config.terminal.give_up_s)
        self.broker = self.promises.broker
        kind = LedgerTerminal if dialect is Dialect.BRIDGE else PlainServer
        self.terminal = self.promises.terminal = kind(
            self.broker, self.promises.trade_began, CLOCK.monotonic, mutations
        )
        self.connections: list[Connection] = []
        self.gateways: list[Gateway] = []
        self.store = Store()
        self._ids = 0
        self.loop.run_until_complete(self._start_gateway())

    @property
    def gateway(self) -> Gateway:
        """The gateway of now."""
        return self.gateways[-1]

    async def _start_gateway(self) -> None:
        self.gateways.append(
            Gateway(len(self.gateways), self.config, self.connections, self.promises, self.store)
        )

    # ---- what may happen ----------------------------------------------------------------

    def moves(self) -> Iterator[str]:
        """Name what may happen next; `fault:` before what only a bad world does."""
        yield from ("wait", "tick")
        if len(self.promises.submissions) < MESSAGES:
            yield from ("trade", "read", "repeat", "conflict")
        yield from self._moves_of_terminal()
        for gateway in self.gateways:
            if gateway.is_alive:
                yield from self._moves_of_network(gateway.number, gateway.wire.connection)
        if len(self.gateways) < LIVES:
            yield from ("fault:kill_gateway", "fault:depose_gateway")

    def _moves_of_terminal(self) -> Iterator[str]:
        if not self.terminal.is_alive:
            yield "restart"
        else:
            yield from ("fault:die", "fault:reload")
            yield from self.terminal.moves()
            for name, stale in (("take", False), ("take_stale", True)):
                if self.terminal.running is None and any(self._takeable(stale=stale)):
                    yield name
        if self.broker.latent:
            yield from ("latent_opens", "latent_dropped")
        if self.broker.tickets:
            yield "close_orders"

    def _moves_of_network(self, number: int, connection: Connection | None) -> Iterator[str]:
        if connection is None:
            if self.terminal.is_alive:
                yield f"connect {number}"
        elif connection.is_dead:
            yield f"notice {number}"
        else:
            yield from (f"fault:cut {number}", f"fault:refuse {number}")
            if connection.up:
                yield f"fault:lose_request {number}"
            if connection.down:
                yield f"hear {number}"
                for fault in ("lose_reply", "repeat_reply", "garble_reply", "swap_replies"):
                    yield f"fault:{fault} {number}"

    def _takeable(self, *, stale: bool) -> Iterator[Connection]:
        """List where frames are waiting; `stale`: on a connection that the gateway has lost."""
        for connection in self.connections:
            if connection.up and not connection.is_dead and connection.is_open is not stale:
                yield connection

    # ---- letting it happen --------------------------------------------------------------

    async def act(self, move: str, turns: int | None = None, pick: int = 0) -> None:
        """Let one thing happen, and the gateway react.

        Args:
            move: One of `moves`.
            turns: Of the loop afterwards, so that the next thing happens in the middle; None
                until the gateway has nothing more to do.
            pick: Chooses among equals: connections, ids, how long to wait.

        Raises:
            Violation: A promise is broken.
        """
        name, _, number = move.removeprefix("fault:").partition(" ")
        self.promises.troubled |= move.startswith("fault:")
        if number:
            self._act_on_network(name, self.gateways[int(number)].wire)
        elif name in ("trade", "read"):
            await self._submit_new(name, pick)
        elif name in ("repeat", "conflict"):
            await self._submit_again(name, pick)
        elif name in ("kill_gateway", "depose_gateway"):
            await self._change_gateway(name)
        elif name in ("tick", "wait"):
            pause_s = (0.01, 0.3, 1.0, 7.0)[pick % 4]
            alarm_s = self.loop.next_alarm_s() if name == "tick" else None
            await self._advance(alarm_s or CLOCK.now_s + pause_s)
        else:
            self._act_at_terminal(name, pick)
        await self._turn(turns)

    async def _turn(self, turns: int | None = None) -> None:
        await self.loop.turn(turns)
        if self.promises.broken:
            raise Violation(self.promises.broken[0])
        for gateway in self.gateways:
            gateway.check()
        if self.gateway.was_deposed:
            await self._start_gateway()

    async def _advance(self, until_s: float) -> None:
        """Let time pass, stopping at each timer."""
        while (alarm_s := self.loop.next_alarm_s()) is not None and alarm_s < until_s:
            CLOCK.now_s = alarm_s
            await self._turn()
        CLOCK.now_s = until_s

    def _act_at_terminal(self, name: str, pick: int) -> None:
        terminal = self.terminal
        match name:
            case "take" | "take_stale":
                connections = list(self._takeable(stale=name == "take_stale"))
                terminal.take(connections[pick % len(connections)])
            case "die":
                terminal.die()
                for connection in self.connections:
                    connection.is_dead = True
                    connection.up.clear()
            case "restart":
                terminal.restart()
            case "reload":  # the program only: what is queued in its platform stays
                terminal.die()
                terminal.restart()
            case "latent_opens":
                self.broker.open(self.broker.latent.pop(0))
            case "latent_dropped":
                self.broker.latent.pop(0)
            case "close_orders":
                self.broker.closed.update(*self.broker.tickets.values())
            case _:
                self.promises.troubled |= name not in ("opens", "rejects", "store", "reply")
                terminal.move(name)

    def _act_on_network(self, name: str, wire: ModelWire) -> None:
        simple: dict[str, Callable[[], None]] = {
            "connect": wire.connect,
            "cut": wire.cut,
            "notice": wire.cut,
            "hear": wire.hear,
        }
        connection = wire.connection
        if name in simple:
            simple[name]()
        elif name == "refuse":
            wire.refuses = not wire.refuses
        else:
            assert connection is not None
            _spoil(name, connection)

    # ---- clients and gateways -----------------------------------------------------------

    async def _submit_new(self, name: str, pick: int) -> None:
        is_trade = name == "trade"
        self._ids += 1
        key = CommandId(("ann", "bob")[pick % 2] if is_trade else None, f"c{self._ids}")
        self.promises.accepted(key, CLOCK.now_s + TIME_LEFT_S[pick % len(TIME_LEFT_S)])
        effect = Effect.TRADE if is_trade else Effect.QUERY
        await self._submit(Submission(key, effect, self.gateway.number, is_first=True))

    async def _submit_again(self, name: str, pick: int) -> None:
        """Repeat a trade, or use its id for another one; only one that is not denied has one."""
        trades = [
            one
            for one in self.promises.submissions
            if one.effect is Effect.TRADE and one.is_first
            if name == "repeat" or (one.gateway == self.gateway.number and not _was_denied(one))
        ]
        if trades:
            known = trades[pick % len(trades)]
            is_conflict = name == "conflict"
            again = Submission(
                known.key, known.effect, self.gateway.number, is_conflict=is_conflict
            )
            await self._submit(again)

    async def _submit(self, submission: Submission) -> None:
        async def answer(result: Result) -> None:
            if self.gateways[submission.gateway].is_heard:
                self.promises.answered(submission, result)

        self.promises.submissions.append(submission)
        key, is_trade = submission.key, submission.effect is Effect.TRADE
        lots = 0.2 if submission.is_conflict else 0.1
        wish = Wish(
            action="DO_ORDER_SEND" if is_trade else "GET_SYMBOL_TICK",
            effect=submission.effect,
            client=key.client,
            asker=key.client or "inbox",
            answer=answer,
            params={"symbol": "EURUSD", "order_type": 0, "lots": lots}
            if is_trade
            else {"symbol": key.id},
            id=key.id,
            deadline_at_s=EPOCH_S + self.promises.deadlines_s[key],
        )
        await self.gateway.commands.accept(wish)

    async def _change_gateway(self, name: str) -> None:
        """Start the next gateway; the old one dies, or lives on and does not know."""
        if name == "kill_gateway":
            self.gateway.kill()
        await self._start_gateway()

    # ---- the end ------------------------------------------------------------------------

    async def quiesce(self) -> None:
        """Stop all faults, let time pass, and expect a result for everything.

        Raises:
            Violation: Something has none, or what was held back for longest belies one.
        """
        since_s, moves = CLOCK.now_s, 0
        for gateway in self.gateways:
            gateway.wire.refuses = False
        while waiting := self._waiting():
            if CLOCK.now_s - since_s > SETTLED_WITHIN_S or moves > SETTLED_WITHIN_MOVES:
                raise Violation(f"no result for {', '.join(waiting)}")
            await self.act(self.kind_move())
            moves += 1
        while self.broker.latent:
            await self.act("latent_opens")
        while self.terminal.running is not None or any(self._takeable(stale=True)):
            await self.act("take_stale" if self.terminal.running is None else self.kind_move())

    def _waiting(self) -> list[str]:
        unanswered = self.promises.unanswered()
        waiting = [one.key for one in unanswered if self.gateways[one.gateway].is_alive]
        return [str(key) for key in (*waiting, *(self.store.sent.keys() - self.store.entries))]

    def kind_move(self) -> str:
        """Choose what happens next where all goes well."""
        return next((one for one in self.moves() if one.partition(" ")[0] in KIND_MOVES), "tick")

    async def close(self) -> None:
        """End all tasks."""
        for gateway in self.gateways:
            await gateway.end()


def _was_denied(submission: Submission) -> bool:
    return any(result.outcome is Outcome.DENIED for result in submission.answers)


def _spoil(name: str, connection: Connection) -> None:
    match name:
        case "lose_request":
            connection.up.popleft()
        case "lose_reply":
            connection.down.popleft()
        case "repeat_reply":
            connection.down.append(connection.down[0])
        case "garble_reply":
            correlation, body = connection.down.popleft()
            connection.down.appendleft((correlation, body[: len(body) // 2]))
        case "swap_replies":
            connection.down.rotate(1)
        case _:
            raise AssertionError(name)
