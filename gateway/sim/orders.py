"""The broker's nouns: quotes, orders, and what happens to orders."""

from dataclasses import dataclass
from enum import IntEnum, StrEnum, auto

COMMENT_BYTES = 31
"""MT4's trade record holds 31 bytes of comment and a terminating zero."""


class OrderType(IntEnum):
    """Name MQL4's order types; `BALANCE` is a deposit or withdrawal in the history."""

    BUY = 0
    SELL = 1
    BUY_LIMIT = 2
    SELL_LIMIT = 3
    BUY_STOP = 4
    SELL_STOP = 5
    BALANCE = 6

    @property
    def is_buying(self) -> bool:
        """Tell whether the order buys, now or later."""
        return self in (OrderType.BUY, OrderType.BUY_LIMIT, OrderType.BUY_STOP)

    @property
    def is_market(self) -> bool:
        """Tell whether the order is a position rather than pending or a balance entry."""
        return self in (OrderType.BUY, OrderType.SELL)

    @property
    def is_pending(self) -> bool:
        """Tell whether the order waits for its price."""
        return OrderType.BUY_LIMIT <= self <= OrderType.SELL_STOP

    @property
    def sign(self) -> int:
        """Return +1 for buying, -1 for selling."""
        return 1 if self.is_buying else -1


@dataclass(frozen=True, slots=True)
class Quote:
    """Hold the best prices of one symbol at one time of the broker's clock."""

    bid: float
    ask: float
    time_s: int

    def opening(self, order_type: OrderType) -> float:
        """Return the price at which an order of this type opens."""
        return self.ask if order_type.is_buying else self.bid

    def closing(self, order_type: OrderType) -> float:
        """Return the price at which a position of this type closes."""
        return self.bid if order_type.is_buying else self.ask


@dataclass(frozen=True, slots=True)
class Order:
    """Hold one order, position or balance entry; 0 stands for "none" as it does in MQL4.

    Prices are in the symbol's quote currency, money in the account's, times in broker seconds.
    """

    ticket: int
    symbol: str
    order_type: OrderType
    lots: float
    open_price: float
    open_time_s: int
    stop_loss: float = 0.0
    take_profit: float = 0.0
    comment: str = ""
    magic_number: int = 0
    expiration_s: int = 0
    close_price: float = 0.0
    close_time_s: int = 0
    profit: float = 0.0
    swap: float = 0.0
    commission: float = 0.0

    @property
    def result(self) -> float:
        """Return what the order has earned or cost in all, account currency."""
        return self.profit + self.swap + self.commission


class EventKind(StrEnum):
    """Say what happened to an order."""

    OPENED = auto()
    MODIFIED = auto()
    PARTIALLY_CLOSED = auto()
    CLOSED = auto()
    DELETED = auto()
    FILLED = auto()


class Reason(StrEnum):
    """Say why it happened."""

    REQUEST = auto()
    STOP_LOSS = auto()
    TAKE_PROFIT = auto()
    EXPIRED = auto()
    STOP_OUT = auto()
    UNKNOWN = auto()


@dataclass(frozen=True, slots=True)
class OrderEvent:
    """Report one change of one order, with the order as it was right after."""

    kind: EventKind
    reason: Reason
    order: Order
    previous_ticket: int | None = None


def clip_comment(comment: str) -> str:
    """Return a comment cut to the 31 bytes that the trade record has room for."""
    return comment.encode()[:COMMENT_BYTES].decode(errors="ignore")


def tag_comment(comment: str, tail: str) -> str:
    """Return a comment with its end overwritten by the broker's mark, such as `[sl]`."""
    room = COMMENT_BYTES - len(tail.encode())
    return comment.encode()[:room].decode(errors="ignore") + tail
