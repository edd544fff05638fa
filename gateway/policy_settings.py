"""`[policy]`: what may be traded, by all together and by each client. See docs/safety.md.

Each rule holds for all (`[policy]`) and once more for a client (`[policy.clients.NAME]`). What is
left out limits nothing. What a rule means, and which trades it concerns: `policy.py`.
"""

from __future__ import annotations

import hashlib
import re
from typing import Annotated, Any, Literal, Self

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, StringConstraints
from pydantic import model_validator as validator

DAYS = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")
MINUTE_S = 60.0
LONGEST_WINDOW_S = 600.0

_DAY = "|".join(DAYS)
_TIME = r"([01]\d|2[0-3]):[0-5]\d"
HOURS_PATTERN = rf"^({_DAY})(-({_DAY}))? {_TIME}-({_TIME}|24:00)$"

Alias = Annotated[str, StringConstraints(pattern=r"^[a-z0-9-]{1,32}$")]
SymbolName = Annotated[str, StringConstraints(min_length=1, max_length=32)]
TradeName = Literal[
    "DO_ORDER_SEND", "DO_ORDER_MODIFY", "DO_ORDER_CLOSE", "DO_ORDER_DELETE", "DO_CLOSE_ALL"
]
Side = Literal["buy", "sell"]
MagicNumber = Annotated[int, Field(ge=-(2**31), le=2**31 - 1)]
Lots = Annotated[float, Field(gt=0, le=1e9, allow_inf_nan=False)]


class Window(BaseModel):
    """One line of trading hours, read: days as numbers from Monday, minutes of the day in UTC."""

    model_config = ConfigDict(frozen=True)

    first_day: int
    last_day: int
    begin_minute: int
    end_minute: int


def read_window(text: str) -> Window:
    """Read `mon-fri 07:00-17:30`.

    Raises:
        ValueError: It ends before it begins; what would be right is said.
    """
    if re.fullmatch(HOURS_PATTERN, text) is None:
        raise ValueError(
            "write DAY HH:MM-HH:MM or DAY-DAY HH:MM-HH:MM, such as mon-fri 07:00-17:30"
        )
    days, hours = text.split(" ")
    first, _, last = days.partition("-")
    begin, end = (int(time[:2]) * 60 + int(time[3:]) for time in hours.split("-"))
    window = Window(
        first_day=DAYS.index(first),
        last_day=DAYS.index(last or first),
        begin_minute=begin,
        end_minute=end,
    )
    if window.first_day > window.last_day or begin >= end:
        raise ValueError("must end after it begins; split what crosses midnight or the week's end")
    return window


def _checked_window(text: str) -> str:
    read_window(text)
    return text


Hours = Annotated[str, StringConstraints(pattern=HOURS_PATTERN), AfterValidator(_checked_window)]


class Limits(BaseModel):
    """The rules that exist for all together and for each client."""

    model_config = ConfigDict(
        frozen=True, extra="forbid", str_strip_whitespace=True, defer_build=True
    )

    actions: tuple[TradeName, ...] = Field(
        (), description="Trades that may be asked for; empty: all."
    )
    symbols: tuple[SymbolName, ...] = Field(
        (), description="What may be traded; empty: all. Of a ticket it is looked up."
    )
    magic_numbers: tuple[MagicNumber, ...] = Field(
        (),
        description="Whose orders may be sent and touched; empty: all. Looked up as well.",
    )
    sides: tuple[Side, ...] = Field((), description="Sides that may be opened; empty: both.")
    max_lots_per_order: Lots | None = Field(None, description="Largest order.")
    max_open_lots: Lots | None = Field(
        None, description="Open and pending orders together, the new one included."
    )
    max_open_orders: int | None = Field(
        None, ge=1, description="Open and pending orders, the new one included."
    )
    max_orders_per_minute: int | None = Field(
        None, ge=1, description="New orders within any 60 s, whatever became of them."
    )
    price_collar_percent: float | None = Field(
        None, gt=0, le=100, description="How far a given price may be from the market's."
    )
    duplicate_window_s: float | None = Field(
        None,
        gt=0,
        le=LONGEST_WINDOW_S,
        description="The same order of the same client, under another id (or comment), is denied "
        "for so long.",
    )
    trading_hours: tuple[Hours, ...] = Field(
        (), description="When orders may be opened, UTC, `mon-fri 07:00-17:30`; empty: always."
    )


class Policy(Limits):
    """What may be traded. A fresh gateway only reads. Which rule concerns which trade is on
    [a page of its own](safety.md#who-may-trade)."""  # noqa: D205, D209 - one paragraph in docs

    trading: bool = Field(False, description="Off: every trade is denied (403).")
    require_deadline: bool = Field(
        True, description="A trade without a deadline is denied: it may have been delayed."
    )
    halt_allows_reducing: bool = Field(
        False, description="While halted, positions may be closed and pending orders deleted."
    )
    clients: dict[Alias, Limits] = Field(
        {},
        description="Who may trade: a table `[policy.clients.NAME]` for each, with rules of its "
        "own, by the names above. None: everyone. In a file only.",
    )

    @validator(mode="after")
    def _orders_can_be_told_apart(self) -> Self:
        """Insist that it can be told which orders are a client's."""
        for name, limits in self.clients.items():
            for rule in ("max_open_lots", "max_open_orders"):
                if getattr(limits, rule) is not None and not limits.magic_numbers:
                    raise ValueError(
                        f"clients.{name}.{rule} needs clients.{name}.magic_numbers: "
                        f"by them a client's orders are told apart"
                    )
        return self

    def layers(self, client: str | None) -> list[tuple[str, Limits]]:
        """List the limits that hold for a client's trades, each with its path."""
        own = self.clients.get(client or "")
        return [("policy", self), *([(f"policy.clients.{client}", own)] if own else [])]

    @property
    def memory_s(self) -> float:
        """Say for how long it has to be remembered what was let through."""
        everyone = [self, *self.clients.values()]
        windows = [limits.duplicate_window_s or 0.0 for limits in everyone]
        counts = any(limits.max_orders_per_minute for limits in everyone)
        return max(*windows, MINUTE_S if counts else 0.0)


class PolicyInForce:
    """The policy that is in force now; it can be replaced while the gateway runs.

    Attributes:
        current: It.
        fingerprint: Names it, so that it can be told from any other.
        problem: Why the last one that was read could not be used; None if it could.
    """

    def __init__(self, policy: Policy) -> None:
        self._put(policy)

    def _put(self, policy: Policy) -> None:
        self.current = policy
        text = policy.model_dump_json()
        self.fingerprint = hashlib.blake2b(text.encode(), digest_size=4).hexdigest()
        self.problem: str | None = None

    def take(self, policy: Policy) -> list[str]:
        """Put another one in force, and list what changed."""
        before, after = flattened(self.current), flattened(policy)
        self._put(policy)
        return [
            f"{path}: {before.get(path, 'none')} -> {after.get(path, 'none')}"
            for path in sorted(before.keys() | after.keys())
            if before.get(path) != after.get(path)
        ]


def flattened(policy: Policy) -> dict[str, str]:
    """Write each key that is set as `policy.clients.alpha.max_open_lots` and its value."""
    flat: dict[str, str] = {}

    def add(path: str, value: Any) -> None:
        if isinstance(value, dict):
            for key, inner in value.items():
                add(f"{path}.{key}", inner)
        elif value not in (None, []):
            flat[path] = str(value)

    add("policy", policy.model_dump(mode="json"))
    for name in policy.clients:
        flat.setdefault(f"policy.clients.{name}", "listed")
    return flat
