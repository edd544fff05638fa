"""The quickest terminal of the bridge dialect: one REP socket that says yes to everything.

`mt4-gateway sim` would be measured instead of the gateway. Started by `bench/site.py`:

    python -m bench.terminal REQUEST_PORT WORK_MS
    python -m bench.terminal pipe:NAME WORK_MS        over the gateway's pipe instead
"""

from __future__ import annotations

import json
import re
import socket
import sys
import time

import zmq

from gateway.terminal.pipe_name import pipe_address

SESSION = "bench-session"
ACCOUNT = {
    "login": 1,
    "trade_mode": 0,
    "name": "bench",
    "server": "bench",
    "currency": "USD",
    "company": "bench",
}
PING_S = 0.4
REQUEST = re.compile(rb'\{"kind":"request","correlation":"([^"]+)",')
SPUN_S = 0.0003
"""The end of the work is spun: a sleep ends late by about a tenth of a millisecond."""


class Terminal:
    """What it answers, whichever way it is asked."""

    def __init__(self, work_ms: float) -> None:
        self._work_s = work_ms / 1000
        self._epoch = 0

    def reply(self, frame: bytes) -> bytes:
        """Answer one request."""
        asked = json.loads(frame)
        action = asked["action"]
        if action == "HELLO":
            self._epoch += bool(asked.get("claim"))
            response = _hello(self._epoch)
        elif action == "PING":
            response = {"connected": True, "trade_allowed": True, "broker_time": int(time.time())}
        else:
            _work(self._work_s)
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
        return json.dumps(reply).encode()


def over_zeromq(port: int, terminal: Terminal) -> None:
    """Answer until killed."""
    replying = zmq.Context().socket(zmq.REP)
    replying.bind(f"tcp://127.0.0.1:{port}")
    while True:
        replying.send(terminal.reply(replying.recv()))


def over_pipe(name: str, terminal: Terminal) -> None:
    """Answer until the gateway hangs up; it needs a sign of life twice a second."""
    link = socket.socket(socket.AF_UNIX)
    while link.connect_ex(pipe_address(name)):
        time.sleep(0.01)
    link.sendall(b'{"kind":"open","role":"terminal","program":"bench"}\n')
    link.settimeout(PING_S)
    rest = b""
    while True:
        try:
            chunk = link.recv(65_536)
        except TimeoutError:
            link.sendall(b'{"kind":"ping"}\n')
            continue
        if not chunk:
            return
        *lines, rest = (rest + chunk).split(b"\n")
        for line in lines:
            if asked := REQUEST.match(line):
                head = b'{"kind":"reply","correlation":"%b",' % asked[1]
                link.sendall(head + terminal.reply(b"{" + line[asked.end() :])[1:] + b"\n")


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
    kind, _, name = sys.argv[1].partition(":")
    answering = Terminal(work_ms=float(sys.argv[2]))
    if kind == "pipe":
        over_pipe(name, answering)
    else:
        over_zeromq(int(kind), answering)
