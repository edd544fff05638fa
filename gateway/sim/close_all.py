"""DO_CLOSE_ALL: close every position that fits, with one ledger line per ticket."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from gateway.sim.bridge_trades import TradeResult, close_order
from gateway.sim.desk import Desk
from gateway.sim.frames import Frame, State
from gateway.sim.ledger import Entry, EntryKind, Ledger, LedgerWriteError
from gateway.sim.orders import Order, OrderType
from gateway.sim.params import Params
from gateway.sim.platform import Platform
from gateway.sim.wire import Body, Json, Refused, failure

_SIDES: Mapping[str, OrderType] = {"buy": OrderType.BUY, "sell": OrderType.SELL}
_KINDS = {
    State.DONE: EntryKind.DONE,
    State.REJECTED: EntryKind.REJECTED,
    State.NOT_NOW: EntryKind.NOT_NOW,
    State.IN_DOUBT: EntryKind.DOUBT,
}


@dataclass(frozen=True, slots=True)
class TicketLines:
    """Write each ticket's own lines: `<id>#<ticket>`. Nothing starts late or unwritten."""

    ledger: Ledger
    frame: Frame
    is_late: Callable[[], bool]

    def begin(self, ticket: int) -> TradeResult | None:
        """Write that the ticket is about to be closed, or return why it must not be."""
        if self.is_late():
            return TradeResult(State.NOT_NOW, failure("The deadline has passed."))
        try:
            self.ledger.store(self._entry(EntryKind.STARTED, ticket, None))
        except LedgerWriteError as error:
            return TradeResult(State.NOT_NOW, failure(f"The ledger failed: {error}."))
        return None

    def end(self, ticket: int, result: TradeResult) -> None:
        """Write what has become of it."""
        ended = self._entry(_KINDS[result.state], ticket, result.body)
        try:
            self.ledger.store(ended)
        except LedgerWriteError:  # still what happened; safe mode from here on
            self.ledger.remember(ended)

    def _entry(self, kind: EntryKind, ticket: int, reply: Body | None) -> Entry:
        frame = self.frame
        return Entry(
            kind,
            f"{frame.id}#{ticket}",
            frame.attempt,
            frame.digest,
            action=frame.action,
            reply=reply,
        )


@dataclass(frozen=True, slots=True)
class CloseAll:
    """Hold a request to close positions, its filter read and checked.

    Attributes:
        lines: Where each ticket is written down; None for a plain client.
    """

    platform: Platform
    symbol: str | None
    magic_number: int | None
    order_type: OrderType | None
    lines: TicketLines | None

    @classmethod
    def read(cls, platform: Platform, params: Params, lines: TicketLines | None) -> "CloseAll":
        """Read the filter; each part is optional.

        Raises:
            Refused: A part is of a wrong type, or the symbol does not exist.
        """
        symbol = params.text("symbol") if params.has("symbol") else None
        if symbol is not None:
            platform.select(symbol)
        side = params.text("side") if params.has("side") else None
        if side is not None and side not in _SIDES:
            raise Refused(failure('Param "side" is neither "buy" nor "sell".'))
        magic_number = params.integer("magic_number") if params.has("magic_number") else None
        order_type = _SIDES[side] if side is not None else None
        return cls(platform, symbol, magic_number, order_type, lines)

    def close(self, desk: Desk) -> TradeResult:
        """Close what fits, one after the other, and report on each ticket.

        A ticket of unknown fate puts the whole command in doubt; the others are tried all the
        same, since each close lessens the risk.
        """
        results = [(order.ticket, self._close_one(desk, order)) for order in self._chosen()]
        # Not `success`: with nothing to close, the bridge's own action still answers an array.
        body: Body = {"response": [_line(ticket, result) for ticket, result in results]}
        doubtful = tuple(ticket for ticket, result in results if result.state is State.IN_DOUBT)
        return TradeResult(State.IN_DOUBT if doubtful else State.DONE, body, doubtful)

    def _chosen(self) -> list[Order]:
        return [
            order
            for order in self.platform.broker.orders.values()
            if order.order_type.is_market
            and self.symbol in (None, order.symbol)
            and self.magic_number in (None, order.magic_number)
            and self.order_type in (None, order.order_type)
        ]

    def _close_one(self, desk: Desk, order: Order) -> TradeResult:
        refusal = self.lines.begin(order.ticket) if self.lines else None
        if refusal is not None:
            return refusal
        result = close_order(self.platform, desk, order, order.lots)
        if self.lines is not None:
            self.lines.end(order.ticket, result)
        return result


def _line(ticket: int, result: TradeResult) -> Body:
    if result.state is State.DONE:
        return {"ticket": ticket, "closed": True}
    code: Json = result.body.get("error_code", 0)
    message = result.body.get("error_message")
    return {"ticket": ticket, "closed": False, "error_code": code, "error_message": message}
