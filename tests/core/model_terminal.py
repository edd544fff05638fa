"""Two model terminals, as small as their protocols allow, whose every step can be the last.

`LedgerTerminal` follows docs/protocol.md, "The terminal's decision, in order"; `PlainServer` the
existing MetaTrader 4 Server. Both work on bytes, one frame at a time. What the broker does, and
when the terminal dies, is decided from outside.
"""

import json
from abc import ABC, abstractmethod
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

Body = dict[str, Any]

BROKER_MOVES = ("opens", "rejects", "busy", "requote", "opens_128", "latent_128", "no_128")
"""What the broker may make of a trade; 128 is a timeout, after which it is or is not done."""

RULES_OF_ANY_SYMBOL: Body = {
    "digits": 5,
    "point": 0.00001,
    "trade_tick_size": 0.00001,
    "volume_min": 0.01,
    "volume_step": 0.01,
    "volume_max": 100.0,
    "trade_stops_level": 0,
    "trade_freeze_level": 0,
}


@dataclass
class Connection:
    """One connection of a gateway: what is on its way up and down.

    Attributes:
        is_open: For the gateway; frames of a lost one may still arrive at the terminal.
        is_dead: For the terminal; what is sent on it vanishes.
    """

    up: deque[tuple[bytes, bytes]] = field(default_factory=deque)
    down: deque[tuple[bytes, bytes]] = field(default_factory=deque)
    is_open: bool = True
    is_dead: bool = False


@dataclass
class Broker:
    """What has really happened: the tickets by token.

    Attributes:
        latent: Tokens of requests that were reported as timed out and may still be executed.
        hears: Is told of each order that opens.
    """

    hears: Callable[[str], None]
    tickets: dict[str, list[int]] = field(default_factory=dict)
    closed: set[int] = field(default_factory=set)
    latent: list[str] = field(default_factory=list)
    last_ticket: int = 1000

    def open(self, token: str) -> int:
        """Open an order."""
        self.last_ticket += 1
        self.tickets.setdefault(token, []).append(self.last_ticket)
        self.hears(token)
        return self.last_ticket

    def list(self, *, closed: bool) -> list[Body]:
        """List the orders as the terminal shows them."""
        return [
            _order(ticket, token)
            for token, tickets in self.tickets.items()
            for ticket in tickets
            if (ticket in self.closed) is closed
        ]


def _order(ticket: int, token: str) -> Body:
    return {"ticket": ticket, "comment": token, "symbol": "EURUSD", "lots": 0.1}


@dataclass
class Running:
    """The trade that the terminal is busy with: `stage` says what is behind it."""

    connection: Connection
    correlation: bytes
    body: Body
    stage: str = "intent"
    outcome: str = ""
    ticket: int = 0
    code: int = 0


@dataclass
class Entry:
    """What the ledger knows of a command."""

    kind: str
    attempt: int
    digest: str
    reply: Body
    token: str


class Terminal(ABC):
    """One terminal, which answers one request at a time.

    Args:
        broker: Where orders open.
        began: Is told of each trade frame that starts.
        clock: Returns seconds.
        mutations: Protections to leave out.
    """

    def __init__(
        self,
        broker: Broker,
        began: Callable[[Body], None],
        clock: Callable[[], float],
        mutations: frozenset[str],
    ) -> None:
        self.broker = broker
        self.is_alive = True
        self.running: Running | None = None
        self.doubted: set[str] = set()
        self._began = began
        self._clock = clock
        self._mutations = mutations

    @abstractmethod
    def take(self, connection: Connection) -> None:
        """Take the next frame of a connection: answer it, or start with its trade."""

    @abstractmethod
    def moves(self) -> list[str]:
        """Name what may happen next to the trade that is running, the plain course first."""

    @abstractmethod
    def move(self, name: str) -> None:
        """Let it happen."""

    def die(self) -> None:
        """Stop at once, in the middle of anything."""
        self.is_alive = False
        self.running = None

    @abstractmethod
    def restart(self) -> None:
        """Start again with what was kept."""

    def _answer(self, connection: Connection, correlation: bytes, reply: Body) -> None:
        if connection.is_open and not connection.is_dead:
            connection.down.append((correlation, json.dumps(reply).encode()))

    def _read(self, body: Body) -> Body:
        match body["action"]:
            case "GET_ORDERS":
                found = self.broker.list(closed=False)
            case "GET_HISTORICAL_ORDERS":
                found = self.broker.list(closed=True)
            case "GET_SYMBOL_TICK":
                return {"response": {"symbol": body["symbol"], "bid": 1.1, "ask": 1.2}}
            case "GET_SYMBOL_INFO":
                return {"response": dict.fromkeys(body["names"], RULES_OF_ANY_SYMBOL)}
            case "GET_ACCOUNT_INFO" | "PING":
                return {"response": {"connected": True, "trade_allowed": True}}
            case other:
                return {"error_message": f"Unrecognized requested action ({other})."}
        return {"response": found} if found else {}


