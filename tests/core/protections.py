"""The protections of one trade by name, and what goes wrong without each.

Some are in the shipped exchanges and are patched out (`mutations.py`); others belong to terminal,
journal and bus, and are left out of the model. Where two defend the same thing, both are left
out: the row says so.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import pytest

from tests.core import mutations
from tests.core.exhaustive_model import Bounds, Terminal
from tests.core.exhaustive_terminals import ExistingServer, Ledger

Patch = Callable[[pytest.MonkeyPatch], None]

ONE = Bounds(frames=3, gateways=1, crashes=0, moments=3, deliveries=1)
"""One gateway that lives on; the terminal may die once."""
AGAIN = Bounds(frames=2, gateways=1, crashes=0, deaths=0, moments=3, deliveries=2)
"""Its job comes twice."""
TWO = Bounds(frames=2, gateways=2, crashes=1, deaths=0, moments=3, deliveries=2)
"""A second gateway takes over, whether the first has died or only sleeps."""


@dataclass(frozen=True)
class Protection:
    """One line of defence, and the promise that falls with it."""

    name: str
    terminal: type[Terminal]
    shown: str
    bounds: Bounds
    removed: frozenset[str] = frozenset()
    patches: tuple[Patch, ...] = ()

    @property
    def title(self) -> str:
        """Name it, with its terminal."""
        return f"{self.terminal.__name__}: {self.name}"


def _of_model(
    terminal: type[Terminal], shown: str, bounds: Bounds, name: str, *removed: str
) -> Protection:
    return Protection(name, terminal, shown, bounds, frozenset(removed))


def _of_exchange(
    terminal: type[Terminal], shown: str, bounds: Bounds, name: str, patch: Patch, *removed: str
) -> Protection:
    return Protection(name, terminal, shown, bounds, frozenset(removed), (patch,))


PROTECTIONS = [
    # ---- a terminal with a ledger: its own
    _of_model(Ledger, "I[13]", ONE, "the ledger answers a known id", "ledger"),
    _of_model(Ledger, "I[13]", ONE, "the ledger outlives the terminal", "durable_ledger"),
    _of_model(Ledger, "I[13]", ONE, "the intent is stored before the broker is asked", "intent"),
    _of_model(Ledger, "I2", ONE, "the deadline is looked at", "deadline"),
    _of_model(Ledger, "I2", ONE, "it is looked at again before the broker", "second_look"),
    _of_model(Ledger, "I2", ONE, "frames of an earlier session are refused", "session"),
    _of_model(Ledger, "I8", TWO, "frames of a deposed gateway are refused", "epoch"),
    # Each of the two alone is enough against a frame that is overtaken.
    _of_model(Ledger, "I1", ONE, "known ids and old sequence numbers", "dedupe", "sequence"),
    # The seal: without it `not_seen` would have to be taken for an end; alone that is caught by
    # the sequence number of the RESOLVE that was answered so.
    _of_exchange(
        *(Ledger, "I3 expired", ONE, "what is too late is sealed"),
        mutations.not_seen_too_late_is_expired,
        "sequence",
    ),
    # ---- the shipped exchange
    _of_exchange(Ledger, "I3", ONE, "a timeout is no failure", mutations.timeout_is_rejected),
    _of_exchange(
        Ledger, "I6", ONE, "a timeout sends nothing", mutations.timeout_sends_again_to_a_ledger
    ),
    _of_exchange(
        *(Ledger, "I[36]", ONE, "a lost link leaves the trade exposed"),
        mutations.lost_link_is_not_exposed,
    ),
    _of_exchange(Ledger, "I3", ONE, "in doubt is no failure", mutations.doubt_is_rejected),
    _of_exchange(Ledger, "I3", ONE, "garbage is no failure", mutations.garbage_is_rejected),
    _of_exchange(
        *(Ledger, "I3", ONE, "a refused frame says nothing of earlier ones"),
        mutations.fence_after_exposure_is_rejected,
    ),
    # Exchange and line look at the deadline.
    _of_exchange(
        *(Ledger, "I2 it was sent", ONE, "nothing is sent after the deadline"),
        mutations.deadline_is_not_looked_at,
        "line_deadline",
    ),
    # ---- journal and bus
    _of_model(Ledger, "I3 expired", TWO, "sent is stored before sending", "sent_before_sending"),
    _of_model(Ledger, "I[34]", TWO, "a result is stored before it is told", "store_before_telling"),
    _of_model(Ledger, "I3 expired", TWO, "the term fences the journal", "journal_fence"),
    _of_model(Ledger, "I3 expired", TWO, "what was sent is taken up at a take-over", "inherit"),
    _of_model(Ledger, "I3 expired", TWO, "what was sent is asked about first", "resume"),
    _of_model(Ledger, "I[34]", AGAIN, "a known id is answered from the journal", "known_ids"),
    _of_model(Ledger, "I4", TWO, "a job is acknowledged after its result", "ack_after_store"),
    # ---- the existing server: everything rests on the gateway
    _of_exchange(
        *(ExistingServer, "I[16]", ONE, "a timeout sends nothing"), mutations.timeout_sends_again
    ),
    _of_exchange(
        *(ExistingServer, "I3", ONE, "a timeout is no failure"), mutations.timeout_is_rejected
    ),
    _of_exchange(
        *(ExistingServer, "I[13]", ONE, "a lost link sends nothing"),
        mutations.lost_link_sends_again,
    ),
    _of_exchange(
        *(ExistingServer, "I3", ONE, "not found is not expired"), mutations.not_found_is_expired
    ),
    _of_exchange(
        *(ExistingServer, "I1", ONE, "not found is not sent again"),
        mutations.not_found_sends_again,
    ),
    _of_exchange(
        *(ExistingServer, "I3", ONE, "an error reply may mean opened"), mutations.doubt_is_rejected
    ),
    _of_exchange(
        *(ExistingServer, "I3", ONE, "garbage is no failure"), mutations.garbage_is_rejected
    ),
    _of_exchange(
        *(ExistingServer, "I2", ONE, "nothing is sent after the deadline"),
        mutations.deadline_is_not_looked_at,
        "line_deadline",
    ),
    _of_model(ExistingServer, "I[13]", TWO, "sent is stored before sending", "sent_before_sending"),
    _of_model(ExistingServer, "I[13]", TWO, "the term fences the journal", "journal_fence"),
    _of_model(ExistingServer, "I[13]", TWO, "what was sent is taken up", "inherit"),
    _of_model(ExistingServer, "I[13]", TWO, "what was sent is never sent again", "resume"),
    _of_model(ExistingServer, "I[134]", AGAIN, "a known id is answered", "known_ids"),
    _of_model(ExistingServer, "I4", TWO, "a job is acknowledged last", "ack_after_store"),
]
"""Each left out in turn; `shown`: the promise that is broken then, as a pattern."""
