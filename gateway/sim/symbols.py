"""What the broker trades: the specification of a symbol, and a handful of standard ones."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class SymbolSpec:
    """Describe one symbol as a broker's contract specification does.

    Attributes:
        name: The broker's name; may hold any character (`EURUSD.m`, `#AAPL`, `GOLD spot`).
        digits: Digits after the decimal point of a price.
        contract_size: Units of the base per lot.
        profit_currency: The currency in which a position's profit arises.
        opening_bid: A price to begin with, quote currency.
        spread_points: The usual distance of ask from bid, points.
        volatility_points: The usual size of one step of the random walk, points.
        point: The smallest price step, quote currency; 0 means "selected, but no data yet".
        lot_min: Smallest order, lots.
        lot_step: Granularity of an order, lots.
        lot_max: Largest order, lots.
        stop_level: Least distance of stops and pending prices from the market, points.
        freeze_level: Distance from the market within which an order cannot be changed, points.
        swap_long: Money per lot and night on a long position, account currency.
        swap_short: The same on a short position.
        commission_per_lot: Money per lot for opening and closing together, account currency.
    """

    name: str
    digits: int
    contract_size: float
    profit_currency: str
    opening_bid: float
    spread_points: int
    volatility_points: float
    point: float
    lot_min: float = 0.01
    lot_step: float = 0.01
    lot_max: float = 100.0
    stop_level: int = 0
    freeze_level: int = 0
    swap_long: float = 0.0
    swap_short: float = 0.0
    commission_per_lot: float = 0.0

    @property
    def base_currency(self) -> str:
        """Return the first three letters of a currency pair's name, else the profit currency."""
        name = self.name[:6]
        return name[:3] if name[3:] == self.profit_currency else self.profit_currency

    def to_points(self, price: float) -> int:
        """Return a price or a distance as a whole number of points; exact where floats are not."""
        return round(price / self.point) if self.point else 0

    def rounded(self, price: float) -> float:
        """Return a price rounded to the symbol's digits."""
        return round(price, self.digits)

    def is_on_tick(self, price: float) -> bool:
        """Tell whether a price is a multiple of the point, floating-point noise aside."""
        return abs(price / self.point - self.to_points(price)) < 1e-4  # noqa: PLR2004


def pair(
    name: str, digits: int, opening_bid: float, spread_points: int, **terms: float | int
) -> SymbolSpec:
    """Return the specification of a currency pair with a contract of 100,000.

    Args:
        name: Six letters, a suffix may follow.
        digits: Digits of a price.
        opening_bid: A price to begin with.
        spread_points: Ask minus bid, points.
        terms: Any other field of `SymbolSpec`.
    """
    fields: dict[str, float | int] = {"contract_size": 100_000.0, "volatility_points": 6.0}
    return make_symbol(name, digits, name[3:6], opening_bid, spread_points, **(fields | terms))


def make_symbol(
    name: str,
    digits: int,
    profit_currency: str,
    opening_bid: float,
    spread_points: int,
    **terms: float | int,
) -> SymbolSpec:
    """Return a specification whose point follows from its digits.

    Args:
        name: The broker's name.
        digits: Digits of a price.
        profit_currency: Currency of the profit.
        opening_bid: A price to begin with.
        spread_points: Ask minus bid, points.
        terms: Any other field of `SymbolSpec`.
    """
    fields: dict[str, float | int] = {
        "point": round(10.0**-digits, digits),
        "contract_size": 1.0,
        "volatility_points": 3.0,
    }
    return SymbolSpec(
        name=name,
        digits=digits,
        profit_currency=profit_currency,
        opening_bid=opening_bid,
        spread_points=spread_points,
        **(fields | terms),  # type: ignore[arg-type]  # float and int fields, checked by the tests
    )


STANDARD_SYMBOLS: tuple[SymbolSpec, ...] = (
    pair("EURUSD", 5, 1.12120, 12, swap_long=-6.2, swap_short=2.1),
    pair("GBPUSD", 5, 1.26450, 15, swap_long=-4.0, swap_short=0.5),
    pair("USDJPY", 3, 147.250, 14, swap_long=3.0, swap_short=-8.0),
    make_symbol("XAUUSD", 2, "USD", 2350.10, 25, contract_size=100.0, volatility_points=12.0),
    pair("EURUSD.m", 5, 1.12120, 4, commission_per_lot=7.0),
    make_symbol("#AAPL", 2, "USD", 228.40, 6, lot_min=1.0, lot_step=1.0, stop_level=10),
    make_symbol("AIRF.PA", 3, "EUR", 8.412, 8, lot_min=1.0, lot_step=1.0, stop_level=20),
    make_symbol("GOLD spot", 2, "USD", 2350.10, 40, contract_size=10.0, freeze_level=5),
)
"""The symbols of the simulated broker; the last four have names and terms that trip clients."""
