"""A gateway that kills itself at a point named by the trade, once.

    python -m tests.stack.crashing FOLDER run ...

A trade with the id `sent_after-1` ends the process right after the journal has stored that it is
sent. FOLDER remembers who has died for what, so that the next gateway goes on with the same trade.
"""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from gateway.cli import main
from gateway.commands import Commands
from gateway.core.messages import Purpose, Request
from gateway.jobs import Jobs
from gateway.journal.trades import JetStreamJournal
from gateway.terminal.line import Line

POINTS = (
    "accept_before",
    "sent_before",
    "sent_after",
    "put_after",
    "finish_before",
    "finished_before",
    "finished_after",
    "settle_before",
    "settle_after",
)
"""Given to flow 1; recorded as sent; the frame given out; concluded; recorded; acknowledged."""


class Death:
    """Ends this process at most once for each trade."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def at(self, point: str, id_: str | None) -> None:
        """Die, if this trade is named after this point and nobody has died for it."""
        if id_ is None or not id_.startswith(f"{point}-"):
            return
        try:
            (self._folder / id_).touch(exist_ok=False)
        except FileExistsError:
            return
        os.kill(os.getpid(), signal.SIGKILL)

    def around(self, owner: type, method: str, id_of: Callable[..., str | None]) -> None:
        """Watch a coroutine method: before it, and when it has ended."""
        real, name = getattr(owner, method), method.strip("_")

        async def watched(*arguments: Any, **named: Any) -> Any:
            id_ = id_of(*arguments[1:])
            self.at(f"{name}_before", id_)
            returned = await real(*arguments, **named)
            self.at(f"{name}_after", id_)
            return returned

        setattr(owner, method, watched)

    def after_frame(self) -> None:
        """Watch what is given out to the terminal."""
        real = Line._put

        def put(line: Line, request: Request) -> bool:
            has_left = real(line, request)
            if has_left and request.purpose is Purpose.COMMAND and request.command is not None:
                self.at("put_after", request.command.key.id)
            return has_left

        setattr(Line, real.__name__, put)


if __name__ == "__main__":
    death = Death(Path(sys.argv.pop(1)))
    death.around(Commands, "accept", lambda wish: wish.id)
    death.around(JetStreamJournal, "sent", lambda sent: sent.command.key.id)
    death.after_frame()
    death.around(Commands, "_finish", lambda work, _: work.command.key.id)
    death.around(JetStreamJournal, "finished", lambda command, _: command.key.id)
    death.around(Jobs, "_settle", lambda _, result: result.key.id)
    sys.exit(main())
