"""Transcripts: what is sent, what comes back, and what happens in between, in plain text files.

== name of the case                    what follows is one case; `@` before the first: all
@ peers: sim mql4 legacy               where it runs, by default `sim mql4`
@ plain: off | read | trade            the input PlainClients
@ inputs: MaxOpenLots=1 ...            its own limits
@ fresh                                nobody has claimed at the beginning
# remark
> {"action": "PING"}                   a request as it is
>> name 2 {"action": ...}              with the bridge's keys: command `test/name`, attempt 2
                                       (1 if left out); an order's comment is its token;
                                       "(missing)" takes a key away
>| one frame | another                 a message of several frames, as they are
>x 7b22                                one frame in hexadecimal
< {"response": ...}                    the reply, see patterns.py; session and clock_ms are
                                       checked and left out
<dies                                  no reply: the terminal dies, and starts again
<lost                                  the reply is lost on the way, then the terminal is killed
now $name +500                         the terminal's clock, or a later time, gets a name
orders 2                               so many orders are open
made OrderSend 1                       so many calls have been executed
quote EURUSD 1.1 1.1002                and so on: `Play._market`, `._terminal`
"""

from __future__ import annotations

import json
import shlex
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from gateway.sim.bridge import PlainClients
from tests.conformance.broker import Mishap
from tests.conformance.patterns import filled, mismatch, parse
from tests.conformance.peers import Peer, PeerName
from tests.mql4host.client import Body, BridgeClient, token

_SWITCHES = {
    "connection": "is_connected",
    "permission": "is_trade_allowed",
    "context-busy": "is_context_busy",
}
_MISHAPS = {mishap.value.replace("_", "-"): mishap for mishap in Mishap}


@dataclass(frozen=True, slots=True)
class Case:
    """Hold one case.

    Attributes:
        lines: Number and text of its lines.
    """

    file: str
    name: str
    peers: tuple[PeerName, ...] = (PeerName.SIM, PeerName.MQL4)
    plain_clients: PlainClients = PlainClients.READ
    inputs: tuple[str, ...] = ()
    is_fresh: bool = False
    lines: tuple[tuple[int, str], ...] = field(default_factory=tuple)

    @property
    def fits_lines(self) -> bool:
        """Tell whether every request is one object on one line, as a pipe's are."""
        return not any(text.startswith((">|", ">x", '> "')) for _, text in self.lines)

    def with_option(self, text: str) -> Case:
        """Return the case with an `@` line applied."""
        key, _, value = text.partition(":")
        match key.strip():
            case "peers":
                return replace(self, peers=tuple(PeerName(name) for name in value.split()))
            case "plain":
                return replace(self, plain_clients=PlainClients(value.strip()))
            case "inputs":
                return replace(self, inputs=tuple(value.split()))
            case "fresh":
                return replace(self, is_fresh=True)
        raise ValueError(f"{self.file}: no such option: {text}")


def read_cases(file: Path) -> list[Case]:
    """Return the cases of a file."""
    common = Case(file.stem, "")
    cases: list[Case] = []
    for number, line in enumerate(file.read_text(encoding="utf-8").splitlines(), 1):
        text = line.strip()
        if not text or text.startswith("#"):
            continue
        if text.startswith("=="):
            cases.append(replace(common, name=text[2:].strip()))
        elif text.startswith("@") and not cases:
            common = common.with_option(text[1:])
        elif text.startswith("@"):
            cases[-1] = cases[-1].with_option(text[1:])
        else:
            cases[-1] = replace(cases[-1], lines=(*cases[-1].lines, (number, text)))
    return cases


class TranscriptError(AssertionError):
    """Show a transcript with the line at which the terminal did something else."""


