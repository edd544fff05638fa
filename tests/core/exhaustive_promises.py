"""The promises about one trade, checked after each move of the exhaustive search.

| | |
|---|---|
| I1 | at most one order opens |
| I2 | nothing is sent after the deadline; with a ledger nothing starts after it |
| I3 | what is told is true, now and later |
| I4 | one final result (unknown may be replaced by a proof); no job is gone before it is stored |
| I5 | unknown only after something that leaves it open; slowness is no such thing |
| I6 | no command behind an unanswered one, and none because of a timeout |
| I8 | with a ledger: nothing of a deposed gateway starts |
"""

from collections.abc import Iterator

from tests.core.exhaustive_model import PAST_DEADLINE, State


def broken(before: State, after: State, label: str, *, has_ledger: bool) -> str | None:
    """Name the first promise that the last move has broken."""
    return next(_broken(before, after, label, has_ledger), None)


def _broken(before: State, after: State, label: str, has_ledger: bool) -> Iterator[str]:
    if after.orders > 1:
        yield "I1 two orders for one id"
    yield from _sent_wrongly(after, label)
    if has_ledger and after.orders > before.orders and not before.latent:
        yield from _started_wrongly(before)
    if after.result or after.told:
        yield from _lies(before, after)
    if after.acked and not after.result:
        yield "I4 the job is gone, and no result is stored"


def _sent_wrongly(after: State, label: str) -> Iterator[str]:
    if after.time >= PAST_DEADLINE and "command" in label and "leaves" in label:
        yield "I2 it was sent after its deadline"
    if "BEHIND A COMMAND" in label:
        yield "I6 a command was sent behind another"
    if "TimedOut -> Send command" in label:
        yield "I6 a command was sent because of a timeout"


def _started_wrongly(before: State) -> Iterator[str]:
    running = before.place.running
    if before.time >= PAST_DEADLINE:
        yield "I2 it started after its deadline"
    if running and running.epoch != before.place.epoch:
        yield "I8 a frame of a deposed gateway started"


def _lies(before: State, after: State) -> Iterator[str]:
    for told in {after.result, after.told}:
        if told == "succeeded" and not after.orders:
            yield "I3 succeeded, but there is no order"
        if told in ("rejected", "expired") and (after.orders or after.latent):
            yield f"I3 {told}, but an order exists"
    if before.told not in ("", "unknown", after.told):
        yield f"I4 {after.told} was told after {before.told}"
    if after.result == "unknown" and not after.excused and after.time <= PAST_DEADLINE:
        yield "I5 unknown, though nothing has gone wrong"
