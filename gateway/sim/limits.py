"""The terminal's own limits: inputs of the MQL4 program, which hold whatever a gateway wants."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Self

from gateway.sim.params import Params
from gateway.sim.platform import Platform
from gateway.sim.wire import Refused, failure

NOISE_LOTS = 1e-7


@dataclass(frozen=True, slots=True)
class TradeLimits:
    """Hold the inputs; 0 and nothing mean no limit.

    Attributes:
        allow_trading: The input *AllowTrading*.
        allowed_symbols: *AllowedSymbols*.
        max_lots_per_order: *MaxLotsPerOrder*.
        max_open_orders: *MaxOpenOrders*.
        max_open_lots: *MaxOpenLots*.
    """

    allow_trading: bool = True
    allowed_symbols: tuple[str, ...] = ()
    max_lots_per_order: float = 0.0
    max_open_orders: int = 0
    max_open_lots: float = 0.0

    @classmethod
    def read(cls, inputs: Iterable[str]) -> Self:
        """Read `NAME=VALUE`, by the inputs' names.

        Raises:
            ValueError: A name is unknown, or a value makes no sense.
        """
        said = dict(text.partition("=")[::2] for text in inputs)
        limits = cls(
            allow_trading=_flag(said.pop("AllowTrading", "true")),
            allowed_symbols=tuple(filter(None, said.pop("AllowedSymbols", "").split(","))),
            max_lots_per_order=float(said.pop("MaxLotsPerOrder", "0")),
            max_open_orders=int(said.pop("MaxOpenOrders", "0")),
            max_open_lots=float(said.pop("MaxOpenLots", "0")),
        )
        if said:
            raise ValueError(f"no such input: {', '.join(said)}")
        return limits

    def check_trade(self) -> None:
        """Insist that the program may trade at all.

        Raises:
            Refused: It may not.
        """
        if not self.allow_trading:
            raise Refused(failure("The input AllowTrading is off."))

    def check_order(self, platform: Platform, params: Params) -> None:
        """Insist that a new order is within the limits.

        Raises:
            Refused: It is not; nothing ran.
        """
        symbol, lots = params.text("symbol"), params.number("lots")
        orders = platform.broker.orders
        open_lots = sum(order.lots for order in orders.values())
        why = ""
        if self.allowed_symbols and symbol not in self.allowed_symbols:
            why = f"Symbol {symbol} is not in AllowedSymbols."
        elif 0 < self.max_lots_per_order < lots - NOISE_LOTS:
            why = f"Lots {lots:.2f} are above MaxLotsPerOrder {self.max_lots_per_order:.2f}."
        elif 0 < self.max_open_orders <= len(orders):
            why = f"There are {len(orders)} orders, and MaxOpenOrders is {self.max_open_orders}."
        elif 0 < self.max_open_lots < open_lots + lots - NOISE_LOTS:
            why = (
                f"{open_lots + lots:.2f} lots would be open, and MaxOpenLots is "
                f"{self.max_open_lots:.2f}."
            )
        if why:
            raise Refused(failure(why))


NO_LIMITS = TradeLimits()


def _flag(text: str) -> bool:
    if text not in ("true", "false"):
        raise ValueError(f"AllowTrading is true or false, not {text!r}")
    return text == "true"
