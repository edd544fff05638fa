"""The ids of trades, written down before they are published.

A program that dies between publishing and hearing the result comes back without the id, and so
without the question to ask. With a memory it finds every id whose result it has not seen.

A file of JSON lines: one when a trade begins, one when its result is known. A line that was cut
off by a crash is the last one, and of a trade that had not been published yet.
"""

from __future__ import annotations

import asyncio
import json
import logging
import os
import threading
from collections.abc import Mapping
from pathlib import Path

from gateway.core.messages import Json

log = logging.getLogger(__name__)


class MemoryClosedError(ValueError):
    """The file was closed: nothing more is written down."""


class Memory:
    """What one client has begun. One process at a time may use a file.

    Args:
        file: Made if it is not there; kept short by leaving out what has ended.

    Raises:
        ValueError: The file holds something else.
    """

    def __init__(self, file: Path) -> None:
        self._file = file
        self.open = _read(file)
        fresh = file.with_name(f"{file.name}.new")
        with fresh.open("w", encoding="utf-8") as opened:
            for id_, entry in self.open.items():
                opened.write(json.dumps({"begun": id_, **entry}) + "\n")
            opened.flush()
            os.fsync(opened.fileno())
        fresh.replace(file)
        self._lines = file.open("a", encoding="utf-8")
        self._writing = threading.Lock()

    async def begin(self, id_: str, action: str, params: Mapping[str, Json]) -> None:
        """Write down a trade; returns when it is on the disk.

        Raises:
            MemoryClosedError: It was closed.
            TypeError: Its parameters cannot be written as JSON, nor be published.
            ValueError: The same.
        """
        entry: dict[str, Json] = {"action": action, "params": dict(params)}
        line = json.dumps({"begun": id_, **entry}, allow_nan=False)
        self.open[id_] = entry
        await asyncio.to_thread(self._write, line)

    async def end(self, id_: str) -> None:
        """Write down that its result is known, or that it never left.

        Where that cannot be written its caller learns the result all the same, and `recover` of
        the next life will ask once more.
        """
        if self.open.pop(id_, None) is None:
            return
        try:
            await asyncio.to_thread(self._write, json.dumps({"ended": id_}))
        except (OSError, ValueError) as exc:  # a disk that is full; a file that is closed
            log.warning("trade_not_forgotten id=%s cause=%r", id_, exc)

    def _write(self, line: str) -> None:
        with self._writing:
            if self._lines.closed:
                raise MemoryClosedError(f"{self._file} is closed")
            self._lines.write(f"{line}\n")
            self._lines.flush()
            os.fsync(self._lines.fileno())

    def close(self) -> None:
        """Close the file, not in the middle of a line."""
        with self._writing:
            self._lines.close()


def _read(file: Path) -> dict[str, dict[str, Json]]:
    if not file.exists():
        return {}
    begun: dict[str, dict[str, Json]] = {}
    *lines, _ = file.read_text("utf-8").split("\n")  # the last one is empty, or was cut off
    for number, line in enumerate(lines, 1):
        try:
            match said := json.loads(line):
                case {"begun": str() as id_}:
                    begun[id_] = {key: said[key] for key in ("action", "params")}
                case {"ended": str() as id_}:
                    begun.pop(id_, None)
                case _:
                    raise ValueError(line[:40])
        except (ValueError, KeyError) as exc:
            raise ValueError(f"{file}, line {number}: no memory of trades: {exc}") from exc
    return begun
