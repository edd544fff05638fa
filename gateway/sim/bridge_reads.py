"""The bridge's additional reading actions."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Protocol

from gateway.sim.ledger import Ledger
from gateway.sim.params import Params
from gateway.sim.platform import Platform
from gateway.sim.reads import account_record
from gateway.sim.wire import Body, Json, success

PROTOCOL = 1
PROGRAM = "mt4-gateway sim"
VERSION = "0.1.0"
BUILD = 1420


@dataclass(slots=True)
class BridgeTerminal:
    """Say who the terminal is.

    Attributes:
        session: Names this start of the terminal.
        tick_endpoint: Where ticks are published, None if nowhere.
        subscribed: The symbols whose ticks are published.
    """

    session: str
    tick_endpoint: str | None = None
    subscribed: set[str] = field(default_factory=set)


class BridgeProgram(Protocol):
    """Name what the reading actions need of the program that runs them."""

    @property
    def platform(self) -> Platform:
        """Return the terminal around the program."""

    @property
    def terminal(self) -> BridgeTerminal:
        """Return who the terminal is."""

    @property
    def ledger(self) -> Ledger:
        """Return what the program remembers."""

    def claim(self, journal: Json) -> None:
        """Issue a new epoch to a gateway that tells how far its journal has come."""


def hello(program: BridgeProgram, params: Params) -> Body:
    """Answer HELLO, with a new epoch if the gateway claims one."""
    if params.flag("claim"):
        program.claim(params.raw("journal", 0))
    platform, terminal = program.platform, program.terminal
    return success(
        {
            "dialect": "bridge",
            "protocol": PROTOCOL,
            "program": PROGRAM,
            "version": VERSION,
            "session": terminal.session,
            "ledger": program.ledger.uid,
            "epoch": program.ledger.epoch,
            "journal": program.ledger.journal,
            "account": account_record(platform),
            "tick_endpoint": terminal.tick_endpoint,
            "broker_offset_s": platform.broker_offset_s,
            "connected": platform.is_connected,
            "trade_allowed": platform.is_trade_allowed,
        }
    )


def ping(program: BridgeProgram, _params: Params) -> Body:
    """Answer PING."""
    platform = program.platform
    return success(
        {
            "connected": platform.is_connected,
            "trade_allowed": platform.is_trade_allowed,
            "broker_time": platform.broker_time_s,
        }
    )


def get_server_time(program: BridgeProgram, _params: Params) -> Body:
    """Answer GET_SERVER_TIME."""
    platform = program.platform
    return success(
        {
            "broker_time": platform.broker_time_s,
            "utc_time": platform.utc_s(),
            "broker_offset_s": platform.broker_offset_s,
        }
    )


def get_terminal_info(program: BridgeProgram, _params: Params) -> Body:
    """Answer GET_TERMINAL_INFO."""
    platform = program.platform
    return success(
        {
            "name": "MetaTrader 4 (simulated)",
            "company": platform.broker.terms.company,
            "build": BUILD,
            "path": "C:\\Simulated\\MetaTrader 4",
            "connected": platform.is_connected,
            "trade_allowed": platform.is_trade_allowed,
            "dlls_allowed": True,
            "ping_ms": 1,
        }
    )


def subscribe(program: BridgeProgram, params: Params) -> Body:
    """Answer SUBSCRIBE_TICKS; one unknown name changes nothing."""
    names = params.texts("symbols")
    for name in names:
        program.platform.select(name)
    program.terminal.subscribed.update(names)
    return _subscriptions(program)


def unsubscribe(program: BridgeProgram, params: Params) -> Body:
    """Answer UNSUBSCRIBE_TICKS."""
    program.terminal.subscribed.difference_update(params.texts("symbols"))
    return _subscriptions(program)


def _subscriptions(program: BridgeProgram) -> Body:
    symbols: list[Json] = [*sorted(program.terminal.subscribed)]
    return success({"symbols": symbols})


BRIDGE_READS: Mapping[str, Callable[[BridgeProgram, Params], Body]] = {
    "HELLO": hello,
    "PING": ping,
    "GET_SERVER_TIME": get_server_time,
    "GET_TERMINAL_INFO": get_terminal_info,
    "SUBSCRIBE_TICKS": subscribe,
    "UNSUBSCRIBE_TICKS": unsubscribe,
}
"""The bridge's actions that need no epoch, beside those of the existing server."""
