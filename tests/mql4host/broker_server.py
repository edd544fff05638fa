"""What MQL4 programs ask the terminal and the broker, answered by the simulator's model.

One server is one terminal: its broker, its clock, its global variables. It outlives the programs,
as a terminal does. A program asks over a socket, one line a call: `name`, then its arguments,
separated by tabs; the answer is a clock shift, the value of `_LastError`, then the results.
"""

from __future__ import annotations

import contextlib
import re
import socket
import threading
import time
from collections.abc import Callable, Sequence
from pathlib import Path

from gateway.sim import properties
from gateway.sim.bars import BarStore
from gateway.sim.broker import Broker
from gateway.sim.codes import Code
from gateway.sim.indicators import run_indicator
from gateway.sim.orders import Order
from gateway.sim.params import StrictParams
from gateway.sim.platform import Platform
from gateway.sim.signals import SIGNALS
from gateway.sim.symbols import SymbolSpec
from gateway.sim.wire import Json

Field = str | int | float | bool
Result = tuple[Sequence[Field], int]
Hook = Callable[[list[str]], Result | None]
"""Called with a call's arguments; a result answers in its stead, None lets it go on."""

START_S = 1_600_000_000
BUILD = 1420
_WORD_START = re.compile(r"(?<=[a-z])(?=[A-Z])")
_ENUM = re.compile(r"V\((\w+), (\d+)\)")


