"""The peer: ticks through mq-bridge, a general message bridge in Rust.

    python -m bench.peer NATS_PORT TICK_PORT SYMBOLS

Its NATS subject is fixed and it drops the topic, so a subject per symbol needs a route per symbol;
with 0 symbols everything goes to one subject, which is less than the gateway does.
"""

from __future__ import annotations

import sys
import threading
from importlib.util import find_spec
from typing import Any

SUBJECT = "peer.tick"


def is_installed() -> bool:
    """Tell whether there is a peer to measure."""
    return find_spec("mq_bridge") is not None


def route(nats_port: int, tick_port: int, topic: str, subject: str) -> dict[str, Any]:
    """Return one route's configuration."""
    source = {
        "url": f"tcp://127.0.0.1:{tick_port}",
        "socket_type": "sub",
        "bind": False,
        "format": "raw",
        "topic": topic,
    }
    target = {"url": f"nats://127.0.0.1:{nats_port}", "subject": subject, "no_jetstream": True}
    return {"input": {"zeromq": source}, "output": {"nats": target}, "batch_size": 128}


def main(nats_port: int, tick_port: int, symbols: int) -> None:
    """Forward until killed."""
    from mq_bridge import Route  # noqa: PLC0415 - installed for benchmarks only

    names = [f"SYM{number:04d}" for number in range(symbols)]
    wanted = [(f"tick.{name}", f"{SUBJECT}.{name}") for name in names] or [("", f"{SUBJECT}.all")]
    for topic, subject in wanted:
        Route.from_config(route(nats_port, tick_port, topic, subject)).start()
    print("ready", flush=True)
    threading.Event().wait()


if __name__ == "__main__":
    main(*map(int, sys.argv[1:]))
