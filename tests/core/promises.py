"""The contract's promises (design: "Promises, to be tested as invariants"), as one watcher.

It sees every frame that leaves, every reply that arrives, every order that opens and every
result that is told, and notes each promise that one of them breaks.
"""

import json
from collections.abc import Iterator
from dataclasses import dataclass, field

from gateway.core.evidence import token_of
from gateway.core.messages import CommandId, Effect, Outcome, Result
from tests.core.model_terminal import Body, Broker, Connection, LedgerTerminal, PlainServer
from tests.core.virtual_loop import Clock

MAY_GO_BEHIND = frozenset({"RESOLVE", "HELLO", "PING", "GET_ACCOUNT_INFO"})
PROVES_ALL_FRAMES = (b"done", b"rejected", b"sealed", b"not_now")
NO_ORDER = frozenset({Outcome.REJECTED, Outcome.DENIED, Outcome.EXPIRED})


class Violation(AssertionError):  # noqa: N818 - says what has happened
    """A promise was broken."""


@dataclass
class Submission:
    """One message of a client, and what it was answered.

    Attributes:
        gateway: The number of the gateway that it went to.
        is_conflict: Its id was used before, with other parameters.
    """

    key: CommandId
    effect: Effect
    gateway: int
    is_first: bool = False
    is_conflict: bool = False
    answers: list[Result] = field(default_factory=list)


@dataclass
class Frame:
    """One frame that has left.

    Attributes:
        is_answered: It has a reply, or another proof that it cannot run any more.
        is_consumed: The terminal is done with it, or it was lost on its way.
    """

    body: Body
    key: CommandId | None
    sender: int
    connection: Connection
    is_answered: bool = False
    is_consumed: bool = False

    @property
    def is_trade(self) -> bool:
        """Tell whether it could open an order."""
        return bool(self.body["action"].startswith("DO_"))