class BrokerServer:
    """Answer the calls of hosted programs.

    Attributes:
        broker: The account and the market.
        platform: The terminal's switches.
        lock: Held while a call is answered; take it to look at or change the broker.
        before: Hooks by call name, run before the call is answered.
        after: Hooks by call name, run after it was done and before the program learns of it.
        clock_shift_ms: Moves the programs' monotonic clock; they notice at their next call.
        utc_s: The computer's clock.
        global_variables: The terminal's global variables.
        chart_symbol: The symbol of the programs' chart.
        calls: How often each call was made.
    """

    def __init__(self, broker: Broker | None = None, *, with_quotes: bool = True) -> None:
        self.broker = broker or Broker(time_s=START_S)
        self.bars = BarStore(self.broker.specs.values())
        self.utc_s: Callable[[], int] = lambda: int(time.time())
        self.platform = Platform(self.broker, self.bars, self._utc_now)
        self.lock = threading.RLock()
        self.before: dict[str, Hook] = {}
        self.after: dict[str, Hook] = {}
        self.clock_shift_ms = 0
        self.global_variables: dict[str, float] = {}
        self.chart_symbol = next(iter(self.broker.specs))
        self.calls: dict[str, int] = {}
        self._listeners: list[socket.socket] = []
        self._signal = ""
        self._market_names = {number: name for name, number in _enum("HOST_MARKETINFO").items()}
        if with_quotes:
            for spec in self.broker.specs.values():
                ask = spec.rounded(spec.opening_bid + spec.spread_points * spec.point)
                self.quote(spec.name, spec.opening_bid, ask, self.broker.now_s or START_S)

    def _utc_now(self) -> int:
        return self.utc_s()

    # --- for tests --------------------------------------------------------------------------

    def quote(self, symbol: str, bid: float, ask: float, time_s: int | None = None) -> None:
        """Move the market; programs on a chart of this symbol get a tick."""
        with self.lock:
            at_s = self.broker.now_s + 1 if time_s is None else time_s
            self.broker.set_quote(symbol, bid, ask, at_s)
            self.bars.add(symbol, bid, at_s)
            listeners = list(self._listeners) if symbol == self.chart_symbol else []
        for listener in listeners:
            _send(listener, b"!tick\n")

    def open_line(self) -> socket.socket:
        """Return a program's end of a new line to this server; close it once it is handed on."""
        ours, theirs = socket.socketpair()
        self._listeners.append(ours)
        threading.Thread(target=self._serve, args=(ours,), daemon=True, name="mql4-broker").start()
        return theirs

    # --- the line ---------------------------------------------------------------------------

    def _serve(self, line: socket.socket) -> None:
        # A program that is killed leaves its line with an error.
        with line, line.makefile("rb") as requests, contextlib.suppress(ConnectionError):
            for request in requests:
                if not _send(line, self._answer(request)):
                    break
        with self.lock:
            self._listeners.remove(line)

    def _answer(self, request: bytes) -> bytes:
        name, *arguments = (_unescaped(f) for f in request.decode().rstrip("\n").split("\t"))
        with self.lock:
            self.calls[name] = self.calls.get(name, 0) + 1
            results, code = self._run(name, arguments)
            fields = [self.clock_shift_ms, code, *results]
        return "\t".join(map(_text, fields)).encode() + b"\n"

    def _run(self, name: str, arguments: list[str]) -> Result:
        if (hook := self.before.get(name)) and (instead := hook(arguments)) is not None:
            return instead
        result = self._call(name, arguments)
        if (hook := self.after.get(name)) and (instead := hook(arguments)) is not None:
            return instead
        return result

    def _call(self, name: str, arguments: list[str]) -> Result:
        method = getattr(self, "_do_" + _WORD_START.sub("_", name).lower(), None)
        if method is None:
            raise NotImplementedError(f"the host does not know {name}")
        result: Result | Sequence[Field] | Field = method(*arguments)
        if isinstance(result, tuple):
            return result
        return (result, 0) if isinstance(result, list) else ([result], 0)  # type: ignore[list-item]

    # --- terminal ---------------------------------------------------------------------------

    def _do_time_current(self) -> Field:
        return self.broker.now_s

    def _do_time_local(self) -> Field:
        return self.utc_s()

    def _do_time_gmt(self) -> Field:
        return self.utc_s()

    def _do_is_connected(self) -> Field:
        return self.platform.is_connected

    def _do_is_trade_allowed(self, symbol: str = "", at: str = "") -> Field:
        if symbol:
            return self.broker.is_open
        return self.platform.is_trade_allowed and not self.platform.is_context_busy

    def _do_is_trade_context_busy(self) -> Field:
        return self.platform.is_context_busy

    def _do_terminal_info_integer(self, number: str) -> Field:
        return {5: BUILD, 6: int(self.platform.is_connected), 7: 1}.get(int(number), 1)

    def _do_terminal_info_string(self, number: str) -> Field:
        texts = {10: "MetaTrader 4 (host)", 11: self.broker.terms.company, 12: "C:\\MetaTrader 4"}
        return texts.get(int(number), "")

    def _do_mqlinfo_integer(self, number: str) -> Field:
        return 1

    def _do_global_variable_check(self, name: str) -> Field:
        return name in self.global_variables

    def _do_global_variable_get(self, name: str) -> Field:
        return self.global_variables.get(name, 0.0)

    def _do_global_variable_set(self, name: str, value: str) -> Field:
        self.global_variables[name] = float(value)
        return self.utc_s()

    def _do_global_variable_del(self, name: str) -> Field:
        return self.global_variables.pop(name, None) is not None

    # --- account and market -----------------------------------------------------------------

    def _do_account_info_integer(self, number: str) -> Field:
        return properties.account_integer(self.platform, int(number))

    def _do_account_info_double(self, number: str) -> Field:
        return properties.account_double(self.platform, int(number))

    def _do_account_info_string(self, number: str) -> Field:
        terms = self.broker.terms
        texts = {1: terms.name, 2: terms.company, 3: terms.server, 36: terms.currency}
        return texts.get(int(number), "")

    def _do_symbol(self) -> Field:
        return self.chart_symbol

    def _symbols(self, selected: str) -> list[str]:
        watched = self.platform.market_watch
        return [name for name in self.broker.specs if selected == "0" or name in watched]

    def _do_symbols_total(self, selected: str) -> Field:
        return len(self._symbols(selected))

    def _do_symbol_name(self, at: str, selected: str) -> Field:
        return self._symbols(selected)[int(at)]

    def _do_symbol_select(self, symbol: str, select: str) -> Result:
        if symbol not in self.broker.specs:
            return [False], Code.UNKNOWN_SYMBOL
        watched = self.platform.market_watch
        (watched.add if select == "1" else watched.discard)(symbol)
        return [True], 0

    def _spec(self, symbol: str) -> SymbolSpec | None:
        return self.broker.specs.get(symbol) if symbol in self.platform.market_watch else None

    def _property(self, value: object, spec: SymbolSpec | None) -> Result:
        if isinstance(value, int | float | str):
            return [value], 0
        return [], Code.INVALID_PARAMETER if spec else Code.UNKNOWN_SYMBOL

    def _do_symbol_info_integer(self, symbol: str, number: str) -> Result:
        spec = self._spec(symbol)
        value = spec and properties.symbol_integer(self.platform, spec, int(number))
        return self._property(value, spec)

    def _do_symbol_info_double(self, symbol: str, number: str) -> Result:
        spec = self._spec(symbol)
        value = spec and properties.symbol_double(self.platform, spec, int(number))
        return self._property(value, spec)

    def _do_symbol_info_string(self, symbol: str, number: str) -> Result:
        spec = self._spec(symbol)
        value = spec and properties.symbol_string(self.platform, spec, int(number))
        return self._property(value, spec)

    def _do_symbol_info_tick(self, symbol: str) -> list[Field]:
        quote = self.broker.quotes.get(symbol)
        return [quote.time_s, quote.bid, quote.ask, 0.0, 0] if quote else []

    def _do_market_info(self, symbol: str, number: str) -> Result:
        spec = self.broker.specs.get(symbol)
        value = properties.MARKET_INFO.get(self._market_names.get(int(number), ""))
        if spec is None or value is None:
            return [0.0], Code.UNKNOWN_SYMBOL
        return [float(value(self.platform, spec, self.platform.quote(symbol)))], 0

    def _do_refresh_rates(self) -> Field:
        return True

    def _do_i_volume(self, symbol: str, timeframe: str, shift: str) -> Field:
        bars = self.bars.bars(symbol, int(timeframe), int(shift) + 1)
        return bars[-1 - int(shift)].tick_volume if bars else 0

    def _do_i_time(self, symbol: str, timeframe: str, shift: str) -> Field:
        bars = self.bars.bars(symbol, int(timeframe), int(shift) + 1)
        return bars[-1 - int(shift)].time_s if bars else 0

    def _do_copy_rates(self, symbol: str, timeframe: str, start: str, count: str) -> Result:
        bars = self.bars.bars(symbol, int(timeframe), int(count))
        if bars is None:
            return [], Code.HISTORY_WILL_UPDATE
        fields: list[Field] = [len(bars)]
        for bar in bars:
            fields += [bar.time_s, bar.open, bar.high, bar.low, bar.close, bar.tick_volume]
        return fields, 0

    def _do_indicator(self, name: str, symbol: str, *numbers: str) -> Field:
        values: dict[str, Json] = {"0": symbol}
        for at, number in enumerate(numbers, 1):
            values[str(at)] = float(number) if "." in number else int(number)
        return run_indicator(self.bars, name, StrictParams(values))

    def _do_signal_base_total(self) -> Field:
        return len(SIGNALS)

    def _do_signal_base_select(self, at: str) -> Field:
        self._signal = list(SIGNALS)[int(at)]
        return True

    def _signal_property(self, header: str, prefix: str, number: str) -> Field:
        names = {value: name for name, value in _enum(header).items()}
        value = SIGNALS[self._signal][names[int(number)].removeprefix(prefix).lower()]
        return value if isinstance(value, str | int | float) else ""

    def _do_signal_base_get_integer(self, number: str) -> Field:
        return self._signal_property("HOST_SIGNAL_INTEGER", "SIGNAL_BASE_", number)

    def _do_signal_base_get_double(self, number: str) -> Field:
        return self._signal_property("HOST_SIGNAL_DOUBLE", "SIGNAL_BASE_", number)

    def _do_signal_base_get_string(self, number: str) -> Field:
        return self._signal_property("HOST_SIGNAL_STRING", "SIGNAL_BASE_", number)

    # --- orders -----------------------------------------------------------------------------

    def _do_order_send(self, *arguments: str) -> Result:
        symbol, order_type, lots, price, slippage, sl, tp, comment, magic, expiry = arguments
        ticket, code = self.broker.order_send(
            symbol,
            int(order_type),
            float(lots),
            float(price),
            int(slippage),
            stop_loss=float(sl),
            take_profit=float(tp),
            comment=comment,
            magic_number=int(magic),
            expiration_s=int(expiry),
        )
        return [ticket], code

    def _do_order_modify(
        self, ticket: str, price: str, stop_loss: str, take_profit: str, expiration: str
    ) -> Result:
        is_done, code = self.broker.order_modify(
            int(ticket), float(price), float(stop_loss), float(take_profit), int(expiration)
        )
        return [is_done], code

    def _do_order_close(self, ticket: str, lots: str, price: str, slippage: str) -> Result:
        is_done, code = self.broker.order_close(
            int(ticket), float(lots), float(price), int(slippage)
        )
        return [is_done], code

    def _do_order_delete(self, ticket: str) -> Result:
        is_done, code = self.broker.order_delete(int(ticket))
        return [is_done], code

    def _pool(self, pool: int) -> list[Order]:
        return self.broker.history if pool else [*self.broker.orders.values()]

    def _do_orders_total(self) -> Field:
        return len(self._pool(0))

    def _do_orders_history_total(self) -> Field:
        return len(self._pool(1))

    def _do_order_select(self, at: str, select: str, pool: str) -> Result:
        if select == "1":
            found = self.broker.find(int(at))
        else:
            orders = self._pool(int(pool))
            found = self.broker.view(orders[int(at)]) if int(at) < len(orders) else None
            if found is not None and pool == "1":
                found = orders[int(at)]
        return (_order_fields(found), 0) if found else ([], Code.INVALID_TICKET)