class LedgerTerminal(Terminal):
    """Our own terminal: it remembers every id, and knows until when a frame may run."""

    def __init__(
        self,
        broker: Broker,
        began: Callable[[Body], None],
        clock: Callable[[], float],
        mutations: frozenset[str] = frozenset(),
    ) -> None:
        super().__init__(broker, began, clock, mutations)
        self.epoch = 0
        self.entries: dict[str, Entry] = {}
        self._sessions = 1
        self._started_s = clock() - 1234.5
        self._last_seq = 0

    def restart(self) -> None:
        """Start again: the ledger is there, session and sequence are new."""
        self.is_alive = True
        self._sessions += 1
        self._started_s = self._clock()
        self._last_seq = 0
        if "volatile_ledger" in self._mutations:
            self.entries.clear()

    @property
    def clock_ms(self) -> int:
        """The terminal's monotonic clock."""
        return int((self._clock() - self._started_s) * 1000)

    @property
    def _session(self) -> str:
        return f"s{self._sessions}"

    def take(self, connection: Connection) -> None:
        """Follow the decision table from the top."""
        correlation, frame = connection.up.popleft()
        body: Body = json.loads(frame)
        if body["action"] == "HELLO":
            reply: Body | None = self._hello(body)
        elif body["action"] == "RESOLVE" or body["action"].startswith("DO_"):
            reply = self._decide(body)
        else:
            reply = self._read(body)
        if reply is None:
            self.running = Running(connection, correlation, body)
        else:
            self._answer(connection, correlation, reply)

    def _answer(self, connection: Connection, correlation: bytes, reply: Body) -> None:
        known = {"session": self._session, "clock_ms": self.clock_ms}
        super()._answer(connection, correlation, reply | known)

    def _hello(self, body: Body) -> Body:
        if body.get("claim"):
            self.epoch += 1
            self._last_seq = 0
        return {
            "response": {
                "dialect": "bridge",
                "session": self._session,
                "ledger": "ledger",
                "epoch": self.epoch,
            }
        }

    def _decide(self, body: Body) -> Body | None:
        fence = self._fence(body)
        reply = {"state": "fenced", "reason": fence} if fence else self._recall(body)
        if reply is None and self.clock_ms > body["not_after"] and self._seals:
            self._store(body, "sealed", {})
            reply = {"state": "sealed"}
        if reply is None and body["action"] == "RESOLVE":
            reply = {"state": "not_seen"}
        if reply is None:
            if "no_intent" not in self._mutations:
                self._store(body, "started", {})
            return None
        return {"id": body["id"], "attempt": body["attempt"]} | reply

    @property
    def _seals(self) -> bool:
        return "no_deadline" not in self._mutations

    def _fence(self, body: Body) -> str | None:
        if body["session"] != self._session and "no_session" not in self._mutations:
            return "stale_session"
        if body["epoch"] != self.epoch and "no_epoch" not in self._mutations:
            return "stale_epoch"
        if body["seq"] <= self._last_seq and "no_seq" not in self._mutations:
            return "stale_seq"
        self._last_seq = body["seq"]
        return None

    def _recall(self, body: Body) -> Body | None:
        entry = self.entries.get(body["id"])
        is_resolve = body["action"] == "RESOLVE"
        if entry is None or ("no_dedupe" in self._mutations and not is_resolve):
            return None
        if entry.digest != body["digest"]:
            return {"state": "fenced", "reason": "id_conflict"}
        match entry.kind:
            case "started" | "doubt":
                return self._look(body, entry.token)
            case "not_now" if is_resolve:
                in_time = self.clock_ms <= body["not_after"]
                return entry.reply | {"state": "not_now", "replayed": True} if in_time else None
            case "not_now":
                is_new = body["attempt"] > entry.attempt
                return None if is_new else {"state": "fenced", "reason": "stale_attempt"}
            case final:
                return entry.reply | {"state": final, "replayed": True}

    def _look(self, body: Body, token: str) -> Body:
        if tickets := self.broker.tickets.get(token):
            reply = {"response": _order(tickets[0], token)}
            self._store(body, "done", reply)
            return reply | {"state": "done", "replayed": True}
        self._store(body, "doubt", {})
        self.doubted.add(body["id"])
        return {"state": "in_doubt", "evidence": {}}

    def _store(self, body: Body, kind: str, reply: Body) -> None:
        known = self.entries.get(body["id"])
        token = body.get("comment", known.token if known else "")[:14]
        self.entries[body["id"]] = Entry(kind, body["attempt"], body["digest"], reply, token)

    def moves(self) -> list[str]:
        """Name the next moves of the trade that is running."""
        if self.running is None:
            return []
        match self.running.stage:
            case "intent":
                return [*BROKER_MOVES]
            case "result":
                return ["store"]
            case _:
                return ["reply"]

    def move(self, name: str) -> None:
        """Let it happen."""
        running = self.running
        assert running is not None
        if name == "store":
            self._store_result(running)
        elif name == "reply":
            self.running = None
            reply = {"id": running.body["id"], "attempt": running.body["attempt"]}
            self._answer(running.connection, running.correlation, reply | self._said(running))
        elif self._seals and self.clock_ms > running.body["not_after"]:
            running.stage, running.outcome = "result", "sealed"
        else:
            self._began(running.body)
            self._broke(running, name)

    def _broke(self, running: Running, name: str) -> None:
        token = running.body["comment"][:14]
        running.stage = "result"
        match name:
            case "opens":
                running.ticket, running.outcome = self.broker.open(token), "done"
            case "rejects":
                running.code, running.outcome = 134, "rejected"
            case "busy":
                running.code, running.outcome = 146, "not_now"
            case "requote":
                running.code, running.outcome = 138, "not_now"
            case _:
                running.code, running.outcome = 128, "doubt"
                if name == "opens_128":
                    self.broker.open(token)
                elif name == "latent_128":
                    self.broker.latent.append(token)
                if "ambiguous_is_rejected" in self._mutations:
                    running.outcome = "rejected"

    def _store_result(self, running: Running) -> None:
        running.stage = "stored"
        reply = {key: value for key, value in self._said(running).items() if key != "state"}
        self._store(running.body, running.outcome, reply)
        if running.outcome == "doubt":
            self.doubted.add(running.body["id"])

    def _said(self, running: Running) -> Body:
        match running.outcome:
            case "done":
                order = _order(running.ticket, running.body["comment"][:14])
                return {"state": "done", "response": order}
            case "sealed":
                return {"state": "sealed"}
            case outcome:
                state = "in_doubt" if outcome == "doubt" else outcome
                return {"state": state, "error_code": running.code, "error_message": "Failed."}