class Promises:
    """Watches one world.

    Attributes:
        broken: What was found, in words; the first counts.
        troubled: Something has gone wrong that could excuse an `unknown`.
        results: What reached the bus, per trade.
    """

    def __init__(self, clock: Clock, give_up_s: float) -> None:
        self.broken: list[str] = []
        self.troubled = False
        self.submissions: list[Submission] = []
        self.results: dict[CommandId, list[Result]] = {}
        self.deadlines_s: dict[CommandId, float] = {}
        self.broker = Broker(hears=self._order_opened)
        self.terminal: LedgerTerminal | PlainServer | None = None
        self._clock = clock
        self._give_up_s = give_up_s
        self._keys: dict[str, CommandId] = {}
        self._frames: dict[bytes, Frame] = {}
        self._first_sent_s: dict[CommandId, float] = {}

    def accepted(self, key: CommandId, deadline_s: float) -> None:
        """Know a command by all its names."""
        self._keys |= dict.fromkeys((str(key), token_of(key), key.id), key)
        self.deadlines_s[key] = deadline_s

    # ---- frames -------------------------------------------------------------------------

    def frame_leaves(self, sender: int, conn: Connection, correlation: bytes, raw: bytes) -> None:
        """At most one frame is unanswered; behind it only questions; nothing after a deadline."""
        body: Body = json.loads(raw)
        mark = body.get("id") or str(body.get("comment", ""))[:14] or body.get("symbol")
        frame = Frame(body, self._keys.get(str(mark)), sender, conn)
        waiting = [
            sent.body["action"]
            for sent in self._frames.values()
            if sent.connection is conn and not sent.is_consumed
        ]
        if waiting and body["action"] not in MAY_GO_BEHIND:
            self.broken.append(f"{body['action']} was sent behind {waiting}")
        if frame.key is not None and body["action"] != "RESOLVE":
            self._check_deadline(frame.key)
        if frame.is_trade:
            self._check_fates(frame)
        self._frames[correlation] = frame

    def _check_deadline(self, key: CommandId) -> None:
        if self._clock.now_s >= self.deadlines_s[key]:
            self.broken.append(f"{key} was sent at or after its deadline")

    def _check_fates(self, frame: Frame) -> None:
        assert frame.key is not None
        self._first_sent_s.setdefault(frame.key, self._clock.now_s)
        unknown = {
            str(sent.key)
            for sent in self._frames.values()
            if sent.is_trade and not sent.is_answered and sent.sender <= frame.sender
            if sent.key != frame.key and sent.key not in self.results
        }
        if unknown:
            self.broken.append(f"{frame.key} was sent while {unknown} is of unknown fate")

    def reply_arrives(self, correlation: bytes, raw: bytes) -> None:
        """Note whose fate is known now."""
        sent = self._frames[correlation]
        sent.is_answered = True
        if any(b'"state": "%s"' % state in raw for state in PROVES_ALL_FRAMES):
            for other in self._frames.values():
                other.is_answered |= other.key == sent.key
        for earlier in self._frames.values():
            earlier.is_consumed |= earlier.connection is sent.connection
            if earlier is sent:  # on one connection the terminal works in order
                return

    # ---- what happens at the terminal ---------------------------------------------------

    def trade_began(self, body: Body) -> None:
        """With a ledger: nothing starts after its deadline, or for a deposed gateway."""
        if not isinstance(self.terminal, LedgerTerminal):
            return
        key = self._keys[body["id"]]
        if self._clock.now_s > self.deadlines_s[key]:
            self.broken.append(f"{key} started after its deadline")
        if body["epoch"] != self.terminal.epoch:
            self.broken.append(f"{key} of a deposed gateway started")

    def _order_opened(self, token: str) -> None:
        """At most one order opens, and none for what was said not to run."""
        key = self._keys[token]
        if len(self.broker.tickets[token]) > 1:
            self.broken.append(f"two orders for {key}")
        self._check_truth(key)

    # ---- what is told -------------------------------------------------------------------

    def published(self, result: Result) -> None:
        """One final result, replaced at most once: unknown by what was proved."""
        key = result.key
        known = self.results.setdefault(key, [])
        was_unknown = bool(known) and known[-1].outcome is Outcome.UNKNOWN
        if known and not (was_unknown and result.outcome is not Outcome.UNKNOWN):
            self.broken.append(f"{key}: {result.outcome} after {known[-1].outcome}")
            return
        known.append(result)
        if result.outcome is Outcome.UNKNOWN:
            self._check_cause_of_unknown(key)
        self._check_truth(key)

    def answered(self, submission: Submission, result: Result) -> None:
        """Each message has one answer: its own, and the one that was published."""
        submission.answers.append(result)
        key = submission.key
        if len(submission.answers) > 1:
            self.broken.append(f"{key} was answered twice")
        if result.key != key:
            self.broken.append(f"{key} was answered with the result of {result.key}")
        elif submission.is_conflict:
            if result.outcome is not Outcome.DENIED:
                self.broken.append(f"{key} with other parameters: {result.outcome}")
        elif submission.effect is Effect.QUERY:
            self._check_read(result)
        else:
            self._check_trade(result)

    def _check_read(self, result: Result) -> None:
        response = result.conclusion.response
        is_ours = isinstance(response, dict) and response.get("symbol") == result.key.id
        if result.outcome is Outcome.SUCCEEDED and not is_ours:
            self.broken.append(f"{result.key} was answered with another's reply: {response}")
        if result.outcome is Outcome.UNKNOWN:
            self.broken.append(f"{result.key} is a read and unknown")

    def _check_trade(self, result: Result) -> None:
        if result.outcome is Outcome.DENIED:
            if self.broker.tickets.get(token_of(result.key)):
                self.broken.append(f"{result.key} is denied, but an order exists")
        elif result not in self.results.get(result.key, []):
            self.broken.append(f"{result.key} was answered with what was not published")

    def _check_truth(self, key: CommandId) -> None:
        tickets = self.broker.tickets.get(token_of(key), [])
        for result in self.results.get(key, []):
            if result.outcome is Outcome.SUCCEEDED:
                response = result.conclusion.response
                if not isinstance(response, dict) or response.get("ticket") not in tickets:
                    self.broken.append(f"{key} succeeded with {response}; its orders: {tickets}")
            elif result.outcome in NO_ORDER and tickets:
                self.broken.append(f"{key} is {result.outcome}, but an order exists")

    def _check_cause_of_unknown(self, key: CommandId) -> None:
        if isinstance(self.terminal, PlainServer):
            if not self.troubled and not self.terminal.has_dropped:
                self.broken.append(f"{key} is unknown, and nothing went wrong")
        elif self.terminal is not None and str(key) not in self.terminal.doubted:
            waited_s = self._clock.now_s - self._first_sent_s.get(key, self._clock.now_s)
            if waited_s < self._give_up_s:
                self.broken.append(f"{key} is unknown without a cause")

    def actions_sent(self) -> list[str]:
        """List the actions of all frames, in order."""
        return [frame.body["action"] for frame in self._frames.values()]

    def unanswered(self) -> Iterator[Submission]:
        """List the messages without an answer."""
        return (one for one in self.submissions if not one.answers)
