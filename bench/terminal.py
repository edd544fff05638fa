"""The quickest terminal of the bridge dialect: one REP socket that says yes to everything.

`mt4-gateway sim` would be measured instead of the gateway. Started by `bench/site.py`:

    python -m bench.terminal REQUEST_PORT WORK_MS
"""

from __future__ import annotations

import json
import sys
import time

import zmq

SESSION = "bench-session"
ACCOUNT = {
    "login": 1,
    "trade_mode": 0,
    "name": "bench",
    "server": "bench",
    "currency": "USD",
    "company": "bench",
}
SPUN_S = 0.0003
"""The end of the work is spun: a sleep ends late by about a tenth of a millisecond."""


def main(request_port: int, work_ms: float) -> None:
    """Answer until killed."""
    context = zmq.Context()
    socket = context.socket(zmq.REP)
    socket.bind(f"tcp://127.0.0.1:{request_port}")
    epoch = 0
    while True:
        asked = json.loads(socket.recv())
        action = asked["action"]
        if action == "HELLO":
            epoch += bool(asked.get("claim"))
            response = _hello(epoch)
        elif action == "PING":
            response = {"connected": True, "trade_allowed": True, "broker_time": int(time.time())}
        else:
            _work(work_ms / 1000)
            response = {"ticket": 1001}
        reply = {
            "response": response,
            "id": asked.get("id"),
            "attempt": asked.get("attempt"),
            "session": SESSION,
            "clock_ms": int(time.monotonic() * 1000),
        }
        if "epoch" in asked:
            reply |= {"state": "done", "replayed": False}
        socket.send(json.dumps(reply).encode())


def _hello(epoch: int) -> dict[str, object]:
    return {
        "dialect": "bridge",
        "protocol": 1,
        "program": "bench",
        "version": "1",
        "session": SESSION,
        "ledger": "bench-ledger",
        "epoch": epoch,
        "journal": 0,
        "account": ACCOUNT,
        "tick_endpoint": None,
        "broker_offset_s": 0,
        "connected": True,
        "trade_allowed": True,
    }


def _work(seconds: float) -> None:
    until_s = time.perf_counter() + seconds
    if seconds > SPUN_S:
        time.sleep(seconds - SPUN_S)
    while time.perf_counter() < until_s:
        pass


if __name__ == "__main__":
    main(int(sys.argv[1]), float(sys.argv[2]))
