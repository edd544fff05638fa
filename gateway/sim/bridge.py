"""The bridge dialect: requests parsed, sorted into reads and trades, replies signed.

Source: docs/protocol.md; trades are decided in `decision.py`.
"""

from collections.abc import Callable, Sequence
from enum import StrEnum, auto

from gateway.sim.bridge_reads import BRIDGE_READS, BridgeTerminal
from gateway.sim.decision import TRADES, Decision
from gateway.sim.desk import Desk
from gateway.sim.frames import (
    MAX_JOURNAL,
    Fence,
    echoed_keys,
    fenced_body,
    is_from_gateway,
    is_journal,
    parse_request,
)
from gateway.sim.ledger import Ledger, LedgerWriteError
from gateway.sim.limits import NO_LIMITS, TradeLimits
from gateway.sim.params import StrictParams
from gateway.sim.platform import Platform
from gateway.sim.reads import READS, Answer
from gateway.sim.wire import (
    Body,
    Json,
    Refused,
    encode,
    failure,
)


class PlainClients(StrEnum):
    """Say what clients of the existing server, which know no bridge key, may do."""

    OFF = auto()
    READ = auto()
    TRADE = auto()


class BridgeDialect:
    """Answer requests as the MQL4 program of the bridge does, one at a time."""

    def __init__(
        self,
        platform: Platform,
        desk: Desk,
        ledger: Ledger,
        terminal: BridgeTerminal,
        *,
        clock_ms: Callable[[], int],
        plain_clients: PlainClients = PlainClients.READ,
        limits: TradeLimits = NO_LIMITS,
    ) -> None:
        """Bind the program to its terminal.

        Args:
            platform: What it can ask.
            desk: Where its trade calls go.
            ledger: What it remembers.
            terminal: Who it is: session, tick endpoint, subscriptions.
            clock_ms: Its monotonic clock, from its start.
            plain_clients: The input *PlainClients*.
            limits: The inputs that bound what it may trade.
        """
        self._decision = Decision(
            platform,
            desk,
            ledger,
            session=terminal.session,
            clock_ms=clock_ms,
            gateways_may_trade=plain_clients is not PlainClients.TRADE,
            limits=limits,
        )
        self._platform = platform
        self._ledger = ledger
        self._terminal = terminal
        self._clock_ms = clock_ms
        self._plain_clients = plain_clients

    def answer(self, bodies: Sequence[bytes]) -> list[Answer]:
        """Answer one message; its frames after the envelope are `bodies`."""
        if len(bodies) != 1:
            return [self._signed({}, fenced_body(Fence.BAD_FRAMES, "More than one body frame."))]
        if not bodies[0]:
            return [self._signed({}, failure("Request was empty."))]
        values = parse_request(bodies[0])
        if values is None:
            return [self._signed({}, failure("Failed to parse request."))]
        answer = self._answer_request(values)
        return [self._signed(echoed_keys(values), answer.body, answer.busy_ms)]

    def encode(self, body: Body) -> bytes:
        """Write a reply."""
        return encode(body, strict=True).encode()

    def _signed(self, echoed: Body, body: Body, busy_ms: int = 0) -> Answer:
        own: Body = {"session": self._terminal.session, "clock_ms": self._clock_ms()}
        return Answer(body | echoed | own, busy_ms)

    def _answer_request(self, values: dict[str, Json]) -> Answer:
        action = values.get("action")
        if not isinstance(action, str) or not action:
            return Answer(failure("No request action specified."))
        if action not in TRADES | READS.keys() | BRIDGE_READS.keys() | {"RESOLVE"}:
            return Answer(failure(f"Unrecognized requested action ({action})."))
        if action in BRIDGE_READS:  # a gateway greets before it is known
            return self._read(action, values)
        if action == "RESOLVE":
            return Answer(self._decision.decide(values))
        if not is_from_gateway(values):
            return self._answer_plain_client(action, values)
        if action in TRADES:
            return Answer(self._decision.decide(values))
        return self._read(action, values)

    def _answer_plain_client(self, action: str, values: dict[str, Json]) -> Answer:
        needed = PlainClients.TRADE if action in TRADES else PlainClients.READ
        order = list(PlainClients)
        if order.index(self._plain_clients) < order.index(needed):
            return Answer(fenced_body(Fence.PLAIN_CLIENTS, "Plain clients may not do this."))
        if action in TRADES:
            return Answer(self._decision.trade_for_plain_client(action, values))
        return self._read(action, values)

    def _read(self, action: str, values: dict[str, Json]) -> Answer:
        params = StrictParams(values)
        try:
            if action in READS:
                return READS[action](self._platform, params)
            return Answer(BRIDGE_READS[action](self, params))
        except Refused as refused:
            return Answer(refused.body)

    # --- HELLO ------------------------------------------------------------------------------

    @property
    def platform(self) -> Platform:
        """Return the terminal around the program."""
        return self._platform

    @property
    def terminal(self) -> BridgeTerminal:
        """Return who the terminal is."""
        return self._terminal

    @property
    def ledger(self) -> Ledger:
        """Return what the program remembers."""
        return self._ledger

    def claim(self, journal: Json) -> None:
        """Issue a new epoch to the gateway that takes over.

        Args:
            journal: The highest sequence that its journal has given out.

        Raises:
            Refused: `journal` is no sequence, plain clients may trade here, or the epoch could
                not be stored.
        """
        if not is_journal(journal):
            message = f'Param "journal" is not an integer from 0 to {MAX_JOURNAL}.'
            raise Refused(fenced_body(Fence.BAD_REQUEST, message))
        if self._plain_clients is PlainClients.TRADE:
            message = "Plain clients may trade here; a gateway may not take over."
            raise Refused(fenced_body(Fence.PLAIN_CLIENTS, message))
        self._ledger.learn_journal(int(str(journal)))
        try:
            self._ledger.claim_epoch()
        except LedgerWriteError as error:
            raise Refused(failure(f"The epoch could not be stored: {error}.")) from error
        self._decision.last_seq = 0
