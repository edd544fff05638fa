"""Run the program Probe on cases and return its answers."""

from __future__ import annotations

import struct
from pathlib import Path

from tests.mql4host.broker_server import BrokerServer
from tests.mql4host.hosted import HostedExpert, Input

_PATIENCE_S = 240.0


def ask_probe(
    binary: Path,
    folder: Path,
    mode: str,
    cases: list[bytes],
    *,
    server: BrokerServer | None = None,
    **inputs: Input,
) -> list[bytes]:
    """Run `mode` on each case; the answers in the same order.

    Raises:
        RuntimeError: The program stopped; the message is its log, with the sanitizer's report.
    """
    expert = HostedExpert(binary, server or BrokerServer(), folder, {"Mode": mode, **inputs})
    expert.patience_s = _PATIENCE_S
    files = folder / "Files"
    files.mkdir(parents=True, exist_ok=True)
    framed = b"".join(struct.pack("<I", len(case)) + case for case in cases)
    (files / "cases.bin").write_bytes(framed)
    with expert:
        expert.stop()
    return (files / "answers.bin").read_bytes().splitlines()