def _order_fields(order: Order) -> list[Field]:
    return [
        order.ticket,
        order.magic_number,
        order.symbol,
        int(order.order_type),
        order.lots,
        order.open_price,
        order.close_price,
        order.open_time_s,
        order.close_time_s,
        order.expiration_s,
        order.stop_loss,
        order.take_profit,
        order.profit,
        order.commission,
        order.swap,
        order.comment,
    ]


def _enum(name: str) -> dict[str, int]:
    """Return one list of mql4_enums.h: the numbers stand in one place."""
    header = (Path(__file__).parent / "mql4_enums.h").read_text()
    body = re.search(rf"#define {name}\(V\)((?:.*\\\n)*.*)", header)
    return {n: int(x) for n, x in _ENUM.findall(body[1])} if body else {}


def _text(field: Field) -> str:
    if isinstance(field, bool):
        return str(int(field))
    if isinstance(field, float):
        return repr(field)
    return str(int(field)) if isinstance(field, int) else _escaped(field)


def _escaped(text: str) -> str:
    return text.replace("\\", "\\\\").replace("\t", "\\t").replace("\n", "\\n")


def _unescaped(text: str) -> str:
    plain = {"t": "\t", "n": "\n"}
    return re.sub(r"\\(.)", lambda m: plain.get(m[1], m[1]), text)


def _send(line: socket.socket, data: bytes) -> bool:
    try:
        line.sendall(data)
    except OSError:
        return False
    return True
