"""Commands, events and expected steps, in the words of the decision table."""

from collections.abc import Callable, Mapping
from dataclasses import replace

from gateway.core.exchange import (
    Event,
    Exchange,
    Finish,
    Pause,
    ReadExchange,
    Replied,
    Rules,
    Send,
    Started,
    Step,
)
from gateway.core.ledger_trade import LedgerTrade
from gateway.core.messages import (
    Cause,
    Command,
    CommandId,
    Conclusion,
    Effect,
    Json,
    Lane,
    Outcome,
    Purpose,
    Reply,
    Request,
    Source,
    Verdict,
)
from gateway.core.search_trade import SearchTrade

# Powers of two, so that sums of times are exact.
RULES = Rules(send_margin_s=0.25, first_pause_s=0.0625, jitter=lambda: 1.0)
DEADLINE_S = 30.0
LAST_SEND_S = DEADLINE_S - RULES.send_margin_s
FIRST_PAUSE_S = RULES.first_pause_s
MOMENT_S = 2.0**-10
BUY: dict[str, Json] = {"symbol": "EURUSD", "order_type": 0, "lots": 0.1, "comment": ""}


def trade(
    action: str = "DO_ORDER_SEND",
    params: Mapping[str, Json] | None = None,
    *,
    id_: str = "1",
    client: str = "me",
    deadline_s: float = DEADLINE_S,
) -> Command:
    """Return a trade that was accepted at 0 s."""
    return Command(
        key=CommandId(client, id_),
        asker=client,
        action=action,
        effect=Effect.TRADE,
        lane=Lane.TRADE if action in ("DO_ORDER_SEND", "DO_ORDER_MODIFY") else Lane.REDUCE,
        params=BUY if params is None else params,
        digest="0" * 32,
        received_s=0.0,
        received_at_s=0.0,
        deadline_s=deadline_s,
    )


def query(
    action: str = "GET_ORDERS", *, deadline_s: float = DEADLINE_S, work_allowance_s: float = 0.0
) -> Command:
    """Return a read that was accepted at 0 s."""
    return replace(
        trade(action, {}, deadline_s=deadline_s),
        effect=Effect.QUERY,
        lane=Lane.READ,
        digest="",
        work_allowance_s=work_allowance_s,
    )


# ---- exchanges --------------------------------------------------------------------------


def read(rules: Rules = RULES) -> Exchange:
    """Return the first column's exchange, not started."""
    return ReadExchange(query(), rules)


def ledger_trade(rules: Rules = RULES) -> LedgerTrade:
    """Return the second column's exchange, not started."""
    return LedgerTrade(trade(), rules)


def search_trade(rules: Rules = RULES) -> SearchTrade:
    """Return the third column's exchange, not started."""
    return SearchTrade(trade(), rules)


COLUMNS: list[Callable[[], Exchange]] = [read, ledger_trade, search_trade]
TRADES: list[Callable[[], Exchange]] = [ledger_trade, search_trade]


def after(exchange: Exchange, *events: tuple[float, Event]) -> Step:
    """Start the exchange at 0 s, tell it what happened when, and return its last step."""
    step = exchange.advance(Started(), 0.0)
    for now_s, event in events:
        step = exchange.advance(event, now_s)
    return step


# ---- events -----------------------------------------------------------------------------


def replied(
    verdict: Verdict,
    *,
    code: int | None = None,
    response: Json = None,
    reason: str | None = None,
    purpose: Purpose = Purpose.COMMAND,
    replayed: bool = False,
    created: bool = False,
) -> Replied:
    """Return a reply of this verdict; `created`: there is an order, says its evidence."""
    cause = None if code is None else Cause(Source.BROKER, code, f"ERR_{code}", "no")
    evidence = {"created": True} if created else {}
    return Replied(
        Reply(
            verdict,
            response=response,
            cause=cause,
            reason=reason,
            evidence=evidence,
            replayed=replayed,
        ),
        purpose,
    )


def resolved(verdict: Verdict, *, response: Json = None, code: int | None = None) -> Replied:
    """Return an answer to `RESOLVE`."""
    return replied(verdict, response=response, code=code, purpose=Purpose.RESOLVE)


def orders(*found: Mapping[str, Json]) -> Replied:
    """Return an answer to one query of a search."""
    return replied(Verdict.DONE, response=list(found), purpose=Purpose.SEARCH)


PROBE_ANSWERED = replied(Verdict.DONE, response={}, purpose=Purpose.PROBE)

# ---- steps ------------------------------------------------------------------------------


def sends(exchange: Exchange, attempt: int = 1) -> Send:
    """Return the step that sends the command itself."""
    command = exchange.command
    request = _request(exchange, Purpose.COMMAND, command.action, command.params, attempt)
    return Send(request, RULES.reply_timeout_s + command.work_allowance_s)


def asks_what_happened(exchange: Exchange, attempt: int = 1) -> Send:
    """Return the step that sends `RESOLVE`."""
    request = _request(exchange, Purpose.RESOLVE, "RESOLVE", {}, attempt)
    return Send(request, RULES.reply_timeout_s)


def probes(exchange: Exchange) -> Send:
    """Return the step that wants one answer over a new link."""
    request = _request(exchange, Purpose.PROBE, "GET_ACCOUNT_INFO", {}, 1)
    return Send(request, RULES.reply_timeout_s)


def looks_at(exchange: Exchange, action: str, **params: Json) -> Send:
    """Return the step that makes one query of a search."""
    request = _request(exchange, Purpose.SEARCH, action, params, 1)
    return Send(request, RULES.reply_timeout_s)


def _request(
    exchange: Exchange, purpose: Purpose, action: str, params: Mapping[str, Json], attempt: int
) -> Request:
    return Request(purpose, action, params, attempt, exchange.command, exchange.dialect)


def pauses(seconds: float = FIRST_PAUSE_S, *, in_doubt: bool = False) -> Pause:
    """Return a pause, by default the first one before a retry."""
    return Pause(seconds, in_doubt)


def ending(step: Step) -> Conclusion:
    """Return how the exchange ended."""
    assert isinstance(step, Finish), step
    return step.conclusion


def outcome(step: Step) -> Outcome:
    """Return the outcome with which the exchange ended."""
    return ending(step).outcome
