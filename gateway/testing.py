"""A client for tests of your own programs: no NATS, no gateway, no terminal, no waiting.

async with FakeMt4Client(client="mybot") as mt4:
    mt4.quote("EURUSD", 1.1000, 1.1002)
    result = await my_strategy.enter(mt4)        # takes it for an Mt4Client
    mt4.next_trade_ends(Outcome.UNKNOWN)         # and now the bad day

Behind it are the gateway's own checks of parameters and the simulated broker: margin, stops, lots.
What it leaves out is what takes time or goes wrong on the way: queues, policy, deadlines, journal;
`next_trade_ends` is for what becomes of a trade then.
"""

from __future__ import annotations

import asyncio
import json
import time
from collections import deque
from collections.abc import AsyncGenerator, Callable
from typing import Self

from gateway import replies
from gateway.actions import ACTIONS, digest_of
from gateway.client import CommandResult, Mt4Client
from gateway.client.errors import NobodyListens, NotStored
from gateway.core.messages import (
    Cause,
    Command,
    CommandId,
    Conclusion,
    Dialect,
    Effect,
    Json,
    Outcome,
    Purpose,
    Request,
    Result,
    Source,
    Verdict,
)
from gateway.envelope import cause_body, result_body
from gateway.errors import InvalidCommand
from gateway.nats_connection import Connection
from gateway.sim.bars import BarStore
from gateway.sim.broker import Broker
from gateway.sim.desk import Desk
from gateway.sim.legacy import LegacyDialect
from gateway.sim.platform import Platform
from gateway.sim.truth import Truth
from gateway.subjects import Subjects
from gateway.terminal.dialects import decode

_OUTCOMES = {
    Verdict.DONE: Outcome.SUCCEEDED,
    Verdict.REJECTED: Outcome.REJECTED,
    Verdict.NOT_NOW: Outcome.REJECTED,
}


