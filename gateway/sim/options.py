"""How a simulated terminal is configured."""

from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

from gateway.sim.bridge import PlainClients
from gateway.sim.limits import NO_LIMITS, TradeLimits


class DialectName(StrEnum):
    """Name what the terminal speaks."""

    BRIDGE = "bridge"
    LEGACY = "metatrader4-server"


@dataclass(frozen=True, slots=True)
class SimCurve:
    """Name the keys of an encrypted terminal, in Z85.

    Attributes:
        public: Its own.
        secret: Its own.
        server: The gateway's public key, where the terminal connects; where it binds, every key
            is let in, as by the MQL4 programs.
    """

    public: bytes
    secret: bytes
    server: bytes | None = None


@dataclass(frozen=True, slots=True)
class SimOptions:
    """Configure a simulated terminal.

    Attributes:
        dialect: What it speaks.
        request_endpoint: Where it takes requests; port `*` takes any.
        tick_endpoint: Where it publishes (bridge only).
        pipe_address: The gateway's pipe, opened instead of both endpoints (bridge only).
        connects: Connect to both endpoints, for a gateway that binds them, instead of binding.
        curve: Its keys; None for a connection that is not encrypted.
        ledger_path: Its ledger; None keeps one in a temporary folder as long as the object lives.
        state_path: Where the broker's state is kept; None keeps it in memory.
        truth_path: Where the truth is written; None keeps it in memory.
        plain_clients: The input *PlainClients*.
        limits: The inputs that bound what it may trade (bridge only).
        seed: Decides prices and faults.
        tick_interval_s: Time between two ticks of a symbol; 0 for no ticks by itself.
        heartbeat_interval_s: Time between two heartbeats.
        broker_offset_s: Broker's clock minus UTC.
        restart_after_s: How long a terminal that comes back by itself stays away.
    """

    dialect: DialectName = DialectName.BRIDGE
    request_endpoint: str = "tcp://127.0.0.1:28282"
    tick_endpoint: str = "tcp://127.0.0.1:28283"
    pipe_address: str | None = None
    connects: bool = False
    curve: SimCurve | None = None
    ledger_path: Path | None = None
    state_path: Path | None = None
    truth_path: Path | None = None
    plain_clients: PlainClients = PlainClients.READ
    limits: TradeLimits = NO_LIMITS
    seed: int = 1
    tick_interval_s: float = 0.25
    heartbeat_interval_s: float = 1.0
    broker_offset_s: int = 7200
    restart_after_s: float = 0.0
