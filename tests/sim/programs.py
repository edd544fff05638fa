"""The two dialects without sockets: a program, its broker, and a clock that stands still."""

import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from gateway.sim.bars import BarStore
from gateway.sim.bridge import BridgeDialect, PlainClients
from gateway.sim.bridge_reads import BridgeTerminal
from gateway.sim.broker import Broker
from gateway.sim.desk import Command, Desk, TerminalDied
from gateway.sim.faults import FaultPlan
from gateway.sim.ledger import Ledger
from gateway.sim.legacy import LegacyDialect
from gateway.sim.platform import Platform
from gateway.sim.symbols import STANDARD_SYMBOLS, SymbolSpec
from gateway.sim.truth import Truth

DIGEST = "0" * 32
TOKEN = "~ABCDEFGHIJKLM"
NOW_S = 1_600_000_000
SEND: dict[str, Any] = {
    "action": "DO_ORDER_SEND",
    "id": "me/1",
    "attempt": 1,
    "symbol": "EURUSD",
    "order_type": 0,
    "lots": 0.1,
    "comment": f"{TOKEN} hello",
}


def make_platform(symbols: tuple[SymbolSpec, ...] = STANDARD_SYMBOLS) -> Platform:
    """Return a terminal whose symbols stand at their opening prices."""
    broker = Broker(symbols, deposit=10_000.0, time_s=NOW_S)
    bars = BarStore(symbols)
    for spec in symbols:
        ask = spec.rounded(spec.opening_bid + spec.spread_points * spec.point)
        broker.set_quote(spec.name, spec.opening_bid, ask, NOW_S)
        bars.add(spec.name, spec.opening_bid, NOW_S)
    return Platform(broker, bars, lambda: NOW_S - 7200)


@dataclass
class Legacy:
    """Talk to the existing server's dialect."""

    platform: Platform = field(default_factory=make_platform)

    def __post_init__(self) -> None:
        self.truth = Truth()
        self.desk = Desk(self.truth)
        self.program = LegacyDialect(self.platform, self.desk)
        self.faults = FaultPlan()

    def raw(self, *bodies: str) -> str:
        """Send one message and return the text of its reply."""
        self.desk.command = Command(faults=self.faults.strike("*"))
        answer = self.program.answer([body.encode() for body in bodies])[-1]
        return self.program.encode(answer.body).decode()

    def ask(self, action: str, **params: Any) -> dict[str, Any]:
        """Send one request and return its reply."""
        reply: dict[str, Any] = json.loads(self.raw(json.dumps({"action": action, **params})))
        return reply

    def buy(self, **params: Any) -> dict[str, Any]:
        """Send a market order for 0.10 EURUSD."""
        order = {"symbol": "EURUSD", "order_type": 0, "lots": 0.1, "comment": ""}
        return self.ask("DO_ORDER_SEND", **(order | params))


class Bridge:
    """Talk to the bridge's dialect as a gateway that has claimed it."""

    def __init__(
        self, path: Path, *, plain_clients: PlainClients = PlainClients.READ, claim: bool = True
    ) -> None:
        self.path = path
        self.platform = make_platform()
        self.truth = Truth()
        self.desk = Desk(self.truth, later=lambda _delay_s, call: self.latent.append(call))
        self.latent: list[Any] = []
        self.faults = FaultPlan()
        self.clock_ms = 1_000
        self.plain_clients = plain_clients
        self.seq = 0
        self.starts = 0
        self.start()
        if claim:
            self.ask(action="HELLO", id="gw/hello", attempt=1, claim=True)

    def start(self) -> None:
        """Start the program on its ledger."""
        self.starts += 1
        self.session = f"session-{self.starts}"
        self.ledger = Ledger(self.path, login=1, server="S", created_s=NOW_S)
        self.identity = BridgeTerminal(self.session, None, set(self.platform.broker.specs))
        self.program = BridgeDialect(
            self.platform,
            self.desk,
            self.ledger,
            self.identity,
            clock_ms=lambda: self.clock_ms,
            plain_clients=self.plain_clients,
        )

    def restart(self) -> None:
        """Stop the program and start it again on the same ledger, with a fresh epoch."""
        self.ledger.close()
        self.start()
        self.ask(action="HELLO", id="gw/hello", attempt=1, claim=True)

    def ask(self, **request: Any) -> dict[str, Any]:
        """Send one request as it is and return its reply."""
        self.desk.command = Command(
            str(request.get("id", "")),
            str(request.get("action", "")),
            faults=self.faults.strike(str(request.get("action", ""))),
        )
        answers = self.program.answer([json.dumps(request).encode()])
        reply: dict[str, Any] = json.loads(self.program.encode(answers[-1].body))
        return reply

    def frame(self, **request: Any) -> dict[str, Any]:
        """Send a trade or a RESOLVE with bridge keys that are in order unless given."""
        self.seq += 1
        keys: dict[str, Any] = {
            "attempt": 1,
            "digest": DIGEST,
            "session": self.session,
            "epoch": self.ledger.epoch,
            "seq": self.seq,
            "ledger": self.ledger.uid,
            "not_after": 60_000,
        }
        return self.ask(**(keys | request))

    def send(self, **change: Any) -> dict[str, Any]:
        """Send the standard order."""
        return self.frame(**(SEND | change))

    def resolve(self, command_id: str = "me/1", **change: Any) -> dict[str, Any]:
        """Ask what became of a command."""
        return self.frame(**({"action": "RESOLVE", "id": command_id} | change))

    def crash(self, **request: Any) -> None:
        """Send a trade in which the terminal dies, then start it again."""
        try:
            self.frame(**(request or SEND))
        except TerminalDied:
            self.restart()
            return
        raise AssertionError("the terminal has not died")

    @property
    def orders(self) -> int:
        """Return how many orders the broker has open."""
        return len(self.platform.broker.orders)