class FakeMt4Client(Mt4Client):
    """An `Mt4Client` whose gateway is this object.

    Args:
        client: The alias, as in `Mt4Client.connect`.
        terminal: The terminal's alias.
        deposit: The account's money, USD.

    Attributes:
        broker: The simulated account and market, to look into.
        asked: Every action that was asked for, with its parameters, in order.
    """

    def __init__(
        self, *, client: str = "me", terminal: str = "demo", deposit: float = 10_000.0
    ) -> None:
        super().__init__(Connection(), Subjects("mt4", terminal), client)
        self.broker = Broker(deposit=deposit, time_s=int(time.time()))
        self.asked: list[tuple[str, dict[str, Json]]] = []
        bars = BarStore(self.broker.specs.values())
        for spec in self.broker.specs.values():
            ask = spec.rounded(spec.opening_bid + spec.spread_points * spec.point)
            self.broker.set_quote(spec.name, spec.opening_bid, ask, self.broker.now_s)
            bars.add(spec.name, spec.opening_bid, self.broker.now_s)
        platform = Platform(self.broker, bars, lambda: int(time.time()), 0)
        self._program = LegacyDialect(platform, Desk(Truth()))
        self._endings: deque[Conclusion] = deque()
        self._results: dict[str, tuple[str, dict[str, Json]]] = {}
        self._followers: list[tuple[list[str], deque[tuple[str, dict[str, Json]]]]] = []
        self._seqs: dict[str, int] = {}
        self._halted: str | None = None
        self._gaps = 0
        self._news = asyncio.Event()

    async def __aenter__(self) -> Self:
        """Return itself."""
        return self

    async def close(self) -> None:
        """End whoever follows something."""
        self._closing = True
        self._news.set()

    # ---- what a test arranges -----------------------------------------------------------

    def quote(self, symbol: str, bid: float, ask: float) -> None:
        """Move a price, and tell those who follow it."""
        now_s = time.time()
        self.broker.set_quote(symbol, bid, ask, int(now_s))
        seq = self._seqs[symbol] = self._seqs.get(symbol, 0) + 1
        tick = {"symbol": symbol, "time": int(now_s * 1000), "broker_time": int(now_s)}
        tick |= {"bid": bid, "ask": ask, "last": 0.0, "volume": 0.0, "seq": seq, "mode": "event"}
        self._publish(self._subjects.tick(symbol), tick)

    def lose_tick(self, symbol: str) -> None:
        """Let a tick be missed: the next one shows a gap."""
        self._seqs[symbol] = self._seqs.get(symbol, 0) + 1

    def lose_connection(self) -> None:
        """Let NATS be away for a moment: what was told then would be lost."""
        self._gaps += 1
        self._news.set()

    def tell(self, kind: str, body: dict[str, Json]) -> None:
        """Publish an event."""
        self._publish(self._subjects.event(kind), body)

    def next_trade_ends(
        self,
        outcome: Outcome,
        *,
        code: int | None = None,
        name: str = "ARRANGED",
        message: str = "arranged by the test",
    ) -> None:
        """Let the next trade end so, unseen by the broker; the rest is its `error`."""
        cause = Cause(Source.GATEWAY, code, name, message)
        self._endings.append(Conclusion(outcome, cause=cause))

    # ---- what the client does -----------------------------------------------------------

    async def _ask(
        self,
        subject: str,
        payload: bytes,
        id_: str,
        timeout_s: float,
        *,
        nobody: type[NobodyListens | NotStored] = NobodyListens,
    ) -> dict[str, Json]:
        await asyncio.sleep(0)
        kind, *rest = subject.removeprefix(f"{self._subjects.base}.").split(".")
        params: dict[str, Json] = json.loads(payload) if payload else {}
        match kind:
            case "control":
                return self._control(rest[0], params)
            case "command":
                known = self._results.get(rest[1])
                state = "finished" if known else "not_known"
                return {"state": state, "result": known[1] if known else None}
        body = self._execute(Effect.QUERY if kind == "query" else Effect.TRADE, rest[-1], params)
        if kind != "job":
            return body
        self._tell_denial(body)
        return {"stream": "fake", "seq": len(self._results)}

    def _tell_denial(self, body: dict[str, Json]) -> None:
        """Tell a job's refusal to who waits for it; while halted it would wait, and then expire."""
        if body["outcome"] != Outcome.DENIED:
            return
        if body["error"]["name"] == "HALTED":
            body = body | {"outcome": str(Outcome.EXPIRED)}
            body["error"] = cause_body(Cause(Source.GATEWAY, 408, "EXPIRED", "trading was halted"))
        for told, denials in self._told.get(body["id"], ()):
            if denials and not told.done():
                told.set_result(CommandResult.read(body))

    def _control(self, verb: str, params: dict[str, Json]) -> dict[str, Json]:
        if verb == "halt":
            self._halted = str(params.get("reason") or "no reason was given")
        elif verb == "resume":
            self._halted = None
        return {"role": "active", "instance": "fake", "halted": self._halted or False}

    def _execute(self, effect: Effect, name: str, params: dict[str, Json]) -> dict[str, Json]:
        id_ = params.pop("id")
        params.pop("deadline", None)
        self.asked.append((name, params))
        key = CommandId(self.client if effect is Effect.TRADE else None, id_)
        try:
            action = ACTIONS[name]
            if action.effect is not effect:
                raise InvalidCommand([f"{name!r} is no {effect} action"])
            valid = action.validate(params)
        except (KeyError, InvalidCommand) as exc:
            return self._body(key, name, _denied(400, "INVALID", str(exc)))
        if effect is Effect.QUERY:
            return self._body(key, name, self._run(key, name, valid))
        digest = digest_of(name, valid)
        if id_ in self._results:
            known_digest, known = self._results[id_]
            conflict = _denied(409, "ID_CONFLICT", f"id {id_!r} was used for another trade")
            return known if digest == known_digest else self._body(key, name, conflict)
        if self._halted is not None:
            halted = _denied(423, "HALTED", f"trading is halted: {self._halted}")
            return self._body(key, name, halted)
        ending = self._endings.popleft() if self._endings else self._run(key, name, valid)
        body = self._body(key, name, ending)
        if ending.outcome is not Outcome.DENIED:
            self._results[id_] = digest, body
            for told, _ in self._told.get(id_, ()):
                told.set_result(CommandResult.read(body))
            self._publish(self._subjects.result(self.client, id_), body)
        return body

    def _run(self, key: CommandId, name: str, params: dict[str, Json]) -> Conclusion:
        """Have the simulated terminal do it, and read its reply as a gateway does."""
        effect, lane = ACTIONS[name].effect, ACTIONS[name].lane
        command = Command(key, self.client, name, effect, lane, params, "", 0.0, 0.0, 0.0)
        dialect = Dialect.METATRADER4_SERVER if effect is Effect.TRADE else None
        request = Request(Purpose.COMMAND, name, params, command=command, dialect=dialect)
        frame = self._program.encode(self._program.answer_request(name, params).body)
        reply = decode(frame, request)
        outcome = _OUTCOMES.get(reply.verdict, Outcome.UNKNOWN)
        conclusion = Conclusion(outcome, reply.response, reply.warning, reply.cause, attempts=1)
        return replies.finished(command, conclusion, offset_s=0)

    def _body(self, key: CommandId, name: str, conclusion: Conclusion) -> dict[str, Json]:
        now_s = time.time()
        terminal = self._subjects.terminal
        return result_body(Result(key, terminal, name, conclusion, now_s, now_s, 0.0, 0.0))

    # ---- streams ------------------------------------------------------------------------

    def _publish(self, subject: str, body: dict[str, Json]) -> None:
        for subjects, waiting in self._followers:
            if any(_fits(subject, pattern) for pattern in subjects):
                waiting.append((subject, body))
        self._news.set()

    async def _follow(
        self,
        subjects: list[str],
        most_waiting: int | None = None,
        on_gap: Callable[[], None] = lambda: None,
    ) -> AsyncGenerator[tuple[str, dict[str, Json]], None]:
        waiting: deque[tuple[str, dict[str, Json]]] = deque(maxlen=most_waiting)
        follower = subjects, waiting
        self._followers.append(follower)
        gaps = self._gaps
        try:
            while True:
                if gaps != (gaps := self._gaps):
                    on_gap()
                while waiting:
                    yield waiting.popleft()
                if self._closing:
                    return
                self._news.clear()
                await self._news.wait()
        finally:
            self._followers.remove(follower)


def _denied(code: int, name: str, message: str) -> Conclusion:
    return Conclusion(Outcome.DENIED, cause=Cause(Source.GATEWAY, code, name, message))


def _fits(subject: str, pattern: str) -> bool:
    tokens, wanted = subject.split("."), pattern.split(".")
    return len(tokens) == len(wanted) and all(
        want in ("*", token) for token, want in zip(tokens, wanted, strict=True)
    )
