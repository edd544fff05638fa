"""The same random days at both terminals: every reply is the same.

`MT4GW_CONFORMANCE_STEPS` and `MT4GW_CONFORMANCE_SEED` lengthen and change the days.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from itertools import zip_longest
from typing import Any

import pytest

from tests.conformance.broker import Mishap
from tests.conformance.peers import Peer, PeerName
from tests.conformance.sequences import Day, Step
from tests.mql4host.client import Body, BridgeClient, NoReplyError

STEPS = int(os.environ.get("MT4GW_CONFORMANCE_STEPS", "300"))
SEED = int(os.environ.get("MT4GW_CONFORMANCE_SEED", "1"))
DAYS = 3
POLL_MS = 20

OWN = ("session", "clock_ms")
"""What differs between any two terminals, at top level and in HELLO's response."""
ABOUT_ITSELF = (
    *OWN,
    "ledger",
    "program",
    "version",
    "tick_endpoint",
    "broker_offset_s",
    "utc_time",
)


class Runner:
    """Take one terminal through a day."""

    def __init__(self, peer: Peer) -> None:
        self.peer = peer
        self.client = BridgeClient(peer.endpoint)
        self.client.claim()

    def close(self) -> None:
        """Let go of the client."""
        self.client.close()

    def run(self, step: Step) -> str:
        """Do one step and return what is to be the same, as text."""
        peer, broker = self.peer, self.peer.broker
        match step.kind:
            case "ask":
                return self._ask(self._frame(step))
            case "read":
                return self._ask({**step.request, "id": "test/read"})
            case "quote":
                peer.quote(step.name, *step.numbers)
            case "arrange":
                broker.arrange(step.name, Mishap(step.request["mishap"]), int(step.numbers[0]))
            case "switch":
                owner = broker if step.name == "is_open" else peer.platform
                setattr(owner, step.name, bool(step.numbers[0]))
            case "clock":
                peer.shift_clock(int(step.numbers[0]))
            case "arrive":
                broker.arrive()
            case "kill":
                peer.kill()
                self._come_back()
            case _:
                raise ValueError(step.kind)
        return ""

    def _frame(self, step: Step) -> Body:
        action, parameters = step.request["action"], dict(step.request)
        return self.client.frame(action, step.name, **(parameters | step.keys))

    def _ask(self, request: Body) -> str:
        sent = self.client.send_raw(json.dumps(request).encode())
        died = False
        while True:
            try:
                correlation, body = self.client.receive_raw(POLL_MS)
            except NoReplyError:
                assert [] == self.peer.findings, request
                if not self.peer.is_dead:
                    continue
                died = True
                break
            if correlation == sent:
                break
        if died:
            self.peer.wait_until_dead()
            self._come_back()
            return "died"
        return normalised(json.loads(body))

    def _come_back(self) -> None:
        self.client.close()
        self.peer.start()
        self.client = BridgeClient(self.peer.endpoint)
        self.client.claim()


def normalised(reply: Body) -> str:
    """Write a reply without what two terminals may say differently."""
    body = {key: value for key, value in reply.items() if key not in OWN}
    if body.get("state") == "fenced" and body["error_message"]:
        body["error_message"] = "(some text)"
    response = body.get("response")
    if isinstance(response, dict):
        body["response"] = {k: v for k, v in response.items() if k not in ABOUT_ITSELF}
    # Objects have no order, but clients print them: that of `response` is the existing server's.
    return json.dumps(dict(sorted(body.items())))


def truth(peer: Peer) -> list[tuple[Any, ...]]:
    """Return every order of the account, as the broker has it."""
    broker = peer.broker
    return [
        (order.ticket, order.symbol, order.order_type, order.lots, order.stop_loss, order.comment)
        for order in (*broker.orders.values(), *broker.history)
    ]


@pytest.fixture(params=[PeerName.MQL4, PeerName.PIPE])
def both(
    request: pytest.FixtureRequest, make_peer: Callable[[PeerName], Peer]
) -> Iterator[tuple[Runner, Runner]]:
    """Run a simulator and an MQL4 program side by side."""
    with ExitStack() as stack:
        runners = []
        for name in (PeerName.SIM, request.param):
            runners.append(Runner(stack.enter_context(make_peer(name))))
            stack.callback(runners[-1].close)
        yield runners[0], runners[1]


@pytest.mark.timeout(60 + STEPS // 5)
@pytest.mark.parametrize("seed", range(SEED, SEED + DAYS))
def test_every_reply_is_the_same(both: tuple[Runner, Runner], seed: int) -> None:
    """A difference is a failure: one of the two does not keep to docs/protocol.md."""
    sim, mql4 = both
    day = Day(seed)
    log: list[str] = []
    for number, step in enumerate(day.steps(STEPS // DAYS)):
        answers = sim.run(step), mql4.run(step)
        log.append(f"{number} {step.kind} {step.name} {step.request} {step.keys} {step.numbers}")
        assert answers[0] == answers[1], difference(log, *answers)
        day.tickets = [*sim.peer.broker.orders, *(o.ticket for o in sim.peer.broker.history[1:])]

    assert truth(sim.peer) == truth(mql4.peer)
    assert [] == mql4.peer.findings


def difference(log: list[str], sim: str, mql4: str) -> str:
    """Show the last steps and the two replies."""
    keys = [
        f"  {key}: sim {ours!r}, mql4 {theirs!r}"
        for key, ours, theirs in _members(sim, mql4)
        if ours != theirs
    ]
    return "\n".join([*log[-6:], f"sim  {sim}", f"mql4 {mql4}", *keys])


def _members(sim: str, mql4: str) -> Iterator[tuple[str, Any, Any]]:
    if "died" in (sim, mql4):
        return
    ours, theirs = json.loads(sim), json.loads(mql4)
    for key in dict.fromkeys((*ours, *theirs)):
        yield key, ours.get(key, "(none)"), theirs.get(key, "(none)")
    for left, right in zip_longest(ours, theirs):
        yield "order of keys", left, right
