"""What a person, or a program, sees of the demo."""

from __future__ import annotations

import time
from types import TracebackType
from typing import TYPE_CHECKING, Self

from rich.console import Group
from rich.live import Live
from rich.panel import Panel
from rich.table import Table
from rich.text import Text

if TYPE_CHECKING:
    from gateway.demo import Demo

LINES = 8
COMMANDS = 6
AROUND = 4
"""Rows that are no fact: over the commands, around what happened, and the cursor's."""
_COLOURS = {"succeeded": "green", "unknown": "bold magenta"}


class PlainLines:
    """One line per fact, for programs and logs."""

    show = None

    def __init__(self) -> None:
        self._started_s = time.monotonic()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Leave nothing behind."""

    def say(self, line: str) -> None:
        """Print a line with the seconds since the start."""
        print(f"{time.monotonic() - self._started_s:6.2f} s  {line}", flush=True)


class LiveView:
    """Prices, commands and links, redrawn in place."""

    def __init__(self) -> None:
        self._lines: list[str] = []
        self._live = Live(Text("starting ..."), refresh_per_second=4, screen=False)
        self._bids: dict[str, float] = {}

    def __enter__(self) -> Self:
        self._live.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._live.stop()

    def say(self, line: str) -> None:
        """Keep the last few lines in view."""
        self._lines = [*self._lines[-LINES + 1 :], line]

    def show(self, demo: Demo) -> None:
        """Draw everything anew."""
        said = demo.app.describe()
        top = Group(self._head(demo, said["terminal"], said["nats"]), self._prices(demo))
        last = Text(f"metrics and status: {demo.url}/    Ctrl-C ends the demo", style="dim")
        console = self._live.console
        taken = sum(len(console.render_lines(part)) for part in (top, last)) + AROUND
        commands = max(1, min(COMMANDS, (console.height - taken) // 2))
        lines = max(1, min(LINES, console.height - taken - commands))
        happened = Text("\n".join(self._lines[-lines:]), no_wrap=True, overflow="ellipsis")
        self._live.update(
            Group(
                top,
                self._commands(demo, commands),
                Panel(happened, title="what happened", title_align="left"),
                last,
            )
        )

    def _head(self, demo: Demo, terminal: dict[str, object], nats: dict[str, object]) -> Panel:
        depth = sum(queue["depth"] for queue in demo.app.commands.queues().values())
        text = (
            f"terminal [b]{terminal['name']}[/b] link {_light(terminal['link'] == 'up')}   "
            f"NATS {nats['server']} {_light(bool(nats['connected']))}   "
            f"ticks {demo.checks.ticks}   waiting {depth}"
        )
        seen = (
            f"{'[green]✓[/green]' if holds else '[dim]·[/dim]'} {sentence}"
            for sentence, holds in demo.checks.verdicts()[1:5]
        )
        lines = f"{text}\n{'   '.join(seen)}"
        return Panel(lines, title="mt4-gateway demo", title_align="left")

    def _prices(self, demo: Demo) -> Table:
        table = Table(expand=True, box=None)
        for name in ("symbol", "bid", "ask", "tick", "age"):
            table.add_column(name, justify="left" if name == "symbol" else "right")
        for symbol, tick in sorted(demo.ticks.items()):
            before = self._bids.get(symbol, tick.bid)
            colour = "green" if tick.bid > before else "red" if tick.bid < before else "white"
            age_s = max(0.0, time.time() - tick.time_ms / 1000)
            self._bids[symbol] = tick.bid
            table.add_row(
                symbol,
                Text(f"{tick.bid:.10g}", style=colour),
                f"{tick.ask:.10g}" if tick.ask is not None else "",
                f"#{tick.seq}",
                f"{age_s:.1f} s",
            )
        return table

    def _commands(self, demo: Demo, rows: int) -> Table:
        table = Table(expand=True, box=None)
        for name in ("command", "outcome", "ticket", "took", "note"):
            table.add_column(name)
        for result in demo.recent[-rows:]:
            response = result.response if isinstance(result.response, dict) else {}
            took_ms = 1000 * (result.body["queued_s"] + result.body["channel_s"])
            table.add_row(
                result.action,
                Text(str(result.outcome), style=_COLOURS.get(str(result.outcome), "yellow")),
                str(response.get("ticket", "")),
                f"{took_ms:.1f} ms",
                "reply lost, found in the ledger" if result.resolved else "",
            )
        return table


def _light(on: bool) -> str:
    return "[green]●[/green]" if on else "[red]●[/red]"
