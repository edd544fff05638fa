"""What really happened, as only the world outside the terminal can know; for tests to compare."""

import json
import time
from pathlib import Path
from typing import TextIO

from gateway.sim.wire import Body, Json


class Truth:
    """Record facts in order: frames, replies, what the broker did and for which command.

    Attributes:
        records: One object per fact, each with `fact` and `at_ns` (UTC). The facts are `started`,
            `stopped`, `received`, `executed`, `replied`, `dropped`, `died`, `program_died`,
            `fault` and `latent`.
    """

    def __init__(self, path: Path | None = None) -> None:
        """Keep records in memory and, if a path is given, append each as a line, flushed."""
        self.records: list[Body] = []
        self._file: TextIO | None = path.open("a", encoding="utf-8") if path else None

    def add(self, fact: str, **details: Json) -> None:
        """Record one fact."""
        record: Body = {"fact": fact, "at_ns": time.time_ns(), **details}
        self.records.append(record)
        if self._file is not None:
            self._file.write(json.dumps(record) + "\n")
            self._file.flush()

    def of(self, fact: str) -> list[Body]:
        """Return the records of one fact, oldest first."""
        return [record for record in self.records if record["fact"] == fact]

    def executions(self, command_id: str) -> list[Body]:
        """Return what the broker executed for one command, `<client>/<id>`."""
        return [
            record
            for record in self.of("executed")
            if record["id"] == command_id and record["code"] == 0
        ]

    def close(self) -> None:
        """Close the file."""
        if self._file is not None:
            self._file.close()
            self._file = None