class PlainServer(Terminal):
    """The existing server: no ids, no deadline, and a reply queue of one."""

    has_dropped = False

    def restart(self) -> None:
        """Start again, knowing nothing."""
        self.is_alive = True

    def take(self, connection: Connection) -> None:
        """Read, or start to trade."""
        correlation, frame = connection.up.popleft()
        body: Body = json.loads(frame)
        if body["action"].startswith("DO_"):
            self.running = Running(connection, correlation, body)
        else:
            self._answer(connection, correlation, self._read(body))

    def _answer(self, connection: Connection, correlation: bytes, reply: Body) -> None:
        # Its SNDHWM of 1: with a second request queued on the connection the reply is dropped.
        if connection.up:
            self.has_dropped = True
        else:
            super()._answer(connection, correlation, reply)

    def moves(self) -> list[str]:
        """Name the next moves of the trade that is running."""
        if self.running is None:
            return []
        if self.running.stage == "intent":
            return [*BROKER_MOVES, "opens_without_stops"]
        return ["reply"]

    def move(self, name: str) -> None:
        """Let it happen."""
        running = self.running
        assert running is not None
        if name == "reply":
            self.running = None
            self._answer(running.connection, running.correlation, self._said(running))
            return
        self._began(running.body)
        token = running.body["comment"][:14]
        running.stage = "result"
        match name:
            case "opens":
                running.ticket = self.broker.open(token)
            case "opens_without_stops":
                self.broker.open(token)
                running.code, running.outcome = 130, "created"
            case "rejects":
                running.code = 134
            case "busy":
                running.code = 146
            case "requote":
                running.code = 138
            case _:
                running.code = 128
                if name == "opens_128":
                    self.broker.open(token)
                elif name == "latent_128":
                    self.broker.latent.append(token)

    def _said(self, running: Running) -> Body:
        if not running.code:
            return {"response": _order(running.ticket, running.body["comment"][:14])}
        created = "Order was created, but failed to set sl/tp."
        return {
            "error_code": running.code,
            "error_code_description": "no",
            "error_message": created if running.outcome == "created" else "Failed to send order.",
        }