class Play:
    """Play one case to one terminal."""

    def __init__(self, case: Case, peer: Peer) -> None:
        """Connect; the terminal runs."""
        self._case = case
        self._peer = peer
        self._names: dict[str, Any] = {}
        self._sent: bytes | None = None
        self._connect(claims=not case.is_fresh)

    def _connect(self, *, claims: bool) -> None:
        self._client = BridgeClient(self._peer.endpoint)
        if self._peer.name is PeerName.LEGACY:
            return
        if claims and self._peer.plain_clients is not PlainClients.TRADE:
            self._client.claim()
        else:
            self._client.hello = self._client.ask("HELLO", id="test/hello")["response"]

    def close(self) -> None:
        """Let go of the client."""
        self._client.close()

    def run(self) -> None:
        """Play all lines.

        Raises:
            TranscriptError: The terminal did something else.
        """
        for number, text in self._case.lines:
            said = self._do(text)
            if said is not None:
                raise TranscriptError(self._shown(number, said))
        if self._peer.findings:
            raise TranscriptError("\n".join(self._peer.findings))

    def _shown(self, failed: int, said: str) -> str:
        head = f"{self._case.file}: {self._case.name} ({self._peer.name})"
        lines = [
            f"{'--->' if number == failed else '    '} {number:4} {text}"
            for number, text in self._case.lines
            if number <= failed + 2
        ]
        return "\n".join([head, *lines, said])

    def _do(self, text: str) -> str | None:
        mark, _, rest = text.partition(" ")
        match mark:
            case ">":
                self._send(json.dumps(filled(parse(rest), self._names)).encode())
            case ">>":
                self._send_frame(rest)
            case ">|":
                self._send(*(frame.strip().encode() for frame in rest.split("|")))
            case ">x":
                self._send(bytes.fromhex(rest))
            case "<":
                return self._expect(parse(rest))
            case "<dies":
                self._peer.wait_until_dead()
                self._come_back()
            case "<lost":
                self._client.receive_raw()
                self._peer.kill()
                self._come_back()
            case _:
                return self._happen(shlex.split(text))
        return None

    # --- requests and replies ---------------------------------------------------------------

    def _send(self, *frames: bytes) -> None:
        self._sent = self._client.send_raw(*frames)

    def _send_frame(self, text: str) -> None:
        head, brace, rest = text.partition("{")
        name, _, attempt = head.strip().partition(" ")
        request = self._frame(name, int(attempt or 1), filled(parse(brace + rest), self._names))
        self._send(json.dumps(request).encode())

    def _frame(self, name: str, attempt: int, request: Body) -> Body:
        if request["action"] == "DO_ORDER_SEND":
            request = {"comment": token(f"test/{name}")} | request
        frame = self._client.frame(request["action"], name, attempt) | request
        return {key: value for key, value in frame.items() if value != "(missing)"}

    def _expect(self, pattern: Any) -> str | None:
        correlation, body = self._client.receive_raw()
        if correlation != self._sent:
            return f"the reply belongs to {correlation!r}"
        reply = json.loads(body)
        own = {key: reply.pop(key, None) for key in ("session", "clock_ms")}
        if self._peer.name is PeerName.LEGACY:
            if any(value is not None for value in own.values()):
                return f"the existing server has no {own}"
        elif not (isinstance(own["session"], str) and isinstance(own["clock_ms"], int)):
            return f"not a session and a clock: {own}"
        return mismatch(pattern, reply, self._names)

    # --- what happens -----------------------------------------------------------------------

    def _happen(self, words: list[str]) -> str | None:
        broker = self._peer.broker
        match words:
            case ["orders", count]:
                return _differs("open orders", int(count), len(broker.orders))
            case ["made", call, count]:
                return _differs(f"executed {call}", int(count), broker.made[call])
        if not (self._market(words) or self._terminal(words)):
            raise ValueError(f"{self._case.file}: not understood: {words}")
        return None

    def _market(self, words: list[str]) -> bool:
        """Do what happens at the broker; False if it is something else."""
        broker = self._peer.broker
        match words:
            case ["quote", symbol, bid, ask]:
                self._peer.quote(symbol, float(bid), float(ask))
            case [name, call, *number] if name in _MISHAPS:
                broker.arrange(call, _MISHAPS[name], int(number[0]) if number else 0)
            case ["arrive"]:
                broker.arrive()
            case ["market", ("open" | "closed") as state]:
                broker.is_open = state == "open"
            case ["position", symbol, side, lots, *comment]:
                self._open(symbol, side, float(lots), " ".join(comment))
            case _:
                return False
        return True

    def _terminal(self, words: list[str]) -> bool:
        """Do what happens to the terminal; False if it is something else."""
        peer = self._peer
        match words:
            case [switch, ("on" | "off") as state] if switch in _SWITCHES:
                setattr(peer.platform, _SWITCHES[switch], state == "on")
            case ["clock", shift]:
                peer.shift_clock(int(shift))
            case ["clock-between-checks", shift]:
                peer.shift_between_checks(int(shift))
            case ["now", name, *later]:
                now_ms = self._client.ask("PING", id="test/p")["clock_ms"]
                self._names[name.lstrip("$")] = now_ms + int(later[0] if later else 0)
            case ["die-before-ledger", action]:
                peer.die_before_ledger(action)
            case ["plain-clients", value]:
                peer.plain_clients = PlainClients(value)
            case ["claim"]:
                self._client.claim()
            case ["kill", *also] if also in ([], ["and-damage-ledger"]):
                peer.kill()
                if also:
                    peer.damage_ledger()
                self._come_back()
            case _:
                return False
        return True

    def _open(self, symbol: str, side: str, lots: float, comment: str) -> None:
        """Open a position behind the terminal's back; its ticket is `$position`."""
        broker = self._peer.broker
        quote = broker.quotes[symbol]
        kind, price = (0, quote.ask) if side == "buy" else (1, quote.bid)
        ticket, code = broker.order_send(symbol, kind, lots, price, 100, comment=comment)
        assert not code, code
        self._names["position"] = ticket

    def _come_back(self) -> None:
        self._client.close()
        self._peer.start()
        self._connect(claims=True)


def play(case: Case, peer: Peer) -> None:
    """Start a terminal with what the case wants of it, and play all lines.

    Raises:
        TranscriptError: The terminal did something else.
    """
    peer.inputs = case.inputs
    with peer:
        game = Play(case, peer)
        try:
            game.run()
        finally:
            game.close()


def _differs(what: str, expected: int, found: int) -> str | None:
    return None if expected == found else f"{what}: {found}, expected {expected}"
