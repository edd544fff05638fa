"""One client as a process of its own: it asks, repeats, and notes what it is told.

`python -m tests.chaos.clients --help`. Its log is its memory: killed and started again, it asks
what became of the commands that it has no result for.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import random
import signal
import time
from contextlib import suppress
from pathlib import Path
from typing import Any

from nats.errors import Error as NatsError
from nats.js.errors import APIError, NoStreamResponseError

from gateway.app import loop_factory, on_signal
from gateway.client import CommandResult, Mt4Client, NoAnswer, NotConnected
from gateway.envelope import Encoding, decode_published, encode, encoding_of, format_time
from gateway.subjects import Subjects
from tests.chaos.history import Asked, Body, History, read_client_log
from tests.chaos.wishes import Wishes

MOST_AT_WORK = 200
SETTLE_S = 20.0
ASK_S = 1.0
ASK_TIMES = 12


class Log:
    """What the client has done and heard, a line each, written through at once."""

    def __init__(self, path: Path) -> None:
        self.history = History()
        read_client_log(path, self.history)
        self._file = path.open("a", encoding="utf-8")
        self._file.write("\n")  # after a line that a kill has cut short
        self.number = len(self.history.asked)
        self.told: set[str] = {told.key for told in self.history.told if told.result}

    def add(self, fact: str, **details: Any) -> None:
        """Write one line."""
        line = {"fact": fact, "at_ns": time.time_ns(), **details}
        if fact == "unsent":
            del line["at_ns"]
        self._file.write(json.dumps(line) + "\n")
        self._file.flush()


class ChaosClient:
    """Trades by every way that there is."""

    def __init__(self, args: argparse.Namespace) -> None:
        self._args = args
        self._log = Log(args.log)
        # Another life has other wishes; the number of the first is its seed.
        self._chance = random.Random(f"{args.seed}/{args.name}/{self._log.number}")
        self._wishes = Wishes(args.name, self._chance, self._log.history.asked)
        self._stopping = asyncio.Event()
        self._names = Subjects("mt4", args.terminal)
        ways = {"trade": 4, "raw": 3, "blind": 1, "job": 4}
        self._ways, self._weights = list(ways), list(ways.values())

    async def run(self) -> None:
        """Trade until SIGTERM, then wait for what is under way."""
        on_signal(self._stopping.set)
        self._client = await self._connect()
        listening = asyncio.create_task(self._listen())
        asking = asyncio.create_task(self._ask_about_earlier())
        at_work: set[asyncio.Task[None]] = set()
        while not self._stopping.is_set():
            if len(at_work) < MOST_AT_WORK:
                task = asyncio.create_task(self._wish())
                at_work.add(task)
                task.add_done_callback(at_work.discard)
            with suppress(TimeoutError):
                pause_s = self._chance.expovariate(self._args.rate)
                await asyncio.wait_for(self._stopping.wait(), pause_s)
        if at_work:
            await asyncio.wait(at_work, timeout=SETTLE_S)
        for task in (listening, asking, *at_work):
            task.cancel()
        await asyncio.gather(listening, asking, *at_work, return_exceptions=True)
        await self._client.close()

    async def _connect(self) -> Mt4Client:
        while True:
            try:
                return await Mt4Client.connect(
                    self._args.nats,
                    terminal=self._args.terminal,
                    client=self._args.name,
                    connect_timeout_s=2.0,
                )
            except NotConnected:
                await asyncio.sleep(0.2)

    # ---- asking ---------------------------------------------------------------------------

    async def _wish(self) -> None:
        via = self._chance.choices(self._ways, self._weights)[0]
        self._log.number += 1
        ask = self._wishes.next(self._log.number, via)
        self._log.add("asked", **_fields(ask))
        send = {
            "trade": self._trade,
            "raw": self._request,
            "blind": self._publish,
            "job": self._store,
        }[ask.via]
        try:
            await send(ask)
        except NotConnected:
            self._log.add("unsent", key=ask.key, number=ask.number)
        except (NoAnswer, NatsError, TimeoutError, OSError):
            await self._find_out(ask.key)

    async def _trade(self, ask: Asked) -> None:
        """Let the client library do it all."""
        result = await self._client.trade(
            ask.action,
            ask.params,
            timeout_s=max(0.05, ask.deadline_ns / 1e9 - time.time()),
            id_=ask.key.partition("/")[2],
        )
        self._hear(ask.key, ask.number, "reply", result)

    async def _request(self, ask: Asked) -> None:
        """Request with nats-py alone, in either encoding."""
        subject = self._names.trade(self._args.name, ask.action)
        encoding = self._chance.choice(list(Encoding))
        timeout_s = max(0.05, ask.deadline_ns / 1e9 - time.time()) + 1.0
        reply = await self._client.connection.request(
            subject, encode(_body(ask), encoding), timeout=timeout_s
        )
        self._tell(ask.key, ask.number, "reply", decode_published(reply.data, encoding))

    async def _publish(self, ask: Asked) -> None:
        """Publish without a reply subject; the result comes on its own."""
        subject = self._names.trade(self._args.name, ask.action)
        await self._client.connection.publish(subject, encode(_body(ask), Encoding.JSON))

    async def _store(self, ask: Asked) -> None:
        """Hand a job to JetStream; repeat until it is acknowledged or too late."""
        stream = self._client.connection.jetstream()
        subject = f"{self._names.base}.job.{self._args.name}.{ask.action}"
        id_ = ask.key.partition("/")[2]
        # Without the header the stream takes the same job twice, which is the gateway's to notice.
        headers = {"Nats-Msg-Id": f"{self._args.name}.{id_}"} if ask.body == "first" else None
        body = encode(_body(ask), Encoding.JSON)
        while True:
            try:
                await stream.publish(subject, body, timeout=2.0, headers=headers)
            except (NatsError, NoStreamResponseError, TimeoutError, OSError) as exc:
                if isinstance(exc, APIError) or time.time_ns() > ask.deadline_ns:
                    raise
                await asyncio.sleep(0.2)
                continue
            self._log.add("stored", key=ask.key, number=ask.number)
            return

    # ---- hearing --------------------------------------------------------------------------

    def _hear(self, key: str, number: int | None, via: str, result: CommandResult) -> None:
        self._tell(key, number, via, dict(result.body))

    def _tell(self, key: str, number: int | None, via: str, result: Body) -> None:
        self._log.told.add(key)
        self._log.add("told", key=key, number=number, via=via, state="finished", result=result)
        self._wishes.learn(result)

    async def _listen(self) -> None:
        """Note what is published for this client."""

        async def note(msg: Any) -> None:
            result = decode_published(msg.data, encoding_of(msg.data, None))
            self._tell(f"{result['client']}/{result['id']}", None, "result", result)

        subject = self._names.result(self._args.name, "*")
        await self._client.connection.subscribe(subject, cb=note)
        await asyncio.Event().wait()

    async def _find_out(self, key: str) -> None:
        """Ask what became of a command, for a while."""
        for _ in range(ASK_TIMES):
            with suppress(NoAnswer, NotConnected, NatsError, TimeoutError, OSError):
                known = await self._client.outcome_of(key.partition("/")[2])
                if isinstance(known, CommandResult):
                    self._hear(key, None, "command", known)
                    return
                self._log.add("told", key=key, number=None, via="command", state=known)
            await asyncio.sleep(ASK_S)

    async def _ask_about_earlier(self) -> None:
        """Ask about everything that an earlier life of this client has left open."""
        for key in {ask.key for ask in self._log.history.asked} - self._log.told:
            await self._find_out(key)


def _fields(ask: Asked) -> Body:
    names = ("key", "number", "via", "body", "action", "params", "deadline_ns")
    return {name: getattr(ask, name) for name in names}


def _body(ask: Asked) -> Body:
    id_, deadline = ask.key.partition("/")[2], format_time(ask.deadline_ns / 1e9)
    return {**ask.params, "id": id_, "deadline": deadline}


def main() -> None:
    """Run one client."""
    parser = argparse.ArgumentParser(prog="python -m tests.chaos.clients", description=__doc__)
    parser.add_argument("--name", required=True)
    parser.add_argument("--nats", required=True, metavar="URL")
    parser.add_argument("--terminal", required=True)
    parser.add_argument("--log", required=True, type=Path)
    parser.add_argument("--seed", required=True)
    parser.add_argument("--rate", required=True, type=float, help="commands per second")
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    with asyncio.Runner(loop_factory=loop_factory()) as runner:
        runner.run(ChaosClient(parser.parse_args()).run())


if __name__ == "__main__":
    main()
