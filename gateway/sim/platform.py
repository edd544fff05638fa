"""What an MQL4 program can ask the terminal it runs in."""

from collections.abc import Callable
from dataclasses import dataclass, field

from gateway.sim.bars import BarStore
from gateway.sim.broker import Broker
from gateway.sim.codes import Code
from gateway.sim.orders import Quote
from gateway.sim.symbols import SymbolSpec
from gateway.sim.wire import Refused, failure_code

MARKET_WATCH = 4
"""How many of the broker's symbols stand in the Market Watch of a fresh terminal."""


@dataclass(slots=True)
class Platform:
    """Hold the terminal around the program: its broker, its charts, its switches.

    Attributes:
        broker: The account and the market.
        bars: Price history.
        utc_s: The computer's clock, UTC seconds.
        broker_offset_s: Broker's clock minus UTC, None if not known.
        is_connected: Whether the terminal has its broker's server.
        is_trade_allowed: Whether experts may trade.
        is_context_busy: Whether another program holds the trade thread.
        last_error: MQL4's `_LastError`, which keeps its value until somebody reads it.
        market_watch: The symbols that are selected.
    """

    broker: Broker
    bars: BarStore
    utc_s: Callable[[], int]
    broker_offset_s: int | None = 7200
    is_connected: bool = True
    is_trade_allowed: bool = True
    is_context_busy: bool = False
    last_error: int = 0
    market_watch: set[str] = field(init=False)

    def __post_init__(self) -> None:
        self.market_watch = set(list(self.broker.specs)[:MARKET_WATCH])

    def select(self, symbol: str) -> SymbolSpec:
        """Put a symbol into the Market Watch, as `SymbolSelect`.

        Raises:
            Refused: The broker does not have it; the message is the bare name, as there.
        """
        spec = self.broker.specs.get(symbol)
        if spec is None:
            raise Refused(failure_code(Code.UNKNOWN_SYMBOL, symbol))
        self.market_watch.add(symbol)
        return spec

    def quote(self, symbol: str) -> Quote:
        """Return the last quote of a symbol; zeros if there is none yet, as `MarketInfo`."""
        return self.broker.quotes.get(symbol) or Quote(0.0, 0.0, 0)

    @property
    def broker_time_s(self) -> int:
        """Return the broker's clock as the last quote told it (`TimeCurrent`)."""
        return self.broker.now_s

    def take_last_error(self) -> int:
        """Return and clear the last error, as `GetLastError`."""
        code, self.last_error = self.last_error, 0
        return code
