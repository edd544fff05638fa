"""Ways to be wrong: each leaves out one protection of the gateway. The checker must see all."""

from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import pytest

from gateway.commands import Commands
from gateway.core.channel import Channel, Received
from gateway.core.evidence import search_for
from gateway.core.exchange import Event, Exchange, Finish, Lost, Replied, Step, TradeExchange
from gateway.core.ledger_trade import LedgerTrade
from gateway.core.messages import Command, Conclusion, Outcome, Result, Verdict
from gateway.core.search_trade import SearchTrade
from tests.support.memory_journal import MemoryJournal

Patch = pytest.MonkeyPatch


def _ends(outcome: Outcome) -> Callable[..., Step]:
    def step(exchange: Exchange, *_: Any) -> Step:
        return Finish(Conclusion(outcome, attempts=exchange.attempts))

    return step


def timeout_is_rejected(patch: Patch) -> None:
    """No reply, so it cannot have happened."""
    patch.setattr(LedgerTrade, "_timed_out", _ends(Outcome.REJECTED))
    patch.setattr(SearchTrade, "_timed_out", _ends(Outcome.REJECTED))


def timeout_sends_again(patch: Patch) -> None:
    """The existing server's README recommends it."""

    def timed_out(exchange: SearchTrade, now_s: float) -> Step:
        return exchange._send(now_s)

    patch.setattr(SearchTrade, "_timed_out", timed_out)


def timeout_sends_again_to_a_ledger(patch: Patch) -> None:
    """The same with a ledger: it would refuse the second frame, which is no reason to send it."""

    def timed_out(exchange: LedgerTrade, now_s: float) -> Step:
        return exchange._send(now_s)

    patch.setattr(LedgerTrade, "_timed_out", timed_out)


def lost_link_sends_again(patch: Patch) -> None:
    """The connection is gone, so the frame is as well."""
    _replace_event(patch, Lost, lambda exchange, _, now_s: exchange._send(now_s))


def lost_link_is_not_exposed(patch: Patch) -> None:
    """As above, and when the deadline has passed, expired."""
    patch.setattr(LedgerTrade, "_resolve", lambda exchange, now_s: exchange._send(now_s))


def not_found_is_expired(patch: Patch) -> None:
    """It is not among the orders, so it will not be."""
    patch.setattr(SearchTrade, "_not_found", _ends(Outcome.EXPIRED))


def not_found_sends_again(patch: Patch) -> None:
    """It is not among the orders, so it may be sent."""

    def not_found(exchange: SearchTrade) -> Step:
        exchange._search = search_for(exchange.command)
        return exchange._send(0.0)

    patch.setattr(SearchTrade, "_not_found", not_found)


def not_seen_too_late_is_expired(patch: Patch) -> None:
    """Nothing started so far, so nothing will."""
    real = LedgerTrade._not_seen

    def not_seen(exchange: LedgerTrade, now_s: float) -> Step:
        in_time = now_s < exchange._last_send_s()
        return real(exchange, now_s) if in_time else _ends(Outcome.EXPIRED)(exchange)

    patch.setattr(LedgerTrade, "_not_seen", not_seen)


def doubt_is_rejected(patch: Patch) -> None:
    """The reply says error, so it has failed."""
    _replace_verdict(patch, Verdict.IN_DOUBT, Outcome.REJECTED)


def garbage_is_rejected(patch: Patch) -> None:
    """The reply cannot be read, so it has failed."""
    _replace_verdict(patch, Verdict.MALFORMED, Outcome.REJECTED)


def fence_after_exposure_is_rejected(patch: Patch) -> None:
    """This frame did nothing, so none did."""
    patch.setattr(LedgerTrade, "_fenced", _ends(Outcome.REJECTED))


def first_come_first_credited(patch: Patch) -> None:
    """Replies are given to the oldest frame, as a plain REQ with REQ_RELAXED does."""

    def receive(channel: Channel, _: bytes, now_s: float) -> Received | None:
        if not channel._unanswered:
            return None
        sent = channel._unanswered.popitem(last=False)[1]
        return Received(sent.request, now_s - sent.at_s, late=False)

    patch.setattr(Channel, "receive", receive)


def anything_may_go_behind(patch: Patch) -> None:
    """A busy line is no reason to wait."""
    patch.setattr(Channel, "may_send", lambda *_: True)


def trades_go_on_in_doubt(patch: Patch) -> None:
    """One trade in doubt is no reason to hold the others."""
    real = Commands._park

    def park(commands: Commands, *arguments: Any) -> None:
        real(commands, *arguments)
        commands._lanes.trades_held = False

    patch.setattr(Commands, "_park", park)


def deadline_is_not_looked_at(patch: Patch) -> None:
    """What was accepted is sent, however long it waited."""
    patch.setattr(TradeExchange, "_last_send_s", lambda _: float("inf"))
    patch.setattr("gateway.terminal.line.time", SimpleNamespace(monotonic=lambda: -1e6))


def finished_ids_are_forgotten(patch: Patch) -> None:
    """A command that is finished needs no memory."""
    patch.setattr(MemoryJournal, "knows", lambda *_: False)


def late_replies_finish_again(patch: Patch) -> None:
    """A result may be replaced by any other."""
    real = MemoryJournal.finished

    async def finished(journal: MemoryJournal, command: Command, result: Result) -> None:
        await real(journal, command, result)
        journal.unknown[command.key] = result

    patch.setattr(MemoryJournal, "finished", finished)


def _replace_event(
    patch: Patch, kind: type[Event], instead: Callable[[SearchTrade, Event, float], Step]
) -> None:
    real = SearchTrade.advance

    def advance(exchange: SearchTrade, event: Event, now_s: float) -> Step:
        if isinstance(event, kind):
            return instead(exchange, event, now_s)
        return real(exchange, event, now_s)

    patch.setattr(SearchTrade, "advance", advance)


def _replace_verdict(patch: Patch, verdict: Verdict, outcome: Outcome) -> None:
    def replaced(real: Callable[[Any, Event, float], Step]) -> Callable[[Any, Event, float], Step]:
        def advance(exchange: Any, event: Event, now_s: float) -> Step:
            if isinstance(event, Replied) and event.reply.verdict is verdict:
                return _ends(outcome)(exchange)
            return real(exchange, event, now_s)

        return advance

    patch.setattr(LedgerTrade, "advance", replaced(LedgerTrade.advance))
    patch.setattr(SearchTrade, "advance", replaced(SearchTrade.advance))
