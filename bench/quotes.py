"""A PUB socket that floods or paces ticks, as told line by line on its standard input.

    python -m bench.quotes PORT SYMBOLS

    burst COUNT           as fast as it can; packed beforehand
    pace RATE SECONDS     evenly; the time of sending stands in `volume`
    replay FILE           real quotes as fast as it can, as one symbol's

Each is answered by a line with when it began and ended, by `time.perf_counter()`, which is the
same clock for all processes of a machine.
"""

from __future__ import annotations

import sys
import time
from pathlib import Path
from typing import Any

import msgpack
import zmq

from gateway.sim.quotes import Replay, spec_for_file


class Quotes:
    """Symbols with a sequence number each."""

    def __init__(self, port: int, symbols: int) -> None:
        self._socket = zmq.Context().socket(zmq.PUB)
        self._socket.setsockopt(zmq.SNDHWM, 0)
        self._socket.bind(f"tcp://127.0.0.1:{port}")
        self._names = [f"SYM{number:04d}" for number in range(symbols)]
        self._topics = [f"tick.{name}".encode() for name in self._names]
        self._sent = 0

    def burst(self, count: int) -> tuple[float, float]:
        """Send a burst."""
        packed = [self._pack(self._sent + number, 0.0) for number in range(count)]
        self._sent += count
        return self._send(packed)

    def replay(self, file: Path) -> tuple[float, float]:
        """Send a file's quotes, each with the file's own prices."""
        quotes = list(Replay(file, spec_for_file(file), speed=0))
        packed = []
        for number, quote in enumerate(quotes):
            tick = self._tick(number, 0.0) | {"symbol": quote.symbol, "bid": quote.bid}
            tick |= {"ask": quote.ask, "seq": number + 1}
            packed.append((f"tick.{quote.symbol}".encode(), msgpack.packb(tick)))
        return self._send(packed)

    def _send(self, packed: list[tuple[bytes, bytes]]) -> tuple[float, float]:
        send, more = self._socket.send, zmq.SNDMORE
        began_s = time.perf_counter()
        for topic, payload in packed:
            send(topic, more)
            send(payload)
        return began_s, time.perf_counter()

    def pace(self, rate: float, seconds: float) -> tuple[float, float]:
        """Send evenly; what is late is sent at once."""
        began_s = time.perf_counter()
        for number in range(int(rate * seconds)):
            due_s = began_s + number / rate
            if (left_s := due_s - time.perf_counter()) > 0:
                time.sleep(left_s)
            topic, payload = self._pack(self._sent, time.perf_counter())
            self._socket.send(topic, zmq.SNDMORE)
            self._socket.send(payload)
            self._sent += 1
        return began_s, time.perf_counter()

    def _pack(self, number: int, volume: float) -> tuple[bytes, bytes]:
        return self._topics[number % len(self._names)], msgpack.packb(self._tick(number, volume))

    def _tick(self, number: int, volume: float) -> dict[str, Any]:
        index = number % len(self._names)
        return {
            "symbol": self._names[index],
            "time": time.time_ns() // 1_000_000,
            "broker_time": int(time.time()),
            "bid": 1.10000 + number % 100 / 100_000,
            "ask": 1.10010 + number % 100 / 100_000,
            "last": 0.0,
            "volume": volume,
            "seq": number // len(self._names) + 1,
            "mode": "event",
        }


def main(port: int, symbols: int) -> None:
    """Obey until the input ends."""
    quotes = Quotes(port, symbols)
    print("ready", flush=True)
    for line in sys.stdin:
        verb, *numbers = line.split()
        if verb == "burst":
            began_s, ended_s = quotes.burst(int(numbers[0]))
        elif verb == "replay":
            began_s, ended_s = quotes.replay(Path(line.split(maxsplit=1)[1].strip()))
        else:
            began_s, ended_s = quotes.pace(float(numbers[0]), float(numbers[1]))
        print(began_s, ended_s, flush=True)


if __name__ == "__main__":
    main(int(sys.argv[1]), int(sys.argv[2]))
