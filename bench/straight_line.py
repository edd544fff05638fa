"""The floor: the same work in a straight line, by one Python process and nothing around it.

python -m bench.straight_line echo NATS_PORT          answers requests, by nats-py on uvloop
python -m bench.straight_line ticks NATS_PORT PORT    forwards ticks, by two blocking sockets
"""

from __future__ import annotations

import asyncio
import sys

import nats
import zmq
from nats.aio.msg import Msg

from bench.nats_socket import NatsSocket
from gateway.app import loop_factory

ECHO = "floor.echo"
TICKS = "floor.tick"
BATCH = 256


def echo(nats_port: int) -> None:
    """Answer each request with its own body, until killed."""

    async def serve() -> None:
        client = await nats.connect(f"nats://127.0.0.1:{nats_port}")

        async def answer(msg: Msg) -> None:
            await client.publish(msg.reply, msg.data)

        await client.subscribe(ECHO, cb=answer)
        await asyncio.sleep(0)
        await client.flush()
        print("ready", flush=True)
        await asyncio.Event().wait()

    with asyncio.Runner(loop_factory=loop_factory()) as runner:
        runner.run(serve())


def ticks(nats_port: int, tick_port: int) -> None:
    """Forward each tick to a subject of its symbol, until killed."""
    publisher = NatsSocket(nats_port)
    socket = zmq.Context().socket(zmq.SUB)
    socket.setsockopt(zmq.RCVHWM, 0)
    socket.setsockopt(zmq.SUBSCRIBE, b"")
    socket.connect(f"tcp://127.0.0.1:{tick_port}")
    subjects: dict[bytes, bytes] = {}
    print("ready", flush=True)
    receive, batch = socket.recv, list[bytes]()
    topic = receive()
    while True:
        payload = receive()
        subject = subjects.get(topic)
        if subject is None:
            subject = subjects[topic] = b"PUB %s.%s " % (TICKS.encode(), topic[5:])
        batch.append(b"%b%d\r\n%b\r\n" % (subject, len(payload), payload))
        try:
            topic = (
                receive(zmq.NOBLOCK) if len(batch) < BATCH else _flushed(publisher, batch, socket)
            )
        except zmq.Again:
            topic = _flushed(publisher, batch, socket)


def _flushed(publisher: NatsSocket, batch: list[bytes], socket: zmq.Socket[bytes]) -> bytes:
    """Send what was gathered and wait for the next topic."""
    publisher.send(b"".join(batch))
    batch.clear()
    return socket.recv()


if __name__ == "__main__":
    if sys.argv[1] == "echo":
        echo(int(sys.argv[2]))
    else:
        ticks(int(sys.argv[2]), int(sys.argv[3]))
